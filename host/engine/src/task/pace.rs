//! How many rows a step takes, so that it does at most some 10 ms of work. Pure.
//!
//! Invariant: a step takes at least one row, and at most twice as many as the step before: one cheap
//! batch is no promise for the next.

/// The work that one step should do at most, ns.
const STEP_NS: u64 = 10_000_000;
/// Rows of the first step, before anything was measured.
const ROWS_FIRST: u32 = 128;
/// Rows of a step at most.
const ROWS_MAX: u32 = 1 << 16;

/// Adapts the rows of a step to what rows cost.
pub(crate) struct Pace {
    rows: u32,
    fixed: Option<u32>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rows: ROWS_FIRST,
            fixed: None,
        }
    }
}

impl Pace {
    /// How many rows the next step may take.
    pub(crate) fn rows(&self) -> u32 {
        self.fixed.unwrap_or(self.rows).max(1)
    }

    /// Overrides the adaption for the next step, for the simulator.
    pub(crate) fn fix(&mut self, rows: Option<u32>) {
        self.fixed = rows;
    }

    /// A step has taken that many rows and that long.
    pub(crate) fn record(&mut self, rows: u32, ns: u64) {
        let affordable = STEP_NS.saturating_mul(u64::from(rows)) / ns.max(1);
        let grown = u64::from(self.rows.max(rows)) * 2;
        self.rows = affordable.min(grown).clamp(1, u64::from(ROWS_MAX)) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shrinks_at_once_and_grows_by_doubling() {
        let mut pace = Pace::default();
        pace.record(128, 1_000);
        assert_eq!(pace.rows(), 256);
        pace.record(256, 10 * STEP_NS);
        assert_eq!(pace.rows(), 25);
        pace.record(25, 1);
        assert_eq!(pace.rows(), 50);
    }

    #[test]
    fn a_row_that_takes_longer_than_a_step_is_taken_alone() {
        let mut pace = Pace::default();
        pace.record(1, 1_000 * STEP_NS);
        assert_eq!(pace.rows(), 1);
    }
}
