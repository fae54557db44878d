//! The start of one life of the process: storage that fails, the seeded executor, the job from where it is
//! to go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmill_checkpoint::storage::CheckpointStorage;
use wasmill_checkpoint::storage::testing::{Fault, FaultyStorage};
use wasmill_engine::job::{JobHandle, JobSpec, RestoreFrom, start};
use wasmill_model::id::JobId;
use wasmill_state::backends::{MemoryBackends, StateBackends};
use wasmill_state::memory::SegmentRule;
use wasmill_state::testing::plain_store::PlainBackends;

use super::Scenario;
use crate::job;
use crate::random::Random;
use crate::slow::SlowStorage;
use crate::world::{SimExecutor, World};

/// Late in a long run everything works, so that it comes to an end.
const STORAGE_FAULTS_MAX: u64 = 60;

/// One life of the process.
pub(super) struct Life {
    pub(super) world: World,
    pub(super) storage: Arc<dyn CheckpointStorage>,
    pub(super) handle: Arc<dyn JobHandle>,
}

impl Scenario {
    /// Another one in each life: whatever the one before has written is read.
    fn backends(&self) -> Arc<dyn StateBackends> {
        let mut random = Random::new(self.seed.wrapping_mul(17).wrapping_add(u64::from(self.lives)));
        let cache_bytes = [0, 20_000, 1 << 20][random.below(3) as usize];
        let plain = Arc::new(PlainBackends { cache_bytes });
        let segments = match random.clone().below(4) {
            0 => SegmentRule::default(),
            1 => SegmentRule {
                bytes_min: 0,
                ..SegmentRule::default()
            },
            _ => SegmentRule::ALWAYS,
        };
        match random.once_in(2) {
            true => plain,
            // State here is small, and most of it changes between two checkpoints.
            false => Arc::new(MemoryBackends::reading(plain).with_segments(segments)),
        }
    }

    pub(super) fn start(&mut self, job: JobId, from: Option<&str>) -> Result<Life, String> {
        self.lives += 1;
        let mut choices = Random::new(self.seed.wrapping_mul(31).wrapping_add(u64::from(self.lives)));
        let (faults, once_in) = (self.faults.clone(), self.storage_fails_once_in);
        let storage = FaultyStorage::new(self.files.clone(), move |_, _, _| {
            if faults.load(Ordering::Relaxed) > STORAGE_FAULTS_MAX || !choices.once_in(once_in) {
                return Fault::None;
            }
            faults.fetch_add(1, Ordering::Relaxed);
            [Fault::Fail, Fault::Tear, Fault::LoseAnswer][choices.below(3) as usize]
        });
        let storage: Arc<dyn CheckpointStorage> = Arc::new(SlowStorage(Arc::new(storage)));
        let executor = SimExecutor::new(self.seed ^ u64::from(self.lives) << 32, self.planted);
        let mut world = World::new(executor.clone(), self.clock.clone(), self.slow_once_in);
        world.print = self.prints;
        let spec = JobSpec {
            id: job,
            graph: self.shape.graph(&mut self.random)?,
            registry: job::registry(&self.shape, &self.external, &executor),
            storage: storage.clone(),
            state: self.backends(),
            slots: 8,
            restore: self.restore_from(job, from, &storage),
            claimed: None,
            first_attempt: self.lives * 1_000,
        };
        let handle = start(spec, executor, self.clock.clone()).map_err(|error| error.to_string())?;
        Ok(Life {
            world,
            storage,
            handle,
        })
    }

    /// As the host does: a job with a checkpoint of its own never goes back to what it once came from.
    fn restore_from(
        &self,
        job: JobId,
        from: Option<&str>,
        storage: &Arc<dyn CheckpointStorage>,
    ) -> RestoreFrom {
        let own = self.files.list(&job.to_string()).unwrap_or_default();
        match from {
            Some(directory) if !own.iter().any(|(name, _)| name.ends_with("/_metadata")) => {
                RestoreFrom::Path {
                    storage: storage.clone(),
                    directory: directory.to_owned(),
                    allow_non_restored: false,
                }
            }
            _ => RestoreFrom::Latest,
        }
    }
}
