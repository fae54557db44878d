//! The exports of a component of the typed family that serve one function.

use wasmill_model::function::{FunctionDescription, FunctionKind};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{AsContextMut, Store};

use super::Data;
use super::generated::exports::wasmill::function as interfaces;

/// The interface of a kind.
pub(crate) enum Function {
    /// `map-function`
    Map(interfaces::map_function::Guest),
    /// `filter-function`
    Filter(interfaces::filter_function::Guest),
    /// `flat-map-function`
    FlatMap(interfaces::flat_map_function::Guest),
    /// `key-selector`
    KeySelector(interfaces::key_selector::Guest),
    /// `reduce-function`
    Reduce(interfaces::reduce_function::Guest),
    /// `aggregate-function`
    Aggregate(interfaces::aggregate_function::Guest),
    /// `process-function`
    Process(interfaces::process_function::Guest),
    /// `window-function`
    Window(interfaces::window_function::Guest),
    /// `trigger`
    Trigger(interfaces::trigger::Guest),
    /// `evictor`
    Evictor(interfaces::evictor::Guest),
    /// `window-assigner`
    WindowAssigner(interfaces::window_assigner::Guest),
    /// `async-function`
    Async(interfaces::async_function::Guest),
    /// `co-map-function`
    CoMap(interfaces::co_map_function::Guest),
    /// `co-flat-map-function`
    CoFlatMap(interfaces::co_flat_map_function::Guest),
    /// `co-process-function`
    CoProcess(interfaces::co_process_function::Guest),
    /// `broadcast-process-function`
    Broadcast(interfaces::broadcast_process_function::Guest),
    /// `timestamp-assigner`
    TimestampAssigner(interfaces::timestamp_assigner::Guest),
    /// `watermark-generator`
    WatermarkGenerator(interfaces::watermark_generator::Guest),
    /// `partitioner`
    Partitioner(interfaces::partitioner::Guest),
    /// `process-join-function`
    ProcessJoin(interfaces::process_join_function::Guest),
    /// `join-function`
    Join(interfaces::join_function::Guest),
    /// `co-group-function`
    CoGroup(interfaces::co_group_function::Guest),
}

/// All that one function needs.
pub(crate) struct TypedExports {
    pub(crate) lifecycle: interfaces::lifecycle::Guest,
    pub(crate) function: Function,
    /// Of a buffering function.
    pub(crate) checkpointed: Option<interfaces::checkpointed::Guest>,
}

macro_rules! load {
    ($module:ident, $store:expr, $instance:expr, $pre:expr) => {
        interfaces::$module::GuestIndices::new($pre)?.load($store.as_context_mut(), $instance)?
    };
}

/// `migration`, of a component of either family.
pub(crate) type Migrate = interfaces::migration::Guest;

/// Looks up the interface by which a component converts state of older versions.
pub(crate) fn load_migration(
    pre: &InstancePre<Data>,
    store: &mut Store<Data>,
    instance: &Instance,
) -> wasmtime::Result<Migrate> {
    Ok(load!(migration, store, instance, pre))
}

impl TypedExports {
    /// Looks up the interfaces that a function needs; the error names one that is missing.
    pub(crate) fn load(
        description: &FunctionDescription,
        pre: &InstancePre<Data>,
        store: &mut Store<Data>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        let has_two_inputs = description.second_input.is_some();
        let function = match description.kind {
            _ if description.broadcast_state.is_some() => {
                Function::Broadcast(load!(broadcast_process_function, store, instance, pre))
            }
            FunctionKind::Map if has_two_inputs => {
                Function::CoMap(load!(co_map_function, store, instance, pre))
            }
            FunctionKind::FlatMap if has_two_inputs => {
                Function::CoFlatMap(load!(co_flat_map_function, store, instance, pre))
            }
            FunctionKind::Process if has_two_inputs => {
                Function::CoProcess(load!(co_process_function, store, instance, pre))
            }
            FunctionKind::TimestampAssigner => {
                Function::TimestampAssigner(load!(timestamp_assigner, store, instance, pre))
            }
            FunctionKind::WatermarkGenerator => {
                Function::WatermarkGenerator(load!(watermark_generator, store, instance, pre))
            }
            FunctionKind::Partitioner => Function::Partitioner(load!(partitioner, store, instance, pre)),
            FunctionKind::Map => Function::Map(load!(map_function, store, instance, pre)),
            FunctionKind::Filter => Function::Filter(load!(filter_function, store, instance, pre)),
            FunctionKind::FlatMap => Function::FlatMap(load!(flat_map_function, store, instance, pre)),
            FunctionKind::KeySelector => Function::KeySelector(load!(key_selector, store, instance, pre)),
            FunctionKind::Reduce => Function::Reduce(load!(reduce_function, store, instance, pre)),
            FunctionKind::Aggregate => Function::Aggregate(load!(aggregate_function, store, instance, pre)),
            FunctionKind::Process => Function::Process(load!(process_function, store, instance, pre)),
            FunctionKind::Window => Function::Window(load!(window_function, store, instance, pre)),
            FunctionKind::Trigger => Function::Trigger(load!(trigger, store, instance, pre)),
            FunctionKind::Evictor => Function::Evictor(load!(evictor, store, instance, pre)),
            FunctionKind::WindowAssigner => {
                Function::WindowAssigner(load!(window_assigner, store, instance, pre))
            }
            FunctionKind::Async => Function::Async(load!(async_function, store, instance, pre)),
            FunctionKind::ProcessJoin => {
                Function::ProcessJoin(load!(process_join_function, store, instance, pre))
            }
            FunctionKind::Join => Function::Join(load!(join_function, store, instance, pre)),
            FunctionKind::CoGroup => Function::CoGroup(load!(co_group_function, store, instance, pre)),
        };
        let checkpointed = if description.is_buffering() {
            Some(load!(checkpointed, store, instance, pre))
        } else {
            None
        };
        Ok(Self {
            lifecycle: load!(lifecycle, store, instance, pre),
            function,
            checkpointed,
        })
    }
}
