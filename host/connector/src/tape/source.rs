//! The source of one input of a tape, or of all its inputs as the splits of one source.
//!
//! Invariant: sources of one tape send the same steps: the lines' numbers, and after them the steps of the end.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::source::{Source, SourceReader, SourceSignal, SourceStatus, SplitChange, SplitSignal};
use wasmill_model::batch::BatchBuilder;
use wasmill_model::element::Tick;
use wasmill_model::function::Format;
use wasmill_model::id::CheckpointId;
use wasmill_model::row::{self, FLAG_EXTENSION, RowHeader};
use wasmill_model::time::{TimeSignal, Timestamp};

use super::line::{self, Line, What};
use crate::settings;

/// Splits have small numbers.
const SPLITS_MAX: u32 = 1 << 15;

/// While a source stands still it looks again after so long, ms.
const HELD_MS: i64 = 1_000;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// The tape.
    path: String,
    /// Whose lines are read, from 1.
    #[serde(default = "one")]
    input: u32,
    /// How many inputs the tape has.
    #[serde(default = "one")]
    inputs: u32,
    /// Whether all inputs are read, each as a split of this source.
    #[serde(default)]
    splits: Option<SplitTime>,
    /// What is a step of its own.
    #[serde(default)]
    steps: Steps,
    /// In which order the inputs end.
    #[serde(default)]
    ends: Ends,
    /// Whether the last watermark is missing: the job ends as if it were stopped.
    #[serde(default)]
    unbounded: bool,
    /// The line before which the tape stands still until the job is stopped.
    #[serde(default)]
    hold_at: Option<u64>,
}

fn one() -> u32 {
    1
}

/// When the watermarks and statuses of splits count.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum SplitTime {
    /// At each line of the clock, as those of a periodic generator.
    Deferred,
    /// At once, as those of a punctuated one; what could not advance the whole also at each line of the clock.
    Immediate,
}

/// What is a step of its own.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Steps {
    /// Every line, so that each record is processed alone.
    #[default]
    Lines,
    /// Records of one input in a row: they are processed in batches.
    Runs,
}

/// At the end of a tape every input becomes active and sends the last watermark.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Ends {
    /// One input after the other.
    #[default]
    InTurn,
    /// First all become active.
    Together,
}

/// Makes the source.
pub fn source(config: &Value, format: Format) -> Result<Arc<dyn Source>, String> {
    let settings: Settings = settings::read("tape", config)?;
    if settings.path.is_empty() {
        return Err("settings of `tape`: `path` is empty: name the file".to_owned());
    }
    if settings.input == 0 || settings.input > settings.inputs {
        return Err(format!(
            "settings of `tape`: `input` {} is not one of the {} `inputs`, which count from 1",
            settings.input, settings.inputs
        ));
    }
    if settings.splits.is_some() && (settings.input > 1 || settings.inputs > SPLITS_MAX) {
        return Err(format!(
            "settings of `tape`: with `splits` one source reads all inputs, {SPLITS_MAX} at most: leave out `input`"
        ));
    }
    if !matches!(format, Format::Json | Format::Raw) {
        return Err("settings of `tape`: records are JSON objects: write `format: json`".to_owned());
    }
    Ok(Arc::new(TapeSource { settings }))
}

struct TapeSource {
    settings: Settings,
}

impl Source for TapeSource {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        let mut at = 0;
        for element in restored.into_iter().flatten() {
            let bytes = <[u8; 8]>::try_from(&element[..]);
            let bytes = bytes.map_err(|_| TaskError::host("tape: a position that is not 8 bytes"))?;
            at = u64::from_le_bytes(bytes);
        }
        // One order can only be read by one.
        if runtime.subtask_index > 0 {
            return Ok(Box::new(Reader::new(self.settings.clone(), None, 0)));
        }
        let lines = line::read(&PathBuf::from(&self.settings.path))?;
        Ok(Box::new(Reader::new(self.settings.clone(), Some(lines), at)))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn drives_clock(&self) -> bool {
        true
    }
}

/// What is to be sent, with the step that it belongs to.
struct Item {
    step: u64,
    what: Send,
}

enum Send {
    /// Its event time, the split, and its fields.
    Record(Timestamp, u16, String),
    Signal(SourceSignal),
    OfSplits(SplitSignal),
    End,
}

struct Reader {
    settings: Settings,
    /// `None`: another subtask reads.
    lines: Option<Vec<Line>>,
    /// The next step to be made items of: a line, or after them a step of the end.
    next: u64,
    clock: Timestamp,
    items: VecDeque<Item>,
    ended: bool,
    /// The splits have been named.
    is_known: bool,
}

impl Reader {
    fn new(settings: Settings, lines: Option<Vec<Line>>, at: u64) -> Self {
        let mut reader = Self {
            settings,
            lines,
            next: at,
            clock: 0,
            items: VecDeque::new(),
            ended: false,
            is_known: false,
        };
        reader.recall();
        reader
    }

    /// After a restore: the clock, the watermark and the status that the tape had come to.
    fn recall(&mut self) {
        let input = self.settings.input;
        let (mut watermark, mut is_idle, mut clock) = (None, false, 0);
        for line in self.lines.iter().flatten().take(self.next as usize) {
            match line {
                Line::Clock(time) => clock = *time,
                Line::Of { input: of, what } if *of == input => match what {
                    What::Signal(SourceSignal::Time(TimeSignal::Idle)) => is_idle = true,
                    What::Signal(SourceSignal::Time(TimeSignal::Active)) => is_idle = false,
                    What::Signal(SourceSignal::Time(TimeSignal::Watermark(time))) if !is_idle => {
                        watermark = watermark.max(Some(*time));
                    }
                    _ => {}
                },
                Line::Of { .. } => {}
            }
        }
        self.clock = clock;
        if self.settings.splits.is_some() {
            // What splits have said is in no checkpoint: they begin anew.
            return;
        }
        if let Some(Line::Of { input: of, what }) = self.line_at(self.next)
            && let What::Signal(SourceSignal::Time(TimeSignal::Watermark(time))) = what
            && (*of == input && Some(*time) > watermark)
        {
            // The next line says a later one: timers that wait for a clock that advances fire with that.
            watermark = None;
        }
        if self.next == 0 || (watermark.is_none() && !is_idle) {
            return;
        }
        self.tick(self.next - 1, self.next - 1, false);
        let signals = watermark.map(TimeSignal::Watermark).into_iter();
        for signal in signals.chain(is_idle.then_some(TimeSignal::Idle)) {
            let what = Send::Signal(SourceSignal::Time(signal));
            self.items.push_back(Item {
                step: self.next,
                what,
            });
        }
    }

    fn line_at(&self, number: u64) -> Option<&Line> {
        self.lines.as_ref()?.get(number as usize)
    }

    fn tick(&mut self, step: u64, line: u64, moves_clock: bool) {
        let signal = SourceSignal::Tick(Tick {
            step,
            line,
            processing_time: self.clock,
            moves_clock,
        });
        let what = Send::Signal(signal);
        self.items.push_back(Item { step, what });
    }

    /// Makes items of the next step.
    fn step(&mut self) {
        let Some(lines) = self.lines.take() else {
            self.items.push_back(Item {
                step: 0,
                what: Send::End,
            });
            return;
        };
        let count = lines.len() as u64;
        let step = self.next;
        self.next += 1;
        match lines.get(step as usize) {
            None => self.end(step - count, count),
            Some(Line::Clock(time)) => {
                self.clock = *time;
                self.tick(step, step, true);
                if self.settings.splits.is_some() {
                    let what = Send::OfSplits(SplitSignal::Combine);
                    self.items.push_back(Item { step, what });
                }
            }
            Some(Line::Of { input, what }) => {
                self.tick(step, step, false);
                self.add(step, *input, what);
                let is_record = matches!(what, What::Record { .. });
                if is_record && self.settings.steps == Steps::Runs {
                    self.add_run(&lines, *input);
                }
            }
        }
        self.lines = Some(lines);
    }

    fn add(&mut self, step: u64, input: u32, what: &What) {
        let split = match self.settings.splits {
            Some(_) => (input - 1) as u16,
            None if input == self.settings.input => 0,
            None => return,
        };
        let what = match (what, self.settings.splits) {
            (What::Record { timestamp, value }, _) => Send::Record(*timestamp, split, value.clone()),
            (What::Signal(SourceSignal::Time(signal)), Some(time)) => Send::OfSplits(SplitSignal::Time {
                split,
                signal: *signal,
                is_immediate: time == SplitTime::Immediate,
            }),
            (What::Signal(signal), _) => Send::Signal(*signal),
        };
        self.items.push_back(Item { step, what });
    }

    /// Records of the same input that follow at once.
    fn add_run(&mut self, lines: &[Line], of: u32) {
        while let Some(Line::Of { input, what }) = lines.get(self.next as usize) {
            let is_held = self.settings.hold_at == Some(self.next);
            if is_held || *input != of || !matches!(what, What::Record { .. }) {
                break;
            }
            self.add(self.next, of, what);
            self.next += 1;
        }
    }

    /// Step `number` of the end of a tape of `count` lines: see [`Ends`].
    fn end(&mut self, number: u64, count: u64) {
        let inputs = match self.settings.splits {
            Some(_) => 1,
            None => u64::from(self.settings.inputs),
        };
        let input = u64::from(self.settings.input);
        let step = count + number;
        self.tick(step, count, false);
        if self.settings.unbounded {
            self.items.push_back(Item {
                step,
                what: Send::End,
            });
            return;
        }
        let (becomes_active, ends) = match self.settings.ends {
            Ends::InTurn => (2 * (input - 1), 2 * (input - 1) + 1),
            Ends::Together => (input - 1, inputs + input - 1),
        };
        let what = match number {
            _ if number == becomes_active => Send::Signal(SourceSignal::Time(TimeSignal::Active)),
            _ if number == ends => Send::End,
            _ => return,
        };
        self.items.push_back(Item { step, what });
    }
}

impl SourceReader for Reader {
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError> {
        loop {
            if self.ended {
                return Ok(SourceStatus::Finished);
            }
            let Some(item) = self.items.pop_front() else {
                if self.settings.hold_at == Some(self.next) {
                    return Ok(SourceStatus::WaitUntil(now.saturating_add(HELD_MS)));
                }
                if !out.is_empty() {
                    return Ok(SourceStatus::More);
                }
                self.step();
                continue;
            };
            match item.what {
                Send::Record(timestamp, split, value) => {
                    let mut header = RowHeader::element(Some(timestamp));
                    header.port = split;
                    header.flags |= FLAG_EXTENSION;
                    out.push(header, b"", value.as_bytes(), &row::cause(item.step));
                    if out.rows() >= rows_max {
                        return Ok(SourceStatus::More);
                    }
                }
                Send::Signal(signal) => return Ok(SourceStatus::Then(signal)),
                Send::OfSplits(signal) => return Ok(SourceStatus::ThenOfSplits(signal)),
                Send::End => {
                    self.ended = true;
                    return Ok(match self.settings.unbounded {
                        true => SourceStatus::Stopped,
                        false => SourceStatus::Finished,
                    });
                }
            }
        }
    }

    fn split_changes(&mut self, out: &mut Vec<SplitChange>) {
        if self.settings.splits.is_some() && !self.is_known {
            out.extend((0..self.settings.inputs).map(|split| SplitChange::Added(split as u16)));
            self.is_known = true;
        }
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        if self.lines.is_none() {
            return Ok(Vec::new());
        }
        // What was not sent yet is sent after a restore.
        let at = self.items.front().map_or(self.next, |item| item.step);
        Ok(vec![at.to_le_bytes().to_vec()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::runtime;

    const TAPE: &str = r#"{"ts":1,"key":"a","input":1}
{"ts":2,"key":"b","input":1}
{"watermark":1,"input":1}
{"ts":3,"key":"c","input":2}
{"processing-time":9}
{"status":"idle","input":2}
"#;

    /// All that a source sends, as text: records with their causes, and signals.
    fn sent(config: &str, restored: Option<u64>) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tape.jsonl");
        std::fs::write(&path, TAPE).unwrap();
        let mut config: Value = serde_json::from_str(config).unwrap();
        config["path"] = path.display().to_string().into();
        let source = source(&config, Format::Json).unwrap();
        let restored = restored.map(|at| vec![at.to_le_bytes().to_vec()]);
        let mut reader = source.reader(&runtime(0, 1), restored).unwrap();
        let mut all = Vec::new();
        loop {
            let mut out = BatchBuilder::default();
            let status = reader.poll(0, 100, &mut out).unwrap();
            for row in &out.finish() {
                let value = String::from_utf8_lossy(row.value()).into_owned();
                all.push(format!("{value} by {:?}", row.cause_line()));
            }
            match status {
                SourceStatus::Then(SourceSignal::Tick(t)) => {
                    let moved = if t.moves_clock { " moved" } else { "" };
                    all.push(format!(
                        "{} at {} now {}{moved}",
                        t.step, t.line, t.processing_time
                    ));
                }
                SourceStatus::Then(SourceSignal::Time(signal)) => all.push(format!("{signal:?}")),
                SourceStatus::ThenOfSplits(signal) => all.push(format!("{signal:?}")),
                SourceStatus::More => {}
                status => {
                    all.push(format!("{status:?}"));
                    return all;
                }
            }
        }
    }

    #[test]
    fn sources_of_one_tape_send_the_same_steps_and_their_own_lines() {
        let first = sent(r#"{"input":1,"inputs":2}"#, None);
        assert_eq!(
            first,
            [
                "0 at 0 now 0",
                r#"{"key":"a","n":0} by Some(0)"#,
                "1 at 1 now 0",
                r#"{"key":"b","n":1} by Some(1)"#,
                "2 at 2 now 0",
                "Watermark(1)",
                "3 at 3 now 0",
                "4 at 4 now 9 moved",
                "5 at 5 now 9",
                "6 at 6 now 9",
                "Active",
                "7 at 6 now 9",
                "Finished"
            ]
        );
        let second = sent(r#"{"input":2,"inputs":2,"ends":"together"}"#, None);
        assert_eq!(
            second[3..],
            [
                "3 at 3 now 0",
                r#"{"key":"c","n":3} by Some(3)"#,
                "4 at 4 now 9 moved",
                "5 at 5 now 9",
                "Idle",
                "6 at 6 now 9",
                "7 at 6 now 9",
                "Active",
                "8 at 6 now 9",
                "9 at 6 now 9",
                "Finished"
            ]
        );
    }

    #[test]
    fn a_run_of_records_is_one_step_and_each_knows_its_line() {
        let sent = sent(r#"{"inputs":2,"steps":"runs","unbounded":true}"#, None);
        assert_eq!(
            sent,
            [
                "0 at 0 now 0",
                r#"{"key":"a","n":0} by Some(0)"#,
                r#"{"key":"b","n":1} by Some(1)"#,
                "2 at 2 now 0",
                "Watermark(1)",
                "3 at 3 now 0",
                "4 at 4 now 9 moved",
                "5 at 5 now 9",
                "6 at 6 now 9",
                "Stopped"
            ]
        );
    }

    #[test]
    fn one_source_reads_all_inputs_as_its_splits() {
        let sent = sent(
            r#"{"inputs":2,"splits":"immediate","steps":"runs","unbounded":true}"#,
            None,
        );
        assert_eq!(
            sent,
            [
                "0 at 0 now 0",
                r#"{"key":"a","n":0} by Some(0)"#,
                r#"{"key":"b","n":1} by Some(1)"#,
                "2 at 2 now 0",
                "Time { split: 0, signal: Watermark(1), is_immediate: true }",
                "3 at 3 now 0",
                r#"{"key":"c","n":3} by Some(3)"#,
                "4 at 4 now 9 moved",
                "Combine",
                "5 at 5 now 9",
                "Time { split: 1, signal: Idle, is_immediate: true }",
                "6 at 6 now 9",
                "Stopped"
            ]
        );
    }

    #[test]
    fn a_restored_source_recalls_watermark_status_and_clock() {
        assert_eq!(
            sent(r#"{"inputs":2}"#, Some(5))[..3],
            ["4 at 4 now 9", "Watermark(1)", "5 at 5 now 9"]
        );
        let second = sent(r#"{"input":2,"inputs":2}"#, Some(6));
        assert_eq!(second[..3], ["5 at 5 now 9", "Idle", "6 at 6 now 9"]);
    }

    #[test]
    fn bad_settings_name_the_setting() {
        let error = |config: &str| {
            let config = serde_json::from_str(config).unwrap();
            source(&config, Format::Json).err().unwrap()
        };
        assert!(error(r#"{"path":""}"#).contains("`path`"));
        assert!(error(r#"{"path":"t","input":3,"inputs":2}"#).contains("`input` 3"));
        assert!(error(r#"{"path":"t","steps":"some"}"#).contains("some"));
        assert!(
            error(r#"{"path":"t","splits":"deferred","input":2,"inputs":2}"#).contains("leave out `input`")
        );
        let lines = source(&serde_json::json!({"path": "t"}), Format::Lines);
        assert!(lines.err().unwrap().contains("format: json"));
    }
}
