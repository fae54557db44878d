//! Which keys have something in a window that is to fire: a list for each key group and window, and one timer for it.
//!
//! A key is in the list of the first window that it has something in; when that fires it goes on to the next. So a
//! key and slide cost a few bytes of a list, where a timer each would cost a search and three allocations. A key that
//! got an earlier window stays in the list of the later one as well: its stored slices say which one counts.
//!
//! An element of a list is a run of keys, each behind its length as LEB128: part of the checkpoint format.

use std::collections::BTreeMap;

use wasmill_model::key::{self, KeyGroup};
use wasmill_state::backend::{KeyedStateBackend, Page, StateId, StateKey};
use wasmill_state::timers::{TimeDomain, Timer};

use super::slicing::{Slicing, WindowNumber};
use super::stored::{put_unsigned, unsigned};
use crate::error::TaskError;
use crate::operator::OperatorContext;
use crate::window::bounds::{Namespace, Window};

/// Keys of a list that are read at once.
const PAGE_BYTES: usize = 64 * 1024;

/// Keys that wait to be added to lists.
#[derive(Default)]
pub(super) struct DueKeys {
    lists: BTreeMap<(WindowNumber, KeyGroup), Vec<u8>>,
    /// The last list that was added to: most come in runs.
    last: Option<(WindowNumber, KeyGroup)>,
    run: Vec<u8>,
}

impl DueKeys {
    /// Adds a key to the list of a window.
    pub(super) fn add(&mut self, window: WindowNumber, group: KeyGroup, key: &[u8]) {
        if self.last != Some((window, group)) {
            self.end_run();
            self.last = Some((window, group));
        }
        put_unsigned(&mut self.run, key.len() as u64);
        self.run.extend_from_slice(key);
    }

    fn end_run(&mut self) {
        if let Some(list) = self.last.take() {
            self.lists.entry(list).or_default().append(&mut self.run);
        }
    }

    /// Writes the lists and registers their timers; returns the first of those.
    pub(super) fn store(
        &mut self,
        state: StateId,
        slicing: &Slicing,
        context: &mut OperatorContext,
    ) -> Result<Option<Timer>, TaskError> {
        self.end_run();
        let mut first: Option<Timer> = None;
        for ((window, group), keys) in std::mem::take(&mut self.lists) {
            let window = slicing.window(window);
            let namespace = window.namespace();
            context.state.append(state, list_key(group, &namespace), &keys)?;
            let timer = timer(group, window);
            first = Some(first.map_or_else(|| timer.clone(), |first| first.min(timer.clone())));
            context.timers.register(TimeDomain::Event, &timer);
        }
        Ok(first)
    }
}

/// The timer of a list.
pub(super) fn timer(group: KeyGroup, window: Window) -> Timer {
    Timer {
        timestamp: window.max_timestamp(),
        group,
        key: Default::default(),
        namespace: (&*window.namespace()).into(),
    }
}

// NOTE: no key of a record is empty, for it has a tag.
fn list_key(group: KeyGroup, namespace: &Namespace) -> StateKey<'_> {
    StateKey {
        group,
        hash: key::hash(&[]) as u32,
        key: &[],
        namespace,
        map_key: &[],
    }
}

/// Takes a list out of the state: its elements.
pub(super) fn take(
    backend: &mut dyn KeyedStateBackend,
    state: StateId,
    group: KeyGroup,
    window: Window,
) -> Result<Vec<Vec<u8>>, TaskError> {
    let namespace = window.namespace();
    let key = list_key(group, &namespace);
    let (mut runs, mut page) = (Vec::new(), Page::default());
    loop {
        backend.list_page(state, key, runs.len() as u64, PAGE_BYTES, &mut page)?;
        runs.extend(page.entries.drain(..).map(|(_, run)| run));
        if page.done {
            backend.clear(state, key)?;
            return Ok(runs);
        }
    }
}

/// Puts elements back that were taken and not used.
pub(super) fn put_back(
    backend: &mut dyn KeyedStateBackend,
    state: StateId,
    group: KeyGroup,
    window: Window,
    runs: &[Vec<u8>],
) -> Result<(), TaskError> {
    let namespace = window.namespace();
    for run in runs {
        backend.append(state, list_key(group, &namespace), run)?;
    }
    Ok(())
}

/// The keys of an element; an error behind the last whole one where it is damaged.
pub(super) fn keys(mut run: &[u8]) -> impl Iterator<Item = Result<&[u8], TaskError>> {
    std::iter::from_fn(move || {
        if run.is_empty() {
            return None;
        }
        let key = unsigned(&mut run)
            .and_then(|length| run.split_at_checked(usize::try_from(length).ok()?))
            .map(|(key, rest)| {
                run = rest;
                key
            });
        if key.is_none() {
            run = &[];
        }
        Some(key.ok_or_else(|| TaskError::host("a stored list of keys with due windows is damaged")))
    })
}
