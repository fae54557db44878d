//! One case: its parameters, its input and Flink's answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A case with its files.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// All of `case.json`.
    pub spec: Value,
    /// The tape.
    pub tape: PathBuf,
    /// Flink's answers, as lines.
    pub expected: Vec<String>,
}

/// Families that are not compared: patterns are not there yet, and key groups are of Flink's own hash.
const NOT_COMPARED: [&str; 2] = ["pattern", "key-group"];

impl Case {
    /// Reads a case from its directory.
    pub fn read(directory: &Path) -> Result<Self> {
        let spec: Value = serde_json::from_str(&text(&directory.join("case.json"))?)?;
        let name = spec["name"].as_str().context("a case without a name")?.to_owned();
        let input = spec["input"]
            .as_str()
            .with_context(|| format!("{name}: no input"))?;
        let tape = directory.join(input);
        let expected = text(&directory.join("expected.jsonl"))?;
        Ok(Self {
            tape: tape.canonicalize().with_context(|| tape.display().to_string())?,
            expected: expected.lines().map(str::to_owned).collect(),
            name,
            spec,
        })
    }

    /// Reads cases of a directory, in the order of a table: those named, or all that can be compared.
    pub fn read_all(directory: &Path, table: &Path, names: &[String]) -> Result<Vec<Self>> {
        let mut cases = Vec::new();
        let mut known = Vec::new();
        for line in text(table)?.lines().filter(|line| !line.trim().is_empty()) {
            let spec: Value =
                serde_json::from_str(line).with_context(|| format!("{}: {line}", table.display()))?;
            let (name, family) = (spec["name"].as_str(), spec["family"].as_str());
            let (Some(name), Some(family)) = (name, family) else {
                bail!("{}: a case without name or family: {line}", table.display());
            };
            let wanted = match names.is_empty() {
                true => !NOT_COMPARED.contains(&family),
                false => names.iter().any(|wanted| wanted == name),
            };
            known.push(name.to_owned());
            if wanted {
                cases.push(Self::read(&directory.join(name))?);
            }
        }
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            bail!("no case is named {unknown} in {}", table.display());
        }
        Ok(cases)
    }

    /// The parameters of its operators.
    pub fn pipeline(&self) -> &Value {
        &self.spec["pipeline"]
    }

    /// A line before which the job may be stopped and go on elsewhere: one with a watermark that advances, for the
    /// clocks of operators begin anew with the first one. `None`: the case cannot be cut.
    pub fn cut(&self, seed: u64) -> Result<Option<usize>> {
        // Strategies and statuses are not in a checkpoint, as in Flink.
        if self.has_signals() {
            return Ok(None);
        }
        let (mut lines, mut highest) = (Vec::new(), None);
        let mut channels = Channels::default();
        for (number, line) in text(&self.tape)?.lines().enumerate() {
            let line: Value = serde_json::from_str(line)?;
            let watermark = line["watermark"].as_i64();
            if watermark > highest {
                if channels.all_hold_the_clock_back(self.inputs()) {
                    lines.push(number);
                }
                highest = watermark;
            }
            channels.on(&line, highest);
        }
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        Ok(lines.get(mixed as usize % lines.len().max(1)).copied())
    }

    /// How many records come before a line.
    pub fn records_before(&self, line: usize) -> Result<u64> {
        let tape = text(&self.tape)?;
        let records = tape.lines().take(line).filter(|line| line.contains("\"ts\""));
        Ok(records.count() as u64)
    }

    /// Whether Flink's answers show a fault of Flink's.
    pub fn diverges(&self) -> bool {
        !self.spec["diverges"].is_null()
    }

    /// How many lines its tape has.
    pub fn lines(&self) -> Result<usize> {
        Ok(text(&self.tape)?.lines().count())
    }

    /// How many inputs its tape has.
    pub fn inputs(&self) -> u64 {
        self.spec["tape"]["inputs"].as_u64().unwrap_or(1)
    }

    /// Whether watermarks and statuses downstream are among the answers.
    pub fn has_signals(&self) -> bool {
        self.spec["watermarks"] == true
    }

    /// The fields that lines are sorted by.
    pub fn order(&self) -> Vec<String> {
        let fields = self.spec["order"].as_array().into_iter().flatten();
        fields.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// Whether an input is idle, or came back behind the clock and is left out, is in no checkpoint, as in Flink: a job
/// that goes on counts all inputs.
#[derive(Default)]
struct Channels {
    idle: BTreeSet<u64>,
    /// The highest watermark at the last status: the clock was not beyond it.
    clock: Option<i64>,
    /// Those that have come to that clock since.
    caught_up: BTreeSet<u64>,
    has_status: bool,
}

impl Channels {
    fn on(&mut self, line: &Value, highest: Option<i64>) {
        let input = line["input"].as_u64().unwrap_or(1);
        if let Some(status) = line["status"].as_str() {
            match status {
                "idle" => self.idle.insert(input),
                _ => self.idle.remove(&input),
            };
            (self.clock, self.has_status) = (highest, true);
            self.caught_up.clear();
        } else if line["watermark"]
            .as_i64()
            .is_some_and(|to| Some(to) >= self.clock)
        {
            self.caught_up.insert(input);
        }
    }

    fn all_hold_the_clock_back(&self, inputs: u64) -> bool {
        !self.has_status || (self.idle.is_empty() && self.caught_up.len() as u64 == inputs)
    }
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
