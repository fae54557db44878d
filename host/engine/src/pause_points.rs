//! Named steps at which the process can be made to stop for ever, so that a test can kill it there.
//!
//! Invariant: unless [`configure`] was called with a step, [`hit`] is one load of a static.
//!
//! Steps: `snapshot-written`, `before-manifest`, `manifest-written`, `before-commit`, `after-commit`, `before-delete`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The steps that exist.
pub const STEPS: [&str; 6] = [
    "snapshot-written",
    "before-manifest",
    "manifest-written",
    "before-commit",
    "after-commit",
    "before-delete",
];

struct Point {
    step: String,
    nth: u64,
    hits: AtomicU64,
}

static POINT: OnceLock<Point> = OnceLock::new();

/// Arms one step: `step` or `step:n` for its nth hit, counted from 1. An unknown step or a second call is
/// an error: a test that pauses nowhere would show nothing.
pub fn configure(at: &str) -> Result<(), String> {
    let point = parse(at)?;
    POINT
        .set(point)
        .map_err(|_| "a pause point is armed already".to_owned())
}

fn parse(at: &str) -> Result<Point, String> {
    let (step, nth) = match at.split_once(':') {
        None => (at, 1),
        Some((step, nth)) => {
            let number = nth.parse().ok().filter(|n| *n > 0);
            (
                step,
                number.ok_or_else(|| format!("`{nth}` in pause point `{at}` is no number from 1"))?,
            )
        }
    };
    if !STEPS.contains(&step) {
        return Err(format!(
            "pause point `{step}` is not known; there are: {}",
            STEPS.join(", ")
        ));
    }
    Ok(Point {
        step: step.to_owned(),
        nth,
        hits: AtomicU64::new(0),
    })
}

/// Says that a step is reached. Does not return where this is the armed one and its turn.
pub fn hit(step: &str) {
    if let Some(point) = POINT.get()
        && point.is_due(step)
    {
        // The test waits for this line, not for a log's format.
        eprintln!("paused at {}:{}", point.step, point.nth);
        loop {
            thread::park();
        }
    }
}

impl Point {
    fn is_due(&self, step: &str) -> bool {
        self.step == step && self.hits.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nth_hit_of_the_armed_step_is_due() {
        let point = parse("before-commit:2").unwrap();
        let due: Vec<bool> = ["before-commit", "after-commit", "before-commit", "before-commit"]
            .into_iter()
            .map(|step| point.is_due(step))
            .collect();
        assert_eq!(due, [false, false, true, false]);
    }

    #[test]
    fn steps_and_numbers_that_do_not_exist_are_refused() {
        for at in ["commit", "before-commit:0", "before-commit:x", ""] {
            assert!(parse(at).is_err(), "{at}");
        }
    }
}
