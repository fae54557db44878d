//! The seam between operators and the place where keyed state lives.
//!
//! A stored key is, in byte order: key group (u16, big-endian), key (length-delimited), namespace
//! (length-delimited), map key. Every backend iterates in that order within a (key, namespace), so that
//! the same job gives the same output on any of them.
//!
//! All calls of a backend come from the thread of its subtask, between two guest calls: there is no
//! concurrency but that of a snapshot being written while the backend goes on.

use std::io;

use wasmill_model::function::StateDeclaration;
use wasmill_model::key::{KeyGroup, KeyGroupRange, MaxParallelism};
use wasmill_model::time::Timestamp;

use crate::native::{FilesWanted, NativeSnapshot};
use crate::snapshot::{Entries, Entry, SnapshotWriter};

/// A state registered with a backend, valid for its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StateId(pub u16);

/// "None" among the lengths of [`Values`]: as in the frame's STATE section.
pub const NONE: u32 = u32::MAX;

/// Addresses one entry.
#[derive(Clone, Copy, Debug)]
pub struct StateKey<'a> {
    /// The key's group: it travels with the record. A list may have a key in another group than its own.
    pub group: KeyGroup,
    /// Lower half of the key's hash: it travels with the record.
    pub hash: u32,
    /// The encoded key (`wasmill_model::key`).
    pub key: &'a [u8],
    /// The window, encoded; empty is the void namespace.
    pub namespace: &'a [u8],
    /// The map key; empty for all but map state.
    pub map_key: &'a [u8],
}

/// Where an entry was found: lets a write that follows skip the search. It may be stale: a backend
/// checks it and searches where it does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locator(pub u64);

impl Locator {
    /// Knows nothing.
    pub const UNKNOWN: Self = Self(u64::MAX);
}

/// Values as they travel in a frame: lengths, and the bytes of all one after another.
#[derive(Default, Debug)]
pub struct Values {
    /// One for each key asked for; [`NONE`] where there is no value.
    pub lengths: Vec<u32>,
    /// The values that exist, in order.
    pub bytes: Vec<u8>,
    /// One for each key, for the write that follows.
    pub locators: Vec<Locator>,
    /// Which keys have something that is over, ascending: of states with time to live ([`crate::ttl`]).
    pub expired: Vec<u32>,
}

impl Values {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.bytes.clear();
        self.locators.clear();
        self.expired.clear();
    }

    /// Whether the key of that index has something that is over.
    pub fn is_expired(&self, key: usize) -> bool {
        self.expired.binary_search(&(key as u32)).is_ok()
    }

    /// What there is for each key, in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |length| {
            let (value, after) = (*length != NONE)
                .then(|| rest.split_at_checked(*length as usize))
                .flatten()?;
            rest = after;
            Some(value)
        })
    }
}

/// One write: a value, or `None` to remove the entry.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Which entry.
    pub key: StateKey<'a>,
    /// From a read before, or [`Locator::UNKNOWN`].
    pub locator: Locator,
    /// The new value.
    pub value: Option<&'a [u8]>,
}

/// What an entry of a page counts for beside its bytes: two buffers. Without it a page of empty elements had no end.
pub const PAGE_ENTRY_BYTES: usize = 64;

/// One page of a list or a map.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Page {
    /// (map key, value) in byte order of map keys; of a list (empty, element) in list order.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether nothing comes after.
    pub done: bool,
}

/// Why state could not be read, written or restored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The same name registered with another kind, or too many states.
    #[error("state `{name}`: {message}")]
    Register {
        /// The state.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The bytes of a snapshot do not hold what they should: damage, or something else.
    #[error("snapshot: {0}")]
    Corrupt(String),
    /// What a snapshot holds is whole, and not for this host or this job.
    #[error("snapshot: {0}")]
    Unsupported(String),
    /// A stored state does not fit what the function declares now (S8).
    #[error(
        "state `{name}`: the snapshot holds {kind:?} of schema version {stored}, the function declares {declared_kind:?} of \
         schema version {declared}: {}keep the old version, rename the state, or restore with its data dropped",
        match kind == declared_kind && stored < declared {
            true => "give the component a `migrate` that reads the older version (`migrates-from` in `describe`), ",
            false => "",
        }
    )]
    Incompatible {
        /// The state.
        name: String,
        /// Stored kind.
        kind: wasmill_model::function::StateKind,
        /// Declared kind.
        declared_kind: wasmill_model::function::StateKind,
        /// Stored schema version.
        stored: u32,
        /// Declared schema version.
        declared: u32,
    },
    /// A stored state's bytes are to be read in another way than the function declares now (S8).
    #[error(
        "state `{name}`: the snapshot holds it in the encoding `{stored}`, the function declares `{declared}` under the same \
         schema version: declare `{stored}` again, raise the schema version and migrate, rename the state, or restore with \
         its data dropped"
    )]
    Encoding {
        /// The state.
        name: String,
        /// Stored encoding.
        stored: String,
        /// Declared encoding.
        declared: String,
    },
    /// A stored map's keys are to be read in another way than the function declares now (S8).
    #[error(
        "state `{name}`: the snapshot holds its map keys as `{stored}`, the function declares `{declared}`, and `migrate` \
         converts values alone: declare `{stored}` again, rename the state, or restore with its data dropped"
    )]
    MapKeys {
        /// The state.
        name: String,
        /// Stored encoding.
        stored: String,
        /// Declared encoding.
        declared: String,
    },
    /// What an older schema version has stored could not be converted (S8).
    #[error(
        "state `{name}`: {place} cannot be migrated from schema version {stored} to {declared}; mend `migrate`, or go back to \
         the component that stored it: {reason}"
    )]
    Migration {
        /// The state.
        name: String,
        /// Stored schema version.
        stored: u32,
        /// Declared schema version.
        declared: u32,
        /// Which entry, as far as that is known.
        place: String,
        /// What the function said, or did.
        reason: String,
    },
    /// A stored state has stamps, or has none, and the function declares it the other way.
    #[error(
        "state `{name}`: the snapshot holds it {} time to live, the function declares it {} one: {} again, rename \
         the state, or restore with its data dropped",
        if *stored { "with" } else { "without" },
        if *stored { "without" } else { "with" },
        if *stored { "declare `ttl`" } else { "leave `ttl` out" }
    )]
    TimeToLive {
        /// The state.
        name: String,
        /// Whether the snapshot has stamps.
        stored: bool,
    },
    /// A call that does not fit the state: a fault of the host's own code, or a limit passed.
    #[error("state `{name}`: {message}")]
    Usage {
        /// The state.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Reading or writing failed below.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Keyed state of one operator in one subtask.
pub trait KeyedStateBackend: Send {
    /// Makes a state known before its first use; again with the same declaration gives the same id.
    /// May come after `restore`: a restored state keeps its entries.
    fn register(&mut self, declaration: &StateDeclaration) -> Result<StateId, StateError>;

    /// Appends to `out` one value for each key, in order. Value, reducing, aggregating and map states.
    fn get_many(&mut self, state: StateId, keys: &[StateKey<'_>], out: &mut Values)
    -> Result<(), StateError>;

    /// Applies writes in order. Value, reducing, aggregating and map states.
    fn write_batch(&mut self, state: StateId, writes: &[Write<'_>]) -> Result<(), StateError>;

    /// Appends one element to a list; its cost does not grow with the list. Whether it is the first.
    fn append(&mut self, state: StateId, key: StateKey<'_>, element: &[u8]) -> Result<bool, StateError>;

    /// Fills `out` with elements of a list from index `start` until `bytes_max` is reached; at least one
    /// where there is one.
    fn list_page(
        &mut self,
        state: StateId,
        key: StateKey<'_>,
        start: u64,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError>;

    /// Appends all elements of a list to `out`, lengths and bytes: for those that are known to fit memory.
    fn list(&mut self, state: StateId, key: StateKey<'_>, out: &mut Values) -> Result<(), StateError> {
        let (mut start, mut page) = (0, Page::default());
        while !page.done {
            self.list_page(state, key, start, usize::MAX, &mut page)?;
            start += page.entries.len() as u64;
            for (_, element) in &page.entries {
                out.lengths.push(element.len() as u32);
                out.bytes.extend_from_slice(element);
            }
        }
        Ok(())
    }

    /// A hint that what these keys have in a state will be asked for or written at once.
    fn prefetch(&mut self, state: StateId, keys: &[StateKey<'_>]) {
        let _ = (state, keys);
    }

    /// Fills `out` with entries of a map whose keys come after `after`, until `bytes_max` is reached; at
    /// least one where there is one. `key.map_key` is ignored.
    fn map_page(
        &mut self,
        state: StateId,
        key: StateKey<'_>,
        after: Option<&[u8]>,
        bytes_max: usize,
        out: &mut Page,
    ) -> Result<(), StateError>;

    /// Removes all that a (key, namespace) has in a state, whatever its kind. `key.map_key` is ignored. One call
    /// takes time in proportion to what it removes: of a map its entries, of a list its chunks, as in Flink's
    /// backend on disk. Where one key holds millions, remove them over several records.
    fn clear(&mut self, state: StateId, key: StateKey<'_>) -> Result<(), StateError>;

    /// Told between two calls of the operator: the operator's processing time, and how many records it has processed since
    /// the last time. States with time to live may then lose something that is over, in the way that each says (S4), and
    /// nothing else changes. Takes time in proportion to what was asked for or written since then.
    fn clean_up(&mut self, now: Timestamp, records: u64) -> Result<(), StateError>;

    /// Freezes what the backend holds now. Returns at once; the handle moves to another thread and is
    /// written there while this backend goes on, and its later writes stay invisible to the handle.
    /// `keyed::freeze` joins it with the timers into one file.
    fn snapshot(&mut self) -> Result<Box<dyn FrozenState>, StateError>;

    /// The same as files of the backend, where it can be that: `None`, and nothing is done, where it cannot.
    fn snapshot_files(&mut self, wanted: FilesWanted<'_>) -> Result<Option<NativeSnapshot>, StateError> {
        let _ = wanted;
        Ok(None)
    }

    /// Makes a state of a snapshot known. A later `register` claims it; one before is checked against it
    /// ([`StateError::Incompatible`]). Unclaimed states are kept and written again.
    fn restore_state(&mut self, declaration: &StateDeclaration) -> Result<StateId, StateError>;

    /// Adds entries of one state in one group. Called before the first use; a list's elements come in
    /// their order. `keyed::restore` is what calls it.
    fn restore_entries(
        &mut self,
        state: StateId,
        group: KeyGroup,
        entries: Entries<'_>,
    ) -> Result<(), StateError>;

    /// What a snapshot holds under that name, where nobody has registered it yet.
    fn restored(&self, name: &str) -> Option<(StateId, StateDeclaration)>;

    /// Says that the entries of a restored state are now what this declaration says; a `register` with it claims them.
    /// [`crate::migration`] is what calls it, after it has converted them all.
    fn redeclare(&mut self, state: StateId, declaration: &StateDeclaration) -> Result<(), StateError>;

    /// All states known, in the order of their ids.
    fn declarations(&self) -> Vec<StateDeclaration>;

    /// Names of restored states that nobody has registered. The engine refuses to run with them unless
    /// the job allows non-restored state (G4).
    fn unclaimed(&self) -> Vec<String>;

    /// Drops the entries of all unclaimed states and no longer writes them.
    fn drop_unclaimed(&mut self);

    /// The groups that it holds.
    fn range(&self) -> KeyGroupRange;

    /// Number of key groups of the job.
    fn max_parallelism(&self) -> MaxParallelism;

    /// Entries and bytes held, as an estimate for metrics and limits.
    fn size(&self) -> StateSize;
}

/// How much a backend holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Values, list elements and map entries.
    pub entries: u64,
    /// Memory taken, all overhead included.
    pub bytes: u64,
}

/// Is given an entry, or a run of elements of a list.
pub type EachEntry<'a> = dyn FnMut(Entry<'_>) -> Result<(), StateError> + 'a;

/// What a backend held at one instant.
pub trait FrozenState: Send {
    /// The states, in the order by which `write_group` numbers them: those that were dropped have no number.
    fn states(&self) -> Vec<(StateId, StateDeclaration)>;

    /// Writes the entries of one group, state by state in ascending order. Called once for each group in
    /// ascending order, so that memory can go as it is written.
    fn write_group(&mut self, group: KeyGroup, writer: &mut SnapshotWriter<'_>) -> Result<(), StateError>;

    /// Hands what one state has in one group to `each`, the runs of a list one after another; `number` is the state's place
    /// among [`states`](Self::states). In place of `write_group`: called once for each group in ascending order.
    fn for_each_entry(
        &mut self,
        number: usize,
        group: KeyGroup,
        each: &mut EachEntry<'_>,
    ) -> Result<(), StateError>;
}

/// A frozen view of keyed state and timers, on its way to storage.
pub trait StateSnapshot: Send {
    /// Writes the canonical per-key-group format; consumes the view so that its memory can go as it is
    /// written. The writer need not be buffered.
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> Result<(), StateError>;
}

/// A snapshot file that can be read at any place.
pub trait SnapshotFile {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset`; an error where the file ends before.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl SnapshotFile for &[u8] {
    fn len(&self) -> u64 {
        (**self).len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let source = start
            .checked_add(buffer.len())
            .and_then(|end| self.get(start..end));
        buffer.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
