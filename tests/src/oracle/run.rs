//! Runs cases in one host and says which agree.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::job::{Missing, Place, Steps, job};
use super::{Case, compare, model};
use crate::guests;
use crate::host::Host;

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
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            parallelism: 1,
            family: Family::Frame,
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

/// A host that runs cases.
pub struct Runner {
    host: Host,
    scratch: TempDir,
    runs: u64,
}

impl Runner {
    /// Starts a host and gives it the functions.
    pub fn start() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let host = Host::start(&scratch.path().join("data"), &[])?;
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

    /// Runs a case line by line and in batches.
    pub fn run(&mut self, case: &Case, scope: Scope) -> Result<Outcome> {
        for steps in Steps::ALL {
            self.runs += 1;
            let out = self.scratch.path().join(format!("out-{}", self.runs));
            let place = Place {
                out: &out,
                plugin: scope.family.component().1,
                parallelism: scope.parallelism,
                steps,
            };
            let job = match job(case, place) {
                Ok(job) => job,
                Err(Missing(what)) => return Ok(Outcome::NotYet(what)),
            };
            if let Some(difference) = self.difference(case, &job, out, scope)? {
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

    fn difference(&self, case: &Case, job: &Value, out: PathBuf, scope: Scope) -> Result<Option<String>> {
        let id = match self.host.submit(&job.to_string()) {
            Ok(id) => id,
            Err(refusal) => return Ok(Some(format!("{refusal:#}"))),
        };
        if let Err(failure) = self.host.wait_for(&id, "FINISHED", LIMIT) {
            return Ok(Some(format!("{failure:#}")));
        }
        let got = compare::written(&out).and_then(compare::merged);
        let mut got = match got {
            Ok(got) => got,
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        if let Some(dropped) = self.late_records_dropped(&id)? {
            let at = case.lines()?;
            got.push(format!(
                "{{\"at\":{at},\"metric\":\"{LATE_METRIC}\",\"count\":{dropped}}}"
            ));
        }
        std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
        let mut order = case.order();
        if scope.parallelism > 1 {
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
