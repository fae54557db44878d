//! The way to the host: two imports in a component, a model of the host in a native test.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::abi::{host_call as call, log};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{call, log};

/// Operations of a host-call (`docs/frame.md`).
pub(crate) mod op {
    pub(crate) const GET_MANY: u8 = 2;
    pub(crate) const MAP_PAGE: u8 = 3;
    pub(crate) const LIST_PAGE: u8 = 4;
    pub(crate) const WRITE: u8 = 5;
    pub(crate) const REGISTER_METRIC: u8 = 6;
    pub(crate) const EMIT: u8 = 7;
    pub(crate) const BROADCAST_PAGE: u8 = 8;
    pub(crate) const KEYS_PAGE: u8 = 9;
    pub(crate) const MAP_IS_EMPTY: u8 = 10;
}

/// Starts a request in `request`.
pub(crate) fn start_request(request: &mut Vec<u8>, op: u8) {
    request.clear();
    request.extend_from_slice(&[op, 0, 0, 0]);
}

/// On a native target there is no host: the test harness puts its model here.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod native {
    use std::cell::RefCell;

    /// What answers host-calls and takes log lines.
    pub(crate) trait Host {
        fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, String>;
        fn log(&mut self, level: u32, message: &str);
    }

    thread_local! {
        static HOST: RefCell<Option<Box<dyn Host>>> = const { RefCell::new(None) };
    }

    pub(crate) fn call(request: &[u8]) -> Result<Vec<u8>, String> {
        HOST.with_borrow_mut(|host| match host {
            Some(host) => host.call(request),
            None => Err("there is no host outside a component and its test harness".to_owned()),
        })
    }

    pub(crate) fn log(level: u32, message: &str) {
        HOST.with_borrow_mut(|host| {
            if let Some(host) = host {
                host.log(level, message);
            }
        });
    }

    /// Runs `f` with `host` in place and gives the former one its place back.
    pub(crate) fn with<R>(host: Box<dyn Host>, f: impl FnOnce() -> R) -> R {
        let former = HOST.replace(Some(host));
        let result = f();
        HOST.set(former);
        result
    }
}
