//! The first line of a manifest: enough to know whose it is and whether it is whole.

use super::{MANIFEST_VERSION, ManifestError};

const MAGIC: &str = "wasmill-checkpoint";

/// Bytes that hold the first line of every manifest.
pub(crate) const HEADER_BYTES_MAX: usize = 128;

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the format.
    pub version: u32,
    /// Of the host that wrote it.
    pub epoch: u64,
    /// Bytes after the first line.
    pub length: u64,
    /// CRC-32C of them.
    pub crc32c: u32,
}

impl Header {
    pub(super) fn encode(self) -> String {
        let Self {
            version,
            epoch,
            length,
            crc32c,
        } = self;
        format!("{MAGIC} version={version} epoch={epoch} length={length} crc32c={crc32c:08x}\n")
    }

    /// Splits a file's content, or a beginning of it, at the end of the first line.
    pub fn split(content: &[u8]) -> Result<(Self, &[u8]), ManifestError> {
        let start = &content[..content.len().min(HEADER_BYTES_MAX)];
        let end = start
            .iter()
            .position(|b| *b == b'\n')
            .ok_or(ManifestError::NotAManifest)?;
        let line = std::str::from_utf8(&start[..end]).map_err(|_| ManifestError::NotAManifest)?;
        let header = Self::parse(line)?;
        Ok((header, &content[end + 1..]))
    }

    fn parse(line: &str) -> Result<Self, ManifestError> {
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(ManifestError::NotAManifest);
        }
        // IMPORTANT: the version comes first and stays so: whatever follows may change with it.
        let version = number(words.next(), "version=", 10)?;
        if version > u64::from(MANIFEST_VERSION) || version == 0 {
            return Err(ManifestError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let epoch = number(words.next(), "epoch=", 10)?;
        let length = number(words.next(), "length=", 10)?;
        let crc32c = number(words.next(), "crc32c=", 16)?;
        match (u32::try_from(version), u32::try_from(crc32c), words.next()) {
            (Ok(version), Ok(crc32c), None) => Ok(Self {
                version,
                epoch,
                length,
                crc32c,
            }),
            _ => Err(ManifestError::NotAManifest),
        }
    }
}

fn number(word: Option<&str>, key: &str, radix: u32) -> Result<u64, ManifestError> {
    let digits = word
        .and_then(|word| word.strip_prefix(key))
        .ok_or(ManifestError::NotAManifest)?;
    u64::from_str_radix(digits, radix).map_err(|_| ManifestError::NotAManifest)
}
