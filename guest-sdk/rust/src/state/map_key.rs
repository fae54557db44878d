//! Map keys as bytes whose order is the order of the keys.
//!
//! Invariant: `a < b` exactly where the bytes of `a` come before those of `b`. The encoding is part of
//! every checkpoint: it may never change.

/// A type that map state can be keyed by.
///
/// Unsigned integers are big-endian, signed ones have their sign bit turned, text and bytes are
/// themselves; in a pair, text and bytes have each 0 written as `0 255` and end with `0 0`.
pub trait MapKey: Sized + 'static {
    /// What `describe` says of the encoding.
    const ENCODING: &'static str;

    /// Appends the key.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads a key back; none where the bytes hold no such key.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Appends the key as the first part of a pair: so that its end can be found.
    #[doc(hidden)]
    fn encode_part(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    /// Splits the first part of a pair off.
    #[doc(hidden)]
    fn split_part(bytes: &[u8]) -> Option<(Self, &[u8])>;

    /// Calls `f` with the key's bytes.
    #[doc(hidden)]
    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        f(&bytes)
    }
}

macro_rules! integer {
    ($($type:ty, $name:literal, $flip:expr;)*) => {$(
        impl MapKey for $type {
            const ENCODING: &'static str = $name;

            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ $flip).to_be_bytes());
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(<$type>::from_be_bytes(bytes.try_into().ok()?) ^ $flip)
            }

            fn split_part(bytes: &[u8]) -> Option<(Self, &[u8])> {
                let (own, rest) = bytes.split_at_checked(size_of::<$type>())?;
                Some((Self::decode(own)?, rest))
            }

            fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
                f(&(*self ^ $flip).to_be_bytes())
            }
        }
    )*};
}

integer! {
    u8, "u8", 0;
    u16, "u16-be", 0;
    u32, "u32-be", 0;
    u64, "u64-be", 0;
    i8, "i8-ordered", i8::MIN;
    i16, "i16-be-ordered", i16::MIN;
    i32, "i32-be-ordered", i32::MIN;
    i64, "i64-be-ordered", i64::MIN;
}

impl MapKey for bool {
    const ENCODING: &'static str = "bool";

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn split_part(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (own, rest) = bytes.split_at_checked(1)?;
        Some((Self::decode(own)?, rest))
    }
}

impl MapKey for Vec<u8> {
    const ENCODING: &'static str = "raw";

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        escape(self, out);
    }

    fn split_part(bytes: &[u8]) -> Option<(Self, &[u8])> {
        unescape(bytes)
    }

    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self)
    }
}

impl MapKey for String {
    const ENCODING: &'static str = "utf8";

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        escape(self.as_bytes(), out);
    }

    fn split_part(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (own, rest) = unescape(bytes)?;
        Some((Self::from_utf8(own).ok()?, rest))
    }

    fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(self.as_bytes())
    }
}

impl<A: MapKey, B: MapKey> MapKey for (A, B) {
    const ENCODING: &'static str = "pair";

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode_part(out);
        self.1.encode(out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = A::split_part(bytes)?;
        Some((first, B::decode(rest)?))
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        self.0.encode_part(out);
        self.1.encode_part(out);
    }

    fn split_part(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (first, rest) = A::split_part(bytes)?;
        let (second, rest) = B::split_part(rest)?;
        Some(((first, second), rest))
    }
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn unescape(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    loop {
        match rest {
            [0, 0, tail @ ..] => return Some((out, tail)),
            [0, 255, tail @ ..] => {
                out.push(0);
                rest = tail;
            }
            [0, ..] | [] => return None,
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(key: &impl MapKey) -> Vec<u8> {
        key.with_bytes(<[u8]>::to_vec)
    }

    fn keeps_order<K: MapKey + Ord + std::fmt::Debug>(a: &K, b: &K) {
        assert_eq!(a.cmp(b), bytes(a).cmp(&bytes(b)), "{a:?} {b:?}");
        assert_eq!(K::decode(&bytes(a)).as_ref(), Some(a));
    }

    proptest! {
        #[test]
        fn the_order_of_bytes_is_the_order_of_keys(
            a: (i64, u32), b: (i64, u32), s: (Vec<u8>, i16), t: (Vec<u8>, i16),
            x: ((String, Vec<u8>), bool), y: ((String, Vec<u8>), bool),
        ) {
            keeps_order(&a, &b);
            keeps_order(&a.0, &b.0);
            keeps_order(&s, &t);
            keeps_order(&x, &y);
        }
    }

    #[test]
    fn encodings_are_frozen() {
        assert_eq!(bytes(&-1_i32), [0x7F, 255, 255, 255]);
        assert_eq!(bytes(&1_u16), [0, 1]);
        assert_eq!(bytes(&(vec![1_u8, 0], 2_u8)), [1, 0, 255, 0, 0, 2]);
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        assert_eq!(u32::decode(&[1]), None);
        assert_eq!(bool::decode(&[2]), None);
        assert_eq!(<(String, u8)>::decode(b"a\0"), None);
        assert_eq!(<(String, u8)>::decode(b"a\0\x01\0\0"), None);
    }
}
