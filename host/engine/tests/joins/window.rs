//! Window joins and co-groups against a model that keeps whole windows.

use proptest::prelude::*;
use wasmill_engine::operator::Operator;
use wasmill_engine::window::operator::WindowOperator;
use wasmill_model::function::Format;
use wasmill_model::graph::JobSettings;
use wasmill_model::graph::window::{
    AssignerSpec, EvictorSpec, GapSpec, WindowClock, WindowFunctionSpec, WindowSpec,
};
use wasmill_model::time::{Timestamp, WATERMARK_END, WATERMARK_NONE};

use crate::drive::{Emitted, Event, events, run};

const JOIN: WindowFunctionSpec = WindowFunctionSpec::Join {
    function: None,
    formats: [Format::Json; 2],
};

const CO_GROUP: WindowFunctionSpec = WindowFunctionSpec::CoGroup {
    function: None,
    formats: [Format::Json; 2],
};

fn spec(assigner: AssignerSpec, lateness_ms: i64, function: WindowFunctionSpec) -> WindowSpec {
    WindowSpec {
        assigner,
        trigger: None,
        evictor: None,
        lateness_ms,
        late_output: false,
        all: false,
        function,
    }
}

fn operator(spec: &WindowSpec) -> Box<dyn Operator> {
    Box::new(WindowOperator::of(spec, None, &JobSettings::default()).unwrap())
}

/// A window of a key with what has come, in that order.
#[derive(Clone, Debug)]
struct Pane {
    key: u8,
    start: Timestamp,
    end: Timestamp,
    /// Side and number.
    elements: Vec<(u16, usize)>,
}

impl Pane {
    fn side(&self, side: u16) -> Vec<usize> {
        let of_side = self.elements.iter().filter(|element| element.0 == side);
        of_side.map(|element| element.1).collect()
    }

    fn fire(&self, function: &WindowFunctionSpec, emitted: &mut Vec<Emitted>) {
        let (left, right) = (self.side(0), self.side(1));
        let mut emit = |result: String| emitted.push((0, Some(self.end - 1), result));
        if matches!(function, WindowFunctionSpec::Join { .. }) {
            for left in left {
                right
                    .iter()
                    .for_each(|right| emit(format!("{{\"left\":{left},\"right\":{right}}}")));
            }
        } else {
            let listed = |numbers: Vec<usize>| format!("{numbers:?}").replace(' ', "");
            let (key, start, end) = (self.key, self.start, self.end);
            let (left, right) = (listed(left), listed(right));
            emit(format!(
                "{{\"key\":\"k{key}\",\"start\":{start},\"end\":{end},\"left\":{left},\"right\":{right}}}"
            ));
        }
    }
}

/// All windows that there are.
struct Model<'s> {
    spec: &'s WindowSpec,
    panes: Vec<Pane>,
    watermark: Timestamp,
    emitted: Vec<Emitted>,
}

/// What is to come out of all events.
fn model(spec: &WindowSpec, events: &[Event]) -> Vec<Emitted> {
    let mut model = Model {
        spec,
        panes: Vec::new(),
        watermark: WATERMARK_NONE,
        emitted: Vec::new(),
    };
    for (number, event) in events.iter().enumerate() {
        match *event {
            Event::Element { side, key, at, .. } => model.element((side, number), key, at),
            Event::Watermark(to) => model.advance(to),
            Event::Restore(_) => {}
        }
    }
    model.advance(WATERMARK_END);
    model.emitted
}

impl Model<'_> {
    fn element(&mut self, element: (u16, usize), key: u8, at: Timestamp) {
        match self.spec.assigner {
            AssignerSpec::Sliding {
                size_ms, slide_ms, ..
            } => {
                let last = at - at.rem_euclid(slide_ms);
                let starts = (0..).map(|n| last - n * slide_ms);
                for start in starts.take_while(|start| start + size_ms > at) {
                    self.add(element, key, (start, start + size_ms), false);
                }
            }
            AssignerSpec::Session {
                gap: GapSpec::Fixed(gap),
                ..
            } => self.add(element, key, (at, at + gap), true),
            _ => unreachable!(),
        }
    }

    fn add(&mut self, element: (u16, usize), key: u8, (start, end): (Timestamp, Timestamp), merges: bool) {
        let meets = |pane: &Pane| {
            pane.key == key
                && match merges {
                    true => pane.start <= end && start <= pane.end,
                    false => pane.start == start,
                }
        };
        let (met, others) = std::mem::take(&mut self.panes).into_iter().partition(meets);
        self.panes = others;
        let mut whole = Pane {
            key,
            start,
            end,
            elements: Vec::new(),
        };
        for pane in met {
            whole.start = whole.start.min(pane.start);
            whole.end = whole.end.max(pane.end);
            whole.elements.extend(pane.elements);
        }
        if whole.end - 1 + self.spec.lateness_ms <= self.watermark {
            return;
        }
        whole.elements.push(element);
        if whole.end - 1 <= self.watermark {
            whole.fire(&self.spec.function, &mut self.emitted);
        }
        self.panes.push(whole);
    }

    fn advance(&mut self, to: Timestamp) {
        if to <= self.watermark {
            return;
        }
        for pane in &self.panes {
            if (self.watermark + 1..=to).contains(&(pane.end - 1)) {
                pane.fire(&self.spec.function, &mut self.emitted);
            }
        }
        self.watermark = to;
        let lateness = self.spec.lateness_ms;
        self.panes.retain(|pane| pane.end - 1 + lateness > to);
    }
}

/// Nothing is promised between keys and windows; everything comes as often as the model says.
fn sorted(mut emitted: Vec<Emitted>) -> Vec<Emitted> {
    emitted.sort();
    emitted
}

fn sliding(size_ms: i64, slide_ms: i64) -> AssignerSpec {
    AssignerSpec::Sliding {
        clock: WindowClock::Event,
        size_ms,
        slide_ms,
        offset_ms: 0,
    }
}

proptest! {
    #[test]
    fn a_window_join_gives_the_pairs_of_each_window(
        (size, slide, lateness) in (1i64..9, 1i64..9, 0i64..6),
        events in events(-20i64..20),
    ) {
        let spec = spec(sliding(size, slide), lateness, JOIN);
        prop_assert_eq!(sorted(run(&|| operator(&spec), &events)), sorted(model(&spec, &events)));
    }

    #[test]
    fn a_co_group_gives_both_sides_of_each_window_also_where_one_is_empty(
        (size, slide, lateness) in (1i64..9, 1i64..9, 0i64..6),
        events in events(-20i64..20),
    ) {
        let spec = spec(sliding(size, slide), lateness, CO_GROUP);
        prop_assert_eq!(sorted(run(&|| operator(&spec), &events)), sorted(model(&spec, &events)));
    }

    #[test]
    fn sessions_of_a_window_join_are_of_both_streams_together(
        (gap, lateness) in (1i64..5, 0i64..6),
        events in events(-20i64..20),
    ) {
        let session = AssignerSpec::Session { clock: WindowClock::Event, gap: GapSpec::Fixed(gap) };
        let spec = spec(session, lateness, JOIN);
        prop_assert_eq!(sorted(run(&|| operator(&spec), &events)), sorted(model(&spec, &events)));
    }
}

fn elements(sides: &[u16]) -> Vec<Event> {
    let element = |side: &u16| Event::Element {
        side: *side,
        key: 0,
        at: 5,
        cut: false,
    };
    sides.iter().map(element).collect()
}

#[test]
fn triggers_and_evictors_of_a_join_see_the_elements_of_both_streams_as_one() {
    let by_three = spec(AssignerSpec::Count { size: 3 }, 0, JOIN);
    let given = run(&|| operator(&by_three), &elements(&[0, 0, 1, 1, 0, 1]));
    let pair = |left, right| {
        let pair = format!("{{\"left\":{left},\"right\":{right}}}");
        (0, Some(Timestamp::MAX), pair)
    };
    assert_eq!(given, [pair(0, 2), pair(1, 2), pair(4, 3), pair(4, 5)]);
    let last_alone = WindowSpec {
        evictor: Some(EvictorSpec::Count {
            count: 1,
            after: false,
        }),
        ..spec(AssignerSpec::Count { size: 3 }, 0, CO_GROUP)
    };
    let given = run(&|| operator(&last_alone), &elements(&[0, 0, 1]));
    let group = r#"{"key":"k0","left":[],"right":[2]}"#.to_owned();
    assert_eq!(given, [(0, Some(Timestamp::MAX), group)]);
}
