//! What a host can be told of its RocksDB backends; `docs/configuration.md` has the keys.

use std::path::PathBuf;

/// Settings of all RocksDB backends of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Below it lie the databases.
    pub local_directory: PathBuf,
    /// Blocks and write buffers of all databases together.
    pub memory_bytes: usize,
    /// Which part of it write buffers may take.
    pub write_buffer_ratio: f64,
    /// All write-back caches together.
    pub cache_bytes: usize,
    /// One write buffer; the memory of all bounds it too.
    pub write_buffer_bytes: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Whether tables have Bloom filters.
    pub use_bloom_filter: bool,
    /// How tables are merged.
    pub compaction_style: CompactionStyle,
    /// How blocks are compressed.
    pub compression: Compression,
    /// Threads of a database that flush and merge.
    pub threads: u32,
}

/// How tables are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionStyle {
    /// In levels: least room and fewest reads.
    Level,
    /// In sorted runs: fewest writes.
    Universal,
}

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By LZ4.
    Lz4,
}

impl Settings {
    /// The defaults, with the databases below a directory.
    pub fn new(local_directory: PathBuf) -> Self {
        Self {
            local_directory,
            memory_bytes: 256 << 20,
            write_buffer_ratio: 0.5,
            cache_bytes: 256 << 20,
            write_buffer_bytes: 64 << 20,
            block_bytes: 4 << 10,
            use_bloom_filter: true,
            compaction_style: CompactionStyle::Level,
            compression: Compression::Lz4,
            threads: 2,
        }
    }

    /// What the write buffers of all databases may take.
    pub(crate) fn all_write_buffers_bytes(&self) -> usize {
        (self.memory_bytes as f64 * self.write_buffer_ratio) as usize
    }
}
