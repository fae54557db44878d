//! Counters, gauges and histograms.
//!
//! A metric is a handle made in `open`; what it was told goes to the host with the answer of the call
//! and is dropped when the call fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::host::{self, op};

/// Counts; it never goes down.
#[derive(Clone, Default)]
pub struct Counter(Rc<Cell<u64>>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get().saturating_add(count));
    }
}

/// A value that goes up and down; the last one of a call counts.
#[derive(Clone, Default)]
pub struct Gauge(Rc<Cell<Option<f64>>>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.set(Some(value));
    }
}

/// The distribution of observations.
#[derive(Clone, Default)]
pub struct Histogram(Rc<RefCell<Vec<f64>>>);

impl Histogram {
    /// Notes one observation.
    pub fn record(&self, value: f64) {
        self.0.borrow_mut().push(value);
    }
}

enum Handle {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Handle {
    fn kind(&self) -> u32 {
        match self {
            Self::Counter(_) => 1,
            Self::Gauge(_) => 2,
            Self::Histogram(_) => 3,
        }
    }

    fn drain(&self, mut each: impl FnMut(f64)) {
        match self {
            Self::Counter(counter) => match counter.0.take() {
                0 => {}
                count => each(count as f64),
            },
            Self::Gauge(gauge) => {
                if let Some(value) = gauge.0.take() {
                    each(value);
                }
            }
            Self::Histogram(histogram) => histogram.0.borrow_mut().drain(..).for_each(each),
        }
    }
}

/// The metrics of the function, with the numbers that the host gave them.
#[derive(Default)]
pub(crate) struct Metrics {
    handles: Vec<(u32, Handle)>,
}

impl Metrics {
    pub(crate) fn counter(&mut self, name: &str) -> Result<Counter> {
        let counter = Counter::default();
        self.register(name, Handle::Counter(counter.clone()))?;
        Ok(counter)
    }

    pub(crate) fn gauge(&mut self, name: &str) -> Result<Gauge> {
        let gauge = Gauge::default();
        self.register(name, Handle::Gauge(gauge.clone()))?;
        Ok(gauge)
    }

    pub(crate) fn histogram(&mut self, name: &str) -> Result<Histogram> {
        let histogram = Histogram::default();
        self.register(name, Handle::Histogram(histogram.clone()))?;
        Ok(histogram)
    }

    fn register(&mut self, name: &str, handle: Handle) -> Result<()> {
        let mut request = Vec::new();
        host::start_request(&mut request, op::REGISTER_METRIC);
        request.extend_from_slice(&handle.kind().to_le_bytes());
        request.extend_from_slice(name.as_bytes());
        let response = host::call(&request).map_err(Error::failed)?;
        let number = response
            .as_slice()
            .try_into()
            .map(u32::from_le_bytes)
            .map_err(|_| Error::failed("the host's answer to `register metric` is no number"))?;
        self.handles.push((number, handle));
        Ok(())
    }

    /// Appends the answer's METRICS section.
    pub(crate) fn drain(&self, out: &mut Vec<u8>) {
        for (number, handle) in &self.handles {
            handle.drain(|value| {
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(&handle.kind().to_le_bytes());
                out.extend_from_slice(&value.to_le_bytes());
            });
        }
    }

    /// Drops what a failed call noted.
    pub(crate) fn discard(&self) {
        for (_, handle) in &self.handles {
            handle.drain(|_| {});
        }
    }
}
