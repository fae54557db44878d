//! The typed family: one record a call, the imports of `wit/` on the journal.
//!
//! Invariant: an import never panics and never trusts a guest; misuse traps with a message that says what
//! was wrong, and the call leaves no trace.

mod broadcast_state;
mod co_group_context;
pub(crate) mod exports;
mod imports;
mod keyed_state;
pub mod linker;
mod requests;
mod watermark_output;

use crate::journal::scope::CallScope;
use crate::sandbox::GuestData;

/// What imports work on: the scope of the call and the sandbox of the instance.
pub type Data = GuestData<CallScope>;

/// Bindings of world `everything`: every import, and every export interface that a component may have.
pub(crate) mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "everything",
        imports: { default: trappable },
    });
}

/// From the message of misuse to the error that traps.
pub(crate) fn trap(message: String) -> wasmtime::Error {
    wasmtime::Error::msg(message)
}
