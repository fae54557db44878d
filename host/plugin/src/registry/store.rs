//! The registry's files: `<data>/plugins/<sha256>/{component.wasm, meta.json}`.
//!
//! Invariant: a directory whose name is a digest is whole. It is written under another name, synced and
//! renamed; it is renamed away before it is deleted; what a crash left in between is swept at the start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::info::{PluginDigest, PluginInfo};

const COMPONENT: &str = "component.wasm";
const META: &str = "meta.json";
const UNFINISHED: &str = ".unfinished-";

/// What is written beside a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Meta {
    /// Of this file; 1.
    pub(super) version: u32,
    /// Its name and time are those of the latest upload.
    pub(super) info: PluginInfo,
    /// All names that it was uploaded under, with the latest time, in milliseconds since the epoch.
    pub(super) names: BTreeMap<String, i64>,
}

impl Meta {
    pub(super) fn new(info: PluginInfo) -> Self {
        Self {
            version: 1,
            names: BTreeMap::from([(info.name.clone(), info.uploaded_at)]),
            info,
        }
    }

    /// The component under one of its names.
    pub(super) fn named(&self, name: &str) -> Option<PluginInfo> {
        let uploaded_at = *self.names.get(name)?;
        Some(PluginInfo {
            name: name.to_owned(),
            uploaded_at,
            ..self.info.clone()
        })
    }
}

/// A component that is being uploaded; deleted unless it is kept.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn component(&self) -> PathBuf {
        self.0.join(COMPONENT)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone where it was kept.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the directory, sweeps what is unfinished and reads what is there.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, BTreeMap<PluginDigest, Meta>)> {
        fs::create_dir_all(dir)?;
        let mut metas = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(&path)?;
            } else if let Ok(digest) = name.parse::<PluginDigest>() {
                match read_meta(&path.join(META)) {
                    Ok(meta) if meta.info.digest == digest => {
                        metas.insert(digest, meta);
                    }
                    Ok(_) => tracing::error!("{} is of another plugin: it is left out", path.display()),
                    Err(e) => {
                        tracing::error!("{}: {e}: the plugin is left out; upload it again", path.display())
                    }
                }
            }
        }
        Ok((Self { dir: dir.to_owned() }, metas))
    }

    fn plugin_dir(&self, digest: PluginDigest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    pub(super) fn component(&self, digest: PluginDigest) -> PathBuf {
        self.plugin_dir(digest).join(COMPONENT)
    }

    /// Writes the bytes of an upload where a crash leaves nothing behind.
    pub(super) fn begin(&self, digest: PluginDigest, bytes: &[u8]) -> io::Result<Unfinished> {
        let unfinished = Unfinished(self.dir.join(format!("{UNFINISHED}{}", digest.hex())));
        // A crash of another upload may have left one.
        if unfinished.0.exists() {
            fs::remove_dir_all(&unfinished.0)?;
        }
        fs::create_dir(&unfinished.0)?;
        write_synced(&unfinished.component(), bytes)?;
        Ok(unfinished)
    }

    /// Makes an upload durable under its digest.
    pub(super) fn keep(&self, unfinished: &Unfinished, meta: &Meta) -> io::Result<()> {
        write_synced(&unfinished.0.join(META), &serde_json::to_vec_pretty(meta)?)?;
        sync_dir(&unfinished.0)?;
        let target = self.plugin_dir(meta.info.digest);
        if target.exists() {
            // It is there but was not read at the start: damaged.
            fs::remove_dir_all(&target)?;
        }
        fs::rename(&unfinished.0, target)?;
        sync_dir(&self.dir)
    }

    /// Replaces what is written beside a component.
    pub(super) fn rewrite(&self, meta: &Meta) -> io::Result<()> {
        let dir = self.plugin_dir(meta.info.digest);
        let temporary = dir.join(".meta.json");
        write_synced(&temporary, &serde_json::to_vec_pretty(meta)?)?;
        fs::rename(temporary, dir.join(META))?;
        sync_dir(&dir)
    }

    pub(super) fn delete(&self, digest: PluginDigest) -> io::Result<()> {
        let away = self.dir.join(format!("{UNFINISHED}{}", digest.hex()));
        fs::rename(self.plugin_dir(digest), &away)?;
        sync_dir(&self.dir)?;
        fs::remove_dir_all(away)
    }
}

fn read_meta(path: &Path) -> io::Result<Meta> {
    let meta: Meta = serde_json::from_slice(&fs::read(path)?)?;
    match meta.version {
        1 => Ok(meta),
        version => Err(io::Error::other(format!(
            "version {version} is of a newer host; this one reads version 1"
        ))),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
