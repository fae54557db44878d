//! Bytes that a guest might send out of malice or by mistake.

use proptest::prelude::*;

use super::*;

/// An answer with one section.
fn with(tag: u32, bytes: Vec<u8>) -> Vec<u8> {
    answer(2, &[(tag, bytes)])
}

fn check(cases: Vec<(Vec<u8>, &str)>) {
    for (bytes, expected) in cases {
        let mut call = Call::new();
        let rows = call.ask(&batch(&["a", "b"]));
        let error = call.decode(rows, None, bytes).expect_err(expected).to_string();
        assert!(
            error.starts_with("answer: ") && error.contains(expected),
            "{error}\nexpected: {expected}"
        );
    }
}

#[test]
fn a_wrong_header_or_directory_is_refused_by_its_place() {
    let twice = answer(2, &[(SECTION_OUTPUT, vec![]), (SECTION_OUTPUT, vec![])]);
    check(vec![
        (vec![], "header: ends at byte 0"),
        (vec![2], "header: version 2, this host reads version 1"),
        (answer(0, &[]), "header: 0 rows consumed of 2"),
        (answer(3, &[]), "header: 3 rows consumed of 2"),
        (vec![0; 10_001], "10001 bytes exceed the limit of 10000"),
        (
            with(55, vec![]),
            "directory: section 55 is unknown and not optional",
        ),
        (twice, "section OUTPUT (16) is there twice"),
        (
            with(SECTION_REQUESTS, vec![0; 12]),
            "section REQUESTS, entry 0: 0 bytes cannot hold a request",
        ),
        (
            with(SECTION_ERROR, vec![0; 8]),
            "section ERROR, there is no kind of error 0",
        ),
        (
            with(SECTION_ERROR, vec![7; 8]),
            "section ERROR, row 117901063 is not one of the 2 rows",
        ),
    ]);
}

#[test]
fn wrong_rows_and_state_are_refused_by_their_place() {
    let huge = "x".repeat(1_001);
    let state = |slot, entries: &[(u8, &str)]| with(SECTION_STATE_WRITES, state_block(slot, entries));
    let side = |row| with(SECTION_SIDE, row);
    let output = |row| with(SECTION_OUTPUT, row);
    check(vec![
        (
            output(vec![1, 2, 3]),
            "section OUTPUT, row 0: a row of 32 bytes at offset 0 exceeds",
        ),
        (
            output(emitted(1, 0, "")),
            "section OUTPUT, row 0: port 1; the main output is 0",
        ),
        (side(emitted(3, 0, "")), "section SIDE, row 0: port 3"),
        (output(emitted(0, 2, "")), "row 0: it is caused by row 2"),
        (
            output(emitted(0, 0, &huge)),
            "row 0: a value of 1001 bytes exceeds the limit of 1000",
        ),
        (
            state(1, &[(0, ""), (0, "")]),
            "section STATE, block 0: slot 1 did not travel",
        ),
        (state(0, &[(0, "")]), "block 0: 1 entries where the frame had 2"),
        (state(0, &[(0, ""), (4, "")]), "entry 1: there is no status 4"),
        (state(0, &[(2, &huge), (0, "")]), "a value of 1001 bytes"),
    ]);
}

#[test]
fn wrong_timers_writes_and_metrics_are_refused_by_their_place() {
    let timers = |row, op, domain| with(SECTION_TIMERS, timer(row, op, domain, 0));
    let writes = |slot, op, value: &[u8]| with(SECTION_WRITES, write(0, slot, op, "", value));
    let metrics = |number, kind, value| with(SECTION_METRICS, metric(number, kind, value));
    check(vec![
        (
            timers(2, 1, 1),
            "section TIMERS, entry 0: row 2 is not a keyed row",
        ),
        (timers(0, 3, 1), "there is no operation 3"),
        (timers(0, 1, 0), "there is no domain 0"),
        (
            writes(0, 1, b""),
            "section WRITES, entry 0: state `value` travels in the frame",
        ),
        (writes(1, 1, b""), "state `list` is a list state, not value or"),
        (writes(9, 1, b""), "there is no state slot 9"),
        (writes(1, 11, b""), "there is no operation 11"),
        (writes(3, 7, b"x"), "must have 8 bytes, this one has 1"),
        (writes(1, 4, &[9, 0, 0, 0]), "a list element ends at byte 4"),
        (
            metrics(7, 1, 0.0),
            "section METRICS, entry 0: metric 7 was not registered",
        ),
        (metrics(0, 2, 0.0), "metric 0 is a Counter, not of kind 2"),
        (metrics(0, 1, f64::NAN), "it must be finite"),
    ]);
}

#[test]
fn a_row_that_claims_a_key_or_a_group_is_refused() {
    let mut call = Call::new();
    let rows = call.ask(&batch(&["a"]));
    for (at, value, expected) in [
        (5, FLAG_KEYED, "flags 0x02"),
        (12, 1, "group 1"),
        (4, 2, "kind 2"),
        (24, 1, "key"),
    ] {
        let mut row = emitted(0, 0, "x");
        row[at] = value;
        let error = call
            .decode(rows, None, answer(1, &[(SECTION_OUTPUT, row)]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_timer_that_changes_what_is_due_must_be_the_last_one_consumed() {
    let mut call = Call::new();
    let rows = call.ask(&batch(&["a", "b"]));
    let due = |consumed, row| answer(consumed, &[(SECTION_TIMERS, timer(row, 1, 1, 100))]);
    assert!(call.decode(rows, Some(TimeDomain::Event), due(1, 0)).is_ok());
    assert!(call.decode(rows, Some(TimeDomain::Event), due(2, 1)).is_ok());
    assert!(call.decode(rows, Some(TimeDomain::Processing), due(2, 0)).is_ok());
    let error = call
        .decode(rows, Some(TimeDomain::Event), due(2, 0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the timer of row 0 changes what is due at 100"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_mutated_answer_is_refused_or_applies_without_a_panic(
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = full_answer();
        for (at, value) in &mutations {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        let mut call = Call::new();
        let rows = call.ask(&batch(&["a", "b", "a"]));
        if let Ok(Verdict::Answer(answer)) = call.decode(rows, None, bytes) {
            prop_assert!(answer.consumed >= 1 && answer.consumed <= rows);
            call.apply(&answer);
        }
    }

    #[test]
    fn any_host_call_is_answered_or_refused_without_a_panic(
        op in 0u8..9,
        words in prop::collection::vec(prop_oneof![0u32..6, any::<u32>()], 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut call = Call::new();
        call.ask(&batch(&["a", "b", "a"]));
        let mut request = vec![op, 0, 0, 0];
        words.iter().for_each(|word| put_u32(&mut request, *word));
        request.extend_from_slice(&tail);
        if let Err(error) = host_call(&mut call.scope, &request) {
            prop_assert!(error.starts_with("host-call"), "{}", error);
        }
    }
}
