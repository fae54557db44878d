//! The same functions through both families against a plain model: the same outputs, state and timers,
//! however batches are cut.

#![allow(clippy::unwrap_used)] // Only tests call these: a panic is a failure.

#[path = "conformance/model.rs"]
mod model;
mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use wasmill_engine::error::Fault;
use wasmill_engine::metrics::UserMetric;
use wasmill_model::key;
use wasmill_state::timers::TimeDomain;

use model::Process;
use support::{Driver, Emitted, Input, Setup, component};

/// Both families of the conformance component.
const FAMILIES: [&str; 2] = ["conformance", "conformance_typed"];
const ROWS: [u32; 3] = [1, 7, 512];

/// Runs `test` for each family that was built and each number of rows a call.
fn each(function: &str, mut test: impl FnMut(&str, Setup)) {
    for name in FAMILIES {
        let Some(bytes) = component(name) else { continue };
        for rows in ROWS {
            let setup = Setup {
                rows,
                ..Setup::new(bytes.clone(), function)
            };
            test(&format!("{name}, {rows} rows a call"), setup);
        }
    }
}

/// What comes out must be grouped by port: ports have no order among each other.
fn by_port(emitted: &[Emitted]) -> BTreeMap<u16, Vec<(String, Option<i64>)>> {
    let mut ports: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for row in emitted {
        ports
            .entry(row.port)
            .or_default()
            .push((row.value.clone(), row.timestamp));
    }
    ports
}

/// A step of a run: records, or a clock that advances.
#[derive(Clone, Debug)]
enum Step {
    Records(Vec<Input>),
    Advance(TimeDomain, i64),
}

fn text() -> impl Strategy<Value = String> {
    "[a-c]{1,3}"
}

fn time() -> impl Strategy<Value = String> {
    prop_oneof![
        (0i64..60).prop_map(|n| n.to_string()),
        (-5i64..20).prop_map(|n| format!("~{n}"))
    ]
}

fn state_command() -> impl Strategy<Value = String> {
    prop_oneof![
        text().prop_map(|t| format!("v={t}")),
        text().prop_map(|t| format!("c={t}")),
        text().prop_map(|t| format!("l+{t}")),
        prop::collection::vec(text(), 0..3).prop_map(|parts| format!("l={}", parts.join(","))),
        (text(), text()).prop_map(|(k, v)| format!("m+{k}:{v}")),
        text().prop_map(|k| format!("m/{k}")),
        text().prop_map(|k| format!("m?{k}")),
        text().prop_map(|k| format!("m#{k}")),
        (-9i64..9).prop_map(|n| format!("r+{n}")),
        (-9i64..9).prop_map(|n| format!("f+{n}")),
        text().prop_map(|t| format!("a+{t}")),
        prop::sample::select(vec![
            "v-",
            "v?",
            "c-",
            "c?",
            "l-",
            "l?",
            "m-",
            "m?",
            "m0",
            "r-",
            "r?",
            "f-",
            "f?",
            "a-",
            "a?",
            "k",
            "w",
            "p",
            "t",
            "n",
            "h a",
            "h z",
            "log hello",
            "mc 2",
            "mg 7",
            "mh 3"
        ])
        .prop_map(str::to_owned),
        text().prop_map(|t| format!("e {t}")),
        ((-50i64..50), text()).prop_map(|(n, t)| format!("@{n} {t}")),
        text().prop_map(|t| format!("s {t}")),
        text().prop_map(|t| format!("o {t}")),
    ]
}

fn timer_command() -> impl Strategy<Value = String> {
    let domain = || prop::sample::select(vec!["e", "p"]);
    prop_oneof![
        (domain(), prop::bool::weighted(0.7), time())
            .prop_map(|(d, register, t)| format!("t{d}{}{t}", if register { "+" } else { "-" })),
        (domain(), 1i64..5, -3i64..10).prop_map(|(d, count, step)| format!("c{d}={count} {step}")),
    ]
}

fn command() -> impl Strategy<Value = String> {
    let in_timer = prop_oneof![2 => state_command(), 2 => timer_command()];
    prop_oneof![
        6 => state_command(),
        2 => timer_command(),
        1 => prop::collection::vec(in_timer, 1..4).prop_map(|script| format!("on={}", script.join("|"))),
    ]
}

fn record() -> impl Strategy<Value = Input> {
    let script = prop::collection::vec(command(), 1..6).prop_map(|commands| Some(commands.join(";")));
    let value = prop_oneof![12 => script, 1 => Just(None)];
    let headers =
        prop::option::of(text()).prop_map(|value| value.map(|v| ("a".to_owned(), v)).into_iter().collect());
    ("[p-s]", value, prop::option::weighted(0.9, 0i64..50), headers).prop_map(
        |(key, value, timestamp, headers)| Input {
            key: Some(key),
            value,
            timestamp,
            headers,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(record(), 1..20).prop_map(Step::Records),
        1 => (0i64..30).prop_map(|by| Step::Advance(TimeDomain::Event, by)),
        1 => (0i64..30).prop_map(|by| Step::Advance(TimeDomain::Processing, by)),
    ];
    prop::collection::vec(step, 1..8)
}

/// At the end every key shows all of its state.
fn last_words() -> Vec<Step> {
    let show = "v?;c?;l?;m?;m0;r?;f?;a?";
    let records = ["p", "q", "r", "s"].map(|key| Input::keyed(key, show, Some(1)));
    vec![Step::Records(records.into())]
}

/// Advances by the step's number: clocks never go back.
fn run(driver: &mut Driver, steps: &[Step]) -> Result<(), String> {
    for step in steps {
        let done = match step {
            Step::Records(records) => driver.push(records),
            Step::Advance(domain, by) => {
                let clock = match domain {
                    TimeDomain::Event => driver.context.watermark.max(0),
                    TimeDomain::Processing => driver.context.processing_time,
                };
                driver.advance(*domain, clock + by)
            }
        };
        done.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn expect(steps: &[Step]) -> Process {
    let mut model = Process::default();
    for step in steps {
        match step {
            Step::Records(records) => records.iter().for_each(|record| model.element(record)),
            Step::Advance(domain, by) => {
                let clock = model.clocks[*domain as usize].max(0);
                model.advance(*domain, clock + by);
            }
        }
    }
    model
}

fn check(place: &str, driver: &Driver, model: &Process) {
    assert_eq!(by_port(&driver.emitted), by_port(&model.emitted), "{place}");
    for domain in [TimeDomain::Event, TimeDomain::Processing] {
        let mut timers = Vec::new();
        driver.context.timers.for_each(domain, |timer| {
            timers.push((timer.timestamp, timer.group.0, timer.key.to_vec()));
        });
        assert_eq!(timers, model.timers(domain), "{place}: {domain:?} timers");
    }
    let user = driver.context.metrics.user.lock().unwrap();
    let counter = user.get("conformance_counter").cloned();
    let expected = (model.counter > 0.0).then_some(UserMetric::Counter(model.counter));
    assert_eq!(counter, expected, "{place}");
    assert_eq!(
        user.get("conformance_gauge").cloned(),
        model.gauge.map(UserMetric::Gauge),
        "{place}"
    );
    let observed = &model.observations;
    let histogram = (!observed.is_empty()).then(|| UserMetric::Histogram {
        count: observed.len() as u64,
        sum: observed.iter().sum(),
        min: observed.iter().copied().fold(f64::INFINITY, f64::min),
        max: observed.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    });
    assert_eq!(user.get("conformance_histogram").cloned(), histogram, "{place}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn process_functions_give_what_the_model_gives(random in steps()) {
        let steps = [random, last_words()].concat();
        let model = expect(&steps);
        each("process", |place, setup| {
            let mut driver = Driver::open(&setup, None).unwrap();
            run(&mut driver, &steps).unwrap();
            check(place, &driver, &model);
        });
    }

    #[test]
    fn rolling_functions_give_what_the_model_gives(
        values in prop::collection::vec(("[p-s]", -99i64..99), 1..60),
    ) {
        let inputs: Vec<_> = values.iter().map(|(key, n)| Input::keyed(key, &n.to_string(), Some(*n))).collect();
        let (mut reduced, mut aggregated) = (BTreeMap::<&str, String>::new(), BTreeMap::<&str, (u64, i64)>::new());
        let (mut reduce, mut aggregate) = (Vec::new(), Vec::new());
        for (key, n) in &values {
            let value = match reduced.get(&**key) {
                None => n.to_string(),
                Some(known) => {
                    let joined = format!("{known},{n}");
                    joined[joined.len().saturating_sub(64)..].to_owned()
                }
            };
            reduced.insert(key, value.clone());
            reduce.push((value, Some(*n)));
            let (count, sum) = aggregated.entry(key).or_default();
            (*count, *sum) = (*count + 1, sum.wrapping_add(*n));
            aggregate.push((format!("{count}:{sum}"), Some(*n)));
        }
        for (function, expected) in [("reduce", &reduce), ("aggregate", &aggregate)] {
            each(function, |place, setup| {
                let mut driver = Driver::open(&setup, None).unwrap();
                driver.push(&inputs).unwrap();
                assert_eq!(by_port(&driver.emitted).get(&0), Some(expected), "{function}: {place}");
            });
        }
    }
}

fn plain(values: &[&str]) -> Vec<Input> {
    values
        .iter()
        .enumerate()
        .map(|(i, value)| Input::plain(value, Some(i as i64)))
        .collect()
}

#[test]
fn a_map_answers_one_value_for_each_record() {
    each("map", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        let mut inputs = plain(&["a", "", "ccc"]);
        inputs[1].value = None;
        driver.push(&inputs).unwrap();
        let expected = [
            ("<a>".to_owned(), Some(0)),
            ("<>".to_owned(), Some(1)),
            ("<ccc>".to_owned(), Some(2)),
        ];
        assert_eq!(by_port(&driver.emitted)[&0], expected, "{place}");
    });
}

#[test]
fn a_filter_passes_the_record_itself_on() {
    each("filter", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        let mut inputs = plain(&["aa", "b", "", "dddd", "eee"]);
        inputs[3].key = Some("key".to_owned());
        driver.push(&inputs).unwrap();
        let kept: Vec<_> = driver
            .emitted
            .iter()
            .map(|row| (row.value.as_str(), row.timestamp))
            .collect();
        assert_eq!(
            kept,
            [("aa", Some(0)), ("", Some(2)), ("dddd", Some(3))],
            "{place}"
        );
        assert_eq!(driver.emitted[2].key.as_deref(), Some(&b"bkey"[..]), "{place}");
    });
}

#[test]
fn a_flat_map_emits_any_number_and_knows_where_it_runs() {
    each("flat-map", |place, setup| {
        let setup = Setup {
            config: json!({"tag": "here"}),
            subtask: (1, 3),
            ..setup
        };
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push(&plain(&["a b  -no", "", "-5@early ?", "c"])).unwrap();
        let ports = by_port(&driver.emitted);
        let rows = |rows: &[(&str, i64)]| {
            rows.iter()
                .map(|(v, t)| ((*v).to_owned(), Some(*t)))
                .collect::<Vec<_>>()
        };
        let main = rows(&[("a", 0), ("b", 0), ("1/3 here", 2), ("c", 3)]);
        assert_eq!(ports[&0], main, "{place}");
        assert_eq!(ports[&1], rows(&[("no", 0), ("5@early", 2)]), "{place}");
    });
}

#[test]
fn a_key_selector_sets_key_and_group_and_keeps_the_record() {
    each("key-selector", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push(&plain(&["user:1", "plain", ":x"])).unwrap();
        let rows: Vec<_> = driver
            .emitted
            .iter()
            .map(|row| (row.value.as_str(), row.key.clone()))
            .collect();
        let key = |body: &[u8]| {
            let mut encoded = Vec::new();
            key::encode_bytes(&mut encoded, body);
            Some(encoded)
        };
        assert_eq!(
            rows,
            [
                ("user:1", key(b"user")),
                ("plain", key(b"plain")),
                (":x", key(b""))
            ],
            "{place}"
        );
    });
}

#[test]
fn a_refused_record_is_named_with_the_functions_words() {
    let faults = [
        ("bad", Fault::User),
        ("retry", Fault::External),
        ("fail", Fault::Plugin),
    ];
    for (verb, fault) in faults {
        each("map", |place, setup| {
            let mut driver = Driver::open(&setup, None).unwrap();
            let value = format!("!{verb} the words");
            let error = driver.push(&plain(&["a", "b", &value, "c"])).unwrap_err();
            assert_eq!(error.fault, fault, "{place}: {error}");
            assert!(error.message.contains("the words"), "{place}: {error}");
            let plugin = error.plugin.unwrap();
            assert_eq!(plugin.record, Some(format!("\"{value}\"")), "{place}");
            assert_eq!(plugin.function, "map", "{place}");
        });
    }
}

#[test]
fn a_trap_is_blamed_on_the_record_that_causes_it() {
    for function in ["map", "process"] {
        each(function, |place, setup| {
            let mut driver = Driver::open(&setup, None).unwrap();
            let value = |i: i32| {
                if i == 13 {
                    "!trap".to_owned()
                } else {
                    format!("e {i}")
                }
            };
            let inputs: Vec<_> = (0..20).map(|i| Input::keyed("k", &value(i), None)).collect();
            let error = driver.push(&inputs).unwrap_err();
            assert_eq!(error.fault, Fault::Plugin, "{place}: {error}");
            let plugin = error.plugin.unwrap();
            assert_eq!(plugin.record.as_deref(), Some("\"!trap\""), "{place}");
            assert!(!plugin.backtrace.is_empty(), "{place}");
        });
    }
}

#[test]
fn what_a_failing_record_did_is_undone() {
    each("process", |place, setup| {
        let setup = Setup { rows: 1, ..setup };
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push(&[Input::keyed("k", "v=kept;l+kept", None)]).unwrap();
        let undone = "v=lost;c=lost;l+lost;m+a:lost;r+1;f+1;te+5;e lost;s lost;mc 1;!bad no";
        driver.push(&[Input::keyed("k", undone, None)]).unwrap_err();
        driver
            .push(&[Input::keyed("k", "v?;c?;l?;m?;r?;f?", None)])
            .unwrap();
        let expected = ["v=kept", "c none", "l=[kept]", "m={}", "r none", "f none"];
        assert_eq!(driver.values(0), expected, "{place}");
        assert_eq!(driver.values(1), [""; 0], "{place}");
        assert!(driver.context.timers.is_empty(), "{place}");
        assert!(driver.context.metrics.user.lock().unwrap().is_empty(), "{place}");
    });
}

#[test]
fn a_buffering_function_goes_on_from_its_snapshot() {
    each("buffering", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push(&plain(&["a", "b", "=set", "?", "c", "d"])).unwrap();
        let shown = "buffer=[a,b] seen=2 setting=set raw=b restored=false";
        assert_eq!(driver.values(0), [shown, "a+b+c"], "{place}");
        let snapshot = driver.snapshot().unwrap();
        driver.push(&plain(&["lost"])).unwrap();
        let mut restored = Driver::open(&setup, Some(snapshot)).unwrap();
        restored.push(&plain(&["?", "e", "f"])).unwrap();
        let shown = "buffer=[d] seen=4 setting=set raw=d restored=true";
        assert_eq!(restored.values(0), [shown, "d+e+f"], "{place}");
    });
}

#[test]
fn an_instance_that_is_recycled_between_calls_changes_nothing() {
    for (function, expected) in [
        ("buffering", vec!["a+b+c", "d+e+f"]),
        ("map", vec!["<a>", "<b>", "<c>", "<d>", "<e>", "<f>"]),
    ] {
        each(function, |place, setup| {
            // Below what any instance holds: it is replaced after the first call, and after that never.
            let setup = Setup {
                limits: json!({"recycle-bytes": 65_536}),
                rows: 2.min(setup.rows),
                ..setup
            };
            let mut driver = Driver::open(&setup, None).unwrap();
            driver.push(&plain(&["a", "b", "c", "d", "e", "f"])).unwrap();
            assert_eq!(driver.values(0), expected, "{place}");
        });
    }
}

#[test]
fn a_trap_in_a_buffering_function_fails_at_once() {
    each("buffering", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        let error = driver.push(&plain(&["a", "!trap", "b"])).unwrap_err();
        assert_eq!(error.fault, Fault::Plugin, "{place}: {error}");
        assert!(driver.snapshot().is_err(), "{place}: the instance is dead");
    });
}

#[test]
fn a_buffering_function_that_answered_an_error_is_gone_and_starts_anew_from_its_snapshot() {
    each("buffering", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver.push(&plain(&["a", "b"])).unwrap();
        let snapshot = driver.snapshot().unwrap();
        let error = driver.push(&plain(&["lost", "!fail the words"])).unwrap_err();
        assert!(error.message.contains("the words"), "{place}: {error}");
        assert!(
            driver.snapshot().is_err(),
            "{place}: half of a call must not be kept"
        );
        assert!(driver.push(&plain(&["c"])).is_err(), "{place}");
        let mut restored = Driver::open(&setup, Some(snapshot)).unwrap();
        restored.push(&plain(&["?", "c"])).unwrap();
        let shown = "buffer=[a,b] seen=2 setting= raw=b restored=true";
        assert_eq!(restored.values(0), [shown, "a+b+c"], "{place}");
    });
}

#[test]
fn a_timer_that_deletes_a_later_one_of_the_same_firing_stops_it() {
    each("process", |place, setup| {
        let mut driver = Driver::open(&setup, None).unwrap();
        driver
            .push(&[Input::keyed("k", "te+1;te+2;te+3;on=te-2", Some(0))])
            .unwrap();
        driver.advance(TimeDomain::Event, 10).unwrap();
        assert_eq!(driver.values(0), ["timer event 1", "timer event 3"], "{place}");
        assert!(driver.context.timers.is_empty(), "{place}");
    });
}
