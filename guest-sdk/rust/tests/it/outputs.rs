//! Outputs: side outputs, timestamps, nulls, headers, and more than one answer can hold.

use wasmill_sdk::prelude::*;

#[derive(Default)]
struct Outputs {
    late: SideOutput<str>,
    numbers: SideOutput<Json<u64>>,
    undeclared: SideOutput<str>,
}

impl FlatMapFunction for Outputs {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.late = d.side_output("late");
        self.numbers = d.side_output("numbers");
    }

    fn flat_map(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        match value {
            "late" => ctx.emit_to(self.late, "late"),
            "number" => ctx.emit_to(self.numbers, Json(7)),
            "undeclared" => ctx.emit_to(self.undeclared, "x"),
            "at" => ctx.emit_at("at", -1),
            "null" => ctx.emit_null(),
            "flood" => (0..3000).for_each(|_| ctx.emit(&*"x".repeat(1000))),
            "log" => wasmill_sdk::warn!("a {}", "line"),
            _ => {
                let header = ctx.header("h").map(String::from_utf8_lossy).unwrap_or_default();
                let is_null = ctx.value_is_null();
                ctx.emit(format_args!("{value} null {is_null} header {header}"));
            }
        }
        Ok(())
    }
}

fn harness() -> testing::Harness {
    testing::Harness::new(Registration::flat_map::<Outputs>("outputs"))
}

#[test]
fn side_outputs_are_apart() {
    let mut t = harness();
    for value in ["late", "number", "late"] {
        t.element("", value).unwrap();
    }
    assert_eq!(t.take_side_output("late"), ["late", "late"]);
    assert_eq!(t.take_side_output("numbers"), ["7"]);
    assert_eq!(t.take_output(), Vec::<String>::new());
    assert_eq!(t.description()["side-outputs"][1]["format"], "json");
}

#[test]
fn a_side_output_that_was_not_declared_is_an_error() {
    let error = harness().element("", "undeclared").unwrap_err();
    assert!(error.message().contains("`declare` did not register"), "{error}");
}

#[test]
fn an_emission_has_the_records_timestamp_or_its_own() {
    let mut t = harness();
    for value in ["at", "null", "x"] {
        t.element_at("", value, 5).unwrap();
    }
    let emissions = t.take_emissions();
    let timestamps: Vec<Option<i64>> = emissions.iter().map(|e| e.timestamp).collect();
    assert_eq!(timestamps, [Some(-1), Some(5), Some(5)]);
    assert_eq!(
        emissions.iter().map(|e| e.is_null).collect::<Vec<_>>(),
        [false, true, false]
    );
}

#[test]
fn headers_and_null_values_are_seen() {
    let mut t = harness();
    t.elements(&[
        testing::Element {
            value: Some(b"v"),
            headers: &[("g", b"1"), ("h", b"2")],
            ..Default::default()
        },
        testing::Element::default(),
    ])
    .unwrap();
    assert_eq!(t.take_output(), ["v null false header 2", " null true header "]);
}

#[test]
fn what_one_answer_cannot_hold_is_sent_ahead_in_order() {
    let mut t = harness();
    let element = |value: &'static [u8]| testing::Element {
        value: Some(value),
        ..Default::default()
    };
    t.elements(&[element(b"a"), element(b"flood"), element(b"flood"), element(b"b")])
        .unwrap();
    let output = t.take_output();
    assert_eq!(output.len(), 6002);
    assert!(output[0].starts_with("a ") && output[6001].starts_with("b "));
    assert!(output[1..6001].iter().all(|record| record.len() == 1000));
}

#[test]
fn log_lines_reach_the_host() {
    let mut t = harness();
    t.element("", "log").unwrap();
    let lines = t.take_log();
    assert_eq!(
        (lines.len(), lines[0].level, &*lines[0].message),
        (1, 3, "a line")
    );
}
