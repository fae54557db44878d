//! The one wasmtime engine of the process, and the ticker that makes endless loops end.
//!
//! Its settings decide what machine code means, so they are here alone: the compile process and the
//! host must agree on them to the bit. A guest's results depend on nothing but its input: NaNs are
//! canonical, relaxed SIMD is deterministic, threads do not exist.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, WasmBacktraceDetails};

use crate::failure::BACKTRACE_FRAMES_MAX;

/// Between two ticks of the epoch: the grain of every time limit of a guest.
pub const TICK_MS: u64 = 5;

/// Stack that guest code may use, in bytes. It belongs to the engine, so it is the host's and not a
/// job's; a thread that calls guests needs at least [`THREAD_STACK_BYTES_MIN`].
pub const STACK_BYTES_MAX: usize = 1024 * 1024;

/// Stack of a thread that calls guests, in bytes: the guest's own, and as much for the host below it.
/// A smaller one would end the process instead of the guest.
pub const THREAD_STACK_BYTES_MIN: usize = 2 * STACK_BYTES_MAX;

/// The engine and its ticker.
pub struct PluginEngine {
    engine: Engine,
    ticker: Arc<Ticker>,
}

impl PluginEngine {
    /// A new engine; a process wants one alone: see [`PluginEngine::shared`].
    fn new() -> Result<Self, String> {
        let engine =
            Engine::new(&config()).map_err(|e| format!("cannot start the component runtime: {e:#}"))?;
        Ok(Self {
            engine,
            ticker: Arc::default(),
        })
    }

    /// The engine of this process; the error says why this machine cannot run components.
    pub fn shared() -> Result<Arc<Self>, String> {
        static SHARED: OnceLock<Result<Arc<PluginEngine>, String>> = OnceLock::new();
        SHARED.get_or_init(|| Self::new().map(Arc::new)).clone()
    }

    /// Wasmtime's.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Says that a guest exists; the ticker runs while any does. The error says why it cannot.
    pub fn enter(&self) -> Result<RunningGuest, String> {
        self.ticker.enter(&self.engine)?;
        Ok(RunningGuest(self.ticker.clone()))
    }
}

/// Keeps the ticker running; one for each instance.
pub struct RunningGuest(Arc<Ticker>);

impl Drop for RunningGuest {
    fn drop(&mut self) {
        self.0.state().guests -= 1;
    }
}

/// Advances the epoch while guests exist, so that an idle host does not wake up 200 times a second.
#[derive(Default)]
struct Ticker(Mutex<TickerState>);

#[derive(Default)]
struct TickerState {
    guests: usize,
    ticking: bool,
}

impl Ticker {
    fn state(&self) -> std::sync::MutexGuard<'_, TickerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, engine: &Engine) -> Result<(), String> {
        let mut state = self.state();
        if !state.ticking {
            let (ticker, engine) = (self.clone(), engine.weak());
            std::thread::Builder::new()
                .name("epoch-ticker".to_owned())
                .spawn(move || ticker.run(&engine))
                .map_err(|e| format!("cannot start the thread that limits the time of guests: {e}"))?;
            state.ticking = true;
        }
        state.guests += 1;
        Ok(())
    }

    fn run(&self, engine: &EngineWeak) {
        loop {
            std::thread::sleep(Duration::from_millis(TICK_MS));
            let mut state = self.state();
            match engine.upgrade() {
                Some(engine) if state.guests > 0 => engine.increment_epoch(),
                _ => {
                    state.ticking = false;
                    return;
                }
            }
        }
    }
}

/// Settings that the host and the compile process share.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Half of the cost of a call is bookkeeping for concurrent guests, which do not exist here.
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        // A dump holds the user's data, and taking one copies the guest's whole memory.
        .coredump_on_trap(false);
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn is_ticking(engine: &PluginEngine) -> bool {
        engine.ticker.state().ticking
    }

    #[test]
    fn the_ticker_runs_only_while_guests_exist() {
        let engine = PluginEngine::new().unwrap();
        assert!(!is_ticking(&engine));
        let guest = engine.enter().unwrap();
        let second = engine.enter().unwrap();
        assert!(is_ticking(&engine));
        drop(guest);
        assert_eq!(engine.ticker.state().guests, 1);
        drop(second);
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_ticking(&engine) {
            assert!(Instant::now() < deadline, "the ticker goes on without guests");
            std::thread::yield_now();
        }
        let _again = engine.enter().unwrap();
        assert!(is_ticking(&engine));
    }
}
