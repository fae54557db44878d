//! The interval join: Flink's `IntervalJoinOperator` over batches.
//!
//! An element joins those of the other side whose timestamps are within the bounds of its own, then waits for later
//! ones until the watermark says that none can come. The result has the later of both timestamps. An element before
//! the watermark is late. Distances are exact, also where Flink's sums of times wrap at the ends of `i64`.
//!
//! Invariant: everything lives in keyed state and timers, so that rescaling needs nothing of the operator; and no
//! result depends on where a batch is cut.

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::Barrier;
use wasmill_model::graph::join::IntervalJoinSpec;
use wasmill_model::id::CheckpointId;
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::row::{FLAG_EXTENSION, FLAG_NULL, RowHeader, RowRef};
use wasmill_model::time::{Timestamp, WATERMARK_NONE};
use wasmill_state::backend::{KeyedStateBackend, StateKey};
use wasmill_state::timers::{TimeDomain, Timer, TimerRef};

use super::buffer::{JoinBuffer, RangeCursor};
use super::pair::{EmitPairs, Pair, Side};
use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext, OperatorSnapshot};
use crate::output::Output;
use crate::window::element::Element;

/// Pairs are given on when they have so many bytes.
const PAIRS_BYTES: usize = 256 * 1024;

/// The names of the buffers. A function's own states cannot have them: validation refuses the slash.
const BUFFERS: [&str; 2] = ["interval-join/left", "interval-join/right"];

/// Which pairs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalBounds {
    /// Least distance of right from left, ms.
    pub lower: i64,
    /// Greatest distance.
    pub upper: i64,
}

impl IntervalBounds {
    /// Both included, as the join uses them.
    pub fn of(spec: &IntervalJoinSpec) -> Self {
        let lower = spec.lower_ms.checked_add(i64::from(spec.lower_exclusive));
        let upper = spec.upper_ms.checked_sub(i64::from(spec.upper_exclusive));
        match (lower, upper) {
            (Some(lower), Some(upper)) => Self { lower, upper },
            // Behind the last distance or before the first one there is none: nothing is between these.
            _ => Self {
                lower: i64::MAX,
                upper: i64::MIN,
            },
        }
    }

    /// From when to when an element of one side has partners on the other; `None`: at no time that there is.
    fn partners(self, side: usize, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (at, lower, upper) = (i128::from(at), i128::from(self.lower), i128::from(self.upper));
        let (from, to) = match side {
            LEFT => (at + lower, at + upper),
            _ => (at - upper, at - lower),
        };
        let (from, to) = (from.max(Timestamp::MIN.into()), to.min(Timestamp::MAX.into()));
        // In between, both are times.
        (from <= to).then_some((from as Timestamp, to as Timestamp))
    }

    /// From which watermark on an element can have no further partner.
    fn cleanup_time(self, side: usize, at: Timestamp) -> Timestamp {
        self.partners(side, at).map_or(at, |(_, last)| last.max(at))
    }
}

const LEFT: usize = 0;

/// The interval join of two keyed streams.
pub struct IntervalJoinOperator {
    bounds: IntervalBounds,
    /// The output of late elements of the left side; those of the right one are in the next. `None`: dropped.
    late_port: Option<u16>,
    /// What is given the pairs.
    pairs: Box<dyn Operator>,
    /// From `open` on.
    buffers: Option<[JoinBuffer; 2]>,
}

/// What waits to be emitted.
#[derive(Default)]
struct Pending {
    pairs: BatchBuilder,
    late: BatchBuilder,
    /// The pairs were many: the rest of the batch is for the next step.
    is_large: bool,
}

impl IntervalJoinOperator {
    /// Of a job's graph; `function` is given the pairs, and where there is none they are emitted as JSON.
    pub fn of(spec: &IntervalJoinSpec, function: Option<Box<dyn Operator>>) -> Self {
        let late_port = 1 + spec.own_sides().len() as u16;
        let formats = spec.formats;
        Self {
            bounds: IntervalBounds::of(spec),
            late_port: spec.late_outputs.then_some(late_port),
            pairs: function.unwrap_or_else(|| Box::new(EmitPairs { formats })),
            buffers: None,
        }
    }

    fn join(
        &mut self,
        side: usize,
        row: RowRef<'_>,
        pending: &mut Pending,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        let Some(at) = row.timestamp() else {
            return Err(TaskError::user(
                "an interval join needs timestamps, and a record has none: put `watermarks` on its source or an \
                 `assign-timestamps` before the join",
            ));
        };
        let element = Element::of(row);
        if context.watermark != WATERMARK_NONE && at < context.watermark {
            if let Some(port) = self.late_port {
                // Only what comes of a tape promises an order between outputs.
                if !row.cause().is_empty() {
                    self.give_on(pending, context, out)?;
                }
                push_late(&mut pending.late, &element);
                out.emit(port + side as u16, pending.late.finish());
            }
            return Ok(());
        }
        let key = row
            .key()
            .ok_or_else(|| TaskError::host("an interval join: a record without a key"))?;
        let key = StateKey {
            group: KeyGroup(row.group_field() as u16),
            hash: row.key_field(),
            key,
            namespace: &[],
            map_key: &[],
        };
        let buffers = self.buffers.as_mut().ok_or_else(not_open)?;
        buffers[side].add(&mut *context.state, key, at, &element)?;
        self.find_partners(side, row, (key, at), pending, context, out)?;
        let timer = TimerRef {
            timestamp: self.bounds.cleanup_time(side, at),
            group: key.group,
            key: key.key,
            namespace: &namespace(side, at)[..],
        };
        context.timers.register(TimeDomain::Event, timer);
        Ok(())
    }

    fn find_partners(
        &mut self,
        side: usize,
        row: RowRef<'_>,
        (key, at): (StateKey<'_>, Timestamp),
        pending: &mut Pending,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        let partners = self.bounds.partners(side, at);
        let value = (!row.is_null()).then(|| row.value());
        let own = Side { timestamp: at, value };
        let mut range = partners.map(|(from, to)| RangeCursor::new(from, to));
        while let Some(cursor) = &mut range {
            let [left, right] = self.buffers.as_mut().ok_or_else(not_open)?;
            let buffer = if side == LEFT { right } else { left };
            let pairs = &mut pending.pairs;
            let is_more = buffer.read_on(&mut *context.state, key, cursor, &mut |timestamp, partner| {
                let other = Side {
                    timestamp,
                    value: (!partner.is_null).then_some(partner.value),
                };
                let (left, right) = if side == LEFT { (own, other) } else { (other, own) };
                Pair { left, right }.push(pairs, key, row.cause());
            })?;
            if pending.pairs.len() >= PAIRS_BYTES {
                self.give_on(pending, context, out)?;
            }
            if !is_more {
                range = None;
            }
        }
        Ok(())
    }

    /// Gives the pairs to what makes something of them.
    fn give_on(
        &mut self,
        pending: &mut Pending,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<(), TaskError> {
        let mut rest = pending.pairs.finish();
        pending.is_large |= rest.bytes().len() >= PAIRS_BYTES;
        while !rest.is_empty() {
            let taken = self.pairs.process(0, &rest, context, out)?;
            if taken == 0 {
                return Err(TaskError::host("an interval join: no pair was taken"));
            }
            rest = rest.skip(taken);
        }
        Ok(())
    }
}

fn push_late(rows: &mut BatchBuilder, element: &Element<'_>) {
    let mut header = RowHeader::element(element.timestamp);
    if element.is_null {
        header.flags |= FLAG_NULL;
    }
    if !element.extension.is_empty() {
        header.flags |= FLAG_EXTENSION;
    }
    rows.push(header, &[], element.value, element.extension);
}

fn not_open() -> TaskError {
    TaskError::host("an interval join: not opened")
}

/// Of the timer that removes a bucket: side and timestamp.
// IMPORTANT: part of the checkpoint format.
fn namespace(side: usize, at: Timestamp) -> [u8; 9] {
    let mut bytes = [side as u8; 9];
    bytes[1..].copy_from_slice(&((at as u64) ^ (1 << 63)).to_be_bytes());
    bytes
}

fn parse_namespace(bytes: &[u8]) -> Option<(usize, Timestamp)> {
    let (side, time) = bytes.split_first()?;
    let time = u64::from_be_bytes(time.try_into().ok()?) ^ (1 << 63);
    (*side < 2).then_some((usize::from(*side), time as Timestamp))
}

impl Operator for IntervalJoinOperator {
    fn open(
        &mut self,
        context: &mut OperatorContext,
        restored: Option<OperatorState>,
    ) -> Result<(), TaskError> {
        let state: &mut dyn KeyedStateBackend = &mut *context.state;
        self.buffers = Some([
            JoinBuffer::open(BUFFERS[0], state)?,
            JoinBuffer::open(BUFFERS[1], state)?,
        ]);
        self.pairs.open(context, restored)
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let side = usize::from(port.min(1));
        let mut pending = Pending::default();
        let mut taken = 0;
        for row in batch {
            self.join(side, row, &mut pending, context, out)?;
            taken += 1;
            if pending.is_large {
                break;
            }
        }
        self.give_on(&mut pending, context, out)?;
        Ok(taken)
    }

    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        for (index, timer) in timers.iter().enumerate() {
            let Some((side, at)) = parse_namespace(&timer.namespace) else {
                // Not ours: the function's, which answers for it.
                return match index {
                    0 => self.pairs.on_timers(domain, &timers[..1], context, out),
                    _ => Ok(index as u32),
                };
            };
            let key = StateKey {
                group: timer.group,
                hash: key::hash(&timer.key) as u32,
                key: &timer.key,
                namespace: &[],
                map_key: &[],
            };
            let buffers = self.buffers.as_mut().ok_or_else(not_open)?;
            buffers[side].remove(&mut *context.state, key, at)?;
        }
        Ok(timers.len() as u32)
    }

    fn snapshot(
        &mut self,
        barrier: &Barrier,
        context: &mut OperatorContext,
    ) -> Result<OperatorSnapshot, TaskError> {
        self.pairs.snapshot(barrier, context)
    }

    fn on_checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        self.pairs.on_checkpoint_complete(checkpoint, context)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.pairs.close(context)
    }
}
