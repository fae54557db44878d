//! Which files a path means: one file, a directory with all below it, or a pattern.
//!
//! Names that start with `.` or `_` are hidden, as in Hadoop and Flink: part files that are not
//! committed have such names, so one job may read what another writes.

use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Files below one directory.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    base: PathBuf,
    pattern: Option<GlobMatcher>,
    single: Option<String>,
}

/// Directories nested deeper are an error: a cycle of links, most likely.
const DEPTH_MAX: u32 = 32;

impl Listing {
    /// The error names the path and the mend.
    pub(super) fn new(path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err(
                "`path` is empty: name a file, a directory or a pattern such as logs/*.txt".to_owned(),
            );
        }
        if let Some(wild) = path.find(['*', '?', '[', '{']) {
            let cut = path[..wild].rfind('/').map_or(0, |slash| slash + 1);
            let base = if cut == 0 {
                PathBuf::from(".")
            } else {
                PathBuf::from(&path[..cut])
            };
            let glob = GlobBuilder::new(&path[cut..]).literal_separator(true).build();
            let glob = glob.map_err(|e| format!("`path` {path}: {e}"))?;
            return Ok(Self {
                base,
                pattern: Some(glob.compile_matcher()),
                single: None,
            });
        }
        let whole = Path::new(path);
        match (whole.is_dir(), whole.file_name().and_then(|n| n.to_str())) {
            (false, Some(name)) => {
                let base = whole
                    .parent()
                    .filter(|p| !p.as_os_str().is_empty())
                    .unwrap_or(Path::new("."));
                Ok(Self {
                    base: base.to_owned(),
                    pattern: None,
                    single: Some(name.to_owned()),
                })
            }
            _ => Ok(Self {
                base: whole.to_owned(),
                pattern: None,
                single: None,
            }),
        }
    }

    /// Names relative to the base, sorted, with their lengths.
    pub(super) fn list(&self) -> io::Result<Vec<(String, u64)>> {
        if let Some(name) = &self.single {
            let length = std::fs::metadata(self.base.join(name))?.len();
            return Ok(vec![(name.clone(), length)]);
        }
        let mut files = Vec::new();
        self.walk(&self.base, "", 0, &mut files)?;
        files.sort();
        Ok(files)
    }

    /// Where a listed file is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        match (&self.pattern, &self.single) {
            (Some(pattern), _) => self.base.join(pattern.glob().glob()).display().to_string(),
            (None, Some(name)) => self.path(name).display().to_string(),
            (None, None) => self.base.display().to_string(),
        }
    }

    fn walk(
        &self,
        directory: &Path,
        prefix: &str,
        depth: u32,
        files: &mut Vec<(String, u64)>,
    ) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!(
                "{} is nested deeper than {DEPTH_MAX} directories",
                directory.display()
            )));
        }
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if name.starts_with(['.', '_']) {
                continue;
            }
            let name = format!("{prefix}{name}");
            // NOTE: follows links, and bears a file that vanished since it was listed. Pipes and devices are left out:
            // to open one may wait for ever.
            let Ok(metadata) = std::fs::metadata(entry.path()) else {
                continue;
            };
            if metadata.is_dir() {
                self.walk(&entry.path(), &format!("{name}/"), depth + 1, files)?;
            } else if metadata.is_file() && self.pattern.as_ref().is_none_or(|p| p.is_match(&name)) {
                files.push((name, metadata.len()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_a_pattern_and_a_file_are_listed_without_hidden_ones() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.log", ".hidden", "_tmp", "sub/c.txt"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let names = |path: &str| -> Vec<String> {
            let path = directory.path().join(path).display().to_string();
            Listing::new(&path)
                .unwrap()
                .list()
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names(""), ["a.txt", "b.log", "sub/c.txt"]);
        assert_eq!(names("*.txt"), ["a.txt"]);
        assert_eq!(names("**/*.txt"), ["a.txt", "sub/c.txt"]);
        assert_eq!(names("a.txt"), ["a.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("b")).unwrap();
        let listed = Listing::new(&directory.path().display().to_string())
            .unwrap()
            .list()
            .unwrap();
        assert_eq!(listed, [("a".to_owned(), 1)]);
    }
}
