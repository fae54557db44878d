//! Components that were uploaded: checked and described once, kept by digest, loaded when a job needs them.
//!
//! Invariant: whatever is listed here was compiled, its imports and exports were compared with `wit/`, and
//! its own description was heard and found to be true. A component's digest is its version; a name means
//! the digest that was uploaded under it last.

mod describe;
pub mod error;
pub mod info;
mod interface;
mod store;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::compile::{CompileError, CompileIn, Compiler};
use crate::engine::PluginEngine;
use crate::failure::{MESSAGE_BYTES_SHOWN_MAX, printable_text};
use crate::sandbox::limits::HostLimits;
use error::{LookupError, UploadError};
use info::{LoadedPlugin, PluginDigest, PluginInfo};
use store::{Meta, Store, Unfinished};

/// Digits of a digest that suffice in `name@sha256:…`.
const DIGITS_MIN: usize = 6;

/// All components of a host.
pub struct PluginRegistry {
    compiler: Compiler,
    limits: HostLimits,
    state: Mutex<State>,
    /// One upload at a time: the limits on memory hold for the host.
    uploading: Mutex<()>,
}

struct State {
    store: Store,
    metas: BTreeMap<PluginDigest, Meta>,
    loaded: BTreeMap<PluginDigest, Weak<LoadedPlugin>>,
}

impl PluginRegistry {
    /// Opens `<data>/plugins`, with machine code in `<data>/compiled` (which may be deleted at any time).
    /// The error says which file is in the way.
    pub fn open(data: &Path, compile_in: CompileIn, limits: HostLimits) -> Result<Self, String> {
        let dir = data.join("plugins");
        let (store, metas) =
            Store::open(&dir).map_err(|e| format!("cannot open the plugins in {}: {e}", dir.display()))?;
        let engine = PluginEngine::shared()?;
        Ok(Self {
            compiler: Compiler::new(engine, compile_in, data.join("compiled"), limits.clone()),
            limits,
            state: Mutex::new(State {
                store,
                metas,
                loaded: BTreeMap::new(),
            }),
            uploading: Mutex::new(()),
        })
    }

    /// The engine that runs its components.
    pub fn engine(&self) -> &Arc<PluginEngine> {
        self.compiler.engine()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a component under a name. The same bytes once more only become the name's latest version.
    /// Blocks while the component is compiled.
    pub fn upload(&self, name: &str, bytes: &[u8]) -> Result<PluginInfo, UploadError> {
        check_name(name)?;
        let size = bytes.len() as u64;
        if size > self.limits.upload_bytes_max {
            return Err(UploadError::TooLarge {
                size,
                limit: self.limits.upload_bytes_max,
            });
        }
        validate::check_header(bytes).map_err(UploadError::refused)?;
        let _one_at_a_time = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = PluginDigest::of(bytes);
        if let Some(info) = self.upload_again(name, digest)? {
            return Ok(info);
        }
        let unfinished = self.state().store.begin(digest, bytes).map_err(host)?;
        let kept = self
            .inspect(name, digest, size, &unfinished)
            .and_then(|meta| self.keep(&unfinished, meta));
        if kept.is_err() {
            self.compiler.forget(digest);
        }
        kept
    }

    /// Where the very bytes are there already: gives them the name, or makes them its latest version.
    fn upload_again(&self, name: &str, digest: PluginDigest) -> Result<Option<PluginInfo>, UploadError> {
        let state = &mut *self.state();
        let now = now(&state.metas);
        let Some(meta) = state.metas.get_mut(&digest) else {
            return Ok(None);
        };
        if verify(&state.store.component(digest), digest).is_err() {
            // The upload is what mends it.
            return Ok(None);
        }
        let mut newer = meta.clone();
        newer.names.insert(name.to_owned(), now);
        newer.info.name = name.to_owned();
        newer.info.uploaded_at = now;
        state.store.rewrite(&newer).map_err(host)?;
        *meta = newer;
        Ok(Some(meta.info.clone()))
    }

    fn inspect(
        &self,
        name: &str,
        digest: PluginDigest,
        size: u64,
        unfinished: &Unfinished,
    ) -> Result<Meta, UploadError> {
        let component = self
            .compiler
            .load(digest, &unfinished.component())
            .map_err(|e| match e {
                CompileError::Host(message) => UploadError::Host(message),
                CompileError::Limit { .. } => UploadError::refused(e.to_string()),
                CompileError::Invalid(message) => {
                    let shown = printable_text(&message, MESSAGE_BYTES_SHOWN_MAX);
                    UploadError::refused(format!(
                        "the component is not valid: {shown}{}",
                        validate::hint(&message)
                    ))
                }
            })?;
        let inspection = describe::inspect(self.engine(), &component, &self.limits)?;
        Ok(Meta::new(PluginInfo {
            digest,
            name: name.to_owned(),
            size,
            uploaded_at: now(&self.state().metas),
            family: inspection.family,
            description: inspection.description,
            imports: inspection.imports,
        }))
    }

    fn keep(&self, unfinished: &Unfinished, meta: Meta) -> Result<PluginInfo, UploadError> {
        let mut state = self.state();
        state.store.keep(unfinished, &meta).map_err(host)?;
        let info = meta.info.clone();
        state.metas.insert(info.digest, meta);
        Ok(info)
    }

    /// All components, one entry for each name of each, ordered by name, the latest version first.
    pub fn list(&self) -> Vec<PluginInfo> {
        let state = self.state();
        let mut all: Vec<_> = state
            .metas
            .values()
            .flat_map(|meta| meta.names.keys().filter_map(|name| meta.named(name)))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name).then(b.uploaded_at.cmp(&a.uploaded_at)));
        all
    }

    /// The component of a reference: a name (its latest version), `sha256:` and the whole digest, or
    /// `name@sha256:` and at least its first 6 digits.
    pub fn get(&self, reference: &str) -> Result<PluginInfo, LookupError> {
        if let Ok(digest) = reference.parse::<PluginDigest>() {
            // IMPORTANT: the lock is given back before `not_found` takes it to tell what there is.
            let known = self.state().metas.get(&digest).map(|meta| meta.info.clone());
            return known.ok_or_else(|| self.not_found(reference));
        }
        let (name, digits) = match reference.split_once('@') {
            Some((name, version)) => (name, version.strip_prefix("sha256:").unwrap_or(version)),
            None => (reference, ""),
        };
        if reference.contains('@') && digits.len() < DIGITS_MIN {
            return Err(LookupError::TooShort {
                reference: shown(reference),
            });
        }
        let mut versions: Vec<_> = self.list();
        versions.retain(|info| info.name == name && info.digest.hex().starts_with(digits));
        let is_ambiguous = !digits.is_empty() && versions.len() > 1;
        match versions.into_iter().next() {
            Some(_) if is_ambiguous => Err(LookupError::TooShort {
                reference: shown(reference),
            }),
            Some(info) => Ok(info),
            None => Err(self.not_found(reference)),
        }
    }

    fn not_found(&self, reference: &str) -> LookupError {
        let names: BTreeSet<String> = self.list().into_iter().map(|info| info.name).collect();
        LookupError::NotFound {
            reference: shown(reference),
            known: names.into_iter().take(20).collect(),
        }
    }

    /// Deletes one version: by its digest alone under all its names, otherwise under the one name; its
    /// files go with its last name. Refused where the version is in use, which is asked when nothing is left to
    /// wait for: an upload may take minutes, and jobs begin meanwhile.
    pub fn delete(
        &self,
        reference: &str,
        in_use: impl FnOnce() -> BTreeSet<PluginDigest>,
    ) -> Result<PluginInfo, LookupError> {
        // An upload of the same bytes must not find them half deleted.
        let _one_at_a_time = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        let info = self.get(reference)?;
        let digest = info.digest;
        if in_use().contains(&digest) {
            return Err(LookupError::InUse {
                reference: info.reference(),
            });
        }
        let failed =
            |e: std::io::Error| LookupError::Host(format!("cannot delete {}: {e}", info.reference()));
        let state = &mut *self.state();
        let Some(mut meta) = state.metas.get(&digest).cloned() else {
            return Ok(info);
        };
        match reference.parse::<PluginDigest>() {
            Ok(_) => meta.names.clear(),
            Err(_) => drop(meta.names.remove(&info.name)),
        }
        if let Some((name, at)) = meta.names.iter().max_by_key(|(_, at)| **at) {
            (meta.info.name, meta.info.uploaded_at) = (name.clone(), *at);
            state.store.rewrite(&meta).map_err(failed)?;
            state.metas.insert(digest, meta);
        } else {
            state.store.delete(digest).map_err(failed)?;
            state.metas.remove(&digest);
            state.loaded.remove(&digest);
            self.compiler.forget(digest);
        }
        Ok(info)
    }

    /// The bytes of a component as they were uploaded.
    pub fn component_bytes(&self, digest: PluginDigest) -> Result<Vec<u8>, LookupError> {
        let path = self.state().store.component(digest);
        verify(&path, digest).map_err(LookupError::Host)
    }

    /// A component ready to run: milliseconds where it was compiled before. All who have it share it.
    pub fn load(&self, digest: PluginDigest) -> Result<Arc<LoadedPlugin>, LookupError> {
        let (info, path) = {
            let state = self.state();
            if let Some(loaded) = state.loaded.get(&digest).and_then(Weak::upgrade) {
                return Ok(loaded);
            }
            let info = state.metas.get(&digest).map(|meta| meta.info.clone());
            (info, state.store.component(digest))
        };
        let info = info.ok_or_else(|| self.not_found(&digest.to_string()))?;
        let component = self
            .compiler
            .load_checked(digest, &path, || verify(&path, digest).map(|_| ()))
            .map_err(|e| LookupError::Host(format!("cannot load {}: {e}", info.reference())))?;
        let loaded = Arc::new(LoadedPlugin { info, component });
        self.state().loaded.insert(digest, Arc::downgrade(&loaded));
        Ok(loaded)
    }
}

/// The bytes in `path`, which must have the digest.
fn verify(path: &Path, digest: PluginDigest) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}: upload it again", path.display()))?;
    match PluginDigest::of(&bytes) == digest {
        true => Ok(bytes),
        false => Err(format!("{} is damaged: upload it again", path.display())),
    }
}

/// The time in milliseconds since the epoch, later than any upload before: versions have an order even
/// where the clock stands still or goes back.
fn now(metas: &BTreeMap<PluginDigest, Meta>) -> i64 {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let last = metas.values().flat_map(|meta| meta.names.values()).max();
    clock.max(last.map_or(0, |last| last.saturating_add(1)))
}

fn check_name(name: &str) -> Result<(), UploadError> {
    let is_good = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    match is_good {
        true => Ok(()),
        false => Err(UploadError::Name(shown(name))),
    }
}

fn shown(text: &str) -> String {
    printable_text(text, 100)
}

fn host(error: std::io::Error) -> UploadError {
    UploadError::Host(format!("cannot store the component: {error}"))
}
