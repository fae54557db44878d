//! Timers of a keyed operator: one for each key, namespace, domain and time (T5).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use imbl::OrdSet;
use wasmill_model::key::KeyGroup;
use wasmill_model::time::Timestamp;

/// Which clock fires a timer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimeDomain {
    /// Watermarks.
    Event,
    /// The processing-time clock.
    Processing,
}

/// A timer. The order of the fields is the order of firing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timer {
    /// When it fires.
    pub timestamp: Timestamp,
    /// The key's group.
    pub group: KeyGroup,
    /// The encoded key.
    pub key: TimerBytes,
    /// The window, encoded; empty is the void namespace.
    pub namespace: TimerBytes,
}

/// Bytes of a timer. Cloning takes no memory: the first write to a page of timers that a snapshot shares
/// clones all that are in it.
// NOTE: none for no bytes: the empty `Arc` is one for all threads, and so is its counter.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerBytes(Option<Arc<[u8]>>);

impl From<&[u8]> for TimerBytes {
    fn from(bytes: &[u8]) -> Self {
        Self((!bytes.is_empty()).then(|| bytes.into()))
    }
}

impl Deref for TimerBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for TimerBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// All timers of one operator in one subtask. Cloning takes no time and shares the timers: a snapshot
/// is a clone.
#[derive(Clone, Default, Debug)]
pub struct TimerQueue {
    event: OrdSet<Timer>,
    processing: OrdSet<Timer>,
    /// While timers are taken to be fired: those that were deleted.
    deleted_while_taken: Option<Vec<(TimeDomain, Timer)>>,
}

impl TimerQueue {
    /// Registers a timer; false where it was there already.
    pub fn register(&mut self, domain: TimeDomain, timer: Timer) -> bool {
        self.domain_mut(domain).insert(timer).is_none()
    }

    /// Removes a timer; false where there was none.
    pub fn delete(&mut self, domain: TimeDomain, timer: &Timer) -> bool {
        let removed = self.domain_mut(domain).remove(timer).is_some();
        // Also where it was there: it may have been taken, registered anew and now be deleted.
        if let Some(deleted) = &mut self.deleted_while_taken {
            deleted.push((domain, timer.clone()));
        }
        removed
    }

    /// The time of the first timer.
    pub fn next(&self, domain: TimeDomain) -> Option<Timestamp> {
        self.domain(domain).get_min().map(|timer| timer.timestamp)
    }

    /// Removes and returns at most `max` timers at or before `now`, in firing order. Those that were then
    /// not fired must go back by [`TimerQueue::put_back`] before the queue is snapshotted.
    pub fn take_due(&mut self, domain: TimeDomain, now: Timestamp, max: usize) -> Vec<Timer> {
        self.deleted_while_taken = Some(Vec::new());
        let timers = self.domain_mut(domain);
        let mut due = Vec::new();
        while due.len() < max && timers.get_min().is_some_and(|timer| timer.timestamp <= now) {
            due.extend(timers.remove_min());
        }
        due
    }

    /// Ends what [`TimerQueue::take_due`] began: gives back the timers that were not fired, but for those
    /// that were deleted in the meantime.
    pub fn put_back(&mut self, domain: TimeDomain, timers: impl IntoIterator<Item = Timer>) {
        let deleted = self.deleted_while_taken.take().unwrap_or_default();
        for timer in timers {
            if !deleted.iter().any(|(of, gone)| *of == domain && *gone == timer) {
                self.domain_mut(domain).insert(timer);
            }
        }
    }

    /// How many there are.
    pub fn len(&self, domain: TimeDomain) -> usize {
        self.domain(domain).len()
    }

    /// Whether there is none in either domain.
    pub fn is_empty(&self) -> bool {
        self.event.is_empty() && self.processing.is_empty()
    }

    /// The timers of a domain in firing order.
    pub fn iter(&self, domain: TimeDomain) -> impl Iterator<Item = &Timer> {
        self.domain(domain).iter()
    }

    fn domain(&self, domain: TimeDomain) -> &OrdSet<Timer> {
        match domain {
            TimeDomain::Event => &self.event,
            TimeDomain::Processing => &self.processing,
        }
    }

    fn domain_mut(&mut self, domain: TimeDomain) -> &mut OrdSet<Timer> {
        match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(timestamp: Timestamp) -> Timer {
        Timer {
            timestamp,
            group: KeyGroup(0),
            key: b"k"[..].into(),
            namespace: TimerBytes::default(),
        }
    }

    #[test]
    fn a_taken_timer_that_is_registered_and_deleted_again_stays_deleted() {
        let mut queue = TimerQueue::default();
        queue.register(TimeDomain::Event, timer(1));
        queue.register(TimeDomain::Event, timer(2));
        let due = queue.take_due(TimeDomain::Event, 5, 10);
        queue.register(TimeDomain::Event, timer(2));
        queue.delete(TimeDomain::Event, &timer(2));
        queue.put_back(TimeDomain::Event, due.into_iter().skip(1));
        assert!(queue.is_empty());
    }

    #[test]
    fn timers_are_unique_and_come_in_order() {
        let mut queue = TimerQueue::default();
        for timestamp in [5, 1, 3, 1, 9] {
            queue.register(TimeDomain::Event, timer(timestamp));
        }
        let due = queue.take_due(TimeDomain::Event, 5, 10);
        assert_eq!(due, [timer(1), timer(3), timer(5)]);
        queue.put_back(TimeDomain::Event, due.into_iter().skip(1));
        assert_eq!(queue.take_due(TimeDomain::Event, 5, 1), [timer(3)]);
    }

    #[test]
    fn a_timer_deleted_by_one_that_fired_before_it_does_not_come_back() {
        let mut queue = TimerQueue::default();
        for timestamp in [1, 2, 3] {
            queue.register(TimeDomain::Event, timer(timestamp));
        }
        let due = queue.take_due(TimeDomain::Event, 3, 10);
        // The first fires: it deletes the second, registers itself anew and deletes a later one's namesake
        // of the other domain.
        assert!(!queue.delete(TimeDomain::Event, &timer(2)));
        queue.register(TimeDomain::Event, timer(1));
        queue.delete(TimeDomain::Processing, &timer(3));
        queue.put_back(TimeDomain::Event, due.into_iter().skip(1));
        assert_eq!(queue.take_due(TimeDomain::Event, 3, 10), [timer(1), timer(3)]);
    }

    #[test]
    fn deleting_what_is_not_there_leaves_no_trace() {
        let mut queue = TimerQueue::default();
        queue.delete(TimeDomain::Event, &timer(1));
        queue.register(TimeDomain::Event, timer(1));
        let due = queue.take_due(TimeDomain::Event, 0, 10);
        queue.put_back(TimeDomain::Event, due);
        assert_eq!(queue.take_due(TimeDomain::Event, 1, 10), [timer(1)]);
    }
}
