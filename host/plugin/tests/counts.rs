//! The keyed count and the stateless map through real components of both families.

mod support;

use std::collections::BTreeMap;

use support::{Driver, Input, Setup, component};

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
