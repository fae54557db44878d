//! The elements of a window that fires.

use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::frame::{FLAG_NULL, FLAG_TIMESTAMP, read_u32};
use crate::record::Input;

/// The elements of a window, in the order of arrival; of windows that were merged one after the other.
///
/// Of a co-group they are those of one side.
///
/// With a reduce or aggregate function before it, a process function finds one element: the result.
pub struct Elements<'f, R: ?Sized> {
    count: u32,
    bytes: &'f [u8],
    record: PhantomData<fn(&R)>,
}

/// One of them, not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'f> {
    /// Its bytes; empty where it is null.
    pub value: &'f [u8],
    /// Event time, where one was assigned.
    pub timestamp: Option<i64>,
    /// Whether the value is null rather than empty.
    pub is_null: bool,
}

impl<R: ?Sized> Clone for Elements<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ?Sized> Copy for Elements<'_, R> {}

impl<'f, R: ?Sized> Elements<'f, R> {
    /// Of the value of a row: a number of elements, each `length u32, flags u8, timestamp i64, value`.
    pub(super) fn parse(value: &'f [u8]) -> Result<Self> {
        let Some((_, bytes)) = value.split_first_chunk::<4>() else {
            return Err(Error::failed(
                "the frame does not say how many elements the window has",
            ));
        };
        Ok(Self {
            count: read_u32(value, 0),
            bytes,
            record: PhantomData,
        })
    }

    /// Of the value of a row that is a pair: two elements, without their number.
    pub(super) fn pair(value: &'f [u8]) -> Self {
        Self {
            count: 2,
            bytes: value,
            record: PhantomData,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none: an evictor removed all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One after the other, not read yet.
    pub fn iter(&self) -> impl Iterator<Item = Element<'f>> + use<'f, R> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<13>()?;
            let length = read_u32(head, 0) as usize;
            let (value, next) = tail.split_at_checked(length)?;
            rest = next;
            let mut timestamp = [0; 8];
            timestamp.copy_from_slice(&head[5..]);
            Some(Element {
                value,
                timestamp: (head[4] & FLAG_TIMESTAMP != 0).then(|| i64::from_le_bytes(timestamp)),
                is_null: head[4] & FLAG_NULL != 0,
            })
        })
    }
}

impl<R: Input + ?Sized> Elements<'_, R> {
    /// Reads one after the other; stops at the first error.
    pub fn try_for_each(&self, mut each: impl FnMut(&R) -> Result<()>) -> Result<()> {
        self.iter()
            .try_for_each(|element| R::with(element.value, &mut each))
    }
}
