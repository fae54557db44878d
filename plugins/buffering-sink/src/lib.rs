//! Flink's buffering sink as a flat-map in front of one: it emits every two elements together.
//!
//! Invariant: what waits for its partner is in operator state at every barrier, so that it is neither
//! lost nor repeated, at another parallelism either.

use wasmill_sdk::prelude::*;

/// Elements that are emitted together.
const THRESHOLD: usize = 2;

/// Lines in, pairs of lines out, joined by a space.
#[derive(Default)]
pub struct BufferingSink {
    state: OperatorListState<String>,
    buffer: Vec<String>,
}

impl BufferingSink {
    fn emit_full(&mut self, ctx: &mut Context<str>) {
        // After a rescale a subtask may be given more than one pair.
        while self.buffer.len() >= THRESHOLD {
            let rest = self.buffer.split_off(THRESHOLD);
            ctx.emit(self.buffer.join(" "));
            self.buffer = rest;
        }
    }
}

impl FlatMapFunction for BufferingSink {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.state = d.operator_list_state("buffered-elements");
    }

    fn restore_state(&mut self, ctx: &mut RestoreContext) -> Result<()> {
        self.buffer = self.state.get(ctx)?;
        Ok(())
    }

    fn snapshot_state(&mut self, ctx: &mut SnapshotContext) -> Result<()> {
        self.buffer
            .iter()
            .try_for_each(|element| self.state.add(ctx, element))
    }

    fn flat_map(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        self.buffer.push(line.to_owned());
        self.emit_full(ctx);
        Ok(())
    }
}

wasmill_sdk::export! { "buffering-sink" => flat_map BufferingSink }

#[cfg(test)]
mod tests {
    use super::*;

    fn open(snapshot: &[u8]) -> testing::Harness {
        let registration = Registration::flat_map::<BufferingSink>("buffering-sink");
        testing::Harness::open(registration, "{}", &Default::default(), snapshot).unwrap()
    }

    #[test]
    fn elements_leave_two_by_two() {
        let mut t = open(&[]);
        for line in ["a", "b", "c"] {
            t.element("", line).unwrap();
        }
        assert_eq!(t.take_output(), ["a b"]);
    }

    #[test]
    fn what_waits_survives_a_restart() {
        let mut t = open(&[]);
        t.element("", "a").unwrap();
        let snapshot = t.snapshot().unwrap();
        let mut t = open(&snapshot);
        t.element("", "b").unwrap();
        assert_eq!(t.take_output(), ["a b"]);
    }
}
