//! The operators of one subtask and the edges out of it: results are pushed through with no copy.
//!
//! Invariant: what an operator emits is with its consumers before the operator is called again, so order
//! is kept and at most one call's results are under way.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::Batch;
use wasmill_model::element::StreamElement;
use wasmill_model::id::{CheckpointId, OperatorUid};
use wasmill_model::time::{Timestamp, WATERMARK_END};
use wasmill_state::timers::TimeDomain;

use crate::error::TaskError;
use crate::exchange::{Edge, Sent};
use crate::metrics::add;
use crate::operator::{Operator, OperatorContext};
use crate::output::Output;

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

/// The operators of a subtask in topological order, and its edges.
pub(crate) struct Chain {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    /// Where the records of a source go; empty without one.
    pub(crate) entry: Vec<Route>,
    now: Timestamp,
}

impl Chain {
    pub(crate) fn new(nodes: Vec<Node>, edges: Vec<Edge>, entry: Vec<Route>) -> Self {
        Self {
            nodes,
            edges,
            entry,
            now: Timestamp::MIN,
        }
    }

    /// Opens all operators, in order.
    pub(crate) fn open(&mut self) -> Result<(), TaskError> {
        self.each(|node| {
            let restored = node.restored.take();
            node.operator.open(&mut node.context, restored)
        })
    }

    /// The processing time of everything that happens until it is set again.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for node in &mut self.nodes {
            node.context.processing_time = self.now;
        }
    }

    /// Gives the first operator rows that came from a channel, once, and returns how many it took. All
    /// results are with their consumers afterwards.
    pub(crate) fn process(&mut self, port: u16, batch: &Batch) -> Result<u32, TaskError> {
        self.call(0, port, batch)
    }

    /// Takes records of the source.
    pub(crate) fn enter(&mut self, batch: Batch) -> Result<(), TaskError> {
        for index in 0..self.entry.len() {
            self.follow(self.entry[index], batch.clone())?;
        }
        Ok(())
    }

    /// Fires timers of an operator that are due, at most [`TIMERS_PER_CALL`]; false where none was due.
    pub(crate) fn fire(&mut self, index: usize, domain: TimeDomain) -> Result<bool, TaskError> {
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
        self.deliver(index)?;
        Ok(true)
    }

    /// Moves an operator's event-time clock, which fires nothing yet.
    pub(crate) fn set_watermark(&mut self, index: usize, watermark: Timestamp) {
        let context = &mut self.nodes[index].context;
        context.watermark = context.watermark.max(watermark);
    }

    /// After its timers: tells an operator of the watermark.
    pub(crate) fn on_watermark(&mut self, index: usize) -> Result<(), TaskError> {
        let node = &mut self.nodes[index];
        node.operator
            .on_watermark(&mut node.context, &mut node.output)
            .map_err(|error| node.named(error))?;
        self.deliver(index)
    }

    /// After the final watermark: an operator emits what is left.
    pub(crate) fn on_end(&mut self, index: usize) -> Result<(), TaskError> {
        let node = &mut self.nodes[index];
        debug_assert_eq!(node.context.watermark, WATERMARK_END);
        node.operator
            .on_end(&mut node.context, &mut node.output)
            .map_err(|error| node.named(error))?;
        self.deliver(index)
    }

    /// Steps operators whose [`Operator::wake_at`] has come; false where there was none.
    pub(crate) fn wake(&mut self) -> Result<bool, TaskError> {
        let mut any = false;
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            if node.operator.wake_at().is_some_and(|at| at <= self.now) {
                any = true;
                node.operator
                    .on_wake(&mut node.context, &mut node.output)
                    .map_err(|error| node.named(error))?;
                self.deliver(index)?;
            }
        }
        Ok(any)
    }

    /// Sends an item that is no batch on every edge.
    pub(crate) fn control(&mut self, item: &StreamElement) {
        for edge in &mut self.edges {
            edge.control(item);
        }
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
        self.deliver(index)?;
        Ok(taken)
    }

    /// Hands an operator's results to their consumers.
    fn deliver(&mut self, index: usize) -> Result<(), TaskError> {
        if self.nodes[index].output.is_empty() {
            return Ok(());
        }
        let mut output = std::mem::take(&mut self.nodes[index].output);
        for (port, batch) in output.drain() {
            add(
                &self.nodes[index].context.metrics.records_out,
                u64::from(batch.rows()),
            );
            let routes = self.nodes[index]
                .routes
                .get(usize::from(port))
                .map_or(0, Vec::len);
            for route in 0..routes {
                let route = self.nodes[index].routes[usize::from(port)][route];
                self.follow(route, batch.clone())?;
            }
        }
        // Its memory is used again.
        self.nodes[index].output = output;
        Ok(())
    }

    fn follow(&mut self, route: Route, mut batch: Batch) -> Result<(), TaskError> {
        match route {
            Route::Edge(edge) => self.edges[edge].push(batch, self.now),
            Route::Chained { node, port } => {
                while !batch.is_empty() {
                    let taken = self.call(node, port, &batch)?;
                    if taken == batch.rows() {
                        break;
                    }
                    batch = batch.skip(taken);
                }
                Ok(())
            }
        }
    }
}
