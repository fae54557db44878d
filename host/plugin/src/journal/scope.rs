//! What the imports of an instance work on: the call under way, its keys, its state and its effects.
//!
//! The backend moves in for the time of a call and out again after it, so that imports reach it without
//! sharing. Every method that a guest can reach takes indexes and names that are not trusted: the error
//! says what was wrong and is the guest's fault; a fault of the backend is kept aside as the host's.

use std::cell::Cell;
use std::sync::Arc;

use wasmill_engine::asynchronous::Request;
use wasmill_engine::metrics::OperatorMetrics;
use wasmill_model::function::{BuiltInReduce, FunctionDescription, StateKind, StateTtl};
use wasmill_model::time::WATERMARK_NONE;
use wasmill_state::backend::{KeyedStateBackend, Locator, StateError, StateId};
use wasmill_state::timers::TimerQueue;
use wasmill_state::ttl::read::ListReading;

use super::at_hand::{RecordAtHand, WindowAtHand};
use super::broadcast::BroadcastScope;
use super::effects::{Emissions, Metrics, TimerOp, apply_timers};
pub use super::fold::fold_built_in;
use super::keys::CallKeys;
use super::overlay::{Address, Overlay};
use crate::frame::encode::Clocks;
use crate::sandbox::limiter::LimitHit;

/// Bytes of one page of a list or a map at most; a page holds at least one entry whatever its size.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// What a write, a timer or an element counts for beside its bytes, so that many empty ones are bounded too.
pub const ENTRY_BYTES: usize = 64;

/// A state that the function declares, and where it lives.
#[derive(Clone, Debug)]
pub struct DeclaredState {
    /// As declared.
    pub name: String,
    /// As declared.
    pub kind: StateKind,
    /// As declared.
    pub reduce: Option<BuiltInReduce>,
    /// Whether its values travel in frames.
    pub prefetched: bool,
    /// Of a window function: whether all windows of a key share it.
    pub of_key: bool,
    /// As declared, or as the job says.
    pub ttl: Option<StateTtl>,
    /// Where it lives.
    pub id: StateId,
}

/// Bounds of what a guest may ask for or hand over, in bytes and calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeLimits {
    /// One result of an import, and all rows that one call emits by imports.
    pub output_bytes_max: usize,
    /// One value or element.
    pub record_bytes_max: usize,
    /// State writes and timers of one call together.
    pub journal_bytes_max: usize,
    /// The function's own lists of elements together.
    pub operator_state_bytes_max: usize,
    /// Imports in one call.
    pub host_calls_max: u64,
}

/// See the module.
pub struct CallScope {
    /// The keys of the call.
    pub keys: CallKeys,
    /// Rows that imports emitted.
    pub emissions: Emissions,
    /// Metrics that the instance has made.
    pub metrics: Metrics,
    /// The operator's clocks.
    pub clocks: Clocks,
    /// The record at hand, of the typed family.
    pub record: RecordAtHand,
    /// The window at hand, of the typed family.
    pub window: WindowAtHand,
    /// Broadcast state.
    pub broadcast: BroadcastScope,
    /// The function's own state by the order of `operator-state` in `describe`.
    pub operator_lists: Vec<Vec<Vec<u8>>>,
    /// Timers of the call; registered by [`CallScope::timer`].
    pub timers: Vec<TimerOp>,
    /// Whether timers stay here when the call is applied: whoever calls sees to them.
    pub holds_timers: bool,
    /// Which row of the work the record at hand is, of the typed family.
    pub row: u32,
    /// The greatest row index that rows emitted by imports name as their cause.
    pub last_cause: Option<u32>,
    /// At least what `operator_lists` cost.
    operator_bytes: usize,
    pub(super) overlay: Overlay,
    description: Arc<FunctionDescription>,
    context_json: Arc<str>,
    pub(super) states: Vec<DeclaredState>,
    pub(super) ids: Vec<StateId>,
    /// Requests that the call has made.
    pub(super) requests: Vec<Request>,
    limits: ScopeLimits,
    pub(super) backend: Option<Box<dyn KeyedStateBackend>>,
    /// What the writes and timers of the call have cost.
    journal_bytes: usize,
    host_calls: u64,
    host_error: Option<StateError>,
    pub(super) last_read: Option<(Address, Locator)>,
    /// Where the function stands in a list with time to live.
    pub(super) list_reading: Option<(Address, ListReading)>,
    limit_hit: Cell<Option<LimitHit>>,
}

impl CallScope {
    /// For one instance of a function; `states` in the order of `describe`.
    pub fn new(
        description: Arc<FunctionDescription>,
        states: Vec<DeclaredState>,
        context_json: Arc<str>,
        limits: ScopeLimits,
    ) -> Self {
        Self {
            keys: CallKeys::default(),
            emissions: Emissions::default(),
            metrics: Metrics::default(),
            clocks: Clocks {
                watermark: WATERMARK_NONE,
                processing_time: 0,
            },
            record: RecordAtHand::default(),
            window: WindowAtHand::default(),
            broadcast: BroadcastScope::default(),
            operator_lists: vec![Vec::new(); description.operator_state.len()],
            timers: Vec::new(),
            holds_timers: false,
            row: 0,
            last_cause: None,
            operator_bytes: 0,
            requests: Vec::new(),
            overlay: Overlay::default(),
            ids: states.iter().map(|state| state.id).collect(),
            description,
            context_json,
            states,
            limits,
            backend: None,
            journal_bytes: 0,
            host_calls: 0,
            host_error: None,
            last_read: None,
            list_reading: None,
            limit_hit: Cell::new(None),
        }
    }

    /// What the function declares.
    pub fn description(&self) -> &FunctionDescription {
        &self.description
    }

    /// The runtime context as JSON.
    pub fn context_json(&self) -> &str {
        &self.context_json
    }

    /// The declared states.
    pub fn states(&self) -> &[DeclaredState] {
        &self.states
    }

    /// The bounds.
    pub fn limits(&self) -> ScopeLimits {
        self.limits
    }

    /// Takes the backend for the calls to come; [`CallScope::detach`] gives it back.
    pub fn attach(&mut self, backend: Box<dyn KeyedStateBackend>) {
        self.backend = Some(backend);
    }

    /// Gives the backend back.
    pub fn detach(&mut self) -> Option<Box<dyn KeyedStateBackend>> {
        self.backend.take()
    }

    /// The keys and the backend, side by side; `None` where no backend is attached.
    pub fn keys_and_backend(&mut self) -> Option<(&CallKeys, &mut dyn KeyedStateBackend)> {
        Some((&self.keys, &mut **self.backend.as_mut()?))
    }

    /// Starts a call: nothing is pending.
    pub fn begin_call(&mut self) {
        self.host_calls = 0;
        self.journal_bytes = 0;
        self.limit_hit.set(None);
        self.last_read = None;
        self.list_reading = None;
        self.last_cause = None;
        self.emissions.begin();
        self.broadcast.begin();
    }

    /// Remembers a limit that the guest ran into, for the error of the call.
    pub fn hit(&self, name: &'static str, value: u64) {
        self.limit_hit.set(Some(LimitHit { name, value }));
    }

    /// Remembers that a result or what a call emits is too large.
    pub fn hit_output(&self) {
        self.hit("output-bytes-max", self.limits.output_bytes_max as u64);
    }

    /// The limit that the guest ran into in this call.
    pub fn limit_hit(&self) -> Option<LimitHit> {
        self.limit_hit.get()
    }

    /// Counts an import call.
    #[inline]
    pub fn count_call(&mut self) -> Result<(), String> {
        self.host_calls += 1;
        if self.host_calls <= self.limits.host_calls_max {
            return Ok(());
        }
        self.hit("host-calls-max", self.limits.host_calls_max);
        Err(format!(
            "more than {} imports in one call: look for an endless loop, or raise the job's `limits.host-calls-max`",
            self.limits.host_calls_max
        ))
    }

    /// Drops all effects of the call under way.
    pub fn undo(&mut self) {
        self.overlay.clear();
        self.timers.clear();
        self.requests.clear();
        self.emissions.undo();
        self.broadcast.undo();
        self.metrics.undo();
    }

    /// Applies state, timers and metrics of the call; emitted rows stay in [`CallScope::emissions`].
    pub fn apply(&mut self, timers: &mut TimerQueue, metrics: &OperatorMetrics) -> Result<(), StateError> {
        if !self.overlay.is_empty() {
            if let Some(backend) = self.backend.as_deref_mut() {
                self.overlay.apply(&self.ids, &self.keys, backend)?;
            }
            self.overlay.clear();
        }
        if !self.timers.is_empty() && !self.holds_timers {
            apply_timers(&self.timers, &self.keys, timers);
            self.timers.clear();
        }
        self.metrics.apply(metrics);
        Ok(())
    }

    /// What the backend could not do during an import: the host's fault, whatever the guest made of it.
    pub fn take_host_error(&mut self) -> Option<StateError> {
        self.host_error.take()
    }

    /// Checks that a slot is a state of one of the kinds; `verb` says what was to be done with it.
    pub fn state(&self, slot: u32, kinds: &[StateKind], verb: &str) -> Result<&DeclaredState, String> {
        let state = self.states.get(slot as usize).ok_or_else(|| {
            format!(
                "{verb}: there is no state slot {slot}; the function declares {} states",
                self.states.len()
            )
        })?;
        if kinds.contains(&state.kind) {
            return Ok(state);
        }
        Err(format!(
            "{verb}: state `{}` is a {} state, not {}",
            state.name,
            kind_name(state.kind),
            kinds
                .iter()
                .map(|kind| kind_name(*kind))
                .collect::<Vec<_>>()
                .join(" or ")
        ))
    }

    /// Checks the size of a value that goes into state or is emitted.
    #[inline]
    pub fn check_size(&self, what: &str, length: usize) -> Result<(), String> {
        if length <= self.limits.record_bytes_max {
            return Ok(());
        }
        self.hit("record-bytes-max", self.limits.record_bytes_max as u64);
        Err(format!(
            "{what} of {length} bytes exceeds the limit of {} for one record: raise the job's `limits.record-bytes-max`",
            self.limits.record_bytes_max
        ))
    }

    /// Counts a write before it happens: overwritten ones too, so that counting costs nothing.
    pub(super) fn charge(&mut self, entries: usize, bytes: usize) -> Result<(), String> {
        let cost = entries.saturating_mul(ENTRY_BYTES).saturating_add(bytes);
        self.journal_bytes = self.journal_bytes.saturating_add(cost);
        let limit = self.limits.journal_bytes_max;
        if self.journal_bytes <= limit {
            return Ok(());
        }
        self.hit("journal-bytes-max", limit as u64);
        Err(format!(
            "the state writes and timers of one call exceed {limit} bytes: write less in one call, or raise the job's `limits.journal-bytes-max`"
        ))
    }

    /// Whether half of what a call may write has room for so much more: what need not be written leaves the rest to the
    /// guest.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.journal_bytes.saturating_add(bytes) <= self.limits.journal_bytes_max / 2
    }

    /// Registers or deletes a timer.
    pub fn timer(&mut self, op: TimerOp) -> Result<(), String> {
        self.check_timers()?;
        self.charge(1, 0)?;
        self.timers.push(op);
        Ok(())
    }

    /// Adds an element to the function's own list at `slot`, which is there.
    pub fn operator_list_add(&mut self, slot: usize, element: Vec<u8>) -> Result<(), String> {
        let cost = |element: &Vec<u8>| element.len() + ENTRY_BYTES;
        let limit = self.limits.operator_state_bytes_max;
        if self.operator_bytes + cost(&element) > limit {
            // Lists are also restored, cleared and taken as a whole: what they hold now decides.
            self.operator_bytes = self.operator_lists.iter().flatten().map(cost).sum();
        }
        if self.operator_bytes + cost(&element) > limit {
            self.hit("operator-state-bytes-max", limit as u64);
            return Err(format!(
                "the function's own state exceeds {limit} bytes: raise the job's `limits.operator-state-bytes-max`"
            ));
        }
        if let Some(list) = self.operator_lists.get_mut(slot) {
            self.operator_bytes += cost(&element);
            list.push(element);
        }
        Ok(())
    }

    pub(super) fn failed_below(&mut self, error: StateError) -> String {
        let message = format!("the host could not read the state: {error}");
        self.host_error = Some(error);
        message
    }
}

/// The kind's name as in `describe`.
pub fn kind_name(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Value => "value",
        StateKind::List => "list",
        StateKind::Map => "map",
        StateKind::Reducing => "reducing",
        StateKind::Aggregating => "aggregating",
    }
}
