//! Where an operator's results go.

use wasmill_model::batch::Batch;

/// Collects the results of one call of an operator; the task hands them to the chained operators and
/// to the edges of each port.
#[derive(Default, Debug)]
pub struct Output {
    batches: Vec<(u16, Batch)>,
}

impl Output {
    /// Emits rows to a port: 0 is the main output, 1 + n the side output n. Empty batches vanish.
    pub fn emit(&mut self, port: u16, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push((port, batch));
        }
    }

    /// Takes all that was emitted, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = (u16, Batch)> + '_ {
        self.batches.drain(..)
    }

    /// Whether nothing was emitted.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}
