//! The interval join against a model that looks at all pairs.

use proptest::prelude::*;
use wasmill_engine::join::interval::IntervalJoinOperator;
use wasmill_engine::operator::Operator;
use wasmill_model::function::Format;
use wasmill_model::graph::join::IntervalJoinSpec;
use wasmill_model::time::{Timestamp, WATERMARK_NONE};

use crate::drive::{Emitted, Event, events, run};

fn spec(lower_ms: i64, upper_ms: i64) -> IntervalJoinSpec {
    IntervalJoinSpec {
        lower_ms,
        upper_ms,
        lower_exclusive: false,
        upper_exclusive: false,
        late_outputs: true,
        function: None,
        formats: [Format::Json; 2],
    }
}

fn operator(spec: &IntervalJoinSpec) -> Box<dyn Operator> {
    Box::new(IntervalJoinOperator::of(spec, None))
}

/// An element that waits for partners.
struct Waiting {
    number: usize,
    side: u16,
    key: u8,
    at: Timestamp,
}

/// What is to come out of all events: pairs in order of the element that came last, then of its partners' times, then
/// of their arrival.
fn model(spec: &IntervalJoinSpec, events: &[Event]) -> Vec<Emitted> {
    let lower = i128::from(spec.lower_ms) + i128::from(spec.lower_exclusive);
    let upper = i128::from(spec.upper_ms) - i128::from(spec.upper_exclusive);
    // How far behind an element of a side its last partner is.
    let reach = |side: u16| if side == 0 { upper } else { -lower }.max(0);
    let (mut waiting, mut emitted) = (Vec::<Waiting>::new(), Vec::new());
    let mut watermark = WATERMARK_NONE;
    for (number, event) in events.iter().enumerate() {
        match *event {
            Event::Element { side, at, .. } if watermark != WATERMARK_NONE && at < watermark => {
                emitted.push((1 + side, Some(at), number.to_string()));
            }
            Event::Element { side, key, at, .. } => {
                let distance = |other: &Waiting| match side {
                    0 => i128::from(other.at) - i128::from(at),
                    _ => i128::from(at) - i128::from(other.at),
                };
                let others = waiting.iter().filter(|other| {
                    other.side != side && other.key == key && (lower..=upper).contains(&distance(other))
                });
                let mut others: Vec<_> = others.collect();
                others.sort_by_key(|other| (other.at, other.number));
                emitted.extend(others.into_iter().map(|other| {
                    let (left, right) = if side == 0 {
                        (number, other.number)
                    } else {
                        (other.number, number)
                    };
                    let pair = format!("{{\"left\":{left},\"right\":{right}}}");
                    (0, Some(at.max(other.at)), pair)
                }));
                waiting.push(Waiting {
                    number,
                    side,
                    key,
                    at,
                });
            }
            // One that does not advance cleans nothing up, as in Flink.
            Event::Watermark(to) if to <= watermark => {}
            Event::Watermark(to) => {
                watermark = to;
                waiting.retain(|one| i128::from(one.at) + reach(one.side) > i128::from(watermark));
            }
            Event::Restore(_) => {}
        }
    }
    emitted
}

/// Nothing is promised between outputs and between keys; everything comes once.
fn sorted(mut emitted: Vec<Emitted>) -> Vec<Emitted> {
    emitted.sort();
    emitted
}

fn bounds(distances: impl Strategy<Value = i64> + Clone) -> impl Strategy<Value = IntervalJoinSpec> {
    let flags = (any::<bool>(), any::<bool>());
    (distances.clone(), distances, flags).prop_map(|(a, b, flags)| IntervalJoinSpec {
        lower_exclusive: flags.0,
        upper_exclusive: flags.1,
        ..spec(a.min(b), a.max(b))
    })
}

/// Times and distances at both ends of what there is, and around 0.
fn extremes() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![
        (0i64..4).prop_map(|n| i64::MIN + n),
        -3i64..4,
        (0i64..4).prop_map(|n| i64::MAX - n)
    ]
}

proptest! {
    #[test]
    fn an_interval_join_gives_what_a_look_at_all_pairs_does(
        spec in bounds(-8i64..8),
        events in events(-20i64..20),
    ) {
        let given = run(&|| operator(&spec), &events);
        prop_assert_eq!(sorted(given), sorted(model(&spec, &events)));
    }

    #[test]
    fn an_interval_join_at_the_ends_of_time_neither_wraps_nor_panics(
        spec in bounds(extremes()),
        events in events(extremes()),
    ) {
        let given = run(&|| operator(&spec), &events);
        prop_assert_eq!(sorted(given), sorted(model(&spec, &events)));
    }
}

fn element(side: u16, at: Timestamp) -> Event {
    Event::Element {
        side,
        key: 0,
        at,
        cut: false,
    }
}

#[test]
fn partners_come_by_time_and_then_as_they_came_also_where_many_share_a_time() {
    // More than a chunk of one bucket holds, and more than one page of a range.
    let mut events: Vec<_> = (0..3_000)
        .map(|n| element(1, 5 - i64::from(n % 2 == 0)))
        .collect();
    events.push(element(0, 5));
    let given = run(&|| operator(&spec(-1, 0)), &events);
    assert_eq!(given, model(&spec(-1, 0), &events));
    assert_eq!(given.len(), 3_000);
}

#[test]
fn beyond_the_last_distance_there_is_no_pair() {
    let at_the_end = IntervalJoinSpec {
        lower_exclusive: true,
        ..spec(i64::MAX, i64::MAX)
    };
    let events = [element(0, i64::MIN + 2), element(1, 1)];
    assert_eq!(run(&|| operator(&at_the_end), &events), []);
    assert_eq!(run(&|| operator(&spec(i64::MAX, i64::MAX)), &events).len(), 1);
}

#[test]
fn late_elements_are_dropped_where_nobody_asks_for_them() {
    let spec = IntervalJoinSpec {
        late_outputs: false,
        ..spec(0, 0)
    };
    let events = [
        element(0, 7),
        Event::Watermark(7),
        element(1, 6),
        element(1, 7),
        element(0, 7),
    ];
    let given = run(&|| operator(&spec), &events);
    // An element at the watermark is not late, and its partner from before it is gone all the same.
    assert_eq!(given, [(0, Some(7), r#"{"left":4,"right":3}"#.to_owned())]);
}
