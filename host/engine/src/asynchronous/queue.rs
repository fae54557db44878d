//! The queue of elements in flight and of the watermarks behind them: Flink's `StreamElementQueue`, ordered and
//! unordered. Pure.
//!
//! Invariant: a watermark or idleness leaves after all elements that came before it and before all that came after it.
//! Ordered, elements leave in the order in which they came; unordered, in the order in which they were completed, within a
//! segment between two signals.

#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, VecDeque};

use wasmill_model::graph::asynchronous::OutputMode;
use wasmill_model::time::TimeSignal;

/// Names an element in the queue; never given twice by one queue, and ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(u64);

/// What leaves the queue.
#[derive(Debug, PartialEq)]
pub enum Ready<T> {
    /// A completed element.
    Element(EntryId, T),
    /// Its turn has come.
    Signal(TimeSignal),
}

/// Elements between two signals.
struct Segment<T> {
    /// All elements that have not left, by age.
    elements: BTreeMap<EntryId, Held<T>>,
    /// Unordered, those that are completed, in that order.
    completed: VecDeque<EntryId>,
    /// What came behind them: a watermark, idleness, or both.
    signals: Signals,
}

impl<T> Default for Segment<T> {
    fn default() -> Self {
        Self {
            elements: BTreeMap::new(),
            completed: VecDeque::new(),
            signals: Signals::default(),
        }
    }
}

struct Held<T> {
    element: T,
    is_completed: bool,
}

/// Signals without an element between them: of several watermarks only the last says anything, and so of idleness.
#[derive(Default)]
struct Signals {
    watermark: Option<TimeSignal>,
    status: Option<TimeSignal>,
    /// Whether the status came behind the watermark.
    status_is_last: bool,
}

impl Signals {
    fn push(&mut self, signal: TimeSignal) {
        self.status_is_last = !matches!(signal, TimeSignal::Watermark(_));
        match signal {
            TimeSignal::Watermark(_) => self.watermark = Some(signal),
            TimeSignal::Idle | TimeSignal::Active => self.status = Some(signal),
        }
    }

    fn is_empty(&self) -> bool {
        self.watermark.is_none() && self.status.is_none()
    }

    fn pop(&mut self) -> Option<TimeSignal> {
        let (first, second) = match self.status_is_last {
            true => (&mut self.watermark, &mut self.status),
            false => (&mut self.status, &mut self.watermark),
        };
        first.take().or_else(|| second.take())
    }
}

/// The queue.
pub struct StreamElementQueue<T> {
    mode: OutputMode,
    /// Never empty; the last one takes what comes.
    segments: VecDeque<Segment<T>>,
    next: u64,
    length: usize,
}

impl<T> StreamElementQueue<T> {
    /// An empty queue.
    pub fn new(mode: OutputMode) -> Self {
        Self {
            mode,
            segments: VecDeque::from([Segment::default()]),
            next: 0,
            length: 0,
        }
    }

    /// How many elements are in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it, no signal either.
    pub fn is_empty(&self) -> bool {
        self.length == 0 && self.segments.iter().all(|segment| segment.signals.is_empty())
    }

    /// Takes an element.
    pub fn put(&mut self, element: T) -> EntryId {
        let id = EntryId(self.next);
        self.next += 1;
        self.length += 1;
        if self.last().is_none_or(|last| !last.signals.is_empty()) {
            self.segments.push_back(Segment::default());
        }
        if let Some(last) = self.segments.back_mut() {
            let held = Held {
                element,
                is_completed: false,
            };
            last.elements.insert(id, held);
        }
        id
    }

    /// Takes a signal; it leaves behind all elements that are in the queue now.
    pub fn put_signal(&mut self, signal: TimeSignal) {
        if let Some(last) = self.segments.back_mut() {
            last.signals.push(signal);
        }
    }

    /// An element that has not left.
    pub fn get_mut(&mut self, id: EntryId) -> Option<&mut T> {
        Some(&mut self.segment(id)?.elements.get_mut(&id)?.element)
    }

    /// The results of an element are there; calling it again changes nothing.
    pub fn complete(&mut self, id: EntryId) {
        let mode = self.mode;
        let Some(segment) = self.segment(id) else { return };
        let Some(held) = segment.elements.get_mut(&id) else {
            return;
        };
        let was_completed = std::mem::replace(&mut held.is_completed, true);
        if !was_completed && mode == OutputMode::Unordered {
            segment.completed.push_back(id);
        }
    }

    /// Whether [`Self::pop`] has something to give.
    pub fn has_ready(&self) -> bool {
        let Some(first) = self.segments.front() else {
            return false;
        };
        match first.elements.first_key_value() {
            None => !first.signals.is_empty(),
            Some((_, oldest)) => match self.mode {
                OutputMode::Ordered => oldest.is_completed,
                OutputMode::Unordered => !first.completed.is_empty(),
            },
        }
    }

    /// What leaves next, where its turn has come.
    pub fn pop(&mut self) -> Option<Ready<T>> {
        let mode = self.mode;
        let first = self.segments.front_mut()?;
        if let Some((oldest, held)) = first.elements.first_key_value() {
            let id = match mode {
                OutputMode::Ordered => held.is_completed.then_some(*oldest)?,
                OutputMode::Unordered => first.completed.pop_front()?,
            };
            let held = first.elements.remove(&id)?;
            self.length -= 1;
            return Some(Ready::Element(id, held.element));
        }
        let signal = first.signals.pop()?;
        if first.signals.is_empty() && self.segments.len() > 1 {
            self.segments.pop_front();
        }
        Some(Ready::Signal(signal))
    }

    /// All elements that have not left, by age.
    pub fn elements(&self) -> impl Iterator<Item = &T> {
        let held = self.segments.iter().flat_map(|segment| segment.elements.values());
        held.map(|held| &held.element)
    }

    fn last(&self) -> Option<&Segment<T>> {
        self.segments.back()
    }

    fn segment(&mut self, id: EntryId) -> Option<&mut Segment<T>> {
        // Ids ascend from segment to segment; an empty one is the first or the last.
        let place = self.segments.partition_point(|segment| {
            segment
                .elements
                .last_key_value()
                .is_none_or(|(last, _)| *last < id)
        });
        self.segments.get_mut(place)
    }
}
