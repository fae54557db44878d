//! State of a subtask rather than of a key: for functions that buffer.
//!
//! Invariant: bytes of a snapshot are those of `docs/frame.md`, and name every state that `declare`
//! registered, so that an empty one is told from one that is unknown.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::frame::read_u32;
use crate::state::codec;

const VERSION: u8 = 1;

/// A list that the function writes at every barrier and reads when it starts again. Between the two it
/// keeps its elements wherever it likes.
pub struct OperatorListState<T> {
    /// Index in `describe`; none where it was never declared.
    index: Option<usize>,
    name: &'static str,
    element: PhantomData<fn() -> T>,
}

impl<T> Default for OperatorListState<T> {
    fn default() -> Self {
        Self {
            index: None,
            name: "",
            element: PhantomData,
        }
    }
}

impl<T> OperatorListState<T> {
    pub(crate) fn new(index: usize, name: &'static str) -> Self {
        Self {
            index: Some(index),
            name,
            element: PhantomData,
        }
    }

    fn undeclared(&self) -> Error {
        Error::failed("an operator state was used that `declare` did not register")
    }
}

impl<T: DeserializeOwned + 'static> OperatorListState<T> {
    /// This subtask's elements of the checkpoint.
    pub fn get(&self, ctx: &RestoreContext) -> Result<Vec<T>> {
        let index = self.index.ok_or_else(|| self.undeclared())?;
        let elements = ctx.elements.get(index).map_or(&[][..], Vec::as_slice);
        let decode = |bytes: &Vec<u8>| {
            codec::decode(bytes)
                .map_err(|error| Error::failed(format_args!("operator state `{}`: {error}", self.name)))
        };
        elements.iter().map(decode).collect()
    }
}

impl<T: Serialize + 'static> OperatorListState<T> {
    /// Appends an element to the snapshot.
    pub fn add(&self, ctx: &mut SnapshotContext, element: &T) -> Result<()> {
        let index = self.index.ok_or_else(|| self.undeclared())?;
        let mut bytes = Vec::new();
        codec::encode(element, &mut bytes)
            .map_err(|error| Error::failed(format_args!("operator state `{}`: {error}", self.name)))?;
        ctx.elements
            .get_mut(index)
            .ok_or_else(|| self.undeclared())?
            .push(bytes);
        Ok(())
    }
}

/// Takes a snapshot: the function must be able to go on from what it writes here alone.
#[derive(Default)]
pub struct SnapshotContext {
    elements: Vec<Vec<Vec<u8>>>,
    raw: Vec<u8>,
}

impl SnapshotContext {
    /// Sets the raw state: opaque bytes, to be declared by `raw_state`.
    pub fn set_raw(&mut self, raw: Vec<u8>) {
        self.raw = raw;
    }

    pub(crate) fn new(states: usize) -> Self {
        Self {
            elements: vec![Vec::new(); states],
            raw: Vec::new(),
        }
    }

    /// The snapshot's bytes, for states of these names and modes.
    pub(crate) fn finish(self, states: &[(&'static str, u32)]) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0];
        out.extend_from_slice(&(states.len() as u32).to_le_bytes());
        for ((name, mode), elements) in states.iter().zip(&self.elements) {
            out.extend_from_slice(&(name.len() as u32).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&mode.to_le_bytes());
            out.extend_from_slice(&(elements.len() as u32).to_le_bytes());
            for element in elements {
                out.extend_from_slice(&(element.len() as u32).to_le_bytes());
                out.extend_from_slice(element);
            }
        }
        out.extend_from_slice(&(self.raw.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.raw);
        out
    }
}

/// What the function starts with.
#[derive(Default)]
pub struct RestoreContext {
    is_restored: bool,
    elements: Vec<Vec<Vec<u8>>>,
    raw: Vec<u8>,
}

impl RestoreContext {
    /// False on a fresh start.
    pub fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// The raw state of this subtask's last snapshot; empty after a change of parallelism.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Reads a snapshot. States that the function no longer declares are left out: the host has decided
    /// whether that is allowed.
    pub(crate) fn parse(snapshot: &[u8], states: &[(&'static str, u32)]) -> Result<Self, String> {
        let mut context = Self {
            is_restored: !snapshot.is_empty(),
            elements: vec![Vec::new(); states.len()],
            raw: Vec::new(),
        };
        if snapshot.is_empty() {
            return Ok(context);
        }
        if snapshot[0] != VERSION {
            return Err(format!(
                "snapshot version {} is unknown to this SDK, which reads {VERSION}",
                snapshot[0]
            ));
        }
        let mut rest = snapshot.get(4..).unwrap_or_default();
        for _ in 0..take_u32(&mut rest)? {
            let length = take_u32(&mut rest)?;
            let name = take(&mut rest, length)?;
            let _mode = take_u32(&mut rest)?;
            let count = take_u32(&mut rest)?;
            let index = states.iter().position(|(state, _)| state.as_bytes() == name);
            for _ in 0..count {
                let length = take_u32(&mut rest)?;
                let element = take(&mut rest, length)?;
                if let Some(index) = index {
                    context.elements[index].push(element.to_vec());
                }
            }
        }
        let length = take_u32(&mut rest)?;
        context.raw = take(&mut rest, length)?.to_vec();
        Ok(context)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or("the snapshot ends within a field")?;
    *rest = left;
    Ok(taken)
}

fn take_u32(rest: &mut &[u8]) -> Result<usize, String> {
    Ok(read_u32(take(rest, 4)?, 0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [(&str, u32); 2] = [("buffer", 1), ("seen", 2)];

    fn snapshot() -> Vec<u8> {
        let mut ctx = SnapshotContext::new(2);
        let buffer = OperatorListState::<String>::new(0, "buffer");
        buffer.add(&mut ctx, &"a".to_owned()).unwrap();
        buffer.add(&mut ctx, &String::new()).unwrap();
        ctx.set_raw(vec![9, 8]);
        ctx.finish(&STATES)
    }

    #[test]
    fn a_snapshot_reads_back() {
        let ctx = RestoreContext::parse(&snapshot(), &STATES).unwrap();
        let buffer = OperatorListState::<String>::new(0, "buffer");
        let seen = OperatorListState::<u64>::new(1, "seen");
        assert_eq!(buffer.get(&ctx).unwrap(), ["a", ""]);
        assert_eq!(seen.get(&ctx).unwrap(), Vec::<u64>::new());
        assert_eq!((ctx.is_restored(), ctx.raw()), (true, &[9_u8, 8][..]));
    }

    #[test]
    fn nothing_is_a_fresh_start() {
        let ctx = RestoreContext::parse(&[], &STATES).unwrap();
        assert!(!ctx.is_restored());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let snapshot = snapshot();
        for end in 1..snapshot.len() {
            assert!(RestoreContext::parse(&snapshot[..end], &STATES).is_err(), "{end}");
        }
    }
}
