//! A job file's `window` as the graph's.

use wasmill_model::function::Format;
use wasmill_model::graph::RollingAggregation;
use wasmill_model::graph::window::{
    AssignerSpec, EvictorSpec, GapSpec, TriggerSpec, WindowClock, WindowFunctionSpec, WindowSpec,
};

use crate::job::file::window::{Clock, Evictor, GlobalWindow, Trigger, Window, WindowFunction};
use crate::job::units::DurationText;

/// The window that the file describes; the error says what to write.
pub(super) fn lower(window: &Window) -> Result<WindowSpec, String> {
    let spec = WindowSpec {
        assigner: assigner(window)?,
        trigger: window.trigger.as_ref().map(trigger).transpose()?,
        evictor: window.evictor.as_ref().map(evictor).transpose()?,
        lateness_ms: window.lateness.map_or(Ok(0), ms)?,
        late_output: window.late_output == Some(true),
        all: window.all == Some(true),
        function: function(&window.function)?,
    };
    spec.check()?;
    Ok(spec)
}

fn assigner(window: &Window) -> Result<AssignerSpec, String> {
    let clock = match window.time {
        None | Some(Clock::Event) => WindowClock::Event,
        Some(Clock::Processing) => WindowClock::Processing,
    };
    let tumbling = window.tumbling.as_ref().map(|tumbling| {
        Ok(AssignerSpec::Tumbling {
            clock,
            size_ms: ms(tumbling.size)?,
            offset_ms: offset(tumbling.offset.as_deref())?,
        })
    });
    let sliding = window.sliding.as_ref().map(|sliding| {
        Ok(AssignerSpec::Sliding {
            clock,
            size_ms: ms(sliding.size)?,
            slide_ms: ms(sliding.slide)?,
            offset_ms: offset(sliding.offset.as_deref())?,
        })
    });
    let session = window.session.as_ref().map(|session| {
        let gap = match (session.gap, &session.gap_field) {
            (Some(gap), None) => GapSpec::Fixed(ms(gap)?),
            (None, Some(field)) => GapSpec::Field(field.clone()),
            _ => return Err("`session` takes exactly one of `gap` and `gap-field`".to_owned()),
        };
        Ok(AssignerSpec::Session { clock, gap })
    });
    let global = window.global.map(|fires| {
        Ok(match fires {
            GlobalWindow::Never => AssignerSpec::Global,
            GlobalWindow::EndOfStream => AssignerSpec::GlobalEndOfStream,
        })
    });
    let count = window.count.as_ref().map(|count| {
        Ok(match count.slide {
            None => AssignerSpec::Count { size: count.size },
            Some(slide) => AssignerSpec::CountSliding {
                size: count.size,
                slide,
            },
        })
    });
    let assigner = one([tumbling, sliding, session, global, count])
        .ok_or("`window` takes exactly one of `tumbling`, `sliding`, `session`, `global` and `count`")??;
    if window.time.is_some() && (window.global.is_some() || window.count.is_some()) {
        return Err("`time` belongs to `tumbling`, `sliding` and `session`: remove it".to_owned());
    }
    Ok(assigner)
}

fn trigger(trigger: &Trigger) -> Result<TriggerSpec, String> {
    let flag = |set: Option<bool>, spec: TriggerSpec| set.filter(|set| *set).map(|_| Ok(spec));
    let said = [
        flag(trigger.event_time, TriggerSpec::EventTime),
        flag(trigger.processing_time, TriggerSpec::ProcessingTime),
        flag(trigger.end_of_stream, TriggerSpec::EndOfStream),
        flag(trigger.never, TriggerSpec::Never),
        trigger.count.map(|count| Ok(TriggerSpec::Count { count })),
        trigger
            .continuous_event_time
            .map(|interval| ms(interval).map(|interval_ms| TriggerSpec::ContinuousEventTime { interval_ms })),
        trigger.continuous_processing_time.map(|interval| {
            ms(interval).map(|interval_ms| TriggerSpec::ContinuousProcessingTime { interval_ms })
        }),
        trigger.delta.as_ref().map(|delta| {
            Ok(TriggerSpec::Delta {
                field: delta.field.clone(),
                threshold: delta.threshold,
            })
        }),
    ];
    let mut spec = one(said).ok_or(
        "`trigger` takes exactly one of `event-time`, `processing-time`, `count`, `continuous-event-time`, \
         `continuous-processing-time`, `delta`, `end-of-stream` and `never`",
    )??;
    let (reset, clear) = (trigger.reset_timeout_on_element, trigger.clear_on_timeout);
    match trigger.timeout {
        Some(timeout) => {
            spec = TriggerSpec::ProcessingTimeout {
                trigger: Box::new(spec),
                timeout_ms: ms(timeout)?,
                reset_on_element: reset == Some(true),
                clear_on_timeout: clear == Some(true),
            }
        }
        None if reset.or(clear).is_some() => {
            return Err("`reset-timeout-on-element` and `clear-on-timeout` need a `timeout`".to_owned());
        }
        None => {}
    }
    if trigger.purging == Some(true) {
        let trigger = Box::new(spec);
        spec = TriggerSpec::Purging { trigger };
    }
    Ok(spec)
}

fn evictor(evictor: &Evictor) -> Result<EvictorSpec, String> {
    let after = evictor.after == Some(true);
    let said = [
        evictor.count.map(|count| Ok(EvictorSpec::Count { count, after })),
        evictor
            .time
            .map(|size| ms(size).map(|size_ms| EvictorSpec::Time { size_ms, after })),
        evictor.delta.as_ref().map(|delta| {
            Ok(EvictorSpec::Delta {
                field: delta.field.clone(),
                threshold: delta.threshold,
                after,
            })
        }),
    ];
    one(said).ok_or("`evictor` takes exactly one of `count`, `time` and `delta`")?
}

fn function(function: &WindowFunction) -> Result<WindowFunctionSpec, String> {
    let tie = function.tie.unwrap_or_default();
    let reduce = |aggregation| WindowFunctionSpec::Reduce { aggregation };
    let by = |field: &Option<String>, make: fn(String) -> RollingAggregation| {
        field.clone().map(|field| reduce(make(field)))
    };
    let said = [
        function
            .count
            .filter(|count| *count)
            .map(|_| WindowFunctionSpec::Count),
        function.collect.filter(|collect| *collect).map(|_| {
            let format = Format::default();
            WindowFunctionSpec::Collect { format }
        }),
        by(&function.sum, RollingAggregation::Sum),
        by(&function.min, RollingAggregation::Min),
        by(&function.max, RollingAggregation::Max),
        function
            .min_by
            .clone()
            .map(|field| reduce(RollingAggregation::MinBy(field, tie))),
        function
            .max_by
            .clone()
            .map(|field| reduce(RollingAggregation::MaxBy(field, tie))),
    ];
    if function.tie.is_some() && function.min_by.is_none() && function.max_by.is_none() {
        return Err("`tie` belongs to `min-by` and `max-by`: remove it".to_owned());
    }
    one(said).ok_or_else(|| {
        "a window's `function` takes exactly one of `count: true`, `collect: true`, `sum`, `min`, `max`, `min-by` and \
         `max-by` (each a field)"
            .to_owned()
    })
}

/// What was said, where exactly one thing was.
fn one<T, const N: usize>(said: [Option<T>; N]) -> Option<T> {
    let mut said = said.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

fn ms(duration: DurationText) -> Result<i64, String> {
    i64::try_from(duration.0).map_err(|_| format!("{} ms are too many", duration.0))
}

/// A duration that may have a minus sign.
fn offset(text: Option<&str>) -> Result<i64, String> {
    let Some(text) = text else { return Ok(0) };
    match text.strip_prefix('-') {
        Some(positive) => Ok(-ms(DurationText::parse(positive)?)?),
        None => ms(DurationText::parse(text)?),
    }
}
