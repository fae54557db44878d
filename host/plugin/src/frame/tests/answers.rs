//! What a valid answer and valid host-calls do.

use wasmill_engine::metrics::UserMetric;

use super::*;

/// Effects of every kind on the rows of the keys a, b, a.
fn effects() -> Vec<(u32, Vec<u8>)> {
    let timers = [timer(0, 1, 1, 500), timer(1, 1, 2, 7), timer(0, 2, 1, 500)];
    let writes = [
        write(0, 1, 3, "", b"x"),
        write(2, 1, 3, "", b"y"),
        write(1, 2, 5, "k", b"v"),
        write(0, 3, 7, "", &5i64.to_le_bytes()),
        write(2, 3, 7, "", &(-2i64).to_le_bytes()),
        write(0, 4, 1, "", b"cold"),
    ];
    vec![
        (
            SECTION_OUTPUT,
            [emitted(0, 0, "one"), emitted(0, 2, "two")].concat(),
        ),
        (
            SECTION_SIDE,
            [emitted(2, 0, "bad"), emitted(1, 1, "late")].concat(),
        ),
        (SECTION_STATE_WRITES, state_block(0, &[(2, "new"), (1, "")])),
        (SECTION_TIMERS, timers.concat()),
        (SECTION_WRITES, writes.concat()),
        (SECTION_METRICS, metric(0, 1, 3.0)),
        (OPTIONAL_SECTION | 99, b"what is this".to_vec()),
    ]
}

#[test]
fn all_effects_of_an_answer_are_applied() {
    let mut call = Call::new();
    let rows = call.ask(&batch(&["a", "b", "a"]));
    let Verdict::Answer(answer) = call.decode(rows, None, answer(rows, &effects())).unwrap() else {
        panic!("a refusal");
    };
    let out = call.apply(&answer);
    let texts = |batch: &Batch| {
        let values = batch
            .iter()
            .map(|row| String::from_utf8_lossy(row.value()).into_owned());
        values.collect::<Vec<_>>().join(" ")
    };
    let out: Vec<_> = out.iter().map(|(port, batch)| (*port, texts(batch))).collect();
    let expected = [(0, "one two"), (1, "late"), (2, "bad")].map(|(port, text)| (port, text.to_owned()));
    assert_eq!(out, expected);
    assert_eq!(call.context.timers.len(TimeDomain::Event), 0);
    assert_eq!(call.context.timers.next(TimeDomain::Processing), Some(7));
    let user = call.context.metrics.user.lock().unwrap().clone();
    assert_eq!(user.get("seen"), Some(&UserMetric::Counter(3.0)));

    call.ask(&batch(&["a", "b"]));
    let state = section(call.encoder.frame(), SECTION_STATE).unwrap();
    let expected = [&3u32.to_le_bytes()[..], &NONE.to_le_bytes(), b"new"].concat();
    assert_eq!(state[8..], expected);
    assert_eq!(get_many(&mut call.scope, 4, 0, ""), Some(b"cold".to_vec()));
    assert_eq!(
        get_many(&mut call.scope, 3, 0, ""),
        Some(3i64.to_le_bytes().to_vec())
    );
    assert_eq!(get_many(&mut call.scope, 2, 1, "k"), Some(b"v".to_vec()));
    assert_eq!(get_many(&mut call.scope, 2, 0, "k"), None);
    let mut request = vec![4, 0, 0, 0];
    [1, 0, NONE, 1, 100]
        .iter()
        .for_each(|word| put_u32(&mut request, *word));
    let page = host_call(&mut call.scope, &request).unwrap();
    let second = [
        &1u32.to_le_bytes()[..],
        &1u32.to_le_bytes(),
        &1u32.to_le_bytes(),
        b"y",
    ];
    assert_eq!(page, second.concat());
}

#[test]
fn an_error_voids_everything_else() {
    let mut call = Call::new();
    let rows = call.ask(&batch(&["a", "b"]));
    let error = [&1u32.to_le_bytes()[..], &1u32.to_le_bytes(), b"no good"].concat();
    let bytes = answer(
        0,
        &[(SECTION_OUTPUT, b"garbage".to_vec()), (SECTION_ERROR, error)],
    );
    let Verdict::Refusal(refusal) = call.decode(rows, None, bytes).unwrap() else {
        panic!("an answer");
    };
    assert_eq!(
        (refusal.row, refusal.kind, &*refusal.message),
        (1, RefusalKind::BadRecord, "no good")
    );
}

#[test]
fn host_call_sees_its_own_writes_and_undo_drops_them() {
    let mut call = Call::new();
    call.ask(&batch(&["a", "b"]));
    let request = [
        vec![5, 0, 0, 0],
        write(1, 4, 1, "", b"new"),
        write(0, 2, 5, "k", b"v"),
    ]
    .concat();
    host_call(&mut call.scope, &request).unwrap();
    assert_eq!(get_many(&mut call.scope, 4, 1, ""), Some(b"new".to_vec()));
    assert_eq!(get_many(&mut call.scope, 2, 0, "k"), Some(b"v".to_vec()));
    call.scope.undo();
    assert_eq!(get_many(&mut call.scope, 4, 1, ""), None);
    // One wrong entry spoils the request, those before it included.
    let request = [
        vec![5, 0, 0, 0],
        write(1, 4, 1, "", b"new"),
        write(9, 4, 1, "", b""),
    ]
    .concat();
    let error = host_call(&mut call.scope, &request).unwrap_err();
    assert!(
        error.starts_with("host-call 5: entry 1: row 9 is not a keyed row"),
        "{error}"
    );
    assert_eq!(get_many(&mut call.scope, 4, 1, ""), None);
}

#[test]
fn an_emission_by_host_call_for_a_row_that_was_not_consumed_is_refused() {
    let mut call = Call::new();
    let rows = call.ask(&batch(&["a", "b"]));
    host_call(&mut call.scope, &[vec![7, 0, 0, 0], emitted(0, 1, "x")].concat()).unwrap();
    let error = call.decode(rows, None, answer(1, &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "answer: header: 1 rows consumed, but host-call emitted for row 1"
    );
}
