//! What a call leaves behind beside state: rows, timers, metrics.
//!
//! Invariant: nothing here reaches the job before the call has succeeded. (Log lines are kept by the
//! sandbox in the same way.)

use wasmill_engine::metrics::{OperatorMetrics, UserMetric};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder, BatchMark};
use wasmill_model::row::RowHeader;
use wasmill_model::time::Timestamp;
use wasmill_state::timers::{TimeDomain, TimerQueue, TimerRef};

use super::keys::CallKeys;

/// Metrics of one instance at most.
pub const METRICS_MAX: usize = 1_000;
/// A timer registered or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerOp {
    /// Whether it is registered rather than deleted.
    pub register: bool,
    /// Its clock.
    pub domain: TimeDomain,
    /// Index of the key.
    pub key: u32,
    /// Index of the namespace.
    pub namespace: u32,
    /// When it fires.
    pub timestamp: Timestamp,
}

/// Applies timers in their order.
pub fn apply_timers(ops: &[TimerOp], keys: &CallKeys, timers: &mut TimerQueue) {
    for op in ops {
        let timer = TimerRef {
            timestamp: op.timestamp,
            group: keys.group(op.key),
            key: keys.encoded(op.key),
            namespace: keys.namespace_bytes(op.namespace),
        };
        if op.register {
            timers.register(op.domain, timer);
        } else {
            timers.delete(op.domain, timer);
        }
    }
}

/// Rows emitted one by one, by port. Rows of earlier calls that succeeded stay when one is undone.
#[derive(Default)]
pub struct Emissions {
    ports: Vec<(BatchBuilder, BatchMark)>,
    bytes_of_call: usize,
    rows_of_call: u32,
    /// Of the record at hand; empty where it knows none.
    cause: Vec<u8>,
    /// The port of each row that has a cause, in the order of emission.
    order: Vec<u16>,
    /// Rows in `order` when the call under way began.
    order_mark: usize,
    /// Whether rows without a cause keep their order among outputs too.
    keeps_order: bool,
}

impl Emissions {
    /// Marks the start of a call.
    pub fn begin(&mut self) {
        self.bytes_of_call = 0;
        self.rows_of_call = 0;
        self.order_mark = self.order.len();
        for (builder, mark) in &mut self.ports {
            *mark = builder.mark();
        }
    }

    /// Drops what the call under way has emitted.
    pub fn undo(&mut self) {
        self.order.truncate(self.order_mark);
        for (builder, mark) in &mut self.ports {
            builder.truncate(*mark);
        }
    }

    /// Whether rows leave in the order of emission, whatever outputs they go to; those that have causes always do.
    pub fn keep_order(&mut self, keeps_order: bool) {
        self.keeps_order = keeps_order;
    }

    /// What caused the rows to come, as a row gives it; empty: nothing that is known.
    pub fn set_cause(&mut self, cause: &[u8]) {
        self.cause.clear();
        self.cause.extend_from_slice(cause);
    }

    /// Adds a row.
    pub fn push(&mut self, port: u16, header: RowHeader, value: &[u8]) {
        self.bytes_of_call += value.len() + wasmill_model::row::HEADER_LEN;
        self.rows_of_call += 1;
        if self.cause.is_empty() && !self.keeps_order {
            self.port(port).push(header, b"", value, b"");
            return;
        }
        self.order.push(port);
        let cause = std::mem::take(&mut self.cause);
        self.port(port).push_caused(header, value, &cause);
        self.cause = cause;
    }

    /// Bytes that the call under way has emitted.
    pub fn bytes_of_call(&self) -> usize {
        self.bytes_of_call
    }

    /// Rows that the call under way has emitted by [`Emissions::push`].
    pub fn rows_of_call(&self) -> u32 {
        self.rows_of_call
    }

    /// The rows of a port.
    pub fn port(&mut self, port: u16) -> &mut BatchBuilder {
        let at = usize::from(port);
        if self.ports.len() <= at {
            self.ports.resize_with(at + 1, Default::default);
        }
        &mut self.ports[at].0
    }

    /// Bytes of all ports.
    pub fn len(&self) -> usize {
        self.ports.iter().map(|(builder, _)| builder.len()).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands all rows on.
    pub fn flush(&mut self, out: &mut Output) {
        if !self.order.is_empty() {
            self.flush_in_order(out);
        }
        for (port, (builder, mark)) in self.ports.iter_mut().enumerate() {
            if !builder.is_empty() {
                let room = builder.len();
                out.emit(port as u16, builder.finish_with_capacity(room));
            }
            *mark = BatchMark::default();
        }
    }
}

impl Emissions {
    /// Hands on rows that have causes in the order of emission, whatever outputs they go to.
    fn flush_in_order(&mut self, out: &mut Output) {
        let ports = self.ports.iter_mut().map(|(builder, _)| builder.finish());
        let ports: Vec<Batch> = ports.collect();
        let mut rows: Vec<_> = ports.iter().map(Batch::iter).collect();
        let mut run = BatchBuilder::default();
        let mut before = 0;
        for port in self.order.drain(..) {
            if port != before {
                out.emit(before, run.finish());
                before = port;
            }
            if let Some(row) = rows.get_mut(usize::from(port)).and_then(Iterator::next) {
                run.push_row(row);
            }
        }
        out.emit(before, run.finish());
        for (port, rest) in rows.into_iter().enumerate() {
            rest.for_each(|row| run.push_row(row));
            out.emit(port as u16, run.finish());
        }
    }
}

/// Kinds of metrics, by their codes in `docs/frame.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A sum.
    Counter,
    /// The last value.
    Gauge,
    /// All observations.
    Histogram,
}

impl MetricKind {
    /// From a frame's code.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Counter),
            2 => Some(Self::Gauge),
            3 => Some(Self::Histogram),
            _ => None,
        }
    }
}

/// The metrics that an instance has made, and what the call under way records in them.
#[derive(Default)]
pub struct Metrics {
    known: Vec<(String, MetricKind)>,
    records: Vec<(u32, f64)>,
}

impl Metrics {
    /// The number of a metric, which is made on first use; the error says what is wrong with it.
    pub fn register(&mut self, name: &str, kind: MetricKind) -> Result<u32, String> {
        if let Some(at) = self.known.iter().position(|(known, _)| known == name) {
            let known = self.known[at].1;
            return if known == kind {
                Ok(at as u32)
            } else {
                Err(format!(
                    "metric `{name}` is a {known:?} already and cannot be a {kind:?}"
                ))
            };
        }
        let mut bytes = name.bytes();
        let valid = name.len() <= 256
            && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            let shown: String = name.chars().take(64).collect();
            return Err(format!(
                "metric name `{}` is not [a-zA-Z_][a-zA-Z0-9_]* of at most 256 characters",
                shown.escape_debug()
            ));
        }
        if self.known.len() == METRICS_MAX {
            return Err(format!(
                "metric `{name}`: a function has at most {METRICS_MAX} metrics"
            ));
        }
        self.known.push((name.to_owned(), kind));
        Ok((self.known.len() - 1) as u32)
    }

    /// The kind of a metric by its number.
    pub fn kind(&self, metric: u32) -> Option<MetricKind> {
        self.known.get(metric as usize).map(|(_, kind)| *kind)
    }

    /// Records a value in a metric that is known.
    pub fn record(&mut self, metric: u32, value: f64) {
        self.records.push((metric, value));
    }

    /// Forgets what the call under way has recorded; metrics stay known.
    pub fn undo(&mut self) {
        self.records.clear();
    }

    /// Publishes what was recorded.
    pub fn apply(&mut self, target: &OperatorMetrics) {
        if self.records.is_empty() {
            return;
        }
        // Only a publisher that panicked poisons the lock, and its map is still a map.
        let mut user = target
            .user
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (metric, value) in self.records.drain(..) {
            let Some((name, kind)) = self.known.get(metric as usize) else {
                continue;
            };
            if !user.contains_key(name) {
                user.insert(name.clone(), empty_metric(*kind));
            }
            if let Some(known) = user.get_mut(name) {
                fold_metric(known, value);
            }
        }
    }
}

fn empty_metric(kind: MetricKind) -> UserMetric {
    match kind {
        MetricKind::Counter => UserMetric::Counter(0.0),
        MetricKind::Gauge => UserMetric::Gauge(0.0),
        MetricKind::Histogram => UserMetric::Histogram {
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        },
    }
}

fn fold_metric(metric: &mut UserMetric, value: f64) {
    match metric {
        UserMetric::Counter(sum) => *sum += value,
        UserMetric::Gauge(last) => *last = value,
        UserMetric::Histogram { count, sum, min, max } => {
            *count += 1;
            *sum += value;
            *min = min.min(value);
            *max = max.max(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmill_model::row;

    use super::*;

    #[test]
    fn rows_with_causes_leave_in_the_order_of_emission_whatever_output_they_go_to() {
        let header = RowHeader::element(None);
        let mut emissions = Emissions::default();
        emissions.begin();
        emissions.set_cause(&row::cause(7));
        emissions.push(1, header, b"a");
        emissions.push(0, header, b"b");
        emissions.begin();
        emissions.set_cause(&row::cause(8));
        emissions.push(1, header, b"undone");
        emissions.undo();
        emissions.begin();
        emissions.push(0, header, b"c");
        let mut out = Output::default();
        emissions.flush(&mut out);
        let mut seen = Vec::new();
        for (port, batch) in out.drain() {
            let rows = batch.iter();
            seen.extend(rows.map(|row| (port, row.value().to_vec(), row.cause_line())));
        }
        let expected = [(1, "a", 7), (0, "b", 7), (0, "c", 8)];
        let expected = expected.map(|(port, value, line)| (port, value.as_bytes().to_vec(), Some(line)));
        assert_eq!(seen, expected);
        assert!(emissions.is_empty());
    }
}
