//! Writes a snapshot as a stream of checksummed blocks.
//!
//! Invariant: memory held is one block and the index, whatever the size of the state.

use std::io;

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key::KeyGroup;
use wasmill_model::time::Timestamp;

use super::entries::Entry;
use super::format::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, END_BYTES, KIND_CHUNKS, KIND_ENTRIES, KIND_HEADER,
    KIND_INDEX, KIND_REMOVED, KIND_TIMERS, KIND_TIMERS_GONE, KIND_TIMES_GONE, MAGIC_END, MAGIC_START,
    SnapshotHeader, VERSION, domain_number, put_bytes, put_varint,
};
use crate::backend::StateError;
use crate::timers::{TimeDomain, TimerRef};
use crate::ttl::TimeToLive;

/// Writes groups in ascending order, within a group states in ascending order, then timers.
pub struct SnapshotWriter<'a> {
    out: &'a mut dyn io::Write,
    offset: u64,
    states: Vec<(String, StateKind)>,
    /// By state, as far as there are any: what is over by it is left out.
    lives: Vec<Option<TimeToLive>>,
    group: Option<KeyGroup>,
    group_start: u64,
    /// Group, offset, length.
    index: Vec<(u16, u64, u64)>,
    /// (kind, state or domain) of the open block; `(0, 0)` where there is none.
    section: (u8, u16),
    count: u32,
    /// Room for the block's header, then its payload.
    block: Vec<u8>,
}

impl<'a> SnapshotWriter<'a> {
    /// Writes the start and the header.
    pub fn new(out: &'a mut dyn io::Write, header: &SnapshotHeader) -> Result<Self, StateError> {
        let json = serde_json::to_vec(header).map_err(io::Error::other)?;
        Self::begin(out, MAGIC_START, &json, &header.states)
    }

    /// The same of a header that is encoded already.
    pub(super) fn begin(
        out: &'a mut dyn io::Write,
        magic: [u8; 8],
        json: &[u8],
        states: &[StateDeclaration],
    ) -> Result<Self, StateError> {
        let mut writer = Self {
            out,
            offset: 0,
            states: states.iter().map(|s| (s.name.clone(), s.kind)).collect(),
            lives: Vec::new(),
            group: None,
            group_start: 0,
            index: Vec::new(),
            section: (0, 0),
            count: 0,
            block: vec![0; BLOCK_HEADER_BYTES],
        };
        writer.put(&[&magic[..], &VERSION.to_le_bytes()].concat())?;
        writer.section = (KIND_HEADER, 0);
        writer.count = 1;
        writer.block.extend_from_slice(json);
        writer.close_block()?;
        Ok(writer)
    }

    /// Leaves out what is over at the instant `now`, of the states that ask for it; `states` are those of the header.
    pub fn without_expired(mut self, states: &[StateDeclaration], now: Timestamp) -> Self {
        let lives = states.iter().map(|state| {
            let ttl = state.ttl.filter(|ttl| ttl.cleanup.cleanup_full_snapshot)?;
            Some(TimeToLive::new(ttl, now))
        });
        self.lives = lives.collect();
        self
    }

    fn time_to_live(&self, state: u16) -> Option<TimeToLive> {
        self.lives.get(usize::from(state)).copied().flatten()
    }

    /// Begins a group; groups without entries and timers may be left out.
    pub fn begin_group(&mut self, group: KeyGroup) -> Result<(), StateError> {
        if self.group.is_some_and(|last| last >= group) {
            return Err(usage(format!(
                "group {} comes out of order: write groups ascending",
                group.0
            )));
        }
        self.end_group()?;
        (self.group, self.section) = (Some(group), (0, 0));
        self.group_start = self.offset;
        Ok(())
    }

    /// Adds an entry of a value, reducing or aggregating state.
    pub fn value(
        &mut self,
        state: u16,
        key: &[u8],
        namespace: &[u8],
        value: &[u8],
    ) -> Result<(), StateError> {
        if self.time_to_live(state).is_some_and(|ttl| ttl.is_over(value)) {
            return Ok(());
        }
        self.open_entries(state, "a value", |kind| {
            !matches!(kind, StateKind::Map | StateKind::List)
        })?;
        self.put_parts(&[key, namespace, value])
    }

    /// Adds an entry of a map state: in byte order of map keys within a (key, namespace).
    pub fn map_entry(
        &mut self,
        state: u16,
        key: &[u8],
        namespace: &[u8],
        map_key: &[u8],
        value: &[u8],
    ) -> Result<(), StateError> {
        if self.time_to_live(state).is_some_and(|ttl| ttl.is_over(value)) {
            return Ok(());
        }
        self.open_entries(state, "a map entry", |kind| kind == StateKind::Map)?;
        self.put_parts(&[key, namespace, map_key, value])
    }

    /// Adds `count` elements of a list state, at least one: the runs of one list come in its order, with
    /// no other list between them.
    pub fn list_run<'e>(
        &mut self,
        state: u16,
        key: &[u8],
        namespace: &[u8],
        count: u32,
        elements: impl Iterator<Item = &'e [u8]> + Clone,
    ) -> Result<(), StateError> {
        let ttl = self.time_to_live(state);
        let lives = |element: &&[u8]| ttl.is_none_or(|ttl| !ttl.is_over(element));
        let count = match ttl {
            Some(_) => elements.clone().filter(lives).count() as u32,
            None => count,
        };
        if count == 0 {
            return Ok(());
        }
        let elements = elements.filter(lives);
        self.open_entries(state, "list elements", |kind| kind == StateKind::List)?;
        put_bytes(&mut self.block, key);
        put_bytes(&mut self.block, namespace);
        put_varint(&mut self.block, count);
        elements.for_each(|element| put_bytes(&mut self.block, element));
        self.end_entry()
    }

    /// Adds an entry of any state.
    #[inline]
    pub fn entry(&mut self, state: u16, entry: Entry<'_>) -> Result<(), StateError> {
        match entry {
            Entry::Value {
                key,
                namespace,
                value,
            } => self.value(state, key, namespace, value),
            Entry::Map {
                key,
                namespace,
                map_key,
                value,
            } => self.map_entry(state, key, namespace, map_key, value),
            Entry::List {
                key,
                namespace,
                elements,
            } => self.list_run(state, key, namespace, elements.left(), elements),
        }
    }

    /// Adds a timer of the group: after its entries, event time first, in firing order.
    pub fn timer(&mut self, domain: TimeDomain, timer: TimerRef<'_>) -> Result<(), StateError> {
        self.open_section((KIND_TIMERS, domain_number(domain)))?;
        self.block.extend_from_slice(&timer.timestamp.to_le_bytes());
        self.put_parts(&[timer.key, timer.namespace])
    }

    /// Writes the index and the end. A file without them is no snapshot.
    pub fn finish(mut self) -> Result<(), StateError> {
        self.end_group()?;
        let index_offset = self.offset;
        self.section = (KIND_INDEX, 0);
        self.count = 1;
        self.block
            .extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        for (group, offset, length) in std::mem::take(&mut self.index) {
            self.block.extend_from_slice(&u32::from(group).to_le_bytes());
            self.block.extend_from_slice(&offset.to_le_bytes());
            self.block.extend_from_slice(&length.to_le_bytes());
        }
        self.group = None;
        self.close_block()?;
        let mut end = Vec::with_capacity(END_BYTES);
        end.extend_from_slice(&index_offset.to_le_bytes());
        end.extend_from_slice(&(self.offset + END_BYTES as u64).to_le_bytes());
        end.extend_from_slice(&VERSION.to_le_bytes());
        end.extend_from_slice(&crc32c::crc32c(&end).to_le_bytes());
        end.extend_from_slice(&MAGIC_END);
        self.put(&end)?;
        self.out.flush()?;
        Ok(())
    }

    fn open_entries(
        &mut self,
        state: u16,
        what: &str,
        fits: impl Fn(StateKind) -> bool,
    ) -> Result<(), StateError> {
        if self.section == (KIND_ENTRIES, state) {
            return Ok(());
        }
        match self.states.get(usize::from(state)) {
            Some((_, kind)) if fits(*kind) => self.open_section((KIND_ENTRIES, state)),
            Some((name, kind)) => Err(StateError::Usage {
                name: name.clone(),
                message: format!("{what} does not belong to a state of kind {kind:?}"),
            }),
            None => Err(usage(format!(
                "state number {state} is not in the snapshot's header"
            ))),
        }
    }

    /// Room for an entry, after its section was opened.
    pub(super) fn block_mut(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    pub(super) fn open_section(&mut self, section: (u8, u16)) -> Result<(), StateError> {
        if self.section == section {
            return Ok(());
        }
        if self.group.is_none() || rank(section) < rank(self.section) {
            return Err(usage(
                "entries come in order of state, then timers, within a group".to_owned(),
            ));
        }
        self.close_block()?;
        self.section = section;
        Ok(())
    }

    /// Ends an entry with these parts.
    pub(super) fn put_parts(&mut self, parts: &[&[u8]]) -> Result<(), StateError> {
        parts.iter().for_each(|part| put_bytes(&mut self.block, part));
        self.end_entry()
    }

    fn end_entry(&mut self) -> Result<(), StateError> {
        self.count += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.close_block()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), StateError> {
        self.close_block()?;
        if let Some(group) = self.group.filter(|_| self.offset > self.group_start) {
            self.index
                .push((group.0, self.group_start, self.offset - self.group_start));
        }
        Ok(())
    }

    /// Writes the open block, if it holds anything.
    fn close_block(&mut self) -> Result<(), StateError> {
        if self.count == 0 {
            return Ok(());
        }
        let payload = &self.block[BLOCK_HEADER_BYTES..];
        let length = u32::try_from(payload.len()).map_err(|_| {
            usage("an entry of 4 GiB or more cannot be written: store it in parts".to_owned())
        })?;
        let mut header = BlockHeader {
            kind: self.section.0,
            flags: 0,
            group: self.group.map_or(0, |group| group.0),
            state: self.section.1,
            count: self.count,
            length,
            crc32c: 0,
        };
        header.crc32c = header.checksum(self.offset, payload);
        self.block[..BLOCK_HEADER_BYTES].copy_from_slice(&header.encode());
        self.out.write_all(&self.block)?;
        self.offset += self.block.len() as u64;
        self.count = 0;
        self.block.truncate(BLOCK_HEADER_BYTES);
        self.block.shrink_to(2 * BLOCK_BYTES);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// In which order sections come in a group: what a segment removes before what it puts, and timers last.
fn rank((kind, number): (u8, u16)) -> (u8, u16) {
    let rank = match kind {
        KIND_REMOVED => 1,
        KIND_ENTRIES | KIND_CHUNKS => 2,
        KIND_TIMES_GONE => 3,
        KIND_TIMERS_GONE => 4,
        KIND_TIMERS => 5,
        _ => 0,
    };
    (rank, number)
}

fn usage(message: String) -> StateError {
    StateError::Usage {
        name: "(snapshot)".to_owned(),
        message,
    }
}
