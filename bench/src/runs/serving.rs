//! A host that serves, watched from outside while a job runs in it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::host::Host;
use wasmill_tests::wait;

use crate::bench::Bench;
use crate::job::{Job, checkpointing};
use crate::resident::resident_bytes;
use crate::statistics::Sample;

/// What key, value and padding of `large-state` come to, in bytes.
pub(super) const ENTRY_BYTES: u64 = 100;

/// The count is a u64.
const VALUE_BYTES: usize = 8;

/// The longest wait for a job to get somewhere.
const LIMIT: Duration = Duration::from_secs(600);

/// Between two looks at a counter that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Between two looks at a counter that is recorded.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(3);

/// A host and the large keyed count in it.
pub(super) struct Counting {
    host: Host,
    job: String,
    /// The vertex that counts.
    vertex: String,
}

/// Starts a host with the component uploaded.
pub(super) fn host(bench: &Bench, data: &str, component: &str) -> Result<Host> {
    host_with(bench, data, component, &[])
}

/// The same with settings, as environment variables.
pub(super) fn host_with(
    bench: &Bench,
    data: &str,
    component: &str,
    settings: &[(&str, &str)],
) -> Result<Host> {
    let host = Host::start(&bench.data(data), settings)?;
    host.upload(component, &bench.component(component)?)?;
    Ok(host)
}

impl Counting {
    /// Submits the component's count over `keys` keys, in memory, and waits until each was seen.
    pub(super) fn start(bench: &Bench, data: &str, keys: u64, interval: Duration) -> Result<Counting> {
        Self::start_with("function: counts/keyed-count", bench, data, keys, interval)
    }

    /// The same for an operator that counts as a job file says it.
    pub(super) fn start_with(
        count: &str,
        bench: &Bench,
        data: &str,
        keys: u64,
        interval: Duration,
    ) -> Result<Counting> {
        let job = large_state(keys).with("count", count);
        let job = job.with("checkpointing", checkpointing(interval));
        let host = host(bench, data, "keyed_count")?;
        Self::submit(bench, host, &job, keys + keys / 20)
    }

    /// Submits a job with an operator `count`, and waits until that has read so many records.
    pub(super) fn submit(bench: &Bench, host: Host, job: &Job, records: u64) -> Result<Counting> {
        let job = job.clone().with_plugin("keyed_count");
        let job = host.submit(&job.text(&bench.root)?)?;
        host.wait_for(&job, "RUNNING", LIMIT)?;
        let counting = Self::of(host, job)?;
        counting.wait_for_records(records)?;
        Ok(counting)
    }

    /// Of a job that is there.
    pub(super) fn of(host: Host, job: String) -> Result<Counting> {
        let detail = host.get_ok(&format!("/v1/jobs/{job}"))?;
        let vertex = counting_vertex(&detail).with_context(|| format!("no vertex counts in {detail}"))?;
        Ok(Counting { host, job, vertex })
    }

    /// Kills the host; what is left of the job is its name.
    pub(super) fn kill(self) -> Result<String> {
        self.host.kill()?;
        Ok(self.job)
    }

    /// The host.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// The job's id.
    pub(super) fn job(&self) -> &str {
        &self.job
    }

    /// Waits until the count has read so many records.
    pub(super) fn wait_for_records(&self, records: u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let seen: u64 = self.counters()?.iter().sum();
            if seen >= records {
                return Ok(());
            }
            ensure!(
                start.elapsed() < LIMIT,
                "only {seen} of {records} records after {LIMIT:?}: {}",
                self.host.log()
            );
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until a source has given all its records.
    pub(super) fn wait_for_source(&self, uid: &str) -> Result<()> {
        wait::until(&format!("source `{uid}` is at its end"), LIMIT, || {
            let detail = self.host.get_ok(&format!("/v1/jobs/{}", self.job))?;
            let vertices = detail["vertices"].as_array().context("a job has vertices")?;
            let is_it = |vertex: &&Value| {
                let name = vertex["name"].as_str().unwrap_or_default();
                name.strip_prefix("Source: ")
                    .is_some_and(|rest| rest.split(" -> ").next() == Some(uid))
            };
            let status = vertices.iter().find(is_it).map(|vertex| vertex["status"].clone());
            let is_over = status.as_ref().is_some_and(|status| status == "FINISHED");
            Ok(is_over.then_some(()).ok_or_else(|| format!("{status:?}")))
        })
    }

    /// Records that each subtask of the count has read.
    fn counters(&self) -> Result<Vec<u64>> {
        let vertex = self
            .host
            .get_ok(&format!("/v1/jobs/{}/vertices/{}", self.job, self.vertex))?;
        let subtasks = vertex["subtasks"].as_array().context("a vertex has subtasks")?;
        Ok(subtasks
            .iter()
            .map(|subtask| subtask["metrics"]["read-records"].as_u64().unwrap_or(0))
            .collect())
    }

    /// Watches each subtask's counter for a time.
    pub(super) fn watch(&self, time: Duration) -> Result<Vec<Vec<Sample>>> {
        let start = Instant::now();
        let mut samples: Vec<Vec<Sample>> = Vec::new();
        while start.elapsed() < time {
            let counters = self.counters()?;
            let at = start.elapsed().as_secs_f64();
            samples.resize_with(counters.len(), Vec::new);
            for (samples, count) in samples.iter_mut().zip(counters) {
                samples.push(Sample { at, count });
            }
            thread::sleep(SAMPLE_INTERVAL);
        }
        Ok(samples)
    }

    /// Completed checkpoints so far.
    pub(super) fn checkpoints(&self) -> Result<u64> {
        self.host.completed_checkpoints(&self.job)
    }

    /// Resident memory of the host now, in bytes.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.host.pid())
    }
}

/// The count over `keys` keys with entries of [`ENTRY_BYTES`], in memory; what counts, and checkpoints, are not chosen yet.
pub(super) fn large_state(keys: u64) -> Job {
    let longest = format!("user-{}", keys - 1).len();
    let padding = "x".repeat(ENTRY_BYTES as usize - VALUE_BYTES - longest);
    let job = Job::new("large-state").with("backend", "memory");
    job.with("keys", keys).with("padding", padding)
}

/// The vertex that holds the operator `count`.
fn counting_vertex(detail: &Value) -> Option<String> {
    let vertices = detail["vertices"].as_array()?;
    let counts = |vertex: &&Value| vertex["name"].as_str().is_some_and(|name| name.contains("count"));
    Some(vertices.iter().find(counts)?["id"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counting_vertex_is_found_by_the_name_of_its_operator() {
        let detail = serde_json::json!({"vertices": [
            {"id": "a", "name": "Source: events -> by-user"},
            {"id": "b", "name": "count -> Sink: out"},
        ]});
        assert_eq!(counting_vertex(&detail).as_deref(), Some("b"));
    }
}
