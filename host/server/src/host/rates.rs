//! How busy each subtask was in the last second: the job's counters only ever grow, so two samples are compared.

use std::sync::Weak;
use std::time::Duration;

use wasmill_engine::job::status::JobStatus;

use super::{Host, now};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(1_000);

/// Counters of all subtasks at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    at: i64,
    attempt: u32,
    /// By vertex and subtask: busy, idle, backpressured ms, records in, records out.
    counters: Vec<Vec<[u64; 5]>>,
}

impl Sample {
    /// Of a job now.
    pub fn of(status: &JobStatus) -> Self {
        let counters = status.vertices.iter().map(|vertex| {
            let subtasks = vertex.subtasks.iter();
            subtasks
                .map(|s| {
                    [
                        s.busy_ms,
                        s.idle_ms,
                        s.backpressured_ms,
                        s.records_in,
                        s.records_out,
                    ]
                })
                .collect()
        });
        Self {
            at: now(),
            attempt: status.attempt,
            counters: counters.collect(),
        }
    }
}

/// The last two samples.
#[derive(Debug, Default)]
pub struct Rates {
    last: Option<Sample>,
    before: Option<Sample>,
}

/// One subtask in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Share of the time at work, 0 to 1.
    pub busy: f64,
    /// Share of the time without input.
    pub idle: f64,
    /// Share of the time without credit.
    pub backpressured: f64,
    /// Records a second from channels.
    pub records_in: f64,
    /// Records a second to channels.
    pub records_out: f64,
}

impl Rates {
    /// Takes a sample; one of another attempt starts anew.
    pub fn add(&mut self, sample: Sample) {
        let last = self.last.take().filter(|last| last.attempt == sample.attempt);
        self.before = last;
        self.last = Some(sample);
    }

    /// Of one subtask; `None` as long as there are no two samples.
    pub fn of(&self, vertex: usize, subtask: usize) -> Option<Rate> {
        let (before, last) = (self.before.as_ref()?, self.last.as_ref()?);
        let elapsed_ms = last.at.saturating_sub(before.at).max(1) as f64;
        let old = before.counters.get(vertex)?.get(subtask)?;
        let new = last.counters.get(vertex)?.get(subtask)?;
        let per_ms = |at: usize| new[at].saturating_sub(old[at]) as f64 / elapsed_ms;
        Some(Rate {
            busy: per_ms(0).min(1.0),
            idle: per_ms(1).min(1.0),
            backpressured: per_ms(2).min(1.0),
            records_in: per_ms(3) * 1_000.0,
            records_out: per_ms(4) * 1_000.0,
        })
    }

    /// When the last sample was taken.
    pub fn at(&self) -> Option<i64> {
        self.last.as_ref().map(|sample| sample.at)
    }
}

/// Samples all jobs as long as the host lives.
pub fn start(host: Weak<Host>) {
    let spawned = std::thread::Builder::new()
        .name("rates".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(INTERVAL);
                let Some(host) = host.upgrade() else { return };
                host.jobs().iter().for_each(|job| job.sample());
            }
        });
    if let Err(error) = spawned {
        tracing::warn!("backpressure is not measured: no thread could be started: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, attempt: u32, busy: u64, records: u64) -> Sample {
        Sample {
            at,
            attempt,
            counters: vec![vec![[busy, 0, 0, records, 0]]],
        }
    }

    #[test]
    fn a_rate_is_the_difference_of_two_samples_of_one_attempt() {
        let mut rates = Rates::default();
        rates.add(sample(1_000, 0, 100, 10));
        assert_eq!(rates.of(0, 0), None);
        rates.add(sample(3_000, 0, 1_100, 4_010));
        let rate = rates.of(0, 0).unwrap();
        assert_eq!((rate.busy, rate.records_in), (0.5, 2_000.0));
        rates.add(sample(4_000, 1, 5, 5));
        assert_eq!(rates.of(0, 0), None);
        assert_eq!(rates.of(1, 0), None);
    }
}
