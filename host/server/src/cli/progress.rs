//! What a job is doing, on one line that is drawn anew.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A job at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// State.
    pub state: String,
    /// Records that its sources have read so far.
    pub records: u64,
    /// Completed checkpoints.
    pub checkpoints: u64,
    /// Least watermark of its last vertices; `None` before the first one and at the end of input.
    pub watermark: Option<i64>,
    /// Latest failure.
    pub failure: Option<String>,
}

impl Snapshot {
    /// Whether nothing can happen any more.
    pub fn is_terminal(&self) -> bool {
        matches!(self.state.as_str(), "FINISHED" | "FAILED" | "CANCELED")
    }

    /// The least of some watermarks, as far as it says something.
    pub fn watermark_of(values: impl Iterator<Item = i64>) -> Option<i64> {
        values
            .min()
            .filter(|watermark| *watermark != i64::MIN && *watermark != i64::MAX)
    }
}

/// Draws snapshots: a spinner on a terminal, a line every few seconds elsewhere.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    last: Option<(Instant, u64)>,
    rate: f64,
    said: Option<(Instant, String)>,
}

/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl Progress {
    /// For a job; `quiet` draws nothing.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style);
            bar
        });
        let said = quiet.then(|| {
            (
                Instant::now() + Duration::from_secs(u64::from(u32::MAX)),
                String::new(),
            )
        });
        Self {
            bar,
            started: Instant::now(),
            last: None,
            rate: 0.0,
            said,
        }
    }

    /// Shows a moment.
    pub fn show(&mut self, snapshot: &Snapshot) {
        let now = Instant::now();
        match self.last {
            None => self.last = Some((now, snapshot.records)),
            Some((at, records)) if now.duration_since(at) >= Duration::from_millis(500) => {
                self.rate =
                    snapshot.records.saturating_sub(records) as f64 / now.duration_since(at).as_secs_f64();
                self.last = Some((now, snapshot.records));
            }
            Some(_) => {}
        }
        let line = self.line(snapshot);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None => {
                let due = match &self.said {
                    None => true,
                    Some((at, state)) => {
                        now.saturating_duration_since(*at) >= LINE_INTERVAL
                            || (!state.is_empty() && *state != snapshot.state)
                    }
                };
                if due {
                    eprintln!("{line}");
                    self.said = Some((now, snapshot.state.clone()));
                }
            }
        }
    }

    fn line(&self, snapshot: &Snapshot) -> String {
        let mut line = format!(
            "{} | {} records, {}/s | {} checkpoints",
            snapshot.state,
            HumanCount(snapshot.records),
            HumanCount(self.rate as u64),
            snapshot.checkpoints
        );
        if let Some(watermark) = snapshot.watermark {
            line.push_str(&format!(" | watermark {watermark}"));
        }
        line
    }

    /// Takes the line away and says how it went.
    pub fn finish(self, snapshot: &Snapshot) -> Summary {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        Summary {
            seconds: self.started.elapsed().as_secs_f64(),
            snapshot: snapshot.clone(),
        }
    }
}

/// How a job went.
#[derive(Clone, Debug)]
pub struct Summary {
    /// From the submission to the end.
    pub seconds: f64,
    /// At the end.
    pub snapshot: Snapshot,
}
