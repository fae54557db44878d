//! Whether a component must be built anew.
//!
//! Invariant: a component counts as up to date only while every byte it was made from, and the version of
//! every tool that made it, is what it was.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a component is made from. The digest only detects change: it is no defence against an adversary.
pub(crate) struct Inputs(DefaultHasher);

impl Inputs {
    /// Starts with what the tools are.
    pub(crate) fn new(tools: &str) -> Inputs {
        let mut hasher = DefaultHasher::new();
        tools.hash(&mut hasher);
        Inputs(hasher)
    }

    /// Adds all files below a directory, by name and content.
    pub(crate) fn add(&mut self, directory: &Path) -> Result<()> {
        let mut files = Vec::new();
        collect(directory, &mut files)?;
        files.sort();
        for file in files {
            file.strip_prefix(directory).unwrap_or(&file).hash(&mut self.0);
            fs::read(&file)
                .with_context(|| format!("read {}", file.display()))?
                .hash(&mut self.0);
        }
        Ok(())
    }

    /// The digest of all that was added.
    pub(crate) fn digest(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        // What an interpreter leaves beside its sources is no input.
        if entry.file_name() == "__pycache__" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Copies a directory over another one.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(from, &mut files)?;
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap_or(&file));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        fs::copy(&file, &target).with_context(|| format!("copy {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_name_content_or_tool_changes_the_digest() -> Result<()> {
        let directory = std::env::temp_dir().join(format!("wasmill-xtask-fresh-{}", std::process::id()));
        fs::create_dir_all(directory.join("nested"))?;
        let digest = |tools: &str| -> Result<String> {
            let mut inputs = Inputs::new(tools);
            inputs.add(&directory)?;
            Ok(inputs.digest())
        };
        fs::write(directory.join("nested/a"), "one")?;
        let first = digest("1")?;
        assert_eq!(first, digest("1")?);
        assert_ne!(first, digest("2")?);
        fs::write(directory.join("nested/a"), "two")?;
        let second = digest("1")?;
        assert_ne!(first, second);
        fs::rename(directory.join("nested/a"), directory.join("nested/b"))?;
        assert_ne!(second, digest("1")?);
        fs::remove_dir_all(&directory)?;
        Ok(())
    }
}
