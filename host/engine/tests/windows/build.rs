//! Makes a window operator of a case's parameters.

use serde_json::Value;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::Operator;
use wasmill_engine::window::assigner::{
    FixedGap, Global, Session, SessionGap, Sliding, Tumbling, WindowAssigner, WindowTime,
};
use wasmill_engine::window::evictor::{CountEvictor, DeltaEvictor, EvictionTime, Evictor, TimeEvictor};
use wasmill_engine::window::function::WindowFunction;
use wasmill_engine::window::operator::{WindowOperator, WindowSettings};
use wasmill_engine::window::slices::{SliceSettings, SlicedWindows};
use wasmill_engine::window::trigger::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DeltaFunction, DeltaTrigger,
    EndOfStreamTrigger, EventTimeTrigger, ProcessingTimeoutTrigger, PurgingTrigger, Trigger,
};
use wasmill_model::row::RowRef;

use crate::functions::{self, Folding, Reduce, Stats};
use crate::triggers::Own;

/// The outputs beside the main one, from port 1 on.
pub(crate) const SIDES: [&str; 4] = ["late", "calls", "big", "cleared"];

pub(crate) fn port(side: &str) -> u16 {
    1 + SIDES.iter().position(|name| *name == side).unwrap() as u16
}

/// A fresh operator for the parameters of a case: of slices, where it is asked for and they fit.
pub(crate) fn operator(pipeline: &Value, in_slices: bool) -> Box<dyn Operator> {
    if let Some(sliced) = in_slices.then(|| sliced(pipeline)).flatten() {
        return Box::new(sliced);
    }
    Box::new(windows(pipeline))
}

/// Whether the parameters of a case fit slices.
pub(crate) fn sliced(pipeline: &Value) -> Option<SlicedWindows> {
    let ms = |field: &str| pipeline[field].as_i64();
    let slide = match pipeline["assigner"].as_str()? {
        "tumbling" => ms("size")?,
        "sliding" => ms("slide")?,
        _ => return None,
    };
    let (all, late) = (
        pipeline.get("all").is_some(),
        pipeline.get("late-output").is_some(),
    );
    let others = ["trigger", "evictor", "lateness", "time"];
    let function = function(if all {
        "aggregate"
    } else {
        pipeline["function"].as_str()?
    });
    match function {
        WindowFunction::Incremental(function) if others.iter().all(|name| pipeline.get(name).is_none()) => {
            let settings = SliceSettings {
                size: ms("size")?,
                slide,
                offset: ms("offset").unwrap_or(0),
                late_port: (all || late).then(|| port("late")),
                is_keyed: !all,
            };
            SlicedWindows::new(&settings, function).ok()
        }
        _ => None,
    }
}

fn windows(pipeline: &Value) -> WindowOperator {
    let all = pipeline.get("all").is_some();
    let assigner = assigner(pipeline);
    let by_count = pipeline["assigner"]
        .as_str()
        .filter(|name| name.starts_with("count"));
    let counts = |field: &str| pipeline[field].as_i64().unwrap();
    let default_trigger: Option<Box<dyn Trigger>> = match (by_count, pipeline["assigner"].as_str()) {
        (Some("count"), _) => Some(Box::new(PurgingTrigger(Box::new(CountTrigger {
            count: counts("size"),
        })))),
        (Some(_), _) => Some(Box::new(CountTrigger {
            count: counts("slide"),
        })),
        (None, Some("global-end-of-stream")) => Some(Box::new(EndOfStreamTrigger)),
        _ => None,
    };
    let default_evictor: Option<Box<dyn Evictor>> =
        by_count.filter(|name| *name == "count-sliding").map(|_| {
            Box::new(CountEvictor {
                count: counts("size") as usize,
                when: EvictionTime::Before,
            }) as Box<dyn Evictor>
        });
    WindowOperator::new(WindowSettings {
        trigger: pipeline.get("trigger").map(trigger).or(default_trigger),
        evictor: pipeline.get("evictor").map(evictor).or(default_evictor),
        function: function(if all {
            "aggregate"
        } else {
            pipeline["function"].as_str().unwrap()
        }),
        lateness: pipeline["lateness"].as_i64().unwrap_or(0),
        late_port: (all || pipeline.get("late-output").is_some()).then(|| port("late")),
        is_keyed: !all,
        assigner,
    })
}

fn assigner(pipeline: &Value) -> Box<dyn WindowAssigner> {
    let ms = |field: &str| pipeline[field].as_i64().unwrap_or(0);
    let (size, slide, offset) = (ms("size"), ms("slide"), ms("offset"));
    let time = match pipeline.get("time") {
        None => WindowTime::Event,
        Some(_) => WindowTime::Processing,
    };
    match pipeline["assigner"].as_str().unwrap() {
        "tumbling" => Box::new(Tumbling { time, size, offset }),
        "sliding" => Box::new(Sliding {
            time,
            size,
            slide,
            offset,
        }),
        "session" => Box::new(Session {
            time,
            gap: Box::new(FixedGap(ms("gap"))),
        }),
        "session-dynamic" => Box::new(Session {
            time,
            gap: Box::new(ByValue),
        }),
        "global" | "global-end-of-stream" | "count" | "count-sliding" => Box::new(Global),
        other => panic!("no such assigner: {other}"),
    }
}

struct ByValue;

impl SessionGap for ByValue {
    fn gap(&mut self, row: RowRef<'_>) -> Result<i64, TaskError> {
        Ok(60 * (1 + functions::value(row.value()).rem_euclid(8)))
    }
}

fn function(name: &str) -> WindowFunction {
    match name {
        "stats" => WindowFunction::Incremental(Box::new(Folding::new(Stats { with_bounds: true }))),
        "aggregate" => WindowFunction::Incremental(Box::new(Folding::new(Stats { with_bounds: false }))),
        "reduce" => WindowFunction::Incremental(Box::new(Folding::new(Reduce { process: false }))),
        "reduce-process" => WindowFunction::Incremental(Box::new(Folding::new(Reduce { process: true }))),
        "elements" => WindowFunction::Elements(Box::new(functions::Elements)),
        "context" => WindowFunction::Elements(Box::new(functions::InContext::default())),
        other => panic!("no such function: {other}"),
    }
}

fn trigger(spec: &Value) -> Box<dyn Trigger> {
    let interval = spec["interval"].as_i64().unwrap_or(0);
    let count = || {
        Box::new(CountTrigger {
            count: spec["count"].as_i64().unwrap_or(0),
        })
    };
    let flag = |name: &str| spec.get(name).is_some();
    let trigger: Box<dyn Trigger> = match spec["kind"].as_str().unwrap() {
        "event-time" => Box::new(EventTimeTrigger),
        "count" => count(),
        "continuous-event-time" => Box::new(ContinuousEventTimeTrigger { interval }),
        "continuous-processing-time" => Box::new(ContinuousProcessingTimeTrigger { interval }),
        "processing-timeout" => Box::new(ProcessingTimeoutTrigger::new(
            count(),
            interval,
            flag("reset-timer-on-new-record"),
            flag("clear-on-timeout"),
        )),
        "delta" => Box::new(DeltaTrigger {
            function: Box::new(Distance),
            threshold: spec["threshold"].as_f64().unwrap(),
        }),
        "own" => Box::new(Own),
        other => panic!("no such trigger: {other}"),
    };
    match flag("purging") {
        true => Box::new(PurgingTrigger(trigger)),
        false => trigger,
    }
}

struct Distance;

impl DeltaFunction for Distance {
    fn delta(&mut self, older: &[u8], newer: &[u8]) -> Result<f64, TaskError> {
        Ok((functions::value(newer) - functions::value(older)).abs() as f64)
    }
}

fn evictor(spec: &Value) -> Box<dyn Evictor> {
    let when = match spec.get("after") {
        None => EvictionTime::Before,
        Some(_) => EvictionTime::After,
    };
    match spec["kind"].as_str().unwrap() {
        "count" => Box::new(CountEvictor {
            count: spec["count"].as_u64().unwrap() as usize,
            when,
        }),
        "time" => Box::new(TimeEvictor {
            size: spec["size"].as_i64().unwrap(),
            when,
        }),
        "delta" => Box::new(DeltaEvictor {
            function: Box::new(Distance),
            threshold: spec["threshold"].as_f64().unwrap(),
            when,
        }),
        other => panic!("no such evictor: {other}"),
    }
}
