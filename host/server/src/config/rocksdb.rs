//! Settings of the RocksDB backend, with Flink's names where it has them (`state.backend.rocksdb.block.blocksize` is
//! `rocksdb-block-blocksize`).

use std::path::PathBuf;

use wasmill_rocksdb::{CompactionStyle, Compression, Settings};

use super::number;
use super::storage::boolean;
use crate::job::units::SizeText;

/// The keys, in the order of the documentation.
pub(super) const KEYS: [&str; 10] = [
    "rocksdb-localdir",
    "rocksdb-memory-size",
    "rocksdb-memory-write-buffer-ratio",
    "rocksdb-cache-size",
    "rocksdb-writebuffer-size",
    "rocksdb-block-blocksize",
    "rocksdb-use-bloom-filter",
    "rocksdb-compaction-style",
    "rocksdb-compression",
    "rocksdb-thread-num",
];

/// Sets one of [`KEYS`] from its text.
pub(super) fn set(settings: &mut Settings, key: &str, value: &str) -> Result<(), String> {
    match key {
        "rocksdb-localdir" if value.is_empty() => return Err("it is empty: name a directory".to_owned()),
        "rocksdb-localdir" => settings.local_directory = PathBuf::from(value),
        // Less holds not even the write buffers that the states of one operator begin with.
        "rocksdb-memory-size" => settings.memory_bytes = size(value, 1 << 20)?,
        "rocksdb-memory-write-buffer-ratio" => {
            settings.write_buffer_ratio = match value.parse() {
                Ok(ratio) if (0.1..=0.9).contains(&ratio) => ratio,
                _ => {
                    return Err(format!(
                        "`{}` is not a number from 0.1 to 0.9",
                        value.escape_debug()
                    ));
                }
            }
        }
        "rocksdb-cache-size" => settings.cache_bytes = size(value, 0)?,
        "rocksdb-writebuffer-size" => settings.write_buffer_bytes = size(value, 64 << 10)?,
        "rocksdb-block-blocksize" => settings.block_bytes = size(value, 1 << 10)?.min(64 << 20),
        "rocksdb-use-bloom-filter" => settings.use_bloom_filter = boolean(value)?,
        "rocksdb-compaction-style" => {
            settings.compaction_style = match value {
                "level" => CompactionStyle::Level,
                "universal" => CompactionStyle::Universal,
                other => {
                    return Err(format!(
                        "`{}` is no compaction style: write `level` or `universal`",
                        other.escape_debug()
                    ));
                }
            }
        }
        "rocksdb-compression" => {
            settings.compression = match value {
                "none" => Compression::None,
                "lz4" => Compression::Lz4,
                other => {
                    return Err(format!(
                        "`{}` is no compression: write `none` or `lz4`",
                        other.escape_debug()
                    ));
                }
            }
        }
        _ => settings.threads = number(value, 1, 64)?,
    }
    Ok(())
}

fn size(value: &str, least: u64) -> Result<usize, String> {
    let size = SizeText::parse(value)?;
    match size.0 >= least {
        true => Ok(size.0 as usize),
        false => Err(format!(
            "`{}` is too little: write {} or more",
            value.escape_debug(),
            SizeText(least)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_taken_and_a_wrong_one_says_what_it_takes() {
        let mut settings = Settings::new(PathBuf::new());
        let good = [
            ("rocksdb-localdir", "/data"),
            ("rocksdb-memory-size", "1GiB"),
            ("rocksdb-memory-write-buffer-ratio", "0.25"),
            ("rocksdb-cache-size", "0B"),
            ("rocksdb-writebuffer-size", "32MiB"),
            ("rocksdb-block-blocksize", "16KiB"),
            ("rocksdb-use-bloom-filter", "false"),
            ("rocksdb-compaction-style", "universal"),
            ("rocksdb-compression", "none"),
            ("rocksdb-thread-num", "4"),
        ];
        assert_eq!(good.map(|(key, _)| key), KEYS);
        for (key, value) in good {
            set(&mut settings, key, value).unwrap();
        }
        let expected = Settings {
            local_directory: PathBuf::from("/data"),
            memory_bytes: 1 << 30,
            write_buffer_ratio: 0.25,
            cache_bytes: 0,
            write_buffer_bytes: 32 << 20,
            block_bytes: 16 << 10,
            use_bloom_filter: false,
            compaction_style: CompactionStyle::Universal,
            compression: Compression::None,
            threads: 4,
        };
        assert_eq!(settings, expected);
        let wrong = [
            ("rocksdb-localdir", "", "it is empty"),
            (
                "rocksdb-memory-size",
                "1KiB",
                "`1KiB` is too little: write 1MiB or more",
            ),
            ("rocksdb-memory-write-buffer-ratio", "2", "from 0.1 to 0.9"),
            ("rocksdb-memory-write-buffer-ratio", "NaN", "from 0.1 to 0.9"),
            ("rocksdb-writebuffer-size", "64", "is not a size"),
            ("rocksdb-use-bloom-filter", "yes", "`true` or `false`"),
            ("rocksdb-compaction-style", "fifo", "write `level` or `universal`"),
            ("rocksdb-compression", "zip", "write `none` or `lz4`"),
            ("rocksdb-thread-num", "0", "from 1 to 64"),
        ];
        for (key, value, message) in wrong {
            let error = set(&mut settings, key, value).unwrap_err();
            assert!(error.contains(message), "{key}: {error}");
        }
        assert_eq!(settings, expected);
    }
}
