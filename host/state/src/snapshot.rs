//! The canonical snapshot format, version 1: keyed state and timers of one operator in one subtask.
//!
//! Every backend writes it and reads it, so that a savepoint may be restored on another one. It is written
//! as a stream, and read by key group without touching the rest. Invariant: whatever bytes a reader is
//! given, it returns what was written or an error, never something else and never a panic.
//!
//! All integers are little-endian; `varint` is LEB128 of at most 32 bits.
//!
//! | part | content |
//! |---|---|
//! | start | magic `WMSTATE\n`, version `u32` (1) |
//! | block 1, header | JSON: checkpoint, key-group range, max parallelism, declarations of the states |
//! | blocks 2, entries | by ascending (group, state); about [`BLOCK_BYTES`] each, or one entry that is larger |
//! | blocks 3, timers | of a group, after its entries: event time, then processing time, in firing order |
//! | block 4, index | `count u32`, for each group that has any block: `group u32, offset u64, length u64` |
//! | end | offset of the index `u64`, length of the file `u64`, version `u32`, CRC-32C of these `u32`, magic `WMEND01\n` |
//!
//! A block is `kind u8, flags u8 (0), group u16, state u16 (timers: domain, 1 event, 2 processing), 0 u16,
//! count u32, length u32, crc32c u32` and `length` bytes. The checksum covers the block's offset in the file
//! (`u64`), the header before it and the bytes, so a block is valid in its own place only.
//!
//! | entry of | layout |
//! |---|---|
//! | value, reducing, aggregating | `key, namespace, value`, each a varint length and its bytes; in no order |
//! | map | `key, namespace, map key, value`, in byte order of map keys within a (key, namespace) |
//! | list | `key, namespace`, varint number of elements, the elements; runs of one list follow in its order |
//! | timer | `timestamp i64, key, namespace` |
//!
//! Flags are for what may come (stamps of time-to-live); a reader refuses those that it does not know.

mod entries;
mod format;
mod reader;
mod segment;
mod writer;

pub(crate) use entries::append_element;
pub use entries::{Elements, Entries, Entry};
pub(crate) use format::take_bytes;
pub use format::{BLOCK_BYTES, SnapshotHeader, VERSION};
pub use reader::{GroupBlock, SnapshotReader};
pub(crate) use segment::{ChunkEntry, Continues, Replaced, SegmentBlock};
pub use writer::SnapshotWriter;
