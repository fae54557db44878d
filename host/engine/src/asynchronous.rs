//! Async I/O (G14): an operator whose function makes requests and gets the answers later.
//!
//! The guest stays synchronous: a call about an element returns results or requests, the host performs those elsewhere,
//! and a later call about the same element brings the answers. Elements wait in a queue until they are done and it is
//! their turn; what is in the queue is in every checkpoint, and is asked for again after a restore.
//!
//! | module | holds |
//! |---|---|
//! | [`queue`] | whose turn it is: ordered, or unordered between watermarks; pure |
//! | `entry` | an element in flight, and how it lies in a checkpoint |
//! | [`operator`] | the operator: calls, requests, time-outs, repetitions |
//! | `completions` | answers on their way from other threads to the task |
//!
//! Invariant: a request is performed outside the task's thread, and no more elements have requests under way than the
//! capacity says.

mod completions;
mod entry;
pub mod operator;
pub mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use wasmill_model::batch::Batch;

use crate::error::TaskError;
use crate::operator::OperatorContext;

/// A component's async function in one subtask.
pub trait AsyncFunction: Send {
    /// Called once, before anything else.
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError>;

    /// One call about one row: an element, the answers to its requests (`KIND_COMPLETION`), or the end of its time
    /// (`KIND_TIMEOUT`).
    fn call(&mut self, row: &Batch, context: &mut OperatorContext) -> Result<Called, TaskError>;

    /// Called once at an orderly end.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError>;
}

/// What a call came to.
#[derive(Debug)]
pub enum Called {
    /// Results, and requests whose answers the element waits for; without requests it is done.
    Answered {
        /// By output port, in order.
        emitted: Vec<(u16, Batch)>,
        /// In the function's own order.
        requests: Vec<Request>,
    },
    /// The function asks for the same again later: the error of the task where it may not.
    Retry(TaskError),
}

/// What a function asks for; the bytes are between it and the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As `docs/frame.md` says.
    pub request: Bytes,
    /// Comes back with the answer.
    pub continuation: Bytes,
}

/// The answer to a request: also where none came, which the bytes say then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// For the function.
    pub bytes: Bytes,
    /// For the retry strategy.
    pub outcome: Outcome,
}

/// What a retry strategy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is an answer, with that status.
    Status(u16),
    /// No answer came; it may the next time.
    Failed,
    /// The host does not perform such a request, now or later.
    Refused,
}

/// Takes the answer to one request, from any thread.
pub type Answer = Box<dyn FnOnce(Response) + Send>;

/// Performs requests of one operator.
pub trait RequestClient: Send + Sync {
    /// Performs a request outside the calling thread and gives the answer once. Must not block. The answer of a request
    /// that was given up does not matter any more.
    fn perform(&self, request: Bytes, answer: Answer) -> UnderWay;
}

/// Makes the clients of operators.
pub trait RequestClients: Send + Sync {
    /// A client that may do what a job grants; the error names the setting and the mend.
    fn client(&self, grants: &BTreeMap<String, Value>) -> Result<Arc<dyn RequestClient>, String>;
}

/// A request under way: dropping it gives it up.
#[derive(Default)]
pub struct UnderWay(Option<Box<dyn FnOnce() + Send>>);

impl UnderWay {
    /// `give_up` is called once, when nobody waits for the answer any more or the answer was taken.
    pub fn new(give_up: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(give_up)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(give_up) = self.0.take() {
            give_up();
        }
    }
}
