//! The seeded executor and its clock.
//!
//! Invariant: every choice comes from the seed. Actors and blocking jobs are kept in the order in which
//! they came, so the same seed gives the same trace.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use wasmill_engine::clock::Clock;
use wasmill_engine::executor::{Actor, Blocking, Executor, PlantedBug, Step, Waker};
use wasmill_model::time::Timestamp;

use crate::random::Random;
use crate::slow::SlowJob;

/// Time that stands still until the simulator moves it.
pub(crate) struct SimClock(pub(crate) AtomicI64);

impl Clock for SimClock {
    fn now_ms(&self) -> Timestamp {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        self.now_ms() as u64 * 1_000_000
    }
}

/// What the product sees: it only takes things in.
pub(crate) struct SimExecutor {
    arrivals: Mutex<Arrivals>,
    planted: PlantedBug,
}

struct Arrivals {
    actors: Vec<(String, Arc<Waker>, Box<dyn Actor>)>,
    blocking: Vec<(String, Blocking)>,
    random: Random,
}

impl SimExecutor {
    pub(crate) fn new(seed: u64, planted: PlantedBug) -> Arc<Self> {
        let arrivals = Arrivals {
            actors: Vec::new(),
            blocking: Vec::new(),
            random: Random::new(seed),
        };
        Arc::new(Self {
            arrivals: Mutex::new(arrivals),
            planted,
        })
    }
}

impl Executor for SimExecutor {
    fn spawn(&self, name: String, waker: Arc<Waker>, actor: Box<dyn Actor>) -> io::Result<()> {
        self.arrivals.lock().unwrap().actors.push((name, waker, actor));
        Ok(())
    }

    fn blocking(&self, name: String, work: Blocking) {
        self.arrivals.lock().unwrap().blocking.push((name, work));
    }

    fn random(&self) -> u64 {
        self.arrivals.lock().unwrap().random.next()
    }

    fn rows_max(&self) -> Option<u32> {
        Some(1 + self.arrivals.lock().unwrap().random.below(9) as u32)
    }

    fn planted(&self) -> PlantedBug {
        self.planted
    }
}

struct Slot {
    number: u64,
    /// A slow actor is chosen less often.
    slowness: u64,
    waker: Arc<Waker>,
    actor: Box<dyn Actor>,
    ready: bool,
    until: Option<Timestamp>,
}

impl Slot {
    fn is_ready(&self, now: Timestamp) -> bool {
        self.ready || self.waker.is_notified() || self.until.is_some_and(|until| until <= now)
    }
}

/// One life of the process: from a start to a crash or to the end of the job.
pub(crate) struct World {
    pub(crate) executor: Arc<SimExecutor>,
    pub(crate) clock: Arc<SimClock>,
    slots: Vec<Slot>,
    /// Blocking jobs that have not begun.
    blocking: Vec<(u64, String, Blocking)>,
    /// Blocking jobs that have, and wait for storage.
    slow: Vec<(u64, String, SlowJob)>,
    /// A blocking job is slow once in so many times; 0: never.
    slow_once_in: u64,
    numbered: u64,
    /// FNV-1a over every choice.
    pub(crate) trace: u64,
    pub(crate) steps: u64,
    /// Slow jobs so far.
    pub(crate) slowed: u64,
    pub(crate) print: bool,
}

/// What one turn of the loop came to.
#[derive(PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was done.
    Done,
    /// Nothing is left to run.
    Empty,
    /// Something is left, and nothing will ever make it run.
    Stuck,
    /// A restore began beside this blocking job.
    Restored(String),
}

impl World {
    pub(crate) fn new(executor: Arc<SimExecutor>, clock: Arc<SimClock>, slow_once_in: u64) -> Self {
        let slots = Vec::new();
        Self {
            executor,
            clock,
            slots,
            blocking: Vec::new(),
            slow: Vec::new(),
            slow_once_in,
            numbered: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            slowed: 0,
            print: false,
        }
    }

    fn take_arrivals(&mut self, random: &mut Random) {
        let mut arrivals = self.executor.arrivals.lock().unwrap();
        for (_, waker, actor) in arrivals.actors.drain(..) {
            let slowness = 1 + random.below(4);
            self.slots.push(Slot {
                number: self.numbered,
                slowness,
                waker,
                actor,
                ready: true,
                until: None,
            });
            self.numbered += 1;
        }
        for (name, work) in arrivals.blocking.drain(..) {
            self.blocking.push((self.numbered, name, work));
            self.numbered += 1;
        }
    }

    /// Chooses one thing that can happen, and does it.
    pub(crate) fn turn(&mut self, random: &mut Random) -> Turn {
        self.take_arrivals(random);
        if let Some(other) = self.beside_a_restore() {
            return Turn::Restored(other);
        }
        if self.slots.is_empty() && self.blocking.is_empty() && self.slow.is_empty() {
            return Turn::Empty;
        }
        self.steps += 1;
        if random.once_in(12) {
            self.advance(1 + random.below(8) as i64);
            return Turn::Done;
        }
        let now = self.clock.now_ms();
        let ready: Vec<usize> = (0..self.slots.len())
            .filter(|at| self.slots[*at].is_ready(now))
            .collect();
        let choices = ready.len() + self.blocking.len() + self.slow.len();
        if choices == 0 {
            let Some(next) = self.slots.iter().filter_map(|slot| slot.until).min() else {
                return Turn::Stuck;
            };
            self.advance(next - now);
            return Turn::Done;
        }
        let choice = random.below(choices as u64) as usize;
        match ready.get(choice) {
            Some(at) if choices > 1 && !random.once_in(self.slots[*at].slowness) => {}
            Some(at) => self.step(*at, now),
            None => self.block(choice - ready.len(), random),
        }
        Turn::Done
    }

    /// Whether a job is being restored.
    pub(crate) fn is_preparing(&self) -> bool {
        self.blocking_names().any(|name| name.starts_with("prepare"))
    }

    /// What deletes or completes a checkpoint while a job is being restored.
    fn beside_a_restore(&self) -> Option<String> {
        // Late files of a checkpoint that was given up may go at any time: no manifest has ever named them.
        let changes = |name: &&str| {
            name.starts_with("manifest") || name.starts_with("delete") && !name.starts_with("delete files")
        };
        let mut names = self.blocking_names().filter(|_| self.is_preparing());
        names.find(changes).map(str::to_owned)
    }

    /// Of jobs that have begun or might at any time.
    fn blocking_names(&self) -> impl Iterator<Item = &str> {
        let waiting = self.blocking.iter().map(|(_, name, _)| name.as_str());
        waiting.chain(self.slow.iter().map(|(_, name, _)| name.as_str()))
    }

    fn step(&mut self, at: usize, now: Timestamp) {
        let slot = &mut self.slots[at];
        slot.waker.take();
        let number = slot.number;
        let outcome = match slot.actor.step(now) {
            Step::Progress => {
                (slot.ready, slot.until) = (true, None);
                1
            }
            Step::Blocked { until } => {
                (slot.ready, slot.until) = (false, until);
                2
            }
            Step::Finished => {
                self.slots.remove(at);
                3
            }
        };
        self.note(number * 4 + outcome);
    }

    /// Begins a blocking job, or lets one that has begun go on.
    fn block(&mut self, at: usize, random: &mut Random) {
        let Some(at) = at.checked_sub(self.blocking.len()) else {
            let (number, name, work) = self.blocking.remove(at);
            self.say(&name);
            if random.once_in(self.slow_once_in) {
                self.slowed += 1;
                if let Some(job) = SlowJob::start(work, Random::new(random.next())) {
                    self.slow.push((number, name, job));
                    return self.note(number * 4 + 1);
                }
            } else {
                work();
            }
            return self.note(number * 4);
        };
        let (number, _, job) = &mut self.slow[at];
        let number = *number;
        if job.turn() {
            let (_, name, _) = self.slow.remove(at);
            self.say(&format!("{name} is done"));
            self.note(number * 4);
        }
    }

    fn say(&self, text: &str) {
        if self.print {
            println!("{:>6} {:>6} ms  {text}", self.steps, self.clock.now_ms());
        }
    }

    fn advance(&mut self, by: i64) {
        self.clock.0.fetch_add(by.max(0), Ordering::Relaxed);
        self.note(u64::MAX - by as u64);
    }

    fn note(&mut self, event: u64) {
        for byte in event.to_le_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
