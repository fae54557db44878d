//! The exports of a component of the frame family.

use wasmtime::Store;
use wasmtime::component::{Component, Instance, TypedFunc};

use crate::typed::Data;

/// The interface that it exports.
const FRAME_FUNCTION: &str = "wasmill:function/frame-function@1.0.0";

/// `result<list<u8>, string>`
type BytesResult = (Result<Vec<u8>, String>,);
/// `result<_, string>`
type UnitResult = (Result<(), String>,);

/// See `frame-function` in `wit/frame.wit`.
pub(crate) struct FrameExports {
    pub(crate) open: TypedFunc<(&'static str,), UnitResult>,
    pub(crate) call: TypedFunc<(&'static [u8],), BytesResult>,
    pub(crate) snapshot: TypedFunc<(), BytesResult>,
    pub(crate) restore: TypedFunc<(&'static [u8],), UnitResult>,
    pub(crate) close: TypedFunc<(), UnitResult>,
}

impl FrameExports {
    pub(crate) fn load(
        component: &Component,
        store: &mut Store<Data>,
        instance: &Instance,
    ) -> wasmtime::Result<Self> {
        let interface = component.get_export_index(None, FRAME_FUNCTION).ok_or_else(|| {
            wasmtime::Error::msg(format!("the component does not export `{FRAME_FUNCTION}`"))
        })?;
        let index = |name: &str| {
            component
                .get_export_index(Some(&interface), name)
                .ok_or_else(|| wasmtime::Error::msg(format!("`{FRAME_FUNCTION}` has no function `{name}`")))
        };
        Ok(Self {
            open: instance.get_typed_func(&mut *store, index("open")?)?,
            call: instance.get_typed_func(&mut *store, index("call")?)?,
            snapshot: instance.get_typed_func(&mut *store, index("snapshot")?)?,
            restore: instance.get_typed_func(&mut *store, index("restore")?)?,
            close: instance.get_typed_func(&mut *store, index("close")?)?,
        })
    }
}
