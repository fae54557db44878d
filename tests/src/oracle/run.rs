//! Runs cases in one host and says which agree.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::job::{Missing, Place, Steps, job};
use super::{Case, compare};
use crate::guests;
use crate::host::Host;

/// How long a case may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// How cases are run.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Of keyed operators.
    pub parallelism: u64,
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
        host.upload("oracle", &guests::rust_component("oracle")?)?;
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
                plugin: "oracle",
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

    fn difference(&self, case: &Case, job: &Value, out: PathBuf, scope: Scope) -> Result<Option<String>> {
        let id = match self.host.submit(&job.to_string()) {
            Ok(id) => id,
            Err(refusal) => return Ok(Some(format!("{refusal:#}"))),
        };
        if let Err(failure) = self.host.wait_for(&id, "FINISHED", LIMIT) {
            return Ok(Some(format!("{failure:#}")));
        }
        let got = compare::written(&out).and_then(compare::merged);
        let got = match got {
            Ok(got) => got,
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
        let mut order = case.order();
        if scope.parallelism > 1 {
            // Nothing is promised between keys of different subtasks, here as in Flink.
            order.push("key".to_owned());
        }
        let got = compare::sorted(got, &order)?;
        let expected = compare::sorted(case.expected.clone(), &order)?;
        Ok(compare::difference(&got, &expected))
    }
}
