//! Durations (`10ms`, `1s`, `5min`, `2h`) and sizes (`4KiB`, `256MiB`, `1GB`) as people write them.
//!
//! Invariant: a number without a unit is refused, so that nobody has to guess whether 10 means ms or s.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::{Serialize, Serializer};

const DURATION_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A duration in milliseconds, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationText(pub u64);

impl DurationText {
    /// Reads one; the error says how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        with_unit(text, &DURATION_UNITS).map(Self).ok_or_else(|| {
            format!(
                "`{}` is not a duration: write one such as `500ms`, `10s`, `5min` or `2h`",
                cut(text)
            )
        })
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// A number of bytes, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeText(pub u64);

impl SizeText {
    /// Reads one; the error says how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        with_unit(text, &SIZE_UNITS).map(Self).ok_or_else(|| {
            format!(
                "`{}` is not a size: write one such as `64KiB`, `256MiB` or `1GiB`",
                cut(text)
            )
        })
    }
}

/// The largest unit that divides the value is used, so that what was read is printed alike.
fn write_with_unit(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut best = units
        .iter()
        .filter(|(_, scale)| value >= *scale && value.is_multiple_of(*scale));
    let smallest = units.iter().min_by_key(|(_, scale)| *scale);
    match best.by_ref().max_by_key(|(_, scale)| *scale).or(smallest) {
        Some((unit, scale)) => write!(f, "{}{unit}", value / scale),
        None => write!(f, "{value}"),
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &DURATION_UNITS, f)
    }
}

impl fmt::Display for SizeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &SIZE_UNITS, f)
    }
}

/// Digits with an optional fraction, then one of the units.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let scale = units
        .iter()
        .find(|(name, _)| *name == unit.trim_start())
        .map(|(_, scale)| *scale)?;
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(scale),
        Some((whole, fraction)) if !fraction.is_empty() && fraction.len() <= 9 => {
            let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
            let parts = fraction.parse::<u64>().ok()?.checked_mul(scale)?;
            let of = 10u64.pow(fraction.len() as u32);
            // What is less than the smallest unit is no value that could be kept.
            parts.is_multiple_of(of).then_some(whole)?.checked_add(parts / of)
        }
        Some(_) => None,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

macro_rules! text_with_unit {
    ($type:ident, $name:literal, $example:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $name, " with a unit, such as `", $example, "`"))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        let message = format!(concat!("`{}` has no unit: write a ", $name, " such as `", $example, "`"), number);
                        Err(E::custom(message))
                    }
                }
                deserializer.deserialize_any(Text).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "examples": [$example]})
            }
        }
    };
}

text_with_unit!(
    DurationText,
    "duration",
    "10s",
    r"^[0-9]+(\.[0-9]+)? *(ms|s|min|h|d)$"
);
text_with_unit!(
    SizeText,
    "size",
    "256MiB",
    r"^[0-9]+(\.[0-9]+)? *(B|kB|MB|GB|KiB|MiB|GiB)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit_and_print_as_they_were_written() {
        for (text, ms) in [
            ("0s", 0),
            ("10ms", 10),
            ("1.5s", 1_500),
            ("5min", 300_000),
            ("2 h", 7_200_000),
        ] {
            assert_eq!(DurationText::parse(text), Ok(DurationText(ms)), "{text}");
        }
        for text in [
            "",
            "10",
            "ms",
            "-1s",
            "1 day",
            "1e3s",
            "99999999999999999999s",
            "1.s",
        ] {
            assert!(DurationText::parse(text).is_err(), "{text}");
        }
        for (text, bytes) in [("1KiB", 1024), ("1kB", 1000), ("0.5MiB", 524_288), ("7B", 7)] {
            assert_eq!(SizeText::parse(text), Ok(SizeText(bytes)), "{text}");
        }
        assert!(SizeText::parse("18446744073709551615GiB").is_err());
        assert_eq!(DurationText(90_000).to_string(), "90s");
        assert_eq!(SizeText(256 << 20).to_string(), "256MiB");
    }
}
