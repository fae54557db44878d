//! The input channels of one subtask: which one is read next, and what its items mean for alignment and
//! the clock.
//!
//! Invariant: inputs take turns, and so do the channels of each, so that none starves; a channel that is held back
//! is not read. Channels of one input (a union, or the subtasks before) are combined by its valve, inputs of an
//! operator by their minimum; the inputs of windows of two streams are a union that tells its channels apart.

use std::collections::VecDeque;
use std::sync::Arc;

use wasmill_model::batch::Batch;
use wasmill_model::element::{Barrier, StreamElement, Tick};
use wasmill_model::graph::CheckpointMode;
use wasmill_model::id::CheckpointId;
use wasmill_model::time::{TimeSignal, WATERMARK_END};

use super::alignment::Alignment;
use super::ticks::Ticks;
use crate::channel::Receiver;
use crate::time::combined::Combined;
use crate::time::valve::Valve;

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

/// The channels of one port.
struct Port {
    /// Indices, in order.
    channels: Vec<usize>,
    /// Whose turn it is.
    next: usize,
}

/// Which valve a channel's time goes through.
#[derive(Clone, Copy)]
struct Place {
    valve: usize,
    channel: usize,
}

/// All input channels of a subtask.
pub(crate) struct Inputs {
    channels: Vec<Input>,
    alignment: Alignment,
    ports: Vec<Port>,
    valves: Vec<Valve>,
    /// By channel.
    places: Vec<Place>,
    /// Which port's turn it is.
    next: usize,
    clock: Combined,
    ticks: Ticks,
    /// What the last item came to beyond the first.
    ready: VecDeque<Received>,
}

/// What a subtask has to do about an item.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    /// Process records.
    Batch { port: u16, batch: Batch },
    /// Event time.
    Clock(TimeSignal),
    /// A step of the input that drives the job begins.
    Tick(Tick),
    /// Take a snapshot now.
    Barrier(Arc<Barrier>),
    /// All channels have ended.
    End,
    /// Nothing: others are waited for.
    Nothing,
}

impl Inputs {
    pub(crate) fn new(channels: Vec<Input>, mode: CheckpointMode) -> Self {
        let count = channels.iter().map(|c| c.port + 1).max().unwrap_or(0);
        let ports = (0..count).map(|port| {
            let own = |(index, channel): (usize, &Input)| (channel.port == port).then_some(index);
            let channels: Vec<usize> = channels.iter().enumerate().filter_map(own).collect();
            Port { channels, next: 0 }
        });
        let ports: Vec<Port> = ports.collect();
        let mut places = vec![Place { valve: 0, channel: 0 }; channels.len()];
        for (valve, port) in ports.iter().enumerate() {
            for (channel, index) in port.channels.iter().enumerate() {
                places[*index] = Place { valve, channel };
            }
        }
        Self {
            alignment: Alignment::new(mode, channels.len()),
            valves: ports.iter().map(|port| Valve::new(port.channels.len())).collect(),
            places,
            ports,
            clock: Combined::new(0..u32::from(count)),
            ticks: Ticks::new(channels.len()),
            channels,
            next: 0,
            ready: VecDeque::new(),
        }
    }

    /// The inputs of an operator that puts them into one stream: their channels have one valve.
    pub(crate) fn of_union(channels: Vec<Input>, mode: CheckpointMode) -> Self {
        let inputs = Self::new(channels, mode);
        let count = inputs.channels.len();
        Self {
            valves: vec![Valve::new(count)],
            places: (0..count).map(|channel| Place { valve: 0, channel }).collect(),
            clock: Combined::new(0..1),
            ..inputs
        }
    }

    /// Takes the next item of a channel that may be read; `None`: there is none.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        for _ in 0..self.ports.len() {
            let port = self.next;
            self.next = (self.next + 1) % self.ports.len();
            if let Some((channel, item)) = self.receive_from(port) {
                return Some(self.on_item(channel, item));
            }
        }
        None
    }

    /// Takes a barrier that has overtaken all else in its channel, whatever waits: the snapshot that is to be taken now, or
    /// `Some(None)` where other channels have not delivered it yet.
    pub(crate) fn receive_overtaking(&mut self) -> Option<Option<Arc<Barrier>>> {
        let mut channels = self.channels.iter().enumerate();
        let (channel, barrier) =
            channels.find_map(|(index, channel)| Some((index, channel.receiver.receive_overtaking()?)))?;
        Some(self.alignment.on_barrier(channel, &barrier))
    }

    fn receive_from(&mut self, port: usize) -> Option<(usize, StreamElement)> {
        let port = &mut self.ports[port];
        for _ in 0..port.channels.len() {
            let channel = port.channels[port.next];
            port.next = (port.next + 1) % port.channels.len();
            if self.alignment.is_held(channel) || self.ticks.is_held(channel) {
                continue;
            }
            if let Some(item) = self.channels[channel].receiver.receive() {
                return Some((channel, item));
            }
        }
        None
    }

    /// The newest barrier that some channels have delivered and others not.
    #[inline]
    pub(crate) fn aligning(&self) -> Option<&Arc<Barrier>> {
        self.alignment.aligning()
    }

    /// A checkpoint is given up.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        self.alignment.abort(checkpoint);
    }

    fn on_item(&mut self, channel: usize, item: StreamElement) -> Received {
        let signal = match item {
            StreamElement::Batch(batch) => {
                let port = self.channels[channel].port;
                return Received::Batch { port, batch };
            }
            StreamElement::Barrier(barrier) => {
                let aligned = self.alignment.on_barrier(channel, &barrier);
                return aligned.map_or_else(|| self.begin_tick(), Received::Barrier);
            }
            StreamElement::Tick(tick) => {
                self.ticks.on_tick(channel, tick);
                return self.begin_tick();
            }
            StreamElement::End => {
                self.channels[channel].ended = true;
                self.ticks.on_end(channel);
                return match self.channels.iter().all(|channel| channel.ended) {
                    true => Received::End,
                    false => self.begin_tick(),
                };
            }
            StreamElement::Watermark(watermark) => TimeSignal::Watermark(watermark),
            StreamElement::Idle => TimeSignal::Idle,
            StreamElement::Active => TimeSignal::Active,
        };
        // The end of a channel that was idle counts: it will never be active again.
        if signal == TimeSignal::Watermark(WATERMARK_END) {
            self.on_signal(channel, TimeSignal::Active);
        }
        self.on_signal(channel, signal);
        self.ready.pop_front().unwrap_or(Received::Nothing)
    }

    fn begin_tick(&mut self) -> Received {
        let begins = self.ticks.begin(|channel| self.alignment.is_held(channel));
        begins.map_or(Received::Nothing, Received::Tick)
    }

    fn on_signal(&mut self, channel: usize, signal: TimeSignal) {
        let Place {
            valve: number,
            channel,
        } = self.places[channel];
        let (clock, ready) = (&mut self.clock, &mut self.ready);
        self.valves[number].on(channel, signal, &mut |said| {
            let was_idle = clock.is_idle();
            match said {
                TimeSignal::Watermark(watermark) => {
                    clock.set_watermark(number as u32, watermark);
                }
                TimeSignal::Idle => clock.set_idle(number as u32, true),
                TimeSignal::Active => clock.set_idle(number as u32, false),
            }
            let advanced = clock.update().map(TimeSignal::Watermark);
            let status = match clock.is_idle() {
                true => TimeSignal::Idle,
                false => TimeSignal::Active,
            };
            let status = (was_idle != clock.is_idle()).then_some(status);
            ready.extend(advanced.into_iter().chain(status).map(Received::Clock));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Sender, channel};
    use crate::executor::Waker;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::element::{SnapshotKind, StateFormat};
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
            overtakes_at: None,
            format: StateFormat::Canonical,
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
    fn barriers_align_although_channels_were_cut_at_different_ticks() {
        let tick = |step| Tick {
            step,
            line: step,
            processing_time: 0,
            moves_clock: false,
        };
        let (senders, mut inputs) = inputs(CheckpointMode::ExactlyOnce);
        senders[0].try_send(StreamElement::Tick(tick(1))).unwrap();
        senders[0].try_send(StreamElement::Barrier(barrier())).unwrap();
        senders[1].try_send(StreamElement::Barrier(barrier())).unwrap();
        senders[1].try_send(StreamElement::Tick(tick(1))).unwrap();
        let mut received = || inputs.receive();
        assert_eq!(received(), Some(Received::Nothing));
        assert_eq!(
            received(),
            Some(Received::Tick(tick(1))),
            "channel 1 has nothing more to say before its barrier"
        );
        assert_eq!(received(), Some(Received::Barrier(barrier())));
        assert_eq!(received(), Some(Received::Nothing));
        assert_eq!(received(), None);
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

    #[test]
    fn inputs_take_turns_however_many_channels_each_has() {
        let (senders, inputs): (Vec<_>, Vec<_>) = [0, 0, 0, 1]
            .into_iter()
            .map(|port| {
                let (sender, receiver) = channel(8, Waker::new(), Waker::new());
                (sender, Input::new(receiver, port))
            })
            .unzip();
        let mut inputs = Inputs::new(inputs, CheckpointMode::ExactlyOnce);
        for sender in &senders {
            sender.try_send(StreamElement::Batch(batch())).unwrap();
            sender.try_send(StreamElement::Batch(batch())).unwrap();
        }
        let received: Vec<Received> = std::iter::from_fn(|| inputs.receive()).collect();
        let ports = [0, 1, 0, 1, 0, 0, 0, 0].map(records);
        assert_eq!(received, ports);
    }

    #[test]
    fn an_input_of_a_union_that_comes_back_behind_the_clock_holds_nothing_back() {
        let (senders, inputs) = inputs(CheckpointMode::ExactlyOnce);
        let mut inputs = Inputs::of_union(inputs.channels, CheckpointMode::ExactlyOnce);
        let mut say = |channel: usize, item: StreamElement| -> Vec<Received> {
            senders[channel].try_send(item).unwrap();
            let received = std::iter::from_fn(|| inputs.receive());
            received
                .filter(|received| *received != Received::Nothing)
                .collect()
        };
        let clock = |to| vec![Received::Clock(TimeSignal::Watermark(to))];
        assert_eq!(say(0, StreamElement::Watermark(10)), []);
        assert_eq!(say(1, StreamElement::Idle), clock(10));
        assert_eq!(say(1, StreamElement::Active), []);
        assert_eq!(say(0, StreamElement::Watermark(20)), clock(20));
        assert_eq!(
            say(1, StreamElement::Batch(batch())),
            [records(1)],
            "it keeps its port"
        );
    }

    #[test]
    fn an_input_that_comes_back_behind_the_clock_holds_it_back_and_the_end_of_an_idle_one_counts() {
        let (senders, mut inputs) = inputs(CheckpointMode::ExactlyOnce);
        let mut say = |channel: usize, item: StreamElement| -> Vec<Received> {
            senders[channel].try_send(item).unwrap();
            let received = std::iter::from_fn(|| inputs.receive());
            received
                .filter(|received| *received != Received::Nothing)
                .collect()
        };
        let clock = |signal| vec![Received::Clock(signal)];
        assert_eq!(say(0, StreamElement::Watermark(10)), []);
        assert_eq!(say(1, StreamElement::Idle), clock(TimeSignal::Watermark(10)));
        assert_eq!(say(1, StreamElement::Active), []);
        assert_eq!(
            say(0, StreamElement::Watermark(20)),
            [],
            "input 1 has said nothing"
        );
        assert_eq!(
            say(1, StreamElement::Watermark(15)),
            clock(TimeSignal::Watermark(15))
        );
        assert_eq!(say(1, StreamElement::Idle), clock(TimeSignal::Watermark(20)));
        assert_eq!(say(0, StreamElement::Idle), clock(TimeSignal::Idle));
        let end = StreamElement::Watermark(WATERMARK_END);
        let ended = [TimeSignal::Active, TimeSignal::Watermark(WATERMARK_END)].map(Received::Clock);
        assert_eq!(
            say(0, end.clone()),
            ended,
            "input 1 is idle and holds nothing back"
        );
        assert_eq!(say(1, end), []);
    }
}
