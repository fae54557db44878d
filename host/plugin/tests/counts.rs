//! The keyed count, the stateless map and a state that migrates through real components of both families.

#![allow(clippy::unwrap_used)] // Only tests call these: a panic is a failure.

mod support;

use std::collections::BTreeMap;

use serde_json::json;
use wasmill_engine::error::Fault;
use wasmill_model::function::{CleanupStrategies, StateDeclaration, StateTtl, StateVisibility, UpdateType};
use wasmill_model::id::CheckpointId;
use wasmill_model::key;
use wasmill_state::backend::{KeyedStateBackend, Locator, StateKey, Write};
use wasmill_state::keyed;
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::TimerQueue;

use support::{Driver, GROUPS, Input, Setup, component};

/// Components that count, with the name of their function and whether they refuse an empty value.
const COUNTS: [(&str, &str); 4] = [
    ("keyed_count", "keyed-count"),
    ("typed_count_c", "count"),
    ("typed_count_go", "count"),
    ("typed_count_python", "count"),
];

fn records(count: u32, keys: u32) -> Vec<Input> {
    (0..count)
        .map(|i| Input::keyed(&format!("key-{}", (i * 7) % keys), "record", Some(i.into())))
        .collect()
}

fn model(records: &[Input]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    records
        .iter()
        .filter_map(|record| {
            let key = record.key.clone()?;
            let count = counts.entry(key.clone()).or_insert(0u64);
            *count += 1;
            Some(format!("{key}:{count}"))
        })
        .collect()
}

#[test]
fn every_family_and_language_counts_as_the_model_does_however_batches_are_cut() {
    let records = records(1500, 37);
    let expected = model(&records);
    for (name, function) in COUNTS {
        let Some(bytes) = component(name) else { continue };
        for rows in [1, 7, 512] {
            let setup = Setup {
                rows,
                ..Setup::new(bytes.clone(), function)
            };
            let mut driver = Driver::open(&setup, None).unwrap();
            for part in records.chunks(600) {
                driver.push(part).unwrap();
            }
            assert_eq!(driver.emitted[3].timestamp, Some(3), "{name}");
            assert_eq!(driver.values(0), expected, "{name}, {rows} rows a call");
        }
    }
}

#[test]
fn what_is_over_goes_while_other_keys_are_counted() {
    for (name, function) in COUNTS {
        let Some(bytes) = component(name) else { continue };
        for (disable_cleanup_in_background, left) in [(false, 10), (true, 500)] {
            let cleanup = CleanupStrategies {
                disable_cleanup_in_background,
                ..CleanupStrategies::default()
            };
            let ttl = StateTtl {
                time_to_live: 100,
                update_type: UpdateType::OnCreateAndWrite,
                visibility: StateVisibility::NeverReturnExpired,
                cleanup,
            };
            let setup = Setup {
                rows: 3,
                ttl: Some(ttl),
                ..Setup::new(bytes.clone(), function)
            };
            let mut driver = Driver::open(&setup, None).unwrap();
            driver.push(&records(500, 500)).unwrap();
            driver.context.processing_time = 100;
            driver.push(&records(1_000, 10)).unwrap();
            assert_eq!(driver.context.state.size().entries, left, "{name}");
            let counts = driver.values(0).split_off(500);
            assert_eq!(counts, model(&records(1_000, 10)), "{name}");
        }
    }
}

#[test]
fn a_map_answers_each_record_in_order() {
    let Some(bytes) = component("uppercase") else {
        return;
    };
    for rows in [1, 7, 512] {
        let setup = Setup {
            rows,
            ..Setup::new(bytes.clone(), "uppercase")
        };
        let mut driver = Driver::open(&setup, None).unwrap();
        let inputs: Vec<_> = (0..100)
            .map(|i| Input::plain(&format!("value {i}"), None))
            .collect();
        driver.push(&inputs).unwrap();
        let expected: Vec<_> = (0..100).map(|i| format!("VALUE {i}")).collect();
        assert_eq!(driver.values(0), expected);
    }
}

#[test]
fn a_record_that_a_function_refuses_is_named() {
    for (name, function) in &COUNTS[1..] {
        let Some(bytes) = component(name) else { continue };
        let mut driver = Driver::open(&Setup::new(bytes, function), None).unwrap();
        let mut inputs = records(3, 3);
        inputs.push(Input::keyed("bad", "", None));
        let error = driver.push(&inputs).unwrap_err();
        assert!(
            error.to_string().contains("refused a record: the value is empty"),
            "{name}: {error}"
        );
        assert_eq!(error.plugin.unwrap().record.as_deref(), Some("\"\""));
        assert_eq!(
            driver.values(0).len(),
            3,
            "{name}: rows before the refused one are applied"
        );
    }
}

/// A restored backend whose value state `name` holds numbers in schema version 1, all in one key group, under `k0`, `k1`, ….
fn older(name: &str, numbers: &[i64]) -> (Vec<String>, Box<dyn KeyedStateBackend>) {
    let declared = json!({"name": name, "kind": "value", "encoding": "i64-le"});
    let declared: StateDeclaration = serde_json::from_value(declared).unwrap();
    let mut backend = MemoryBackend::new(GROUPS.range_of(0, 1), GROUPS);
    let id = backend.register(&declared).unwrap();
    let names = (0..).map(|number| format!("k{number}"));
    let names = names.filter(|name| group_of(name).0 == 5);
    let names: Vec<String> = names.take(numbers.len()).collect();
    for (name, number) in names.iter().zip(numbers) {
        let (key, value) = (encoded(name), number.to_le_bytes());
        let key = StateKey {
            group: group_of(name),
            hash: key::hash(&key) as u32,
            key: &key,
            namespace: &[],
            map_key: &[],
        };
        let (locator, value) = (Locator::UNKNOWN, Some(&value[..]));
        backend.write_batch(id, &[Write { key, locator, value }]).unwrap();
    }
    let mut file = Vec::new();
    let frozen = keyed::freeze(&mut backend, &TimerQueue::default(), CheckpointId(1)).unwrap();
    frozen.write(&mut file).unwrap();
    let mut restored: Box<dyn KeyedStateBackend> = Box::new(MemoryBackend::new(backend.range(), GROUPS));
    let range = restored.range();
    keyed::restore(&mut &file[..], range, &mut *restored, &mut TimerQueue::default()).unwrap();
    (names, restored)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    key::encode_bytes(&mut key, name.as_bytes());
    key
}

fn group_of(name: &str) -> key::KeyGroup {
    GROUPS.group_of(key::hash(&encoded(name)))
}

#[test]
fn of_a_large_batch_the_entry_that_cannot_be_migrated_is_named() {
    let Some(bytes) = component("ledger") else { return };
    let mut numbers = vec![7; 600];
    numbers[417] = 13;
    for function in ["ledger-2-refuses", "ledger-2-traps"] {
        let (names, state) = older("last", &numbers);
        let opened = Driver::open_on(&Setup::new(bytes.clone(), function), state, None);
        let error = opened.err().unwrap();
        let place = format!("state `last`: what key `{}` of key group 5 has", names[417]);
        assert!(error.message.contains(&place), "{error}");
        assert_eq!((error.fault, error.for_good), (Fault::Plugin, true), "{error}");
    }
}

#[test]
fn a_batch_that_is_too_much_for_one_call_is_migrated_in_parts() {
    for (name, function, state) in [
        ("ledger", "ledger-2", "last"),
        ("ledger_typed", "balance-2", "balance"),
    ] {
        let Some(bytes) = component(name) else { continue };
        let (names, state) = older(state, &(0..600).collect::<Vec<i64>>());
        let setup = Setup {
            limits: json!({"output-bytes-max": 2_048}),
            ..Setup::new(bytes, function)
        };
        let mut driver = Driver::open_on(&setup, state, None).unwrap();
        driver.push(&[Input::keyed(&names[599], "k,1,1", None)]).unwrap();
        let output = driver.values(0).join("");
        assert!(
            output.contains(": last 100,") || output.ends_with(": 60000"),
            "{output}"
        );
    }
}
