//! The input channels of one subtask: which one is read next, and what its items mean for alignment and
//! the clock.
//!
//! Invariant: channels take turns, so that none starves, and a channel that is held back is not read.

use std::sync::Arc;

use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, StreamElement};
use wasmill_model::graph::CheckpointMode;
use wasmill_model::id::CheckpointId;
use wasmill_model::time::WATERMARK_END;

use super::alignment::Alignment;
use super::watermark::{Advance, Valve};
use crate::channel::Receiver;

/// One channel and the port of the first operator that it feeds.
pub(crate) struct Input {
    pub(crate) receiver: Receiver,
    pub(crate) port: u16,
    ended: bool,
}

impl Input {
    pub(crate) fn new(receiver: Receiver, port: u16) -> Self {
        Self {
            receiver,
            port,
            ended: false,
        }
    }
}

/// All input channels of a subtask.
pub(crate) struct Inputs {
    channels: Vec<Input>,
    alignment: Alignment,
    valve: Valve,
    next: usize,
}

/// What a subtask has to do about an item.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    /// Process records.
    Batch { port: u16, batch: Batch },
    /// Move the clock.
    Clock(Advance),
    /// Take a snapshot now.
    Barrier(Arc<Barrier>),
    /// All channels have ended.
    End,
    /// Nothing: others are waited for.
    Nothing,
}

impl Inputs {
    pub(crate) fn new(channels: Vec<Input>, mode: CheckpointMode) -> Self {
        Self {
            alignment: Alignment::new(mode, channels.len()),
            valve: Valve::new(channels.len()),
            channels,
            next: 0,
        }
    }

    /// Takes the next item of a channel that may be read; `None`: there is none.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        for _ in 0..self.channels.len() {
            let channel = self.next;
            self.next = (self.next + 1) % self.channels.len();
            if self.alignment.is_held(channel) {
                continue;
            }
            if let Some(item) = self.channels[channel].receiver.receive() {
                return Some(self.on_item(channel, item));
            }
        }
        None
    }

    /// A checkpoint is given up.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        self.alignment.abort(checkpoint);
    }

    fn on_item(&mut self, channel: usize, item: StreamElement) -> Received {
        let advance = match item {
            StreamElement::Batch(batch) => {
                let port = self.channels[channel].port;
                return Received::Batch { port, batch };
            }
            StreamElement::Barrier(barrier) => {
                let aligned = self.alignment.on_barrier(channel, &barrier);
                return aligned.map_or(Received::Nothing, Received::Barrier);
            }
            StreamElement::End => {
                self.channels[channel].ended = true;
                let all = self.channels.iter().all(|c| c.ended);
                return if all { Received::End } else { Received::Nothing };
            }
            StreamElement::Watermark(watermark) => {
                // The end of a channel that was idle counts: it will never be active again.
                if watermark == WATERMARK_END {
                    self.valve.on_active(channel);
                }
                self.valve.on_watermark(channel, watermark)
            }
            StreamElement::Idle => self.valve.on_idle(channel),
            StreamElement::Active => self.valve.on_active(channel),
        };
        advance.map_or(Received::Nothing, Received::Clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Sender, channel};
    use crate::executor::Waker;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::element::SnapshotKind;
    use wasmill_model::row::RowHeader;

    fn inputs(mode: CheckpointMode) -> (Vec<Sender>, Inputs) {
        let (senders, inputs) = (0..2u16)
            .map(|port| {
                let (sender, receiver) = channel(8, Waker::new(), Waker::new());
                (sender, Input::new(receiver, port))
            })
            .unzip();
        (senders, Inputs::new(inputs, mode))
    }

    fn batch() -> Batch {
        let mut builder = BatchBuilder::default();
        builder.push(RowHeader::element(None), b"", b"x", b"");
        builder.finish()
    }

    fn barrier() -> Arc<Barrier> {
        Arc::new(Barrier {
            checkpoint: CheckpointId(1),
            kind: SnapshotKind::Checkpoint,
            triggered_at: 0,
        })
    }

    fn records(port: u16) -> Received {
        Received::Batch { port, batch: batch() }
    }

    #[test]
    fn a_channel_is_not_read_between_its_barrier_and_the_last_one() {
        let (senders, mut inputs) = inputs(CheckpointMode::ExactlyOnce);
        senders[0].try_send(StreamElement::Barrier(barrier())).unwrap();
        senders[0].try_send(StreamElement::Batch(batch())).unwrap();
        senders[1].try_send(StreamElement::Batch(batch())).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Nothing));
        assert_eq!(inputs.receive(), Some(records(1)));
        assert_eq!(inputs.receive(), None, "channel 0 is held back");
        senders[1].try_send(StreamElement::Barrier(barrier())).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Barrier(barrier())));
        assert_eq!(inputs.receive(), Some(records(0)));
    }

    #[test]
    fn at_least_once_a_channel_is_read_on_after_its_barrier() {
        let (senders, mut inputs) = inputs(CheckpointMode::AtLeastOnce);
        senders[0].try_send(StreamElement::Barrier(barrier())).unwrap();
        senders[0].try_send(StreamElement::Batch(batch())).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Nothing));
        assert_eq!(inputs.receive(), Some(records(0)));
        senders[1].try_send(StreamElement::Barrier(barrier())).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Barrier(barrier())));
    }

    #[test]
    fn the_input_ends_with_the_last_channel_and_ended_channels_still_carry_barriers() {
        let (senders, mut inputs) = inputs(CheckpointMode::ExactlyOnce);
        senders[0].try_send(StreamElement::End).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Nothing));
        senders[1].try_send(StreamElement::Barrier(barrier())).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Nothing));
        senders[0].try_send(StreamElement::Barrier(barrier())).unwrap();
        assert_eq!(inputs.receive(), Some(Received::Barrier(barrier())));
        senders[1].try_send(StreamElement::End).unwrap();
        assert_eq!(inputs.receive(), Some(Received::End));
    }

    #[test]
    fn channels_take_turns() {
        let (senders, mut inputs) = inputs(CheckpointMode::ExactlyOnce);
        for _ in 0..3 {
            senders[0].try_send(StreamElement::Batch(batch())).unwrap();
            senders[1].try_send(StreamElement::Batch(batch())).unwrap();
        }
        let ports: Vec<Received> = std::iter::from_fn(|| inputs.receive()).collect();
        assert_eq!(
            ports,
            [
                records(0),
                records(1),
                records(0),
                records(1),
                records(0),
                records(1)
            ]
        );
    }
}
