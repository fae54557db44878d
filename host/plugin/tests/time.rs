//! Timestamp assigners, watermark generators and partitioners through both families against plain models.

#![allow(clippy::unwrap_used)] // Only tests call these: a panic is a failure.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::registry::{FunctionPlace, FunctionProvider};
use wasmill_engine::time::{Punctuation, WatermarkGenerator};
use wasmill_model::graph::{FunctionRef, JobSettings};
use wasmill_model::id::{JobId, OperatorUid};
use wasmill_model::time::{TimeSignal, Timestamp};
use wasmill_plugin::operator::provider::PluginFunctions;

use support::{GROUPS, Input, batch, component, registry};

/// The functions of both families that were built, by name.
fn each(function: &str, mut test: impl FnMut(&str, &PluginFunctions, &FunctionRef, &FunctionPlace)) {
    for name in ["conformance", "conformance_typed"] {
        let Some(bytes) = component(name) else { continue };
        let registry = registry();
        let info = registry.upload("guest", &bytes).unwrap();
        let function = FunctionRef {
            plugin: info.digest.to_string(),
            description: info.description.function(function).unwrap().clone(),
            config: json!({}),
        };
        let place = FunctionPlace {
            runtime: Arc::new(RuntimeContext {
                job_id: JobId(7),
                job_name: "test".to_owned(),
                operator: OperatorUid::new("op"),
                task_name: "source -> op".to_owned(),
                subtask_index: 0,
                parallelism: 1,
                max_parallelism: GROUPS,
                key_groups: GROUPS.range_of(0, 1),
                attempt: 0,
            }),
            settings: JobSettings::default(),
        };
        test(name, &PluginFunctions::new(registry), &function, &place);
    }
}

fn inputs(values: &[(&str, Option<Timestamp>)]) -> Vec<Input> {
    values
        .iter()
        .map(|(value, at)| Input::plain(value, *at))
        .collect()
}

#[test]
fn a_timestamp_assigner_gives_a_timestamp_to_each_record() {
    each("timestamps", |place, functions, function, at| {
        let mut assigner = functions.timestamp_assigner(function, at).unwrap();
        let mut out = Vec::new();
        let rows = batch(&inputs(&[
            ("-5", None),
            ("+1", Some(41)),
            ("+1", None),
            ("9223372036854775807", Some(0)),
            ("-9223372036854775808", Some(0)),
        ]));
        assigner.assign(&rows, &mut out).unwrap();
        assert_eq!(out, [-5, 42, 1, i64::MAX, i64::MIN], "{place}");
        let many: Vec<Input> = (0..5_000).map(|i| Input::plain(&i.to_string(), None)).collect();
        out.clear();
        assigner.assign(&batch(&many), &mut out).unwrap();
        assert!(out.iter().copied().eq(0..5_000), "{place}");
        let error = assigner
            .assign(&batch(&inputs(&[("1", None), ("!bad words", None)])), &mut out)
            .unwrap_err();
        assert!(error.message.contains("words"), "{place}: {error}");
    });
}

#[test]
fn a_partitioner_is_told_how_many_channels_there_are() {
    each("partition", |place, functions, function, at| {
        let mut partitioner = functions.partitioner(function, at).unwrap();
        let rows = batch(&inputs(&[("aaaa", None), ("=2", None), ("=9", Some(5))]));
        for (channels, expected) in [(3, [1, 2, 9]), (4, [0, 2, 9])] {
            let mut out = Vec::new();
            partitioner.partition(&rows, channels, &mut out).unwrap();
            assert_eq!(out, expected, "{place}");
        }
    });
}

/// What `watermarks` of the conformance component says.
#[derive(Clone, Default)]
struct Model {
    highest: Option<Timestamp>,
}

impl Model {
    fn on_event(&mut self, value: &str, at: Option<Timestamp>, clock: Timestamp) -> Vec<TimeSignal> {
        self.highest = self.highest.max(Some(at.unwrap_or(i64::MIN)));
        let signals = value.split(' ').filter_map(|part| match part {
            "idle" => Some(TimeSignal::Idle),
            "active" => Some(TimeSignal::Active),
            "now" => Some(TimeSignal::Watermark(clock)),
            _ => part.parse().ok().map(TimeSignal::Watermark),
        });
        signals.collect()
    }

    fn on_periodic_emit(&self) -> Vec<TimeSignal> {
        let highest = self.highest.into_iter();
        highest
            .map(|highest| TimeSignal::Watermark(highest.saturating_sub(10)))
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Records(Vec<(String, Option<Timestamp>)>),
    Tick(Timestamp),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        6 => Just("x".to_owned()),
        2 => (-50i64..50).prop_map(|at| at.to_string()),
        1 => prop::sample::select(vec!["idle", "active", "now"]).prop_map(str::to_owned),
    ];
    let value = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(" "));
    let record = (value, prop::option::weighted(0.9, -50i64..50));
    let step = prop_oneof![
        3 => prop::collection::vec(record, 1..40).prop_map(Step::Records),
        1 => (0i64..1_000).prop_map(Step::Tick),
    ];
    prop::collection::vec(step, 1..12)
}

fn said(
    generator: &mut dyn WatermarkGenerator,
    records: &[(String, Option<Timestamp>)],
) -> Vec<(u32, TimeSignal)> {
    let inputs: Vec<_> = records
        .iter()
        .map(|(value, at)| Input::plain(value, *at))
        .collect();
    let timestamps: Vec<_> = records.iter().map(|(_, at)| at.unwrap_or(i64::MIN)).collect();
    let mut out = Punctuation::default();
    generator
        .on_events(&batch(&inputs), &timestamps, &mut out)
        .unwrap();
    out.take(records.len() as u32).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_generator_says_what_the_model_says_after_the_same_records(steps in steps(), restore_at in 0usize..12) {
        for (function, keeps) in [("watermarks", false), ("watermarks-kept", true)] {
            each(function, |place, functions, function, at| {
                let mut model = Model::default();
                let mut clock = 0;
                let mut generator = functions.watermark_generator(function, at).unwrap();
                generator.open(None).unwrap();
                for (number, step) in steps.iter().enumerate() {
                    if number == restore_at {
                        let state = generator.snapshot().unwrap();
                        generator = functions.watermark_generator(function, at).unwrap();
                        generator.open(Some(state)).unwrap();
                        clock = 0;
                        // As in Flink: what it does not declare is gone.
                        model = if keeps { model } else { Model::default() };
                    }
                    match step {
                        Step::Records(records) => {
                            let mut expected = Vec::new();
                            for (row, (value, at)) in records.iter().enumerate() {
                                let signals = model.on_event(value, *at, clock);
                                expected.extend(signals.into_iter().map(|signal| (row as u32, signal)));
                            }
                            assert_eq!(said(&mut *generator, records), expected, "{place}");
                        }
                        Step::Tick(now) => {
                            clock = *now;
                            let mut out = Vec::new();
                            generator.on_periodic_emit(clock, &mut out).unwrap();
                            assert_eq!(out, model.on_periodic_emit(), "{place}");
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn a_generator_that_fails_names_the_record_and_is_not_called_again() {
    for (value, wanted) in [("!bad words", "words"), ("!trap", "trap")] {
        each("watermarks", |place, functions, function, at| {
            let mut generator = functions.watermark_generator(function, at).unwrap();
            generator.open(None).unwrap();
            let rows = batch(&inputs(&[("1", Some(1)), (value, Some(2))]));
            let mut out = Punctuation::default();
            let error = generator.on_events(&rows, &[1, 2], &mut out).unwrap_err();
            let text = format!("{error} {:?}", error.plugin);
            assert!(text.contains(wanted), "{place}: {text}");
            assert!(generator.on_periodic_emit(0, &mut Vec::new()).is_err(), "{place}");
        });
    }
}
