//! Makes the operator that a job's graph describes. Validation has checked the parts and that they fit.

use wasmill_model::graph::JobSettings;
use wasmill_model::graph::window::{
    AssignerSpec, EvictorSpec, GapSpec, TriggerSpec, WindowClock, WindowFunctionSpec, WindowSpec,
};
use wasmill_model::row::RowRef;

use super::assigner::{FixedGap, Global, Session, SessionGap, Sliding, Tumbling, WindowAssigner, WindowTime};
use super::evictor::{CountEvictor, DeltaEvictor, EvictionTime, Evictor, TimeEvictor};
use super::function::WindowFunction;
use super::native::{Collect, WindowCount, WindowReduce};
use super::operator::{WindowOperator, WindowSettings};
use super::trigger::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DeltaFunction, DeltaTrigger,
    EndOfStreamTrigger, EventTimeTrigger, NeverTrigger, ProcessingTimeTrigger, ProcessingTimeoutTrigger,
    PurgingTrigger, Trigger,
};
use crate::builtin::json_field;
use crate::error::TaskError;
use crate::join::window::{EmitCoGroups, EmitWindowPairs};
use crate::registry::FunctionProvider;

/// Makes the parts of a window.
struct Builder<'b> {
    functions: Option<&'b dyn FunctionProvider>,
    settings: &'b JobSettings,
}

impl WindowOperator {
    /// Of a job's graph.
    pub fn of(
        spec: &WindowSpec,
        functions: Option<&dyn FunctionProvider>,
        settings: &JobSettings,
    ) -> Result<Self, TaskError> {
        let builder = Builder { functions, settings };
        let own_trigger = || match &spec.assigner {
            AssignerSpec::Count { size } => Some(purging(Box::new(CountTrigger { count: *size }))),
            AssignerSpec::CountSliding { slide, .. } => Some(Box::new(CountTrigger { count: *slide }) as _),
            AssignerSpec::GlobalEndOfStream => Some(Box::new(EndOfStreamTrigger) as _),
            _ => None,
        };
        let own_evictor = || match &spec.assigner {
            AssignerSpec::CountSliding { size, .. } => Some(count_evictor(*size, false)),
            _ => None,
        };
        // The outputs: those of the function, that of late elements, those of the trigger.
        let function = spec
            .last_function()
            .map_or(0, |f| f.description.side_outputs.len());
        let late_port = function as u16 + 1;
        let trigger_port = late_port + u16::from(spec.late_output);
        let trigger = spec
            .trigger
            .as_ref()
            .map(|trigger| builder.trigger(trigger, trigger_port));
        let evictor = spec.evictor.as_ref().map(|evictor| builder.evictor(evictor));
        Ok(Self::new(WindowSettings {
            assigner: builder.assigner(&spec.assigner)?,
            trigger: trigger.transpose()?.or_else(own_trigger),
            evictor: evictor.transpose()?.or_else(own_evictor),
            function: builder.function(&spec.function)?,
            lateness: spec.lateness_ms,
            late_port: spec.late_output.then_some(late_port),
            is_keyed: !spec.all,
        }))
    }
}

impl Builder<'_> {
    fn functions(&self) -> Result<&dyn FunctionProvider, TaskError> {
        self.functions
            .ok_or_else(|| TaskError::user("this host runs no components").for_good())
    }

    fn function(&self, spec: &WindowFunctionSpec) -> Result<WindowFunction, TaskError> {
        Ok(match spec {
            WindowFunctionSpec::Count => WindowFunction::Incremental(Box::new(WindowCount)),
            WindowFunctionSpec::Reduce { aggregation } => {
                WindowFunction::Incremental(Box::new(WindowReduce(aggregation.clone())))
            }
            WindowFunctionSpec::Collect { format } => {
                WindowFunction::Elements(Box::new(Collect { format: *format }))
            }
            WindowFunctionSpec::Fold { function, process } => {
                let functions = self.functions()?;
                let process = process.as_deref();
                WindowFunction::Incremental(functions.window_fold(function, process, self.settings)?)
            }
            WindowFunctionSpec::Process { function }
            | WindowFunctionSpec::Join {
                function: Some(function),
                ..
            }
            | WindowFunctionSpec::CoGroup {
                function: Some(function),
                ..
            } => WindowFunction::Elements(self.functions()?.window_process(function, self.settings)?),
            WindowFunctionSpec::Join { formats, .. } => {
                WindowFunction::Elements(Box::new(EmitWindowPairs { formats: *formats }))
            }
            WindowFunctionSpec::CoGroup { formats, .. } => {
                WindowFunction::Elements(Box::new(EmitCoGroups { formats: *formats }))
            }
        })
    }

    fn assigner(&self, spec: &AssignerSpec) -> Result<Box<dyn WindowAssigner>, TaskError> {
        Ok(match spec {
            AssignerSpec::Tumbling {
                clock,
                size_ms,
                offset_ms,
            } => Box::new(Tumbling {
                time: time(*clock),
                size: *size_ms,
                offset: *offset_ms,
            }),
            AssignerSpec::Sliding {
                clock,
                size_ms,
                slide_ms,
                offset_ms,
            } => Box::new(Sliding {
                time: time(*clock),
                size: *size_ms,
                slide: *slide_ms,
                offset: *offset_ms,
            }),
            AssignerSpec::Session { clock, gap } => Box::new(Session {
                time: time(*clock),
                gap: match gap {
                    GapSpec::Fixed(gap) => Box::new(FixedGap(*gap)),
                    GapSpec::Field(field) => Box::new(Field::new(field)),
                },
            }),
            AssignerSpec::Global
            | AssignerSpec::GlobalEndOfStream
            | AssignerSpec::Count { .. }
            | AssignerSpec::CountSliding { .. } => Box::new(Global),
            AssignerSpec::Function { clock, function } => {
                self.functions()?
                    .window_assigner(function, time(*clock), self.settings)?
            }
        })
    }

    fn trigger(&self, spec: &TriggerSpec, port: u16) -> Result<Box<dyn Trigger>, TaskError> {
        Ok(match spec {
            TriggerSpec::EventTime => Box::new(EventTimeTrigger),
            TriggerSpec::ProcessingTime => Box::new(ProcessingTimeTrigger),
            TriggerSpec::Count { count } => Box::new(CountTrigger { count: *count }),
            TriggerSpec::ContinuousEventTime { interval_ms } => Box::new(ContinuousEventTimeTrigger {
                interval: *interval_ms,
            }),
            TriggerSpec::ContinuousProcessingTime { interval_ms } => {
                Box::new(ContinuousProcessingTimeTrigger {
                    interval: *interval_ms,
                })
            }
            TriggerSpec::ProcessingTimeout {
                trigger: nested,
                timeout_ms,
                reset_on_element,
                clear_on_timeout,
            } => Box::new(ProcessingTimeoutTrigger::new(
                self.trigger(nested, port)?,
                *timeout_ms,
                *reset_on_element,
                *clear_on_timeout,
            )),
            TriggerSpec::Delta { field, threshold } => Box::new(DeltaTrigger {
                function: Box::new(Field::new(field)),
                threshold: *threshold,
            }),
            TriggerSpec::EndOfStream => Box::new(EndOfStreamTrigger),
            TriggerSpec::Never => Box::new(NeverTrigger),
            TriggerSpec::Purging { trigger: nested } => purging(self.trigger(nested, port)?),
            TriggerSpec::Function { function } => self.functions()?.trigger(function, port, self.settings)?,
        })
    }

    fn evictor(&self, spec: &EvictorSpec) -> Result<Box<dyn Evictor>, TaskError> {
        Ok(match spec {
            EvictorSpec::Count { count, after } => count_evictor(*count, *after),
            EvictorSpec::Time { size_ms, after } => Box::new(TimeEvictor {
                size: *size_ms,
                when: when(*after),
            }),
            EvictorSpec::Delta {
                field,
                threshold,
                after,
            } => Box::new(DeltaEvictor {
                function: Box::new(Field::new(field)),
                threshold: *threshold,
                when: when(*after),
            }),
            EvictorSpec::Function { function } => self.functions()?.evictor(function, self.settings)?,
        })
    }
}

fn time(clock: WindowClock) -> WindowTime {
    match clock {
        WindowClock::Event => WindowTime::Event,
        WindowClock::Processing => WindowTime::Processing,
    }
}

fn purging(nested: Box<dyn Trigger>) -> Box<dyn Trigger> {
    Box::new(PurgingTrigger(nested))
}

fn count_evictor(count: i64, after: bool) -> Box<dyn Evictor> {
    Box::new(CountEvictor {
        count: usize::try_from(count).unwrap_or(usize::MAX),
        when: when(after),
    })
}

fn when(after: bool) -> EvictionTime {
    match after {
        true => EvictionTime::After,
        false => EvictionTime::Before,
    }
}

/// A number in JSON records.
struct Field {
    name: String,
    path: Vec<String>,
}

impl Field {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: name.split('.').map(str::to_owned).collect(),
        }
    }

    fn read<T>(
        &self,
        record: &[u8],
        number: impl Fn(&serde_json::Value) -> Option<T>,
    ) -> Result<T, TaskError> {
        let value = json_field(record, &self.path).map_err(|error| TaskError::user(error.to_string()))?;
        number(&value).ok_or_else(|| {
            let record: String = String::from_utf8_lossy(record).chars().take(200).collect();
            let name = &self.name;
            TaskError::user(format!(
                "a window needs a number in the field `{name}`, and it is {value}; record {record:?}"
            ))
        })
    }
}

impl SessionGap for Field {
    fn gap(&mut self, row: RowRef<'_>) -> Result<i64, TaskError> {
        self.read(row.value(), serde_json::Value::as_i64)
    }
}

/// The distance of the field in two records.
impl DeltaFunction for Field {
    fn delta(&mut self, older: &[u8], newer: &[u8]) -> Result<f64, TaskError> {
        let number = serde_json::Value::as_f64;
        Ok((self.read(newer, number)? - self.read(older, number)?).abs())
    }
}
