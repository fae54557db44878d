//! A function's own state as the frame family carries it: "snapshot and restore" of `docs/frame.md`.
//!
//! Invariant: what a guest gives as its snapshot is checked against what it declares before it goes into
//! a checkpoint.

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_model::function::{FunctionDescription, OperatorStateMode};

use super::VERSION;
use super::cursor::{Cursor, Short, put_u32};

fn code(mode: OperatorStateMode) -> u32 {
    match mode {
        OperatorStateMode::List => 1,
        OperatorStateMode::Union => 2,
        OperatorStateMode::Broadcast => 3,
    }
}

/// The bytes that `restore` is given.
pub fn encode(state: &OperatorState) -> Vec<u8> {
    let mut out = vec![VERSION, 0, 0, 0];
    put_u32(&mut out, state.lists.len() as u32);
    for list in &state.lists {
        put_u32(&mut out, list.name.len() as u32);
        out.extend_from_slice(list.name.as_bytes());
        put_u32(&mut out, code(list.mode));
        put_u32(&mut out, list.elements.len() as u32);
        for Base64Bytes(element) in &list.elements {
            put_u32(&mut out, element.len() as u32);
            out.extend_from_slice(element);
        }
    }
    put_u32(&mut out, state.raw.len() as u32);
    out.extend_from_slice(&state.raw);
    out
}

/// Reads what `snapshot` returned; the error says where it is wrong.
pub fn decode(bytes: &[u8], description: &FunctionDescription) -> Result<OperatorState, String> {
    let mut state = OperatorState::default();
    if bytes.is_empty() {
        return Ok(state);
    }
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8().map_err(short)?;
    if version != VERSION {
        return Err(format!(
            "snapshot: version {version}, this host reads version {VERSION}"
        ));
    }
    cursor.take(3).map_err(short)?;
    let count = cursor.u32().map_err(short)?;
    for index in 0..count {
        let list =
            list(&mut cursor, description).map_err(|error| format!("snapshot: state {index}: {error}"))?;
        if state.lists.iter().any(|known| known.name == list.name) {
            return Err(format!("snapshot: state {index}: `{}` is there twice", list.name));
        }
        state.lists.push(list);
    }
    let raw = cursor
        .u32()
        .and_then(|length| cursor.take(length as usize))
        .map_err(short)?;
    if !raw.is_empty() && !description.raw_state {
        return Err("snapshot: raw state that `describe` does not declare".to_owned());
    }
    if !cursor.is_done() {
        return Err(format!("snapshot: bytes are left after byte {}", cursor.at()));
    }
    state.raw = raw.to_vec();
    Ok(state)
}

fn short(error: Short) -> String {
    format!("snapshot: {error}")
}

fn list(cursor: &mut Cursor<'_>, description: &FunctionDescription) -> Result<OperatorList, String> {
    let short = |error: Short| error.to_string();
    let name = cursor
        .u32()
        .and_then(|length| cursor.take(length as usize))
        .map_err(short)?;
    let declared = description
        .operator_state
        .iter()
        .find(|state| state.name.as_bytes() == name);
    let declared = declared.ok_or_else(|| {
        format!(
            "`{}` is not declared as operator state",
            String::from_utf8_lossy(name).escape_debug()
        )
    })?;
    let mode = cursor.u32().map_err(short)?;
    if mode != code(declared.mode) {
        return Err(format!(
            "`{}` has mode {mode}, `describe` declares {}",
            declared.name,
            code(declared.mode)
        ));
    }
    let count = cursor.u32().map_err(short)?;
    let mut elements = Vec::new();
    for index in 0..count {
        let element = cursor.u32().and_then(|length| cursor.take(length as usize));
        let element = element.map_err(|error| format!("`{}`, element {index}: {error}", declared.name))?;
        elements.push(Base64Bytes(element.to_vec()));
    }
    Ok(OperatorList {
        name: declared.name.clone(),
        mode: declared.mode,
        elements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> FunctionDescription {
        let json = r#"{"version":1,"functions":[{"name":"f","kind":"flat-map","raw-state":true,
            "operator-state":[{"name":"buffer"},{"name":"all","mode":"union"}]}]}"#;
        wasmill_model::function::Description::parse(json)
            .unwrap()
            .functions[0]
            .clone()
    }

    fn state() -> OperatorState {
        let list = |name: &str, mode, elements: &[&str]| OperatorList {
            name: name.to_owned(),
            mode,
            elements: elements
                .iter()
                .map(|e| Base64Bytes(e.as_bytes().to_vec()))
                .collect(),
        };
        OperatorState {
            lists: vec![
                list("buffer", OperatorStateMode::List, &["a", "", "ccc"]),
                list("all", OperatorStateMode::Union, &[]),
            ],
            raw: b"raw".to_vec(),
            ..OperatorState::default()
        }
    }

    #[test]
    fn own_state_reads_back_as_it_was_written() {
        assert_eq!(decode(&encode(&state()), &description()), Ok(state()));
        assert_eq!(decode(b"", &description()), Ok(OperatorState::default()));
    }

    #[test]
    fn every_truncation_of_own_state_is_refused() {
        let bytes = encode(&state());
        for end in 1..bytes.len() {
            assert!(decode(&bytes[..end], &description()).is_err(), "{end}");
        }
    }

    #[test]
    fn own_state_that_was_not_declared_is_refused() {
        let mut other = state();
        other.lists[0].name = "buffet".to_owned();
        let error = decode(&encode(&other), &description()).unwrap_err();
        assert_eq!(
            error,
            "snapshot: state 0: `buffet` is not declared as operator state"
        );
        let bare = FunctionDescription {
            raw_state: false,
            ..description()
        };
        assert!(
            decode(&encode(&state()), &bare)
                .unwrap_err()
                .contains("raw state")
        );
    }
}
