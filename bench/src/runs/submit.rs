//! From the submission of a job to its first record, with the component in the host's cache.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::serving;
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::job::Job;
use crate::statistics::median;

const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let host = serving::host(bench, "submit", "uppercase")?;
    // The host prints into its log.
    let log = bench.data("submit").with_extension("log");
    let mut times = Vec::new();
    for number in 0..=bench.settings.submits {
        let job = Job::new("first-record")
            .with_plugin("uppercase")
            .with("number", number)
            .text(&bench.root)?;
        let record = format!("FIRST-RECORD-{number}-0");
        let start = Instant::now();
        let id = host.submit(&job)?;
        while !fs::read_to_string(&log).unwrap_or_default().contains(&record) {
            ensure!(
                start.elapsed() < LIMIT,
                "job {id} gave no record within {LIMIT:?}: {}",
                host.log()
            );
            thread::sleep(Duration::from_micros(200));
        }
        times.push(start.elapsed().as_secs_f64() * 1_000.0);
        host.wait_for(&id, "FINISHED", LIMIT)?;
    }
    // The first one loads the component.
    bench.report(&Figure::new("submit.first-after-upload", times[0], "ms"))?;
    bench.report(&Figure::new("submit.first-record", median(&times[1..]), "ms").with_bar(Bar::AtMost(100.0)))
}
