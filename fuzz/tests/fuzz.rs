//! Each target over its seeds, over what once broke it, and over some mutations, the same at every run.
//! `cargo xtask fuzz` goes on from there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use wasmill_fuzz::mutate::{Random, mutate};
use wasmill_fuzz::{TARGETS, Target, kept};

/// Mutations of each target.
const MUTATIONS: usize = 3_000;

/// A target that is slow on a slow machine stops here: all of them are to take seconds.
const TIME: Duration = Duration::from_millis(1_200);

fn survives(target: &Target, what: &str, input: &[u8]) {
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(
        result.is_ok(),
        "{}: {what} breaks it: {:?}",
        target.name,
        String::from_utf8_lossy(input)
    );
}

fn run(target: &Target) {
    let name = target.name;
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for seed in &seeds {
        survives(target, "a seed", seed);
    }
    for (path, input) in kept(target) {
        survives(target, &path.display().to_string(), &input);
    }
    let (mut random, started) = (Random(7), Instant::now());
    let mut count = 0;
    while count < MUTATIONS && started.elapsed() < TIME {
        let [one, other] = [(); 2].map(|()| &seeds[random.below(seeds.len())]);
        survives(target, "a mutation", &mutate(&mut random, one, other));
        count += 1;
    }
    println!("{name}: {count} mutations in {:?}", started.elapsed());
}

#[test]
fn what_is_damaged_is_refused_or_read_by_every_reader() {
    for target in &TARGETS {
        run(target);
    }
}
