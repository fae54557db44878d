//! The states that a backend knows, by name: what is registered, what was restored, what was dropped.
//!
//! Invariant: a state keeps its number for the life of its backend, and what is stored of it is only ever read as the
//! function declares it now (S8).

use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key::KeyGroup;

use crate::backend::{StateError, StateId, StateKey};

/// States of one backend at most.
const STATES_MAX: usize = 4096;

/// Bytes of one entry at most: key, namespace, map key and value together.
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// The states of one backend, each with what the backend keeps for it.
pub(crate) struct States<T> {
    all: Vec<State<T>>,
}

/// One state.
pub(crate) struct State<T> {
    pub(crate) declaration: StateDeclaration,
    standing: Standing,
    /// What the backend keeps for it.
    pub(crate) held: T,
}

/// Whether anybody has asked for a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Registered,
    Restored,
    Dropped,
}

impl<T> Default for States<T> {
    fn default() -> Self {
        Self { all: Vec::new() }
    }
}

impl<T> States<T> {
    /// As [`KeyedStateBackend::register`](crate::backend::KeyedStateBackend::register). `make` gives what is kept for a
    /// new state of that number, empty.
    pub(crate) fn register(
        &mut self,
        declaration: &StateDeclaration,
        make: impl FnOnce(StateId, StateKind) -> Result<T, StateError>,
    ) -> Result<StateId, StateError> {
        let Some(position) = self.position(&declaration.name) else {
            return self.add(declaration, Standing::Registered, make);
        };
        let id = StateId(position as u16);
        let present = &mut self.all[position];
        match present.standing {
            Standing::Registered if present.declaration != *declaration => {
                return Err(StateError::Register {
                    name: declaration.name.clone(),
                    message:
                        "it is registered already with another declaration: give the two different names"
                            .to_owned(),
                });
            }
            Standing::Registered => {}
            Standing::Restored => {
                declaration_fits(&present.declaration, declaration)?;
                present.declaration = declaration.clone();
                present.standing = Standing::Registered;
            }
            Standing::Dropped => {
                present.held = make(id, declaration.kind)?;
                present.declaration = declaration.clone();
                present.standing = Standing::Registered;
            }
        }
        Ok(id)
    }

    /// As [`KeyedStateBackend::restore_state`](crate::backend::KeyedStateBackend::restore_state).
    pub(crate) fn restore(
        &mut self,
        declaration: &StateDeclaration,
        make: impl FnOnce(StateId, StateKind) -> Result<T, StateError>,
    ) -> Result<StateId, StateError> {
        let Some(position) = self.position(&declaration.name) else {
            return self.add(declaration, Standing::Restored, make);
        };
        let present = &self.all[position];
        if present.standing == Standing::Dropped {
            return Err(usage(
                &declaration.name,
                "it was dropped before all was restored".to_owned(),
            ));
        }
        declaration_fits(declaration, &present.declaration)?;
        Ok(StateId(position as u16))
    }

    /// As [`KeyedStateBackend::restored`](crate::backend::KeyedStateBackend::restored).
    pub(crate) fn restored(&self, name: &str) -> Option<(StateId, StateDeclaration)> {
        let position = self.position(name)?;
        let state = self.all.get(position)?;
        (state.standing == Standing::Restored).then(|| (StateId(position as u16), state.declaration.clone()))
    }

    /// As [`KeyedStateBackend::redeclare`](crate::backend::KeyedStateBackend::redeclare).
    pub(crate) fn redeclare(
        &mut self,
        id: StateId,
        declaration: &StateDeclaration,
    ) -> Result<(), StateError> {
        let state = self.get_mut(id)?;
        if state.standing != Standing::Restored || !declaration.migrates(&state.declaration) {
            return Err(usage(
                &declaration.name,
                "it is no restored state of an older schema version: nothing of it can be declared anew"
                    .to_owned(),
            ));
        }
        state.declaration = declaration.clone();
        Ok(())
    }

    fn add(
        &mut self,
        declaration: &StateDeclaration,
        standing: Standing,
        make: impl FnOnce(StateId, StateKind) -> Result<T, StateError>,
    ) -> Result<StateId, StateError> {
        if self.all.len() == STATES_MAX {
            return Err(StateError::Register {
                name: declaration.name.clone(),
                message: format!(
                    "an operator has at most {STATES_MAX} states: use a map state instead of many states"
                ),
            });
        }
        let id = StateId(self.all.len() as u16);
        self.all.push(State {
            declaration: declaration.clone(),
            standing,
            held: make(id, declaration.kind)?,
        });
        Ok(id)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|state| state.declaration.name == name)
    }

    /// A state that is there.
    #[inline]
    pub(crate) fn get(&self, id: StateId) -> Result<&State<T>, StateError> {
        match self.all.get(usize::from(id.0)) {
            Some(state) if state.standing != Standing::Dropped => Ok(state),
            _ => Err(unregistered(id)),
        }
    }

    /// A state that is there.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: StateId) -> Result<&mut State<T>, StateError> {
        match self.all.get_mut(usize::from(id.0)) {
            Some(state) if state.standing != Standing::Dropped => Ok(state),
            _ => Err(unregistered(id)),
        }
    }

    /// The same, to change them.
    pub(crate) fn numbered_mut(&mut self) -> impl Iterator<Item = (StateId, &mut State<T>)> {
        let all = (0u16..).zip(&mut self.all);
        all.filter(|(_, state)| state.standing != Standing::Dropped)
            .map(|(id, state)| (StateId(id), state))
    }

    /// All states that are there, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &State<T>> {
        let kept = self.all.iter();
        kept.filter(|state| state.standing != Standing::Dropped)
    }

    /// All states that are there with their numbers, ascending.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (StateId, &State<T>)> {
        let all = (0u16..).zip(&self.all);
        all.filter(|(_, state)| state.standing != Standing::Dropped)
            .map(|(id, state)| (StateId(id), state))
    }

    /// As [`KeyedStateBackend::declarations`](crate::backend::KeyedStateBackend::declarations).
    pub(crate) fn declarations(&self) -> Vec<StateDeclaration> {
        self.iter().map(|state| state.declaration.clone()).collect()
    }

    /// As [`KeyedStateBackend::unclaimed`](crate::backend::KeyedStateBackend::unclaimed).
    pub(crate) fn unclaimed(&self) -> Vec<String> {
        let unclaimed = self
            .all
            .iter()
            .filter(|state| state.standing == Standing::Restored);
        unclaimed.map(|state| state.declaration.name.clone()).collect()
    }

    /// Drops all unclaimed states; `forget` takes away what is kept for each.
    pub(crate) fn drop_unclaimed(&mut self, mut forget: impl FnMut(StateId, &mut T)) {
        for (id, state) in (0u16..).zip(&mut self.all) {
            if state.standing == Standing::Restored {
                state.standing = Standing::Dropped;
                forget(StateId(id), &mut state.held);
            }
        }
    }
}

impl<T> State<T> {
    /// A call that this kind of state does not have.
    pub(crate) fn unfit<U>(&self, call: &str) -> Result<U, StateError> {
        let kind = self.declaration.kind;
        Err(usage(
            &self.declaration.name,
            format!("{call} does not work on a state of kind {kind:?}"),
        ))
    }

    /// A key of a group that the backend does not hold.
    pub(crate) fn foreign(&self, group: KeyGroup) -> StateError {
        usage(
            &self.declaration.name,
            format!(
                "key group {} is not one of this subtask's: the record was routed to the wrong one",
                group.0
            ),
        )
    }

    /// Checks what a snapshot must be able to hold.
    pub(crate) fn check_entry(&self, key: &StateKey<'_>, value: &[u8]) -> Result<(), StateError> {
        let bytes = key.key.len() + key.namespace.len() + key.map_key.len() + value.len();
        if bytes <= ENTRY_BYTES_MAX {
            return Ok(());
        }
        Err(usage(
            &self.declaration.name,
            format!(
                "an entry of {bytes} bytes is more than the limit of {ENTRY_BYTES_MAX}: store it in parts"
            ),
        ))
    }
}

/// Whether keys of a stored map can be read as what the function declares, whatever its values are (S8).
pub(crate) fn map_keys_fit(stored: &StateDeclaration, declared: &StateDeclaration) -> Result<(), StateError> {
    match (stored.map_key_encoding(), declared.map_key_encoding()) {
        (Some(was), Some(is)) if was != is => Err(StateError::MapKeys {
            name: declared.name.clone(),
            stored: was.to_owned(),
            declared: is.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whether stored entries can be read as what the function declares (S8).
fn declaration_fits(stored: &StateDeclaration, declared: &StateDeclaration) -> Result<(), StateError> {
    let is_one_version = stored.schema_version == declared.schema_version;
    let has_other_ttl = stored.ttl.is_some() != declared.ttl.is_some();
    let would_migrate = declared.migrates(&StateDeclaration {
        ttl: declared.ttl,
        ..stored.clone()
    });
    if stored.kind == declared.kind && has_other_ttl && (is_one_version || would_migrate) {
        return Err(StateError::TimeToLive {
            name: declared.name.clone(),
            stored: stored.ttl.is_some(),
        });
    }
    if stored.kind == declared.kind && is_one_version {
        if stored.encoding == declared.encoding {
            return map_keys_fit(stored, declared);
        }
        return Err(StateError::Encoding {
            name: declared.name.clone(),
            stored: stored.encoding.clone(),
            declared: declared.encoding.clone(),
        });
    }
    Err(StateError::Incompatible {
        name: declared.name.clone(),
        kind: stored.kind,
        declared_kind: declared.kind,
        stored: stored.schema_version,
        declared: declared.schema_version,
    })
}

/// An error of a call on a state that is not there.
pub(crate) fn unregistered(id: StateId) -> StateError {
    usage(
        &format!("number {}", id.0),
        "it is not registered: register it first".to_owned(),
    )
}

/// An error of a call that does not fit the state.
pub(crate) fn usage(name: &str, message: String) -> StateError {
    StateError::Usage {
        name: name.to_owned(),
        message,
    }
}
