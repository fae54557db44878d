//! What a frame holds.

use super::*;

#[test]
fn a_frame_holds_each_key_once_and_rows_by_key_index() {
    let mut call = Call::new();
    assert_eq!(call.ask(&batch(&["a", "bb", "a", "c"])), 4);
    let frame = call.encoder.frame();
    assert_eq!((frame[0], u32_at(frame, 4), u32_at(frame, 24)), (VERSION, 4, 3));
    let keys = section(frame, SECTION_KEYS).unwrap();
    assert_eq!(
        (0..4).map(|i| u32_at(keys, i * 4)).collect::<Vec<_>>(),
        [0, 1, 3, 4]
    );
    assert_eq!(&keys[16..], b"abbc");
    let rows = Batch::from_untrusted(Bytes::copy_from_slice(section(frame, SECTION_ROWS).unwrap())).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.key_field(),
                row.group_field(),
                row.key().unwrap().len(),
                row.value().to_vec(),
            )
        })
        .collect();
    let expected: Vec<_> = [0, 1, 0, 2]
        .into_iter()
        .enumerate()
        .map(|(i, key)| (key, NONE, 0, format!("v{i}").into_bytes()))
        .collect();
    assert_eq!(rows, expected);
    let state = section(frame, SECTION_STATE).unwrap();
    let words: Vec<u32> = state.chunks(4).map(|word| u32_at(word, 0)).collect();
    assert_eq!(words, [0, 3, NONE, NONE, NONE]);
}

#[test]
fn rows_of_a_function_that_is_not_keyed_travel_as_they_are() {
    let mut call = Call::new();
    let batch = batch(&["a", "b", "c"]);
    let bound = FrameBound { rows_max: 2, ..BOUND };
    let rows = call
        .encoder
        .elements(&batch, 0, bound, false, &mut call.scope.keys)
        .unwrap();
    let state = &mut *call.context.state;
    call.encoder
        .finish(&call.scope.keys, call.scope.clocks, &[], state)
        .unwrap();
    assert_eq!(rows, 2);
    let expected = batch.split_at(2).0;
    assert_eq!(
        section(call.encoder.frame(), SECTION_ROWS),
        Some(&expected.bytes()[..])
    );
    assert_eq!(section(call.encoder.frame(), SECTION_KEYS), None);
}

#[test]
fn a_frame_takes_at_least_one_row_and_no_more_than_its_bytes() {
    let mut call = Call::new();
    let batch = batch(&["a", "b", "c"]);
    for (bytes_max, expected) in [(0, 1), (35, 1), (80, 2), (1000, 3)] {
        for keyed in [true, false] {
            let bound = FrameBound {
                rows_max: 9,
                bytes_max,
            };
            let rows = call
                .encoder
                .elements(&batch, 0, bound, keyed, &mut call.scope.keys);
            assert_eq!(rows, Ok(expected), "{bytes_max} bytes, keyed {keyed}");
        }
    }
}

#[test]
fn timers_in_windows_travel_with_their_pairs() {
    let mut call = Call::new();
    let timer = |key: &[u8], namespace: &[u8]| Timer {
        timestamp: 7,
        group: key::KeyGroup(0),
        key: key.into(),
        namespace: namespace.into(),
    };
    let timers = [
        timer(b"ba", b"w1"),
        timer(b"ba", b"w2"),
        timer(b"bb", b"w1"),
        timer(b"ba", b"w1"),
    ];
    assert_eq!(
        call.encoder
            .timers(&timers, TimeDomain::Event, 10, &mut call.scope.keys),
        4
    );
    let state = &mut *call.context.state;
    let (keys, clocks) = (&call.scope.keys, call.scope.clocks);
    call.encoder
        .finish(keys, clocks, &call.prefetched, state)
        .unwrap();
    let frame = call.encoder.frame();
    let words = |tag| {
        section(frame, tag)
            .unwrap()
            .chunks(4)
            .map(|word| u32_at(word, 0))
            .collect::<Vec<_>>()
    };
    assert_eq!(words(SECTION_PAIRS), [0, 0, 0, 1, 1, 0]);
    assert_eq!(words(SECTION_STATE), [0, 3, NONE, NONE, NONE]);
    assert_eq!(&section(frame, SECTION_NAMESPACES).unwrap()[12..], b"w1w2");
}
