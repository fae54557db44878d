//! Runs cases in one host and says which agree.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::job::{Missing, Place, Steps, job};
use super::{Case, compare, model};
use crate::guests;
use crate::host::Host;
use crate::wait;

/// How long a case may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Flink's name of what a window counts.
const LATE_METRIC: &str = "numLateRecordsDropped";

/// How cases are run.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Of keyed operators.
    pub parallelism: u64,
    /// Of the functions.
    pub family: Family,
    /// Where keyed state is held.
    pub backend: Backend,
    /// Where it is held by the job that goes on from the savepoint.
    pub restored_backend: Backend,
    /// Stops the job at a line drawn from this seed, and lets it go on from its savepoint at another parallelism.
    pub restore: Option<u64>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            parallelism: 1,
            family: Family::Frame,
            backend: Backend::Memory,
            restored_backend: Backend::Memory,
            restore: None,
        }
    }
}

/// The state backends of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In memory.
    Memory,
    /// RocksDB.
    Rocksdb,
}

impl Backend {
    /// Of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Memory, Self::Rocksdb]
            .into_iter()
            .find(|backend| backend.name() == name)
    }

    /// As the job file says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Rocksdb => "rocksdb",
        }
    }
}

/// The worlds that the functions of a case are built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// By the SDK.
    Frame,
    /// By a binding generator alone.
    Typed,
}

impl Family {
    const ALL: [Self; 2] = [Self::Frame, Self::Typed];

    /// Of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "frame" => Some(Self::Frame),
            "typed" => Some(Self::Typed),
            _ => None,
        }
    }

    /// Its component, and the name of that in the host.
    fn component(self) -> (&'static str, &'static str) {
        match self {
            Self::Frame => ("oracle", "oracle"),
            Self::Typed => ("oracle_typed", "oracle-typed"),
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All answers are Flink's.
    Agrees,
    /// Some are not, or the job failed.
    Differs(String),
    /// It cannot be run.
    NotYet(String),
}

/// What a job wrote.
struct Written {
    lines: Vec<String>,
    /// Late elements that its window dropped, where it has one.
    dropped: Option<u64>,
}

/// What a job answered, or why it did not.
type Answers = std::result::Result<Written, String>;

/// A host that runs cases.
pub struct Runner {
    host: Host,
    scratch: TempDir,
    runs: u64,
}

impl Runner {
    /// Starts a host with these variables and gives it the functions.
    pub fn start(environment: &[(&str, &str)]) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let host = Host::start(&scratch.path().join("data"), environment)?;
        for family in Family::ALL {
            let (component, name) = family.component();
            host.upload(name, &guests::rust_component(component)?)?;
        }
        Ok(Self {
            host,
            scratch,
            runs: 0,
        })
    }

    /// Whether a way of running the case differs from that in one subtask from its beginning to its end: cases without
    /// a key have one subtask in any case, and some cannot be cut.
    pub fn differs(case: &Case, scope: Scope) -> Result<bool> {
        let place = |parallelism| Place {
            out: Path::new("out"),
            plugin: scope.family.component().1,
            parallelism,
            backend: scope.backend,
            steps: Steps::Lines,
            hold_at: None,
        };
        let is_cut = match scope.restore {
            Some(seed) => case.cut(seed)?.is_some(),
            None => true,
        };
        let is_parallel =
            scope.parallelism == 1 || job(case, place(1)).ok() != job(case, place(scope.parallelism)).ok();
        Ok(is_cut && is_parallel)
    }

    /// Runs a case line by line and in batches.
    pub fn run(&mut self, case: &Case, scope: Scope) -> Result<Outcome> {
        for steps in Steps::ALL {
            self.runs += 1;
            let out = self.scratch.path().join(format!("out-{}", self.runs));
            let place = Place {
                out: &out,
                plugin: scope.family.component().1,
                parallelism: scope.parallelism,
                backend: scope.backend,
                steps,
                hold_at: None,
            };
            if let Err(Missing(what)) = job(case, place) {
                return Ok(Outcome::NotYet(what));
            }
            let answers = match scope.restore.map_or(Ok(None), |seed| case.cut(seed))? {
                None => self.answers(case, place, None)?,
                Some(line) => self.answers_of_two(case, place, line, scope.restored_backend)?,
            };
            let difference = match answers {
                Ok(answers) => self.difference(case, answers, scope)?,
                Err(failure) => Some(failure),
            };
            std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
            if let Some(difference) = difference {
                return Ok(Outcome::Differs(format!("by {}: {difference}", steps.name())));
            }
        }
        Ok(Outcome::Agrees)
    }

    /// What the job's window counts over all subtasks; `None`: it has none.
    fn late_records_dropped(&self, job: &str) -> Result<Option<u64>> {
        let mut dropped = None;
        let vertices = self.host.get_ok(&format!("/v1/jobs/{job}"))?;
        for vertex in vertices["vertices"].as_array().into_iter().flatten() {
            let id = vertex["id"].as_str().context("a vertex without an id")?;
            let path = format!("/v1/jobs/{job}/vertices/{id}/metrics");
            let names = self.host.get_ok(&path)?;
            let names = names.as_array().into_iter().flatten();
            let names = names.filter_map(|metric| metric["id"].as_str());
            for name in names.filter(|name| name.ends_with(&format!(".{LATE_METRIC}"))) {
                let metric = self.host.get_ok(&format!("{path}?get={name}"))?;
                let value = metric[0]["value"].as_str().context("a metric without a value")?;
                *dropped.get_or_insert(0) += value.parse::<u64>()?;
            }
        }
        Ok(dropped)
    }

    /// What a job answers, or how it failed; with the savepoint that it starts from.
    fn answers(&self, case: &Case, place: Place<'_>, savepoint: Option<&str>) -> Result<Answers> {
        let Ok(job) = job(case, place) else {
            bail!("{}: there was a job before", case.name);
        };
        let query = savepoint.map_or_else(String::new, |path| format!("?savepointPath={path}"));
        let id = match self.host.submit_with(&job.to_string(), &query) {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(format!("{refusal:#}"))),
        };
        match self.host.wait_for(&id, "FINISHED", LIMIT) {
            Ok(()) => self.written(case, &id, place),
            Err(failure) => Ok(Err(format!("{failure:#}"))),
        }
    }

    /// The same, where the job is stopped at a line and another goes on from its savepoint at another parallelism, and
    /// maybe on another backend.
    fn answers_of_two(
        &self,
        case: &Case,
        place: Place<'_>,
        line: usize,
        restored: Backend,
    ) -> Result<Answers> {
        // Both write to one place: what the first pre-committed may be the second's to commit.
        let first = Place {
            hold_at: Some(line),
            ..place
        };
        let Ok(held) = job(case, first) else {
            bail!("{}: there was a job before", case.name);
        };
        let id = match self.host.submit(&held.to_string()) {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(format!("{refusal:#}"))),
        };
        let wanted = case.records_before(line)?;
        wait::until("the tape stands still", LIMIT, || {
            let metric = self
                .host
                .get_ok(&format!("/v1/jobs/{id}/metrics?get=numRecordsRead"))?;
            let read = metric[0]["value"].as_str().unwrap_or_default();
            Ok(match read.parse() {
                Ok(read) if wanted <= read && self.is_running(&id)? => Ok(()),
                _ => Err(format!("{read} of {wanted} records, {}", self.host.state(&id)?)),
            })
        })?;
        let savepoint = self.host.stop_with_savepoint(&id)?;
        let dropped = self.late_records_dropped(&id)?;
        let second = Place {
            parallelism: 3 - place.parallelism.clamp(1, 2),
            backend: restored,
            ..place
        };
        let written = self.answers(case, second, Some(&savepoint))?;
        Ok(written.map(|written| Written {
            dropped: written.dropped.map(|later| later + dropped.unwrap_or(0)),
            ..written
        }))
    }

    /// Whether the job and all its tasks run.
    fn is_running(&self, job: &str) -> Result<bool> {
        let details = self.host.get_ok(&format!("/v1/jobs/{job}"))?;
        let vertices = details["vertices"].as_array();
        let run = vertices
            .into_iter()
            .flatten()
            .all(|vertex| vertex["status"] == "RUNNING");
        Ok(run && details["state"] == "RUNNING")
    }

    /// What the sink of a job has committed, and what its window has counted.
    fn written(&self, case: &Case, job: &str, place: Place<'_>) -> Result<Answers> {
        let lines = match compare::written(place.out).and_then(compare::merged) {
            Ok(lines) => lines,
            Err(error) => return Ok(Err(format!("{}: {error:#}", case.name))),
        };
        let dropped = self.late_records_dropped(job)?;
        Ok(Ok(Written { lines, dropped }))
    }

    fn difference(&self, case: &Case, written: Written, scope: Scope) -> Result<Option<String>> {
        let Written {
            lines: mut got,
            dropped,
        } = written;
        if let Some(dropped) = dropped {
            let at = case.lines()?;
            got.push(format!(
                "{{\"at\":{at},\"metric\":\"{LATE_METRIC}\",\"count\":{dropped}}}"
            ));
        }
        let mut order = case.order();
        if scope.parallelism > 1 || scope.restore.is_some() {
            // Nothing is promised between keys of different subtasks, here as in Flink.
            order.push("key".to_owned());
        }
        let got = compare::sorted(got, &order)?;
        let expected = match case.diverges() {
            false => case.expected.clone(),
            true => match model::answers(case)? {
                Some(answers) => answers,
                None => {
                    return Ok(Some(
                        "Flink has a fault here, and there is no model of what is right".to_owned(),
                    ));
                }
            },
        };
        let expected = compare::sorted(expected, &order)?;
        Ok(compare::difference(&got, &expected))
    }
}
