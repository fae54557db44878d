//! Windows by event time, beside Flink's heap backend.

use anyhow::Result;

use super::memory;
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::flink::FlinkJob;
use crate::job::Job;
use crate::statistics::median;

const FEW_KEYS: u64 = 1_000;
const MANY_KEYS: u64 = 100_000;

const SLIDING: &str = "sliding: {size: 4s, slide: 1s}, function: {count: true}";
const LONG: &str = "sliding: {size: 60s, slide: 1s}, function: {count: true}";
const TUMBLING: &str = "tumbling: {size: 4s}, function: {count: true}";
const SESSION: &str = "session: {gap: 500ms}, function: {count: true}";
const TUMBLING_COMPONENT: &str = "tumbling: {size: 4s}, function: {aggregate: counts/incremental-count}";
const SESSION_COMPONENT: &str = "session: {gap: 500ms}, function: {aggregate: counts/incremental-count}";
const PROCESS_COMPONENT: &str = "tumbling: {size: 4s}, function: {process: counts/window-count}";

/// What a window of 60 slides may cost more than one of 4.
const LONG_COST_MAX: f64 = 1.3;

/// The host's own function, or one of a component: then the job carries it along.
fn job(bench: &Bench, window: &str, keys: u64) -> Result<Job> {
    let plugins = match window.contains("counts/") {
        true => format!(
            "plugins: {{counts: \"{}\"}}",
            bench.component("keyed_count")?.display()
        ),
        false => String::new(),
    };
    let job = Job::new("windows").with("plugins", plugins).with("keys", keys);
    Ok(job.with("window", window))
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let settings = bench.settings;
    for (name, window, theirs, keys, bar) in [
        ("windows.sliding.100k-keys", SLIDING, "window", MANY_KEYS, 10.0),
        ("windows.sliding.1k-keys", SLIDING, "window", FEW_KEYS, 4.0),
        ("windows.tumbling", TUMBLING, "tumbling", MANY_KEYS, 3.0),
        ("windows.session", SESSION, "session", MANY_KEYS, 3.0),
        (
            "windows.tumbling-component",
            TUMBLING_COMPONENT,
            "tumbling",
            MANY_KEYS,
            3.0,
        ),
        (
            "windows.session-component",
            SESSION_COMPONENT,
            "session",
            MANY_KEYS,
            3.0,
        ),
        (
            "windows.process-component",
            PROCESS_COMPONENT,
            "process",
            MANY_KEYS,
            3.0,
        ),
    ] {
        let sizes = match keys {
            FEW_KEYS => settings.windows_few_keys,
            _ => settings.windows_many_keys,
        };
        let ours = job(bench, window, keys)?;
        bench.against_flink(name, (&ours, FlinkJob::on_heap(theirs, keys)), sizes, bar)?;
    }
    if bench.wants("windows.cost-60-to-4") {
        for (name, keys) in [("1k-keys", FEW_KEYS), ("100k-keys", MANY_KEYS)] {
            long(bench, name, keys)?;
        }
    }
    match bench.wants("windows.entry-ratio") {
        true => memory::windows(bench),
        false => Ok(()),
    }
}

/// The slide stays, the size grows: what an element costs must hardly change.
fn long(bench: &mut Bench, name: &str, keys: u64) -> Result<()> {
    let sizes = bench.settings.windows_long;
    let (mut short, mut long) = (Vec::new(), Vec::new());
    let (of_short, of_long) = (job(bench, SLIDING, keys)?, job(bench, LONG, keys)?);
    for _ in 0..bench.settings.rounds {
        short.push(bench.our_rate(&of_short, sizes)?);
        long.push(bench.our_rate(&of_long, sizes)?);
    }
    let (short, long) = (median(&short), median(&long));
    bench.report(&Figure::new(
        format!("windows.size-4-slides.{name}"),
        short,
        "records/s",
    ))?;
    bench.report(&Figure::new(
        format!("windows.size-60-slides.{name}"),
        long,
        "records/s",
    ))?;
    let cost = Figure::new(format!("windows.cost-60-to-4.{name}"), short / long, "ratio");
    bench.report(&cost.with_bar(Bar::AtMost(LONG_COST_MAX)))
}
