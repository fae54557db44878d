//! Windows of slices give what the window operator gives, on inputs of chance.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::build;
use crate::case::Case;
use crate::drive::{Way, run};

/// Elements and watermarks whose times go up on the whole, with disorder, jumps and lateness.
fn input() -> impl Strategy<Value = Vec<Value>> {
    let begin = prop_oneof![
        4 => -3_000..3_000i64,
        1 => Just(i64::MIN + 40),
        1 => Just(i64::MAX - 2_000),
    ];
    let line = prop_oneof![
        12 => (-900..300i64, 0..5u8, -9..9i64).prop_map(|(by, key, value)| (Some((key, value)), by, 0)),
        2 => (-700..100i64, 0..120i64).prop_map(|(by, on)| (None, by, on)),
        1 => (0..10i64, 0..3_000i64).prop_map(|(by, on)| (None, by, on)),
    ];
    (begin, prop::collection::vec(line, 1..150)).prop_map(|(begin, lines)| {
        let mut now = begin;
        let line = |(element, by, on): (Option<(u8, i64)>, i64, i64)| {
            now = now.saturating_add(on + 7);
            let time = now.saturating_add(by);
            match element {
                Some((key, value)) => json!({"ts": time, "key": format!("k{key}"), "value": value}),
                None => json!({"watermark": time}),
            }
        };
        lines.into_iter().map(line).collect()
    })
}

fn pipeline() -> impl Strategy<Value = Value> {
    let size = prop_oneof![1..60i64, 16..1_200i64];
    let slide = prop_oneof![2 => 16..60i64, 3 => 16..500i64, 1 => Just(0)];
    (size, slide, -500..500i64, any::<bool>(), any::<bool>()).prop_map(|(size, slide, offset, all, late)| {
        let tumbling = slide == 0;
        let size = if tumbling { size.max(16) } else { size };
        let slide = if tumbling { size } else { slide };
        let mut pipeline = json!({
            "assigner": if tumbling { "tumbling" } else { "sliding" },
            "size": size, "slide": slide, "offset": offset % slide, "function": "stats",
        });
        if all {
            pipeline["all"] = json!(true);
        }
        if late {
            pipeline["late-output"] = json!(true);
        }
        pipeline
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn slices_give_what_the_window_operator_gives(
        pipeline in pipeline(), input in input(), restore_at in 0..150usize, then_parallelism in 1..4u32, in_batches: bool,
    ) {
        prop_assert!(build::sliced(&pipeline).is_some());
        let then_parallelism = if pipeline.get("all").is_some() { 1 } else { then_parallelism };
        let case = Case::of(pipeline, input);
        let way = Way { in_batches, restore_at: Some(restore_at), then_parallelism, in_slices: true };
        prop_assert_eq!(run(&case, way), run(&case, Way { in_slices: false, ..way }));
    }
}
