//! Generated streams are cut into a fixed number of interleaved shards, so that the parallelism of a
//! generator can change: event `i` belongs to shard `i mod 128`, a shard to subtask `shard mod parallelism`.

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_model::time::Timestamp;

/// Number of shards; part of the checkpoint format of generators.
pub(crate) const SHARDS: u64 = 128;

/// The shards of one subtask and how far each has come.
pub(crate) struct Shards {
    /// (shard, next round): the next event of a shard is `round × 128 + shard`.
    positions: Vec<(u64, u64)>,
    /// The shard whose turn it is.
    turn: usize,
    /// Number of events of the whole stream; `u64::MAX`: no end.
    events: u64,
}

impl Shards {
    /// Those of a subtask; `restored` are the elements of all subtasks.
    pub(crate) fn new(
        runtime: &RuntimeContext,
        events: u64,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Self, TaskError> {
        let own =
            |shard: u64| shard % u64::from(runtime.parallelism.max(1)) == u64::from(runtime.subtask_index);
        let mut positions: Vec<(u64, u64)> = (0..SHARDS).filter(|s| own(*s)).map(|s| (s, 0)).collect();
        for element in restored.into_iter().flatten() {
            let (shard, round) = decode(&element)?;
            if let Some(position) = positions.iter_mut().find(|(s, _)| *s == shard) {
                position.1 = round;
            }
        }
        // The shard that is behind the others goes first: the order of events after a restore is the one
        // that an undisturbed run has.
        let turn = (1..positions.len())
            .find(|i| positions[*i].1 < positions[*i - 1].1)
            .unwrap_or(0);
        Ok(Self {
            positions,
            turn,
            events,
        })
    }

    /// The next event's number; `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<u64> {
        let (shard, round) = self.positions.get_mut(self.turn)?;
        let event = *round * SHARDS + *shard;
        if event >= self.events {
            // Rounds go in step: the shards after this one in the round are at their end too.
            return self.skip_ended();
        }
        *round += 1;
        self.turn = if self.turn + 1 == self.positions.len() {
            0
        } else {
            self.turn + 1
        };
        Some(event)
    }

    fn skip_ended(&mut self) -> Option<u64> {
        let events = self.events;
        let left = self
            .positions
            .iter()
            .position(|(shard, round)| round * SHARDS + shard < events)?;
        self.turn = left;
        self.next()
    }

    /// The positions as elements of operator state.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        let element = |(shard, round): &(u64, u64)| [shard.to_le_bytes(), round.to_le_bytes()].concat();
        self.positions.iter().map(element).collect()
    }
}

fn decode(element: &[u8]) -> Result<(u64, u64), TaskError> {
    let number = |at: usize| {
        element
            .get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_le_bytes)
    };
    match (element.len(), number(0), number(8)) {
        (16, Some(shard), Some(round)) if shard < SHARDS => Ok((shard, round)),
        _ => Err(TaskError::host(
            "generator: a restored position is not one that a generator writes",
        )),
    }
}

/// Lets through so many events a second, evenly.
pub(crate) struct RateLimit {
    per_second: Option<f64>,
    started: Option<Timestamp>,
    given: u64,
}

impl RateLimit {
    /// A rate for the whole job, shared evenly among its subtasks; `None`: as fast as it goes.
    pub(crate) fn new(per_second: Option<f64>, runtime: &RuntimeContext) -> Self {
        let share = per_second.map(|rate| rate / f64::from(runtime.parallelism.max(1)));
        Self {
            per_second: share,
            started: None,
            given: 0,
        }
    }

    /// How many events may go now, or when to ask again.
    pub(crate) fn allowance(&mut self, now: Timestamp, wanted: u32) -> Result<u32, Timestamp> {
        let Some(rate) = self.per_second else {
            return Ok(wanted);
        };
        let started = *self.started.get_or_insert(now);
        let due = ((now - started) as f64 * rate / 1_000.0) as u64 + 1;
        if due > self.given {
            let count = (due - self.given).min(u64::from(wanted)) as u32;
            return Ok(count);
        }
        Err(started + (self.given as f64 * 1_000.0 / rate).ceil() as Timestamp)
    }

    /// So many went.
    pub(crate) fn take(&mut self, count: u64) {
        self.given += count;
    }
}

/// A well-mixed function of a seed and a number: SplitMix64's finaliser.
#[inline]
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use wasmill_model::id::{JobId, OperatorUid};
    use wasmill_model::key::MaxParallelism;

    use super::*;

    pub(crate) fn runtime(index: u32, parallelism: u32) -> Arc<RuntimeContext> {
        Arc::new(RuntimeContext {
            job_id: JobId(7),
            job_name: "job".to_owned(),
            operator: OperatorUid::new("op"),
            task_name: "op".to_owned(),
            subtask_index: index,
            parallelism,
            max_parallelism: MaxParallelism::DEFAULT,
            key_groups: MaxParallelism::DEFAULT.range_of(index, parallelism),
            attempt: 0,
        })
    }

    #[test]
    fn every_event_comes_once_also_when_the_parallelism_changes_on_the_way() {
        for (events, before, after) in [(1_000u64, 2u32, 3u32), (5, 3, 1), (129, 1, 4), (0, 2, 2)] {
            let mut seen = Vec::new();
            let mut state = Vec::new();
            for index in 0..before {
                let mut shards = Shards::new(&runtime(index, before), events, None).unwrap();
                seen.extend(std::iter::from_fn(|| shards.next()).take(100 + index as usize * 7));
                state.extend(shards.snapshot());
            }
            for index in 0..after {
                let mut shards = Shards::new(&runtime(index, after), events, Some(state.clone())).unwrap();
                seen.extend(std::iter::from_fn(|| shards.next()));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..events).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_rate_is_kept_over_time() {
        let mut limit = RateLimit::new(Some(1_000.0), &runtime(0, 2));
        let mut given = 0;
        for now in 0..1_000 {
            while let Ok(count) = limit.allowance(now, 64) {
                limit.take(u64::from(count));
                given += count;
            }
        }
        assert_eq!(given, 500);
    }
}
