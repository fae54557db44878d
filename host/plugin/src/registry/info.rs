//! What is known of an uploaded component.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wasmill_model::function::Description;
use wasmtime::component::Component;

/// The SHA-256 of a component's bytes: its version. Written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PluginDigest(pub [u8; 32]);

impl PluginDigest {
    /// The digest of a component's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 64 digits alone, as directories are named.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for PluginDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not `sha256:` and 64 hexadecimal digits",
                text.escape_debug()
            )
        };
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if hex.len() != 64 {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, digits) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(wrong);
            *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
        }
        Ok(Self(digest))
    }
}

impl Serialize for PluginDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PluginDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of the two families of `wit/` a component implements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// A batch a call.
    Frame,
    /// One record a call.
    Typed,
}

/// An uploaded component as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// Its version.
    pub digest: PluginDigest,
    /// The name that it was uploaded under; several digests may share one.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// When, in milliseconds since the epoch.
    pub uploaded_at: i64,
    /// Of the boundary.
    pub family: Family,
    /// What it says of itself.
    pub description: Description,
    /// Interfaces that it imports, in its own order.
    pub imports: Vec<String>,
}

impl PluginInfo {
    /// Name and version for messages: `count@sha256:0123456789ab`.
    pub fn reference(&self) -> String {
        format!("{}@sha256:{}", self.name, &self.digest.hex()[..12])
    }
}

/// A component that is ready to be instantiated; shared by all jobs.
pub struct LoadedPlugin {
    /// What is known of it.
    pub info: PluginInfo,
    /// Machine code.
    pub component: Component,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = PluginDigest::of(b"abc");
        assert_eq!(
            digest.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.hex().parse(), Ok(digest));
        for wrong in ["", "sha256:", "sha256:xy", &"z".repeat(64), &"ä".repeat(32)] {
            assert!(
                wrong
                    .parse::<PluginDigest>()
                    .unwrap_err()
                    .contains("64 hexadecimal digits")
            );
        }
    }
}
