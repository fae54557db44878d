//! The files of a database at one instant: hard links beside it, which go when they are stored.

use std::fs::{self, File};
use std::path::Path;

use wasmill_state::backend::StateError;
use wasmill_state::native::{FileSink, FrozenFiles};

use crate::directory::{OwnedDirectory, failed};

/// Tables never change, and a database never gives one the name of another. All else is written anew.
const TABLE: &str = ".sst";

/// A directory of links.
pub(crate) struct RocksFiles(pub(crate) OwnedDirectory);

impl FrozenFiles for RocksFiles {
    fn write(self: Box<Self>, out: &mut dyn FileSink) -> Result<(), StateError> {
        let directory = self.0.path();
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(|error| failed(directory, &error))? {
            let name = entry.map_err(|error| failed(directory, &error))?.file_name();
            let name = name.to_str().map(str::to_owned);
            names.push(name.ok_or_else(|| failed(directory, &"a file has a name that is no text"))?);
        }
        // In one order, so that the same state gives the same calls.
        names.sort_unstable();
        names.iter().try_for_each(|name| write(directory, name, out))
    }
}

fn write(directory: &Path, name: &str, out: &mut dyn FileSink) -> Result<(), StateError> {
    let is_table = name.ends_with(TABLE);
    if is_table && out.reuse(name) {
        return Ok(());
    }
    let path = directory.join(name);
    let mut file = File::open(&path).map_err(|error| failed(&path, &error))?;
    out.put(name, &mut file, is_table)
}
