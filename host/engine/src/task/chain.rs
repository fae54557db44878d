//! The operators of one subtask and the edges out of it: results are pushed through with no copy.
//!
//! Invariant: what an operator emits is with its edges at once, and goes before everything else that is pending
//! to the operators chained to it, so order is kept and results under way are those of a few calls. Watermarks
//! and idleness go from operator to operator with the records: each has a clock of its own.
//!
//! Longer than 500 lines: the order of what is pending is one decision, and is read as one.

use std::collections::VecDeque;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_checkpoint::in_flight::EdgeName;
use wasmill_model::batch::Batch;
use wasmill_model::element::{StreamElement, Tick};
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::time::{TimeSignal, Timestamp, WATERMARK_END};
use wasmill_state::timers::TimeDomain;

use crate::error::TaskError;
use crate::exchange::{Edge, Sent};
use crate::metrics::add;
use crate::operator::{Operator, OperatorContext};
use crate::output::{Emitted, Output};

/// Timers that one call of an operator gets at most.
pub(crate) const TIMERS_PER_CALL: usize = 256;

/// One operator of a chain, where its results go, and what it was restored with.
pub(crate) struct Node {
    pub(crate) uid: OperatorUid,
    /// Its place among the vertex's operators: names its files.
    pub(crate) place: usize,
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) context: OperatorContext,
    /// By output port; a port that is not there goes nowhere.
    pub(crate) routes: Vec<Vec<Route>>,
    /// Taken by `open`.
    pub(crate) restored: Option<OperatorState>,
    output: Output,
}

/// Where a port's results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To a later operator of the chain.
    Chained {
        /// Its index.
        node: usize,
        /// Its input port.
        port: u16,
    },
    /// Out of the task.
    Edge(usize),
}

impl Node {
    pub(crate) fn new(
        place: usize,
        operator: Box<dyn Operator>,
        context: OperatorContext,
        routes: Vec<Vec<Route>>,
        restored: Option<OperatorState>,
    ) -> Self {
        Self {
            uid: context.runtime.operator.clone(),
            place,
            operator,
            context,
            routes,
            restored,
            output: Output::default(),
        }
    }

    fn named(&self, mut error: TaskError) -> TaskError {
        error.operator.get_or_insert_with(|| self.uid.clone());
        error
    }
}

/// What an operator is to be given, in order.
enum Pending {
    Rows { node: usize, port: u16, batch: Batch },
    Signal { node: usize, signal: TimeSignal },
}

/// Before or after what is pending already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It comes of the item that is being worked on.
    Front,
    /// It comes of something else, after all that was emitted before.
    Back,
}

/// The operators of a subtask in topological order, and its edges.
pub(crate) struct Chain {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    /// What a checkpoint calls them: the operator that they lead from, and the name.
    pub(super) edge_names: Vec<(OperatorUid, EdgeName)>,
    /// Where the records of a source go; empty without one.
    pub(crate) entry: Vec<Route>,
    pending: VecDeque<Pending>,
    /// Of one call, before it has its place in `pending`.
    fresh: Vec<Pending>,
    pub(super) now: Timestamp,
    /// The operators' processing time, where the input drives it.
    driven: Option<Timestamp>,
    /// Since when there is no credit, and how long there was none before.
    blocked_since: Option<Timestamp>,
    blocked_ms: i64,
}

impl Chain {
    pub(crate) fn new(nodes: Vec<Node>, edges: Vec<Edge>, entry: Vec<Route>) -> Self {
        Self {
            nodes,
            edges,
            edge_names: Vec::new(),
            entry,
            pending: VecDeque::new(),
            fresh: Vec::new(),
            now: Timestamp::MIN,
            driven: None,
            blocked_since: None,
            blocked_ms: 0,
        }
    }

    /// What a checkpoint calls the edges, in their order.
    pub(crate) fn with_edge_names(self, edge_names: Vec<(OperatorUid, EdgeName)>) -> Self {
        Self { edge_names, ..self }
    }

    /// Opens all operators, in order.
    pub(crate) fn open(&mut self) -> Result<(), TaskError> {
        self.each(|node| {
            let restored = node.restored.take();
            node.operator.open(&mut node.context, restored)
        })
    }

    /// The operators' processing time is the one of ticks from now on; it starts at 0.
    pub(crate) fn drive(&mut self) {
        self.driven = Some(0);
    }

    /// The operators' processing time is the machine's again.
    pub(crate) fn stop_driving(&mut self) {
        self.driven = None;
    }

    /// Whether the operators' processing time moves by ticks alone.
    pub(crate) fn is_driven(&self) -> bool {
        self.driven.is_some()
    }

    /// The machine's time of everything that happens until it is set again.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.set_processing_time();
    }

    fn set_processing_time(&mut self) {
        let time = self.driven.unwrap_or(self.now);
        for node in &mut self.nodes {
            node.context.processing_time = time;
        }
    }

    /// A step of the input that drives the job begins.
    pub(crate) fn on_tick(&mut self, tick: Tick) -> Result<(), TaskError> {
        if let Some(driven) = &mut self.driven {
            *driven = tick.processing_time;
            self.set_processing_time();
        }
        self.each(|node| node.operator.on_tick(tick, &mut node.context))
    }

    /// For how long there was no credit so far.
    pub(crate) fn backpressured_ms(&self) -> i64 {
        let now = self
            .blocked_since
            .map_or(0, |since| self.now.saturating_sub(since));
        self.blocked_ms + now
    }

    /// Gives the first operator rows that came from a channel, once, and returns how many it took.
    pub(crate) fn process(&mut self, port: u16, batch: &Batch) -> Result<u32, TaskError> {
        let taken = self.call(0, port, batch)?;
        self.deliver(0, Place::Front)?;
        self.work_on()?;
        Ok(taken)
    }

    /// Takes what a source emits.
    pub(crate) fn enter(&mut self, emitted: Emitted) -> Result<(), TaskError> {
        for index in 0..self.entry.len() {
            let route = self.entry[index];
            match &emitted {
                Emitted::Rows { batch, .. } => self.route_rows(route, batch.clone())?,
                Emitted::Signal(signal) => self.route_signal(route, *signal),
            }
        }
        self.place_fresh(Place::Back);
        self.work_on()
    }

    /// Takes what the channels say of event time.
    pub(crate) fn on_signal(&mut self, signal: TimeSignal) -> Result<(), TaskError> {
        self.pending.push_back(Pending::Signal { node: 0, signal });
        self.work_on()
    }

    /// Whether operators have not been given all yet.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives operators what is pending, until all is done, one is full, or timers have fired: those may emit much, so that
    /// the caller has to look at the credits first.
    pub(crate) fn work_on(&mut self) -> Result<(), TaskError> {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Rows { node, .. } if self.is_full(node) => {
                    self.pending.push_front(pending);
                    return Ok(());
                }
                Pending::Rows { node, port, batch } => {
                    let taken = self.call(node, port, &batch)?;
                    if taken < batch.rows() {
                        let batch = batch.skip(taken);
                        self.pending.push_front(Pending::Rows { node, port, batch });
                    }
                    self.deliver(node, Place::Front)?;
                }
                Pending::Signal { node, signal } => {
                    if self.signal(node, signal)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// An operator's clock moves, its timers fire, it is told, and what follows it hears of it. True where timers
    /// have fired: the signal is pending again then.
    fn signal(&mut self, index: usize, signal: TimeSignal) -> Result<bool, TaskError> {
        let node = &mut self.nodes[index];
        let makes_own = node.operator.makes_watermarks();
        if makes_own && signal != TimeSignal::Watermark(WATERMARK_END) {
            return Ok(false);
        }
        if matches!(signal, TimeSignal::Idle | TimeSignal::Active) {
            let is_idle = signal == TimeSignal::Idle;
            node.operator
                .on_status(is_idle, &mut node.context)
                .map_err(|error| node.named(error))?;
        }
        if let TimeSignal::Watermark(to) = signal {
            node.context.watermark = node.context.watermark.max(to);
            if self.fire_due(index, TimeDomain::Event)? {
                self.pending.push_front(Pending::Signal { node: index, signal });
                self.deliver(index, Place::Front)?;
                return Ok(true);
            }
            let node = &mut self.nodes[index];
            node.operator
                .on_watermark(&mut node.context, &mut node.output)
                .map_err(|error| node.named(error))?;
        }
        let node = &mut self.nodes[index];
        if !makes_own && !node.operator.delay_signal(signal) {
            node.output.signal(signal);
        }
        self.deliver(index, Place::Front)?;
        Ok(false)
    }

    /// Fires processing-time timers of an operator that are due, at most [`TIMERS_PER_CALL`]; false where none
    /// was due.
    pub(crate) fn fire_processing(&mut self, index: usize) -> Result<bool, TaskError> {
        let fired = self.fire_due(index, TimeDomain::Processing)?;
        if fired {
            self.deliver(index, Place::Back)?;
            self.work_on()?;
        }
        Ok(fired)
    }

    fn fire_due(&mut self, index: usize, domain: TimeDomain) -> Result<bool, TaskError> {
        let node = &mut self.nodes[index];
        let clock = match domain {
            TimeDomain::Event => node.context.watermark,
            TimeDomain::Processing => node.context.processing_time,
        };
        if node.context.timers.next(domain).is_none_or(|first| first > clock) {
            return Ok(false);
        }
        let due = node.context.timers.take_due(domain, clock, TIMERS_PER_CALL);
        let fired = node
            .operator
            .on_timers(domain, &due, &mut node.context, &mut node.output)
            .map_err(|error| node.named(error))?;
        if fired == 0 || fired as usize > due.len() {
            let message = format!(
                "the operator took {fired} of {} timers: a fault of the host",
                due.len()
            );
            return Err(node.named(TaskError::host(message)));
        }
        // IMPORTANT: timers that were not consumed go back, to be ordered anew with those just registered.
        node.context
            .timers
            .put_back(domain, due.into_iter().skip(fired as usize));
        Ok(true)
    }

    /// At the end of input: an operator emits what is left.
    pub(crate) fn on_end(&mut self, index: usize) -> Result<(), TaskError> {
        let node = &mut self.nodes[index];
        node.operator
            .on_end(&mut node.context, &mut node.output)
            .map_err(|error| node.named(error))?;
        self.deliver(index, Place::Back)?;
        self.work_on()
    }

    /// Steps operators whose [`Operator::wake_at`] has come; false where there was none.
    pub(crate) fn wake(&mut self) -> Result<bool, TaskError> {
        let mut any = false;
        // A clock that the input drives does not run on while there is no credit.
        let backpressured_ms = if self.is_driven() {
            0
        } else {
            self.backpressured_ms()
        };
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let now = node.context.processing_time;
            if node.operator.wake_at().is_some_and(|at| at <= now) {
                any = true;
                node.operator.on_backpressured(backpressured_ms);
                node.operator
                    .on_wake(&mut node.context, &mut node.output)
                    .map_err(|error| node.named(error))?;
                self.deliver(index, Place::Back)?;
            }
        }
        Ok(any)
    }

    /// Whether an operator takes no row now; a chain without operators takes all.
    pub(crate) fn is_full(&self, index: usize) -> bool {
        self.nodes.get(index).is_some_and(|node| node.operator.is_full())
    }

    /// Whether what is pending waits for an operator that is full.
    pub(crate) fn is_stalled(&self) -> bool {
        matches!(self.pending.front(), Some(Pending::Rows { node, .. }) if self.is_full(*node))
    }

    /// Takes what has come to operators from outside the dataflow; false where there was nothing. What they emit
    /// comes of what they took long ago, so it goes before what they are to be given, and not before what they emitted.
    pub(crate) fn take_ready(&mut self) -> Result<bool, TaskError> {
        let mut any = false;
        for index in 0..self.nodes.len() {
            let is_behind = |pending: &Pending| match pending {
                Pending::Rows { node, .. } | Pending::Signal { node, .. } => *node <= index,
            };
            let node = &mut self.nodes[index];
            if node.operator.has_ready() && self.pending.iter().all(is_behind) {
                any = true;
                node.operator
                    .on_ready(&mut node.context, &mut node.output)
                    .map_err(|error| node.named(error))?;
                self.deliver(index, Place::Front)?;
            }
        }
        Ok(any)
    }

    /// The chain waits for an operator that is full, or does not any more; that counts as want of credit.
    pub(crate) fn note_stalled(&mut self, is_stalled: bool) {
        match (is_stalled, self.blocked_since) {
            (true, None) => self.blocked_since = Some(self.now),
            (false, Some(since)) => {
                self.blocked_ms += self.now.saturating_sub(since);
                self.blocked_since = None;
            }
            _ => {}
        }
    }

    /// Sends an item that is no batch on every edge.
    pub(crate) fn control(&mut self, item: &StreamElement) {
        for edge in &mut self.edges {
            edge.control(item);
        }
    }

    /// Gives an operator records that were on their way to it; false where it is not in the chain.
    pub(crate) fn give(&mut self, uid: &OperatorUid, port: u16, batch: Batch) -> bool {
        let Some(node) = self.nodes.iter().position(|node| node.uid == *uid) else {
            return false;
        };
        self.pending.push_back(Pending::Rows { node, port, batch });
        true
    }

    /// Whether it is the one that gets what comes in on channels.
    pub(crate) fn is_first(&self, uid: &OperatorUid) -> bool {
        self.entry.is_empty() && self.nodes.first().is_some_and(|node| node.uid == *uid)
    }

    /// Sends what has waited for its buffer timeout, and what has waited for credit. False where
    /// something still waits for credit.
    pub(crate) fn drain(&mut self) -> bool {
        let mut clear = true;
        for edge in &mut self.edges {
            if edge.flush_at().is_some_and(|at| at <= self.now) {
                edge.flush();
            }
            clear &= edge.drain();
        }
        if !clear {
            self.note_stalled(true);
        }
        clear
    }

    /// What all edges were given so far.
    pub(crate) fn sent(&self) -> Sent {
        let sent = self.edges.iter().map(Edge::sent);
        sent.fold(Sent::default(), |sum, edge| Sent {
            records: sum.records + edge.records,
            bytes: sum.bytes + edge.bytes,
        })
    }

    /// The next processing-time timer.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let timers = self
            .nodes
            .iter()
            .map(|n| n.context.timers.next(TimeDomain::Processing));
        timers.flatten().min()
    }

    /// When the next operator wants to be woken.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.nodes.iter().filter_map(|n| n.operator.wake_at()).min()
    }

    /// When the next batch must go out although it is not full.
    pub(crate) fn next_flush(&self) -> Option<Timestamp> {
        self.edges.iter().filter_map(Edge::flush_at).min()
    }

    /// Tells all operators of a completed checkpoint.
    pub(crate) fn on_checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        self.each(|node| {
            node.operator
                .on_checkpoint_complete(checkpoint, &mut node.context)
        })
    }

    /// Whether no operator has something to do before it may be closed.
    pub(crate) fn is_settled(&self) -> bool {
        self.nodes.iter().all(|node| node.operator.is_settled())
    }

    /// Tries once more what operators have to do before they may be closed.
    pub(crate) fn settle(&mut self) -> Result<(), TaskError> {
        self.each(|node| node.operator.settle(&mut node.context))
    }

    /// Closes all operators, in order; the first failure is reported, the rest are closed all the same.
    pub(crate) fn close(&mut self) -> Result<(), TaskError> {
        let mut result = Ok(());
        for node in &mut self.nodes {
            let closed = node.operator.close(&mut node.context);
            result = result.and(closed.map_err(|error| node.named(error)));
        }
        result
    }

    /// Calls something on every operator, in order, and names the one that fails.
    pub(crate) fn each(
        &mut self,
        mut call: impl FnMut(&mut Node) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        self.nodes
            .iter_mut()
            .try_for_each(|node| call(node).map_err(|error| node.named(error)))
    }

    fn call(&mut self, index: usize, port: u16, batch: &Batch) -> Result<u32, TaskError> {
        let node = &mut self.nodes[index];
        let taken = node
            .operator
            .process(port, batch, &mut node.context, &mut node.output)
            .map_err(|error| node.named(error))?;
        if taken == 0 || taken > batch.rows() {
            let message = format!(
                "the operator took {taken} of {} rows: a fault of the host",
                batch.rows()
            );
            return Err(node.named(TaskError::host(message)));
        }
        add(&node.context.metrics.records_in, u64::from(taken));
        Ok(taken)
    }

    /// Hands an operator's results to their edges, and puts them before what is chained to it.
    fn deliver(&mut self, index: usize, place: Place) -> Result<(), TaskError> {
        if self.nodes[index].output.is_empty() {
            return Ok(());
        }
        let mut output = std::mem::take(&mut self.nodes[index].output);
        let routes = std::mem::take(&mut self.nodes[index].routes);
        for emitted in output.drain_all() {
            match emitted {
                Emitted::Rows { port, batch } => {
                    let rows = u64::from(batch.rows());
                    add(&self.nodes[index].context.metrics.records_out, rows);
                    for route in routes.get(usize::from(port)).into_iter().flatten() {
                        self.route_rows(*route, batch.clone())?;
                    }
                }
                Emitted::Signal(signal) => {
                    for (port, routes_of_port) in routes.iter().enumerate() {
                        let before = || routes[..port].iter().flatten();
                        // An operator that reads several outputs hears of it once.
                        let is_new =
                            |route: &&Route| before().all(|other| !are_to_one_operator(**route, *other));
                        for route in routes_of_port.iter().filter(is_new) {
                            self.route_signal(*route, signal);
                        }
                    }
                }
            }
        }
        // Their memory is used again.
        self.nodes[index].output = output;
        self.nodes[index].routes = routes;
        self.place_fresh(place);
        Ok(())
    }

    fn route_rows(&mut self, route: Route, batch: Batch) -> Result<(), TaskError> {
        match route {
            Route::Edge(edge) => self.edges[edge].push(batch, self.now),
            Route::Chained { node, port } => {
                self.fresh.push(Pending::Rows { node, port, batch });
                Ok(())
            }
        }
    }

    fn route_signal(&mut self, route: Route, signal: TimeSignal) {
        match route {
            Route::Edge(edge) => self.edges[edge].control(&signal.into()),
            Route::Chained { node, .. } => self.fresh.push(Pending::Signal { node, signal }),
        }
    }

    fn place_fresh(&mut self, place: Place) {
        match place {
            Place::Back => self.pending.extend(self.fresh.drain(..)),
            Place::Front => {
                while let Some(last) = self.fresh.pop() {
                    self.pending.push_front(last);
                }
            }
        }
    }
}

fn are_to_one_operator(a: Route, b: Route) -> bool {
    match (a, b) {
        (Route::Chained { node: a, .. }, Route::Chained { node: b, .. }) => a == b,
        _ => false,
    }
}
