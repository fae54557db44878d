//! A window fires for all keys of some key groups: one read and one write of state for each, and results in one call.

use wasmill_model::batch::Batch;
use wasmill_model::key::KeyGroup;
use wasmill_state::backend::{StateKey, Values, Write};
use wasmill_state::timers::{TimeDomain, Timer};

use super::add::cannot_merge;
use super::due::{self, DueKeys};
use super::slicing::{SliceNumber, Slicing, WindowNumber};
use super::stored::{Accumulator, Entries, Stored, put_entry};
use super::{SlicedWindows, StoredKeys, damaged};
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::output::Output;
use crate::window::bounds::Window;
use crate::window::emitter::{Emitter, StepId};
use crate::window::function::{Accumulators, IncrementalCall, MergeAccumulators, Step};
use crate::window::panes::{KeyId, PaneId, Panes};

/// Keys that fire in one call, at least one element of a list: the rest of a longer list waits for the next.
const KEYS_PER_CALL: usize = 16 * 1024;

/// Keys that fire together: what they need stays in the processor's cache.
const KEYS_PER_TURN: usize = 2 * 1024;

/// The keys to fire.
#[derive(Default)]
struct Wanted {
    panes: Panes,
    /// By key: the timer that fires it.
    causes: Vec<u32>,
}

impl SlicedWindows {
    /// Fires a window by its timers, from the first; returns how many were done with.
    pub(super) fn fire(
        &mut self,
        window: Window,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let (mut wanted, mut taken, mut keys) = (Wanted::default(), 0, 0);
        for timer in timers {
            self.take_list(window, timer.group, taken, &mut wanted, context)?;
            taken += 1;
            if wanted.causes.len() >= KEYS_PER_TURN {
                keys += wanted.causes.len();
                self.fire_keys(window, taken, std::mem::take(&mut wanted), context, out)?;
            }
            if keys >= KEYS_PER_CALL {
                break;
            }
        }
        self.fire_keys(window, taken, wanted, context, out)?;
        Ok(taken)
    }

    fn take_list(
        &self,
        window: Window,
        group: KeyGroup,
        cause: u32,
        wanted: &mut Wanted,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        let runs = due::take(&mut *context.state, self.states.due, group, window)?;
        for (index, run) in runs.iter().enumerate() {
            if wanted.causes.len() >= KEYS_PER_CALL {
                due::put_back(
                    &mut *context.state,
                    self.states.due,
                    group,
                    window,
                    &runs[index..],
                )?;
                context
                    .timers
                    .register(TimeDomain::Event, &due::timer(group, window));
                return Ok(());
            }
            for key in due::keys(run) {
                let KeyId(id) = wanted.panes.key_of(key?, group);
                // A key may be in a list more than once.
                if id as usize == wanted.causes.len() {
                    wanted.causes.push(cause);
                }
            }
        }
        Ok(())
    }

    fn fire_keys(
        &mut self,
        window: Window,
        timers: u32,
        wanted: Wanted,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        let Wanted { mut panes, causes } = wanted;
        if causes.is_empty() {
            return Ok(());
        }
        // The pane of each key has its number.
        let keys = 0..panes.key_count() as u32;
        keys.for_each(|id| panes.add_pane(KeyId(id), window));
        let keys: Vec<StateKey<'_>> = (0..panes.key_count() as u32)
            .map(|id| panes.global_key(KeyId(id)))
            .collect();
        let mut values = Values::default();
        context.state.get_many(self.states.slices, &keys, &mut values)?;
        let stored = StoredKeys::new(values);
        let mut fired = Fired {
            accumulators: Accumulators::empty(panes.len()),
            steps: Vec::new(),
            due: DueKeys::default(),
            bytes: Vec::new(),
            changed: Vec::new(),
        };
        let mut advance = Advance::new(self.slicing, self.slicing.number(window));
        let merging = self.function.merging().ok_or_else(cannot_merge)?;
        for (key, cause) in causes.into_iter().enumerate() {
            let before = stored
                .get(key)
                .map(|bytes| Stored::decode(bytes).ok_or_else(damaged));
            // One whose window is another has gone on, or went back to an earlier one and fires there first.
            if let Some(before) = before.transpose()?.filter(|before| before.due == advance.first) {
                let next = advance.run(&before, merging, &mut fired.bytes)?;
                fired.add(key, &keys[key], next);
                if advance.has_result {
                    fired.emit(PaneId(key as u32), window, StepId(cause), &advance.result);
                }
            }
        }
        let writes = fired.writes(&keys, &stored);
        context.state.write_batch(self.states.slices, &writes)?;
        fired.due.store(self.states.due, &self.slicing, context)?;
        let no_rows = Batch::default();
        let mut emitter = Emitter::new(Vec::new(), (0..timers).collect(), &no_rows, out);
        self.function.run(IncrementalCall {
            steps: &fired.steps,
            sources: &[],
            panes: &panes,
            accumulators: &mut fired.accumulators,
            context,
            out: &mut emitter,
        })?;
        emitter.finish();
        Ok(())
    }
}

/// What a firing leaves to be done.
struct Fired {
    /// Of windows.
    accumulators: Accumulators,
    steps: Vec<Step<'static>>,
    due: DueKeys,
    /// What is to be stored.
    bytes: Vec<u8>,
    /// Keys with the end of their part of `bytes`; none where nothing is left of a key.
    changed: Vec<(usize, Option<usize>)>,
}

impl Fired {
    /// A key's part of `bytes` is written, where it has a next window.
    fn add(&mut self, key: usize, address: &StateKey<'_>, next: Option<WindowNumber>) {
        self.changed.push((key, next.map(|_| self.bytes.len())));
        if let Some(next) = next {
            self.due.add(next, address.group, address.key);
        }
    }

    fn emit(&mut self, pane: PaneId, window: Window, step: StepId, accumulator: &[u8]) {
        self.accumulators.load(pane, accumulator);
        self.steps.push(Step::Fire {
            pane,
            fired: pane,
            window,
            step,
            even_empty: false,
        });
        self.steps.push(Step::Clear { pane, window, step });
    }

    fn writes<'w>(&'w self, keys: &[StateKey<'w>], stored: &StoredKeys) -> Vec<Write<'w>> {
        let mut start = 0;
        let write = |(key, end): &(usize, Option<usize>)| Write {
            key: keys[*key],
            locator: stored.values.locators[*key],
            value: end.map(|end| &self.bytes[std::mem::replace(&mut start, end)..end]),
        };
        self.changed.iter().map(write).collect()
    }
}

/// Takes the slices of keys over the firing of one window.
struct Advance {
    slicing: Slicing,
    number: WindowNumber,
    /// Slices of the window: from (inclusive), to (exclusive).
    first: SliceNumber,
    end: SliceNumber,
    has_result: bool,
    /// The accumulator of the window.
    result: Vec<u8>,
    front: Vec<u8>,
    back: Vec<u8>,
    open: Vec<u8>,
    aggregate: Vec<u8>,
    /// Accumulators of slices, and aggregates from them on, that go to the front: parts of `scratch`.
    slices: Vec<(SliceNumber, usize, usize)>,
    scratch: Vec<u8>,
}

impl Advance {
    fn new(slicing: Slicing, number: WindowNumber) -> Self {
        let (first, end) = slicing.slices_of(number);
        Self {
            slicing,
            number,
            first,
            end,
            has_result: false,
            result: Vec::new(),
            front: Vec::new(),
            back: Vec::new(),
            open: Vec::new(),
            aggregate: Vec::new(),
            slices: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Computes a key's result, appends what is to be stored for it, and returns the window that it has something in
    /// next; none where nothing is left.
    fn run(
        &mut self,
        before: &Stored<'_>,
        merging: &mut dyn MergeAccumulators,
        out: &mut Vec<u8>,
    ) -> Result<Option<WindowNumber>, TaskError> {
        let (front, oldest) = from(before.entries(before.front), self.first)?;
        let (open, next_open) = from(before.entries(before.open), self.end)?;
        let entering = &before.open[..before.open.len() - open.rest().len()];
        let mut after = Stored {
            fired: Some(self.first),
            ..*before
        };
        match oldest {
            Some(oldest) => {
                self.enter(before, entering, merging)?;
                self.result.clear();
                self.result.extend_from_slice(oldest.1.bytes());
                if !self.back.is_empty() {
                    merging.merge(&mut self.result, &self.aggregate)?;
                    after.aggregate = Some(Accumulator::Bytes(&self.aggregate));
                }
                (after.front, after.back, after.open) = (front.rest(), &self.back, open.rest());
                self.has_result = true;
            }
            None => {
                self.turn(before, entering, open, merging)?;
                after.base = self.first;
                after.aggregate = None;
                (after.front, after.back, after.open) = (&self.front, &[], &self.open);
            }
        }
        let next = match self.reaches_on(&after)? {
            true => self.number + 1,
            false => {
                (after.front, after.back, after.aggregate) = (&[], &[], None);
                let Some((slice, _)) = next_open else {
                    return Ok(None);
                };
                self.slicing.windows_of(slice).0.max(self.number + 1)
            }
        };
        after.due = self.slicing.slices_of(next).0;
        after.encode(out);
        Ok(Some(next))
    }

    /// Slices that are in the window for the first time go to the back.
    fn enter(
        &mut self,
        before: &Stored<'_>,
        entering: &[u8],
        merging: &mut dyn MergeAccumulators,
    ) -> Result<(), TaskError> {
        self.back.clear();
        self.back.extend_from_slice(before.back);
        self.back.extend_from_slice(entering);
        self.aggregate.clear();
        let mut is_empty = before.aggregate.is_none();
        if let Some(aggregate) = &before.aggregate {
            self.aggregate.extend_from_slice(aggregate.bytes());
        }
        for entry in before.entries(entering) {
            let (_, accumulator) = entry.ok_or_else(damaged)?;
            match is_empty {
                true => self.aggregate.extend_from_slice(accumulator.bytes()),
                false => merging.merge(&mut self.aggregate, accumulator.bytes())?,
            }
            is_empty = false;
        }
        Ok(())
    }

    /// The front is used up: the back and the slices that enter make a new one, with aggregates from the last slice
    /// to the first. Each slice goes through this once, so a slide costs a constant number of merges on average.
    fn turn(
        &mut self,
        before: &Stored<'_>,
        entering: &[u8],
        open: Entries<'_>,
        merging: &mut dyn MergeAccumulators,
    ) -> Result<(), TaskError> {
        self.slices.clear();
        self.scratch.clear();
        for entry in before.entries(before.back).chain(before.entries(entering)) {
            let (slice, accumulator) = entry.ok_or_else(damaged)?;
            if slice >= self.first {
                let start = self.scratch.len();
                self.scratch.extend_from_slice(accumulator.bytes());
                self.slices.push((slice, start, self.scratch.len()));
            }
        }
        self.result.clear();
        self.has_result = !self.slices.is_empty();
        let last = self.slices.len().saturating_sub(1);
        for (index, (_, start, end)) in self.slices.iter_mut().enumerate().rev() {
            if index == last {
                self.result.extend_from_slice(&self.scratch[*start..*end]);
                continue;
            }
            merging.merge(&mut self.result, &self.scratch[*start..*end])?;
            *start = self.scratch.len();
            self.scratch.extend_from_slice(&self.result);
            *end = self.scratch.len();
        }
        self.front.clear();
        for (slice, start, end) in &self.slices {
            put_entry(&mut self.front, self.first, *slice, &self.scratch[*start..*end]);
        }
        self.open.clear();
        for entry in open {
            let (slice, accumulator) = entry.ok_or_else(damaged)?;
            put_entry(&mut self.open, self.first, slice, accumulator.bytes());
        }
        Ok(())
    }

    /// Whether the next window has something of the slices that this one had.
    fn reaches_on(&self, after: &Stored<'_>) -> Result<bool, TaskError> {
        let next = self.first + self.slicing.per_slide();
        let (_, front) = from(after.entries(after.front), next)?;
        Ok(front.is_some() || from(after.entries(after.back), next)?.1.is_some())
    }
}

type Entry<'a> = (SliceNumber, Accumulator<'a>);

/// The entries from a slice on, and the first of them.
fn from(mut entries: Entries<'_>, first: SliceNumber) -> Result<(Entries<'_>, Option<Entry<'_>>), TaskError> {
    loop {
        let rest = entries;
        match entries.next() {
            None => return Ok((rest, None)),
            Some(entry) => {
                let entry = entry.ok_or_else(damaged)?;
                if entry.0 >= first {
                    return Ok((rest, Some(entry)));
                }
            }
        }
    }
}
