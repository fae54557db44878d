//! Medians, marginal rates and gaps.
//!
//! Every function is pure, and answers NaN where there is nothing to compute from: a figure of NaN reaches no bar.

/// The middle value; of an even number of values the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// How long a run of some size took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Records.
    pub records: u64,
    /// From start to finish, in seconds.
    pub seconds: f64,
}

impl Run {
    /// Records a second, start and end included.
    pub fn rate(self) -> f64 {
        self.records as f64 / self.seconds
    }
}

/// Records a second once all has started: (n₂ − n₁) / (t₂ − t₁). What a virtual machine spends on starting and
/// compiling drops out. NaN where the larger run took no longer than the smaller.
pub fn marginal_rate(small: Run, large: Run) -> f64 {
    let seconds = large.seconds - small.seconds;
    if seconds <= 0.0 || large.records <= small.records {
        return f64::NAN;
    }
    (large.records - small.records) as f64 / seconds
}

/// A counter read at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Seconds since some start.
    pub at: f64,
    /// The counter.
    pub count: u64,
}

/// The longest time, in seconds, for which a counter stood still between its first and last advance. Half a sample's distance
/// is its error.
pub fn longest_gap(samples: &[Sample]) -> f64 {
    let mut longest = 0.0;
    let mut advanced: Option<f64> = None;
    for pair in samples.windows(2) {
        if pair[1].count > pair[0].count {
            if let Some(before) = advanced {
                longest = f64::max(longest, pair[1].at - before);
            }
            advanced = Some(pair[1].at);
        }
    }
    longest
}

/// The rate of a counter between two moments, from the samples nearest within them.
pub fn rate_between(samples: &[Sample], from: f64, to: f64) -> f64 {
    let mut within = samples
        .iter()
        .filter(|sample| sample.at >= from && sample.at <= to);
    match (within.next(), within.next_back()) {
        (Some(first), Some(last)) if last.at > first.at => {
            last.count.saturating_sub(first.count) as f64 / (last.at - first.at)
        }
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: f64, count: u64) -> Sample {
        Sample { at, count }
    }

    #[test]
    fn the_median_is_the_middle_value_or_between_the_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_marginal_rate_leaves_out_what_every_run_spends() {
        let small = Run {
            records: 1_000,
            seconds: 6.0,
        };
        let large = Run {
            records: 5_000,
            seconds: 8.0,
        };
        assert_eq!(marginal_rate(small, large), 2_000.0);
        assert_eq!(large.rate(), 625.0);
        assert!(marginal_rate(large, small).is_nan());
    }

    #[test]
    fn the_longest_gap_lies_between_two_advances() {
        let samples = [
            sample(0.0, 0),
            sample(1.0, 0),
            sample(2.0, 5),
            sample(2.5, 9),
            sample(4.0, 9),
            sample(5.0, 10),
            sample(9.0, 10),
        ];
        assert_eq!(longest_gap(&samples), 2.5);
        assert_eq!(longest_gap(&samples[..2]), 0.0);
    }

    #[test]
    fn a_rate_counts_only_what_lies_between_the_two_moments() {
        let samples = [
            sample(0.0, 0),
            sample(1.0, 100),
            sample(2.0, 300),
            sample(3.0, 1_000),
        ];
        assert_eq!(rate_between(&samples, 1.0, 2.5), 200.0);
        assert!(rate_between(&samples, 2.5, 2.9).is_nan());
    }
}
