//! The operator of an async function: Flink's `AsyncWaitOperator`.
//!
//! Invariant: it emits only where the task has credit; the time of an element runs meanwhile. What the function answered is
//! kept until its turn, and is emitted once.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_model::batch::Batch;
use wasmill_model::element::Barrier;
use wasmill_model::function::OperatorStateMode;
use wasmill_model::graph::asynchronous::AsyncSpec;
use wasmill_model::row::{KIND_COMPLETION, KIND_TIMEOUT};
use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_END};

use super::completions::{Completion, Completions};
use super::entry::{Entry, Slot, SlotState, Step};
use super::queue::{EntryId, Ready, StreamElementQueue};
use super::{AsyncFunction, Called, Outcome, Request, RequestClient};
use crate::error::TaskError;
use crate::executor::Waker;
use crate::operator::{Operator, OperatorContext, OperatorSnapshot};
use crate::output::Output;

/// The operator state that holds the elements in flight.
const STATE_NAME: &str = "in-flight";
/// Answers that one step takes at most, for each is a call.
const ANSWERS_PER_STEP: u32 = 64;
/// Bytes of results at which a step emits no more.
const STEP_BYTES: usize = 64 * 1024;

/// See the module.
pub struct AsyncWaitOperator {
    spec: AsyncSpec,
    function: Box<dyn AsyncFunction>,
    /// `None`: nothing is granted.
    client: Option<Arc<dyn RequestClient>>,
    completions: Arc<Completions>,
    queue: StreamElementQueue<Entry>,
    /// Elements of a checkpoint beyond the capacity: they have no requests under way yet.
    waiting: VecDeque<EntryId>,
    /// When something is due of an element: the end of its time, or a repetition.
    due: BTreeSet<(Timestamp, EntryId)>,
    /// Sources were stopped: what is in flight is in the savepoint.
    is_stopped: bool,
}

impl AsyncWaitOperator {
    /// Of one subtask, whose task `waker` wakes.
    pub fn new(
        spec: AsyncSpec,
        function: Box<dyn AsyncFunction>,
        client: Option<Arc<dyn RequestClient>>,
        waker: Arc<Waker>,
    ) -> Self {
        Self {
            queue: StreamElementQueue::new(spec.order),
            spec,
            function,
            client,
            completions: Completions::new(waker),
            waiting: VecDeque::new(),
            due: BTreeSet::new(),
            is_stopped: false,
        }
    }

    /// The element's time begins, and it is given to the function, or goes on where a checkpoint left it.
    fn start(&mut self, id: EntryId, context: &mut OperatorContext) -> Result<(), TaskError> {
        let timeout_ms = self.spec.timeout_ms;
        let Some(entry) = self.queue.get_mut(id) else {
            return Ok(());
        };
        if timeout_ms > 0 {
            let at = context.processing_time.saturating_add(timeout_ms);
            entry.timeout_at = Some(at);
            self.due.insert((at, id));
        }
        match entry.step {
            Step::Invoke => self.invoke(id, context),
            Step::Requests(_) => self.request(id, context),
            Step::Done => {
                self.complete(id);
                Ok(())
            }
        }
    }

    fn invoke(&mut self, id: EntryId, context: &mut OperatorContext) -> Result<(), TaskError> {
        match self.queue.get_mut(id).map(|entry| entry.element()) {
            Some(row) => self.call(id, &row, context),
            None => Ok(()),
        }
    }

    /// Gives the function the element with its answers.
    fn answer(&mut self, id: EntryId, context: &mut OperatorContext) -> Result<(), TaskError> {
        match self.queue.get_mut(id).map(|entry| entry.row(KIND_COMPLETION)) {
            Some(row) => self.call(id, &row, context),
            None => Ok(()),
        }
    }

    fn call(&mut self, id: EntryId, row: &Batch, context: &mut OperatorContext) -> Result<(), TaskError> {
        let called = self.function.call(row, context)?;
        let Some(entry) = self.queue.get_mut(id) else {
            return Ok(());
        };
        match called {
            Called::Answered { emitted, requests } => {
                entry.results.extend(emitted);
                if requests.is_empty() {
                    self.complete(id);
                    return Ok(());
                }
                entry.step = Step::Requests(requests.into_iter().map(Slot::new).collect());
                self.request(id, context)
            }
            Called::Retry(error) => {
                // The function did not like the answers: the same requests again.
                if let Step::Requests(slots) = &mut entry.step {
                    slots.iter_mut().for_each(|slot| slot.state = SlotState::Open);
                }
                match self.repeat_later(id, context) {
                    true => Ok(()),
                    false => Err(error),
                }
            }
        }
    }

    /// Makes the requests of an element that are open.
    fn request(&mut self, id: EntryId, context: &mut OperatorContext) -> Result<(), TaskError> {
        let Some(entry) = self.queue.get_mut(id) else {
            return Ok(());
        };
        let Step::Requests(slots) = &mut entry.step else {
            return Ok(());
        };
        entry.round += 1;
        let mut any = false;
        for (place, slot) in slots.iter_mut().enumerate() {
            if !matches!(slot.state, SlotState::Open) {
                continue;
            }
            let client = self.client.as_ref().ok_or_else(without_grant)?;
            let answer = self.completions.answer(id, entry.round, place);
            let Request { request, .. } = &slot.request;
            let under_way = client.perform(request.clone(), answer);
            slot.state = SlotState::UnderWay { _request: under_way };
            any = true;
        }
        match any {
            true => Ok(()),
            // A checkpoint came between the last answer and the call about it.
            false => self.answer(id, context),
        }
    }

    /// Plans a repetition; false: there may be none any more.
    fn repeat_later(&mut self, id: EntryId, context: &OperatorContext) -> bool {
        let Some(entry) = self.queue.get_mut(id) else {
            return false;
        };
        let retry = self.spec.retry.as_ref();
        let Some(pause) = retry.and_then(|retry| retry.pause_ms(entry.repetitions + 1)) else {
            return false;
        };
        let at = context.processing_time.saturating_add(pause);
        entry.repetitions += 1;
        entry.retry_at = Some(at);
        self.due.insert((at, id));
        true
    }

    fn complete(&mut self, id: EntryId) {
        if let Some(entry) = self.queue.get_mut(id) {
            let times = [entry.timeout_at.take(), entry.retry_at.take()];
            entry.step = Step::Done;
            for at in times.into_iter().flatten() {
                self.due.remove(&(at, id));
            }
            self.queue.complete(id);
        }
    }

    fn on_completion(
        &mut self,
        completion: Completion,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        let Completion {
            entry: id,
            round,
            place,
            response,
        } = completion;
        let repeats = self.is_repeated(response.outcome);
        let Some(entry) = self.queue.get_mut(id).filter(|entry| entry.round == round) else {
            return Ok(());
        };
        let may_repeat = repeats
            && self
                .spec
                .retry
                .as_ref()
                .is_some_and(|retry| entry.repetitions < retry.attempts);
        let Step::Requests(slots) = &mut entry.step else {
            return Ok(());
        };
        let Some(slot) = slots.get_mut(place) else {
            return Ok(());
        };
        slot.state = match may_repeat {
            true => SlotState::Open,
            false => SlotState::Answered(response.bytes),
        };
        let is_open = |slot: &Slot| matches!(slot.state, SlotState::Open);
        if slots
            .iter()
            .any(|slot| matches!(slot.state, SlotState::UnderWay { .. }))
        {
            return Ok(());
        }
        match slots.iter().any(is_open) {
            true => {
                self.repeat_later(id, context);
                Ok(())
            }
            false => self.answer(id, context),
        }
    }

    fn is_repeated(&self, outcome: Outcome) -> bool {
        let retry = self.spec.retry.as_ref();
        retry.is_some_and(|retry| match outcome {
            Outcome::Status(status) => retry.on_status.contains(&status),
            Outcome::Failed => retry.on_failure,
            Outcome::Refused => false,
        })
    }

    /// The element's time is over: the function says what becomes of it.
    fn time_out(&mut self, id: EntryId, context: &mut OperatorContext) -> Result<(), TaskError> {
        let Some(entry) = self.queue.get_mut(id) else {
            return Ok(());
        };
        let row = entry.row(KIND_TIMEOUT);
        match self.function.call(&row, context)? {
            Called::Answered { emitted, requests } if requests.is_empty() => {
                // What came of earlier answers goes as well. Requests under way are given up.
                if let Some(entry) = self.queue.get_mut(id) {
                    entry.results.extend(emitted);
                }
                self.complete(id);
                Ok(())
            }
            Called::Answered { .. } => Err(TaskError::new(
                crate::error::Fault::Plugin,
                "the function makes a request when the time of an element is over: it may only emit results then, or fail",
            )),
            Called::Retry(error) => Err(error),
        }
    }

    /// Starts elements of a checkpoint while there is room.
    fn start_waiting(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        while self.queue.len() - self.waiting.len() < self.spec.capacity as usize {
            let Some(id) = self.waiting.pop_front() else { break };
            self.start(id, context)?;
        }
        Ok(())
    }

    /// Emits what is done and has its turn, up to some bytes.
    fn emit(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            match self.queue.pop() {
                Some(Ready::Element(_, entry)) => {
                    for (port, batch) in entry.results {
                        bytes += batch.bytes().len();
                        out.emit(port, batch);
                    }
                }
                Some(Ready::Signal(signal)) => out.signal(signal),
                None => break,
            }
        }
        self.start_waiting(context)
    }
}

fn without_grant() -> TaskError {
    TaskError::new(
        crate::error::Fault::Plugin,
        "the function makes a request and declares no grant: add \"http\" to its `grants` in `describe`",
    )
}

fn corrupt(error: &str) -> TaskError {
    TaskError::host(format!(
        "an element in flight of the checkpoint cannot be read: {error}"
    ))
    .for_good()
}

impl Operator for AsyncWaitOperator {
    fn open(
        &mut self,
        context: &mut OperatorContext,
        restored: Option<OperatorState>,
    ) -> Result<(), TaskError> {
        self.function.open(context)?;
        let lists = restored.map(|state| state.lists).unwrap_or_default();
        for list in lists.iter().filter(|list| list.name == STATE_NAME) {
            for element in &list.elements {
                let entry = Entry::decode(&element.0).map_err(|error| corrupt(&error))?;
                let id = self.queue.put(entry);
                self.waiting.push_back(id);
            }
        }
        self.start_waiting(context)
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut taken = 0;
        for row in batch {
            if self.is_full() {
                break;
            }
            let id = self.queue.put(Entry::new(row));
            self.start(id, context)?;
            taken += 1;
        }
        self.emit(context, out)?;
        Ok(taken)
    }

    fn is_full(&self) -> bool {
        !self.waiting.is_empty() || self.queue.len() >= self.spec.capacity as usize
    }

    fn delay_signal(&mut self, signal: TimeSignal) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        self.queue.put_signal(signal);
        true
    }

    fn has_ready(&self) -> bool {
        !self.completions.is_empty() || self.queue.has_ready()
    }

    fn on_ready(&mut self, context: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        for _ in 0..ANSWERS_PER_STEP {
            let Some(completion) = self.completions.take() else {
                break;
            };
            self.on_completion(completion, context)?;
        }
        self.emit(context, out)
    }

    fn is_drained(&self) -> bool {
        self.is_stopped || self.queue.is_empty()
    }

    /// Where sources were stopped event time has not come to its end: the savepoint holds what is in flight.
    fn on_end(&mut self, context: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        self.is_stopped = context.watermark != WATERMARK_END;
        Ok(())
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Emits nothing: there may be no credit.
    fn on_wake(&mut self, context: &mut OperatorContext, _: &mut Output) -> Result<(), TaskError> {
        let now = context.processing_time;
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id));
            let Some(entry) = self.queue.get_mut(id) else {
                continue;
            };
            if entry.timeout_at.is_some_and(|at| at <= now) {
                self.time_out(id, context)?;
            } else if entry.retry_at.take_if(|at| *at <= now).is_some() {
                match entry.step {
                    Step::Invoke => self.invoke(id, context)?,
                    _ => self.request(id, context)?,
                }
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, _: &Barrier, _: &mut OperatorContext) -> Result<OperatorSnapshot, TaskError> {
        let elements = self.queue.elements();
        let list = OperatorList {
            name: STATE_NAME.to_owned(),
            mode: OperatorStateMode::List,
            elements: elements.map(|entry| Base64Bytes(entry.encode())).collect(),
        };
        Ok(OperatorSnapshot {
            state: OperatorState {
                lists: vec![list],
                ..OperatorState::default()
            },
            keyed: None,
        })
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.function.close(context)
    }
}
