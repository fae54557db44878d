//! Broadcast state (G11): maps that every subtask of an operator holds alike.
//!
//! Invariant: only records of the broadcast input change it, and every subtask gets all of those in one order, so all
//! subtasks hold the same. A checkpoint has each subtask's copy, and a restore gives each subtask one. What was written
//! since [`BroadcastState::begin`] can be undone as a whole.

use std::collections::BTreeMap;
use std::ops::Bound;

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_model::function::OperatorStateMode;

use crate::error::TaskError;

/// The input that is broadcast; the other one is keyed or not.
pub const BROADCAST_PORT: u16 = 1;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The maps of one operator in one subtask, by name.
#[derive(Debug, Default)]
pub struct BroadcastState {
    maps: BTreeMap<String, Map>,
    /// Of all keys and values.
    bytes: usize,
    undo: Vec<Undo>,
}

/// What a write replaced.
#[derive(Debug)]
enum Undo {
    Entry {
        name: String,
        key: Vec<u8>,
        before: Option<Vec<u8>>,
    },
    Map {
        name: String,
        before: Map,
    },
}

impl BroadcastState {
    /// With what a checkpoint holds of the states of these names. A list of another name or mode is another state and is
    /// left alone.
    pub fn restored(state: Option<&OperatorState>, names: &[String]) -> Result<Self, TaskError> {
        let mut maps = BTreeMap::new();
        let lists = state.iter().flat_map(|state| &state.lists);
        let is_ours =
            |list: &&OperatorList| list.mode == OperatorStateMode::Broadcast && names.contains(&list.name);
        for list in lists.filter(is_ours) {
            let entries = list.elements.iter().map(|element| {
                entry(&element.0).ok_or_else(|| {
                    TaskError::host(format!(
                        "broadcast state `{}`: an entry of the checkpoint cannot be read",
                        list.name
                    ))
                })
            });
            maps.insert(list.name.clone(), entries.collect::<Result<Map, _>>()?);
        }
        Ok(Self {
            bytes: maps.values().map(bytes_of).sum(),
            maps,
            undo: Vec::new(),
        })
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is written from now on can be undone.
    pub fn begin(&mut self) {
        self.undo.clear();
    }

    /// Undoes what was written since [`BroadcastState::begin`].
    pub fn undo(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Entry { name, key, before } => {
                    let map = self.maps.entry(name).or_default();
                    match before {
                        Some(value) => map.insert(key, value),
                        None => map.remove(&key),
                    };
                }
                Undo::Map { name, before } => {
                    self.maps.insert(name, before);
                }
            }
        }
        self.bytes = self.maps.values().map(bytes_of).sum();
    }

    /// For a checkpoint.
    pub fn snapshot(&self) -> Vec<OperatorList> {
        let lists = self.maps.iter().map(|(name, map)| OperatorList {
            name: name.clone(),
            mode: OperatorStateMode::Broadcast,
            elements: map.iter().map(|(key, value)| element(key, value)).collect(),
        });
        lists.collect()
    }

    /// As records of a port see it: those of [`BROADCAST_PORT`] may write.
    pub fn on(&mut self, port: u16) -> BroadcastView<'_> {
        BroadcastView { port, state: self }
    }

    fn set(&mut self, name: &str, key: &[u8], value: Option<&[u8]>) {
        let map = self.maps.entry(name.to_owned()).or_default();
        let before = match value {
            Some(value) => {
                self.bytes += key.len() + value.len();
                map.insert(key.to_vec(), value.to_vec())
            }
            None => map.remove(key),
        };
        self.bytes -= before.as_ref().map_or(0, |before| key.len() + before.len());
        self.undo.push(Undo::Entry {
            name: name.to_owned(),
            key: key.to_vec(),
            before,
        });
    }
}

fn bytes_of(map: &Map) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Broadcast state while records of one input are processed.
#[derive(Debug)]
pub struct BroadcastView<'a> {
    state: &'a mut BroadcastState,
    port: u16,
}

impl BroadcastView<'_> {
    /// The value of a map key.
    pub fn get(&self, name: &str, key: &[u8]) -> Option<&[u8]> {
        self.state.maps.get(name)?.get(key).map(Vec::as_slice)
    }

    /// All entries of a map, in byte order of their keys.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries_after(name, None)
    }

    /// Those of a map whose keys come after `after`, in byte order.
    pub fn entries_after(&self, name: &str, after: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &[u8])> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let map = self.state.maps.get(name);
        let entries = map.map(|map| map.range::<[u8], _>((from, Bound::Unbounded)));
        let entries = entries.into_iter().flatten();
        entries.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Sets the value of a map key.
    pub fn put(&mut self, name: &str, key: &[u8], value: &[u8]) -> Result<(), TaskError> {
        self.check_writes(name)?;
        self.state.set(name, key, Some(value));
        Ok(())
    }

    /// Removes a map key.
    pub fn remove(&mut self, name: &str, key: &[u8]) -> Result<(), TaskError> {
        self.check_writes(name)?;
        self.state.set(name, key, None);
        Ok(())
    }

    /// Removes all entries of a map.
    pub fn clear(&mut self, name: &str) -> Result<(), TaskError> {
        self.check_writes(name)?;
        let before = std::mem::take(self.state.maps.entry(name.to_owned()).or_default());
        self.state.bytes -= bytes_of(&before);
        self.state.undo.push(Undo::Map {
            name: name.to_owned(),
            before,
        });
        Ok(())
    }

    fn check_writes(&self, name: &str) -> Result<(), TaskError> {
        BroadcastState::check_writes(name, self.port)
    }
}

impl BroadcastState {
    /// An error where records of that input may only read.
    pub fn check_writes(name: &str, port: u16) -> Result<(), TaskError> {
        if port == BROADCAST_PORT {
            return Ok(());
        }
        Err(TaskError::user(format!(
            "broadcast state `{name}` was to be written for a record that is not of the broadcast input: there it can only be \
             read, or the subtasks would no longer hold the same; write it for records of the second input"
        )))
    }
}

/// `length u32` of the key, little-endian; key; value.
fn element(key: &[u8], value: &[u8]) -> Base64Bytes {
    Base64Bytes([&(key.len() as u32).to_le_bytes(), key, value].concat())
}

fn entry(element: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (length, rest) = element.split_first_chunk::<4>()?;
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((key.to_vec(), value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broadcast_side_writes_and_the_other_side_reads_or_is_refused() {
        let mut state = BroadcastState::default();
        let mut broadcast = state.on(BROADCAST_PORT);
        broadcast.put("rules", b"b", b"2").unwrap();
        broadcast.put("rules", b"a", b"1").unwrap();
        broadcast.put("rules", b"c", b"3").unwrap();
        broadcast.remove("rules", b"c").unwrap();
        let mut keyed = state.on(0);
        assert_eq!(keyed.get("rules", b"a"), Some(&b"1"[..]));
        let entries: Vec<_> = keyed.entries("rules").collect();
        assert_eq!(entries, [(&b"a"[..], &b"1"[..]), (b"b", b"2")]);
        assert_eq!(keyed.entries("other").count(), 0);
        for refused in [
            keyed.put("rules", b"a", b"9"),
            keyed.remove("rules", b"a"),
            keyed.clear("rules"),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(
                error.contains("`rules`") && error.contains("only be read"),
                "{error}"
            );
        }
        assert_eq!(state.on(0).get("rules", b"a"), Some(&b"1"[..]));
    }

    #[test]
    fn what_is_snapshotted_is_restored_and_damage_is_an_error() {
        let mut state = BroadcastState::default();
        state.on(BROADCAST_PORT).put("rules", b"", b"").unwrap();
        state.on(BROADCAST_PORT).put("rules", b"key", b"value").unwrap();
        state.on(BROADCAST_PORT).put("empty", b"x", b"").unwrap();
        state.on(BROADCAST_PORT).clear("empty").unwrap();
        let mut taken = OperatorState {
            lists: state.snapshot(),
            ..OperatorState::default()
        };
        let names = ["rules".to_owned(), "empty".to_owned()];
        let again = BroadcastState::restored(Some(&taken), &names).unwrap();
        assert_eq!(again.maps, state.maps);
        assert_eq!(again.bytes(), 8);
        let other = BroadcastState::restored(Some(&taken), &names[1..]).unwrap();
        assert_eq!(other.maps.len(), 1, "a state that is not declared");
        taken.lists[1].elements[0].0.truncate(3);
        assert!(BroadcastState::restored(Some(&taken), &names).is_err());
        assert!(BroadcastState::restored(None, &names).unwrap().maps.is_empty());
    }

    #[test]
    fn what_was_written_since_the_beginning_is_undone_as_a_whole() {
        let mut state = BroadcastState::default();
        state.on(BROADCAST_PORT).put("rules", b"a", b"1").unwrap();
        state.on(BROADCAST_PORT).put("rules", b"b", b"22").unwrap();
        state.begin();
        let mut view = state.on(BROADCAST_PORT);
        view.put("rules", b"a", b"333").unwrap();
        view.remove("rules", b"b").unwrap();
        view.put("other", b"c", b"").unwrap();
        view.clear("rules").unwrap();
        view.put("rules", b"d", b"4").unwrap();
        assert_eq!(state.bytes(), 3);
        state.undo();
        let view = state.on(0);
        let entries: Vec<_> = view.entries("rules").collect();
        assert_eq!(entries, [(&b"a"[..], &b"1"[..]), (b"b", b"22")]);
        assert_eq!(view.entries_after("rules", Some(b"a")).count(), 1);
        assert_eq!(view.entries("other").count(), 0);
        assert_eq!(state.bytes(), 5);
    }
}
