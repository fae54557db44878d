//! Records: how a function reads its input and writes its output.
//!
//! A record is bytes in a [`Format`]. Input is borrowed from the frame where its type allows it, and
//! output is written straight into the answer, so that neither allocates.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bytes::{append, append_decimal};
use crate::error::{Error, Result};

/// Format of records: the edges of a job must agree on it (`raw` fits anything).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Any bytes.
    #[default]
    Raw,
    /// UTF-8 text without line ends.
    Lines,
    /// One JSON value.
    Json,
    /// One CSV record.
    Csv,
}

/// A JSON value of type `T` as a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// A type that records are made of: what `type In`, `type Out` and side outputs name.
///
/// `str` is a line of text, `[u8]` any bytes, [`Json<T>`] a JSON value.
pub trait Record {
    /// The format that `describe` declares.
    const FORMAT: Format;
}

impl Record for str {
    const FORMAT: Format = Format::Lines;
}

impl Record for [u8] {
    const FORMAT: Format = Format::Raw;
}

impl<T> Record for Json<T> {
    const FORMAT: Format = Format::Json;
}

/// A [`Record`] that can be read.
pub trait Input: Record {
    /// Calls `f` with what the bytes hold; a bad record where they do not hold it.
    fn with<R>(bytes: &[u8], f: impl FnOnce(&Self) -> Result<R>) -> Result<R>;
}

impl Input for str {
    #[inline]
    fn with<R>(bytes: &[u8], f: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        match std::str::from_utf8(bytes) {
            Ok(text) => f(text),
            Err(error) => Err(Error::bad_record(format_args!("the record is no text: {error}"))),
        }
    }
}

impl Input for [u8] {
    #[inline]
    fn with<R>(bytes: &[u8], f: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        f(bytes)
    }
}

impl<T: DeserializeOwned> Input for Json<T> {
    fn with<R>(bytes: &[u8], f: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        match serde_json::from_slice(bytes) {
            Ok(value) => f(&Json(value)),
            Err(error) => Err(Error::bad_record(format_args!(
                "the record is not the JSON expected: {error}"
            ))),
        }
    }
}

/// Where the bytes of one record go.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        append(self.out, bytes);
        self
    }

    /// Appends bytes and gives them back, to be changed in place: a map from bytes to as many bytes
    /// then copies them once.
    #[inline]
    pub fn bytes_mut(&mut self, bytes: &[u8]) -> &mut [u8] {
        let start = self.out.len();
        append(self.out, bytes);
        &mut self.out[start..]
    }

    /// Appends text.
    #[inline]
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Appends a number in decimal.
    #[inline]
    pub fn u64(&mut self, number: u64) -> &mut Self {
        append_decimal(self.out, number);
        self
    }

    /// Appends a number in decimal.
    #[inline]
    pub fn i64(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.out.push(b'-');
        }
        self.u64(number.unsigned_abs())
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

/// What can be emitted where records of type `R` are expected.
///
/// Text takes strings, characters, integers and `format_args!`; a tuple is its parts one after the
/// other: `ctx.emit((word, ',', count))` writes `word,3` and allocates nothing. Bytes take slices,
/// vectors and text; JSON takes a [`Json<T>`] or a reference to a `T`.
pub trait Emit<R: ?Sized> {
    /// Appends the record.
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()>;
}

macro_rules! emit {
    ($record:ty: $($type:ty => |$value:ident, $out:ident| $body:expr),* $(,)?) => {$(
        impl Emit<$record> for $type {
            #[inline]
            fn write_to(&self, $out: &mut Writer<'_>) -> Result<()> {
                let $value = self;
                $body;
                Ok(())
            }
        }
    )*};
}

emit!(str:
    str => |value, out| out.text(value),
    String => |value, out| out.text(value),
    char => |value, out| out.text(value.encode_utf8(&mut [0; 4])),
    u64 => |value, out| out.u64(*value),
    u32 => |value, out| out.u64(u64::from(*value)),
    usize => |value, out| out.u64(*value as u64),
    i64 => |value, out| out.i64(*value),
    i32 => |value, out| out.i64(i64::from(*value)),
    fmt::Arguments<'_> => |value, out| fmt::Write::write_fmt(out, *value)?,
);

emit!([u8]:
    [u8] => |value, out| out.bytes(value),
    Vec<u8> => |value, out| out.bytes(value),
    str => |value, out| out.text(value),
    String => |value, out| out.text(value),
);

impl<const N: usize> Emit<[u8]> for [u8; N] {
    #[inline]
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
        out.bytes(self);
        Ok(())
    }
}

impl<T: Emit<str> + ?Sized> Emit<str> for &T {
    #[inline]
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
        (**self).write_to(out)
    }
}

impl<T: Emit<[u8]> + ?Sized> Emit<[u8]> for &T {
    #[inline]
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
        (**self).write_to(out)
    }
}

impl<T: Serialize> Emit<Json<T>> for Json<T> {
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
        (&self.0).write_to(out)
    }
}

impl<T: Serialize> Emit<Json<T>> for &T {
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
        serde_json::to_writer(&mut *out.out, self)
            .map_err(|error| Error::bad_record(format_args!("the result cannot be JSON: {error}")))
    }
}

macro_rules! emit_tuple {
    ($($part:ident),+) => {
        emit_tuple!(@ str, $($part),+);
        emit_tuple!(@ [u8], $($part),+);
    };
    (@ $record:ty, $($part:ident),+) => {
        impl<$($part: Emit<$record>),+> Emit<$record> for ($($part,)+) {
            #[inline]
            #[allow(non_snake_case)] // The parts are named as their types.
            fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
                let ($($part,)+) = self;
                $(Emit::<$record>::write_to($part, out)?;)+
                Ok(())
            }
        }
    };
}

emit_tuple!(A, B);
emit_tuple!(A, B, C);
emit_tuple!(A, B, C, D);
emit_tuple!(A, B, C, D, E);
emit_tuple!(A, B, C, D, E, F);

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Emit<str>) -> String {
        let mut out = Vec::new();
        value.write_to(&mut Writer::new(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        for number in [0, 9, 10, 99, 100, 101, 12_345, 999_999, u64::MAX] {
            assert_eq!(text(number), number.to_string());
        }
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(text(number), number.to_string());
        }
    }

    #[test]
    fn a_tuple_is_its_parts() {
        assert_eq!(text(("word", ',', 7_u64)), "word,7");
        assert_eq!(text(format_args!("{:>3}", 7)), "  7");
    }

    #[test]
    fn json_goes_out_and_comes_in() {
        let mut out = Vec::new();
        Emit::<Json<Vec<u8>>>::write_to(&Json(vec![1, 2]), &mut Writer::new(&mut out)).unwrap();
        assert_eq!(out, b"[1,2]");
        assert_eq!(
            Json::<Vec<u8>>::with(&out, |json| Ok(json.0.clone())),
            Ok(vec![1, 2])
        );
        let error = Json::<Vec<u8>>::with(b"{", |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::BadRecord(_)), "{error}");
    }
}
