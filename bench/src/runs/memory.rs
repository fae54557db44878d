//! Resident memory: of an idle host, and for each entry of keyed state.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use wasmill_tests::host::Host;

use super::serving::{Counting, ENTRY_BYTES};
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::resident::resident_bytes;

/// What a table may spend on an entry beside its bytes before it counts as overhead.
const ENTRY_OVERHEAD_BYTES: u64 = 16;

/// So few keys that the host's memory is all but their state.
const FEW_KEYS: u64 = 1_000;

/// Start and end of a window: an entry of windows is one of key and window.
const WINDOW_BYTES: u64 = 16;

/// Longer than any run.
const WINDOWS: &str = "window: {tumbling: {size: 1000h}, function: {count: true}}";

/// What a host takes for its start is over by then.
const SETTLED: Duration = Duration::from_secs(3);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let host = Host::start(&bench.data("memory-idle"), &[])?;
    thread::sleep(SETTLED);
    let idle = resident_bytes(host.pid())? as f64 / 1e6;
    drop(host);
    bench.report(&Figure::new("memory.idle", idle, "MB").with_bar(Bar::AtMost(60.0)))?;

    let keys = bench.settings.large_keys;
    let few = Counting::start(bench, "memory-few", FEW_KEYS, Duration::ZERO)?;
    let base = few.resident_bytes()?;
    drop(few);

    let many = Counting::start(bench, "memory-many", keys, Duration::ZERO)?;
    let entry = many.resident_bytes()?.saturating_sub(base) as f64 / keys as f64;
    drop(many);
    let allowed = (ENTRY_BYTES + ENTRY_OVERHEAD_BYTES) as f64;
    bench.report(&Figure::new("memory.entry", entry, "bytes"))?;
    bench.report(&Figure::new("memory.entry-ratio", entry / allowed, "ratio").with_bar(Bar::AtMost(2.0)))?;

    let written = Counting::start(bench, "memory-checkpoint", keys, bench.settings.large_interval)?;
    let entry = peak(&written)?.saturating_sub(base) as f64 / keys as f64;
    let ratio = Figure::new("memory.entry-ratio-in-checkpoint", entry / allowed, "ratio");
    bench.report(&ratio.with_bar(Bar::AtMost(3.0)))
}

/// The most that a host takes while two checkpoints are written.
fn peak(counting: &Counting) -> Result<u64> {
    let (before, mut peak) = (counting.checkpoints()?, 0);
    while counting.checkpoints()? < before + 2 {
        peak = peak.max(counting.resident_bytes()?);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(peak)
}

/// Of windows that hold one accumulator a key, and do not end.
pub(super) fn windows(bench: &mut Bench) -> Result<()> {
    let (keys, interval) = (bench.settings.large_keys, bench.settings.large_interval);
    let start = |bench: &Bench, data: &str, keys: u64, interval| {
        Counting::start_with(WINDOWS, bench, data, keys, interval)
    };
    let base = start(bench, "windows-few", FEW_KEYS, Duration::ZERO)?.resident_bytes()?;
    let allowed = (ENTRY_BYTES + WINDOW_BYTES + ENTRY_OVERHEAD_BYTES) as f64;
    let entry = |resident: u64| resident.saturating_sub(base) as f64 / keys as f64 / allowed;
    let between = entry(start(bench, "windows-many", keys, Duration::ZERO)?.resident_bytes()?);
    let ratio = Figure::new("windows.entry-ratio", between, "ratio");
    bench.report(&ratio.with_bar(Bar::AtMost(2.0)))?;
    let written = entry(peak(&start(bench, "windows-checkpoint", keys, interval)?)?);
    let ratio = Figure::new("windows.entry-ratio-in-checkpoint", written, "ratio");
    bench.report(&ratio.with_bar(Bar::AtMost(3.0)))
}
