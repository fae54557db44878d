//! The exports of a component of the typed family that serve one function.

use wasmill_model::function::FunctionKind;
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

impl TypedExports {
    /// Looks up the interfaces that a function of this kind needs; the error names one that is missing.
    pub(crate) fn load(
        kind: FunctionKind,
        is_buffering: bool,
        pre: &InstancePre<Data>,
        store: &mut Store<Data>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        let function = match kind {
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
        };
        let checkpointed = if is_buffering {
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
