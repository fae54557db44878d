//! A task with a source at its head.

use super::*;
use crate::metrics::OperatorMetrics;
use crate::source::{Source, SourceReader, SourceStatus};

/// Gives one record at each poll, for ever.
struct Endless;

impl Source for Endless {
    fn reader(
        &self,
        _: &RuntimeContext,
        _: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(Self))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

impl SourceReader for Endless {
    fn poll(&mut self, _: Timestamp, _: u32, out: &mut BatchBuilder) -> Result<SourceStatus, TaskError> {
        for number in [7u32, 8, 9] {
            out.push(RowHeader::element(None), b"", &number.to_le_bytes(), b"");
        }
        Ok(SourceStatus::More)
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(Vec::new())
    }

    fn on_checkpoint_complete(&mut self, _: CheckpointId) -> Result<(), TaskError> {
        Ok(())
    }
}

#[test]
fn a_source_without_credit_goes_on_after_a_stop_that_was_given_up() {
    let mut bench = bench(TimeDomain::Event, 1);
    let runtime = bench.task.parts.chain.nodes[0].context.runtime.clone();
    let source = SourceHead::new(
        runtime,
        Arc::<OperatorMetrics>::default(),
        Arc::new(Endless),
        None,
        None,
    );
    bench.task.parts.head = Head::Source(Box::new(source));
    bench.task.parts.chain.entry = vec![Route::Chained { node: 0, port: 0 }];
    bench.run(0);
    let stop = Barrier {
        checkpoint: CheckpointId(1),
        kind: SnapshotKind::StopWithSavepoint,
        triggered_at: 0,
        overtakes_at: None,
        format: StateFormat::Canonical,
    };
    bench.commands.send(Command::Trigger {
        barrier: Arc::new(stop),
        drain: false,
    });
    bench.run(0);
    bench.commands.send(Command::Abort(CheckpointId(1)));
    bench.run(0);
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(bench.output());
        bench.run(0);
    }
    assert!(all.len() >= 3 * 8, "it reads on: {all:?}");
    assert!(
        all.iter().all(|item| !item.starts_with("barrier")),
        "what was given up goes no further"
    );
    assert!(bench.acknowledged().is_none());
}
