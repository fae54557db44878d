//! All interfaces of WASI 0.2, with nothing behind them.
//!
//! No files, sockets, environment or arguments; clocks stand at zero; random numbers follow from a seed;
//! what is printed goes to the call's [`LogBuffer`]. Invariant: no WASI call blocks the thread, since a
//! time limit cannot interrupt the host: waiting for a clock ends at once.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::GuestData;
use super::log::{LogBuffer, OutputKind};

/// Random bytes that a guest gets by one request: language runtimes want 16 to 32.
const RANDOM_BYTES_MAX: u64 = 1024 * 1024;
/// Handles (streams, pollables, errors) that a guest may hold.
const HANDLES_MAX: usize = 10_000;
/// What a guest may write to a stream at once: the host allocates as much for it.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Links all of WASI 0.2.
pub fn add_to_linker<H: Send + 'static>(linker: &mut Linker<GuestData<H>>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // wasmtime-wasi's own clock would let a guest sleep inside the host.
    linker.allow_shadowing(true);
    let clock = monotonic_clock::add_to_linker::<_, StandingClock>(linker, |data| StandingClockView {
        table: &mut data.sandbox.table,
    });
    linker.allow_shadowing(false);
    clock
}

pub(super) fn context(log: &LogBuffer, seed: u64) -> WasiCtx {
    let output = |kind| GuestOutput {
        log: log.clone(),
        kind,
    };
    WasiCtx::builder()
        .stdout(output(OutputKind::Stdout))
        .stderr(output(OutputKind::Stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .wall_clock(ClockAtZero)
        .monotonic_clock(ClockAtZero)
        .secure_random(SeededRandom(seed))
        .insecure_random(SeededRandom(!seed))
        .insecure_random_seed(u128::from(seed))
        .max_random_size(RANDOM_BYTES_MAX)
        .build()
}

pub(super) fn table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    table
}

impl<H: Send> WasiView for GuestData<H> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.sandbox.wasi,
            table: &mut self.sandbox.table,
        }
    }
}

struct ClockAtZero;

impl HostWallClock for ClockAtZero {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for ClockAtZero {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

struct StandingClock;

struct StandingClockView<'a> {
    table: &'a mut ResourceTable,
}

impl HasData for StandingClock {
    type Data<'a> = StandingClockView<'a>;
}

impl monotonic_clock::Host for StandingClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(0)
    }

    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = self.table.push(Now)?;
        subscribe(self.table, now)
    }
}

/// A time that has come: time does not pass inside a call, so there is nothing to wait for.
struct Now;

impl Pollable for Now {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

/// SplitMix64: every seed gives another sequence, and a guest that is replayed gets the same one.
struct SeededRandom(u64);

impl SeededRandom {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl rand_core::TryRng for SeededRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for chunk in target.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Standard output or error of a guest.
#[derive(Clone)]
struct GuestOutput {
    log: LogBuffer,
    kind: OutputKind,
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.print(self.kind, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for GuestOutput {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.log.print(self.kind, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
