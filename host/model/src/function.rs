//! What a component declares of its functions: the JSON of `docs/describe.md`.

use serde::{Deserialize, Serialize};

mod kind;
mod state;

pub use kind::FunctionKind;
pub use state::{
    BuiltInReduce, CleanupStrategies, CompactFilterCleanup, IncrementalCleanup, Prefetch, StateDeclaration,
    StateKind, StateTtl, StateVisibility, UpdateType,
};

/// All that `describe` returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Description {
    /// Of this format; 1.
    pub version: u32,
    /// In the component's own order.
    pub functions: Vec<FunctionDescription>,
}

/// One function of a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FunctionDescription {
    /// Distinct within the component.
    pub name: String,
    /// What it does with a record.
    pub kind: FunctionKind,
    /// Format of the records that it reads.
    #[serde(default)]
    pub input: Format,
    /// That it has a second input, and the format of its records there (G10): rows of it have port 1.
    #[serde(default)]
    pub second_input: Option<Format>,
    /// That its second input is broadcast, and the maps that every subtask then holds alike (G11).
    #[serde(default)]
    pub broadcast_state: Option<Vec<BroadcastStateDeclaration>>,
    /// Format of the records that it emits.
    #[serde(default)]
    pub output: Format,
    /// Keyed state.
    #[serde(default)]
    pub state: Vec<StateDeclaration>,
    /// Operator state.
    #[serde(default)]
    pub operator_state: Vec<OperatorStateDeclaration>,
    /// Whether its snapshot holds raw state.
    #[serde(default)]
    pub raw_state: bool,
    /// Outputs beside the main one; output port = index + 1.
    #[serde(default)]
    pub side_outputs: Vec<SideOutput>,
    /// Of a trigger: that it may be used with windows that merge. Of a window assigner: that its windows do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merges: bool,
    /// What it needs beyond the sandbox.
    #[serde(default)]
    pub grants: Vec<String>,
}

impl FunctionDescription {
    /// How many inputs it has.
    pub fn ports(&self) -> u16 {
        match self.second_input {
            Some(_) => 2,
            None => 1,
        }
    }

    /// Whether records of that input have a key to it.
    pub fn is_keyed_on(&self, port: u16) -> bool {
        self.kind.needs_key() && (port == 0 || self.broadcast_state.is_none())
    }

    /// Names of its broadcast states, in their order.
    pub fn broadcast_names(&self) -> Vec<String> {
        let declared = self.broadcast_state.iter().flatten();
        declared.map(|state| state.name.clone()).collect()
    }

    /// Whether what it remembers from call to call counts: an instance of it is not replaced by one that knows nothing.
    pub fn keeps_memory(&self) -> bool {
        self.is_buffering() || self.kind == FunctionKind::WatermarkGenerator
    }

    /// Whether it keeps state of its own that is snapshotted at every barrier.
    pub fn is_buffering(&self) -> bool {
        self.raw_state || !self.operator_state.is_empty()
    }
}

/// The grant of a function that makes requests over HTTP.
pub const GRANT_HTTP: &str = "http";

/// Format of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Any bytes.
    #[default]
    Raw,
    /// UTF-8 text without line ends.
    Lines,
    /// One JSON value.
    Json,
    /// One CSV record.
    Csv,
}

impl Format {
    /// Whether records of this format may go where `input` is expected: `raw` fits on either side.
    pub fn fits(self, input: Self) -> bool {
        self == input || self == Self::Raw || input == Self::Raw
    }
}

/// One operator state of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OperatorStateDeclaration {
    /// Distinct within the function.
    pub name: String,
    /// How it is redistributed.
    #[serde(default)]
    pub mode: OperatorStateMode,
}

/// One broadcast state of a function: a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BroadcastStateDeclaration {
    /// Distinct within the function, its operator state included.
    pub name: String,
}

/// How operator state is redistributed when the parallelism changes (S2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorStateMode {
    /// Elements dealt out evenly.
    #[default]
    List,
    /// Every subtask gets all elements.
    Union,
    /// Every subtask holds the same; one copy is kept.
    Broadcast,
}

/// A named output beside the main one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideOutput {
    /// Distinct within the function.
    pub name: String,
    /// Format of its records.
    #[serde(default)]
    pub format: Format,
}

/// What is wrong with a description: names the function and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("describe: {0}")]
pub struct DescriptionError(pub String);

impl Description {
    /// Reads and checks the JSON that a component returned.
    pub fn parse(json: &str) -> Result<Self, DescriptionError> {
        let description: Self = serde_json::from_str(json).map_err(|e| DescriptionError(e.to_string()))?;
        description.check()?;
        Ok(description)
    }

    /// The function of that name.
    pub fn function(&self, name: &str) -> Option<&FunctionDescription> {
        self.functions.iter().find(|f| f.name == name)
    }

    fn check(&self) -> Result<(), DescriptionError> {
        let fail = |message: String| Err(DescriptionError(message));
        if self.version != 1 {
            return fail(format!(
                "version {} is not known to this host, which reads version 1",
                self.version
            ));
        }
        if self.functions.is_empty() {
            return fail("the component declares no function".to_owned());
        }
        if let Some(name) = duplicate(self.functions.iter().map(|f| &f.name)) {
            return fail(format!("function `{name}` is declared twice"));
        }
        self.functions.iter().try_for_each(FunctionDescription::check)
    }
}

impl FunctionDescription {
    fn check(&self) -> Result<(), DescriptionError> {
        let name = &self.name;
        let fail = |message: String| Err(DescriptionError(format!("function `{name}`: {message}")));
        if !is_name(name) {
            return Err(DescriptionError(format!(
                "function name `{}` is not [A-Za-z0-9_-]{{1,64}}",
                name.escape_debug()
            )));
        }
        if let Some(state) = duplicate(self.state.iter().map(|s| &s.name)) {
            return fail(format!("state `{state}` is declared twice"));
        }
        if let Some(state) = duplicate(self.operator_state.iter().map(|s| &s.name)) {
            return fail(format!("operator state `{state}` is declared twice"));
        }
        let (lists, maps) = (self.operator_state.iter(), self.broadcast_state.iter().flatten());
        if let Some(state) = duplicate(lists.map(|s| &s.name).chain(maps.map(|s| &s.name))) {
            return fail(format!(
                "broadcast state `{state}` is declared twice, or is an operator state too"
            ));
        }
        if let Some(output) = duplicate(self.side_outputs.iter().map(|s| &s.name)) {
            return fail(format!("side output `{output}` is declared twice"));
        }
        let connects = self.kind.is_joined()
            || matches!(
                self.kind,
                FunctionKind::Map | FunctionKind::FlatMap | FunctionKind::Process
            );
        if self.second_input.is_some() && !connects {
            return fail("`second-input` belongs to a map, a flat-map, a process or a join".to_owned());
        }
        if self.kind.is_about_records() && (!self.side_outputs.is_empty() || !self.operator_state.is_empty())
        {
            return fail("a function of this kind has no side outputs and no operator state".to_owned());
        }
        if self.raw_state
            && matches!(
                self.kind,
                FunctionKind::TimestampAssigner | FunctionKind::Partitioner
            )
        {
            return fail(
                "a timestamp assigner or partitioner is not checkpointed: it has no `raw-state`".to_owned(),
            );
        }
        if self.broadcast_state.is_some() && (self.second_input.is_none() || self.kind == FunctionKind::Map) {
            return fail(
                "`broadcast-state` belongs to a flat-map or a process with `second-input`, which writes it"
                    .to_owned(),
            );
        }
        self.check_states()
    }

    fn check_states(&self) -> Result<(), DescriptionError> {
        let name = &self.name;
        let fail = |message: String| Err(DescriptionError(format!("function `{name}`: {message}")));
        let keeps_state =
            self.kind.needs_key() || self.kind.is_over_elements() || self.kind == FunctionKind::Trigger;
        if !self.state.is_empty() && !keeps_state {
            return fail(
                "keyed state needs a keyed kind: reduce, aggregate, process, process-join, join, co-group, window or \
                 trigger"
                    .to_owned(),
            );
        }
        if let Some(state) = self.state.iter().find(|state| state.per_window)
            && self.kind != FunctionKind::Window
        {
            return fail(format!(
                "state `{}`: `per-window` belongs to a window function; the state of a trigger always is",
                state.name
            ));
        }
        if self.kind.is_of_windows() && self.is_buffering() {
            return fail("a part of a window keeps no state of its own: declare keyed state".to_owned());
        }
        if let Some(bad) = self.state.iter().find(|s| s.name.starts_with("interval-join/")) {
            return fail(format!(
                "state `{}`: names that begin with `interval-join/` are the host's own",
                bad.name
            ));
        }
        if let Some(bad) = self
            .state
            .iter()
            .find(|s| s.reduce.is_some() && s.kind != StateKind::Reducing)
        {
            return fail(format!(
                "state `{}`: `reduce` belongs to a reducing state",
                bad.name
            ));
        }
        if self.kind == FunctionKind::Async && self.is_buffering() {
            return fail(
                "an async function keeps no state of its own: remove `operator-state` and `raw-state`"
                    .to_owned(),
            );
        }
        self.check_versions()
            .and_then(|()| self.check_ttl())
            .and_then(|()| self.check_grants())
            .or_else(fail)
    }

    fn check_grants(&self) -> Result<(), String> {
        if let Some(grant) = self.grants.iter().find(|grant| *grant != GRANT_HTTP) {
            return Err(format!(
                "grant `{}` is unknown to this host",
                grant.escape_debug()
            ));
        }
        if !self.grants.is_empty() && self.kind != FunctionKind::Async {
            return Err(format!(
                "grant `{GRANT_HTTP}` is for async functions alone: make it one, or remove the grant"
            ));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn duplicate<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(name.as_str()))
}
