//! Incremental cleanup of states with time to live (S4).
//!
//! Each access of such a state is counted. After a call of the operator so many entries are looked at for each, one table
//! after another from where the last call stopped, and those that are over go, as if a function had removed them.
//! A pass also learns when the next entry can be over, and until then nothing is looked at. Invariants: nothing goes that
//! is not over; a state without time to live costs a test for a batch, and the same calls remove the same.

use wasmill_model::function::{IncrementalCleanup, StateDeclaration};
use wasmill_model::time::Timestamp;

use super::table::{TableFull, address_of_key};
use super::{MemoryBackend, Tables};
use crate::backend::{StateError, StateId};
use crate::states::usage;
use crate::ttl::TimeToLive;

/// By number of the state.
#[derive(Default)]
pub(super) struct Cleanups(Vec<Option<Cleanup>>);

/// How far the cleanup of one state is.
struct Cleanup {
    /// Since the last call of the operator.
    accesses: u64,
    /// Until then nothing is over.
    quiet_until: Timestamp,
    pass: Option<Pass>,
}

/// Once through all tables of a state.
struct Pass {
    /// The table that it is in.
    table: usize,
    /// No entry that is left has a lesser stamp.
    oldest: Timestamp,
}

impl Cleanups {
    /// A state was made known.
    pub(super) fn register(&mut self, id: StateId, declaration: &StateDeclaration) {
        if declaration
            .ttl
            .and_then(|ttl| ttl.incremental_cleanup())
            .is_none()
        {
            return;
        }
        let number = usize::from(id.0);
        self.0.resize_with(self.0.len().max(number + 1), Option::default);
        self.0[number].get_or_insert(Cleanup {
            accesses: 0,
            quiet_until: Timestamp::MIN,
            pass: None,
        });
    }

    /// So many entries of a state are asked for or written.
    #[inline]
    pub(super) fn accessed(&mut self, id: StateId, times: usize) {
        if let Some(Some(cleanup)) = self.0.get_mut(usize::from(id.0)) {
            cleanup.accesses += times as u64;
        }
    }
}

impl MemoryBackend {
    pub(super) fn clean_up_incrementally(&mut self, now: Timestamp, records: u64) -> Result<(), StateError> {
        for (id, state) in self.states.numbered_mut() {
            let Some(Some(cleanup)) = self.cleanups.0.get_mut(usize::from(id.0)) else {
                continue;
            };
            let accesses = std::mem::take(&mut cleanup.accesses);
            let Some(ttl) = state.declaration.ttl else {
                continue;
            };
            let Some(settings) = ttl.incremental_cleanup() else {
                continue;
            };
            let entries = entries_of(settings, accesses, records);
            let cleaned = cleanup.go_on(&mut state.held, TimeToLive::new(ttl, now), entries);
            cleaned.map_err(|TableFull| {
                let name = &state.declaration.name;
                usage(
                    name,
                    "a key group has reached 32 GiB: run the job anew with a higher max parallelism"
                        .to_owned(),
                )
            })?;
        }
        Ok(())
    }
}

/// How many entries are looked at.
fn entries_of(settings: IncrementalCleanup, accesses: u64, records: u64) -> u64 {
    let of_records = match settings.run_cleanup_for_every_record {
        true => records,
        false => 0,
    };
    accesses
        .saturating_add(of_records)
        .saturating_mul(u64::from(settings.cleanup_size))
}

impl Cleanup {
    /// Looks at so many entries, up to the end of the pass.
    fn go_on(&mut self, tables: &mut Tables, ttl: TimeToLive, entries: u64) -> Result<(), TableFull> {
        let mut left = entries;
        if left == 0 || (self.pass.is_none() && ttl.now() < self.quiet_until) {
            return Ok(());
        }
        // What is written from now on is as old as that at most.
        let pass = self.pass.get_or_insert_with(|| Pass {
            table: 0,
            oldest: ttl.now(),
        });
        while left > 0 {
            let (at, oldest) = (pass.table, &mut pass.oldest);
            let mut is_over = |stored: &[u8]| ttl.is_over_or_oldest(stored, oldest);
            let is_done = match tables {
                Tables::Values(tables) => tables
                    .get_mut(at)
                    .map(|table| table.clean(&mut left, &mut is_over, address_of_key, &mut |_| ())),
                Tables::Maps(tables) => tables
                    .get_mut(at)
                    .map(|table| table.clean(&mut left, &mut is_over)),
                Tables::Lists(tables) => match tables.get_mut(at) {
                    Some(table) => Some(table.clean(&mut left, &mut is_over)?),
                    None => None,
                },
            };
            match is_done {
                Some(true) => {
                    pass.table += 1;
                    // A state with few entries in many groups is not gone through at once either.
                    left = left.saturating_sub(1);
                }
                Some(false) => {}
                None => {
                    self.quiet_until = match tables {
                        // A list that grows moves, also to where the pass has been: what it held was perhaps not seen.
                        Tables::Lists(_) => Timestamp::MIN,
                        _ => ttl.end_of(pass.oldest),
                    };
                    self.pass = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
