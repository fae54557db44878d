//! Files of checkpoints in memory: what a backend hands over, and gets back.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::backend::{SnapshotFile, StateError};
use crate::native::{FileContent, FileSink, FileSource};

/// Files of one checkpoint.
#[derive(Clone, Default, Debug)]
pub struct MemoryFiles {
    /// Those that the checkpoint may name again.
    pub base: BTreeMap<String, Arc<Vec<u8>>>,
    /// Those that it has.
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    /// Names of those that it has named again.
    pub reused: Vec<String>,
    /// Bytes of the others.
    pub bytes_written: usize,
}

impl MemoryFiles {
    /// None yet, on these.
    pub fn on(base: &BTreeMap<String, Arc<Vec<u8>>>) -> Self {
        Self {
            base: base.clone(),
            ..Self::default()
        }
    }

    fn keep(&mut self, name: &str, content: Vec<u8>) {
        self.bytes_written += content.len();
        self.files.insert(name.to_owned(), Arc::new(content));
    }

    fn content(&self, name: &str) -> Result<&[u8], StateError> {
        let found = self.files.get(name);
        let missing = || StateError::Corrupt(format!("it holds no file `{name}`"));
        Ok(found.ok_or_else(missing)?)
    }
}

impl FileSink for MemoryFiles {
    fn reuse(&mut self, name: &str) -> bool {
        let Some(content) = self.base.get(name) else {
            return false;
        };
        self.files.insert(name.to_owned(), Arc::clone(content));
        self.reused.push(name.to_owned());
        true
    }

    fn write(&mut self, name: &str, content: &mut FileContent<'_>) -> Result<(), StateError> {
        let mut bytes = Vec::new();
        content(&mut bytes)?;
        self.keep(name, bytes);
        Ok(())
    }

    fn put(&mut self, name: &str, content: &mut dyn io::Read, _: bool) -> Result<(), StateError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.keep(name, bytes);
        Ok(())
    }
}

impl FileSource for MemoryFiles {
    fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    fn open(&self, name: &str) -> Result<Box<dyn SnapshotFile + '_>, StateError> {
        Ok(Box::new(self.content(name)?))
    }

    fn copy(&mut self, name: &str, out: &mut dyn io::Write) -> Result<(), StateError> {
        Ok(out.write_all(self.content(name)?)?)
    }
}
