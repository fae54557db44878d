//! What tells the timers of one moment from those of an earlier one.
//!
//! Invariant: applied to the earlier ones, it gives the later ones. It takes time in proportion to the number of times
//! that have timers, and to what has changed; nothing is noted while timers are registered and fire.

use std::cmp::Ordering;
use std::sync::Arc;

use wasmill_model::key::{KeyGroup, KeyGroupRange};
use wasmill_model::time::Timestamp;

use super::bucket::{Bucket, Name};
use super::{TimeDomain, TimerQueue, TimerRef};

/// What has changed in one key group and domain.
pub(crate) struct TimerChanges<'a> {
    group: KeyGroup,
    /// Times that had timers and have none, ascending.
    pub(crate) gone: Vec<Timestamp>,
    /// Times whose timers are not the same, with those before and now.
    changed: Vec<(Timestamp, Option<&'a Bucket>, &'a Bucket)>,
}

/// Who is given timers.
type EachTimer<'a, E> = &'a mut dyn FnMut(TimerRef<'_>) -> Result<(), E>;

impl<'a> TimerChanges<'a> {
    /// By group of a range: what became of the timers of `before` in a domain.
    pub(crate) fn between(
        before: &'a TimerQueue,
        now: &'a TimerQueue,
        domain: TimeDomain,
        range: KeyGroupRange,
    ) -> Vec<Self> {
        let groups = range.iter().map(|group| Self {
            group,
            gone: Vec::new(),
            changed: Vec::new(),
        });
        let mut groups: Vec<Self> = groups.collect();
        let mut at = |group: KeyGroup, change: &mut dyn FnMut(&mut Self)| {
            let index = group.0.checked_sub(range.start).map(usize::from);
            if let Some(group) = index.and_then(|index| groups.get_mut(index)) {
                change(group);
            }
        };
        let mut before = before.domain(domain).buckets.iter().peekable();
        for (place, bucket) in &now.domain(domain).buckets {
            while let Some(((time, group), _)) = before.next_if(|(old, _)| *old < place) {
                at(*group, &mut |changes| changes.gone.push(*time));
            }
            let old = before.next_if(|(old, _)| *old == place).map(|(_, old)| old);
            if old.is_none_or(|old| !Arc::ptr_eq(old, bucket)) {
                let change = (place.0, old.map(|old| &**old), &**bucket);
                at(place.1, &mut |changes| changes.changed.push(change));
            }
        }
        for ((time, group), _) in before {
            at(*group, &mut |changes| changes.gone.push(*time));
        }
        groups
    }

    /// Gives the timers that are there no more, but for those of times that are `gone`.
    pub(crate) fn removed<E>(&self, each: EachTimer<'_, E>) -> Result<(), E> {
        self.differences(Ordering::Less, each)
    }

    /// Gives the timers that were not there, in firing order.
    pub(crate) fn added<E>(&self, each: EachTimer<'_, E>) -> Result<(), E> {
        self.differences(Ordering::Greater, each)
    }

    fn differences<E>(&self, wanted: Ordering, each: EachTimer<'_, E>) -> Result<(), E> {
        for (timestamp, before, now) in &self.changed {
            let before = before.map(names).unwrap_or_default();
            for (side, (key, namespace)) in unmatched(&before, &names(now)) {
                if side == wanted {
                    each(TimerRef {
                        timestamp: *timestamp,
                        group: self.group,
                        key,
                        namespace,
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn names(bucket: &Bucket) -> Vec<Name<'_>> {
    let mut names = Vec::with_capacity(bucket.len());
    bucket.for_each(|name| names.push(name));
    names
}

/// What is in just one of two sorted lists: `Less` for the first, `Greater` for the second.
fn unmatched<'a>(first: &[Name<'a>], second: &[Name<'a>]) -> Vec<(Ordering, Name<'a>)> {
    let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
    let mut found = Vec::new();
    loop {
        let side = match (first.peek(), second.peek()) {
            (Some(one), Some(other)) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return found,
        };
        let taken = match side {
            Ordering::Less => first.next(),
            Ordering::Greater => second.next(),
            Ordering::Equal => first.next().and(second.next()),
        };
        if side != Ordering::Equal {
            found.extend(taken.map(|name| (side, *name)));
        }
    }
}
