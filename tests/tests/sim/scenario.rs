//! One seed: a job to its end and those that go on from where it was stopped, each in one or more lives of
//! the process; after every job, what it has committed is compared with the model.

mod life;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use wasmill_checkpoint::restore;
use wasmill_checkpoint::storage::MemoryStorage;
use wasmill_engine::executor::PlantedBug;
use wasmill_engine::job::status::{JobState, JobStatus};
use wasmill_model::id::JobId;

use crate::job::Shape;
use crate::model::{self, Model};
use crate::outcome::Outcome;
use crate::random::Random;
use crate::sink::{External, Shared};
use crate::user::User;
use crate::world::{SimClock, Turn};
use life::Life;

/// A life that takes more turns than this hangs.
const TURNS_MAX: u64 = 300_000;

/// How a job has ended.
#[derive(Debug)]
enum Ending {
    Finished,
    /// With the savepoint in this directory.
    Stopped(String),
    /// Leaving the checkpoint or savepoint in this directory, or none.
    Canceled(Option<String>),
}

/// A savepoint of a job that went on, and the world as it was then.
struct Branch {
    directory: String,
    external: Shared,
    model: Model,
    modelled: bool,
}

struct Scenario {
    seed: u64,
    planted: PlantedBug,
    random: Random,
    shape: Shape,
    model: Model,
    /// Not where idle streams are left out, and not after a cancellation that came before a drained job had committed all: what it had read is not
    /// known then, and only records are compared.
    modelled: bool,
    files: Arc<MemoryStorage>,
    external: Shared,
    clock: Arc<SimClock>,
    user: User,
    storage_fails_once_in: u64,
    /// A blocking job waits for storage once in so many times; 0: never.
    slow_once_in: u64,
    faults: Arc<AtomicU64>,
    crashes_left: u64,
    crash_once_in: u64,
    jobs: u32,
    lives: u32,
    branch: Option<Branch>,
    outcome: Outcome,
    prints: bool,
}

/// Plays a seed to its end.
pub(crate) fn run(seed: u64, planted: PlantedBug) -> Result<Outcome, String> {
    let mut scenario = Scenario::new(seed, planted);
    scenario.play(None)?;
    scenario.outcome.faults += scenario.external.lock().unwrap().failures;
    if let Some(branch) = scenario.branch.take() {
        scenario.outcome.branches += 1;
        scenario.user.rest();
        scenario.external = branch.external;
        scenario.model = branch.model;
        scenario.modelled = branch.modelled;
        scenario.play(Some(branch.directory))?;
    }
    scenario.outcome.faults += scenario.faults.load(Ordering::Relaxed);
    scenario.outcome.savepoints = scenario.user.completed();
    Ok(scenario.outcome)
}

impl Scenario {
    fn new(seed: u64, planted: PlantedBug) -> Self {
        let mut random = Random::new(seed);
        let shape = Shape::draw(&mut random);
        let failing = [0, 0, 40, 150][random.below(4) as usize];
        Self {
            seed,
            planted,
            modelled: !shape.has_idleness,
            shape,
            model: Model::default(),
            files: Arc::new(MemoryStorage::default()),
            external: External::new(seed, failing),
            clock: Arc::new(SimClock(AtomicI64::new(1_000_000))),
            user: User::draw(&mut random),
            storage_fails_once_in: [0, 0, 30, 8][random.below(4) as usize],
            slow_once_in: [0, 2, 5][random.below(3) as usize],
            faults: Arc::new(AtomicU64::new(0)),
            crashes_left: random.below(5),
            crash_once_in: 100 + random.below(2_000),
            jobs: 0,
            lives: 0,
            branch: None,
            outcome: Outcome::default(),
            prints: std::env::var_os("WASMILL_SIM_SEED").is_some(),
            random,
        }
    }

    /// Runs a job, and every job that goes on from where the one before was stopped.
    fn play(&mut self, mut from: Option<String>) -> Result<(), String> {
        loop {
            self.jobs += 1;
            let ending = self.run_job(JobId(u128::from(self.seed) << 8 | u128::from(self.jobs)), from)?;
            self.compare(&ending)?;
            from = match ending {
                Ending::Finished | Ending::Canceled(None) => return Ok(()),
                Ending::Stopped(directory) | Ending::Canceled(Some(directory)) => Some(directory),
            };
        }
    }

    fn compare(&mut self, ending: &Ending) -> Result<(), String> {
        self.print(|| format!("the job has ended: {ending:?}"));
        let mut committed = self.external.lock().unwrap().committed();
        let several = model::take_several(&mut committed);
        let windows = model::take_windows(&mut committed)?;
        let input = self.shape.counts();
        let exactly = self.shape.is_exactly_once();
        if exactly {
            model::nothing_is_repeated(&input, &committed)?;
        }
        let until = match ending {
            Ending::Finished => {
                model::nothing_is_lost(&input, &committed)?;
                if exactly && self.modelled {
                    model::windows_equal(&self.shape.windows(), &windows)?;
                    // A drained stop ends what they wait for.
                    if self.shape.has_several && self.outcome.drained == 0 {
                        model::several_equal(&input, &self.shape.pairs(), &several)?;
                    }
                }
                input
            }
            // All that was read is committed, and nothing else: the timers fired for just that.
            Ending::Stopped(directory) if self.user.drains(directory) => {
                self.outcome.drained += 1;
                model::committed_counts(&input, &committed)
            }
            Ending::Canceled(Some(directory)) if self.user.drains(directory) => {
                self.modelled = false;
                return Ok(());
            }
            Ending::Stopped(_) | Ending::Canceled(_) => return Ok(()),
        };
        if exactly && self.modelled {
            self.model.run(&until);
            self.model.equals(&committed)?;
        }
        Ok(())
    }

    fn print(&self, line: impl FnOnce() -> String) {
        if self.prints {
            println!("{}", line());
        }
    }

    fn run_job(&mut self, job: JobId, from: Option<String>) -> Result<Ending, String> {
        loop {
            let mut life = self.start(job, from.as_deref())?;
            let has_ended = self.live(&mut life)?;
            self.user.check(&*life.handle, &self.files, has_ended)?;
            let status = life.handle.status();
            let ending = match status.state {
                _ if !has_ended => None,
                JobState::Finished => Some(self.finished(job)?),
                JobState::Canceled => Some(self.canceled(job, &status)?),
                other => return Err(format!("the job is {other:?}: {:?}", status.exceptions.first())),
            };
            let ending = match ending {
                // The host may die before it has recorded the end.
                Some(_) if self.crashes_left > 0 && self.random.once_in(3) => {
                    self.crashes_left -= 1;
                    self.outcome.crashes += 1;
                    None
                }
                Some(ending) => {
                    life.handle.release();
                    self.live_on(&mut life)?;
                    Some(ending)
                }
                None => None,
            };
            self.account(&life);
            if let Some(ending) = ending {
                return Ok(ending);
            }
        }
    }

    /// True: the job has come to its end; false: the process has crashed.
    fn live(&mut self, life: &mut Life) -> Result<bool, String> {
        for _ in 0..TURNS_MAX {
            if self.turn(life)? {
                return Ok(true);
            }
            if life.world.is_preparing() && life.handle.status().state.is_terminal() {
                return Err("it has ended while it restores".to_owned());
            }
            if let Some(act) = self.user.act(&mut self.random, &*life.handle, &life.storage) {
                self.print(|| format!("{:>6} the user: {act}", life.world.steps));
            }
            if let Some((id, directory)) = self.user.branch(&*life.handle) {
                self.branch = Some(Branch {
                    directory,
                    external: self.external.lock().unwrap().at(id),
                    model: self.model.clone(),
                    modelled: self.modelled,
                });
            }
            if self.crashes_left > 0 && self.random.once_in(self.crash_once_in) {
                self.crashes_left -= 1;
                self.outcome.crashes += 1;
                self.print(|| format!("{:>6} the process crashes", life.world.steps));
                return Ok(false);
            }
        }
        let status = life.handle.status();
        let last = status.exceptions.first();
        Err(format!("it does not end: {:?}, {last:?}", status.state))
    }

    /// Lets what the end of the job has left to do be done.
    fn live_on(&mut self, life: &mut Life) -> Result<(), String> {
        while !self.turn(life)? {}
        Ok(())
    }

    /// True where nothing is left to do.
    fn turn(&mut self, life: &mut Life) -> Result<bool, String> {
        match life.world.turn(&mut self.random) {
            Turn::Empty => Ok(true),
            Turn::Done => Ok(false),
            Turn::Stuck => Err(format!("stuck: {:?}", life.handle.status().state)),
            Turn::Restored(other) => Err(format!("it restores while it does: {other}")),
        }
    }

    /// A job that has finished was stopped, or its input had ended.
    fn finished(&mut self, job: JobId) -> Result<Ending, String> {
        let recovered = restore::latest(&*self.files, job).map_err(|error| error.to_string())?;
        Ok(match recovered.stopped {
            Some(note) => {
                self.outcome.stopped += 1;
                Ending::Stopped(note.directory)
            }
            None => Ending::Finished,
        })
    }

    fn canceled(&mut self, job: JobId, status: &JobStatus) -> Result<Ending, String> {
        self.outcome.cancelled += 1;
        // Whether this life of the process has read the job's checkpoints.
        let knew = status.checkpoints.restored > 0;
        let owes = status.exceptions.iter().any(|e| e.name == "UncommittedResults");
        self.outcome.owed += u64::from(owes);
        if !self.shape.checkpointing.retain_on_cancel && !owes {
            return Ok(Ending::Canceled(None));
        }
        let recovered = restore::latest(&*self.files, job).map_err(|error| error.to_string())?;
        if let Some(note) = &recovered.stopped
            && knew
            && self.user.has_completed(&note.directory)
        {
            return Err(format!(
                "cancelled after the stop with {} was complete",
                note.directory
            ));
        }
        // A host that could not read the job's checkpoints may have cancelled one that had stopped before.
        let stopped = recovered.stopped.map(|note| note.directory);
        let latest = recovered.latest.map(|restored| restored.directory);
        Ok(Ending::Canceled(stopped.or(latest)))
    }

    fn account(&mut self, life: &Life) {
        let checkpoints = life.handle.status().checkpoints;
        let outcome = &mut self.outcome;
        outcome.trace = outcome.trace.wrapping_mul(31).wrapping_add(life.world.trace);
        outcome.steps += life.world.steps;
        outcome.slowed += life.world.slowed;
        outcome.restored += checkpoints.restored;
        outcome.checkpoints += checkpoints.completed;
    }
}
