//! Where an operator's results go.

use wasmill_model::batch::Batch;
use wasmill_model::time::TimeSignal;

/// One result of an operator.
#[derive(Debug, PartialEq)]
pub enum Emitted {
    /// Rows to a port: 0 is the main output, 1 + n the side output n.
    Rows {
        /// The port.
        port: u16,
        /// The rows.
        batch: Batch,
    },
    /// A watermark or idleness that the operator makes itself, to all ports.
    Signal(TimeSignal),
}

/// Collects the results of one call of an operator; the task hands them to the chained operators and
/// to the edges of each port, in order.
#[derive(Default, Debug)]
pub struct Output {
    emitted: Vec<Emitted>,
}

impl Output {
    /// Emits rows to a port: 0 is the main output, 1 + n the side output n. Empty batches vanish.
    pub fn emit(&mut self, port: u16, batch: Batch) {
        if !batch.is_empty() {
            self.emitted.push(Emitted::Rows { port, batch });
        }
    }

    /// Emits a watermark or idleness, after the rows emitted before. For operators that make watermarks
    /// ([`crate::operator::Operator::makes_watermarks`]); for all others the task passes on those of the input.
    pub fn signal(&mut self, signal: TimeSignal) {
        self.emitted.push(Emitted::Signal(signal));
    }

    /// Takes all that was emitted, in order.
    pub fn drain_all(&mut self) -> impl Iterator<Item = Emitted> + '_ {
        self.emitted.drain(..)
    }

    /// Takes all rows that were emitted, in order; signals are dropped.
    pub fn drain(&mut self) -> impl Iterator<Item = (u16, Batch)> + '_ {
        self.emitted.drain(..).filter_map(|emitted| match emitted {
            Emitted::Rows { port, batch } => Some((port, batch)),
            Emitted::Signal(_) => None,
        })
    }

    /// Whether nothing was emitted.
    pub fn is_empty(&self) -> bool {
        self.emitted.is_empty()
    }
}
