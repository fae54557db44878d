//! Finds the key of a record: the whole value, or fields of JSON by name and of CSV by number.
//!
//! Invariant: the encoding depends on nothing but the record and the selector, for it decides where
//! state lives (`wasmill_model::key`).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use wasmill_model::function::Format;
use wasmill_model::graph::KeySelector;
use wasmill_model::key;
use wasmill_model::row::extend_by_front;

/// Why a record has no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldError(pub String);

/// Computes encoded keys by one selector.
#[derive(Debug)]
pub struct KeyReader {
    fields: Vec<Field>,
    part: Vec<u8>,
    composite: bool,
}

#[derive(Debug)]
enum Field {
    Whole,
    Column(usize),
    Path(Vec<String>),
}

impl KeyReader {
    /// For records of a format; validation has checked that the selector fits it. Records whose key a
    /// function has set are not read: `None`.
    pub fn new(selector: &KeySelector, format: Format) -> Option<Self> {
        let one = |name: &String| Field::named(name, format);
        let (fields, composite) = match selector {
            KeySelector::Value => (vec![Field::Whole], false),
            KeySelector::Field(name) => (vec![one(name)], false),
            KeySelector::Fields(names) => (names.iter().map(one).collect(), true),
            KeySelector::Function => return None,
        };
        Some(Self {
            fields,
            part: Vec::new(),
            composite,
        })
    }

    /// Appends the encoded key of a record.
    #[inline]
    pub fn read(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<(), FieldError> {
        if !self.composite {
            return self.fields.first().map_or(Ok(()), |field| field.read(value, out));
        }
        out.push(key::TAG_COMPOSITE);
        for field in &self.fields {
            self.part.clear();
            field.read(value, &mut self.part)?;
            out.extend_from_slice(&(self.part.len() as u32).to_le_bytes());
            out.extend_from_slice(&self.part);
        }
        Ok(())
    }
}

/// Reads one field as a whole number.
#[derive(Debug)]
pub(crate) struct NumberReader(Field);

impl NumberReader {
    /// Of JSON by name, of CSV by number; validation has checked that it fits.
    pub(crate) fn new(name: &str, format: Format) -> Self {
        Self(Field::named(name, format))
    }

    /// The number; a missing field, a fraction and anything else is an error.
    pub(crate) fn read(&self, record: &[u8]) -> Result<i64, FieldError> {
        match &self.0 {
            Field::Path(path) => {
                let value = json_field(record, path)?;
                let name = || path.join(".");
                match value.as_i64() {
                    Some(number) => Ok(number),
                    None if value.is_null() => {
                        Err(FieldError(format!("the record has no field `{}`", name())))
                    }
                    None => Err(FieldError(format!(
                        "its field `{}` is {value}, not a whole number of 64 bits",
                        name()
                    ))),
                }
            }
            Field::Column(column) => {
                let mut key = Vec::new();
                column_key(record, *column, &mut key)?;
                let text = String::from_utf8_lossy(key::body(&key)).trim().to_owned();
                text.parse().map_err(|_| {
                    FieldError(format!(
                        "its column {column} is {text:?}, not a whole number of 64 bits"
                    ))
                })
            }
            Field::Whole => Err(FieldError("no field is named".to_owned())),
        }
    }
}

impl Field {
    fn named(name: &str, format: Format) -> Self {
        match (format, name.parse()) {
            (Format::Csv, Ok(column)) => Self::Column(column),
            _ => Self::Path(name.split('.').map(str::to_owned).collect()),
        }
    }

    #[inline]
    fn read(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), FieldError> {
        match self {
            Self::Whole => key::encode_bytes(out, value),
            Self::Column(column) => column_key(value, *column, out)?,
            Self::Path(path) => key::encode_json(out, &json_field(value, path)?),
        }
        Ok(())
    }
}

/// A column of a CSV record; quoting is undone, and the key is its text. Quotes behind the column do not
/// concern it.
#[inline]
fn column_key(record: &[u8], column: usize, out: &mut Vec<u8>) -> Result<(), FieldError> {
    let (mut start, mut left) = (0, column);
    loop {
        let rest = &record[start..];
        match memchr::memchr2(b',', b'"', rest) {
            Some(at) if rest[at] == b'"' => return quoted_column(record, column, out),
            Some(at) if left > 0 => {
                start += at + 1;
                left -= 1;
            }
            None if left > 0 => return Err(missing_column(record, column)),
            end => {
                out.push(key::TAG_BYTES);
                extend_by_front(out, rest, end.unwrap_or(rest.len()));
                return Ok(());
            }
        }
    }
}

fn quoted_column(record: &[u8], column: usize, out: &mut Vec<u8>) -> Result<(), FieldError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(record);
    let mut fields = csv::ByteRecord::new();
    reader
        .read_byte_record(&mut fields)
        .map_err(|e| FieldError(format!("the record is no CSV: {e}")))?;
    let field = fields.get(column).ok_or_else(|| missing_column(record, column))?;
    key::encode_bytes(out, field);
    Ok(())
}

fn missing_column(record: &[u8], column: usize) -> FieldError {
    let columns = record.split(|b| *b == b',').count();
    FieldError(format!(
        "the record has {columns} columns and none numbered {column} (from 0)"
    ))
}

/// A field of a JSON object, `Null` where it is missing; all other fields are skipped unparsed.
pub(crate) fn json_field(record: &[u8], path: &[String]) -> Result<Value, FieldError> {
    let mut json = serde_json::Deserializer::from_slice(record);
    let found = PathSeed(path)
        .deserialize(&mut json)
        .and_then(|found| json.end().map(|()| found));
    found.map_err(|e| FieldError(format!("the record is no JSON object: {e}")))
}

struct PathSeed<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for PathSeed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(deserializer),
            [name, rest @ ..] => deserializer.deserialize_any(MemberVisitor { name, rest }),
        }
    }
}

struct MemberVisitor<'a> {
    name: &'a str,
    rest: &'a [String],
}

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the field `{}`", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = Value::Null;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.name {
                found = map.next_value_seed(PathSeed(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        // A null on the way to a nested field: the field is missing.
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(selector: &KeySelector, format: Format, record: &str) -> Result<String, String> {
        let mut out = Vec::new();
        let mut reader = KeyReader::new(selector, format).unwrap();
        reader.read(record.as_bytes(), &mut out).map_err(|e| e.0)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn field(name: &str) -> KeySelector {
        KeySelector::Field(name.to_owned())
    }

    #[test]
    fn a_column_is_found_by_number_and_unquoted() {
        assert_eq!(
            read(&field("0"), Format::Csv, "user-1,item,3").unwrap(),
            "buser-1"
        );
        assert_eq!(read(&field("2"), Format::Csv, "user-1,item,3").unwrap(), "b3");
        assert_eq!(
            read(&field("1"), Format::Csv, "a,\"b,\"\"c\",d").unwrap(),
            "bb,\"c"
        );
        assert_eq!(read(&field("0"), Format::Csv, "a,\"b\"").unwrap(), "ba");
        assert_eq!(read(&field("0"), Format::Csv, "").unwrap(), "b");
        let error = read(&field("3"), Format::Csv, "a,b,c").unwrap_err();
        assert_eq!(error, "the record has 3 columns and none numbered 3 (from 0)");
    }

    #[test]
    fn a_json_field_is_found_by_name_and_keeps_its_type() {
        assert_eq!(
            read(&field("id"), Format::Json, r#"{"x":[1,{}],"id":1.0}"#).unwrap(),
            "n1"
        );
        assert_eq!(read(&field("id"), Format::Json, r#"{"id":"1"}"#).unwrap(), "b1");
        assert_eq!(
            read(&field("a.b"), Format::Json, r#"{"a":{"b":true}}"#).unwrap(),
            "ftrue"
        );
        assert_eq!(read(&field("a.b"), Format::Json, r#"{"a":null}"#).unwrap(), "0");
        assert_eq!(read(&field("z"), Format::Json, r#"{"a":1}"#).unwrap(), "0");
        assert!(
            read(&field("z"), Format::Json, "[1]")
                .unwrap_err()
                .contains("no JSON object")
        );
        assert!(
            read(&field("z"), Format::Json, r#"{"z":1} x"#)
                .unwrap_err()
                .contains("trailing")
        );
    }

    #[test]
    fn a_number_is_a_whole_one_or_an_error_that_says_what_it_is() {
        let json = NumberReader::new("a.t", Format::Json);
        assert_eq!(json.read(br#"{"a":{"t":-5}}"#), Ok(-5));
        assert_eq!(json.read(br#"{"a":{"t":9223372036854775807}}"#), Ok(i64::MAX));
        let refused = |record: &str| json.read(record.as_bytes()).unwrap_err().0;
        assert_eq!(refused(r#"{"a":{}}"#), "the record has no field `a.t`");
        for (record, shown) in [
            ("1.5", "1.5"),
            ("\"7\"", "\"7\""),
            ("9223372036854775808", "9223372036854775808"),
        ] {
            let error = refused(&format!(r#"{{"a":{{"t":{record}}}}}"#));
            assert!(
                error.contains(shown) && error.contains("not a whole number"),
                "{error}"
            );
        }
        let csv = NumberReader::new("1", Format::Csv);
        assert_eq!(csv.read(b"a, 12 ,c"), Ok(12));
        assert!(csv.read(b"a,b").unwrap_err().0.contains("\"b\""));
        assert!(csv.read(b"a").unwrap_err().0.contains("none numbered 1"));
    }

    #[test]
    fn composites_tell_apart_what_concatenation_would_not() {
        let both = KeySelector::Fields(vec!["0".to_owned(), "1".to_owned()]);
        assert_ne!(
            read(&both, Format::Csv, "ab,c").unwrap(),
            read(&both, Format::Csv, "a,bc").unwrap()
        );
    }
}
