//! A file system in memory that fails, stops and loses power where it is told: for tests. Deterministic.
//!
//! After a power cut there is of each directory what was synced of it, and of what was done to its names since then any
//! part; of each file what was synced, and of what was appended since then any part from its beginning.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::files::{Entry, FileSystem, OpenFile};

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// What it is to.
    Done,
    /// This error, and nothing has happened.
    Fails(io::ErrorKind),
    /// An append puts half of its bytes into the file and fails so; other calls fail and do nothing.
    Half(io::ErrorKind),
}

/// What is behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory(usize),
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: usize,
}

type Names = BTreeMap<String, Node>;

#[derive(Default)]
struct Directory {
    names: Names,
    synced: Names,
    /// What has happened to names since the sync; the parts of one happen together.
    unsynced: Vec<Vec<(String, Option<Node>)>>,
}

type Decide = dyn FnMut(u64) -> Call + Send;

struct State {
    inodes: Vec<Inode>,
    /// The first is the root.
    directories: Vec<Directory>,
    calls: u64,
    decide: Box<Decide>,
}

/// The file system.
pub struct PowerFiles(Arc<Mutex<State>>);

impl PowerFiles {
    /// An empty one; `decide` gets the number of each call that changes or syncs something, from 0.
    pub fn new(decide: impl FnMut(u64) -> Call + Send + 'static) -> Self {
        let state = State {
            inodes: Vec::new(),
            directories: vec![Directory::default()],
            calls: 0,
            decide: Box::new(decide),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// From now on calls are numbered from 0 again and this decides: the machine or the process has started anew.
    pub fn restart(&self, decide: impl FnMut(u64) -> Call + Send + 'static) {
        let mut state = self.state();
        (state.calls, state.decide) = (0, Box::new(decide));
    }

    /// The power is cut and comes back; `below` draws a number below its bound.
    pub fn lose_power(&self, below: &mut dyn FnMut(usize) -> usize) {
        let mut state = self.state();
        for inode in &mut state.inodes {
            let kept = inode.synced + below(inode.bytes.len() - inode.synced + 1);
            inode.bytes.truncate(kept);
            inode.synced = kept;
        }
        for directory in &mut state.directories {
            let mut names = std::mem::take(&mut directory.synced);
            for change in directory.unsynced.drain(..) {
                if below(2) == 0 {
                    change.into_iter().for_each(|part| apply(&mut names, part));
                }
            }
            directory.synced = names.clone();
            directory.names = names;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(names: &mut Names, (name, node): (String, Option<Node>)) {
    match node {
        Some(node) => drop(names.insert(name, node)),
        None => drop(names.remove(&name)),
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn parts(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(missing)?;
    Ok((
        path.parent().unwrap_or(Path::new("/")).to_owned(),
        name.to_owned(),
    ))
}

impl State {
    fn call(&mut self) -> io::Result<()> {
        match self.next() {
            Call::Done => Ok(()),
            Call::Fails(kind) | Call::Half(kind) => Err(kind.into()),
        }
    }

    fn next(&mut self) -> Call {
        let number = self.calls;
        self.calls += 1;
        (self.decide)(number)
    }

    fn directory(&self, path: &Path) -> io::Result<usize> {
        let mut at = 0;
        for part in path.iter().skip(1) {
            let name = part.to_str().ok_or_else(missing)?;
            at = match self.directories[at].names.get(name) {
                Some(Node::Directory(at)) => *at,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(missing()),
            };
        }
        Ok(at)
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        let (above, name) = parts(path)?;
        let directory = &self.directories[self.directory(&above)?];
        directory.names.get(&name).copied().ok_or_else(missing)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.find(path)? {
            Node::File(inode) => Ok(inode),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn change(&mut self, directory: usize, change: Vec<(String, Option<Node>)>) {
        let directory = &mut self.directories[directory];
        for part in change.clone() {
            apply(&mut directory.names, part);
        }
        directory.unsynced.push(change);
    }

    /// Gives a name to what is new.
    fn add(&mut self, path: &Path, node: impl FnOnce(&mut Self) -> Node) -> io::Result<Node> {
        let (above, name) = parts(path)?;
        let directory = self.directory(&above)?;
        if self.directories[directory].names.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = node(self);
        self.change(directory, vec![(name, Some(node))]);
        Ok(node)
    }
}

impl FileSystem for PowerFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let mut state = self.state();
        state.call()?;
        let node = state.add(path, |state| {
            state.inodes.push(Inode::default());
            Node::File(state.inodes.len() - 1)
        })?;
        match node {
            Node::File(inode) => Ok(Box::new(Open {
                state: Arc::clone(&self.0),
                inode,
            })),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let added = state.add(path, |state| {
            state.directories.push(Directory::default());
            Node::Directory(state.directories.len() - 1)
        });
        added.map(drop)
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.state().directory(path).is_ok()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let ((above, old), (_, new)) = (parts(from)?, parts(to)?);
        let (directory, inode) = (state.directory(&above)?, state.file(from)?);
        state.change(directory, vec![(old, None), (new, Some(Node::File(inode)))]);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let inode = state.file(from)?;
        state.add(to, |_| Node::File(inode)).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let (above, name) = parts(path)?;
        state.file(path)?;
        let directory = state.directory(&above)?;
        state.change(directory, vec![(name, None)]);
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let (above, name) = parts(path)?;
        let removed = state.directory(path)?;
        if !state.directories[removed].names.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let directory = state.directory(&above)?;
        state.change(directory, vec![(name, None)]);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let at = state.directory(path)?;
        let directory = &mut state.directories[at];
        directory.synced = directory.names.clone();
        directory.unsynced.clear();
        Ok(())
    }

    fn read(&self, path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        let bytes = &state.inodes[state.file(path)?].bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(bytes.len() - start);
        Ok(bytes[start..start + length].to_vec())
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let names = &state.directories[state.directory(path)?].names;
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            length: match node {
                Node::File(inode) => Some(state.inodes[*inode].bytes.len() as u64),
                Node::Directory(_) => None,
            },
        };
        Ok(names.iter().map(entry).collect())
    }
}

/// A file that is being written.
struct Open {
    state: Arc<Mutex<State>>,
    inode: usize,
}

impl OpenFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, result) = match state.next() {
            Call::Done => (bytes.len(), Ok(())),
            Call::Fails(kind) => (0, Err(kind.into())),
            Call::Half(kind) => (bytes.len() / 2, Err(kind.into())),
        };
        state.inodes[self.inode].bytes.extend_from_slice(&bytes[..taken]);
        result
    }

    fn sync(&mut self, _: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.call()?;
        let inode = &mut state.inodes[self.inode];
        inode.synced = inode.bytes.len();
        Ok(())
    }
}
