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

#[test]
fn every_seed_commits_what_the_model_says() {
    let mut totals = Outcome::default();
    let mut count = 0u64;
    for seed in seeds() {
        match run(seed, PlantedBug::None) {
            Ok(outcome) => totals.add(&outcome),
            Err(failure) => {
                panic!("seed {seed}: {failure}\nrepeat it by: cargo xtask sim --seed {seed}")
            }
        }
        count += 1;
    }
    println!("{count} seeds: {totals}");
    assert!(
        count == 1 || totals.is_rich(),
        "something has never happened: {totals}"
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
    (1..=1_000).find_map(|seed| run(seed, bug).err().map(|failure| (seed, failure)))
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
