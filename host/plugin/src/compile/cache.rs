//! Machine code on disk: `<cache>/<digest>/<engine>-<checksum>.cwasm`.
//!
//! `engine` is a hash of all that machine code depends on (wasmtime's version, our settings, the
//! processor), so another host never loads it. `checksum` is that of the file itself. Invariant: a file
//! is loaded only when its content has the checksum in its name; one that has not is deleted and made anew.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Engine;
use wasmtime::component::Component;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::registry::info::PluginDigest;

pub(super) struct Cache {
    dir: PathBuf,
    engine: String,
    temporaries: AtomicU64,
}

/// A file that is being written; removed unless it is kept.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone where it was kept, and that is all right too.
        let _ = fs::remove_file(&self.0);
    }
}

impl Cache {
    pub(super) fn new(dir: PathBuf, engine: &Engine) -> Self {
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            dir,
            engine: format!("{:016x}", hasher.finish()),
            temporaries: AtomicU64::new(0),
        }
    }

    fn dir(&self, digest: PluginDigest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// A name for a file to be written for `digest`, in the directory where it will stay.
    pub(super) fn temporary(&self, digest: PluginDigest) -> Result<Temporary, String> {
        let dir = self.dir(digest);
        fs::create_dir_all(&dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        Ok(Temporary(
            dir.join(format!(".writing-{}-{number}", std::process::id())),
        ))
    }

    /// The component, where there is a good file for this engine.
    pub(super) fn load(&self, digest: PluginDigest, engine: &Engine) -> Option<Component> {
        let files = fs::read_dir(self.dir(digest)).ok()?;
        files
            .filter_map(Result::ok)
            .map(|file| file.path())
            .find_map(|path| {
                let name = path.file_name()?.to_str()?;
                let checksum = name
                    .strip_prefix(&self.engine)?
                    .strip_prefix('-')?
                    .strip_suffix(".cwasm")?;
                match open(&path, checksum, engine) {
                    Ok(component) => Some(component),
                    Err(reason) => {
                        tracing::warn!("{} is made anew: {reason}", path.display());
                        let _ = fs::remove_file(&path);
                        None
                    }
                }
            })
    }

    /// Gives a finished file its name, loads it, and deletes what other engines left.
    pub(super) fn keep(
        &self,
        digest: PluginDigest,
        temporary: Temporary,
        engine: &Engine,
    ) -> Result<Component, String> {
        let failed = |e: std::io::Error| format!("cannot keep {}: {e}", temporary.path().display());
        let checksum = checksum(&fs::read(temporary.path()).map_err(failed)?);
        let path = self.dir(digest).join(format!("{}-{checksum}.cwasm", self.engine));
        // NOTE: no fsync: a file that a power cut tears does not have its checksum.
        fs::rename(temporary.path(), &path).map_err(failed)?;
        self.sweep(digest, &path);
        open(&path, &checksum, engine).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// Deletes all files of a component.
    pub(super) fn forget(&self, digest: PluginDigest) {
        let dir = self.dir(digest);
        if let Err(e) = fs::remove_dir_all(&dir)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot delete {}: {e}", dir.display());
        }
    }

    fn sweep(&self, digest: PluginDigest, keep: &Path) {
        let Ok(files) = fs::read_dir(self.dir(digest)) else {
            return;
        };
        for file in files.filter_map(Result::ok).map(|file| file.path()) {
            if file != keep {
                let _ = fs::remove_file(file);
            }
        }
    }
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

fn open(path: &Path, expected: &str, engine: &Engine) -> Result<Component, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    if checksum(&bytes) != expected {
        return Err("its checksum is not that in its name".to_owned());
    }
    drop(bytes);
    deserialize(path, engine).map_err(|e| format!("{e:#}"))
}

/// Maps machine code into memory.
#[expect(unsafe_code, reason = "machine code cannot be checked, only known to be ours")]
fn deserialize(path: &Path, engine: &Engine) -> wasmtime::Result<Component> {
    // SAFETY: the file must be what `Engine::precompile_component` of this engine's settings returned,
    // and must not change while it is mapped. It lies in the host's own data directory, under a name that
    // only `Cache::keep` gives, after our own compiler wrote it: uploads never get there, they are
    // refused if they are machine code already. Its content has just been found to have the checksum
    // that it was named after, and the hash in its name says that it is for this very engine (wasmtime
    // itself compares version and settings once more). Nothing writes to a file of that name again:
    // files are made under another name and moved, and deleting one leaves its mapping intact. Who can
    // write to the data directory by other means can replace the host's jobs as well.
    unsafe { Component::deserialize_file(engine, path) }
}
