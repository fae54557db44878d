//! A component's functions, and the one that this instance was opened for.
//!
//! Invariant: whatever the host sends, in whatever order, is answered or refused with a reason; only a
//! user's own panic traps.

use serde_json::{Value, json};

use crate::call::{Buffers, Call};
use crate::error::Error;
use crate::function::{
    AggregateFunction, AggregateRunner, AsyncFunction, AsyncRunner, BroadcastProcessFunction,
    BroadcastRunner, CoFlatMapFunction, CoFlatMapRunner, CoMapFunction, CoMapRunner, CoProcessFunction,
    CoProcessRunner, FilterFunction, FilterRunner, FlatMapFunction, FlatMapRunner, KeySelector,
    KeySelectorRunner, KeyedBroadcastProcessFunction, KeyedBroadcastRunner, KeyedCoProcessFunction,
    KeyedCoProcessRunner, KeyedProcessFunction, MapFunction, MapRunner, OpenContext, OpenRequest,
    OwnedRecord, Partitioner, PartitionerRunner, ProcessJoinFunction, ProcessJoinRunner, ProcessRunner,
    ReduceFunction, ReduceRunner, Runner, TimestampAssigner, TimestampRunner, WatermarkGenerator,
    WatermarkRunner,
};
use crate::operator_state::{RestoreContext, SnapshotContext};
use crate::record::Input;
use crate::window::{
    Applied, CoGroupFunction, CoGroupRunner, Evictor, EvictorRunner, JoinFunction, JoinRunner,
    ProcessWindowFunction, Trigger, TriggerRunner, WindowAssigner, WindowAssignerRunner, WindowFunction,
    WindowRunner,
};

/// One function of a component: its name and how it is made. [`export!`](crate::export) writes these.
#[derive(Clone, Copy)]
pub struct Registration {
    name: &'static str,
    make: fn() -> Box<dyn Runner>,
}

impl Registration {
    /// A [`MapFunction`].
    pub const fn map<F: MapFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(MapRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`FilterFunction`].
    pub const fn filter<F: FilterFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(FilterRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`FlatMapFunction`].
    pub const fn flat_map<F: FlatMapFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(FlatMapRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`KeySelector`].
    pub const fn key_selector<F: KeySelector>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(KeySelectorRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`ReduceFunction`].
    pub const fn reduce<F: ReduceFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(ReduceRunner::<F>::default()) };
        Self { name, make }
    }

    /// An [`AggregateFunction`] whose values are records.
    pub const fn aggregate<F>(name: &'static str) -> Self
    where
        F: AggregateFunction,
        F::In: Input,
        F::Out: OwnedRecord,
    {
        let make = || -> Box<dyn Runner> { Box::new(AggregateRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`KeyedProcessFunction`].
    pub const fn process<F: KeyedProcessFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(ProcessRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`ProcessWindowFunction`].
    pub const fn window<F: ProcessWindowFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(WindowRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`WindowFunction`].
    pub const fn apply<F: WindowFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(WindowRunner::<Applied<F>>::default()) };
        Self { name, make }
    }

    /// A [`Trigger`].
    pub const fn trigger<F: Trigger>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(TriggerRunner::<F>::default()) };
        Self { name, make }
    }

    /// An [`Evictor`].
    pub const fn evictor<F: Evictor>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(EvictorRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`WindowAssigner`].
    pub const fn window_assigner<F: WindowAssigner>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(WindowAssignerRunner::<F>::default()) };
        Self { name, make }
    }

    /// An [`AsyncFunction`].
    pub const fn asynchronous<F: AsyncFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(AsyncRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`CoMapFunction`].
    pub const fn co_map<F: CoMapFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(CoMapRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`CoFlatMapFunction`].
    pub const fn co_flat_map<F: CoFlatMapFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(CoFlatMapRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`CoProcessFunction`].
    pub const fn co_process<F: CoProcessFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(CoProcessRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`KeyedCoProcessFunction`].
    pub const fn keyed_co_process<F: KeyedCoProcessFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(KeyedCoProcessRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`BroadcastProcessFunction`].
    pub const fn broadcast_process<F: BroadcastProcessFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(BroadcastRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`KeyedBroadcastProcessFunction`].
    pub const fn keyed_broadcast_process<F: KeyedBroadcastProcessFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(KeyedBroadcastRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`TimestampAssigner`].
    pub const fn timestamp_assigner<F: TimestampAssigner>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(TimestampRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`WatermarkGenerator`].
    pub const fn watermark_generator<F: WatermarkGenerator>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(WatermarkRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`Partitioner`].
    pub const fn partitioner<F: Partitioner>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(PartitionerRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`ProcessJoinFunction`].
    pub const fn process_join<F: ProcessJoinFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(ProcessJoinRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`JoinFunction`].
    pub const fn join<F: JoinFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(JoinRunner::<F>::default()) };
        Self { name, make }
    }

    /// A [`CoGroupFunction`].
    pub const fn co_group<F: CoGroupFunction>(name: &'static str) -> Self {
        let make = || -> Box<dyn Runner> { Box::new(CoGroupRunner::<F>::default()) };
        Self { name, make }
    }

    /// The name in the job file.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The function that the host opened.
struct Opened {
    runner: Box<dyn Runner>,
    states: usize,
    operator_states: Vec<(&'static str, u32)>,
    is_buffering: bool,
}

/// Everything behind a component's exports.
#[derive(Default)]
pub(crate) struct Instance {
    opened: Option<Opened>,
    buffers: Buffers,
}

const NOT_OPENED: &str = "the host called a function before it opened one";

impl Instance {
    /// `describe`.
    pub(crate) fn describe(registrations: &[Registration]) -> String {
        let functions: Vec<Value> = registrations
            .iter()
            .map(|registration| (registration.make)().declare().describe(registration.name))
            .collect();
        json!({ "version": 1, "functions": functions }).to_string()
    }

    /// `open`.
    pub(crate) fn open(&mut self, registrations: &[Registration], request: &str) -> Result<(), String> {
        let request: OpenRequest =
            serde_json::from_str(request).map_err(|error| format!("the request to open: {error}"))?;
        if request.version != 1 {
            return Err(format!(
                "the request to open has version {}: this SDK reads 1",
                request.version
            ));
        }
        let registration = registrations
            .iter()
            .find(|registration| registration.name == request.function)
            .ok_or_else(|| no_such_function(registrations, &request.function))?;
        let mut runner = (registration.make)();
        let declared = runner.declare();
        let empty = json!({});
        let mut context = OpenContext {
            config: if request.config.is_null() {
                &empty
            } else {
                &request.config
            },
            runtime: &request.context,
            metrics: &mut self.buffers.metrics,
        };
        runner.open(&mut context).map_err(text)?;
        self.buffers.per_window = declared.per_window();
        self.opened = Some(Opened {
            runner,
            states: declared.state_count(),
            operator_states: declared.operator_states(),
            is_buffering: declared.is_buffering(),
        });
        Ok(())
    }

    /// `call`: the answer lies in the instance until the next call.
    pub(crate) fn call(&mut self, frame: &[u8]) -> Result<&[u8], String> {
        let opened = self.opened.as_mut().ok_or(NOT_OPENED)?;
        let call = Call::start(frame, opened.states, &mut self.buffers)?;
        opened.runner.call(call)?;
        Ok(&self.buffers.answer)
    }

    /// `snapshot`.
    pub(crate) fn snapshot(&mut self) -> Result<Vec<u8>, String> {
        let opened = self.opened.as_mut().ok_or(NOT_OPENED)?;
        if !opened.is_buffering {
            return Ok(Vec::new());
        }
        let mut context = SnapshotContext::new(opened.operator_states.len());
        opened.runner.snapshot_state(&mut context).map_err(text)?;
        Ok(context.finish(&opened.operator_states))
    }

    /// `restore`.
    pub(crate) fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let opened = self.opened.as_mut().ok_or(NOT_OPENED)?;
        let mut context = RestoreContext::parse(snapshot, &opened.operator_states)?;
        opened.runner.restore_state(&mut context).map_err(text)
    }

    /// `migrate`, of whatever function and state: no instance is opened for it.
    pub(crate) fn migrate<'e>(
        registrations: &[Registration],
        function: &str,
        state: &str,
        from: u32,
        entries: impl Iterator<Item = (&'e [u8], &'e [u8])>,
    ) -> Result<Vec<Option<Vec<u8>>>, String> {
        let mut registered = registrations.iter();
        let registration = registered
            .find(|registration| registration.name == function)
            .ok_or_else(|| no_such_function(registrations, function))?;
        let declared = (registration.make)().declare();
        let slot = declared.slot_of(state);
        let slot = slot.ok_or_else(|| format!("function `{function}` declares no state `{state}`"))?;
        let migrated = declared.migrations.run(slot, from, entries);
        migrated.map_err(|error| error.message().to_owned())
    }

    /// `close`.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        let mut opened = self.opened.take().ok_or(NOT_OPENED)?;
        opened.runner.close().map_err(text)
    }
}

fn no_such_function(registrations: &[Registration], name: &str) -> String {
    let names: Vec<&str> = registrations.iter().map(Registration::name).collect();
    format!(
        "the component has no function `{name}`; it has {}",
        names.join(", ")
    )
}

fn text(error: Error) -> String {
    error.to_string()
}
