//! Bounded channels between two subtasks: one sender, one receiver, credits for batches (E7).
//!
//! Invariant: a channel holds at most its credits in batches and [`CONTROL_MAX`] other items, in the order
//! of sending, but for an unaligned barrier, which overtakes what no barrier before it precedes.
//!
//! The receiver's free buffers are the sender's credits: taking a batch out grants one. A batch needs a
//! credit; other items need none but keep their place. Nothing here costs per record.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, StreamElement};
use wasmill_model::id::CheckpointId;

use crate::executor::Waker;
use crate::lock::lock;

/// Batches that one channel may hold.
pub(crate) const CREDITS: u32 = 8;

/// Watermarks, barriers and the like that one channel may hold.
pub(crate) const CONTROL_MAX: u32 = 64;

/// Makes a channel. `sender` is woken when credit comes back, `receiver` when there is something to read.
pub(crate) fn channel(credits: u32, sender: Arc<Waker>, receiver: Arc<Waker>) -> (Sender, Receiver) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            items: VecDeque::new(),
            credits,
            control: 0,
            starved: false,
            overtaking: VecDeque::new(),
        }),
        readable: AtomicBool::new(false),
        overtaken: AtomicBool::new(false),
        barriers: AtomicU32::new(0),
        credits_max: credits,
        sender,
        receiver,
    });
    (
        Sender {
            shared: shared.clone(),
        },
        Receiver { shared },
    )
}

struct Shared {
    queue: Mutex<Queue>,
    /// Spares the receiver the lock of an empty channel. Written under the lock.
    readable: AtomicBool,
    /// There is a barrier that has overtaken. Written under the lock.
    overtaken: AtomicBool,
    /// Barriers in the queue. Written under the lock.
    barriers: AtomicU32,
    credits_max: u32,
    sender: Arc<Waker>,
    receiver: Arc<Waker>,
}

struct Queue {
    items: VecDeque<StreamElement>,
    credits: u32,
    control: u32,
    /// The sender was refused and waits for credit.
    starved: bool,
    /// Those of the barriers that have overtaken.
    overtaking: VecDeque<CheckpointId>,
}

/// The sending end.
pub(crate) struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Sends, or gives the item back where there is no room; the sender's task is woken once there is.
    pub(crate) fn try_send(&self, item: StreamElement) -> Result<(), StreamElement> {
        let is_batch = matches!(item, StreamElement::Batch(_));
        let mut queue = lock(&self.shared.queue);
        let room = if is_batch {
            queue.credits > 0
        } else {
            queue.control < CONTROL_MAX
        };
        if !room {
            queue.starved = true;
            return Err(item);
        }
        match &item {
            StreamElement::Batch(_) => queue.credits -= 1,
            StreamElement::Barrier(_) => self.shared.add_barrier(&mut queue),
            _ => queue.control += 1,
        }
        // A receiver that left items in the queue is at work, or waits for something else.
        let was_empty = queue.items.is_empty();
        queue.items.push_back(item);
        if was_empty {
            self.shared.readable.store(true, Ordering::Release);
            drop(queue);
            self.shared.receiver.wake();
        }
        Ok(())
    }
}

impl Sender {
    /// Puts a barrier before everything behind the last barrier, without credit; returns the batches that it overtook,
    /// which stay where they are.
    pub(crate) fn overtake(&self, barrier: Arc<Barrier>) -> Vec<Batch> {
        let mut queue = lock(&self.shared.queue);
        self.shared.add_barrier(&mut queue);
        let end = queue.items.len();
        self.put_in_front(queue, barrier, end)
    }

    /// Lets a barrier that is still on its way overtake; the batches that it overtook, none where it was taken already.
    pub(crate) fn expedite(&self, checkpoint: CheckpointId) -> Vec<Batch> {
        let mut queue = lock(&self.shared.queue);
        let Some(at) = queue
            .items
            .iter()
            .position(|item| is_barrier_of(item, checkpoint))
        else {
            return Vec::new();
        };
        match queue.items.remove(at) {
            Some(StreamElement::Barrier(barrier)) => self.put_in_front(queue, barrier, at),
            _ => Vec::new(),
        }
    }

    /// Puts a barrier before what no barrier precedes among the items before `end`.
    fn put_in_front(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        barrier: Arc<Barrier>,
        end: usize,
    ) -> Vec<Batch> {
        let is_barrier = |item: &StreamElement| matches!(item, StreamElement::Barrier(_));
        let last = queue.items.range(..end).rev().position(is_barrier);
        let at = last.map_or(0, |back| end - back);
        let overtaken = batches(queue.items.range(at..end));
        queue.overtaking.push_back(barrier.checkpoint);
        queue.items.insert(at, StreamElement::Barrier(barrier));
        self.shared.readable.store(true, Ordering::Release);
        self.shared.overtaken.store(true, Ordering::Release);
        drop(queue);
        self.shared.receiver.wake();
        overtaken
    }

    /// Whether a barrier is still on its way.
    pub(crate) fn holds_barrier(&self, checkpoint: CheckpointId) -> bool {
        if self.shared.barriers.load(Ordering::Acquire) == 0 {
            return false;
        }
        let queue = lock(&self.shared.queue);
        queue.items.iter().any(|item| is_barrier_of(item, checkpoint))
    }
}

impl Shared {
    /// One more barrier will be in the queue.
    fn add_barrier(&self, queue: &mut Queue) {
        queue.control += 1;
        self.barriers.fetch_add(1, Ordering::Release);
    }
}

/// Whether it is the barrier of that checkpoint.
pub(crate) fn is_barrier_of(item: &StreamElement, checkpoint: CheckpointId) -> bool {
    matches!(item, StreamElement::Barrier(barrier) if barrier.checkpoint == checkpoint)
}

/// The batches among some items.
pub(crate) fn batches<'a>(items: impl Iterator<Item = &'a StreamElement>) -> Vec<Batch> {
    let batches = items.filter_map(|item| match item {
        StreamElement::Batch(batch) => Some(batch.clone()),
        _ => None,
    });
    batches.collect()
}

/// The receiving end.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
}

impl Receiver {
    /// Takes the next item and grants its credit.
    pub(crate) fn receive(&self) -> Option<StreamElement> {
        if !self.shared.readable.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = lock(&self.shared.queue);
        let item = self.take(&mut queue)?;
        // Waking only at half spares two context switches for every batch of a full channel. It cannot
        // stall: a receiver that stops before half has its reason in another channel.
        let room = queue.credits >= self.shared.credits_max.div_ceil(2) && queue.control <= CONTROL_MAX / 2;
        let starves = queue.starved && room;
        if starves {
            queue.starved = false;
        }
        // The sender of a barrier that may overtake yet waits for its arrival.
        let arrives = matches!(&item, StreamElement::Barrier(barrier) if barrier.overtakes_at.is_some());
        drop(queue);
        if starves || arrives {
            self.shared.sender.wake();
        }
        Some(item)
    }

    /// Takes a barrier that has overtaken all that is there.
    pub(crate) fn receive_overtaking(&self) -> Option<Arc<Barrier>> {
        if !self.shared.overtaken.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = lock(&self.shared.queue);
        match queue.items.front() {
            Some(StreamElement::Barrier(barrier)) if queue.overtaking.contains(&barrier.checkpoint) => {}
            _ => return None,
        }
        let taken = self.take(&mut queue);
        drop(queue);
        // Its sender may wait for its arrival.
        self.shared.sender.wake();
        match taken {
            Some(StreamElement::Barrier(barrier)) => Some(barrier),
            _ => None,
        }
    }

    fn take(&self, queue: &mut Queue) -> Option<StreamElement> {
        let item = queue.items.pop_front()?;
        match &item {
            StreamElement::Batch(_) => queue.credits += 1,
            StreamElement::Barrier(barrier) => {
                let checkpoint = barrier.checkpoint;
                queue.control -= 1;
                queue.overtaking.retain(|overtaking| *overtaking != checkpoint);
                self.shared.barriers.fetch_sub(1, Ordering::Release);
                let more = !queue.overtaking.is_empty();
                self.shared.overtaken.store(more, Ordering::Release);
            }
            _ => queue.control -= 1,
        }
        if queue.items.is_empty() {
            self.shared.readable.store(false, Ordering::Release);
        }
        Some(item)
    }

    /// Whether there is something to take.
    #[cfg(test)]
    pub(crate) fn is_readable(&self) -> bool {
        self.shared.readable.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::element::{SnapshotKind, StateFormat};
    use wasmill_model::row::RowHeader;

    fn batch(value: &[u8]) -> StreamElement {
        let mut builder = BatchBuilder::default();
        builder.push(RowHeader::element(None), b"", value, b"");
        StreamElement::Batch(builder.finish())
    }

    #[test]
    fn batches_stop_at_the_credits_and_control_items_do_not() {
        let (sender, receiver) = channel(2, Waker::new(), Waker::new());
        assert!(sender.try_send(batch(b"1")).is_ok());
        assert!(sender.try_send(batch(b"2")).is_ok());
        assert_eq!(sender.try_send(batch(b"3")), Err(batch(b"3")));
        assert!(sender.try_send(StreamElement::Watermark(5)).is_ok());
        assert_eq!(receiver.receive(), Some(batch(b"1")));
        assert!(sender.try_send(batch(b"3")).is_ok());
        let rest: Vec<_> = std::iter::from_fn(|| receiver.receive()).collect();
        assert_eq!(rest, [batch(b"2"), StreamElement::Watermark(5), batch(b"3")]);
    }

    fn barrier(checkpoint: u64) -> Arc<Barrier> {
        Arc::new(Barrier {
            checkpoint: CheckpointId(checkpoint),
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
            overtakes_at: Some(100),
            format: StateFormat::Canonical,
        })
    }

    fn elements(batches: Vec<Batch>) -> Vec<StreamElement> {
        batches.into_iter().map(StreamElement::Batch).collect()
    }

    #[test]
    fn a_barrier_on_its_way_overtakes_what_it_waits_behind_once_and_nothing_behind_it() {
        let (send_waker, receive_waker) = (Waker::new(), Waker::new());
        let (sender, receiver) = channel(4, send_waker.clone(), receive_waker.clone());
        let send = |item| assert!(sender.try_send(item).is_ok());
        send(batch(b"1"));
        send(StreamElement::Barrier(barrier(1)));
        send(batch(b"2"));
        send(StreamElement::Watermark(5));
        send(StreamElement::Barrier(barrier(2)));
        send(batch(b"3"));
        assert!(sender.holds_barrier(CheckpointId(2)) && !sender.holds_barrier(CheckpointId(3)));
        assert!(receive_waker.take());
        assert_eq!(elements(sender.expedite(CheckpointId(2))), [batch(b"2")]);
        assert!(receive_waker.take(), "the receiver may wait for credit");
        assert_eq!(sender.expedite(CheckpointId(3)), []);
        assert_eq!(receiver.receive_overtaking(), None, "batch 1 is before barrier 1");
        assert_eq!(receiver.receive(), Some(batch(b"1")));
        assert_eq!(receiver.receive_overtaking(), None, "barrier 1 has not overtaken");
        assert_eq!(receiver.receive(), Some(StreamElement::Barrier(barrier(1))));
        send_waker.take();
        assert_eq!(receiver.receive_overtaking(), Some(barrier(2)));
        assert!(send_waker.take(), "the sender waits for the barrier's arrival");
        assert!(!sender.holds_barrier(CheckpointId(2)));
        assert_eq!(sender.expedite(CheckpointId(2)), [], "it has arrived");
        let rest: Vec<_> = std::iter::from_fn(|| receiver.receive()).collect();
        assert_eq!(rest, [batch(b"2"), StreamElement::Watermark(5), batch(b"3")]);
    }

    #[test]
    fn an_unaligned_barrier_overtakes_what_no_barrier_precedes() {
        let (send_waker, receive_waker) = (Waker::new(), Waker::new());
        let (sender, receiver) = channel(2, send_waker, receive_waker.clone());
        assert!(sender.try_send(batch(b"1")).is_ok());
        assert!(sender.try_send(StreamElement::Barrier(barrier(1))).is_ok());
        assert!(sender.try_send(StreamElement::Watermark(5)).is_ok());
        assert!(sender.try_send(batch(b"2")).is_ok());
        assert!(receive_waker.take());
        let overtaken = sender.overtake(barrier(2));
        assert!(receive_waker.take(), "the receiver may wait for credit");
        assert_eq!(elements(overtaken), [batch(b"2")]);
        assert_eq!(receiver.receive_overtaking(), None, "a barrier comes before it");
        assert_eq!(receiver.receive(), Some(batch(b"1")));
        assert_eq!(receiver.receive(), Some(StreamElement::Barrier(barrier(1))));
        assert_eq!(receiver.receive_overtaking(), Some(barrier(2)));
        assert_eq!(receiver.receive_overtaking(), None);
        let rest: Vec<_> = std::iter::from_fn(|| receiver.receive()).collect();
        assert_eq!(rest, [StreamElement::Watermark(5), batch(b"2")]);
    }

    #[test]
    fn control_items_are_bounded_too() {
        let (sender, _receiver) = channel(2, Waker::new(), Waker::new());
        let sent = (0..).take_while(|ts| sender.try_send(StreamElement::Watermark(*ts)).is_ok());
        assert_eq!(sent.count(), CONTROL_MAX as usize);
    }

    #[test]
    fn data_wakes_the_receiver_and_half_of_the_credits_wake_a_starved_sender() {
        let (send_waker, receive_waker) = (Waker::new(), Waker::new());
        let (sender, receiver) = channel(4, send_waker.clone(), receive_waker.clone());
        assert!(sender.try_send(batch(b"1")).is_ok());
        assert!(receive_waker.take());
        while sender.try_send(batch(b"2")).is_ok() {}
        assert!(
            !receive_waker.take(),
            "the receiver has not emptied the channel since"
        );
        receiver.receive();
        assert!(!send_waker.is_notified());
        receiver.receive();
        assert!(send_waker.take());
        receiver.receive();
        assert!(!send_waker.take(), "the sender was not refused since");
    }
}
