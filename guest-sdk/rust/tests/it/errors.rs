//! Errors undo the call, and a panic is not answered.

use wasmill_sdk::prelude::*;

#[derive(Default)]
struct Fails {
    count: ValueState<u64>,
    calls: Counter,
}

impl KeyedProcessFunction for Fails {
    type In = str;
    type Out = Json<f64>;

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.value_state("count");
    }

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.calls = ctx.counter("calls")?;
        match ctx.config_value()["fail"].as_bool() {
            Some(true) => Err(Error::failed("not like this")),
            _ => Ok(()),
        }
    }

    fn process_element(&mut self, value: &str, ctx: &mut Context<Json<f64>>) -> Result<()> {
        let count = self.count.value(ctx)?.unwrap_or(0) + 1;
        self.count.update(ctx, &count)?;
        self.calls.inc();
        ctx.emit(Json(count as f64));
        ctx.register_event_timer(count as i64);
        match value {
            "bad" => Err(Error::bad_record("of no use")),
            "retry" => Err(Error::retry("later")),
            "failed" => Err(Error::failed("never")),
            "panic" => panic!("on purpose"),
            number => {
                number.parse::<u64>()?;
                Ok(())
            }
        }
    }
}

fn element(value: &[u8]) -> testing::Element<'_> {
    testing::Element {
        key: Some(b"k"),
        value: Some(value),
        ..Default::default()
    }
}

#[test]
fn an_error_undoes_every_effect_of_its_call() {
    let mut t = testing::Harness::process::<Fails>();
    t.element("k", "1").unwrap();
    let error = t
        .elements(&[element(b"2"), element(b"bad"), element(b"3")])
        .unwrap_err();
    assert_eq!(error, Error::bad_record("of no use"));
    assert_eq!(t.take_output(), ["1.0"]);
    assert_eq!(t.value("k", "count"), Some(1_u64.to_le_bytes().to_vec()));
    assert_eq!(t.timers().len(), 1);
    assert_eq!(t.metric("calls"), [1.0]);
    t.element("k", "1").unwrap();
    assert_eq!(t.metric("calls"), [1.0, 1.0]);
}

#[test]
fn each_kind_of_error_arrives_as_itself() {
    let mut t = testing::Harness::process::<Fails>();
    assert_eq!(t.element("k", "retry"), Err(Error::retry("later")));
    assert_eq!(t.element("k", "failed"), Err(Error::failed("never")));
}

#[test]
fn what_cannot_be_read_is_a_bad_record() {
    let mut t = testing::Harness::process::<Fails>();
    let parse = t.element("k", "x").unwrap_err();
    assert_eq!(parse, Error::bad_record("invalid digit found in string"));
    let error = t.elements(&[element(&[0xFF])]).unwrap_err();
    assert!(
        matches!(&error, Error::BadRecord(message) if message.contains("no text")),
        "{error}"
    );
}

#[test]
fn a_function_that_does_not_open_says_why() {
    let registration = Registration::process::<Fails>("fails");
    let opened = testing::Harness::open(registration, r#"{"fail":true}"#, &Default::default(), &[]);
    assert_eq!(opened.err().unwrap(), Error::failed("failed: not like this"));
}

#[test]
#[should_panic(expected = "on purpose")]
fn a_panic_is_left_to_trap() {
    let mut t = testing::Harness::process::<Fails>();
    let _ = t.element("k", "panic");
}
