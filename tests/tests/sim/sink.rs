//! The world outside the simulated job: transactions that outlive a crash of the process, and the
//! two-phase-commit sink that writes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wasmill_checkpoint::handle::Committable;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::sink::{Commit, Sink, SinkGuarantee, SinkRecovery, SinkWriter, lost};
use wasmill_model::batch::Batch;
use wasmill_model::id::CheckpointId;

use crate::random::Random;
use crate::slow::pause;

#[derive(Clone)]
struct Transaction {
    /// At whose barrier it was pre-committed.
    checkpoint: CheckpointId,
    lines: Vec<String>,
}

/// What outlives a crash of the process, beside checkpoint storage.
pub(crate) struct External {
    /// Not yet visible.
    pending: BTreeMap<u64, Transaction>,
    /// Visible.
    committed: BTreeMap<u64, Transaction>,
    transactions: u64,
    random: Random,
    /// A call fails once in so many; 0: never.
    failing: u64,
    pub(crate) failures: u64,
}

/// After so many failures everything works, so that a run comes to an end.
const FAILURES_MAX: u64 = 40;

pub(crate) type Shared = Arc<Mutex<External>>;

impl External {
    pub(crate) fn new(seed: u64, failing: u64) -> Shared {
        Arc::new(Mutex::new(Self {
            pending: BTreeMap::new(),
            committed: BTreeMap::new(),
            transactions: 0,
            random: Random::new(seed ^ 0xE7),
            failing,
            failures: 0,
        }))
    }

    /// The world as it would be if nothing had happened after a savepoint that has just completed.
    pub(crate) fn at(&self, savepoint: CheckpointId) -> Shared {
        let until = |transactions: &BTreeMap<u64, Transaction>| {
            let before = transactions.iter().filter(|(_, t)| t.checkpoint <= savepoint);
            before.map(|(number, t)| (*number, t.clone())).collect()
        };
        Arc::new(Mutex::new(Self {
            pending: until(&self.pending),
            committed: until(&self.committed),
            transactions: self.transactions,
            random: self.random.clone(),
            failing: self.failing,
            failures: 0,
        }))
    }

    /// All lines that are visible, sorted.
    pub(crate) fn committed(&self) -> Vec<String> {
        let lines = self.committed.values().flat_map(|t| &t.lines);
        let mut lines: Vec<String> = lines.cloned().collect();
        lines.sort();
        lines
    }

    pub(crate) fn fails(&mut self) -> bool {
        let fails = self.failures < FAILURES_MAX && self.random.once_in(self.failing);
        self.failures += u64::from(fails);
        fails
    }

    fn commit(&mut self, committable: &Committable) -> Result<Commit, TaskError> {
        if self.fails() {
            return Ok(Commit::Retry("failure on purpose".to_owned()));
        }
        let number = committable.bytes.as_slice().try_into().map(u64::from_le_bytes);
        let number = number.map_err(|_| TaskError::host("no transaction number"))?;
        if let Some(transaction) = self.pending.remove(&number) {
            self.committed.insert(number, transaction);
            return Ok(Commit::Committed);
        }
        match self.committed.contains_key(&number) {
            true => Ok(Commit::Already),
            false => Ok(Commit::Lost(format!("transaction {number} is not there"))),
        }
    }
}

pub(crate) fn injected(what: &str) -> TaskError {
    TaskError::external(format!("{what}: failure on purpose"))
}

/// A sink of transactions in [`External`].
pub(crate) struct SimSink {
    pub(crate) external: Shared,
}

struct Writer {
    external: Shared,
    written: Vec<String>,
}

impl Sink for SimSink {
    fn writer(&self, _: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(Writer {
            external: self.external.clone(),
            written: Vec::new(),
        }))
    }

    fn recover(&self, recovery: &SinkRecovery) -> Result<(), TaskError> {
        if self.external.lock().unwrap().fails() {
            return Err(injected("recover"));
        }
        for committable in &recovery.committables {
            pause();
            match self.external.lock().unwrap().commit(committable)? {
                Commit::Committed | Commit::Already => {}
                Commit::Retry(why) => return Err(injected(&why)),
                Commit::Lost(why) => return Err(lost(committable, &why)),
            }
        }
        pause();
        self.external.lock().unwrap().pending.clear();
        Ok(())
    }

    fn guarantee(&self) -> SinkGuarantee {
        SinkGuarantee::TwoPhaseCommit
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        self.written.extend(batch.iter().map(|row| text(row.value())));
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError> {
        if self.written.is_empty() {
            return Ok(Vec::new());
        }
        let mut external = self.external.lock().unwrap();
        if external.fails() {
            return Err(injected("prepare-commit"));
        }
        external.transactions += 1;
        let number = external.transactions;
        let lines = std::mem::take(&mut self.written);
        external.pending.insert(number, Transaction { checkpoint, lines });
        Ok(vec![(1, number.to_le_bytes().to_vec())])
    }

    fn commit(&mut self, committable: &Committable) -> Result<Commit, TaskError> {
        self.external.lock().unwrap().commit(committable)
    }
}
