//! A job file's joins as the graph's.

use wasmill_model::graph::join::IntervalJoinSpec;
use wasmill_model::graph::window::{WindowFunctionSpec, WindowSpec};

use super::operator::Lowering;
use super::window::{self, offset};
use crate::job::error::JobFileError;
use crate::job::file::Operator;
use crate::job::file::join::{IntervalJoin, WindowJoin};
use crate::job::file::window::Window;

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

    /// The windows of an operator that has some, and under which name it has them; the error says what to write.
    pub(super) fn windows(&self, operator: &Operator) -> Option<(&'static str, Result<WindowSpec, String>)> {
        let find = |name: &str| self.part_ref(name);
        let operator = (&operator.window, &operator.window_join, &operator.co_group);
        Some(match operator {
            (Some(window), _, _) => ("window", window::lower(window, &find)),
            (_, Some(join), _) => ("window-join", self.two_streams("window-join", join)),
            (_, _, Some(join)) => ("co-group", self.two_streams("co-group", join)),
            _ => return None,
        })
    }

    fn two_streams(&self, what: &str, join: &WindowJoin) -> Result<WindowSpec, String> {
        let find = |name: &str| self.part_ref(name);
        let function = join.function.as_deref().map(find).transpose()?.map(Box::new);
        let formats = Default::default();
        let function = match what {
            "co-group" => WindowFunctionSpec::CoGroup { function, formats },
            _ => WindowFunctionSpec::Join { function, formats },
        };
        let join = join.clone();
        let window = Window {
            tumbling: join.tumbling,
            sliding: join.sliding,
            session: join.session,
            global: join.global,
            count: join.count,
            assigner: join.assigner,
            time: join.time,
            trigger: join.trigger,
            evictor: join.evictor,
            lateness: join.lateness,
            ..Window::default()
        };
        window::with_function(what, &window, function, &find)
    }
}
