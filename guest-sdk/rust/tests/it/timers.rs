//! Timers of both domains: order, chains, deletion, and what they may emit.

use wasmill_sdk::prelude::*;

/// `e N`, `p N` register; `-e N`, `-p N` delete. A timer at a multiple of 100 registers the next one 5
/// later, and one at N51 deletes N52.
#[derive(Default)]
struct Timers;

impl KeyedProcessFunction for Timers {
    type In = str;
    type Out = str;

    fn process_element(&mut self, command: &str, ctx: &mut Context<str>) -> Result<()> {
        let (operation, at) = command
            .split_once(' ')
            .ok_or_else(|| Error::bad_record("no command"))?;
        let at = at.parse()?;
        match operation {
            "e" => ctx.register_event_timer(at),
            "p" => ctx.register_processing_timer(at),
            "-e" => ctx.delete_event_timer(at),
            _ => ctx.delete_processing_timer(at),
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let domain = if timer.domain == TimeDomain::EventTime {
            'e'
        } else {
            'p'
        };
        ctx.emit((domain, timer.at, '@', ctx.key_str()?));
        if timer.at % 100 == 0 {
            ctx.register_event_timer(timer.at + 5);
        }
        if timer.at % 100 == 51 {
            ctx.delete_event_timer(timer.at + 1);
        }
        Ok(())
    }
}

fn harness(commands: &[(&str, &str)]) -> testing::Harness {
    let mut t = testing::Harness::process::<Timers>();
    for (key, command) in commands {
        t.element(key, command).unwrap();
    }
    t
}

#[test]
fn timers_fire_in_the_order_of_their_times_and_once() {
    let mut t = harness(&[
        ("b", "e 30"),
        ("a", "e 30"),
        ("a", "e 10"),
        ("a", "e 10"),
        ("a", "e 40"),
    ]);
    t.watermark(35).unwrap();
    assert_eq!(t.take_output(), ["e10@a", "e30@a", "e30@b"]);
    t.watermark(35).unwrap();
    assert_eq!(t.take_output(), Vec::<String>::new());
    assert_eq!(t.timers(), [(TimeDomain::EventTime, 40, b"a".to_vec())]);
}

#[test]
fn a_timer_registered_while_others_fire_takes_its_place_among_them() {
    let mut t = harness(&[("a", "e 100"), ("a", "e 103"), ("a", "e 110")]);
    t.watermark(200).unwrap();
    assert_eq!(t.take_output(), ["e100@a", "e103@a", "e105@a", "e110@a"]);
}

#[test]
fn a_timer_deleted_while_others_fire_does_not_fire() {
    let mut t = harness(&[("a", "e 51"), ("a", "e 52"), ("b", "e 52")]);
    t.watermark(60).unwrap();
    assert_eq!(t.take_output(), ["e51@a", "e52@b"]);
}

#[test]
fn domains_are_apart() {
    let mut t = harness(&[
        ("a", "e 10"),
        ("a", "p 10"),
        ("a", "p 20"),
        ("a", "-p 20"),
        ("a", "-e 10"),
    ]);
    t.watermark(50).unwrap();
    t.processing_time(50).unwrap();
    assert_eq!(t.take_output(), ["p10@a"]);
}

#[test]
fn emissions_carry_the_time_of_event_timers_and_none_of_processing_timers() {
    let mut t = harness(&[("a", "e 10"), ("a", "p 10")]);
    t.watermark(10).unwrap();
    t.processing_time(10).unwrap();
    let timestamps: Vec<Option<i64>> = t.take_emissions().iter().map(|e| e.timestamp).collect();
    assert_eq!(timestamps, [Some(10), None]);
}

#[test]
fn a_timer_without_a_key_is_an_error() {
    let mut t = testing::Harness::process::<Timers>();
    let element = testing::Element {
        value: Some(b"e 1"),
        ..Default::default()
    };
    let error = t.elements(&[element]).unwrap_err();
    assert!(error.message().contains("a timer needs a key"), "{error}");
}
