//! A model of the host, so that functions run natively in tests.
//!
//! A [`Harness`] holds one function, its keyed state and its timers, and moves as a job would: elements
//! in, watermarks and time forwards, snapshots between. Everything crosses the same bytes as in a
//! component (`docs/frame.md`), so what passes here behaves alike in a job.
//!
//! ```
//! # use wasmill_sdk::prelude::*;
//! # #[derive(Default)]
//! # struct Count { count: ValueState<u64> }
//! # impl KeyedProcessFunction for Count {
//! #     type In = str;
//! #     type Out = str;
//! #     fn declare(&mut self, d: &mut Declare) { self.count = d.value_state("count"); }
//! #     fn process_element(&mut self, _: &str, ctx: &mut Context<str>) -> Result<()> {
//! #         let count = self.count.value(ctx)?.unwrap_or(0) + 1;
//! #         self.count.update(ctx, &count)?;
//! #         ctx.emit((ctx.key_str()?, ',', count));
//! #         Ok(())
//! #     }
//! # }
//! let mut t = testing::Harness::process::<Count>();
//! t.element("a", "").unwrap();
//! t.element("a", "").unwrap();
//! assert_eq!(t.take_output(), ["a,1", "a,2"]);
//! assert_eq!(t.value("a", "count"), Some(2_u64.to_le_bytes().to_vec()));
//! ```

mod answer;
mod encode;
mod host;
mod model;
mod requests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::call::TimeDomain;
use crate::error::{Error, Result};
use crate::function::{KeyedProcessFunction, ProcessJoinFunction, RuntimeContext};
use crate::host::native;
use crate::http::HttpRequest;
use crate::instance::{Instance, Registration};
use answer::{Answer, Reply};
use encode::{FrameRow, RowKind};
use host::ModelHost;
use model::Model;
pub use model::{Emission, LogLine};

/// One record for [`Harness::elements`].
#[derive(Clone, Debug, Default)]
pub struct Element<'a> {
    /// The key; none on a stream that is not keyed.
    pub key: Option<&'a [u8]>,
    /// The record; none is a null value.
    pub value: Option<&'a [u8]>,
    /// Event time in milliseconds.
    pub timestamp: Option<i64>,
    /// Headers by name.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Whether it comes in on the second input.
    pub second: bool,
}

/// A function with a model of the host around it.
pub struct Harness {
    registration: Registration,
    instance: Instance,
    description: Value,
    model: Rc<RefCell<Model>>,
    watermark: i64,
    processing_time: i64,
    /// The kind keeps or keys records rather than emit others.
    is_filter: bool,
    requests: Vec<HttpRequest>,
}

impl Harness {
    /// A process function on a fresh start, without configuration.
    pub fn process<F: KeyedProcessFunction>() -> Self {
        Self::new(Registration::process::<F>("function"))
    }

    /// A function behind an interval join on a fresh start, without configuration.
    pub fn process_join<F: ProcessJoinFunction>() -> Self {
        Self::new(Registration::process_join::<F>("function"))
    }

    /// A function of any kind on a fresh start, without configuration.
    ///
    /// # Panics
    /// Where the function does not open.
    pub fn new(registration: Registration) -> Self {
        Self::with_config(registration, "{}")
    }

    /// A function with the `config` of a job file, as JSON, in subtask 0 of 1.
    ///
    /// # Panics
    /// Where `config` is no JSON or the function does not open.
    pub fn with_config(registration: Registration, config: &str) -> Self {
        let context = RuntimeContext {
            job_name: "test".to_owned(),
            task_name: registration.name().to_owned(),
            operator_uid: "test".to_owned(),
            parallelism: 1,
            max_parallelism: 128,
            ..RuntimeContext::default()
        };
        match Self::open(registration, config, &context, &[]) {
            Ok(harness) => harness,
            Err(error) => panic!("{error}"),
        }
    }

    /// A function opened with a runtime context, and restored from what [`Harness::snapshot`] gave
    /// (empty: a fresh start).
    pub fn open(
        registration: Registration,
        config: &str,
        context: &RuntimeContext,
        snapshot: &[u8],
    ) -> Result<Self> {
        let registrations = [registration];
        let mut described: Value = serde_json::from_str(&Instance::describe(&registrations))?;
        let description = described["functions"][0].take();
        let config: Value = serde_json::from_str(config)?;
        let request = json!({
            "version": 1, "function": registration.name(), "config": config, "context": context,
        });
        let is_filter = description["kind"] == "filter";
        let mut harness = Self {
            registration,
            instance: Instance::default(),
            model: Rc::new(RefCell::new(Model::new(&description))),
            description,
            watermark: i64::MIN,
            processing_time: 0,
            is_filter,
            requests: Vec::new(),
        };
        let request = request.to_string();
        harness.with_host(|instance| instance.open(&registrations, &request))?;
        if harness.is_buffering() {
            harness.with_host(|instance| instance.restore(snapshot))?;
        }
        Ok(harness)
    }

    /// The function's entry in `describe`.
    pub fn description(&self) -> &Value {
        &self.description
    }

    /// Processes one record without timestamp under a key; the key is ignored by kinds that need none.
    pub fn element(&mut self, key: &str, value: &str) -> Result<()> {
        self.elements(&[Element {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            ..Element::default()
        }])
    }

    /// Processes one record with a timestamp.
    pub fn element_at(&mut self, key: &str, value: &str, timestamp: i64) -> Result<()> {
        self.elements(&[Element {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp: Some(timestamp),
            ..Element::default()
        }])
    }

    /// Processes one record of the second input without timestamp.
    pub fn element2(&mut self, key: &str, value: &str) -> Result<()> {
        self.elements(&[Element {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            second: true,
            ..Element::default()
        }])
    }

    /// Processes one record of the second input with a timestamp.
    pub fn element2_at(&mut self, key: &str, value: &str, timestamp: i64) -> Result<()> {
        self.elements(&[Element {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp: Some(timestamp),
            second: true,
            ..Element::default()
        }])
    }

    /// Processes a pair of an interval join: of each side the record and its timestamp.
    pub fn pair(&mut self, key: &str, left: (&str, i64), right: (&str, i64)) -> Result<()> {
        self.call(&[FrameRow::pair(key, left, right)]).map(drop)
    }

    /// Processes records in one frame, and in more where the function consumes fewer. An error undoes
    /// the frame that it arose in.
    pub fn elements(&mut self, elements: &[Element<'_>]) -> Result<()> {
        let is_broadcast = !self.description["broadcast-state"].is_null();
        let row = |element: &Element<'_>| {
            let mut row = FrameRow::element(element);
            if is_broadcast && element.second {
                row.key = None;
            }
            row
        };
        let rows: Vec<FrameRow> = elements.iter().map(row).collect();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let consumed = self.call(rest)?;
            rest = &rest[consumed..];
        }
        Ok(())
    }

    /// Moves the event-time clock and fires what is due, also what is registered meanwhile.
    pub fn watermark(&mut self, watermark: i64) -> Result<()> {
        self.watermark = self.watermark.max(watermark);
        self.fire(TimeDomain::EventTime, self.watermark)
    }

    /// Moves the processing-time clock and fires what is due, also what is registered meanwhile.
    pub fn processing_time(&mut self, time: i64) -> Result<()> {
        self.processing_time = self.processing_time.max(time);
        self.fire(TimeDomain::ProcessingTime, self.processing_time)
    }

    /// Asks a watermark generator at a tick of the emit interval. What it says is among
    /// [`Harness::take_emissions`]: a watermark is a timestamp, idleness a null value.
    pub fn periodic_emit(&mut self, clock: i64) -> Result<()> {
        self.processing_time = clock;
        let tick = FrameRow {
            key: None,
            timestamp: None,
            ..FrameRow::timer(RowKind::Periodic, &[], 0)
        };
        self.call(&[tick]).map(drop)
    }

    /// The records of the main output as text, oldest first. For a filter and a key selector see
    /// `docs/frame.md`: what a filter kept is given as the record itself.
    pub fn take_output(&mut self) -> Vec<String> {
        texts(self.take_emissions())
    }

    /// The records of the main output.
    pub fn take_emissions(&mut self) -> Vec<Emission> {
        self.model.borrow_mut().take_output(0)
    }

    /// The records of a side output as text.
    pub fn take_side_output(&mut self, name: &str) -> Vec<String> {
        let outputs = self.description["side-outputs"].as_array();
        let index = outputs.and_then(|all| all.iter().position(|output| output["name"] == name));
        match index {
            Some(index) => texts(self.model.borrow_mut().take_output(index as u16 + 1)),
            None => Vec::new(),
        }
    }

    /// The bytes that a value, reducing or aggregating state holds for a key.
    pub fn value(&self, key: &str, state: &str) -> Option<Vec<u8>> {
        self.model.borrow().value(key.as_bytes(), state)
    }

    /// The elements of a list state for a key.
    pub fn list(&self, key: &str, state: &str) -> Vec<Vec<u8>> {
        self.model.borrow().list(key.as_bytes(), state)
    }

    /// The entries of a map state for a key.
    pub fn map(&self, key: &str, state: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.model.borrow().map(key.as_bytes(), state)
    }

    /// The entries of a broadcast state.
    pub fn broadcast(&self, state: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.model.borrow().broadcast(state)
    }

    /// The timers that are registered: domain, time, key.
    pub fn timers(&self) -> Vec<(TimeDomain, i64, Vec<u8>)> {
        self.model.borrow().timers()
    }

    /// The lines that the function logged.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.model.borrow_mut().log)
    }

    /// What was recorded under a metric's name, oldest first.
    pub fn metric(&self, name: &str) -> Vec<f64> {
        self.model.borrow().metric(name)
    }

    /// The function's operator and raw state.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.with_host(Instance::snapshot)
    }

    /// What becomes of one entry of a state in an older schema version, given its map key (empty where the state is no map);
    /// none where it goes.
    pub fn migrate(&self, state: &str, from: u32, map_key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        let (registered, entry) = ([self.registration], std::iter::once((map_key, value)));
        let name = self.registration.name();
        let migrated = Instance::migrate(&registered, name, state, from, entry);
        Ok(migrated.map_err(Error::Failed)?.pop().flatten())
    }

    /// Closes the function.
    pub fn close(mut self) -> Result<()> {
        self.with_host(Instance::close)
    }

    fn is_buffering(&self) -> bool {
        self.description["raw-state"] == true
            || self.description["operator-state"]
                .as_array()
                .is_some_and(|states| !states.is_empty())
    }

    fn with_host<R>(&mut self, f: impl FnOnce(&mut Instance) -> Result<R, String>) -> Result<R> {
        let host = Box::new(ModelHost(Rc::clone(&self.model)));
        native::with(host, || f(&mut self.instance)).map_err(Error::Failed)
    }

    fn fire(&mut self, domain: TimeDomain, clock: i64) -> Result<()> {
        loop {
            let due = self.model.borrow_mut().take_due(domain, clock);
            if due.is_empty() {
                return Ok(());
            }
            let kind = match domain {
                TimeDomain::EventTime => RowKind::EventTimer,
                TimeDomain::ProcessingTime => RowKind::ProcessingTimer,
            };
            let rows: Vec<FrameRow> = due
                .iter()
                .map(|(at, key)| FrameRow::timer(kind, key, *at))
                .collect();
            // What is not consumed is registered again before the answer's own timers apply.
            self.model.borrow_mut().firing = Some((domain, due));
            let result = self.call(&rows);
            self.model.borrow_mut().put_back_firing();
            result?;
        }
    }

    /// Sends one frame and applies its answer; the number of rows consumed.
    fn call(&mut self, rows: &[FrameRow]) -> Result<usize> {
        let frame = self
            .model
            .borrow_mut()
            .start_call(rows, self.watermark, self.processing_time);
        let frame = encode::frame(&frame);
        let reply = self.with_host(|instance| {
            let answer = instance.call(&frame)?;
            Answer::parse(answer, rows.len())
        });
        let mut model = self.model.borrow_mut();
        match reply {
            Ok(Reply::Effects(answer)) => {
                let consumed = answer.consumed;
                let kept = self.is_filter.then_some(rows);
                model.apply(&answer, kept).map_err(Error::Failed)?;
                self.requests.extend(answer.requests);
                Ok(consumed)
            }
            Ok(Reply::Error(error)) => {
                model.undo();
                Err(error)
            }
            Err(error) => {
                model.undo();
                Err(error)
            }
        }
    }
}

fn texts(emissions: Vec<Emission>) -> Vec<String> {
    emissions
        .into_iter()
        .map(|emission| String::from_utf8_lossy(&emission.value).into_owned())
        .collect()
}
