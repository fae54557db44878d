//! Writes to states that do not travel: the WRITES section and op 5 of host-call.
//!
//! Invariant: an entry that [`check`] let through can be applied without another check.

use wasmill_model::function::StateKind;

use super::cursor::Cursor;
use crate::journal::broadcast::BroadcastWrite;
use crate::journal::keys::{CallKeys, NONE};
use crate::journal::overlay::Address;
use crate::journal::scope::{CallScope, DeclaredState};

/// Bytes of an entry before its map key.
pub const WRITE_HEADER_LEN: usize = 24;

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Sets a value.
    Set,
    /// Clears a value, list or map as a whole.
    Clear,
    /// Appends to a list.
    Append,
    /// Replaces a list.
    Replace,
    /// Puts into a map.
    Put,
    /// Removes from a map.
    Remove,
    /// Folds by the built-in reducer.
    Fold,
    /// Puts into a broadcast state.
    BroadcastPut,
    /// Removes from a broadcast state.
    BroadcastRemove,
    /// Clears a broadcast state.
    BroadcastClear,
}

/// In the field `row` of an entry: the rest of it is a key that host-call 9 gave.
pub const SCANNED_KEY: u32 = 1 << 31;

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct WriteEntry<'a> {
    /// Gives the key.
    pub row: u32,
    /// The state.
    pub slot: u32,
    /// Index of the namespace.
    pub namespace: u32,
    /// What to do.
    pub op: WriteOp,
    /// Of a map.
    pub map_key: &'a [u8],
    /// The value, element or elements.
    pub value: &'a [u8],
}

/// Reads the next entry; the error is about the entry alone.
pub fn read<'a>(cursor: &mut Cursor<'a>) -> Result<WriteEntry<'a>, String> {
    let short = |error: super::cursor::Short| error.to_string();
    let length = cursor.u32().map_err(short)? as usize;
    let Some(rest) = length.checked_sub(4) else {
        return Err(format!("its length {length} is less than that of its header"));
    };
    let mut entry = Cursor::new(cursor.take(rest).map_err(short)?);
    let row = entry.u32().map_err(short)?;
    let slot = entry.u32().map_err(short)?;
    let namespace = entry.u32().map_err(short)?;
    let code = entry.u8().map_err(short)?;
    entry.take(3).map_err(short)?;
    let map_key_len = entry.u32().map_err(short)? as usize;
    let map_key = entry.take(map_key_len).map_err(short)?;
    let op = match code {
        1 => WriteOp::Set,
        2 => WriteOp::Clear,
        3 => WriteOp::Append,
        4 => WriteOp::Replace,
        5 => WriteOp::Put,
        6 => WriteOp::Remove,
        7 => WriteOp::Fold,
        8 => WriteOp::BroadcastPut,
        9 => WriteOp::BroadcastRemove,
        10 => WriteOp::BroadcastClear,
        _ => return Err(format!("there is no operation {code}; they are 1 to 10")),
    };
    Ok(WriteEntry {
        row,
        slot,
        namespace,
        op,
        map_key,
        value: entry.rest(),
    })
}

/// What an entry does to a broadcast state; `None`: it is about keyed state.
pub fn broadcast<'a>(entry: &WriteEntry<'a>) -> Option<BroadcastWrite<'a>> {
    match entry.op {
        WriteOp::BroadcastPut => Some(BroadcastWrite::Put(entry.map_key, entry.value)),
        WriteOp::BroadcastRemove => Some(BroadcastWrite::Remove(entry.map_key)),
        WriteOp::BroadcastClear => Some(BroadcastWrite::Clear),
        _ => None,
    }
}

/// The key that an entry is about, as an index of the call; `None` where it names none.
pub fn key_of(row: u32, keys: &CallKeys) -> Option<u32> {
    match row & SCANNED_KEY {
        0 => keys.key_of_row(row),
        _ => Some(row & !SCANNED_KEY).filter(|key| keys.is_scanned(*key)),
    }
}

/// Checks an entry against the call and gives its address, `None` for a broadcast state; `rows` is how many rows it may
/// name.
pub fn check(entry: &WriteEntry<'_>, rows: u32, scope: &CallScope) -> Result<Option<Address>, String> {
    if let Some(write) = broadcast(entry) {
        if entry.row >= rows {
            return Err(format!(
                "row {} is not among the {rows} rows it may name",
                entry.row
            ));
        }
        return scope.check_broadcast_write(entry.slot, write).map(|()| None);
    }
    let is_scanned = entry.row & SCANNED_KEY != 0;
    let key = (entry.row < rows || is_scanned)
        .then(|| key_of(entry.row, &scope.keys))
        .flatten()
        .ok_or_else(|| {
            format!(
                "row {} is not a keyed row among the {rows} rows it may name",
                entry.row
            )
        })?;
    if !scope.keys.contains(key, entry.namespace) {
        return Err(format!("there is no namespace {} in this frame", entry.namespace));
    }
    let kinds: &[StateKind] = match entry.op {
        WriteOp::Set => &[StateKind::Value, StateKind::Reducing, StateKind::Aggregating],
        WriteOp::Clear => &[
            StateKind::Value,
            StateKind::Reducing,
            StateKind::Aggregating,
            StateKind::List,
            StateKind::Map,
        ],
        WriteOp::Append | WriteOp::Replace => &[StateKind::List],
        WriteOp::Put | WriteOp::Remove => &[StateKind::Map],
        WriteOp::Fold => &[StateKind::Reducing],
        WriteOp::BroadcastPut | WriteOp::BroadcastRemove | WriteOp::BroadcastClear => &[],
    };
    let state = scope.state(entry.slot, kinds, "write")?;
    if state.prefetched && !is_scanned {
        return Err(format!(
            "state `{}` travels in the frame: its writes belong into section STATE",
            state.name
        ));
    }
    check_content(entry, state, scope)?;
    Ok(Some(Address {
        slot: entry.slot,
        key,
        namespace: entry.namespace,
    }))
}

fn check_content(entry: &WriteEntry<'_>, state: &DeclaredState, scope: &CallScope) -> Result<(), String> {
    let has_map_key = matches!(entry.op, WriteOp::Put | WriteOp::Remove);
    if !has_map_key && !entry.map_key.is_empty() {
        return Err(format!("operation {:?} takes no map key", entry.op));
    }
    if matches!(entry.op, WriteOp::Clear | WriteOp::Remove) && !entry.value.is_empty() {
        return Err(format!("operation {:?} takes no value", entry.op));
    }
    match (entry.op, state.reduce) {
        (WriteOp::Fold, None) => {
            return Err(format!("state `{}` declares no built-in reducer", state.name));
        }
        (WriteOp::Fold, Some(reduce)) => {
            crate::journal::scope::fold_built_in(reduce, None, entry.value)?;
        }
        (WriteOp::Set, Some(_)) if entry.value.len() != 8 => {
            return Err(format!(
                "state `{}` holds 8 bytes for its built-in reducer, not {}",
                state.name,
                entry.value.len()
            ));
        }
        _ => {}
    }
    if entry.op == WriteOp::Replace {
        return elements(entry.value)
            .try_for_each(|element| scope.check_size("a list element", element?.len()));
    }
    scope.check_size("a map key", entry.map_key.len())?;
    scope.check_size("a value", entry.value.len())
}

/// The elements of a list as they travel: `length u32, bytes` each.
pub fn elements(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], String>> {
    let mut cursor = Cursor::new(bytes);
    std::iter::from_fn(move || {
        if cursor.is_done() {
            return None;
        }
        let element = cursor.u32().and_then(|length| cursor.take(length as usize));
        if element.is_err() {
            cursor.rest();
        }
        Some(element.map_err(|error| format!("a list element {error}")))
    })
}

/// Puts a checked entry into the journal: op 5 of host-call.
pub fn journal(entry: &WriteEntry<'_>, address: Address, scope: &mut CallScope) -> Result<(), String> {
    let value = || entry.value.to_vec();
    match entry.op {
        WriteOp::Set => scope.set_value(address, Some(value())),
        WriteOp::Append => scope.list_append(address, value()),
        WriteOp::Replace => {
            let elements: Result<Vec<_>, _> = elements(entry.value).map(|e| e.map(<[u8]>::to_vec)).collect();
            scope.list_replace(address, elements?)
        }
        WriteOp::Put => scope.map_put(address, entry.map_key.to_vec(), Some(value())),
        WriteOp::Remove => scope.map_put(address, entry.map_key.to_vec(), None),
        WriteOp::Clear => match scope.state(entry.slot, ALL_KINDS, "clear")?.kind {
            StateKind::List => scope.list_replace(address, Vec::new()),
            StateKind::Map => scope.map_clear(address),
            _ => scope.set_value(address, None),
        },
        WriteOp::Fold => match scope.state(entry.slot, ALL_KINDS, "fold")?.reduce {
            Some(reduce) => scope.fold(address, reduce, entry.value),
            None => Ok(()),
        },
        WriteOp::BroadcastPut | WriteOp::BroadcastRemove | WriteOp::BroadcastClear => Ok(()),
    }
}

/// Every kind of state.
pub const ALL_KINDS: &[StateKind] = &[
    StateKind::Value,
    StateKind::List,
    StateKind::Map,
    StateKind::Reducing,
    StateKind::Aggregating,
];

/// The namespace index as text for messages.
pub fn namespace_text(namespace: u32) -> String {
    if namespace == NONE {
        "void".to_owned()
    } else {
        namespace.to_string()
    }
}
