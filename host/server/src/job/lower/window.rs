//! A job file's `window` as the graph's.

use wasmill_model::function::Format;
use wasmill_model::graph::window::{
    AssignerSpec, EvictorSpec, GapSpec, TriggerSpec, WindowClock, WindowFunctionSpec, WindowSpec,
};
use wasmill_model::graph::{FunctionRef, RollingAggregation};

use crate::job::file::window::{Clock, Evictor, GlobalWindow, Trigger, Window, WindowFunction};
use crate::job::units::DurationText;

/// Finds a component's function by `plugin/function`.
pub(super) type Find<'f> = dyn Fn(&str) -> Result<FunctionRef, String> + 'f;

/// The window that the file describes; the error says what to write.
pub(super) fn lower(window: &Window, find: &Find<'_>) -> Result<WindowSpec, String> {
    let function = function(&window.function, find)?;
    with_function("window", window, function, find)
}

/// The window that the file describes under the name `what`, but for what it computes.
pub(super) fn with_function(
    what: &str,
    window: &Window,
    function: WindowFunctionSpec,
    find: &Find<'_>,
) -> Result<WindowSpec, String> {
    let trigger = window.trigger.as_ref().map(|said| trigger(said, find));
    let evictor = window.evictor.as_ref().map(|said| evictor(said, find));
    let spec = WindowSpec {
        assigner: assigner(what, window, find)?,
        trigger: trigger.transpose()?,
        evictor: evictor.transpose()?,
        lateness_ms: window.lateness.map_or(Ok(0), ms)?,
        late_output: window.late_output == Some(true),
        all: window.all == Some(true),
        function,
    };
    spec.check()?;
    Ok(spec)
}

fn assigner(what: &str, window: &Window, find: &Find<'_>) -> Result<AssignerSpec, String> {
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
    let own = window.assigner.as_ref().map(|name| {
        let function = Box::new(find(name)?);
        Ok(AssignerSpec::Function { clock, function })
    });
    let assigner = one([tumbling, sliding, session, global, count, own]).ok_or_else(|| {
        format!(
            "`{what}` takes exactly one of `tumbling`, `sliding`, `session`, `global`, `count` and `assigner`"
        )
    })??;
    if window.time.is_some() && (window.global.is_some() || window.count.is_some()) {
        return Err("`time` belongs to `tumbling`, `sliding` and `session`: remove it".to_owned());
    }
    Ok(assigner)
}

fn trigger(trigger: &Trigger, find: &Find<'_>) -> Result<TriggerSpec, String> {
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
        trigger.function.as_ref().map(|name| {
            let function = Box::new(find(name)?);
            Ok(TriggerSpec::Function { function })
        }),
    ];
    let mut spec = one(said).ok_or(
        "`trigger` takes exactly one of `event-time`, `processing-time`, `count`, `continuous-event-time`, \
         `continuous-processing-time`, `delta`, `end-of-stream`, `never` and `function`",
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

fn evictor(evictor: &Evictor, find: &Find<'_>) -> Result<EvictorSpec, String> {
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
        evictor.function.as_ref().map(|name| match evictor.after {
            Some(_) => Err(
                "`after` is for the evictors of the host: a component says both what goes before and after"
                    .to_owned(),
            ),
            None => Ok(EvictorSpec::Function {
                function: Box::new(find(name)?),
            }),
        }),
    ];
    one(said).ok_or("`evictor` takes exactly one of `count`, `time`, `delta` and `function`")?
}

fn function(function: &WindowFunction, find: &Find<'_>) -> Result<WindowFunctionSpec, String> {
    if let Some(spec) = component(function, find) {
        return spec;
    }
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
         `max-by` (each a field), `reduce`, `aggregate` and `process` (each `plugin/function`; `process`, or `apply`, \
         also behind one of the other two)"
            .to_owned()
    })
}

/// The functions of components that the file names; `None` where it names none.
fn component(function: &WindowFunction, find: &Find<'_>) -> Option<Result<WindowFunctionSpec, String>> {
    let native = WindowFunction {
        reduce: None,
        aggregate: None,
        process: None,
        apply: None,
        ..function.clone()
    };
    let boxed = |name: &String| find(name).map(Box::new);
    let fold = match (&function.reduce, &function.aggregate) {
        (None, None) => None,
        (Some(fold), None) | (None, Some(fold)) => Some(fold),
        (Some(_), Some(_)) => {
            return Some(Err(
                "a window folds by `reduce` or by `aggregate`, not by both".to_owned()
            ));
        }
    };
    let process = match (&function.process, &function.apply) {
        (None, None) if fold.is_none() => return None,
        (said, None) | (None, said) => said,
        (Some(_), Some(_)) => {
            return Some(Err(
                "`apply` is another word for `process`: say one of them".to_owned()
            ));
        }
    };
    if native != WindowFunction::default() {
        return Some(Err(
            "a window computes by functions of the host or by components: remove one of them".to_owned(),
        ));
    }
    let process = process.as_ref().map(boxed).transpose();
    Some(process.and_then(|process| match (fold, process) {
        (Some(fold), process) => Ok(WindowFunctionSpec::Fold {
            function: boxed(fold)?,
            process,
        }),
        (None, Some(function)) => Ok(WindowFunctionSpec::Process { function }),
        (None, None) => Err("a window's `function` says nothing".to_owned()),
    }))
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
pub(super) fn offset(text: Option<&str>) -> Result<i64, String> {
    let Some(text) = text else { return Ok(0) };
    match text.strip_prefix('-') {
        Some(positive) => Ok(-ms(DurationText::parse(positive)?)?),
        None => ms(DurationText::parse(text)?),
    }
}
