//! Alignment of the watermarks of sources (T4): who has to wait. Pure.
//!
//! As in Flink, a subtask reports its watermark at each update interval, and one whose watermark is above the
//! lowest of its group by more than its drift gives no record until the others have come up. Who has reported
//! nothing yet holds nobody back, nor does who is idle or at its end: those report the last watermark there is.

use std::collections::BTreeMap;

use wasmill_model::graph::WatermarkAlignment;
use wasmill_model::id::SubtaskId;
use wasmill_model::time::{Timestamp, WATERMARK_END};

/// The aligned source subtasks of one attempt of a job.
#[derive(Debug, Default)]
pub(crate) struct SourceAlignment {
    members: BTreeMap<SubtaskId, Member>,
}

#[derive(Debug)]
struct Member {
    group: String,
    drift_ms: i64,
    reported: Option<Timestamp>,
    /// What it was told last; the end at first.
    until: Timestamp,
}

impl SourceAlignment {
    /// A subtask that takes part.
    pub(crate) fn add(&mut self, subtask: SubtaskId, alignment: &WatermarkAlignment) {
        let member = Member {
            group: alignment.group.clone(),
            drift_ms: alignment.max_drift_ms,
            reported: None,
            until: WATERMARK_END,
        };
        self.members.insert(subtask, member);
    }

    /// A subtask says how far it is. Returns those that are to be told another bound, with it: no record while
    /// the watermark is above.
    pub(crate) fn report(&mut self, subtask: SubtaskId, watermark: Timestamp) -> Vec<(SubtaskId, Timestamp)> {
        let Some(member) = self.members.get_mut(&subtask) else {
            return Vec::new();
        };
        member.reported = Some(watermark);
        let group = member.group.clone();
        let of_group = |member: &&Member| member.group == group;
        let reported = self
            .members
            .values()
            .filter(of_group)
            .filter_map(|member| member.reported);
        let lowest = reported.min().unwrap_or(WATERMARK_END);
        let mut told = Vec::new();
        for (subtask, member) in self.members.iter_mut().filter(|(_, m)| m.group == group) {
            let until = lowest.saturating_add(member.drift_ms);
            if std::mem::replace(&mut member.until, until) != until {
                told.push((*subtask, until));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmill_model::id::VertexId;

    fn subtask(number: u32) -> SubtaskId {
        SubtaskId {
            vertex: VertexId(number / 2),
            index: number % 2,
        }
    }

    fn aligned(group: &str, drift: i64) -> WatermarkAlignment {
        WatermarkAlignment {
            group: group.to_owned(),
            max_drift_ms: drift,
            update_interval_ms: 1_000,
        }
    }

    #[test]
    fn who_is_ahead_of_the_lowest_by_more_than_the_drift_waits_until_that_has_come_up() {
        let mut alignment = SourceAlignment::default();
        alignment.add(subtask(0), &aligned("a", 20));
        alignment.add(subtask(1), &aligned("a", 50));
        alignment.add(subtask(2), &aligned("b", 20));
        assert_eq!(
            alignment.report(subtask(0), 100),
            [(subtask(0), 120), (subtask(1), 150)]
        );
        assert_eq!(
            alignment.report(subtask(1), 40),
            [(subtask(0), 60), (subtask(1), 90)]
        );
        assert_eq!(
            alignment.report(subtask(2), 1),
            [(subtask(2), 21)],
            "another group"
        );
        assert_eq!(alignment.report(subtask(0), 100), [], "it stands");
        let idle = WATERMARK_END;
        assert_eq!(
            alignment.report(subtask(1), idle),
            [(subtask(0), 120), (subtask(1), 150)]
        );
        assert_eq!(
            alignment.report(subtask(0), idle),
            [(subtask(0), WATERMARK_END), (subtask(1), WATERMARK_END)]
        );
        assert_eq!(alignment.report(subtask(9), 3), [], "no member");
    }

    /// The bound of a subtask from all that was said so far.
    fn model(history: &[(u32, Timestamp)], group_of: &[bool], drift: &[i64], of: u32) -> Timestamp {
        let last = |n: u32| history.iter().rev().find(|(who, _)| *who == n).map(|(_, w)| *w);
        let same = |n: &u32| group_of[*n as usize] == group_of[of as usize];
        let lowest = (0..group_of.len() as u32).filter(same).filter_map(last).min();
        lowest.map_or(WATERMARK_END, |lowest| lowest.saturating_add(drift[of as usize]))
    }

    proptest! {
        #[test]
        fn bounds_are_those_of_the_plain_model(
            members in prop::collection::vec((any::<bool>(), 0i64..100), 1..6),
            reports in prop::collection::vec((0u32..6, prop_oneof![-50i64..500, Just(WATERMARK_END), any::<i64>()]), 0..40),
        ) {
            let (group_of, drift): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            let mut alignment = SourceAlignment::default();
            for (number, drift) in drift.iter().enumerate() {
                let group = if group_of[number] { "a" } else { "b" };
                alignment.add(subtask(number as u32), &aligned(group, *drift));
            }
            let mut bounds = vec![WATERMARK_END; drift.len()];
            let mut history = Vec::new();
            for (who, watermark) in reports.into_iter().filter(|(who, _)| (*who as usize) < drift.len()) {
                history.push((who, watermark));
                for (told, until) in alignment.report(subtask(who), watermark) {
                    bounds[(told.vertex.0 * 2 + told.index) as usize] = until;
                }
                for (number, bound) in bounds.iter().enumerate() {
                    prop_assert_eq!(*bound, model(&history, &group_of, &drift, number as u32));
                }
            }
        }
    }
}
