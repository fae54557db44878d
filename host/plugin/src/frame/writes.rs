//! Writes to states that do not travel: the WRITES section and op 5 of host-call.
//!
//! Invariant: an entry that [`check`] let through can be applied without another check.

use wasmill_model::function::StateKind;

use super::cursor::Cursor;
use crate::journal::keys::NONE;
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
}

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
        _ => return Err(format!("there is no operation {code}; they are 1 to 7")),
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

/// Checks an entry against the call and gives its address; `rows` is how many rows it may name.
pub fn check(entry: &WriteEntry<'_>, rows: u32, scope: &CallScope) -> Result<Address, String> {
    let key = (entry.row < rows)
        .then(|| scope.keys.key_of_row(entry.row))
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
    };
    let state = scope.state(entry.slot, kinds, "write")?;
    if state.prefetched {
        return Err(format!(
            "state `{}` travels in the frame: its writes belong into section STATE",
            state.name
        ));
    }
    check_content(entry, state, scope)?;
    Ok(Address {
        slot: entry.slot,
        key,
        namespace: entry.namespace,
    })
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
