//! The text that the demo counts: the project's own documents, and more made of their sentences.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Files of generated text: more than subtasks, so that both have work to the end.
const GENERATED: usize = 8;

/// Writes the documents and the generated files, about `bytes` in all; returns how many files there are.
pub(super) fn write(root: &Path, directory: &Path, bytes: usize) -> Result<usize> {
    let mut documents = Vec::new();
    for folder in [
        root.to_path_buf(),
        root.join("docs"),
        root.join("docs/decisions"),
        root.join("wit"),
    ] {
        documents.extend(texts(&folder)?);
    }
    documents.sort();
    let mut sentences = Vec::new();
    for document in &documents {
        let content = fs::read_to_string(document).with_context(|| format!("read {}", document.display()))?;
        let name = document
            .strip_prefix(root)
            .unwrap_or(document)
            .to_string_lossy()
            .replace('/', "-");
        fs::write(directory.join(format!("{name}.txt")), &content)?;
        sentences.extend(content.lines().filter(|line| line.len() > 40).map(str::to_owned));
    }
    ensure!(!sentences.is_empty(), "no documents below {}", root.display());
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for file in 0..GENERATED {
        let mut text = String::with_capacity(bytes / GENERATED + 200);
        while text.len() < bytes / GENERATED {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text.push_str(&sentences[(random % sentences.len() as u64) as usize]);
            text.push('\n');
        }
        fs::write(directory.join(format!("generated-{file}.txt")), text)?;
    }
    Ok(documents.len() + GENERATED)
}

/// The documents of one folder, without those below it.
fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "md" || extension == "wit")
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// A plain count by the rule of the component: a word is a run of letters and digits, in lower case.
pub(super) fn count_words(directory: &Path) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for word in text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            let word: String = word.chars().flat_map(char::to_lowercase).collect();
            *counts.entry(word).or_insert(0) += 1;
        }
    }
    Ok(counts)
}
