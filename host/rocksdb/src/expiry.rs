//! Compactions that leave out what is over (S4).
//!
//! Invariant: a column that was made without time to live has no filter, so that its compactions cost what they did.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{DB, Options};
use wasmill_state::store::{Column, Expiry, ExpiryPass};

const NAME: &CStr = c"wasmill-expiry";

/// The setting of a column that is changed while its database is open.
const PERIODIC: &str = "periodic_compaction_seconds";

/// What is over in the columns of a database, as far as they say so.
#[derive(Clone, Default)]
pub(crate) struct Expiring(Arc<Mutex<BTreeMap<Column, Arc<dyn Expiry>>>>);

impl Expiring {
    pub(crate) fn new(columns: impl Iterator<Item = (Column, Arc<dyn Expiry>)>) -> Self {
        Self(Arc::new(Mutex::new(columns.collect())))
    }

    /// A column takes the place of the one that had its number.
    pub(crate) fn set(&self, column: Column, expiry: Option<Arc<dyn Expiry>>) {
        let mut all = self.lock();
        all.remove(&column);
        all.extend(expiry.map(|expiry| (column, expiry)));
    }

    /// The options of a column, made of those of one without time to live.
    pub(crate) fn options(&self, column: Column, of_all: &Options) -> Options {
        let mut options = of_all.clone();
        if let Some(expiry) = self.lock().get(&column) {
            options.set_compaction_filter_factory(Factory {
                column,
                expiring: self.clone(),
            });
            options.set_periodic_compaction_seconds(seconds(&**expiry));
        }
        options
    }

    /// Applies what a column's expiry says now.
    pub(crate) fn apply(&self, column: Column, db: &DB, name: &str) -> Result<(), rocksdb::Error> {
        let seconds = self.lock().get(&column).map(|expiry| seconds(&**expiry));
        match (seconds, db.cf_handle(name)) {
            (Some(seconds), Some(handle)) => db.set_options_cf(&handle, &[(PERIODIC, &*seconds.to_string())]),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Column, Arc<dyn Expiry>>> {
        // It is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At least one, unless passes need not be.
fn seconds(expiry: &dyn Expiry) -> u64 {
    expiry.pass_every_ms().div_ceil(1_000)
}

/// Of one column.
struct Factory {
    column: Column,
    expiring: Expiring,
}

impl CompactionFilterFactory for Factory {
    type Filter = Filter;

    fn create(&mut self, _: CompactionFilterContext) -> Filter {
        // Asked for at each compaction: the column may have been made anew, without time to live.
        let expiry = self.expiring.lock().get(&self.column).cloned();
        Filter(expiry.map(|expiry| expiry.pass()))
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// Of one compaction.
struct Filter(Option<Box<dyn ExpiryPass>>);

impl CompactionFilter for Filter {
    fn filter(&mut self, _: u32, key: &[u8], value: &[u8]) -> Decision {
        match self.0.as_mut().is_some_and(|pass| pass.is_over(key, value)) {
            true => Decision::Remove,
            false => Decision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}
