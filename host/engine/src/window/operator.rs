//! The window operator: Flink's `WindowOperator` and `EvictingWindowOperator` over batches.
//!
//! A batch, or a run of timers, is planned row by row (`plan`), where assigner and trigger decide, and then run
//! (`run`) by one call of the window function. Invariant: the results are those of one row at a time.

mod callback;
mod plan;
mod run;

use std::sync::atomic::Ordering;

use wasmill_checkpoint::handle::OperatorState;
use wasmill_model::batch::Batch;
use wasmill_model::function::{StateDeclaration, StateKind};
use wasmill_model::key::{self, KeyGroup, MaxParallelism};
use wasmill_model::row::RowRef;
use wasmill_model::time::Timestamp;
use wasmill_state::backend::StateId;
use wasmill_state::migration::{self, Migration};
use wasmill_state::timers::{TimeDomain, Timer};

use self::callback::Callback;
use self::plan::{Action, Plan};
use super::assigner::WindowAssigner;
use super::bounds::Window;
use super::element::Element;
use super::emitter::PlannedRecord;
use super::evictor::Evictor;
use super::function::WindowFunction;
use super::panes::{KeyId, PaneId};
use super::trigger::{Trigger, TriggerResult};
use crate::error::TaskError;
use crate::operator::{Operator, OperatorContext};
use crate::output::Output;

/// Windows that the elements of one call are in at most, but for one element's own: past it the rest of the batch
/// waits for the next call.
const WINDOWS_PER_CALL: usize = 64 * 1024;

/// The parts of a window operator.
pub struct WindowSettings {
    /// Which windows.
    pub assigner: Box<dyn WindowAssigner>,
    /// When they fire; `None`: the assigner's own.
    pub trigger: Option<Box<dyn Trigger>>,
    /// Which elements are left out.
    pub evictor: Option<Box<dyn Evictor>>,
    /// What is computed.
    pub function: WindowFunction,
    /// How long behind the watermark a window stays, ms; not negative.
    pub lateness: i64,
    /// The output of late elements; `None`: they are counted and dropped.
    pub late_port: Option<u16>,
    /// Whether the stream is keyed; else all elements share one set of windows (W8).
    pub is_keyed: bool,
}

/// Windows on a stream.
pub struct WindowOperator {
    settings: WindowSettings,
    trigger: Box<dyn Trigger>,
    /// A window registers all its timers with its first element, and keeps them as long as it has contents.
    has_steady_timers: bool,
    states: States,
    windows: Vec<Window>,
    max_parallelism: MaxParallelism,
    /// Whether the batch at hand came in on the second input.
    is_second: bool,
}

/// The states of the operator itself.
#[derive(Default)]
pub(super) struct States {
    /// Accumulators or elements.
    contents: Option<StateId>,
    /// By slot of the trigger.
    slots: Vec<StateId>,
    merging: Option<StateId>,
}

impl WindowOperator {
    /// Of its parts.
    pub fn new(mut settings: WindowSettings) -> Self {
        let trigger = settings.trigger.take();
        Self {
            has_steady_timers: trigger.is_none() && !settings.assigner.merges(),
            trigger: trigger.unwrap_or_else(|| settings.assigner.default_trigger()),
            settings,
            states: States::default(),
            windows: Vec::new(),
            max_parallelism: MaxParallelism::DEFAULT,
            is_second: false,
        }
    }

    fn keeps_elements(&self) -> bool {
        self.settings.evictor.is_some() || matches!(self.settings.function, WindowFunction::Elements(_))
    }

    fn contents_declaration(&self) -> StateDeclaration {
        match &self.settings.function {
            WindowFunction::Incremental(function) if !self.keeps_elements() => function
                .accumulator()
                .apply(declaration("window-contents", StateKind::Aggregating, "raw")),
            _ => declaration("window-contents", StateKind::List, "window-element"),
        }
    }

    /// The state in which a function that keeps accumulators itself has them: of windows that keep elements it holds
    /// them only while the function runs over what an evictor left.
    fn register_accumulators(&self, context: &mut OperatorContext) -> Result<StateId, TaskError> {
        let contents = self
            .states
            .contents
            .ok_or_else(|| TaskError::host("window: not opened"))?;
        match &self.settings.function {
            WindowFunction::Incremental(function)
                if self.keeps_elements() && function.keeps_accumulators() =>
            {
                let own = declaration("window-accumulator", StateKind::Aggregating, "raw");
                self.register_migrating(&function.accumulator().apply(own), context)
            }
            _ => Ok(contents),
        }
    }

    /// Registers a state of accumulators, or of elements, which are the host's own and never migrate.
    fn register_migrating(
        &self,
        declaration: &StateDeclaration,
        context: &mut OperatorContext,
    ) -> Result<StateId, TaskError> {
        let mut converts = match &self.settings.function {
            WindowFunction::Incremental(function) => function.migration(&context.runtime),
            WindowFunction::Elements(_) => None,
        };
        let converts = converts
            .as_deref_mut()
            .map(|converts| converts as &mut dyn Migration);
        Ok(migration::register(&mut *context.state, declaration, converts)?)
    }

    /// When a window's state goes; `Timestamp::MAX`: never.
    fn cleanup_time(&self, window: Window) -> Timestamp {
        let end = window.max_timestamp();
        match self.settings.assigner.is_event_time() {
            true => end.saturating_add(self.settings.lateness),
            false => end,
        }
    }

    fn is_late(&self, window: Window, context: &OperatorContext) -> bool {
        self.settings.assigner.is_event_time() && self.cleanup_time(window) <= context.watermark
    }

    fn time_domain(&self) -> TimeDomain {
        match self.settings.assigner.is_event_time() {
            true => TimeDomain::Event,
            false => TimeDomain::Processing,
        }
    }

    fn register_cleanup(&self, pane: PaneId, plan: &mut Plan<'_>, context: &mut OperatorContext) {
        let at = self.cleanup_time(plan.panes.window(pane));
        if at != Timestamp::MAX {
            plan.register(context, pane, self.time_domain(), at);
        }
    }

    fn plan_row<'a>(
        &mut self,
        index: u32,
        row: RowRef<'a>,
        plan: &mut Plan<'a>,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        plan.cause = index;
        let key = match row.key().filter(|_| self.settings.is_keyed) {
            Some(encoded) => plan
                .panes
                .key(encoded, row.key_field(), KeyGroup(row.group_field() as u16)),
            None if self.settings.is_keyed => {
                return Err(TaskError::host("a window on keys: a record without a key"));
            }
            None => {
                let group = self.max_parallelism.group_of(key::hash(&[key::TAG_NULL]));
                plan.panes.key_of(&[key::TAG_NULL], group)
            }
        };
        let element = Element {
            is_second: self.is_second,
            ..Element::of(row)
        };
        let mut windows = std::mem::take(&mut self.windows);
        windows.clear();
        self.settings
            .assigner
            .assign(index, row, context.processing_time, &mut windows)?;
        let mut is_skipped = true;
        for window in &windows {
            is_skipped &= match self.settings.assigner.merges() {
                true => !self.join_merging(key, *window, element, plan, context)?,
                false => !self.join(key, *window, element, plan, context)?,
            };
        }
        self.windows = windows;
        let is_late = self.settings.assigner.is_event_time()
            && element
                .timestamp
                .is_some_and(|time| time.saturating_add(self.settings.lateness) <= context.watermark);
        if is_skipped && is_late {
            match self.settings.late_port {
                Some(port) => plan.emit(port, PlannedRecord::Late(element)),
                None => {
                    let _ = context
                        .metrics
                        .late_records_dropped
                        .fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Adds an element to a window; false where that is late.
    fn join<'a>(
        &mut self,
        key: KeyId,
        window: Window,
        element: Element<'a>,
        plan: &mut Plan<'a>,
        context: &mut OperatorContext,
    ) -> Result<bool, TaskError> {
        if self.is_late(window, context) {
            return Ok(false);
        }
        let pane = plan.panes.pane(key, window);
        self.add(pane, pane, element, plan, context)?;
        Ok(true)
    }

    /// Adds an element to what its window merges into; false where that is late.
    fn join_merging<'a>(
        &mut self,
        key: KeyId,
        window: Window,
        element: Element<'a>,
        plan: &mut Plan<'a>,
        context: &mut OperatorContext,
    ) -> Result<bool, TaskError> {
        let set = plan.set_mut(&mut *context.state, &self.states, key)?;
        let (actual, merge) = set.add(window);
        let state = set.state_window(actual).unwrap_or(actual);
        let pane = plan.panes.pane(key, actual);
        if let Some(merge) = merge {
            let merged: Vec<_> = merge.merged.iter().map(|w| plan.panes.pane(key, *w)).collect();
            let mut call = Callback {
                pane,
                merged: &merged,
                plan: &mut *plan,
                states: &self.states,
                context: &mut *context,
            };
            self.trigger.on_merge(&mut call)?;
            for part in &merged {
                self.clear_trigger(*part, plan, context)?;
                let cleanup = self.cleanup_time(plan.panes.window(*part));
                plan.delete(context, *part, self.time_domain(), cleanup);
            }
            let target = plan.panes.pane(key, merge.state);
            let sources: Vec<_> = merge.sources.iter().map(|w| plan.panes.pane(key, *w)).collect();
            if !sources.is_empty() {
                plan.push(Action::Merge(target, sources));
            }
        }
        if self.is_late(actual, context) {
            plan.set_mut(&mut *context.state, &self.states, key)?
                .retire(actual);
            return Ok(false);
        }
        let contents = plan.panes.pane(key, state);
        self.add(pane, contents, element, plan, context)?;
        Ok(true)
    }

    fn add<'a>(
        &mut self,
        pane: PaneId,
        contents: PaneId,
        element: Element<'a>,
        plan: &mut Plan<'a>,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        plan.push(Action::Add(contents, element));
        let mut call = Callback {
            pane,
            merged: &[],
            plan: &mut *plan,
            states: &self.states,
            context: &mut *context,
        };
        let result = self.trigger.on_element(element, &mut call)?;
        follow(result, pane, contents, plan);
        self.register_cleanup(pane, plan, context);
        Ok(())
    }

    fn clear_trigger(
        &mut self,
        pane: PaneId,
        plan: &mut Plan<'_>,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        self.trigger.clear(&mut Callback {
            pane,
            merged: &[],
            plan,
            states: &self.states,
            context,
        })
    }

    fn plan_timer(
        &mut self,
        domain: TimeDomain,
        timer: &Timer,
        plan: &mut Plan<'_>,
        context: &mut OperatorContext,
    ) -> Result<(), TaskError> {
        let window = Window::from_namespace(&timer.namespace)
            .ok_or_else(|| TaskError::host("a timer of a window without one"))?;
        let key = plan.panes.key_of(&timer.key, timer.group);
        let pane = plan.panes.pane(key, window);
        let contents = match self.settings.assigner.merges() {
            false => pane,
            // A timer that its trigger did not delete when the window was merged away concerns nobody.
            true => match plan
                .set(&mut *context.state, &self.states, key)?
                .state_window(window)
            {
                None => return Ok(()),
                Some(state) => plan.panes.pane(key, state),
            },
        };
        let mut call = Callback {
            pane,
            merged: &[],
            plan: &mut *plan,
            states: &self.states,
            context: &mut *context,
        };
        let result = match domain {
            TimeDomain::Event => self.trigger.on_event_time(timer.timestamp, &mut call)?,
            TimeDomain::Processing => self.trigger.on_processing_time(timer.timestamp, &mut call)?,
        };
        follow(result, pane, contents, plan);
        if domain == self.time_domain() && timer.timestamp == self.cleanup_time(window) {
            plan.push(Action::Purge(contents));
            self.clear_trigger(pane, plan, context)?;
            plan.push(Action::Clear(pane));
            if self.settings.assigner.merges() {
                plan.set_mut(&mut *context.state, &self.states, key)?
                    .retire(window);
            }
        }
        Ok(())
    }
}

/// Does what the trigger decided.
fn follow(result: TriggerResult, pane: PaneId, contents: PaneId, plan: &mut Plan<'_>) {
    if result.fires() {
        plan.push(Action::Fire(contents, pane));
    }
    if result.purges() {
        plan.push(Action::Purge(contents));
    }
}

pub(super) fn declaration(name: &str, kind: StateKind, encoding: &str) -> StateDeclaration {
    StateDeclaration {
        name: name.to_owned(),
        kind,
        encoding: encoding.to_owned(),
        schema: serde_json::Value::Null,
        schema_version: 1,
        migrates_from: None,
        prefetch: None,
        reduce: None,
        per_window: false,
        ttl: None,
    }
}

impl Operator for WindowOperator {
    fn open(&mut self, context: &mut OperatorContext, _: Option<OperatorState>) -> Result<(), TaskError> {
        self.max_parallelism = context.runtime.max_parallelism;
        context
            .metrics
            .may_drop_late_records
            .store(true, Ordering::Relaxed);
        let contents = self.contents_declaration();
        self.states.contents = Some(self.register_migrating(&contents, context)?);
        let state = &mut context.state;
        for name in self.trigger.slots() {
            let slot = declaration(name, StateKind::Value, "raw");
            self.states.slots.push(state.register(&slot)?);
        }
        if self.settings.assigner.merges() {
            let set = declaration("merging-window-set", StateKind::Value, "merging-window-set");
            self.states.merging = Some(state.register(&set)?);
        }
        let accumulators = self.register_accumulators(context)?;
        self.settings.assigner.open(context)?;
        self.trigger.open(context)?;
        if let Some(evictor) = &mut self.settings.evictor {
            evictor.open(context)?;
        }
        match &mut self.settings.function {
            WindowFunction::Incremental(function) => function.open(accumulators, context),
            WindowFunction::Elements(function) => function.open(context),
        }
    }

    fn process(
        &mut self,
        port: u16,
        batch: &Batch,
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        self.is_second = port == 1;
        self.settings.assigner.prepare(batch, context)?;
        let mut plan = Plan::default();
        if self.has_steady_timers {
            plan.defers();
        }
        let mut taken = 0;
        for row in batch {
            self.plan_row(taken, row, &mut plan, context)?;
            taken += 1;
            if plan.actions.len() >= WINDOWS_PER_CALL {
                break;
            }
        }
        self.run(plan, batch, context, out)?;
        Ok(taken)
    }

    fn on_timers(
        &mut self,
        domain: TimeDomain,
        timers: &[Timer],
        context: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut plan = Plan::default();
        let mut taken = 0;
        for (index, timer) in timers.iter().enumerate() {
            plan.cause = index as u32;
            plan.fires(domain, &timers[index..]);
            self.plan_timer(domain, timer, &mut plan, context)?;
            taken += 1;
            if plan.must_stop {
                break;
            }
        }
        self.run(plan, &Batch::default(), context, out)?;
        Ok(taken)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.settings.assigner.close(context)?;
        self.trigger.close(context)?;
        if let Some(evictor) = &mut self.settings.evictor {
            evictor.close(context)?;
        }
        match &mut self.settings.function {
            WindowFunction::Incremental(function) => function.close(context),
            WindowFunction::Elements(function) => function.close(context),
        }
    }
}
