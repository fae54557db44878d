//! The queue against a plain list of all that has come, with completions in any order.

use proptest::prelude::*;

use super::*;

/// What happens to a queue.
#[derive(Clone, Debug)]
enum Event {
    Put,
    Signal(TimeSignal),
    /// The element that is so far, of those that are not completed, is.
    Complete(prop::sample::Index),
    /// So many leave, where so many are ready.
    Pop(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Put),
        1 => (0i64..5).prop_map(|at| Event::Signal(TimeSignal::Watermark(at))),
        1 => Just(Event::Signal(TimeSignal::Idle)),
        1 => Just(Event::Signal(TimeSignal::Active)),
        4 => any::<prop::sample::Index>().prop_map(Event::Complete),
        2 => (1usize..4).prop_map(Event::Pop),
    ]
}

/// What has come and has not left.
#[derive(Clone, Debug, PartialEq)]
enum Held {
    Element { number: u64, completed: Option<u64> },
    Signal(TimeSignal),
}

/// A list that is searched from its front.
#[derive(Default)]
struct Model {
    held: Vec<Held>,
    numbers: u64,
    completions: u64,
}

impl Model {
    fn put_signal(&mut self, signal: TimeSignal) {
        // Signals without an element between them: the last of a kind stands for all.
        let is_watermark = |held: &Held| matches!(held, Held::Signal(TimeSignal::Watermark(_)));
        let since = self
            .held
            .iter()
            .rposition(|held| matches!(held, Held::Element { .. }))
            .map_or(0, |at| at + 1);
        let wanted = matches!(signal, TimeSignal::Watermark(_));
        let mut at = 0;
        self.held.retain(|held| {
            at += 1;
            at <= since || is_watermark(held) != wanted
        });
        self.held.push(Held::Signal(signal));
    }

    fn complete(&mut self, index: prop::sample::Index) -> Option<u64> {
        let open: Vec<usize> = (0..self.held.len())
            .filter(|at| matches!(self.held[*at], Held::Element { completed: None, .. }))
            .collect();
        let at = *open.get(index.index(open.len().max(1)))?;
        let Held::Element { number, completed } = &mut self.held[at] else {
            return None;
        };
        *completed = Some(self.completions);
        self.completions += 1;
        Some(*number)
    }

    fn pop(&mut self, mode: OutputMode) -> Option<Held> {
        let until = self
            .held
            .iter()
            .position(|held| matches!(held, Held::Signal(_)))
            .unwrap_or(self.held.len());
        let place = match (until, mode) {
            (0, _) => 0,
            (_, OutputMode::Ordered) => matches!(
                self.held[0],
                Held::Element {
                    completed: Some(_),
                    ..
                }
            )
            .then_some(0)?,
            (_, OutputMode::Unordered) => {
                let completed = self.held[..until]
                    .iter()
                    .enumerate()
                    .filter_map(|(at, held)| match held {
                        Held::Element { completed, .. } => completed.map(|when| (when, at)),
                        Held::Signal(_) => None,
                    });
                completed.min()?.1
            }
        };
        (!self.held.is_empty()).then(|| self.held.remove(place))
    }
}

fn agree(mode: OutputMode, events: Vec<Event>) -> Result<(), TestCaseError> {
    let (mut queue, mut model) = (StreamElementQueue::new(mode), Model::default());
    let mut ids = Vec::new();
    for event in events {
        match event {
            Event::Put => {
                ids.push(queue.put(model.numbers));
                let (number, completed) = (model.numbers, None);
                model.held.push(Held::Element { number, completed });
                model.numbers += 1;
            }
            Event::Signal(signal) => {
                queue.put_signal(signal);
                model.put_signal(signal);
            }
            Event::Complete(index) => {
                if let Some(number) = model.complete(index) {
                    queue.complete(ids[number as usize]);
                    queue.complete(ids[number as usize]);
                }
            }
            Event::Pop(count) => {
                for _ in 0..count {
                    let expected = model.pop(mode);
                    prop_assert_eq!(queue.has_ready(), expected.is_some());
                    let popped = queue.pop().map(|ready| match ready {
                        Ready::Element(_, number) => (Some(number), None),
                        Ready::Signal(signal) => (None, Some(signal)),
                    });
                    let expected = expected.map(|held| match held {
                        Held::Element { number, .. } => (Some(number), None),
                        Held::Signal(signal) => (None, Some(signal)),
                    });
                    prop_assert_eq!(popped, expected);
                }
            }
        }
        let elements = model.held.iter().filter_map(|held| match held {
            Held::Element { number, .. } => Some(*number),
            Held::Signal(_) => None,
        });
        let elements: Vec<u64> = elements.collect();
        prop_assert_eq!(queue.elements().copied().collect::<Vec<_>>(), elements.clone());
        prop_assert_eq!(queue.len(), elements.len());
        prop_assert_eq!(queue.is_empty(), model.held.is_empty());
        for number in 0..model.numbers {
            let there = queue.get_mut(ids[number as usize]).map(|number| *number);
            prop_assert_eq!(there, elements.contains(&number).then_some(number));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ordered_elements_leave_in_the_order_in_which_they_came(events in prop::collection::vec(event(), 0..80)) {
        agree(OutputMode::Ordered, events)?;
    }

    #[test]
    fn unordered_elements_leave_as_they_are_completed_and_never_across_a_watermark(
        events in prop::collection::vec(event(), 0..80)
    ) {
        agree(OutputMode::Unordered, events)?;
    }
}
