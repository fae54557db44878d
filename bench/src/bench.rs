//! What all benches share: the host's binary, Flink, and where figures go.
//!
//! Invariant: both sides of a comparison take turns within one run (A B A B), so that a machine that slows
//! down slows both.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::figure::{Bar, Figure};
use crate::flink::{Flink, FlinkJob};
use crate::job::Job;
use crate::resident::peak_resident_bytes;
use crate::settings::{Settings, Sizes};
use crate::statistics::{Run, marginal_rate, median};

/// Between two looks at the memory of a process.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// A bench under way.
pub struct Bench {
    /// The root of the clone.
    pub root: PathBuf,
    /// How large the runs are.
    pub settings: Settings,
    binary: PathBuf,
    flink: Option<Flink>,
    scratch: tempfile::TempDir,
    json: Option<File>,
    failed: Vec<String>,
    /// The only figures that are wanted, by the start of their names; empty: all.
    only: Vec<String>,
}

impl Bench {
    /// A bench of `binary`, the release build of the host. `json` gets a copy of every figure.
    pub fn new(root: &Path, binary: &Path, settings: Settings, json: Option<&Path>) -> Result<Bench> {
        let flink = match Flink::find(root) {
            Ok(flink) => Some(flink),
            Err(error) => {
                wasmill_tests::skip::note("the comparison with Flink", &format!("{error:#}"))?;
                None
            }
        };
        let json = json.map(|path| File::create(path).with_context(|| format!("write {}", path.display())));
        Ok(Bench {
            root: root.to_path_buf(),
            settings,
            binary: binary.to_path_buf(),
            flink,
            scratch: tempfile::tempdir().context("make a directory for the runs")?,
            json: json.transpose()?,
            failed: Vec::new(),
            only: Vec::new(),
        })
    }

    /// Measures only figures whose names start so.
    #[must_use]
    pub fn only(self, only: Vec<String>) -> Bench {
        Bench { only, ..self }
    }

    /// Whether a figure of this name is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    /// Prints a figure and remembers whether its bar was reached.
    pub fn report(&mut self, figure: &Figure) -> Result<()> {
        println!("{}", figure.line());
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", figure.line()).context("write the figures")?;
        }
        if !figure.ok {
            self.failed.push(figure.name.clone());
        }
        Ok(())
    }

    /// The figures whose bars were not reached.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// A directory of its own for a host's data, empty on first use.
    pub fn data(&self, name: &str) -> PathBuf {
        // The files beside it have its name with an extension.
        self.scratch.path().join(name.replace('.', "-"))
    }

    /// The path of a component, which `cargo xtask guests` built.
    pub fn component(&self, name: &str) -> Result<PathBuf> {
        wasmill_tests::guests::rust_component(name)
    }

    /// Runs a bounded job by `wasmill run` in a host of its own; from the start of the process to its end.
    pub fn ours(&self, job: &Job, records: u64) -> Result<Run> {
        self.run_watched(job, records, |_| Ok(()))
    }

    /// The same with the most memory that was resident, in bytes.
    pub fn ours_watched(&self, job: &Job, records: u64) -> Result<(Run, u64)> {
        let mut peak = 0;
        let run = self.run_watched(job, records, |process| {
            loop {
                // A process that has ended has no memory.
                match peak_resident_bytes(process) {
                    Ok(bytes) => peak = peak.max(bytes),
                    Err(_) => return Ok(()),
                }
                thread::sleep(WATCH_INTERVAL);
            }
        })?;
        Ok((run, peak))
    }

    fn run_watched(&self, job: &Job, records: u64, watch: impl FnOnce(u32) -> Result<()>) -> Result<Run> {
        let file = job
            .clone()
            .with("rows", records)
            .write(&self.root, self.scratch.path())?;
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg(&file)
            .arg("--data-dir")
            .arg(self.data("embedded"))
            .envs(job.settings.iter().map(|(variable, value)| (variable, value)));
        let start = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start wasmill")?;
        watch(child.id())?;
        let output = child.wait_with_output().context("wait for wasmill")?;
        let seconds = start.elapsed().as_secs_f64();
        if !output.status.success() {
            let written = [output.stdout, output.stderr].concat();
            bail!(
                "wasmill run {}: {}: {}",
                file.display(),
                output.status,
                String::from_utf8_lossy(&written)
            );
        }
        Ok(Run { records, seconds })
    }

    /// The first run of a job compiles its component; later ones find it in the cache.
    pub fn warm(&self, job: &Job) -> Result<()> {
        self.ours(job, 1_000).map(|_| ())
    }

    /// Records a second of a job, marginal.
    pub fn our_rate(&self, job: &Job, sizes: Sizes) -> Result<f64> {
        Ok(marginal_rate(
            self.ours(job, sizes.small)?,
            self.ours(job, sizes.large)?,
        ))
    }

    /// Reports our marginal rate, Flink's, and their ratio with its bar.
    pub fn against_flink(
        &mut self,
        name: &str,
        jobs: (&Job, FlinkJob),
        sizes: Sizes,
        bar: f64,
    ) -> Result<()> {
        self.against_flink_in_sizes(name, jobs, (sizes, sizes), bar)
    }

    /// The same where a run that is long enough for one side is too long or too short for the other: our sizes, and
    /// Flink's.
    pub fn against_flink_in_sizes(
        &mut self,
        name: &str,
        (ours, theirs): (&Job, FlinkJob),
        (our_sizes, their_sizes): (Sizes, Sizes),
        bar: f64,
    ) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        self.warm(ours)?;
        let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
        for _ in 0..self.settings.rounds {
            if let Some(flink) = &self.flink {
                their_rates.push(marginal_rate(
                    flink.run(theirs, their_sizes.small)?,
                    flink.run(theirs, their_sizes.large)?,
                ));
            }
            our_rates.push(self.our_rate(ours, our_sizes)?);
        }
        self.report_ratio(name, "rate", median(&our_rates), median(&their_rates), bar)
    }

    /// Reports both rates of one size from start to finish, and their ratio with its bar.
    pub fn against_flink_whole(
        &mut self,
        name: &str,
        (ours, theirs): (&Job, FlinkJob),
        records: u64,
        bar: f64,
    ) -> Result<()> {
        let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
        for _ in 0..self.settings.rounds {
            if let Some(flink) = &self.flink {
                their_rates.push(flink.run(theirs, records)?.rate());
            }
            our_rates.push(self.ours(ours, records)?.rate());
        }
        self.report_ratio(
            name,
            "start-to-finish",
            median(&our_rates),
            median(&their_rates),
            bar,
        )
    }

    fn report_ratio(&mut self, name: &str, what: &str, ours: f64, theirs: f64, bar: f64) -> Result<()> {
        self.report(&Figure::new(format!("{name}.{what}"), ours, "records/s"))?;
        if self.flink.is_some() {
            self.report(&Figure::new(format!("{name}.{what}-flink"), theirs, "records/s"))?;
            let ratio = Figure::new(format!("{name}.{what}-ratio"), ours / theirs, "ratio");
            self.report(&ratio.with_bar(Bar::AtLeast(bar)))?;
        }
        Ok(())
    }
}
