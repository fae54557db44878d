//! The operator of a component's function, whatever its kind and family.
//!
//! Invariant: a guest that failed is never called again. A call that failed as a whole is repeated row by
//! row in a new instance, because guest memory is only a cache; a function with state of its own
//! fails at once, because its memory is not, and its instance is gone with it, also where it answered by an error.

use std::sync::Arc;
use std::time::Instant;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_engine::asynchronous::Request;
use wasmill_engine::broadcast::BroadcastState;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext, OperatorSnapshot};
use wasmill_engine::output::Output;
use wasmill_model::batch::Batch;
use wasmill_model::element::Barrier;
use wasmill_model::key::{KeyGroupRange, MaxParallelism};
use wasmill_state::backend::{KeyedStateBackend, StateId};
use wasmill_state::memory::MemoryBackend;
use wasmill_state::timers::{TimeDomain, Timer};

use super::blueprint::Blueprint;
use super::failure::{CallFailure, Cause};
use super::frame::{Done, FrameCaller};
use super::instance::{Exports, Instance, Place};
use super::log::SubtaskLog;
use super::pace::{CALL_TARGET, Pace};
use super::states::{accumulator, declare};
use super::typed::TypedCaller;
use super::work::Work;
use crate::failure::GuestError;
use crate::frame::encode::{FrameBound, PrefetchedState};
use crate::journal::effects::TimerOp;
use crate::journal::scope::DeclaredState;

/// See the module.
pub struct FunctionOperator {
    blueprint: Arc<Blueprint>,
    pace: Pace,
    /// Stands in for the backend while that is with the instance.
    spare: Option<Box<dyn KeyedStateBackend>>,
    /// Of a partitioner: how many there are to choose from.
    channels: u32,
    /// From `open` on.
    running: Option<Running>,
    /// See [`FunctionOperator::asks_for_retry`].
    asks_for_retry: bool,
}

struct Running {
    instance: Instance,
    place: Place,
    frames: FrameCaller,
    records: TypedCaller,
    /// Stays here between calls, whatever becomes of the instance.
    broadcast: BroadcastState,
    /// An instance that needs so much memory from its start is not replaced for it.
    recycles: bool,
    /// While the failing record of a call is looked for.
    isolation: Option<Isolation>,
}

/// The rows of a call that failed are repeated one by one, over several steps where they take long. The one that
/// fails alone is the failing record. Where none does (the time of the call was too short for all of them together,
/// say), all of them are processed and the work goes on.
struct Isolation {
    left: u32,
    /// Why the call failed.
    together: String,
}

impl FunctionOperator {
    /// Of one subtask.
    pub fn new(blueprint: Arc<Blueprint>) -> Self {
        Self::with_pace(blueprint, Pace::default())
    }

    /// With a pace of its own: for tests that choose where batches are cut.
    pub fn with_pace(blueprint: Arc<Blueprint>, pace: Pace) -> Self {
        let nothing = KeyGroupRange { start: 0, end: 0 };
        Self {
            blueprint,
            pace,
            channels: 0,
            spare: Some(Box::new(MemoryBackend::new(nothing, MaxParallelism::DEFAULT))),
            running: None,
            asks_for_retry: false,
        }
    }

    /// What its instances share.
    pub(crate) fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// Opens it as a part of a window: `accumulators` is the state of a function that folds.
    pub(crate) fn open_part(
        &mut self,
        accumulators: Option<StateId>,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        let states = match accumulators {
            Some(id) => vec![accumulator(&self.blueprint, id)],
            None => declare(&self.blueprint, context)?,
        };
        self.start(states, context, None)
    }

    /// The timers of the last call, of a trigger.
    pub(crate) fn take_timers(&mut self) -> Vec<TimerOp> {
        let running = self.running.as_mut();
        running.map_or_else(Vec::new, |running| {
            std::mem::take(&mut running.instance.guest.host_mut().timers)
        })
    }

    /// The error of an answer that does not fit what was asked.
    pub(crate) fn lied(&self, message: &str) -> TaskError {
        let (plugin, function) = (self.blueprint.plugin(), self.blueprint.function());
        GuestError::plugin(message).into_task_error(plugin, function, None)
    }

    fn start(
        &mut self,
        states: Vec<DeclaredState>,
        context: &OperatorContext,
        restored: Option<OperatorState>,
    ) -> Result<(), TaskError> {
        let description = self.blueprint.description();
        let prefetched = states
            .iter()
            .enumerate()
            .filter(|(_, state)| state.prefetched)
            .map(|(slot, state)| PrefetchedState {
                slot: slot as u32,
                id: state.id,
                by_key: state.of_key,
                ttl: state.ttl,
            })
            .collect();
        let place = Place {
            runtime: context.runtime.clone(),
            states,
            log: SubtaskLog::new(&context.runtime),
            channels: self.channels,
        };
        let names = description.broadcast_names();
        let broadcast = BroadcastState::restored(restored.as_ref(), &names)?;
        let own = restored.map(|mut own| {
            own.lists.retain(|list| !names.contains(&list.name));
            own
        });
        let instance = Instance::start(&self.blueprint, &place, own.as_ref())?;
        self.running = Some(Running {
            instance,
            place,
            frames: FrameCaller::new(description, prefetched),
            records: TypedCaller::default(),
            broadcast,
            recycles: true,
            isolation: None,
        });
        Ok(())
    }

    /// Requests that the last call has made.
    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        match &mut self.running {
            Some(running) => running.instance.guest.host_mut().take_requests(),
            None => Vec::new(),
        }
    }

    /// Whether the last call has failed by asking for another attempt.
    pub(super) fn asks_for_retry(&self) -> bool {
        self.asks_for_retry
    }

    /// Of a partitioner that chooses from so many.
    pub(crate) fn with_channels(self, channels: u32) -> Self {
        Self { channels, ..self }
    }

    /// Asks a watermark generator at a tick of the emit interval.
    pub(crate) fn periodic_emit(
        &mut self,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        self.run(&Work::Periodic, context, out).map(drop)
    }

    /// Calls for rows from the front of the work and returns how many were consumed.
    pub(crate) fn run(
        &mut self,
        work: &Work<'_>,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let Some(running) = &mut self.running else {
            return Err(not_open());
        };
        if running.isolation.is_some() {
            return running.one_by_one(&self.blueprint, work, context, &mut self.spare, out);
        }
        let started = Instant::now();
        let bound = self.pace.bound();
        let result = running.attempt(&self.blueprint, work, bound, context, &mut self.spare, out);
        self.asks_for_retry = matches!(&result, Err(failure) if failure.asks_for_retry());
        match result {
            Ok(done) => {
                self.pace.learn(done.consumed, started.elapsed());
                running.recycle(&self.blueprint)?;
                Ok(done.consumed)
            }
            Err(failure) if running.can_isolate(&self.blueprint, &failure) => {
                running.isolate(&self.blueprint, work, failure)?;
                running.one_by_one(&self.blueprint, work, context, &mut self.spare, out)
            }
            Err(failure) => {
                if self.blueprint.description().keeps_memory() {
                    // Its memory holds part of what the failed call did, and nobody can undo that.
                    self.running = None;
                }
                Err(failure.into_task_error(&self.blueprint, work))
            }
        }
    }
}

impl Running {
    /// One call, and what it said goes to the log.
    fn attempt(
        &mut self,
        blueprint: &Blueprint,
        work: &Work<'_>,
        bound: FrameBound,
        context: &mut OperatorContext,
        spare: &mut Option<Box<dyn KeyedStateBackend>>,
        out: &mut Output,
    ) -> Result<Done, CallFailure> {
        let Self {
            instance,
            frames,
            records,
            broadcast,
            ..
        } = self;
        let Instance { guest, exports } = instance;
        guest.host_mut().broadcast.state = std::mem::take(broadcast);
        let mut result = match exports {
            Exports::Frame(exports) => frames.call(guest, exports, work, bound, context, spare, out),
            Exports::Typed(exports) => records.call(guest, exports, work, bound, context, spare, out),
        };
        *broadcast = std::mem::take(&mut guest.host_mut().broadcast.state);
        if let Err(CallFailure {
            cause: Cause::Guest(error),
            ..
        }) = &mut result
        {
            error.limit = error.limit.or(guest.host().limit_hit());
        }
        let result = result.and_then(|done| {
            let cleaned = context
                .state
                .clean_up(context.processing_time, done.consumed.into());
            cleaned.map(|()| done).map_err(CallFailure::host)
        });
        self.instance.flush_log(blueprint, &self.place, result.is_ok());
        result
    }

    /// Whether the failing record is unknown and may be looked for.
    fn can_isolate(&self, blueprint: &Blueprint, failure: &CallFailure) -> bool {
        matches!(failure.cause, Cause::Guest(_))
            && failure.row.is_none()
            && !blueprint.description().keeps_memory()
    }

    /// From now on the rows of a failed call are repeated one by one, in a new instance.
    fn isolate(
        &mut self,
        blueprint: &Blueprint,
        work: &Work<'_>,
        failure: CallFailure,
    ) -> Result<(), TaskError> {
        self.instance = Instance::start(blueprint, &self.place, None).map_err(may_be_mended)?;
        self.isolation = Some(Isolation {
            left: failure.rows,
            together: failure.into_task_error(blueprint, work).message,
        });
        Ok(())
    }

    /// Rows one by one for the time of a call. Of panes it is a single one, for what they emit names its row.
    // NOTE: this is where a policy for bad records goes on after the record: its effects are undone, and
    // those of the rows before it are applied.
    fn one_by_one(
        &mut self,
        blueprint: &Blueprint,
        work: &Work<'_>,
        context: &mut OperatorContext,
        spare: &mut Option<Box<dyn KeyedStateBackend>>,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let (one, started) = (Pace::fixed(1).bound(), Instant::now());
        let rows = match work {
            Work::Panes(_) => 1,
            _ => work.rows(),
        };
        let mut consumed = 0;
        while consumed < rows && (consumed == 0 || started.elapsed() < CALL_TARGET) {
            let only = work.only(consumed);
            let done = self
                .attempt(blueprint, &only, one, context, spare, out)
                .map_err(|failed| failed.into_task_error(blueprint, &only))?;
            consumed += 1;
            self.recycle(blueprint)?;
            let Some(isolation) = &mut self.isolation else {
                break;
            };
            isolation.left = isolation.left.saturating_sub(1);
            if isolation.left == 0 {
                tracing::warn!(
                    "a call of function `{}` failed for its rows together and succeeded for each alone: {}",
                    blueprint.function(),
                    isolation.together
                );
                self.isolation = None;
                break;
            }
            if done.reorders {
                break;
            }
        }
        Ok(consumed)
    }

    /// Replaces an instance that has grown too large, state of its own included.
    fn recycle(&mut self, blueprint: &Blueprint) -> Result<(), TaskError> {
        if !self.recycles || !self.instance.guest.needs_recycling() {
            return Ok(());
        }
        if blueprint.description().keeps_memory() && !blueprint.description().is_buffering() {
            // A watermark generator that says nothing of what it remembers lives as long as its task.
            self.recycles = false;
            return Ok(());
        }
        let own = if blueprint.description().is_buffering() {
            let own = self.instance.snapshot();
            Some(own.map_err(|error| error.into_task_error(blueprint.plugin(), blueprint.function(), None))?)
        } else {
            None
        };
        self.instance = Instance::start(blueprint, &self.place, own.as_ref()).map_err(may_be_mended)?;
        if self.instance.guest.needs_recycling() {
            self.recycles = false;
            tracing::warn!(
                "function `{}` holds {} bytes of memory right after it was opened: its instance is not replaced any more; \
                 raise the job's `limits.recycle-bytes`",
                blueprint.function(),
                self.instance.guest.memory_bytes()
            );
        }
        Ok(())
    }
}

impl Operator for FunctionOperator {
    fn open(
        &mut self,
        context: &mut OperatorContext,
        restored: Option<OperatorState>,
    ) -> Result<(), TaskError> {
        let states = declare(&self.blueprint, context)?;
        self.start(states, context, restored)
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        if batch.is_empty() {
            return Ok(0);
        }
        let batch = batch.clone();
        self.run(&Work::Rows { port, batch }, context, out)
    }

    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        if timers.is_empty() {
            return Ok(0);
        }
        self.run(&Work::Timers { domain, timers }, context, out)
    }

    fn snapshot(&mut self, _: &Barrier, _: &mut OperatorContext) -> Result<OperatorSnapshot, TaskError> {
        let Some(running) = &mut self.running else {
            return Err(not_open());
        };
        let mut state = OperatorState::default();
        if self.blueprint.description().is_buffering() {
            let own = running.instance.snapshot();
            running
                .instance
                .flush_log(&self.blueprint, &running.place, own.is_ok());
            let (plugin, function) = (self.blueprint.plugin(), self.blueprint.function());
            state = own.map_err(|error| error.into_task_error(plugin, function, None))?;
        }
        state.lists.extend(running.broadcast.snapshot());
        Ok(OperatorSnapshot { state, keyed: None })
    }

    fn close(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        let closed = running.instance.close();
        running
            .instance
            .flush_log(&self.blueprint, &running.place, closed.is_ok());
        let (plugin, function) = (self.blueprint.plugin(), self.blueprint.function());
        closed.map_err(|error| error.into_task_error(plugin, function, None))
    }
}

fn not_open() -> TaskError {
    TaskError::host("the function is called before it was opened, or after it has failed")
}

/// An instance that does not start while the job runs: a restart goes back to what it did start with.
fn may_be_mended(error: TaskError) -> TaskError {
    TaskError {
        for_good: false,
        ..error
    }
}
