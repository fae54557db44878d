//! The files of the repository, as the rules see them: all that a person wrote, nothing that was built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wasmill_tests::guests::root;

/// What is built, fetched or another tool's.
const NOT_OURS: [&str; 5] = ["target", ".git", "__pycache__", "node_modules", ".wasmill"];

/// One file of text.
pub(crate) struct Text {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) content: String,
}

impl Text {
    /// Its lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.content
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// All files with one of the extensions (all text files where none is given), sorted by path.
pub(crate) fn texts(extensions: &[&str]) -> Result<Vec<Text>> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, &mut paths)?;
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !extensions.is_empty() && !extensions.contains(&extension.as_str()) {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        // What is not UTF-8 is no text.
        if let Ok(content) = String::from_utf8(bytes) {
            let path = path.strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
            texts.push(Text { path, content });
        }
    }
    Ok(texts)
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // `.git` is a file in a second work tree.
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), paths)?;
        } else if entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}
