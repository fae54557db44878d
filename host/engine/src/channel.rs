//! Bounded channels between two subtasks: one sender, one receiver, credits for batches (E7).
//!
//! Invariant: a channel holds at most its credits in batches and [`CONTROL_MAX`] other items, in the order
//! of sending. Items are immutable, so that an unaligned barrier may overtake them one day.
//!
//! The receiver's free buffers are the sender's credits: taking a batch out grants one. A batch needs a
//! credit; other items need none but keep their place. Nothing here costs per record.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wasmill_model::element::StreamElement;

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
        }),
        readable: AtomicBool::new(false),
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
        let item = queue.items.pop_front()?;
        match item {
            StreamElement::Batch(_) => queue.credits += 1,
            _ => queue.control -= 1,
        }
        if queue.items.is_empty() {
            self.shared.readable.store(false, Ordering::Release);
        }
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
