//! An instance of a component within its limits.
//!
//! A [`Guest`] is the only way to run guest code: every call goes through [`Guest::call`], which sets the
//! time limit before and turns whatever went wrong into a [`GuestError`] after. A guest that failed is
//! dead: wasmtime refuses to enter it again, and so does this.

pub mod limiter;
pub mod limits;
pub mod log;
pub mod wasi;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, ResourceTable};
use wasmtime_wasi::WasiCtx;

use crate::engine::{PluginEngine, RunningGuest, TICK_MS};
use crate::failure::GuestError;
use limiter::StoreLimiter;
use limits::Limits;
use log::LogBuffer;

/// What a store holds: the host's own data `H` beside the sandbox.
pub struct GuestData<H> {
    /// Of whoever called [`Guest::instantiate`]: what its imports work on.
    pub host: H,
    /// Of this instance.
    pub sandbox: Sandbox,
}

/// What confines one instance.
pub struct Sandbox {
    wasi: WasiCtx,
    table: ResourceTable,
    limiter: StoreLimiter,
    log: LogBuffer,
    limits: Limits,
}

impl Sandbox {
    fn new(limits: &Limits, seed: u64) -> Self {
        let log = LogBuffer::new(limits.log_bytes_max);
        Self {
            wasi: wasi::context(&log, seed),
            table: wasi::table(),
            limiter: StoreLimiter::new(limits),
            log,
            limits: limits.clone(),
        }
    }

    /// Lines that the guest printed or logged in the call under way; imports for logging push here.
    pub fn log(&self) -> &LogBuffer {
        &self.log
    }

    /// As the job gave them.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn limiter(&self) -> &StoreLimiter {
        &self.limiter
    }
}

/// Which time limit a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallBudget {
    /// Instantiation, `describe`, `open`, `restore`: language runtimes start here.
    Open,
    /// Everything else.
    Call,
}

impl CallBudget {
    /// The limit's name in the job file, and its value in milliseconds.
    pub fn limit(self, limits: &Limits) -> (&'static str, u64) {
        match self {
            Self::Open => ("open-ms-max", limits.open_ms_max),
            Self::Call => ("call-ms-max", limits.call_ms_max),
        }
    }
}

/// A running instance.
pub struct Guest<H: 'static> {
    store: Store<GuestData<H>>,
    instance: Instance,
    is_dead: bool,
    _running: RunningGuest,
}

impl<H: Send + 'static> Guest<H> {
    /// Makes an instance; its start functions run within [`CallBudget::Open`]. The seed decides all
    /// random numbers of the guest.
    pub fn instantiate(
        engine: &PluginEngine,
        pre: &InstancePre<GuestData<H>>,
        limits: &Limits,
        seed: u64,
        host: H,
    ) -> Result<Self, GuestError> {
        let running = engine.enter().map_err(GuestError::host)?;
        let sandbox = Sandbox::new(limits, seed);
        let mut store = Store::new(engine.engine(), GuestData { host, sandbox });
        store.limiter(|data| &mut data.sandbox.limiter);
        // What one result or one import call may carry to the host.
        store.set_hostcall_fuel(usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX));
        let instance = run(&mut store, CallBudget::Open, |store| pre.instantiate(store))?;
        Ok(Self {
            store,
            instance,
            is_dead: false,
            _running: running,
        })
    }

    /// For looking up exports.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// For looking up exports; guest code is run by [`Guest::call`] alone.
    pub fn store_mut(&mut self) -> &mut Store<GuestData<H>> {
        &mut self.store
    }

    /// The host's own data.
    pub fn host(&self) -> &H {
        &self.store.data().host
    }

    /// The host's own data.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.store.data_mut().host
    }

    /// What confines it.
    pub fn sandbox(&self) -> &Sandbox {
        &self.store.data().sandbox
    }

    /// Runs guest code: all that `body` does with the store is within one time limit. After an error
    /// the guest is dead; its log still holds what it printed before.
    pub fn call<R>(
        &mut self,
        budget: CallBudget,
        body: impl FnOnce(&mut Store<GuestData<H>>) -> wasmtime::Result<R>,
    ) -> Result<R, GuestError> {
        if self.is_dead {
            return Err(GuestError::host(
                "the instance failed before and cannot be called again",
            ));
        }
        let result = run(&mut self.store, budget, body);
        self.is_dead = result.is_err();
        result
    }

    /// Bytes of linear memory that it holds.
    pub fn memory_bytes(&self) -> u64 {
        self.sandbox().limiter.memory_bytes()
    }

    /// Whether its memory has passed `recycle-bytes`, so that it should be replaced between batches.
    pub fn needs_recycling(&self) -> bool {
        self.memory_bytes() > self.sandbox().limits.recycle_bytes
    }
}

fn run<H: Send + 'static, R>(
    store: &mut Store<GuestData<H>>,
    budget: CallBudget,
    body: impl FnOnce(&mut Store<GuestData<H>>) -> wasmtime::Result<R>,
) -> Result<R, GuestError> {
    let sandbox = &mut store.data_mut().sandbox;
    sandbox.log.begin_call();
    let (_, limit_ms) = budget.limit(&sandbox.limits);
    // One more than fit: the current tick may be about to end.
    store.set_epoch_deadline(limit_ms.div_ceil(TICK_MS) + 1);
    body(store).map_err(|error| GuestError::of(&error, &store.data().sandbox, budget))
}
