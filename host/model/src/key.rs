//! Keys, their frozen hash and key groups.
//!
//! A key is bytes: a tag and a body. The tag tells equal bodies of different types apart; a guest is
//! given the body alone. The encoding and the hash are part of the checkpoint format: they are frozen,
//! and `tests` below hold fixed vectors.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// A text or opaque bytes: the body is the bytes themselves.
pub const TAG_BYTES: u8 = b'b';
/// A number: the body is its canonical decimal text, so that `1` and `1.0` are one key.
pub const TAG_NUMBER: u8 = b'n';
/// `true` or `false`.
pub const TAG_BOOL: u8 = b'f';
/// A null or missing field: the body is empty.
pub const TAG_NULL: u8 = b'0';
/// Several fields: each `length u32` little-endian and an encoded key (tag and body).
pub const TAG_COMPOSITE: u8 = b'c';

/// The part of an encoded key that a guest sees.
pub fn body(key: &[u8]) -> &[u8] {
    key.get(1..).unwrap_or_default()
}

/// The frozen hash of an encoded key: xxh3, 64 bits, seed 0.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The unit in which keyed state is assigned to subtasks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct KeyGroup(pub u16);

/// The number of key groups of a job: fixed at its first run, an upper bound of its parallelism.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct MaxParallelism(pub u16);

impl MaxParallelism {
    /// Flink's lower bound and our default.
    pub const DEFAULT: Self = Self(128);
    /// Key groups are stored in 16 bits; Flink's bound.
    pub const MAX: u16 = 32_768;

    /// The key group of a hash: its upper half by multiply-shift. Tables use the lower half.
    #[inline]
    pub fn group_of(self, hash: u64) -> KeyGroup {
        KeyGroup((((hash >> 32) * u64::from(self.0)) >> 32) as u16)
    }

    /// The subtask that owns a group: contiguous ranges, as in Flink.
    #[inline]
    pub fn subtask_of(self, group: KeyGroup, parallelism: u32) -> u32 {
        (u64::from(group.0) * u64::from(parallelism) / u64::from(self.0)) as u32
    }

    /// The groups that a subtask owns.
    pub fn range_of(self, index: u32, parallelism: u32) -> KeyGroupRange {
        let (groups, parallelism, index) = (u64::from(self.0), u64::from(parallelism), u64::from(index));
        let start = (index * groups).div_ceil(parallelism);
        let end = ((index + 1) * groups).div_ceil(parallelism);
        KeyGroupRange {
            start: start as u16,
            end: end as u16,
        }
    }
}

/// Key groups from `start` (inclusive) to `end` (exclusive).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct KeyGroupRange {
    /// First group.
    pub start: u16,
    /// One past the last group.
    pub end: u16,
}

impl KeyGroupRange {
    /// Whether the group is in the range.
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// The groups in order.
    pub fn iter(self) -> impl Iterator<Item = KeyGroup> {
        (self.start..self.end).map(KeyGroup)
    }

    /// How many groups there are.
    pub fn len(self) -> usize {
        usize::from(self.end.saturating_sub(self.start))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The groups that are in both.
    pub fn intersect(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self {
            start,
            end: self.end.min(other.end).max(start),
        }
    }
}

/// Appends the encoding of a text or of bytes.
#[inline]
pub fn encode_bytes(out: &mut Vec<u8>, body: &[u8]) {
    out.push(TAG_BYTES);
    out.extend_from_slice(body);
}

/// Appends the encoding of a JSON value; objects and arrays by their compact text, as bytes.
pub fn encode_json(out: &mut Vec<u8>, value: &serde_json::Value) {
    match value {
        serde_json::Value::Null => out.push(TAG_NULL),
        serde_json::Value::Bool(flag) => {
            out.push(TAG_BOOL);
            out.extend_from_slice(if *flag { b"true" } else { b"false" });
        }
        serde_json::Value::Number(number) => {
            out.push(TAG_NUMBER);
            out.extend_from_slice(canonical_number(number).as_bytes());
        }
        serde_json::Value::String(text) => encode_bytes(out, text.as_bytes()),
        other => encode_bytes(out, other.to_string().as_bytes()),
    }
}

/// Appends a composite of encoded keys.
pub fn encode_composite<'a>(out: &mut Vec<u8>, parts: impl IntoIterator<Item = &'a [u8]>) {
    out.push(TAG_COMPOSITE);
    for part in parts {
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// An integral value within ±2^63 as an integer, any other as the shortest decimal that reads back.
fn canonical_number(number: &serde_json::Number) -> String {
    if let Some(integer) = number.as_i64() {
        return integer.to_string();
    }
    if let Some(integer) = number.as_u64() {
        return integer.to_string();
    }
    let float = number.as_f64().unwrap_or(f64::NAN);
    if float.fract() == 0.0 && float.abs() < 9.2e18 {
        (float as i64).to_string()
    } else {
        format!("{float:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_frozen() {
        // IMPORTANT: these values are part of the checkpoint format. A change here breaks every job.
        let vectors: Vec<(u64, u16)> = [&b""[..], b"b", b"bhello", b"n1", b"buser-12345"]
            .iter()
            .map(|k| (hash(k), MaxParallelism(128).group_of(hash(k)).0))
            .collect();
        assert_eq!(vectors[0].0, 0x2d06_8005_38d3_94c2);
        for (hash, group) in &vectors {
            assert_eq!(u64::from(*group), ((hash >> 32) * 128) >> 32);
        }
    }

    #[test]
    fn ranges_partition_the_groups_and_agree_with_the_owner() {
        for max in [1u16, 7, 128, 32_768] {
            for parallelism in [1u32, 2, 3, 5, 7].into_iter().filter(|p| *p <= u32::from(max)) {
                let max = MaxParallelism(max);
                let mut next = 0;
                for index in 0..parallelism {
                    let range = max.range_of(index, parallelism);
                    assert_eq!(range.start, next);
                    next = range.end;
                    for group in range.iter() {
                        assert_eq!(max.subtask_of(group, parallelism), index);
                    }
                }
                assert_eq!(next, max.0);
            }
        }
    }

    #[test]
    fn one_and_one_point_zero_are_the_same_key() {
        let encode = |text: &str| {
            let mut out = Vec::new();
            encode_json(&mut out, &serde_json::from_str(text).unwrap());
            out
        };
        assert_eq!(encode("1"), encode("1.0"));
        assert_eq!(encode("1e0"), b"n1");
        assert_ne!(encode("1"), encode("\"1\""));
        assert_eq!(encode("-0.0"), encode("0"));
        assert_eq!(encode("1.5"), b"n1.5");
    }
}
