//! Makes the operator that a job's graph describes. Validation has checked the parts and that they fit.

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

/// The output of late elements: behind the function's own, of which native ones have none.
const LATE_PORT: u16 = 1;

impl WindowOperator {
    /// Of a job's graph.
    pub fn of(spec: &WindowSpec) -> Self {
        let function = match &spec.function {
            WindowFunctionSpec::Count => WindowFunction::Incremental(Box::new(WindowCount)),
            WindowFunctionSpec::Reduce { aggregation } => {
                WindowFunction::Incremental(Box::new(WindowReduce(aggregation.clone())))
            }
            WindowFunctionSpec::Collect { format } => {
                WindowFunction::Elements(Box::new(Collect { format: *format }))
            }
        };
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
        Self::new(WindowSettings {
            assigner: assigner(&spec.assigner),
            trigger: spec.trigger.as_ref().map(trigger).or_else(own_trigger),
            evictor: spec.evictor.as_ref().map(evictor).or_else(own_evictor),
            function,
            lateness: spec.lateness_ms,
            late_port: spec.late_output.then_some(LATE_PORT),
            is_keyed: !spec.all,
        })
    }
}

fn time(clock: WindowClock) -> WindowTime {
    match clock {
        WindowClock::Event => WindowTime::Event,
        WindowClock::Processing => WindowTime::Processing,
    }
}

fn assigner(spec: &AssignerSpec) -> Box<dyn WindowAssigner> {
    match spec {
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
    }
}

fn trigger(spec: &TriggerSpec) -> Box<dyn Trigger> {
    match spec {
        TriggerSpec::EventTime => Box::new(EventTimeTrigger),
        TriggerSpec::ProcessingTime => Box::new(ProcessingTimeTrigger),
        TriggerSpec::Count { count } => Box::new(CountTrigger { count: *count }),
        TriggerSpec::ContinuousEventTime { interval_ms } => Box::new(ContinuousEventTimeTrigger {
            interval: *interval_ms,
        }),
        TriggerSpec::ContinuousProcessingTime { interval_ms } => Box::new(ContinuousProcessingTimeTrigger {
            interval: *interval_ms,
        }),
        TriggerSpec::ProcessingTimeout {
            trigger: nested,
            timeout_ms,
            reset_on_element,
            clear_on_timeout,
        } => Box::new(ProcessingTimeoutTrigger::new(
            trigger(nested),
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
        TriggerSpec::Purging { trigger: nested } => purging(trigger(nested)),
    }
}

fn purging(nested: Box<dyn Trigger>) -> Box<dyn Trigger> {
    Box::new(PurgingTrigger(nested))
}

fn evictor(spec: &EvictorSpec) -> Box<dyn Evictor> {
    match spec {
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
    }
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
