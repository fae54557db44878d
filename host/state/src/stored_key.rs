//! The stored key of ordered entries: what a backend that keeps entries in byte order sorts by.
//!
//! Within a key group it is `key length u32, key, namespace length u32, namespace, rest`, integers
//! big-endian. The rest is the map key of a map's entry; of a list's chunk the index (u64) of its first
//! element. Lengths come before bytes, so no (key, namespace) is a prefix of another, and the entries of
//! one are neighbours in the byte order of their rest. A backend that keeps all groups together puts the
//! group (u16, big-endian) in front.

/// Appends the part that all entries of a (key, namespace) have in common.
pub fn encode_prefix(out: &mut Vec<u8>, key: &[u8], namespace: &[u8]) {
    out.reserve(prefix_length(key, namespace));
    for part in [key, namespace] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
}

/// How long that part is.
pub(crate) fn prefix_length(key: &[u8], namespace: &[u8]) -> usize {
    8 + key.len() + namespace.len()
}

/// The parts of a stored key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredKey<'a> {
    /// The encoded key.
    pub key: &'a [u8],
    /// The window, encoded.
    pub namespace: &'a [u8],
    /// Map key, or index of a chunk.
    pub rest: &'a [u8],
}

/// Takes a stored key apart; `None` where it is not one.
pub fn decode(stored: &[u8]) -> Option<StoredKey<'_>> {
    let (key, rest) = split(stored)?;
    let (namespace, rest) = split(rest)?;
    Some(StoredKey { key, namespace, rest })
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_comes_apart_as_it_was_put_together() {
        let mut stored = Vec::new();
        encode_prefix(&mut stored, b"bkey", b"window");
        stored.extend_from_slice(b"map key");
        let parts = StoredKey {
            key: b"bkey",
            namespace: b"window",
            rest: b"map key",
        };
        assert_eq!(decode(&stored), Some(parts));
    }

    #[test]
    fn entries_of_one_key_and_namespace_are_neighbours() {
        let entry = |key: &[u8], namespace: &[u8], rest: &[u8]| {
            let mut stored = Vec::new();
            encode_prefix(&mut stored, key, namespace);
            stored.extend_from_slice(rest);
            stored
        };
        let mut all = [
            entry(b"a", b"", b"2"),
            entry(b"ab", b"", b"1"),
            entry(b"a", b"", b""),
            entry(b"a", b"\0", b"3"),
            entry(b"a", b"", b"10"),
        ];
        all.sort();
        assert_eq!(all[0], entry(b"a", b"", b""));
        assert_eq!(all[1], entry(b"a", b"", b"10"));
        assert_eq!(all[2], entry(b"a", b"", b"2"));
    }

    #[test]
    fn a_broken_stored_key_is_none() {
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[0, 0, 0, 9, 1]), None);
        assert_eq!(decode(&[255; 8]), None);
    }
}
