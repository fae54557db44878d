//! Broadcast state (G11): maps that every subtask of an operator holds alike.
//!
//! Invariant: only records of the broadcast input change it, and every subtask gets all of those in one order, so all
//! subtasks hold the same. A checkpoint has each subtask's copy, and a restore gives each subtask one.

use std::collections::BTreeMap;

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
}

impl BroadcastState {
    /// With what a checkpoint holds of it. A list of another mode is another state and is left alone.
    pub fn restored(state: Option<&OperatorState>) -> Result<Self, TaskError> {
        let mut maps = BTreeMap::new();
        let lists = state.iter().flat_map(|state| &state.lists);
        for list in lists.filter(|list| list.mode == OperatorStateMode::Broadcast) {
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
        Ok(Self { maps })
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
        BroadcastView {
            maps: &mut self.maps,
            writes: port == BROADCAST_PORT,
        }
    }
}

/// Broadcast state while records of one input are processed.
#[derive(Debug)]
pub struct BroadcastView<'a> {
    maps: &'a mut BTreeMap<String, Map>,
    writes: bool,
}

impl BroadcastView<'_> {
    /// The value of a map key.
    pub fn get(&self, name: &str, key: &[u8]) -> Option<&[u8]> {
        self.maps.get(name)?.get(key).map(Vec::as_slice)
    }

    /// All entries of a map, in byte order of their keys.
    pub fn entries(&self, name: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        let entries = self.maps.get(name).into_iter().flatten();
        entries.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Sets the value of a map key.
    pub fn put(&mut self, name: &str, key: &[u8], value: &[u8]) -> Result<(), TaskError> {
        self.map(name)?.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    /// Removes a map key.
    pub fn remove(&mut self, name: &str, key: &[u8]) -> Result<(), TaskError> {
        self.map(name)?.remove(key);
        Ok(())
    }

    /// Removes all entries of a map.
    pub fn clear(&mut self, name: &str) -> Result<(), TaskError> {
        self.map(name)?.clear();
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map, TaskError> {
        if self.writes {
            return Ok(self.maps.entry(name.to_owned()).or_default());
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
        let again = BroadcastState::restored(Some(&taken)).unwrap();
        assert_eq!(again.maps, state.maps);
        taken.lists[1].elements[0].0.truncate(3);
        assert!(BroadcastState::restored(Some(&taken)).is_err());
        assert!(BroadcastState::restored(None).unwrap().maps.is_empty());
    }
}
