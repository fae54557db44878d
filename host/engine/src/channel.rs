//! Bounded channels between two subtasks: one sender, one receiver, credits for batches (E7).
//!
//! Invariant: a channel holds at most its credits in batches and [`CONTROL_MAX`] other items, in the order
//! of sending, but for an unaligned barrier, which overtakes what no barrier before it precedes.
//!
//! The receiver's free buffers are the sender's credits: taking a batch out grants one. A batch needs a
//! credit; other items need none but keep their place. Nothing here costs per record.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, StreamElement};

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
            overtaking: 0,
        }),
        readable: AtomicBool::new(false),
        overtaken: AtomicBool::new(false),
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
    /// Barriers that have overtaken.
    overtaking: u32,
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
        match is_batch {
            true => queue.credits -= 1,
            false => queue.control += 1,
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
    pub(crate) fn overtake(&self, barrier: StreamElement) -> Vec<Batch> {
        let mut queue = lock(&self.shared.queue);
        let is_barrier = |item: &StreamElement| matches!(item, StreamElement::Barrier(_));
        let at = queue
            .items
            .iter()
            .rposition(is_barrier)
            .map_or(0, |last| last + 1);
        let overtaken = batches(queue.items.iter().skip(at));
        queue.items.insert(at, barrier);
        queue.control += 1;
        queue.overtaking += 1;
        self.shared.readable.store(true, Ordering::Release);
        self.shared.overtaken.store(true, Ordering::Release);
        drop(queue);
        self.shared.receiver.wake();
        overtaken
    }
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
        if queue.starved && room {
            queue.starved = false;
            drop(queue);
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
            Some(StreamElement::Barrier(barrier)) if barrier.unaligned => {}
            _ => return None,
        }
        match self.take(&mut queue) {
            Some(StreamElement::Barrier(barrier)) => Some(barrier),
            _ => None,
        }
    }

    fn take(&self, queue: &mut Queue) -> Option<StreamElement> {
        let item = queue.items.pop_front()?;
        match &item {
            StreamElement::Batch(_) => queue.credits += 1,
            StreamElement::Barrier(barrier) if barrier.unaligned && queue.overtaking > 0 => {
                queue.control -= 1;
                queue.overtaking -= 1;
                let more = queue.overtaking > 0;
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
    use wasmill_model::id::CheckpointId;
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

    #[test]
    fn an_unaligned_barrier_overtakes_what_no_barrier_precedes() {
        let barrier = |checkpoint, unaligned| {
            StreamElement::Barrier(Arc::new(Barrier {
                checkpoint: CheckpointId(checkpoint),
                kind: SnapshotKind::Checkpoint,
                triggered_at: 0,
                unaligned,
                format: StateFormat::Canonical,
            }))
        };
        let (send_waker, receive_waker) = (Waker::new(), Waker::new());
        let (sender, receiver) = channel(2, send_waker, receive_waker.clone());
        assert!(sender.try_send(batch(b"1")).is_ok());
        assert!(sender.try_send(barrier(1, false)).is_ok());
        assert!(sender.try_send(StreamElement::Watermark(5)).is_ok());
        assert!(sender.try_send(batch(b"2")).is_ok());
        assert!(receive_waker.take());
        let overtaken = sender.overtake(barrier(2, true));
        assert!(receive_waker.take(), "the receiver may wait for credit");
        assert_eq!(
            overtaken
                .into_iter()
                .map(StreamElement::Batch)
                .collect::<Vec<_>>(),
            [batch(b"2")]
        );
        assert_eq!(receiver.receive_overtaking(), None, "a barrier comes before it");
        assert_eq!(receiver.receive(), Some(batch(b"1")));
        assert_eq!(receiver.receive(), Some(barrier(1, false)));
        let taken = receiver.receive_overtaking();
        assert_eq!(taken.map(StreamElement::Barrier), Some(barrier(2, true)));
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
