//! Asks a component what it is, in an instance of its own that has nothing and may do little.

use wasmill_engine::error::Fault;
use wasmill_model::function::Description;
use wasmtime::bail;
use wasmtime::component::Linker;
use wasmtime::component::types::ComponentItem;

use super::error::UploadError;
use super::info::Family;
use super::interface::{Interface, is_ours};
use crate::engine::{PluginEngine, THREAD_STACK_BYTES_MIN};
use crate::failure::{GuestError, MESSAGE_BYTES_SHOWN_MAX, printable_text};
use crate::sandbox::limits::{HostLimits, Limits};
use crate::sandbox::{CallBudget, Guest, GuestData, wasi};

/// What is known of a component after it was looked at.
pub(super) struct Inspection {
    pub(super) family: Family,
    pub(super) description: Description,
    pub(super) imports: Vec<String>,
}

/// Checks imports and exports, runs `describe`, and checks that what it says is so.
pub(super) fn inspect(
    engine: &PluginEngine,
    component: &wasmtime::component::Component,
    limits: &HostLimits,
) -> Result<Inspection, UploadError> {
    let interface = Interface {
        engine: engine.engine(),
        component: component.component_type(),
    };
    interface.check_imports().map_err(UploadError::refused)?;
    check_links(engine, component).map_err(UploadError::refused)?;
    let (family, export) = interface.family().map_err(UploadError::refused)?;
    let json = on_a_thread(|| call_describe(engine, component, &export, limits))
        .map_err(|error| refusal(error, limits))?;
    let description = Description::parse(&json)
        .map_err(|e| UploadError::refused(printable_text(&e.to_string(), MESSAGE_BYTES_SHOWN_MAX)))?;
    if family == Family::Typed {
        description
            .functions
            .iter()
            .try_for_each(|function| interface.check_function(function))
            .map_err(UploadError::refused)?;
    }
    interface
        .check_migration(&description)
        .map_err(UploadError::refused)?;
    Ok(Inspection {
        family,
        description,
        imports: interface.imports(),
    })
}

/// Whether the imports have the types that a job's instances will be linked with.
fn check_links(engine: &PluginEngine, component: &wasmtime::component::Component) -> Result<(), String> {
    let linker = crate::typed::linker::linker(engine.engine()).map_err(|e| format!("{e:#}"))?;
    match linker.instantiate_pre(component) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "the component does not fit wit/ of this host: {}",
            printable_text(&format!("{error:#}"), MESSAGE_BYTES_SHOWN_MAX)
        )),
    }
}

/// Runs guest code on a thread of its own: whoever uploads may have less stack than a guest may use, or
/// be a thread of an executor, which must not wait for another one.
fn on_a_thread<R: Send>(body: impl FnOnce() -> Result<R, GuestError> + Send) -> Result<R, GuestError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("describe".to_owned())
            .stack_size(2 * THREAD_STACK_BYTES_MIN)
            .spawn_scoped(scope, body)
            .map_err(|e| GuestError::host(format!("cannot start a thread: {e}")))?
            .join()
            .unwrap_or_else(|_| Err(GuestError::host("the thread that ran describe panicked")))
    })
}

fn call_describe(
    engine: &PluginEngine,
    component: &wasmtime::component::Component,
    export: &str,
    limits: &HostLimits,
) -> Result<String, GuestError> {
    let host = |e: wasmtime::Error| GuestError::host(format!("{e:#}"));
    let mut linker = Linker::<GuestData<()>>::new(engine.engine());
    wasi::add_to_linker(&mut linker).map_err(host)?;
    forbid_imports(&mut linker, component).map_err(host)?;
    let pre = linker
        .instantiate_pre(component)
        .map_err(|e| GuestError::plugin(format!("the component cannot be linked: {e:#}")))?;
    let missing = || GuestError::plugin(format!("`{export}` has no `describe`"));
    let instance = component.get_export_index(None, export).ok_or_else(missing)?;
    let index = component
        .get_export_index(Some(&instance), "describe")
        .ok_or_else(missing)?;
    let limits = Limits {
        output_bytes_max: limits.describe_bytes_max,
        open_ms_max: limits.describe_ms_max,
        ..Limits::default()
    };
    let mut guest = Guest::instantiate(engine, &pre, &limits, 0, ())?;
    let instance = guest.instance();
    guest.call(CallBudget::Open, |store| {
        let describe = instance.get_typed_func::<(), (String,)>(&mut *store, &index)?;
        describe.call(store, ()).map(|(json,)| json)
    })
}

/// Defines all imports but those of WASI, so that a call of one says that it must not be.
fn forbid_imports(
    linker: &mut Linker<GuestData<()>>,
    component: &wasmtime::component::Component,
) -> wasmtime::Result<()> {
    let engine = component.engine();
    let component = component.component_type();
    let ours = component.imports(engine).filter(|(name, _)| is_ours(name));
    for (interface, item) in ours {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        let mut defined = linker.instance(interface)?;
        for (function, item) in instance.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                let name = format!("{interface}#{function}");
                defined.func_new(function, move |_, _, _, _| {
                    bail!("it called `{name}`, and must not call any import")
                })?;
            }
        }
    }
    Ok(())
}

/// `describe` has two limits of its own; all others are a job's defaults.
fn refusal(error: GuestError, limits: &HostLimits) -> UploadError {
    let reason = match error.limit {
        Some(limit) if limit.name == "output-bytes-max" => format!(
            "it returned too much (limit describe-bytes-max = {})",
            limits.describe_bytes_max
        ),
        Some(limit) if limit.name == "open-ms-max" => {
            format!("{} (limit describe-ms-max = {})", error.message, limit.value)
        }
        Some(limit) => format!("{} (limit {limit})", error.message),
        None => error.message,
    };
    let message = format!("describe failed: {reason}");
    match error.fault {
        Fault::Host => UploadError::Host(message),
        _ => UploadError::Refused {
            message,
            backtrace: error.backtrace,
        },
    }
}
