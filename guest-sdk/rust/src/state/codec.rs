//! How values become bytes: fixed encodings for numbers, text and bytes, postcard for the rest.
//!
//! The encoding of a type is part of every checkpoint: it may never change.

use std::any::Any;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of `T`'s encoding in `describe`.
pub(crate) fn encoding<T: 'static>() -> &'static str {
    let is = |other| std::any::TypeId::of::<T>() == other;
    match () {
        () if is(std::any::TypeId::of::<u64>()) => "u64-le",
        () if is(std::any::TypeId::of::<i64>()) => "i64-le",
        () if is(std::any::TypeId::of::<f64>()) => "f64-le",
        () if is(std::any::TypeId::of::<String>()) => "utf8",
        () if is(std::any::TypeId::of::<Vec<u8>>()) => "raw",
        () => "postcard",
    }
}

/// Appends the value. Type tests are decided when the program is compiled.
#[inline]
pub(crate) fn encode<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> postcard::Result<()> {
    let any: &dyn Any = value;
    if let Some(number) = any.downcast_ref::<u64>() {
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Some(number) = any.downcast_ref::<i64>() {
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Some(number) = any.downcast_ref::<f64>() {
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Some(text) = any.downcast_ref::<String>() {
        out.extend_from_slice(text.as_bytes());
    } else if let Some(bytes) = any.downcast_ref::<Vec<u8>>() {
        out.extend_from_slice(bytes);
    } else {
        postcard::serialize_with_flavor(value, Appender(out))?;
    }
    Ok(())
}

/// Reads a value back.
#[inline]
pub(crate) fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    let mut decoded: Option<T> = None;
    let any: &mut dyn Any = &mut decoded;
    if let Some(slot) = any.downcast_mut::<Option<u64>>() {
        *slot = Some(u64::from_le_bytes(eight(bytes)?));
    } else if let Some(slot) = any.downcast_mut::<Option<i64>>() {
        *slot = Some(i64::from_le_bytes(eight(bytes)?));
    } else if let Some(slot) = any.downcast_mut::<Option<f64>>() {
        *slot = Some(f64::from_le_bytes(eight(bytes)?));
    } else if let Some(slot) = any.downcast_mut::<Option<String>>() {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        *slot = Some(text.to_owned());
    } else if let Some(slot) = any.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(bytes.to_vec());
    } else {
        return postcard::from_bytes(bytes).map_err(|error| error.to_string());
    }
    decoded.ok_or_else(|| "no value".to_owned())
}

#[inline]
fn eight(bytes: &[u8]) -> Result<[u8; 8], String> {
    bytes
        .try_into()
        .map_err(|_| format!("{} bytes where a number has 8", bytes.len()))
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Serialize + 'static>(value: T) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&value, &mut out).unwrap();
        out
    }

    #[test]
    fn encodings_are_frozen() {
        assert_eq!(
            (encoding::<u64>(), bytes(1_u64)),
            ("u64-le", vec![1, 0, 0, 0, 0, 0, 0, 0])
        );
        assert_eq!((encoding::<i64>(), bytes(-1_i64)), ("i64-le", vec![255; 8]));
        assert_eq!(
            (encoding::<f64>(), bytes(1_f64)),
            ("f64-le", 1_f64.to_le_bytes().to_vec())
        );
        assert_eq!(
            (encoding::<String>(), bytes("é".to_owned())),
            ("utf8", vec![0xC3, 0xA9])
        );
        assert_eq!((encoding::<Vec<u8>>(), bytes(vec![7_u8, 0])), ("raw", vec![7, 0]));
        assert_eq!(
            (encoding::<(u32, String)>(), bytes((300_u32, "a".to_owned()))),
            ("postcard", vec![0xAC, 2, 1, b'a'])
        );
    }

    #[test]
    fn bytes_of_another_type_are_an_error() {
        assert!(decode::<u64>(&[1, 2, 3]).unwrap_err().contains("3 bytes"));
        assert!(decode::<String>(&[0xFF]).is_err());
        assert!(decode::<(u32, String)>(&[1]).is_err());
    }

    #[test]
    fn values_read_back() {
        assert_eq!(decode::<f64>(&bytes(2.5_f64)), Ok(2.5));
        assert_eq!(
            decode::<(u8, Option<i32>)>(&bytes((3_u8, Some(-4)))),
            Ok((3, Some(-4)))
        );
    }
}
