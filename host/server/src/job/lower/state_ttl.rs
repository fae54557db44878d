//! `state-ttl`: what a job says of how long a function's states live, over what the component says.

use wasmill_model::function::{self, FunctionDescription};

use super::operator::Lowering;
use super::unknown;
use crate::job::error::JobFileError;
use crate::job::file::state_ttl::{
    CompactFilterCleanup, IncrementalCleanup, StateTtl, StateVisibility, UpdateType,
};

impl Lowering<'_> {
    /// Refuses it where it means nothing.
    pub(super) fn check_state_ttl(&self, what: &str) -> Result<(), JobFileError> {
        if self.operator.state_ttl.is_empty() || what == "function" {
            return Ok(());
        }
        let message = format!("`state-ttl` belongs to `function`, not to `{what}`: remove it");
        Err(self.error("state-ttl", message))
    }

    /// The description with the job's own times to live in it.
    pub(super) fn with_state_ttl(
        &self,
        description: &FunctionDescription,
    ) -> Result<FunctionDescription, JobFileError> {
        let mut description = description.clone();
        let error = |message| self.error("state-ttl", message);
        for (name, ttl) in &self.operator.state_ttl {
            let Some(state) = description.state.iter_mut().find(|state| state.name == *name) else {
                let names: Vec<_> = description.state.iter().map(|state| &state.name).collect();
                let function = &description.name;
                let message = unknown(&format!("`{function}` has no keyed state"), name, &names);
                return Err(error(message));
            };
            state.ttl = Some(lowered(ttl));
        }
        description.check_ttl().map_err(error)?;
        Ok(description)
    }
}

fn lowered(ttl: &StateTtl) -> function::StateTtl {
    function::StateTtl {
        time_to_live: i64::try_from(ttl.time_to_live.0).unwrap_or(i64::MAX),
        update_type: match ttl.update_type {
            None | Some(UpdateType::OnCreateAndWrite) => function::UpdateType::OnCreateAndWrite,
            Some(UpdateType::OnReadAndWrite) => function::UpdateType::OnReadAndWrite,
        },
        visibility: match ttl.visibility {
            None | Some(StateVisibility::NeverReturnExpired) => function::StateVisibility::NeverReturnExpired,
            Some(StateVisibility::ReturnExpiredIfNotCleanedUp) => {
                function::StateVisibility::ReturnExpiredIfNotCleanedUp
            }
        },
        cleanup: function::CleanupStrategies {
            cleanup_full_snapshot: ttl.cleanup_full_snapshot.unwrap_or_default(),
            cleanup_incrementally: ttl.cleanup_incrementally.map(incremental),
            cleanup_in_rocksdb_compact_filter: ttl.cleanup_in_rocksdb_compact_filter.map(compact_filter),
            disable_cleanup_in_background: ttl.disable_cleanup_in_background.unwrap_or_default(),
        },
    }
}

fn incremental(said: IncrementalCleanup) -> function::IncrementalCleanup {
    let default = function::IncrementalCleanup::default();
    let per_record = said.run_cleanup_for_every_record;
    function::IncrementalCleanup {
        cleanup_size: said.cleanup_size.unwrap_or(default.cleanup_size),
        run_cleanup_for_every_record: per_record.unwrap_or(default.run_cleanup_for_every_record),
    }
}

fn compact_filter(said: CompactFilterCleanup) -> function::CompactFilterCleanup {
    let default = function::CompactFilterCleanup::default();
    let (entries, time) = (said.query_time_after_num_entries, said.periodic_compaction_time);
    function::CompactFilterCleanup {
        query_time_after_num_entries: entries.unwrap_or(default.query_time_after_num_entries),
        periodic_compaction_time: time.map_or(default.periodic_compaction_time, |time| time.0),
    }
}
