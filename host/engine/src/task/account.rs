//! Where a task's time goes: at work, without input, without credit.

use std::sync::atomic::Ordering;

use super::{Task, Waiting};
use crate::exchange::Sent;
use crate::metrics::add;

impl Task {
    pub(super) fn account_waiting(&mut self, now_ns: u64) {
        let waited = now_ns.saturating_sub(self.last_ns);
        self.parts.metrics.waiting_since_ns.store(0, Ordering::Relaxed);
        match self.waiting.take() {
            Some(Waiting::Input) => add(&self.parts.metrics.idle_ns, waited),
            Some(Waiting::Credit) => add(&self.parts.metrics.backpressured_ns, waited),
            None => add(&self.parts.metrics.busy_ns, waited),
        }
    }

    pub(super) fn account_work(&mut self, started: u64, ended: u64) {
        let worked = ended.saturating_sub(started);
        add(&self.parts.metrics.busy_ns, worked);
        if self.rows > 0 {
            self.pace.record(self.rows, worked);
            let Sent { records, bytes } = self.parts.chain.sent();
            self.parts.metrics.records_out.store(records, Ordering::Relaxed);
            self.parts.metrics.bytes_out.store(bytes, Ordering::Relaxed);
        }
        self.last_ns = ended;
        if let Some(waiting) = self.waiting {
            let metrics = &self.parts.metrics;
            metrics
                .waits_for_credit
                .store(waiting == Waiting::Credit, Ordering::Relaxed);
            metrics.waiting_since_ns.store(ended.max(1), Ordering::Relaxed);
        }
    }
}
