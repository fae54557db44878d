//! The window functions of the oracle, natively behind the seam that components use.

use serde_json::{Value, json};
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::window::bounds::Window;
use wasmill_engine::window::emitter::StepId;
use wasmill_engine::window::function::{
    AccumulatorEncoding, Accumulators, ElementsCall, ElementsFunction, ElementsStep, IncrementalCall,
    IncrementalFunction, MergeAccumulators, Step,
};
use wasmill_engine::window::panes::PaneId;
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key;
use wasmill_state::backend::{Locator, NONE, StateId, StateKey, Values, Write};

use crate::build::port;

fn parse(record: &[u8]) -> Value {
    serde_json::from_slice(record).unwrap()
}

/// The value of a record.
pub(crate) fn value(record: &[u8]) -> i64 {
    parse(record)["value"].as_i64().unwrap()
}

/// `"start":…,"end":…,` of a window of time.
pub(crate) fn head(window: Window) -> String {
    match window {
        Window::Time { start, end } => format!("\"start\":{start},\"end\":{end},"),
        Window::Global => String::new(),
    }
}

fn text(encoded_key: &[u8]) -> Value {
    json!(String::from_utf8_lossy(key::body(encoded_key)))
}

/// What an incremental function does with accumulators.
pub(crate) trait Fold: Send {
    fn add(&self, accumulator: Option<&[u8]>, element: &[u8]) -> Vec<u8>;
    fn merge(&self, a: &[u8], b: &[u8]) -> Vec<u8>;
    fn is_commutative(&self) -> bool {
        false
    }
    fn result(&self, accumulator: Option<&[u8]>, key: &[u8], window: Window) -> String;
}

/// An incremental function of a fold.
pub(crate) struct Folding<F>(F);

impl<F: Fold> Folding<F> {
    pub(crate) fn new(fold: F) -> Self {
        Self(fold)
    }

    fn take(accumulators: &mut Accumulators, pane: PaneId) -> Option<Vec<u8>> {
        let taken = accumulators.get(pane).map(<[u8]>::to_vec);
        accumulators.remove(pane);
        taken
    }
}

impl<F: Fold> IncrementalFunction for Folding<F> {
    fn accumulator(&self) -> AccumulatorEncoding {
        AccumulatorEncoding::named("test")
    }

    fn merging(&mut self) -> Option<&mut dyn MergeAccumulators> {
        self.0.is_commutative().then_some(self)
    }

    fn run(&mut self, call: IncrementalCall<'_, '_, '_>) -> Result<(), TaskError> {
        let accumulators = call.accumulators;
        for step in call.steps {
            match step {
                Step::Add { pane, element } => {
                    let sum = self.0.add(accumulators.get(*pane), element.value);
                    accumulators.set(*pane, &sum);
                }
                Step::Merge { target, sources } => {
                    let parts = call.sources[sources.clone()].iter();
                    let parts: Vec<_> = parts.filter_map(|part| Self::take(accumulators, *part)).collect();
                    let Some(whole) = parts.into_iter().reduce(|a, b| self.0.merge(&a, &b)) else {
                        continue;
                    };
                    let whole = match accumulators.get(*target) {
                        Some(there) => self.0.merge(there, &whole),
                        None => whole,
                    };
                    accumulators.set(*target, &whole);
                }
                Step::Fire {
                    pane,
                    window,
                    step,
                    even_empty,
                    ..
                } => {
                    let accumulator = accumulators.get(*pane);
                    if accumulator.is_some() || *even_empty {
                        let result = self.0.result(accumulator, call.panes.key_bytes(*pane), *window);
                        let time = Some(window.max_timestamp());
                        call.out.emit(*step, 0, time, format!("{{{result}}}").as_bytes());
                    }
                }
                Step::Purge { pane } => accumulators.remove(*pane),
                Step::Clear { .. } => {}
            }
        }
        Ok(())
    }
}

impl<F: Fold> MergeAccumulators for Folding<F> {
    fn merge(&mut self, into: &mut Vec<u8>, from: &[u8]) -> Result<(), TaskError> {
        *into = self.0.merge(into, from);
        Ok(())
    }
}

/// count, sum, min and max of the values.
pub(crate) struct Stats {
    pub(crate) with_bounds: bool,
}

const EMPTY: [i64; 4] = [0, 0, i64::MAX, i64::MIN];

fn numbers(bytes: &[u8]) -> [i64; 4] {
    let mut numbers = bytes.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk));
    std::array::from_fn(|_| numbers.next().unwrap())
}

fn stats(a: [i64; 4], b: [i64; 4]) -> Vec<u8> {
    let merged = [a[0] + b[0], a[1] + b[1], a[2].min(b[2]), a[3].max(b[3])];
    merged.iter().flat_map(|n| n.to_le_bytes()).collect()
}

impl Fold for Stats {
    fn add(&self, accumulator: Option<&[u8]>, element: &[u8]) -> Vec<u8> {
        let value = value(element);
        stats(accumulator.map_or(EMPTY, numbers), [1, value, value, value])
    }

    fn merge(&self, a: &[u8], b: &[u8]) -> Vec<u8> {
        stats(numbers(a), numbers(b))
    }

    fn is_commutative(&self) -> bool {
        true
    }

    fn result(&self, accumulator: Option<&[u8]>, key: &[u8], window: Window) -> String {
        let [count, sum, min, max] = accumulator.map_or(EMPTY, numbers);
        let result = format!("\"count\":{count},\"sum\":{sum},\"min\":{min},\"max\":{max}");
        match self.with_bounds {
            true => format!("{}\"key\":{},{result}", head(window), text(key)),
            false => result,
        }
    }
}

/// Values summed, the newest `n`; behind it the process function that shows all elements.
pub(crate) struct Reduce {
    pub(crate) process: bool,
}

fn plus(a: &Value, b: &Value) -> Vec<u8> {
    let value = a["value"].as_i64().unwrap() + b["value"].as_i64().unwrap();
    format!("{{\"key\":{},\"value\":{value},\"n\":{}}}", a["key"], b["n"]).into_bytes()
}

impl Fold for Reduce {
    fn add(&self, accumulator: Option<&[u8]>, element: &[u8]) -> Vec<u8> {
        accumulator.map_or_else(
            || element.to_vec(),
            |accumulator| self.merge(accumulator, element),
        )
    }

    fn merge(&self, a: &[u8], b: &[u8]) -> Vec<u8> {
        plus(&parse(a), &parse(b))
    }

    fn result(&self, accumulator: Option<&[u8]>, key: &[u8], window: Window) -> String {
        let record = accumulator.unwrap_or(b"null");
        match self.process {
            true => show(window, key, &[parse(record)]),
            false => String::from_utf8_lossy(record)
                .trim_matches(['{', '}'])
                .to_owned(),
        }
    }
}

fn sum(elements: &[Value]) -> i64 {
    elements.iter().map(|e| e["value"].as_i64().unwrap()).sum()
}

fn show(window: Window, key: &[u8], elements: &[Value]) -> String {
    let mut lines: Vec<i64> = elements.iter().map(|e| e["n"].as_i64().unwrap()).collect();
    lines.sort_unstable();
    let (head, key, sum) = (head(window), text(key), sum(elements));
    format!("{head}\"key\":{key},\"sum\":{sum},\"n\":{}", json!(lines))
}

/// Shows all elements of a window.
pub(crate) struct Elements;

impl ElementsFunction for Elements {
    fn run(&mut self, call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        for fired in call.steps {
            if let ElementsStep::Fire {
                pane,
                window,
                step,
                elements,
            } = fired
            {
                let elements = call.elements[elements.clone()].iter();
                let elements: Vec<_> = elements.map(|element| parse(element.value)).collect();
                let result = show(*window, call.panes.key_bytes(*pane), &elements);
                let time = Some(window.max_timestamp());
                call.out.emit(*step, 0, time, format!("{{{result}}}").as_bytes());
            }
        }
        Ok(())
    }
}

/// Everything the context offers: window, watermark, per-window and global state, side outputs, clear.
#[derive(Default)]
pub(crate) struct InContext {
    states: Option<[StateId; 2]>,
}

impl InContext {
    fn fire(&self, call: &mut ElementsCall<'_, '_, '_>, fired: Fired) {
        let Fired {
            pane,
            window,
            step,
            sum,
        } = fired;
        let [of_window, of_key] = self.states.unwrap();
        let panes = call.panes;
        let firings_of_window = plus_one(call.context, of_window, panes.state_key(pane));
        let firings_of_key = plus_one(call.context, of_key, panes.state_of_key(pane));
        let (head, key) = (head(window), text(panes.key_bytes(pane)));
        let (time, watermark) = (Some(window.max_timestamp()), call.context.watermark);
        let result = format!(
            "{{{head}\"key\":{key},\"sum\":{sum},\"watermark\":{watermark},\"firings-of-window\":{firings_of_window},\
             \"firings-of-key\":{firings_of_key}}}"
        );
        call.out.emit(step, 0, time, result.as_bytes());
        if sum >= 200 {
            let result = format!("{{{head}\"key\":{key}}}");
            call.out.emit(step, port("big"), time, result.as_bytes());
        }
    }
}

struct Fired {
    pane: PaneId,
    window: Window,
    step: StepId,
    sum: i64,
}

impl ElementsFunction for InContext {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let mut register = |name: &str| {
            context.state.register(&StateDeclaration {
                name: name.to_owned(),
                kind: StateKind::Value,
                encoding: "raw".to_owned(),
                schema: Value::Null,
                schema_version: 1,
                migrates_from: None,
                prefetch: None,
                reduce: None,
                per_window: false,
                ttl: None,
            })
        };
        self.states = Some([register("of-window")?, register("of-key")?]);
        Ok(())
    }

    fn run(&mut self, mut call: ElementsCall<'_, '_, '_>) -> Result<(), TaskError> {
        for step in call.steps {
            match step {
                ElementsStep::Fire {
                    pane,
                    window,
                    step,
                    elements,
                } => {
                    let elements = call.elements[elements.clone()].iter();
                    let fired = Fired {
                        pane: *pane,
                        window: *window,
                        step: *step,
                        sum: elements.map(|element| value(element.value)).sum(),
                    };
                    self.fire(&mut call, fired);
                }
                ElementsStep::Clear { pane, window, step } => {
                    let [of_window, _] = self.states.unwrap();
                    let key = call.panes.state_key(*pane);
                    let firings = get(call.context, of_window, key);
                    let time = window.max_timestamp();
                    let result = format!("{{\"cleared\":{time},\"firings\":{}}}", json!(firings));
                    call.out
                        .emit(*step, port("cleared"), Some(time), result.as_bytes());
                    put(call.context, of_window, key, None);
                }
            }
        }
        Ok(())
    }
}

fn get(context: &mut OperatorContext, state: StateId, key: StateKey<'_>) -> Option<i64> {
    let mut values = Values::default();
    context.state.get_many(state, &[key], &mut values).unwrap();
    (values.lengths[0] != NONE).then(|| i64::from_le_bytes(values.bytes.try_into().unwrap()))
}

fn put(context: &mut OperatorContext, state: StateId, key: StateKey<'_>, value: Option<i64>) {
    let value = value.map(i64::to_le_bytes);
    let write = Write {
        key,
        locator: Locator::UNKNOWN,
        value: value.as_ref().map(|bytes| &bytes[..]),
    };
    context.state.write_batch(state, &[write]).unwrap();
}

fn plus_one(context: &mut OperatorContext, state: StateId, key: StateKey<'_>) -> i64 {
    let count = get(context, state, key).unwrap_or(0) + 1;
    put(context, state, key, Some(count));
    count
}
