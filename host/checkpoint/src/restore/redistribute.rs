//! Deals a checkpoint out to the operators of a job, at whatever parallelism they have now (C8). Pure.
//!
//! Invariant: every key group, list element and committable of the checkpoint goes to exactly one place
//! (union and broadcast state to all by their mode), or its operator is reported as dropped.

use std::collections::BTreeMap;

use wasmill_model::function::{OperatorStateMode, StateDeclaration};
use wasmill_model::id::OperatorUid;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_state::operator_state;

use super::RestoreError;
use crate::handle::{Base64Bytes, Committable, Data, NativeState, OperatorList, OperatorState};
use crate::manifest::{Manifest, OperatorManifest};

/// An operator of the job that is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its uid.
    pub uid: OperatorUid,
    /// Its parallelism now.
    pub parallelism: u32,
}

/// Who gets what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestorePlan {
    /// By operator; one that is not in it starts fresh.
    pub operators: BTreeMap<OperatorUid, OperatorRestore>,
    /// State that was dropped because nobody claims it.
    pub dropped: Vec<OperatorUid>,
}

/// What an operator gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorRestore {
    /// Of all subtasks, for the sink's recovery.
    pub committables: Vec<Committable>,
    /// By subtask index, of the new parallelism.
    pub subtasks: Vec<SubtaskRestore>,
}

/// What a subtask gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubtaskRestore {
    /// Keyed state: each part is to be given to the backend's `restore`.
    pub keyed: Vec<KeyedPart>,
    /// Operator state, redistributed by its mode.
    pub lists: Vec<OperatorList>,
    /// Raw state: only where the parallelism is the same.
    pub raw: Vec<u8>,
    /// Records in flight of which it may get some.
    pub in_flight: Vec<InFlightPart>,
}

/// Records in flight of one of the old subtasks. Where the parallelism is another, each new subtask is given all: a
/// record that was read goes to the one that owns its key group, everything else to the one of the old subtask's index
/// modulo the new parallelism.
#[derive(Clone, Debug, PartialEq)]
pub struct InFlightPart {
    /// The bytes ([`crate::in_flight`]); a file is relative to [`super::Restored::directory`].
    pub data: Data,
    /// Index of the old subtask.
    pub from: u32,
}

/// A range of key groups out of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedPart {
    /// The bytes; a file is relative to [`super::Restored::directory`].
    pub data: Data,
    /// The groups to take from it.
    pub range: KeyGroupRange,
    /// What the file holds.
    pub states: Vec<StateDeclaration>,
    /// Entries in a backend's own files, of which those of `range` are to be taken.
    pub native: Option<NativePart>,
}

/// A backend's own files of one old subtask.
#[derive(Clone, Debug, PartialEq)]
pub struct NativePart {
    /// The groups that they cover.
    pub range: KeyGroupRange,
    /// They.
    pub state: NativeState,
}

/// Deals a checkpoint out to the operators of a job. `max_parallelism` is what the job sets, where it
/// sets one; else it takes the checkpoint's. With `allow_non_restored`, state that no operator claims is
/// dropped instead of refused.
pub fn redistribute(
    manifest: &Manifest,
    targets: &[Target],
    max_parallelism: Option<MaxParallelism>,
    allow_non_restored: bool,
) -> Result<RestorePlan, RestoreError> {
    let stored = manifest.max_parallelism;
    if let Some(wanted) = max_parallelism.filter(|wanted| *wanted != stored) {
        return Err(RestoreError::MaxParallelism {
            stored: stored.0,
            wanted: wanted.0,
        });
    }
    let claims: BTreeMap<&OperatorUid, u32> = targets.iter().map(|t| (&t.uid, t.parallelism)).collect();
    let mut plan = RestorePlan::default();
    for (uid, operator) in &manifest.operators {
        match claims.get(uid) {
            Some(parallelism) => {
                plan.operators
                    .insert(uid.clone(), deal_out(operator, *parallelism, stored));
            }
            None if operator.subtasks.values().any(holds_something) => plan.dropped.push(uid.clone()),
            None => {}
        }
    }
    if !plan.dropped.is_empty() && !allow_non_restored {
        return Err(RestoreError::Unclaimed { uids: plan.dropped });
    }
    Ok(plan)
}

fn holds_something(state: &OperatorState) -> bool {
    let OperatorState {
        keyed,
        lists,
        raw,
        committables,
        in_flight,
    } = state;
    keyed.is_some()
        || lists.iter().any(|list| !list.elements.is_empty())
        || !raw.is_empty()
        || !committables.is_empty()
        || in_flight.is_some()
}

fn deal_out(operator: &OperatorManifest, parallelism: u32, groups: MaxParallelism) -> OperatorRestore {
    let mut subtasks: Vec<_> = (0..parallelism)
        .map(|index| SubtaskRestore {
            keyed: keyed_parts(operator, groups.range_of(index, parallelism)),
            lists: Vec::new(),
            raw: raw_state(operator, index, parallelism),
            in_flight: in_flight(operator, index, parallelism),
        })
        .collect();
    for (name, mode) in lists(operator) {
        let old = elements(operator, name);
        for (index, subtask) in (0u32..).zip(&mut subtasks) {
            let elements = operator_state::redistribute(mode, &old, index, parallelism);
            subtask.lists.push(OperatorList {
                name: name.to_owned(),
                mode,
                elements,
            });
        }
    }
    let committables = operator
        .subtasks
        .values()
        .flat_map(|state| state.committables.iter().cloned());
    OperatorRestore {
        committables: committables.collect(),
        subtasks,
    }
}

fn keyed_parts(operator: &OperatorManifest, range: KeyGroupRange) -> Vec<KeyedPart> {
    let stored = operator
        .subtasks
        .values()
        .filter_map(|state| state.keyed.as_ref());
    stored
        .map(|keyed| KeyedPart {
            data: keyed.data.clone(),
            range: keyed.range.intersect(range),
            states: keyed.states.clone(),
            native: keyed.native.clone().map(|state| NativePart {
                range: keyed.range,
                state,
            }),
        })
        .filter(|part| !part.range.is_empty())
        .collect()
}

fn in_flight(operator: &OperatorManifest, index: u32, parallelism: u32) -> Vec<InFlightPart> {
    let rescaled = operator.parallelism != parallelism;
    let stored = operator.subtasks.iter();
    stored
        .filter(|(from, _)| rescaled || **from == index)
        .filter_map(|(from, state)| {
            Some(InFlightPart {
                data: state.in_flight.clone()?,
                from: *from,
            })
        })
        .collect()
}

/// Names and modes of all operator states, each once, by name.
fn lists(operator: &OperatorManifest) -> BTreeMap<&str, OperatorStateMode> {
    let lists = operator.subtasks.values().flat_map(|state| &state.lists);
    lists.map(|list| (list.name.as_str(), list.mode)).collect()
}

/// What each of the old subtasks held of an operator state.
fn elements(operator: &OperatorManifest, name: &str) -> Vec<Vec<Base64Bytes>> {
    let of = |index: u32| {
        let lists = operator
            .subtasks
            .get(&index)
            .map(|state| state.lists.as_slice())
            .unwrap_or_default();
        let named = lists.iter().filter(|list| list.name == name);
        named.flat_map(|list| list.elements.iter().cloned()).collect()
    };
    (0..operator.parallelism).map(of).collect()
}

/// Opaque bytes cannot be split: they go to the same subtask, or nowhere.
fn raw_state(operator: &OperatorManifest, index: u32, parallelism: u32) -> Vec<u8> {
    let same = operator.parallelism == parallelism;
    let state = operator.subtasks.get(&index).filter(|_| same);
    state.map(|state| state.raw.clone()).unwrap_or_default()
}
