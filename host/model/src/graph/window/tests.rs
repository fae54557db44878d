//! What is refused of windows, and what is not.

use super::*;

fn spec(assigner: AssignerSpec) -> WindowSpec {
    WindowSpec {
        assigner,
        trigger: None,
        evictor: None,
        lateness_ms: 0,
        late_output: false,
        all: false,
        function: WindowFunctionSpec::Count,
    }
}

fn sliding(size_ms: i64, slide_ms: i64, offset_ms: i64) -> WindowSpec {
    spec(AssignerSpec::Sliding {
        clock: WindowClock::Event,
        size_ms,
        slide_ms,
        offset_ms,
    })
}

fn session() -> WindowSpec {
    spec(AssignerSpec::Session {
        clock: WindowClock::Event,
        gap: GapSpec::Fixed(10),
    })
}

fn with(trigger: TriggerSpec, spec: WindowSpec) -> WindowSpec {
    WindowSpec {
        trigger: Some(trigger),
        ..spec
    }
}

#[test]
fn windows_that_cannot_work_are_refused_with_what_to_do() {
    let tumbling = |size_ms, offset_ms| {
        let clock = WindowClock::Event;
        spec(AssignerSpec::Tumbling {
            clock,
            size_ms,
            offset_ms,
        })
    };
    let delta = || TriggerSpec::Delta {
        field: "v".to_owned(),
        threshold: 1.0,
    };
    let purging = |trigger| TriggerSpec::Purging {
        trigger: Box::new(trigger),
    };
    let refused = [
        (tumbling(0, 0), "size is 0: it must be above 0"),
        (tumbling(-5, 0), "size is -5"),
        (
            tumbling(5, 5),
            "offset is 5 ms: it must be less than the size, 5 ms",
        ),
        (tumbling(5, i64::MIN), "it must be less than the size"),
        (sliding(10, 0, 0), "slide is 0"),
        (sliding(10, 5, -5), "it must be less than the slide, 5 ms"),
        (sliding(1_000_000, 1, 0), "each element is in 1000000 windows"),
        (spec(AssignerSpec::Count { size: 0 }), "size is 0"),
        (
            spec(AssignerSpec::CountSliding { size: 1, slide: 0 }),
            "slide is 0",
        ),
        (
            WindowSpec {
                lateness_ms: -1,
                ..session()
            },
            "lateness is -1 ms",
        ),
        (with(delta(), session()), "a trigger that can, and `delta` cannot"),
        (
            with(purging(delta()), session()),
            "a trigger that can, and `delta` cannot",
        ),
        (
            with(TriggerSpec::EventTime, spec(AssignerSpec::Global)),
            "have none",
        ),
        (
            with(
                purging(TriggerSpec::ProcessingTime),
                spec(AssignerSpec::Count { size: 1 }),
            ),
            "have none",
        ),
        (
            with(TriggerSpec::EndOfStream, sliding(2, 1, 0)),
            "belongs to global windows",
        ),
        (with(TriggerSpec::Count { count: 0 }, session()), "count is 0"),
        (
            with(TriggerSpec::ContinuousEventTime { interval_ms: 0 }, session()),
            "interval is 0",
        ),
    ];
    for (spec, message) in refused {
        let error = spec.check().unwrap_err();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
    }
    let evictor = Some(EvictorSpec::Delta {
        field: "v".to_owned(),
        threshold: f64::NAN,
        after: false,
    });
    let error = WindowSpec { evictor, ..session() }.check().unwrap_err();
    assert!(error.contains("threshold is NaN"), "{error}");
}

#[test]
fn windows_that_flink_allows_are_allowed() {
    let continuous = TriggerSpec::ContinuousEventTime { interval_ms: 3 };
    let allowed = [
        sliding(3, 10, -9),
        with(TriggerSpec::Count { count: 2 }, session()),
        with(continuous.clone(), session()),
        with(continuous, spec(AssignerSpec::Global)),
        spec(AssignerSpec::GlobalEndOfStream),
    ];
    for spec in allowed {
        assert_eq!(spec.check(), Ok(()));
    }
}
