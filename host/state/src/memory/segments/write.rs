//! A segment on its way into a checkpoint.
//!
//! Invariant: it owns all that it writes; tables go as they are written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Segment;
use crate::backend::StateError;
use crate::memory::frozen::{of_prefix, take, write_maps, write_values};
use crate::memory::list::{Chunk, FrozenListTable};
use crate::memory::page::{read_slot, walk};
use crate::memory::table::{FrozenTable, TableChanges};
use crate::native::{FileSink, FrozenFiles};
use crate::snapshot::{ChunkEntry, Continues, SnapshotHeader, SnapshotWriter, take_bytes};
use crate::timers::{TimeDomain, TimerChanges, TimerQueue};

/// Tables of one state, by group.
pub(super) enum SegmentTables {
    Values(Vec<FrozenTable>),
    Maps(Vec<FrozenTable>),
    Lists(Vec<FrozenListTable>),
}

/// See the module.
pub(super) struct FrozenSegment {
    pub(super) header: SnapshotHeader,
    pub(super) continues: Continues,
    /// Names of the segments before it.
    pub(super) before: Vec<String>,
    pub(super) segment: Segment,
    /// Set where one of those is not to be had.
    pub(super) is_lost: Arc<AtomicBool>,
    pub(super) tables: Vec<SegmentTables>,
    pub(super) timers_before: TimerQueue,
    pub(super) timers: TimerQueue,
}

impl FrozenFiles for FrozenSegment {
    fn write(mut self: Box<Self>, out: &mut dyn FileSink) -> Result<(), StateError> {
        for name in &self.before {
            if !out.reuse(name) {
                self.is_lost.store(true, Ordering::Relaxed);
                return Err(StateError::Corrupt(format!(
                    "segment {name} of the checkpoint that this one builds on is not known any more: the next one is written \
                     whole"
                )));
            }
        }
        let name = self.segment.name();
        let bytes = Arc::clone(&self.segment.bytes);
        out.write(&name, &mut |out| {
            let mut counted = Counted { out, bytes: 0 };
            self.write_to(&mut counted)?;
            bytes.store(counted.bytes, Ordering::Relaxed);
            Ok(())
        })
    }
}

impl FrozenSegment {
    fn write_to(&mut self, out: &mut dyn io::Write) -> Result<(), StateError> {
        let Self {
            header,
            continues,
            tables,
            timers_before,
            timers,
            ..
        } = self;
        let range = header.range;
        let mut writer = SnapshotWriter::segment(out, header, continues)?;
        let [event, processing] = [TimeDomain::Event, TimeDomain::Processing].map(|domain| {
            (
                domain,
                TimerChanges::between(timers_before, timers, domain, range),
            )
        });
        for (index, group) in range.iter().enumerate() {
            writer.begin_group(group)?;
            for (state, tables) in (0..).zip(&*tables) {
                write_removed(&mut writer, state, tables, index)?;
            }
            for (state, tables) in (0..).zip(&mut *tables) {
                write_put(&mut writer, state, tables, index)?;
            }
            write_timers(&mut writer, index, [&event, &processing])?;
        }
        writer.finish()
    }
}

fn write_removed(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    tables: &SegmentTables,
    index: usize,
) -> Result<(), StateError> {
    match tables {
        SegmentTables::Values(tables) => {
            for_each_removed(tables.get(index), |parts| writer.removed(state, &parts))
        }
        SegmentTables::Maps(tables) => for_each_removed(tables.get(index), |[prefix, map_key]| {
            let (key, namespace) = of_prefix(prefix)?;
            writer.removed(state, &[key, namespace, map_key])
        }),
        SegmentTables::Lists(tables) => {
            let open = tables.get(index).map(|table| &table.open);
            for_each_removed(open, |parts| writer.removed(state, &parts))
        }
    }
}

fn write_put(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    tables: &mut SegmentTables,
    index: usize,
) -> Result<(), StateError> {
    match tables {
        SegmentTables::Values(tables) => match take(tables, index) {
            FrozenTable::Whole(pages) => write_values(writer, state, pages),
            FrozenTable::Changes(changes) => for_each_put(&changes, |key, namespace, value| {
                writer.value(state, key, namespace, value)
            }),
        },
        SegmentTables::Maps(tables) => match take(tables, index) {
            FrozenTable::Whole(pages) => write_maps(writer, state, pages),
            FrozenTable::Changes(changes) => for_each_put(&changes, |prefix, map_key, value| {
                let (key, namespace) = of_prefix(prefix)?;
                writer.map_entry(state, key, namespace, map_key, value)
            }),
        },
        SegmentTables::Lists(tables) => {
            let FrozenListTable { open, closed } = take(tables, index);
            write_chunks(writer, state, closed, false)?;
            write_chunks(writer, state, open, true)
        }
    }
}

/// The parts of elements one after another, so many at a time.
fn for_each_of<const N: usize>(
    mut bytes: &[u8],
    mut each: impl FnMut([&[u8]; N]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let broken = || StateError::Corrupt("what changed in memory is noted wrongly".to_owned());
    while !bytes.is_empty() {
        let mut parts = [&[][..]; N];
        for part in &mut parts {
            *part = take_bytes(&mut bytes).ok_or_else(broken)?;
        }
        each(parts)?;
    }
    Ok(())
}

fn for_each_put(
    changes: &TableChanges,
    mut each: impl FnMut(&[u8], &[u8], &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    for_each_of(&changes.copied, |[key, namespace, value]| {
        each(key, namespace, value)
    })?;
    for (page, slots) in &changes.shared {
        let slots = slots.iter().map(|slot| read_slot(page.get(), slot.offset()));
        slots
            .flatten()
            .try_for_each(|slot| each(slot.key, slot.namespace, slot.value))?;
    }
    Ok(())
}

/// Key and namespace, as the table has them, of each entry that is gone.
fn for_each_removed(
    table: Option<&FrozenTable>,
    mut each: impl FnMut([&[u8]; 2]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let Some(FrozenTable::Changes(changes)) = table else {
        return Ok(());
    };
    let mut logs = changes.removed.iter();
    logs.try_for_each(|log| for_each_of(log, &mut each))
}

fn write_chunks(
    writer: &mut SnapshotWriter<'_>,
    state: u16,
    table: FrozenTable,
    is_open: bool,
) -> Result<(), StateError> {
    let mut write = |key: &[u8], namespace: &[u8], stored: &[u8]| {
        let broken = || StateError::Corrupt("a chunk of a list in memory is broken".to_owned());
        let chunk = Chunk::of(stored).ok_or_else(broken)?;
        let namespace = match is_open {
            true => namespace,
            // Its number is at the end.
            false => namespace.split_last_chunk::<4>().ok_or_else(broken)?.0,
        };
        let entry = ChunkEntry {
            key,
            namespace,
            is_open,
            number: chunk.number,
            first: chunk.first,
            count: chunk.count,
            run: chunk.run,
        };
        writer.chunk(state, entry)
    };
    match table {
        FrozenTable::Whole(pages) => pages.into_iter().try_for_each(|page| {
            walk(page.get()).try_for_each(|slot| write(slot.key, slot.namespace, slot.value))
        }),
        FrozenTable::Changes(changes) => for_each_put(&changes, write),
    }
}

fn write_timers(
    writer: &mut SnapshotWriter<'_>,
    index: usize,
    domains: [&(TimeDomain, Vec<TimerChanges<'_>>); 2],
) -> Result<(), StateError> {
    let changes = domains.map(|(domain, groups)| groups.get(index).map(|changes| (*domain, changes)));
    let changes = changes.into_iter().flatten();
    for (domain, changes) in changes.clone() {
        let mut gone = changes.gone.iter();
        gone.try_for_each(|time| writer.time_gone(domain, *time))?;
    }
    for (domain, changes) in changes.clone() {
        changes.removed(&mut |timer| writer.timer_gone(domain, timer))?;
    }
    for (domain, changes) in changes {
        changes.added(&mut |timer| writer.timer(domain, timer))?;
    }
    Ok(())
}

/// Counts what is written.
struct Counted<'a> {
    out: &'a mut dyn io::Write,
    bytes: u64,
}

impl io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
