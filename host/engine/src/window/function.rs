//! The seam to what is computed in windows (W6): many elements, many panes, one call.
//!
//! An *incremental* function (reduce, aggregate, either with a process function behind it) keeps one accumulator a
//! pane. A function over *elements* (process, apply) gets all of them when its window fires. The operator plans a
//! batch as steps and hands all of them over at once, so that a component is entered once a batch.

use std::ops::Range;
use std::sync::Arc;

use wasmill_model::function::StateDeclaration;
use wasmill_state::backend::StateId;
use wasmill_state::migration::Migration;

use super::bounds::Window;
use super::element::Element;
use super::emitter::{Emitter, StepId};
use super::panes::{PaneId, Panes};
use crate::error::TaskError;
use crate::operator::{OperatorContext, RuntimeContext};

/// What a window computes.
pub enum WindowFunction {
    /// Over an accumulator.
    Incremental(Box<dyn IncrementalFunction>),
    /// Over all elements.
    Elements(Box<dyn ElementsFunction>),
}

/// What happens to a pane. Steps are to be done in order.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// An element joins the accumulator; the first one makes it.
    Add {
        /// Whose.
        pane: PaneId,
        /// The element.
        element: Element<'a>,
    },
    /// Accumulators of other panes are merged, each into the one before, and the whole into the target's; they are
    /// removed.
    Merge {
        /// Where to.
        target: PaneId,
        /// Which, in this order: a part of [`IncrementalCall::sources`].
        sources: Range<usize>,
    },
    /// The result is emitted, with [`Window::max_timestamp`] of the window; nothing where there is no accumulator.
    Fire {
        /// Whose accumulator.
        pane: PaneId,
        /// The key and the window that fires: of a merged one it is not the pane of the accumulator.
        fired: PaneId,
        /// The window that fires.
        window: Window,
        /// What to emit under.
        step: StepId,
        /// Whether to emit the result of an empty accumulator where there is none: an evictor removed all.
        even_empty: bool,
    },
    /// The accumulator is removed.
    Purge {
        /// Whose.
        pane: PaneId,
    },
    /// The window is gone; state of the function's own in its namespace goes.
    Clear {
        /// Key and namespace.
        pane: PaneId,
        /// The window.
        window: Window,
        /// What to emit under.
        step: StepId,
    },
}

/// One call of an incremental function.
pub struct IncrementalCall<'c, 'a, 'o> {
    /// What to do, in order.
    pub steps: &'c [Step<'c>],
    /// Panes that steps merge.
    pub sources: &'c [PaneId],
    /// Keys and windows.
    pub panes: &'c Panes,
    /// Accumulators as they were before the call; as they are to be after it. Not those of a function that keeps
    /// them itself.
    pub accumulators: &'c mut Accumulators,
    /// State of the function's own, clocks, metrics.
    pub context: &'c mut OperatorContext,
    /// Where results go.
    pub out: &'c mut Emitter<'a, 'o>,
}

/// Computes over one accumulator a pane.
pub trait IncrementalFunction: Send {
    /// How the accumulator is stored. Name and kind are the operator's.
    fn accumulator(&self) -> AccumulatorEncoding;

    /// What converts accumulators that an older version of the function has stored, where anything does (S8). Asked for before
    /// [`IncrementalFunction::open`].
    fn migration(&self, runtime: &Arc<RuntimeContext>) -> Option<Box<dyn Migration>> {
        let _ = runtime;
        None
    }

    /// Whether it reads and writes accumulators itself, in the state that [`IncrementalFunction::open`] names.
    fn keeps_accumulators(&self) -> bool {
        false
    }

    /// Called once before all else; `accumulators` is the state that holds them.
    fn open(&mut self, accumulators: StateId, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = (accumulators, context);
        Ok(())
    }

    /// Does all steps.
    fn run(&mut self, call: IncrementalCall<'_, '_, '_>) -> Result<(), TaskError>;

    /// Of a function that keeps accumulators itself: whether a pane may have had none before the last run.
    fn found_none(&self, pane: PaneId) -> bool {
        let _ = pane;
        true
    }

    /// How accumulators merge, where they do so in any order and the result does not depend on it: windows are then
    /// made of slices ([`super::slices`]). `None`: they are folded in the order of arrival.
    fn merging(&mut self) -> Option<&mut dyn MergeAccumulators> {
        None
    }

    /// Called once at an orderly end.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }
}

/// Merges accumulators of a commutative function, one call a merge.
pub trait MergeAccumulators {
    /// Merges an accumulator into another.
    fn merge(&mut self, into: &mut Vec<u8>, from: &[u8]) -> Result<(), TaskError>;
}

/// How an accumulator's bytes are to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct AccumulatorEncoding {
    /// As [`StateDeclaration::encoding`].
    pub encoding: String,
    /// As [`StateDeclaration::schema`].
    pub schema: serde_json::Value,
    /// As [`StateDeclaration::schema_version`].
    pub schema_version: u32,
    /// As [`StateDeclaration::migrates_from`].
    pub migrates_from: Option<u32>,
}

impl AccumulatorEncoding {
    /// Of version 1, without schema.
    pub fn named(encoding: &str) -> Self {
        Self {
            encoding: encoding.to_owned(),
            schema: serde_json::Value::Null,
            schema_version: 1,
            migrates_from: None,
        }
    }

    pub(super) fn apply(self, declaration: StateDeclaration) -> StateDeclaration {
        StateDeclaration {
            encoding: self.encoding,
            schema: self.schema,
            schema_version: self.schema_version,
            migrates_from: self.migrates_from,
            ..declaration
        }
    }
}

/// What happens to a function over elements. Steps are to be done in order.
#[derive(Clone, Debug)]
pub enum ElementsStep {
    /// The function runs.
    Fire {
        /// The key and the window that fires.
        pane: PaneId,
        /// That window.
        window: Window,
        /// What to emit under.
        step: StepId,
        /// Its elements: a part of [`ElementsCall::elements`]. Empty where an evictor removed all.
        elements: Range<usize>,
    },
    /// The window is gone; state of the function's own in its namespace goes.
    Clear {
        /// Key and namespace.
        pane: PaneId,
        /// The window.
        window: Window,
        /// What to emit under.
        step: StepId,
    },
}

/// One call of a function over elements.
pub struct ElementsCall<'c, 'a, 'o> {
    /// What to do, in order.
    pub steps: &'c [ElementsStep],
    /// The elements of all firings.
    pub elements: &'c [Element<'c>],
    /// Keys and windows.
    pub panes: &'c Panes,
    /// State of the function's own, clocks, metrics.
    pub context: &'c mut OperatorContext,
    /// Where results go.
    pub out: &'c mut Emitter<'a, 'o>,
}

/// Computes over all elements of a window.
pub trait ElementsFunction: Send {
    /// Called once before all else.
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// Does all steps.
    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError>;

    /// Called once at an orderly end.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }
}

/// The accumulators of a batch's panes.
#[derive(Debug, Default)]
pub struct Accumulators {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: usize,
    length: usize,
    /// Room that it may grow into.
    capacity: usize,
    is_present: bool,
    is_changed: bool,
}

impl Accumulators {
    /// None for any of so many panes.
    pub fn empty(panes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            places: vec![Place::default(); panes],
        }
    }

    /// Of values as a backend gives them, in the order of panes.
    pub(super) fn of(bytes: Vec<u8>, lengths: &[u32]) -> Self {
        let mut start = 0;
        let places = lengths.iter().map(|length| {
            let is_present = *length != wasmill_state::backend::NONE;
            let length = if is_present { *length as usize } else { 0 };
            start += length;
            Place {
                start: start - length,
                length,
                capacity: length,
                is_present,
                is_changed: false,
            }
        });
        Self {
            places: places.collect(),
            bytes,
        }
    }

    /// The accumulator of a pane.
    pub fn get(&self, pane: PaneId) -> Option<&[u8]> {
        let place = self.places[pane.index()];
        place
            .is_present
            .then(|| &self.bytes[place.start..place.start + place.length])
    }

    /// Its bytes to be changed in place; marks it as changed.
    pub fn get_mut(&mut self, pane: PaneId) -> Option<&mut [u8]> {
        let place = &mut self.places[pane.index()];
        place.is_changed |= place.is_present;
        place
            .is_present
            .then(|| &mut self.bytes[place.start..place.start + place.length])
    }

    /// Sets it.
    pub fn set(&mut self, pane: PaneId, value: &[u8]) {
        let place = &mut self.places[pane.index()];
        if value.len() > place.capacity {
            // One that grows with every element is not copied with every element.
            (place.start, place.capacity) = (self.bytes.len(), value.len() * 2);
            self.bytes.extend_from_slice(value);
            self.bytes.resize(place.start + place.capacity, 0);
        } else {
            self.bytes[place.start..place.start + value.len()].copy_from_slice(value);
        }
        (place.length, place.is_present, place.is_changed) = (value.len(), true, true);
    }

    /// Sets it to what it was before the call: that is no change.
    pub(super) fn load(&mut self, pane: PaneId, value: &[u8]) {
        self.set(pane, value);
        self.places[pane.index()].is_changed = false;
    }

    /// Whether it was changed since.
    pub(super) fn is_changed(&self, pane: PaneId) -> bool {
        self.places[pane.index()].is_changed
    }

    /// Removes it.
    pub fn remove(&mut self, pane: PaneId) {
        let place = &mut self.places[pane.index()];
        place.is_changed |= place.is_present;
        place.is_present = false;
    }

    /// The panes whose accumulators changed, with what they are now.
    pub(super) fn changed(&self) -> impl Iterator<Item = (PaneId, Option<&[u8]>)> {
        let changed = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_changed);
        changed
            .map(|(index, _)| PaneId(index as u32))
            .map(|pane| (pane, self.get(pane)))
    }
}
