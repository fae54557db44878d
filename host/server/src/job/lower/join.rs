//! A job file's joins as the graph's.

use wasmill_model::graph::join::IntervalJoinSpec;

use super::operator::Lowering;
use super::window::offset;
use crate::job::error::JobFileError;
use crate::job::file::join::IntervalJoin;

impl Lowering<'_> {
    pub(super) fn interval_join(&self, join: &IntervalJoin) -> Result<IntervalJoinSpec, JobFileError> {
        let bound = |field: &str, text: &str| {
            offset(Some(text)).map_err(|message| self.error("interval-join", format!("`{field}`: {message}")))
        };
        let spec = IntervalJoinSpec {
            lower_ms: bound("lower", &join.lower)?,
            upper_ms: bound("upper", &join.upper)?,
            lower_exclusive: join.lower_exclusive == Some(true),
            upper_exclusive: join.upper_exclusive == Some(true),
            late_outputs: join.late_outputs == Some(true),
            function: match &join.function {
                Some(name) => {
                    let function = self.part_ref(name);
                    Some(Box::new(function.map_err(|e| self.error("interval-join", e))?))
                }
                None => None,
            },
            formats: Default::default(),
        };
        spec.check()
            .map_err(|message| self.error("interval-join", message))?;
        Ok(spec)
    }
}
