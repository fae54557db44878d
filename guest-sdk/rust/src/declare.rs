//! What a function declares of itself: states, side outputs and formats (`docs/describe.md`).
//!
//! The host asks for it at upload, in an instance that does nothing else; the same declaration runs
//! again at open, so that the handles it gives are those that the host knows.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::function::AggregateFunction;
use crate::migration::Migrations;
use crate::operator_state::OperatorListState;
use crate::record::{Format, Record};
use crate::state::{
    AggregatingState, BroadcastState, Fold, FoldedState, ListState, MapKey, MapState, ReducingState,
    StateTtl, ValueState, codec,
};

/// A named output beside the main one; `R` is the type of its records.
pub struct SideOutput<R: ?Sized> {
    /// Index in `describe` and 1; 0 where it was never declared.
    pub(crate) port: u16,
    record: PhantomData<fn(&R)>,
}

impl<R: ?Sized> Clone for SideOutput<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: ?Sized> Copy for SideOutput<R> {}

impl<R: ?Sized> Default for SideOutput<R> {
    fn default() -> Self {
        Self {
            port: 0,
            record: PhantomData,
        }
    }
}

/// How a keyed state is declared beyond its name and type.
#[derive(Clone, Debug)]
pub struct StateOptions {
    schema_version: u32,
    schema: Value,
    on_demand: bool,
    per_window: bool,
    ttl: Option<StateTtl>,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            schema_version: 1,
            schema: Value::Null,
            on_demand: false,
            per_window: false,
            ttl: None,
        }
    }
}

impl StateOptions {
    /// Version 1, no schema, values travel with the records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grows with every incompatible change of the type: the host then refuses to restore the state, unless
    /// [`Declare::migrate`] says what becomes of what is stored.
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// Any JSON that tells an offline reader what the bytes hold.
    pub fn schema(mut self, schema: Value) -> Self {
        self.schema = schema;
        self
    }

    /// The value does not travel with every record: for large values that are seldom read.
    pub fn on_demand(mut self) -> Self {
        self.on_demand = true;
        self
    }

    /// What the state holds lives so long and no longer.
    pub fn ttl(mut self, ttl: StateTtl) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Of a [`ProcessWindowFunction`](crate::ProcessWindowFunction): each window has a value of its own; else the key
    /// has one for all of its windows. Not with windows that merge.
    pub fn per_window(mut self) -> Self {
        self.per_window = true;
        self
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StateDeclaration {
    name: &'static str,
    kind: &'static str,
    encoding: &'static str,
    schema: Value,
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    migrates_from: Option<u32>,
    prefetch: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reduce: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    per_window: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<StateTtl>,
}

#[derive(Serialize)]
struct OperatorStateDeclaration {
    name: &'static str,
    mode: &'static str,
}

#[derive(Serialize)]
struct SideOutputDeclaration {
    name: &'static str,
    format: Format,
}

/// Collects what a function declares; each method gives the handle to what it declared.
pub struct Declare {
    kind: &'static str,
    input: Format,
    second_input: Option<Format>,
    output: Format,
    states: Vec<StateDeclaration>,
    pub(crate) migrations: Migrations,
    operator_states: Vec<OperatorStateDeclaration>,
    raw_state: bool,
    /// Of a function whose second input is broadcast.
    broadcast_states: Option<Vec<&'static str>>,
    side_outputs: Vec<SideOutputDeclaration>,
    merges: bool,
    grants: Vec<&'static str>,
}

impl Declare {
    pub(crate) fn new(kind: &'static str, input: Format, output: Format) -> Self {
        Self {
            kind,
            input,
            second_input: None,
            output,
            states: Vec::new(),
            migrations: Migrations::default(),
            operator_states: Vec::new(),
            raw_state: false,
            broadcast_states: None,
            side_outputs: Vec::new(),
            merges: false,
            grants: Vec::new(),
        }
    }

    /// What the function needs beyond the sandbox.
    pub(crate) fn grant(&mut self, grant: &'static str) {
        self.grants.push(grant);
    }

    /// Of a function with two inputs.
    pub(crate) fn with_second_input(mut self, format: Format) -> Self {
        self.second_input = Some(format);
        self
    }

    /// Of a function whose second input is broadcast.
    pub(crate) fn with_broadcast_states(mut self) -> Self {
        self.broadcast_states = Some(Vec::new());
        self
    }

    /// A map that every subtask holds alike, of a function whose second input is broadcast.
    pub fn broadcast_state<K, V>(&mut self, name: &'static str) -> BroadcastState<K, V>
    where
        K: MapKey,
        V: Serialize + DeserializeOwned + 'static,
    {
        let states = self.broadcast_states.get_or_insert_default();
        states.push(name);
        BroadcastState::new(states.len() as u32 - 1, name)
    }

    /// The input's format, where its type says too little: CSV is read as `str` or `[u8]`.
    pub fn input_format(&mut self, format: Format) {
        self.input = format;
    }

    /// That there is a second input, and its format, where its type says too little.
    pub fn second_input_format(&mut self, format: Format) {
        self.second_input = Some(format);
    }

    /// The output's format, where its type says too little.
    pub fn output_format(&mut self, format: Format) {
        self.output = format;
    }

    /// One value for each key.
    pub fn value_state<T>(&mut self, name: &'static str) -> ValueState<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.value_state_with(name, StateOptions::new())
    }

    /// One value for each key, with options.
    pub fn value_state_with<T>(&mut self, name: &'static str, options: StateOptions) -> ValueState<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        ValueState::new(self.state(name, "value", codec::encoding::<T>(), options), name)
    }

    /// A list for each key.
    pub fn list_state<T>(&mut self, name: &'static str) -> ListState<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.list_state_with(name, StateOptions::new())
    }

    /// A list for each key, with options.
    pub fn list_state_with<T>(&mut self, name: &'static str, options: StateOptions) -> ListState<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let options = options.on_demand();
        ListState::new(self.state(name, "list", codec::encoding::<T>(), options), name)
    }

    /// A map for each key.
    pub fn map_state<K, V>(&mut self, name: &'static str) -> MapState<K, V>
    where
        K: MapKey,
        V: Serialize + DeserializeOwned + 'static,
    {
        self.map_state_with(name, StateOptions::new())
    }

    /// A map for each key, with options; the schema tells by default how map keys are encoded.
    pub fn map_state_with<K, V>(&mut self, name: &'static str, mut options: StateOptions) -> MapState<K, V>
    where
        K: MapKey,
        V: Serialize + DeserializeOwned + 'static,
    {
        if options.schema.is_null() {
            options.schema = json!({ "key": K::ENCODING });
        }
        let options = options.on_demand();
        MapState::new(self.state(name, "map", codec::encoding::<V>(), options), name)
    }

    /// For each key one value that elements are folded into.
    pub fn reducing_state<T>(&mut self, name: &'static str, reduce: fn(T, T) -> T) -> ReducingState<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        self.reducing_state_with(name, reduce, StateOptions::new())
    }

    /// For each key one value that elements are folded into, with options.
    pub fn reducing_state_with<T>(
        &mut self,
        name: &'static str,
        reduce: fn(T, T) -> T,
        options: StateOptions,
    ) -> ReducingState<T>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let slot = self.state(name, "reducing", codec::encoding::<T>(), options);
        ReducingState::new(slot, name, reduce)
    }

    /// For each key one integer that the host folds elements into by itself.
    pub fn folded_state(&mut self, name: &'static str, fold: Fold) -> FoldedState {
        self.folded_state_with(name, fold, StateOptions::new())
    }

    /// For each key one integer that the host folds elements into by itself, with options.
    pub fn folded_state_with(
        &mut self,
        name: &'static str,
        fold: Fold,
        options: StateOptions,
    ) -> FoldedState {
        let slot = self.state(name, "reducing", "i64-le", options.on_demand());
        if let Some(state) = self.states.last_mut() {
            state.reduce = Some(fold.name());
        }
        FoldedState::new(slot, name)
    }

    /// For each key one accumulator of `A`.
    pub fn aggregating_state<A>(&mut self, name: &'static str) -> AggregatingState<A>
    where
        A: AggregateFunction,
    {
        self.aggregating_state_with(name, StateOptions::new())
    }

    /// For each key one accumulator of `A`, with options.
    pub fn aggregating_state_with<A>(
        &mut self,
        name: &'static str,
        options: StateOptions,
    ) -> AggregatingState<A>
    where
        A: AggregateFunction,
    {
        let encoding = codec::encoding::<A::Accumulator>();
        AggregatingState::new(self.state(name, "aggregating", encoding, options), name)
    }

    /// Operator state whose elements are dealt out evenly when the parallelism changes.
    pub fn operator_list_state<T>(&mut self, name: &'static str) -> OperatorListState<T> {
        self.operator_state(name, "list")
    }

    /// Operator state of which every subtask is given all elements.
    pub fn operator_union_state<T>(&mut self, name: &'static str) -> OperatorListState<T> {
        self.operator_state(name, "union")
    }

    /// Operator state that every subtask writes alike and of which each is given one copy.
    pub fn operator_broadcast_state<T>(&mut self, name: &'static str) -> OperatorListState<T> {
        self.operator_state(name, "broadcast")
    }

    /// The function's snapshot holds opaque bytes of its own.
    pub fn raw_state(&mut self) {
        self.raw_state = true;
    }

    /// Of a trigger: it can be used with windows that merge. Of a window assigner: its windows do, where they meet.
    pub fn merges(&mut self) {
        self.merges = true;
    }

    /// A named output beside the main one.
    pub fn side_output<R: Record + ?Sized>(&mut self, name: &'static str) -> SideOutput<R> {
        self.side_outputs.push(SideOutputDeclaration {
            name,
            format: R::FORMAT,
        });
        SideOutput {
            port: self.side_outputs.len() as u16,
            record: PhantomData,
        }
    }

    /// Of a function over the elements of windows, by slot: whether each window has a value of its own.
    pub(crate) fn per_window(&self) -> Vec<bool> {
        match self.kind {
            "window" | "join" | "co-group" => self.states.iter().map(|state| state.per_window).collect(),
            _ => Vec::new(),
        }
    }

    /// The index of a keyed state.
    pub(crate) fn slot_of(&self, name: &str) -> Option<u32> {
        let place = self.states.iter().position(|state| state.name == name)?;
        u32::try_from(place).ok()
    }

    /// A state migrates from that version, too.
    pub(crate) fn note_migration(&mut self, slot: u32, from: u32) {
        let Some(state) = self.states.get_mut(slot as usize) else {
            panic!("a migration is given for a state that was not declared before it");
        };
        state.migrates_from = Some(state.migrates_from.map_or(from, |oldest| oldest.min(from)));
    }

    /// Gives options to the accumulator that a reduce or aggregate function begins with; whether there is one.
    pub(crate) fn set_accumulator(&mut self, options: StateOptions) -> bool {
        let is_there = matches!(self.kind, "reduce" | "aggregate");
        if is_there && let Some(state) = self.states.first_mut() {
            state.schema = options.schema;
            state.schema_version = options.schema_version;
            state.prefetch = prefetch(options.on_demand);
        }
        is_there
    }

    /// How many keyed states there are.
    pub(crate) fn state_count(&self) -> usize {
        self.states.len()
    }

    /// Name and mode of each operator state, in order.
    pub(crate) fn operator_states(&self) -> Vec<(&'static str, u32)> {
        let code = |mode| match mode {
            "union" => 2,
            "broadcast" => 3,
            _ => 1,
        };
        self.operator_states
            .iter()
            .map(|state| (state.name, code(state.mode)))
            .collect()
    }

    /// Whether the function is snapshotted at barriers.
    pub(crate) fn is_buffering(&self) -> bool {
        self.raw_state || !self.operator_states.is_empty()
    }

    /// One entry of `describe`'s functions.
    pub(crate) fn describe(&self, name: &str) -> Value {
        let mut described = json!({
            "name": name,
            "kind": self.kind,
            "input": self.input,
            "output": self.output,
            "state": self.states,
            "operator-state": self.operator_states,
            "raw-state": self.raw_state,
            "side-outputs": self.side_outputs,
            "merges": self.merges,
            "grants": self.grants,
        });
        if let Some(format) = self.second_input {
            described["second-input"] = json!(format);
        }
        if let Some(states) = &self.broadcast_states {
            let states = states.iter().map(|name| json!({ "name": name }));
            described["broadcast-state"] = states.collect();
        }
        described
    }

    pub(crate) fn state(
        &mut self,
        name: &'static str,
        kind: &'static str,
        encoding: &'static str,
        options: StateOptions,
    ) -> u32 {
        self.states.push(StateDeclaration {
            name,
            kind,
            encoding,
            schema: options.schema,
            schema_version: options.schema_version,
            migrates_from: None,
            prefetch: prefetch(options.on_demand),
            reduce: None,
            per_window: options.per_window,
            ttl: options.ttl,
        });
        self.states.len() as u32 - 1
    }

    fn operator_state<T>(&mut self, name: &'static str, mode: &'static str) -> OperatorListState<T> {
        self.operator_states.push(OperatorStateDeclaration { name, mode });
        OperatorListState::new(self.operator_states.len() - 1, name)
    }
}

fn prefetch(on_demand: bool) -> &'static str {
    if on_demand { "on-demand" } else { "always" }
}
