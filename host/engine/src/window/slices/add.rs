//! Elements into slices: state is read and written once a key and batch.

use wasmill_model::batch::Batch;
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::row::RowRef;
use wasmill_model::time::Timestamp;
use wasmill_state::backend::{StateKey, Values, Write};

use super::behind::Closed;
use super::due::DueKeys;
use super::slicing::{SliceNumber, Slicing, WindowNumber};
use super::stored::{Accumulator, Stored, put_entry};
use super::{SlicedWindows, StoredKeys, damaged};
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::output::Output;
use crate::window::assigner::WindowTime;
use crate::window::bounds::Window;
use crate::window::element::Element;
use crate::window::emitter::Emitter;
use crate::window::function::{Accumulators, IncrementalCall, MergeAccumulators, Step};
use crate::window::panes::{KeyId, PaneId, Panes};

/// What a batch adds. A pane is a key and a slice here.
#[derive(Default)]
pub(super) struct Adds<'a> {
    panes: Panes,
    /// By pane.
    slices: Vec<SliceNumber>,
    steps: Vec<Step<'a>>,
    /// By step: its row.
    rows: Vec<u32>,
    /// Elements of windows that are all gone, with their rows.
    pub(super) late: Vec<(u32, Element<'a>)>,
    /// The slice of the row before: most rows are in the same.
    last: Option<SliceOfRow>,
}

#[derive(Clone, Copy)]
struct SliceOfRow {
    number: SliceNumber,
    bounds: Window,
    is_open: bool,
}

impl SliceOfRow {
    fn holds(&self, time: Timestamp) -> bool {
        let (start, end) = self.bounds.bounds();
        start <= time && time < end
    }
}

impl SlicedWindows {
    /// Finds key and slice of a row.
    pub(super) fn plan<'a>(
        &self,
        index: u32,
        row: RowRef<'a>,
        adds: &mut Adds<'a>,
        context: &OperatorContext,
    ) -> Result<(), TaskError> {
        let time = WindowTime::Event.of(row, context.processing_time)?;
        let slice = match adds.last.filter(|last| last.holds(time)) {
            Some(last) => last,
            None => *adds.last.insert(self.slice_of(time, context.watermark)),
        };
        if !slice.is_open {
            if time <= context.watermark {
                adds.late.push((index, Element::of(row)));
            }
            return Ok(());
        }
        let key = match row.key().filter(|_| self.is_keyed) {
            Some(encoded) => {
                let group = KeyGroup(row.group_field() as u16);
                adds.panes.key(encoded, row.key_field(), group)
            }
            None if self.is_keyed => {
                return Err(TaskError::host("a window on keys: a record without a key"));
            }
            None => {
                let group = self.max_parallelism.group_of(key::hash(&[key::TAG_NULL]));
                adds.panes.key_of(&[key::TAG_NULL], group)
            }
        };
        let pane = adds.panes.pane(key, slice.bounds);
        if pane.index() == adds.slices.len() {
            adds.slices.push(slice.number);
        }
        adds.steps.push(Step::Add {
            pane,
            element: Element::of(row),
        });
        adds.rows.push(index);
        Ok(())
    }

    fn slice_of(&self, time: Timestamp, watermark: Timestamp) -> SliceOfRow {
        let number = self.slicing.slice_of(time);
        let (first, last) = self.slicing.windows_of(number);
        let open = self.slicing.first_after(watermark);
        SliceOfRow {
            number,
            bounds: self.slicing.slice(number),
            is_open: first <= last && open.is_some_and(|open| open <= last),
        }
    }

    /// Adds what was planned.
    pub(super) fn add<'a>(
        &mut self,
        adds: &mut Adds<'a>,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        let Some(open) = self.slicing.first_after(context.watermark) else {
            return Ok(());
        };
        if adds.steps.is_empty() {
            return Ok(());
        }
        let (panes, slices) = (std::mem::take(&mut adds.panes), std::mem::take(&mut adds.slices));
        let keys: Vec<StateKey<'_>> = (0..panes.key_count() as u32)
            .map(|id| panes.global_key(KeyId(id)))
            .collect();
        let mut values = Values::default();
        context.state.get_many(self.states.slices, &keys, &mut values)?;
        let stored = StoredKeys::new(values);
        let mut update = Update {
            slicing: self.slicing,
            open,
            by_key: ByKey::new(&panes),
            slices: &slices,
            stored: Vec::with_capacity(keys.len()),
            accumulators: Accumulators::empty(panes.len()),
            gone: Vec::new(),
        };
        update.load(&stored)?;
        if !update.gone.is_empty() {
            leave_out(&update.gone, adds);
        }
        let no_rows = Batch::default();
        let mut emitter = Emitter::new(Vec::new(), Vec::new(), &no_rows, out);
        self.function.run(IncrementalCall {
            steps: &adds.steps,
            sources: &[],
            panes: &panes,
            accumulators: &mut update.accumulators,
            context,
            out: &mut emitter,
        })?;
        emitter.finish();
        let mut due = DueKeys::default();
        let merging = self.function.merging().ok_or_else(cannot_merge)?;
        let new = update.encode(&keys, merging, &mut due)?;
        let writes: Vec<_> = new
            .changed
            .iter()
            .map(|(key, start, end)| Write {
                key: keys[*key],
                locator: stored.values.locators[*key],
                value: Some(&new.bytes[*start..*end]),
            })
            .collect();
        context.state.write_batch(self.states.slices, &writes)?;
        due.store(self.states.due, &self.slicing, context)?;
        Ok(())
    }
}

pub(super) fn cannot_merge() -> TaskError {
    TaskError::host("slices of a function that cannot merge")
}

/// Elements whose windows have all fired for their key are late after all.
fn leave_out(gone: &[PaneId], adds: &mut Adds<'_>) {
    let steps = std::mem::take(&mut adds.steps);
    let rows = std::mem::take(&mut adds.rows);
    for (step, row) in steps.into_iter().zip(rows) {
        match step {
            Step::Add { pane, element } if gone.contains(&pane) => adds.late.push((row, element)),
            step => adds.steps.push(step),
        }
    }
}

/// The panes of each key.
struct ByKey {
    first: Vec<u32>,
    next: Vec<u32>,
}

const END: u32 = u32::MAX;

impl ByKey {
    fn new(panes: &Panes) -> Self {
        let mut by_key = Self {
            first: vec![END; panes.key_count()],
            next: vec![END; panes.len()],
        };
        for pane in (0..panes.len() as u32).rev() {
            let KeyId(key) = panes.key_id(PaneId(pane));
            by_key.next[pane as usize] = by_key.first[key as usize];
            by_key.first[key as usize] = pane;
        }
        by_key
    }

    fn of(&self, key: usize) -> impl Iterator<Item = PaneId> {
        let first = Some(self.first[key]).filter(|first| *first != END);
        std::iter::successors(first, |pane| {
            Some(self.next[*pane as usize]).filter(|next| *next != END)
        })
        .map(PaneId)
    }
}

/// A batch on its way into stored slices.
struct Update<'u> {
    slicing: Slicing,
    /// The first window that the watermark has not passed.
    open: WindowNumber,
    by_key: ByKey,
    /// By pane.
    slices: &'u [SliceNumber],
    /// By key.
    stored: Vec<Option<Stored<'u>>>,
    accumulators: Accumulators,
    /// Panes whose windows have all fired.
    gone: Vec<PaneId>,
}

/// New values.
#[derive(Default)]
struct NewValues {
    bytes: Vec<u8>,
    /// Keys with their parts of `bytes`.
    changed: Vec<(usize, usize, usize)>,
}

impl<'u> Update<'u> {
    /// Takes accumulators of open slices out of what is stored.
    fn load(&mut self, keys: &'u StoredKeys) -> Result<(), TaskError> {
        for key in 0..keys.starts.len() {
            let bytes = keys.get(key);
            let stored = bytes
                .map(|bytes| Stored::decode(bytes).ok_or_else(damaged))
                .transpose()?;
            self.stored.push(stored);
            let Some(stored) = stored else { continue };
            for pane in self.by_key.of(key) {
                let slice = self.slices[pane.index()];
                if self.first_window(&stored, slice) > self.slicing.windows_of(slice).1 {
                    self.gone.push(pane);
                }
                if self.is_closed(&stored, slice) {
                    continue;
                }
                for entry in stored.entries(stored.open) {
                    let (number, accumulator) = entry.ok_or_else(damaged)?;
                    if number == slice {
                        self.accumulators.load(pane, accumulator.bytes());
                    }
                }
            }
        }
        Ok(())
    }

    /// The first window that an element of a slice is added to.
    fn first_window(&self, stored: &Stored<'_>, slice: SliceNumber) -> WindowNumber {
        let fired = stored
            .fired
            .map_or(WindowNumber::MIN, |fired| self.slicing.window_from(fired) + 1);
        self.slicing.windows_of(slice).0.max(self.open).max(fired)
    }

    /// Whether a slice is part of the running aggregates, or would be.
    fn is_closed(&self, stored: &Stored<'_>, slice: SliceNumber) -> bool {
        !stored.front.is_empty()
            && stored
                .fired
                .is_some_and(|fired| slice < fired + self.slicing.per_window())
    }

    fn encode(
        &self,
        keys: &[StateKey<'_>],
        merging: &mut dyn MergeAccumulators,
        due: &mut DueKeys,
    ) -> Result<NewValues, TaskError> {
        let (mut new, mut open, mut added) = (NewValues::default(), Vec::new(), Vec::new());
        for (key, address) in keys.iter().enumerate() {
            added.clear();
            let panes = self
                .by_key
                .of(key)
                .filter(|pane| self.accumulators.is_changed(*pane));
            added.extend(panes.map(|pane| (self.slices[pane.index()], pane)));
            added.sort_unstable_by_key(|(slice, _)| *slice);
            let Some((first, _)) = added.first() else { continue };
            let mut stored = self.stored[key].unwrap_or(Stored {
                base: *first,
                due: SliceNumber::MAX,
                ..Stored::default()
            });
            let windows = added.iter().map(|(slice, _)| self.first_window(&stored, *slice));
            let window = windows.min().unwrap_or(self.open);
            let (begins, _) = self.slicing.slices_of(window);
            if begins < stored.due {
                stored.due = begins;
                due.add(window, address.group, address.key);
            }
            let start = new.bytes.len();
            if added.iter().any(|(slice, _)| self.is_closed(&stored, *slice)) {
                self.encode_behind(stored, &added, merging, &mut new.bytes)?;
            } else {
                open.clear();
                self.merge_open(&stored, &added, &mut open)?;
                Stored {
                    open: &open,
                    ..stored
                }
                .encode(&mut new.bytes);
            }
            new.changed.push((key, start, new.bytes.len()));
        }
        Ok(new)
    }

    /// Open slices as they were, with those that were added to as they are now.
    fn merge_open(
        &self,
        stored: &Stored<'_>,
        added: &[(SliceNumber, PaneId)],
        out: &mut Vec<u8>,
    ) -> Result<(), TaskError> {
        let put = |(slice, pane): (SliceNumber, PaneId), out: &mut Vec<u8>| {
            if let Some(accumulator) = self.accumulators.get(pane) {
                put_entry(out, stored.base, slice, accumulator);
            }
        };
        let mut added = added.iter().copied().peekable();
        for entry in stored.entries(stored.open) {
            let (slice, accumulator) = entry.ok_or_else(damaged)?;
            while let Some(before) = added.next_if(|(new, _)| *new < slice) {
                put(before, out);
            }
            match added.next_if(|(new, _)| *new == slice) {
                Some(same) => put(same, out),
                None => put_entry(out, stored.base, slice, accumulator.bytes()),
            }
        }
        added.for_each(|new| put(new, out));
        Ok(())
    }

    /// With elements that came behind windows that have fired, but in time for later ones.
    fn encode_behind(
        &self,
        stored: Stored<'_>,
        added: &[(SliceNumber, PaneId)],
        merging: &mut dyn MergeAccumulators,
        out: &mut Vec<u8>,
    ) -> Result<(), TaskError> {
        let first_open = added.partition_point(|(slice, _)| self.is_closed(&stored, *slice));
        let (closed, in_open) = added.split_at(first_open);
        let mut parts = Closed::of(&stored);
        for (slice, pane) in closed {
            if let Some(accumulator) = self.accumulators.get(*pane) {
                parts.add(stored.base, *slice, accumulator, merging)?;
            }
        }
        let mut open = Vec::new();
        self.merge_open(&stored, in_open, &mut open)?;
        let new = Stored {
            front: &parts.front,
            back: &parts.back,
            aggregate: parts.aggregate.as_deref().map(Accumulator::Bytes),
            open: &open,
            ..stored
        };
        new.encode(out);
        Ok(())
    }
}
