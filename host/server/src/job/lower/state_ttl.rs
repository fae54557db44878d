//! `state-ttl`: what a job says of how long a function's states live, over what the component says.

use wasmill_model::function::{self, FunctionDescription};

use super::operator::Lowering;
use super::unknown;
use crate::job::error::JobFileError;
use crate::job::file::state_ttl::{StateTtl, StateVisibility, UpdateType};

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
    }
}
