//! Functions of several streams through both families against plain models, however batches are cut.

#![allow(clippy::unwrap_used)] // Only tests call these: a panic is a failure.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_engine::error::Fault;
use wasmill_model::function::OperatorStateMode;
use wasmill_state::timers::TimeDomain;

use support::{Driver, Input, Setup, component};

/// Runs `test` for each family that was built and each number of rows a call.
fn each(function: &str, mut test: impl FnMut(&str, Setup)) {
    for name in ["conformance", "conformance_typed"] {
        let Some(bytes) = component(name) else { continue };
        for rows in [1, 7, 512] {
            let setup = Setup {
                rows,
                ..Setup::new(bytes.clone(), function)
            };
            test(&format!("{name}, {rows} rows a call"), setup);
        }
    }
}

fn plain(values: &[&str]) -> Vec<Input> {
    values.iter().map(|value| Input::plain(value, Some(5))).collect()
}

/// A record of the first input under a key, or of the second one.
#[derive(Clone, Debug)]
enum Record {
    First(String, String, i64),
    Second(String, String, i64),
    Watermark(i64),
}

fn push(driver: &mut Driver, records: &[Record]) {
    for record in records {
        match record {
            Record::First(key, value, at) => driver.push_to(0, &[Input::keyed(key, value, Some(*at))]),
            Record::Second(key, value, at) => driver.push_to(1, &[Input::keyed(key, value, Some(*at))]),
            Record::Watermark(by) => {
                let watermark = driver.context.watermark.max(0) + by;
                driver.advance(TimeDomain::Event, watermark)
            }
        }
        .unwrap();
    }
}

/// Runs of records of one input, in batches as long as they are.
fn push_in_runs(driver: &mut Driver, records: &[Record]) {
    let port = |record: &Record| match record {
        Record::First(..) => Some(0),
        Record::Second(..) => Some(1),
        Record::Watermark(_) => None,
    };
    for run in records.chunk_by(|a, b| port(a).is_some() && port(a) == port(b)) {
        let Some(number) = port(&run[0]) else {
            push(driver, run);
            continue;
        };
        let inputs: Vec<Input> = run
            .iter()
            .filter_map(|record| match record {
                Record::First(key, value, at) | Record::Second(key, value, at) => {
                    Some(Input::keyed(key, value, Some(*at)))
                }
                Record::Watermark(_) => None,
            })
            .collect();
        driver.push_to(number, &inputs).unwrap();
    }
}

/// What `co-process` of the conformance component says.
#[derive(Default)]
struct CoProcess {
    seen: BTreeMap<String, String>,
    timers: std::collections::BTreeSet<(i64, String)>,
    watermark: i64,
    emitted: Vec<String>,
}

impl CoProcess {
    fn take(&mut self, record: &Record) {
        match record {
            Record::First(key, value, _) => {
                let seen = self.seen.entry(key.clone()).or_default();
                *seen = match seen.is_empty() {
                    true => value.clone(),
                    false => format!("{seen},{value}"),
                };
            }
            Record::Second(key, value, at) => {
                let seen = self.seen.get(key).map_or("none", String::as_str);
                self.emitted.push(format!("{key} {value} seen={seen}"));
                self.timers.insert((at + 10, key.clone()));
            }
            Record::Watermark(by) => {
                self.watermark += by;
                while let Some((at, key)) = self.timers.first().filter(|t| t.0 <= self.watermark).cloned() {
                    self.timers.pop_first();
                    let seen = self.seen.remove(&key).unwrap_or_else(|| "none".to_owned());
                    self.emitted.push(format!("timer {at} seen={seen}"));
                }
            }
        }
    }
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let part = || ("[p-s]", "[a-c]{1,3}", 0i64..60);
    let record = prop_oneof![
        4 => part().prop_map(|(key, value, at)| Record::First(key, value, at)),
        4 => part().prop_map(|(key, value, at)| Record::Second(key, value, at)),
        1 => (0i64..20).prop_map(Record::Watermark),
    ];
    prop::collection::vec(record, 1..60)
}

/// Timers of one time fire in the order of their keys' groups: sorted here and there.
fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort();
    values
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_co_process_shares_state_and_timers_between_its_inputs(records in records()) {
        let mut model = CoProcess::default();
        records.iter().for_each(|record| model.take(record));
        let expected = sorted(model.emitted);
        each("co-process", |place, setup| {
            let mut driver = Driver::open(&setup, None).unwrap();
            push_in_runs(&mut driver, &records);
            assert_eq!(sorted(driver.values(0)), expected, "{place}");
        });
    }
}

#[test]
fn co_maps_and_co_flat_maps_tell_their_inputs_apart() {
    each("co-map", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(0, &plain(&["a", "b"])).unwrap();
        driver.push_to(1, &plain(&["c", ""])).unwrap();
        driver.push_to(0, &plain(&["d"])).unwrap();
        assert_eq!(driver.emitted[2].timestamp, Some(5), "{place}");
        assert_eq!(driver.values(0), ["1:a", "1:b", "2:c", "2:", "1:d"], "{place}");
        let error = driver.push_to(1, &plain(&["e", "!bad words"])).unwrap_err();
        assert_eq!(error.fault, Fault::User, "{place}: {error}");
    });
    each("co-flat-map", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(1, &plain(&["a b", ""])).unwrap();
        driver.push_to(0, &plain(&["c d", "e"])).unwrap();
        assert_eq!(driver.values(0), ["2:a", "2:b", "c", "d", "e"], "{place}");
    });
}

fn keyed(values: &[(&str, &str)]) -> Vec<Input> {
    values
        .iter()
        .map(|(key, value)| Input::keyed(key, value, Some(1)))
        .collect()
}

#[test]
fn the_broadcast_side_writes_and_the_keyed_side_reads() {
    each("broadcast", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(0, &keyed(&[("k", "a"), ("l", "b")])).unwrap();
        // A key that it had before it was broadcast is none here.
        let rules = keyed(&[("x", "b=2;a=1;key"), ("y", "c=3;-b"), ("z", "d=4")]);
        driver.push_to(1, &rules).unwrap();
        driver.push_to(0, &keyed(&[("k", "c"), ("k", "t 9")])).unwrap();
        driver.push_to(1, &plain(&["clear;z=9"])).unwrap();
        driver.advance(TimeDomain::Event, 9).unwrap();
        let expected = [
            "k a 1 {}",
            "l b 1 {}",
            "key=",
            "k c 2 {a=1,c=3,d=4}",
            "k t 9 3 {a=1,c=3,d=4}",
            "timer 9 {z=9}",
        ];
        assert_eq!(driver.values(0), expected, "{place}");
    });
    each("broadcast-plain", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(1, &plain(&["b=2;a=1", "-b"])).unwrap();
        driver.push_to(0, &plain(&["v"])).unwrap();
        assert_eq!(driver.values(0), ["v {a=1}"], "{place}");
    });
}

#[test]
fn a_write_of_the_keyed_side_is_refused_by_name() {
    for (function, value) in [
        ("broadcast", "a=9"),
        ("broadcast", "-a"),
        ("broadcast-plain", "clear"),
    ] {
        each(function, |place, setup| {
            let mut driver = Driver::open(&setup, None).unwrap();
            driver.push_to(1, &plain(&["a=1"])).unwrap();
            let inputs = match function {
                "broadcast" => keyed(&[("k", value)]),
                _ => plain(&[value]),
            };
            let error = driver.push_to(0, &inputs).unwrap_err();
            assert_eq!(error.fault, Fault::Plugin, "{place}: {error}");
            assert!(
                error.message.contains("broadcast state `rules`") && error.message.contains("only be read"),
                "{place}: {error}"
            );
            let lists = driver.snapshot().unwrap().lists;
            assert_eq!(lists[0].elements.len(), 1, "{place}");
        });
    }
}

#[test]
fn a_failed_record_leaves_broadcast_state_as_it_was() {
    each("broadcast", |place, setup| {
        let setup = Setup { rows: 1, ..setup };
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(0, &keyed(&[("k", "v")])).unwrap();
        driver.push_to(1, &plain(&["a=1;b=2"])).unwrap();
        for undone in ["a=9;-b;c=3;reset;!bad no", "clear;double;!fail no"] {
            driver.push_to(1, &plain(&[undone])).unwrap_err();
        }
        driver.push_to(1, &plain(&["each"])).unwrap();
        driver.push_to(0, &keyed(&[("k", "w")])).unwrap();
        let expected = ["k v 1 {}", "k=1 v", "k w 2 {a=1,b=2}"];
        assert_eq!(driver.values(0), expected, "{place}");
    });
}

#[test]
fn the_broadcast_side_goes_through_every_key_of_a_keyed_state() {
    let names: Vec<String> = (0..40).map(|i| format!("key-{i:02}")).collect();
    let inputs: Vec<_> = names.iter().map(|name| Input::keyed(name, "v", None)).collect();
    let all = |count: u32| -> Vec<String> { names.iter().map(|name| format!("{name}={count} v")).collect() };
    each("broadcast", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(0, &inputs).unwrap();
        driver.emitted.clear();
        driver
            .push_to(1, &plain(&["each;double;each", "double;each"]))
            .unwrap();
        let found = driver.values(0);
        assert_eq!(found.len(), 120, "{place}");
        for (part, count) in found.chunks(40).zip([1, 2, 4]) {
            assert_eq!(sorted(part.to_vec()), all(count), "{place}");
        }
        // What the call itself has cleared is gone for it too.
        driver.push_to(1, &plain(&["reset;each", "each"])).unwrap();
        assert_eq!(driver.values(0), [""; 0], "{place}");
        driver.push_to(0, &keyed(&[("key-03", "w")])).unwrap();
        driver.push_to(1, &plain(&["each"])).unwrap();
        assert_eq!(driver.values(0), ["key-03 w 1 {}", "key-03=1 w"], "{place}");
    });
}

#[test]
fn broadcast_state_is_restored_and_survives_a_new_instance() {
    each("broadcast", |place, setup| {
        let setup = Setup {
            limits: serde_json::json!({"recycle-bytes": 65_536}),
            ..setup
        };
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push_to(1, &plain(&["b=2;a=1"])).unwrap();
        let snapshot = driver.snapshot().unwrap();
        assert_eq!(snapshot.lists.len(), 1, "{place}");
        assert_eq!(snapshot.lists[0].mode, OperatorStateMode::Broadcast, "{place}");
        driver.push_to(1, &plain(&["lost=1"])).unwrap();
        let mut restored = Driver::open(&setup, Some(snapshot)).unwrap();
        restored.push_to(0, &keyed(&[("k", "v"), ("k", "w")])).unwrap();
        let expected = ["k v 1 {a=1,b=2}", "k w 2 {a=1,b=2}"];
        assert_eq!(restored.values(0), expected, "{place}");
    });
}
