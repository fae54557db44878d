//! An entry as a line of JSON, and back.
//!
//! ```text
//! {"operator":"count","state":"count","key":"word","value":5}
//! {"operator":"count","state":"seen","key":1,"window":{"start":0,"end":60000},"map-key":7,"value":"x"}
//! {"operator":"count","state":"last","key":null,"element":"x"}              one line an element, in their order
//! {"operator":"count","timer":"event","timestamp":60000,"key":"word"}
//! {"operator":"count","timer":"event","timestamp":60000,"key":{"encoded":""},"key-group":9}   not of its key's own group
//! {"operator":"lines","operator-state":"buffer","mode":"list","subtask":0,"element":{"base64":"…"}}
//! {"operator":"lines","raw-state":{"base64":"…"},"subtask":0}
//! {"operator":"out","committable":{…},"subtask":0}
//! ```

use serde_json::{Map, Value};
use wasmill_checkpoint::handle::Committable;
use wasmill_model::function::{OperatorStateMode, StateDeclaration, StateKind};
use wasmill_model::key::{self, KeyGroup};
use wasmill_state::timers::TimeDomain;
use wasmill_state::ttl::STAMP_BYTES;

use super::document::{Document, OperatorHead};
use super::identity::{Identity, Place};
use super::typed;

/// The entry as a line.
pub(super) fn to_line(
    document: &Document,
    identity: &Identity,
    value: &[u8],
) -> Result<Map<String, Value>, String> {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    put("operator", Value::from(identity.operator.as_str()));
    match &identity.place {
        Place::Entry {
            group,
            state,
            key,
            namespace,
            map_key,
        } => {
            let operator = document.operators.get(&identity.operator);
            let (_, state) = operator
                .and_then(|operator| operator.state(state))
                .ok_or_else(|| {
                    format!(
                        "operator `{}` does not declare the state `{state}`",
                        identity.operator
                    )
                })?;
            put("state", Value::from(state.name.as_str()));
            put("key", typed::key_to_json(key));
            put_group(document, &mut line, key, *group);
            typed::put_namespace(&mut line, namespace);
            if let Some(map_key) = map_key {
                line.insert("map-key".to_owned(), typed::map_key_to_json(state, map_key));
            }
            put_value(&mut line, state, value)?;
        }
        Place::Timer {
            group,
            domain,
            timestamp,
            key,
            namespace,
        } => {
            let domain = match domain {
                TimeDomain::Event => "event",
                TimeDomain::Processing => "processing",
            };
            put("timer", Value::from(domain));
            put("timestamp", Value::from(*timestamp));
            put("key", typed::key_to_json(key));
            put_group(document, &mut line, key, *group);
            typed::put_namespace(&mut line, namespace);
        }
        Place::Element { name, subtask } => {
            let (mode, element) = value.split_first().ok_or("operator state has no mode")?;
            put("operator-state", Value::from(name.as_str()));
            put("mode", json_of(&mode_of(*mode))?);
            put("subtask", Value::from(*subtask));
            put("element", typed::bytes_to_json(element));
        }
        Place::Raw { subtask } => {
            put("raw-state", typed::bytes_to_json(value));
            put("subtask", Value::from(*subtask));
        }
        Place::Committable { subtask } => {
            let committable: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            put("committable", committable);
            put("subtask", Value::from(*subtask));
        }
    }
    Ok(line)
}

/// The key group where it is not the key's own: what windows keep of all keys of a group is there under the empty key.
fn put_group(document: &Document, line: &mut Map<String, Value>, key: &[u8], group: KeyGroup) {
    if group_of(document, key) != group {
        line.insert("key-group".to_owned(), Value::from(group.0));
    }
}

fn group_of(document: &Document, key: &[u8]) -> KeyGroup {
    document.head.max_parallelism.group_of(key::hash(key))
}

fn put_value(line: &mut Map<String, Value>, state: &StateDeclaration, stored: &[u8]) -> Result<(), String> {
    let mut value = stored;
    if state.ttl.is_some() {
        let (stamp, rest) = stored.split_first_chunk::<STAMP_BYTES>().ok_or_else(|| {
            format!(
                "a value of the state `{}` has no time of its last update",
                state.name
            )
        })?;
        line.insert("last-update".to_owned(), Value::from(i64::from_le_bytes(*stamp)));
        value = rest;
    }
    let name = match state.kind {
        StateKind::List => "element",
        _ => "value",
    };
    line.insert(name.to_owned(), typed::value_to_json(&state.encoding, value));
    Ok(())
}

fn json_of(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// A mode as a byte before each element.
pub(super) fn mode_byte(mode: OperatorStateMode) -> u8 {
    match mode {
        OperatorStateMode::List => 0,
        OperatorStateMode::Union => 1,
        OperatorStateMode::Broadcast => 2,
    }
}

/// See [`mode_byte`].
pub(super) fn mode_of(byte: u8) -> OperatorStateMode {
    match byte {
        0 => OperatorStateMode::List,
        1 => OperatorStateMode::Union,
        _ => OperatorStateMode::Broadcast,
    }
}

/// What a line says.
pub(super) enum Said {
    /// An entry and what it holds.
    Put(Identity, Vec<u8>),
    /// That there is none.
    Delete(Identity),
}

/// The fields of a line, taken one by one so that none is left unread.
struct Fields<'d> {
    line: Map<String, Value>,
    operator: String,
    head: &'d OperatorHead,
    document: &'d Document,
}

/// Reads a line of an entry; with `deletes`, also one that ends in `"delete": true`.
pub(super) fn from_line(
    document: &Document,
    mut line: Map<String, Value>,
    deletes: bool,
) -> Result<Said, String> {
    let operator = match line.remove("operator") {
        Some(Value::String(operator)) => operator,
        _ => return Err("it has no `operator`: name the operator's uid".to_owned()),
    };
    let head = document.operators.get(&operator).ok_or_else(|| {
        let known: Vec<&str> = document.operators.keys().map(String::as_str).collect();
        let suggestion = crate::job::error::suggestion(&operator, &known);
        format!("there is no operator `{operator}`{suggestion}")
    })?;
    let is_delete = deletes && line.remove("delete") == Some(Value::Bool(true));
    let mut fields = Fields {
        line,
        operator,
        head,
        document,
    };
    let said = fields.read(is_delete)?;
    match fields.line.keys().next() {
        Some(name) => Err(format!("the field `{name}` does not belong into such a line")),
        None => Ok(said),
    }
}

impl Fields<'_> {
    fn read(&mut self, is_delete: bool) -> Result<Said, String> {
        let (place, value) = if let Some(state) = self.line.remove("state") {
            self.entry(&state, is_delete)?
        } else if let Some(domain) = self.line.remove("timer") {
            (self.timer(&domain)?, Vec::new())
        } else if let Some(name) = self.line.remove("operator-state") {
            self.element(&name, is_delete)?
        } else if let Some(raw) = self.line.remove("raw-state") {
            let subtask = self.subtask()?;
            (Place::Raw { subtask }, typed::bytes_from_json(&raw)?)
        } else if let Some(committable) = self.line.remove("committable") {
            let subtask = self.subtask()?;
            let read: Committable = serde_json::from_value(committable)
                .map_err(|error| format!("its `committable` cannot be read: {error}"))?;
            let bytes = serde_json::to_vec(&read).map_err(|error| error.to_string())?;
            (Place::Committable { subtask }, bytes)
        } else {
            return Err(
                "it is of no kind: it has none of `state`, `timer`, `operator-state`, `raw-state`, `committable`".to_owned(),
            );
        };
        let identity = Identity {
            operator: self.operator.clone(),
            place,
        };
        Ok(match is_delete {
            true => Said::Delete(identity),
            false => Said::Put(identity, value),
        })
    }

    fn required(&mut self, name: &str) -> Result<Value, String> {
        self.line
            .remove(name)
            .ok_or_else(|| format!("it has no `{name}`"))
    }

    fn key(&mut self) -> Result<(Vec<u8>, KeyGroup), String> {
        let encoded = typed::key_from_json(&self.required("key")?)?;
        let Some(group) = self.line.remove("key-group") else {
            let group = group_of(self.document, &encoded);
            return Ok((encoded, group));
        };
        let max = self.document.head.max_parallelism.0;
        let number = group.as_u64().and_then(|group| u16::try_from(group).ok());
        match number.filter(|group| *group < max) {
            Some(group) => Ok((encoded, KeyGroup(group))),
            None => Err(format!(
                "its `key-group` is `{group}`: write 0 to {}, or leave it out",
                max - 1
            )),
        }
    }

    fn namespace(&mut self) -> Result<Vec<u8>, String> {
        typed::take_namespace(self.line.remove("window"), self.line.remove("namespace"))
    }

    fn subtask(&mut self) -> Result<u32, String> {
        let parallelism = self.head.parallelism;
        let value = self.required("subtask")?;
        let subtask = value.as_u64().and_then(|subtask| u32::try_from(subtask).ok());
        subtask.filter(|subtask| *subtask < parallelism).ok_or_else(|| {
            format!(
                "its `subtask` is `{value}`: operator `{}` has {parallelism}, from 0",
                self.operator
            )
        })
    }

    fn entry(&mut self, state: &Value, is_delete: bool) -> Result<(Place, Vec<u8>), String> {
        let name = state.as_str().unwrap_or_default();
        let (_, state) = self.head.state(name).ok_or_else(|| {
            let known: Vec<&str> = self.head.states.iter().map(|state| state.name.as_str()).collect();
            let suggestion = crate::job::error::suggestion(name, &known);
            format!("operator `{}` has no state `{name}`{suggestion}", self.operator)
        })?;
        let (key, group) = self.key()?;
        let namespace = self.namespace()?;
        let map_key = match state.kind {
            StateKind::Map => Some(typed::map_key_from_json(state, &self.required("map-key")?)?),
            _ => None,
        };
        let value = match is_delete {
            true => Vec::new(),
            false => self.value(state)?,
        };
        let place = Place::Entry {
            group,
            state: name.to_owned(),
            key,
            namespace,
            map_key,
        };
        Ok((place, value))
    }

    fn value(&mut self, state: &StateDeclaration) -> Result<Vec<u8>, String> {
        let mut stored = Vec::new();
        if state.ttl.is_some() {
            let stamp = self.required("last-update")?;
            let stamp = stamp
                .as_i64()
                .ok_or_else(|| format!("its `last-update` is `{stamp}`: write ms since 1970"))?;
            stored.extend_from_slice(&stamp.to_le_bytes());
        }
        let name = match state.kind {
            StateKind::List => "element",
            _ => "value",
        };
        let value = self.required(name)?;
        stored.extend(typed::value_from_json(&state.encoding, &value)?);
        Ok(stored)
    }

    fn timer(&mut self, domain: &Value) -> Result<Place, String> {
        let domain = match domain.as_str() {
            Some("event") => TimeDomain::Event,
            Some("processing") => TimeDomain::Processing,
            _ => {
                return Err(format!(
                    "its `timer` is `{domain}`: write \"event\" or \"processing\""
                ));
            }
        };
        let timestamp = self.required("timestamp")?;
        let timestamp = timestamp
            .as_i64()
            .ok_or_else(|| format!("its `timestamp` is `{timestamp}`: write ms since 1970"))?;
        let (key, group) = self.key()?;
        Ok(Place::Timer {
            group,
            domain,
            timestamp,
            key,
            namespace: self.namespace()?,
        })
    }

    fn element(&mut self, name: &Value, is_delete: bool) -> Result<(Place, Vec<u8>), String> {
        let name = name.as_str().ok_or("its `operator-state` is no name")?.to_owned();
        let subtask = self.subtask()?;
        let mut value = Vec::new();
        if !is_delete {
            let mode = self.required("mode")?;
            let mode: OperatorStateMode = serde_json::from_value(mode.clone())
                .map_err(|_| format!("its `mode` is `{mode}`: write \"list\", \"union\" or \"broadcast\""))?;
            value.push(mode_byte(mode));
            value.extend(typed::bytes_from_json(&self.required("element")?)?);
        }
        Ok((Place::Element { name, subtask }, value))
    }
}
