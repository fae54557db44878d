//! What a store may drop of a state with time to live, by itself while it compacts (S4).
//!
//! A value or map entry that is over may go at any time: what the cache holds of it stays true, for a read of it is one
//! that came before the cleanup. Of lists only one that lies in its open chunk alone may: a chunk that went from the midst
//! would leave elements without their number. Of longer lists a pass tells which have chunks that are over, and the backend
//! writes those anew. Invariants: time is what the operator's clock said last, so that nothing goes before the operator
//! could know that it is over; where the clock is not known yet, nothing goes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_model::function::{StateDeclaration, StateTtl};
use wasmill_model::key::{self, KeyGroup};
use wasmill_model::time::Timestamp;

use super::StoredBackend;
use super::layout::{Layout, OPEN};
use super::list::Chunk;
use crate::backend::{KeyedStateBackend, StateError, StateId, StateKey, Values};
use crate::store::{Column, Expiry, ExpiryPass, OrderedStore};
use crate::stored_key;
use crate::ttl::TimeToLive;

/// Lists that wait to be written anew; of others a later pass tells again.
const LISTS_MAX: usize = 1_024;

/// Lists that are written anew between two calls of the operator.
const LISTS_A_CALL: usize = 4;

/// By number of the state; those that live for ever have none.
#[derive(Default)]
pub struct Expiries(Vec<Option<Arc<ColumnExpiry>>>);

impl Expiries {
    /// Of states that a store holds in columns of the numbers from 0 on.
    pub fn of(states: &[StateDeclaration]) -> Self {
        Self(states.iter().map(ColumnExpiry::new).collect())
    }

    /// Those of columns.
    pub fn columns(&self) -> impl Iterator<Item = (Column, Arc<dyn Expiry>)> {
        let numbered = (0u16..).zip(&self.0);
        numbered.filter_map(|(column, expiry)| {
            let expiry = Arc::clone(expiry.as_ref()?);
            Some((Column(column), expiry as Arc<dyn Expiry>))
        })
    }

    /// A column is made for a state.
    pub(super) fn add(&mut self, id: StateId, declaration: &StateDeclaration) -> Option<Arc<dyn Expiry>> {
        let number = usize::from(id.0);
        self.0.resize_with(self.0.len().max(number + 1), Option::default);
        self.0[number] = ColumnExpiry::new(declaration);
        let expiry = Arc::clone(self.0[number].as_ref()?);
        Some(expiry as Arc<dyn Expiry>)
    }

    /// A state is declared, perhaps otherwise than it was restored.
    pub(super) fn declare(
        &self,
        id: StateId,
        declaration: &StateDeclaration,
        store: &dyn OrderedStore,
    ) -> Result<(), StateError> {
        match (self.get(id), declaration.ttl) {
            (Some(expiry), Some(ttl)) if expiry.set(ttl) => store.expiry_changed(Column(id.0)),
            _ => Ok(()),
        }
    }

    /// What a state held is dropped.
    pub(super) fn forget(&mut self, id: StateId) {
        if let Some(expiry) = self.0.get_mut(usize::from(id.0)) {
            *expiry = None;
        }
    }

    fn get(&self, id: StateId) -> Option<&Arc<ColumnExpiry>> {
        self.0.get(usize::from(id.0))?.as_ref()
    }
}

/// Of one column: what the backend and the threads of the store share.
struct ColumnExpiry {
    layout: Layout,
    /// `None`: nothing goes.
    ttl: Mutex<Option<StateTtl>>,
    /// The operator's processing time.
    now: AtomicI64,
    pass_every_ms: AtomicU64,
    /// What the stored keys of lists begin with that have something to be removed.
    lists: Mutex<Vec<Vec<u8>>>,
    has_lists: AtomicBool,
}

impl ColumnExpiry {
    fn new(declaration: &StateDeclaration) -> Option<Arc<Self>> {
        let ttl = declaration.ttl?;
        let expiry = Self {
            layout: Layout::of(declaration.kind),
            ttl: Mutex::new(None),
            now: AtomicI64::new(Timestamp::MIN),
            pass_every_ms: AtomicU64::new(0),
            lists: Mutex::default(),
            has_lists: AtomicBool::new(false),
        };
        expiry.set(ttl);
        Some(Arc::new(expiry))
    }

    /// Takes settings; whether passes are to be at other times than before.
    fn set(&self, ttl: StateTtl) -> bool {
        let cleanup = ttl.compact_filter_cleanup();
        *lock(&self.ttl) = cleanup.map(|_| ttl);
        let every = cleanup.map_or(0, |cleanup| cleanup.periodic_compaction_time);
        self.pass_every_ms.swap(every, Ordering::Relaxed) != every
    }

    fn settings(&self) -> Option<StateTtl> {
        *lock(&self.ttl)
    }

    fn tell_of(&self, prefix: &[u8]) {
        let mut lists = lock(&self.lists);
        // The chunks of a list come one after another.
        if lists.len() < LISTS_MAX && lists.last().is_none_or(|last| last != prefix) {
            lists.push(prefix.to_vec());
            self.has_lists.store(true, Ordering::Relaxed);
        }
    }

    /// Some of the lists that passes have told of.
    fn take_lists(&self) -> Vec<Vec<u8>> {
        if !self.has_lists.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut lists = lock(&self.lists);
        let rest = lists.len().saturating_sub(LISTS_A_CALL);
        self.has_lists.store(rest > 0, Ordering::Relaxed);
        lists.split_off(rest)
    }
}

impl Expiry for ColumnExpiry {
    fn pass(self: Arc<Self>) -> Box<dyn ExpiryPass> {
        Box::new(Pass {
            expiry: self,
            ttl: None,
            left: 0,
        })
    }

    fn pass_every_ms(&self) -> u64 {
        self.pass_every_ms.load(Ordering::Relaxed)
    }
}

/// One pass.
struct Pass {
    expiry: Arc<ColumnExpiry>,
    ttl: Option<TimeToLive>,
    /// Entries until the time is asked for again.
    left: u64,
}

impl ExpiryPass for Pass {
    fn is_over(&mut self, key: &[u8], value: &[u8]) -> bool {
        if self.left == 0 {
            let settings = self.expiry.settings();
            let now = self.expiry.now.load(Ordering::Relaxed);
            self.ttl = settings.map(|ttl| TimeToLive::new(ttl, now));
            let cleanup = settings.and_then(StateTtl::compact_filter_cleanup);
            self.left = cleanup.map_or(u64::MAX, |cleanup| cleanup.query_time_after_num_entries.max(1));
        }
        self.left -= 1;
        let Some(ttl) = self.ttl else { return false };
        match self.expiry.layout {
            Layout::Value | Layout::Map => ttl.is_over(value),
            Layout::List => self.is_list_over(ttl, key, value),
        }
    }
}

impl Pass {
    fn is_list_over(&self, ttl: TimeToLive, key: &[u8], value: &[u8]) -> bool {
        let (Some((prefix, number)), Some(chunk)) = (key.split_last_chunk::<8>(), Chunk::of(value)) else {
            return false;
        };
        let over = chunk.elements().filter(|element| ttl.is_over(element)).count();
        if over == 0 {
            return false;
        }
        let is_alone = *number == OPEN && chunk.first == 0;
        if is_alone && over == chunk.count as usize {
            return true;
        }
        if 2 * over >= chunk.count as usize {
            self.expiry.tell_of(prefix);
        }
        false
    }
}

impl StoredBackend {
    /// Tells the store the time, and writes lists anew that passes have told of.
    pub(super) fn expire(&mut self, now: Timestamp) -> Result<(), StateError> {
        for number in 0..self.expiries.0.len() as u16 {
            let id = StateId(number);
            let Some(expiry) = self.expiries.get(id) else {
                continue;
            };
            expiry.now.store(now, Ordering::Relaxed);
            let lists = expiry.take_lists();
            if lists.is_empty() {
                continue;
            }
            let Some(ttl) = expiry.settings() else { continue };
            for prefix in lists {
                self.keep_living(id, &prefix, TimeToLive::new(ttl, now))?;
            }
        }
        Ok(())
    }

    /// Writes a list anew without what is over, if that is half of it or more.
    fn keep_living(&mut self, id: StateId, prefix: &[u8], ttl: TimeToLive) -> Result<(), StateError> {
        let Some((group, parts)) = prefix.split_first_chunk().and_then(|(group, rest)| {
            Some((KeyGroup(u16::from_be_bytes(*group)), stored_key::decode(rest)?))
        }) else {
            return Ok(());
        };
        let key = StateKey {
            group,
            hash: key::hash(parts.key) as u32,
            key: parts.key,
            namespace: parts.namespace,
            map_key: &[],
        };
        let mut values = Values::default();
        self.list(id, key, &mut values)?;
        let living = || values.iter().flatten().filter(|element| !ttl.is_over(element));
        if living().count() * 2 > values.lengths.len() {
            return Ok(());
        }
        self.clear(id, key)?;
        living().try_for_each(|element| self.append(id, key, element).map(drop))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is whole at any time.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
