//! The simulator: a whole job in one thread, its interleavings, delays, crashes and failing writes drawn
//! from a seed. What it commits must be what the model says.
//!
//! Blocking work is done whole in one turn or, at times, on a thread of its own that stands still at each
//! call of storage and never runs beside anything else.
//!
//! It replaces executor, clock, storage and random numbers, nothing else: tasks, channels, alignment,
//! state, snapshots, coordinator, manifest, restore and job master are those of the product. A seed also
//! draws what a user does: savepoints, stops with and without draining, cancellations, new jobs from what
//! those leave.
//!
//! `cargo xtask sim --seeds N --from M` runs N seeds from M on (1,000 from 1 in the ordinary tests), `--seed
//! S` runs one and prints its trace; the environment says the same by `WASMILL_SIM_SEEDS`,
//! `WASMILL_SIM_FROM` and `WASMILL_SIM_SEED`.

// All of this is a test, its functions outside `#[test]` too.
#![allow(clippy::unwrap_used)]

mod functions;
mod job;
mod model;
mod outcome;
mod random;
mod scenario;
mod sink;
mod slow;
mod source;
mod user;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use outcome::Outcome;
use scenario::run;
use wasmill_engine::executor::PlantedBug;

fn seeds() -> std::ops::RangeInclusive<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    match number("WASMILL_SIM_SEED") {
        Some(seed) => seed..=seed,
        None => {
            let first = number("WASMILL_SIM_FROM").unwrap_or(1);
            first..=first + number("WASMILL_SIM_SEEDS").unwrap_or(1_000) - 1
        }
    }
}

/// Seeds of one line of figures: a run that is cut off says how far it came.
const RANGE: u64 = 1_000;

fn played(seed: u64, bug: PlantedBug) -> Result<Outcome, String> {
    caught(|| run(seed, bug))
}

/// A panic anywhere in a seed is a failure like any other.
fn caught(play: impl FnOnce() -> Result<Outcome, String>) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(format!("it panicked: {}", text.unwrap_or_default()))
    })
}

#[test]
fn every_seed_commits_what_the_model_says() {
    let (mut totals, seeds) = (Outcome::default(), seeds());
    let count = seeds.end() - seeds.start() + 1;
    let mut first = *seeds.start();
    println!("seeds {first} to {}", seeds.end());
    while first <= *seeds.end() {
        let last = (first + RANGE - 1).min(*seeds.end());
        let mut figures = Outcome::default();
        for seed in first..=last {
            match played(seed, PlantedBug::None) {
                Ok(outcome) => figures.add(&outcome),
                Err(failure) => {
                    panic!("seed {seed}: {failure}\nrepeat it by: cargo xtask sim --seed {seed}")
                }
            }
        }
        println!("seeds {first} to {last}: {figures}");
        totals.add(&figures);
        first = last + 1;
    }
    println!("all {count} seeds are well: {totals}");
    assert!(
        count == 1 || totals.is_rich(),
        "something has never happened: {totals}"
    );
}

#[test]
fn a_panic_is_a_failure_of_its_seed() {
    assert_eq!(
        caught(|| panic!("on {}", "purpose")).unwrap_err(),
        "it panicked: on purpose"
    );
    assert_eq!(
        caught(|| panic!("on purpose")).unwrap_err(),
        "it panicked: on purpose"
    );
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    for seed in 1..=50 {
        let trace = |seed| run(seed, PlantedBug::None).map(|outcome| (outcome.trace, outcome.steps));
        assert_eq!(trace(seed).unwrap(), trace(seed).unwrap(), "seed {seed}");
    }
}

fn first_failure(bug: PlantedBug) -> Option<(u64, String)> {
    (1..=1_000).find_map(|seed| played(seed, bug).err().map(|failure| (seed, failure)))
}

#[test]
fn committing_before_the_manifest_is_found() {
    let (seed, failure) = first_failure(PlantedBug::CommitBeforeManifest).expect("found within 1,000 seeds");
    println!("seed {seed}: {failure}");
}

#[test]
fn not_holding_back_at_alignment_is_found() {
    let (seed, failure) = first_failure(PlantedBug::NoHoldingBack).expect("found within 1,000 seeds");
    println!("seed {seed}: {failure}");
}

#[test]
fn timers_that_are_not_snapshotted_are_found() {
    let (seed, failure) = first_failure(PlantedBug::TimersNotSnapshotted).expect("found within 1,000 seeds");
    println!("seed {seed}: {failure}");
}

#[test]
fn restoring_beside_a_deletion_is_found() {
    let (seed, failure) = first_failure(PlantedBug::RestoreBesideDeletion).expect("found within 1,000 seeds");
    println!("seed {seed}: {failure}");
    assert!(failure.contains("it restores while it does: delete"), "{failure}");
}
