//! The event time of a source: timestamps, a watermark for each split, punctuation, idleness, alignment.

use std::collections::BTreeMap;

use wasmill_model::graph::{TimestampSource, WatermarkAlignment, WatermarkGeneration, WatermarkStrategy};

use super::oracle::{function, strategy};
use super::*;
use crate::source::{Source, SourceReader, SourceStatus, SplitChange};
use crate::task::source::SourceHead;
use crate::time::{Punctuation, WatermarkGenerator};

/// After a record that ends with `!` comes a watermark at its timestamp, after one that ends with `?` idleness.
pub(super) struct AtMarks;

impl WatermarkGenerator for AtMarks {
    fn on_events(
        &mut self,
        rows: &Batch,
        timestamps: &[Timestamp],
        out: &mut Punctuation,
    ) -> Result<(), TaskError> {
        for (number, (row, timestamp)) in rows.iter().zip(timestamps).enumerate() {
            match row.value().last() {
                Some(b'!') => out.after(number as u32, TimeSignal::Watermark(*timestamp)),
                Some(b'?') => out.after(number as u32, TimeSignal::Idle),
                _ => {}
            }
        }
        Ok(())
    }

    fn on_periodic_emit(&mut self, _: Timestamp, _: &mut Vec<TimeSignal>) -> Result<(), TaskError> {
        Ok(())
    }
}

type Poll = Vec<(u16, Timestamp, &'static str)>;

/// Gives what it is told to give at a time, each time a poll.
#[derive(Clone)]
struct Script {
    /// Rows as (split, timestamp, value) by the time at which they are at hand.
    polls: BTreeMap<Timestamp, Poll>,
    /// Splits that it names at the start.
    splits: Vec<u16>,
    /// Splits that have come to their end with the poll at a time.
    ends: BTreeMap<Timestamp, u16>,
    changes: Vec<SplitChange>,
    /// It ends when all was given.
    bounded: bool,
}

impl Source for Script {
    fn reader(
        &self,
        _: &RuntimeContext,
        _: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        let mut reader = self.clone();
        reader.changes = self
            .splits
            .iter()
            .map(|split| SplitChange::Added(*split))
            .collect();
        Ok(Box::new(reader))
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }
}

impl SourceReader for Script {
    fn poll(&mut self, now: Timestamp, _: u32, out: &mut BatchBuilder) -> Result<SourceStatus, TaskError> {
        let due = self.polls.first_entry().filter(|first| *first.key() <= now);
        if let Some(rows) = due {
            let (at, rows) = rows.remove_entry();
            for (split, timestamp, value) in rows {
                let header = RowHeader {
                    port: split,
                    ..RowHeader::element(Some(timestamp))
                };
                out.push(header, b"", value.as_bytes(), b"");
            }
            self.changes
                .extend(self.ends.remove(&at).map(SplitChange::Finished));
        }
        Ok(match self.polls.keys().next() {
            Some(next) => SourceStatus::WaitUntil(*next),
            None if self.bounded => SourceStatus::Finished,
            None => SourceStatus::WaitUntil(now + 1_000_000),
        })
    }

    fn split_changes(&mut self, out: &mut Vec<SplitChange>) {
        out.append(&mut self.changes);
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(Vec::new())
    }
}

struct Drive {
    task: Task,
    out: Receiver,
    reports: Arc<Mailbox<TaskReport>>,
    commands: Arc<Mailbox<Command>>,
}

fn script(polls: impl IntoIterator<Item = (Timestamp, Poll)>) -> Script {
    Script {
        polls: polls.into_iter().collect(),
        splits: Vec::new(),
        ends: BTreeMap::new(),
        changes: Vec::new(),
        bounded: false,
    }
}

fn drive(script: Script, declared: WatermarkStrategy, interval_ms: u64) -> Drive {
    let (sender, out) = channel(1_000, Waker::new(), Waker::new());
    let buffering = Buffering {
        bytes: 1,
        timeout_ms: 0,
    };
    let edge = Edge::new(Partitioner::Forward, vec![sender], 0, MAX, buffering);
    let head = SourceHead::new(
        context("source").runtime,
        Arc::default(),
        Arc::new(script),
        Some(strategy(declared, interval_ms)),
        None,
    );
    let chain = Chain::new(Vec::new(), vec![edge], vec![Route::Edge(0)]);
    let (commands, reports) = (Mailbox::new(Waker::new()), Mailbox::new(Waker::new()));
    let head = Head::Source(Box::new(head));
    Drive {
        task: task(head, chain, &commands, &reports, &Arc::default()),
        out,
        reports,
        commands,
    }
}

impl Drive {
    /// Steps until nothing more can be done, and says what came out.
    fn run(&mut self, now: Timestamp) -> Vec<String> {
        while self.task.step(now) == Step::Progress {}
        let mut said = Vec::new();
        while let Some(item) = self.out.receive() {
            match item {
                StreamElement::Batch(batch) => said.extend(batch.iter().map(|row| {
                    assert_eq!(row.port(), 0, "a split's number stays within the source");
                    format!(
                        "{}@{}",
                        String::from_utf8_lossy(row.value()),
                        row.timestamp().unwrap()
                    )
                })),
                StreamElement::Watermark(to) => said.push(format!("watermark {to}")),
                other => said.push(format!("{other:?}")),
            }
        }
        said
    }

    fn reported(&self) -> Vec<Timestamp> {
        let mut reported = Vec::new();
        while let Some(report) = self.reports.receive() {
            match report.event {
                TaskEvent::SourceWatermark(watermark) => reported.push(watermark),
                TaskEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
        reported
    }
}

fn bounded(disorder_ms: i64) -> WatermarkStrategy {
    WatermarkStrategy {
        generator: WatermarkGeneration::Bounded { disorder_ms },
        ..WatermarkStrategy::default()
    }
}

#[test]
fn a_source_makes_a_watermark_at_each_tick_and_the_last_at_its_end() {
    let mut source = script([(10, vec![(0, 100, "a"), (0, 90, "b")]), (70, vec![(0, 200, "c")])]);
    source.bounded = true;
    let mut drive = drive(source, bounded(5), 50);
    assert!(drive.run(0).is_empty());
    assert_eq!(drive.run(10), ["a@100", "b@90"]);
    assert_eq!(drive.run(50), ["watermark 94"]);
    let end = format!("watermark {WATERMARK_END}");
    assert_eq!(drive.run(70), ["c@200", &end, "End"]);
    assert!(drive.run(500).is_empty(), "nothing ticks after the end");
}

#[test]
fn the_slowest_split_decides_and_one_that_is_idle_or_at_its_end_does_not() {
    let mut source = script([
        (
            10,
            vec![(1, 100, "a"), (1, 110, "b"), (2, 50, "x"), (1, 120, "c")],
        ),
        (60, vec![(2, 60, "y")]),
        (200, vec![(1, 300, "d")]),
        (450, vec![(1, 500, "e")]),
    ]);
    source.splits = vec![1, 2, 3];
    source.ends = BTreeMap::from([(60, 2)]);
    let strategy = WatermarkStrategy {
        idle_after_ms: Some(100),
        ..bounded(0)
    };
    let mut drive = drive(source, strategy, 50);
    assert_eq!(drive.run(10), ["a@100", "b@110", "x@50", "c@120"]);
    assert!(drive.run(50).is_empty(), "split 3 has given nothing");
    assert_eq!(drive.run(60), ["y@60"]);
    assert!(drive.run(100).is_empty());
    assert!(
        drive.run(150).is_empty(),
        "100 ms since the first silent tick are not more than 100"
    );
    assert_eq!(
        drive.run(200),
        ["watermark 119", "d@300"],
        "split 3 is idle, split 2 has ended"
    );
    assert_eq!(drive.run(250), ["watermark 299"]);
    assert!(drive.run(300).is_empty());
    assert!(drive.run(400).is_empty());
    assert_eq!(drive.run(450), ["Idle", "e@500"]);
    assert!(drive.run(499).is_empty(), "a record alone does not end it");
    assert_eq!(drive.run(500), ["Active", "watermark 499"]);
}

#[test]
fn a_punctuated_generator_speaks_right_after_the_record() {
    let source = script([(
        10,
        vec![
            (0, 100, "a"),
            (0, 110, "b!"),
            (0, 90, "c!"),
            (0, 120, "d?"),
            (0, 130, "e!"),
        ],
    )]);
    let strategy = WatermarkStrategy {
        generator: WatermarkGeneration::Function(Box::new(function("at-marks"))),
        ..WatermarkStrategy::default()
    };
    let mut drive = drive(source, strategy, 0);
    let said = [
        "a@100",
        "b!@110",
        "watermark 110",
        "c!@90",
        "d?@120",
        "Idle",
        "e!@130",
        "Active",
        "watermark 130",
    ];
    assert_eq!(drive.run(10), said);
}

#[test]
fn a_source_that_is_too_far_ahead_gives_no_record_until_the_others_have_come_up() {
    let source = script([
        (10, vec![(0, 100, "a")]),
        (20, vec![(0, 500, "b")]),
        (200, vec![(0, 600, "c")]),
    ]);
    let strategy = WatermarkStrategy {
        idle_after_ms: Some(100),
        alignment: Some(WatermarkAlignment {
            group: "all".to_owned(),
            max_drift_ms: 50,
            update_interval_ms: 100,
        }),
        ..bounded(0)
    };
    let mut drive = drive(source, strategy, 50);
    drive.run(0);
    assert_eq!(drive.run(20), ["a@100", "b@500"]);
    assert!(drive.reported().is_empty(), "there is no watermark yet");
    assert_eq!(drive.run(100), ["watermark 499"]);
    assert_eq!(drive.reported(), [499]);
    drive.commands.send(Command::Align { until: 400 });
    for now in [150, 200, 300, 400, 1_000] {
        assert!(
            drive.run(now).is_empty(),
            "held back, and not idle for that, at {now}"
        );
    }
    assert_eq!(drive.reported().last(), Some(&499));
    drive.commands.send(Command::Align { until: 499 });
    assert_eq!(drive.run(1_000), ["c@600"]);
    assert_eq!(drive.run(1_050), ["watermark 599"]);
}

#[test]
fn records_get_their_timestamps_at_the_source() {
    let source = script([(10, vec![(0, 100, "a")])]);
    let strategy = WatermarkStrategy {
        timestamps: TimestampSource::Ingestion,
        ..bounded(0)
    };
    assert_eq!(drive(source, strategy, 50).run(12), ["a@12"]);
}

#[test]
fn a_drain_lets_the_last_watermark_out_after_the_barriers_before_it() {
    let mut drive = drive(script([(10, vec![(0, 100, "a")])]), bounded(0), 50);
    assert_eq!(drive.run(10), ["a@100"]);
    let barrier = |checkpoint, kind| {
        Arc::new(Barrier {
            checkpoint: CheckpointId(checkpoint),
            kind,
            triggered_at: 0,
            overtakes_at: None,
            format: StateFormat::Canonical,
        })
    };
    let trigger = |barrier, drain| drive.commands.send(Command::Trigger { barrier, drain });
    trigger(barrier(1, SnapshotKind::Checkpoint), false);
    trigger(barrier(2, SnapshotKind::StopWithSavepoint), true);
    let said = drive.run(11);
    let kinds: Vec<&str> = said
        .iter()
        .map(|item| item.split(['(', ' ']).next().unwrap())
        .collect();
    assert_eq!(kinds, ["Barrier", "watermark", "End", "Barrier"]);
}
