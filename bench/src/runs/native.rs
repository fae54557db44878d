//! The keyed count through a component beside the same operator in the host: what the boundary costs.

use std::time::Duration;

use anyhow::Result;

use super::keyed_count;
use crate::bench::Bench;
use crate::figure::{Bar, Figure};
use crate::job::Job;
use crate::statistics::median;

const KEYS: u64 = 100_000;

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let component = keyed_count::job(bench, KEYS, Duration::ZERO)?;
    let native = Job::new("native-count").with("keys", KEYS);
    bench.warm(&component)?;
    let (mut natives, mut components) = (Vec::new(), Vec::new());
    for _ in 0..bench.settings.rounds {
        natives.push(bench.our_rate(&native, bench.settings.count)?);
        components.push(bench.our_rate(&component, bench.settings.count)?);
    }
    let (native, component) = (median(&natives), median(&components));
    bench.report(&Figure::new("native.native", native, "records/s"))?;
    bench.report(&Figure::new("native.component", component, "records/s"))?;
    bench.report(&Figure::new("native.ratio", component / native, "ratio").with_bar(Bar::AtLeast(0.6)))
}
