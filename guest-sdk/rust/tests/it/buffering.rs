//! Operator state of every mode, and raw state.

use wasmill_sdk::prelude::*;

#[derive(Default)]
struct Buffers {
    list: OperatorListState<String>,
    union: OperatorListState<u64>,
    broadcast: OperatorListState<(u8, bool)>,
    held: Vec<String>,
    raw: Vec<u8>,
}

impl FlatMapFunction for Buffers {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.list = d.operator_list_state("list");
        self.union = d.operator_union_state("union");
        self.broadcast = d.operator_broadcast_state("broadcast");
        d.raw_state();
    }

    fn restore_state(&mut self, ctx: &mut RestoreContext) -> Result<()> {
        self.held = self.list.get(ctx)?;
        self.raw = ctx.raw().to_vec();
        if ctx.is_restored() {
            assert_eq!(self.union.get(ctx)?, [7]);
            assert_eq!(self.broadcast.get(ctx)?, [(3, true)]);
        }
        Ok(())
    }

    fn snapshot_state(&mut self, ctx: &mut SnapshotContext) -> Result<()> {
        for held in &self.held {
            self.list.add(ctx, held)?;
        }
        self.union.add(ctx, &7)?;
        self.broadcast.add(ctx, &(3, true))?;
        ctx.set_raw(self.raw.clone());
        Ok(())
    }

    fn flat_map(&mut self, value: &str, ctx: &mut Context<str>) -> Result<()> {
        if value == "flush" {
            self.held.drain(..).for_each(|held| ctx.emit(held));
            return Ok(());
        }
        self.held.push(value.to_owned());
        self.raw.push(self.held.len() as u8);
        Ok(())
    }
}

fn open(snapshot: &[u8]) -> testing::Harness {
    let registration = Registration::flat_map::<Buffers>("buffers");
    testing::Harness::open(registration, "{}", &Default::default(), snapshot).unwrap()
}

#[test]
fn what_is_held_survives_in_every_mode() {
    let mut t = open(&[]);
    t.element("", "a").unwrap();
    t.element("", "b").unwrap();
    let snapshot = t.snapshot().unwrap();
    assert_eq!(
        snapshot,
        t.snapshot().unwrap(),
        "taking a snapshot changes nothing"
    );
    let mut t = open(&snapshot);
    t.element("", "flush").unwrap();
    assert_eq!(t.take_output(), ["a", "b"]);
    t.close().unwrap();
}

#[test]
fn describe_tells_that_the_function_buffers() {
    let t = open(&[]);
    assert_eq!(t.description()["raw-state"], true);
    assert_eq!(t.description()["operator-state"][1]["mode"], "union");
}

#[test]
fn a_snapshot_of_another_version_is_refused() {
    let registration = Registration::flat_map::<Buffers>("buffers");
    let opened = testing::Harness::open(registration, "{}", &Default::default(), &[9, 0, 0, 0]);
    let error = opened.err().unwrap();
    assert!(error.message().contains("snapshot version 9"), "{error}");
}
