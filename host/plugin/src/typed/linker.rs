//! One linker for both families: WASI within the sandbox, the imports of `wit/`.

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, StoreContextMut};

use super::{Data, generated, trap};
use crate::frame::host_call::host_call;
use crate::sandbox::log::LogLevel;
use crate::sandbox::wasi;

/// The interface that components of the frame family import.
const FRAME_HOST: &str = "wasmill:function/frame-host@1.0.0";

/// Everything that a component may import.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    generated::Everything::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
    let mut frame = linker.instance(FRAME_HOST)?;
    frame.func_wrap(
        "host-call",
        |mut store: StoreContextMut<'_, Data>, (request,): (Vec<u8>,)| {
            let scope = &mut store.data_mut().host;
            scope.count_call().map_err(trap)?;
            Ok((host_call(scope, &request),))
        },
    )?;
    frame.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, Data>, (level, message): (u32, String)| {
            let data = store.data_mut();
            data.host.count_call().map_err(trap)?;
            data.sandbox.log().push(LogLevel::from_code(level), &message);
            Ok(())
        },
    )?;
    Ok(linker)
}
