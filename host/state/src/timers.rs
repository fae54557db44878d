//! Timers of a keyed operator: one for each key, namespace, domain and time (T5).
//!
//! Invariant: a clone takes no time. Timers of one time and key group lie together and are put in order when they
//! fire, for at the end of a window many have the same time; a write copies those alone where a snapshot shares them.

mod bucket;
mod changes;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use imbl::OrdMap;
use wasmill_model::key::KeyGroup;
use wasmill_model::time::Timestamp;

use self::bucket::Bucket;
pub(crate) use self::changes::TimerChanges;

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

/// A timer whose bytes lie elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimerRef<'a> {
    /// When it fires.
    pub timestamp: Timestamp,
    /// The key's group.
    pub group: KeyGroup,
    /// The encoded key.
    pub key: &'a [u8],
    /// The window, encoded; empty is the void namespace.
    pub namespace: &'a [u8],
}

impl<'a> From<&'a Timer> for TimerRef<'a> {
    fn from(timer: &'a Timer) -> Self {
        Self {
            timestamp: timer.timestamp,
            group: timer.group,
            key: &timer.key,
            namespace: &timer.namespace,
        }
    }
}

/// Bytes of a timer: a part of a buffer that timers taken together share. Cloning takes no memory.
// NOTE: none for no bytes: the empty `Arc` is one for all threads, and so is its counter.
#[derive(Clone, Default)]
pub struct TimerBytes {
    buffer: Option<Arc<[u8]>>,
    start: u32,
    length: u32,
}

impl From<&[u8]> for TimerBytes {
    fn from(bytes: &[u8]) -> Self {
        Self {
            buffer: (!bytes.is_empty()).then(|| bytes.into()),
            start: 0,
            length: bytes.len() as u32,
        }
    }
}

impl Deref for TimerBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.start as usize;
        let bytes = self.buffer.as_deref().unwrap_or_default();
        bytes.get(start..start + self.length as usize).unwrap_or_default()
    }
}

impl PartialEq for TimerBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TimerBytes {}

impl PartialOrd for TimerBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TimerBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
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
    event: Timers,
    processing: Timers,
    /// While timers are taken to be fired: those that were deleted.
    deleted_while_taken: Option<Vec<(TimeDomain, Timer)>>,
}

/// The timers of one domain. Invariant: no bucket is empty.
#[derive(Clone, Default, Debug)]
struct Timers {
    buckets: OrdMap<(Timestamp, KeyGroup), Arc<Bucket>>,
    count: usize,
}

impl Timers {
    fn insert(&mut self, timer: TimerRef<'_>) -> bool {
        let place = (timer.timestamp, timer.group);
        let name = (timer.key, timer.namespace);
        let is_new = match self.buckets.get_mut(&place) {
            Some(bucket) => Arc::make_mut(bucket).insert(name),
            None => {
                let mut bucket = Bucket::default();
                bucket.insert(name);
                self.buckets.insert(place, Arc::new(bucket));
                true
            }
        };
        self.count += usize::from(is_new);
        is_new
    }

    fn remove(&mut self, timer: TimerRef<'_>) -> bool {
        let place = (timer.timestamp, timer.group);
        let Some(bucket) = self.buckets.get_mut(&place) else {
            return false;
        };
        let bucket = Arc::make_mut(bucket);
        let was_there = bucket.remove((timer.key, timer.namespace));
        if bucket.len() == 0 {
            self.buckets.remove(&place);
        }
        self.count -= usize::from(was_there);
        was_there
    }

    fn first(&self) -> Option<(Timestamp, KeyGroup)> {
        self.buckets.get_min().map(|(place, _)| *place)
    }

    /// Removes at most `max` timers of the first bucket, in firing order.
    fn take_first(&mut self, place: (Timestamp, KeyGroup), max: usize, taken: &mut Taken) {
        let Some(bucket) = self.buckets.get_mut(&place) else {
            return;
        };
        let before = taken.places.len();
        if bucket.len() > max {
            Arc::make_mut(bucket).take(max, |name| taken.push(place, name));
        } else {
            bucket.for_each(|name| taken.push(place, name));
            self.buckets.remove(&place);
        }
        self.count -= taken.places.len() - before;
    }
}

/// Timers on their way out, with their bytes one after another.
#[derive(Default)]
struct Taken {
    bytes: Vec<u8>,
    /// Time, group, and the lengths of key and namespace.
    places: Vec<(Timestamp, KeyGroup, u32, u32)>,
}

impl Taken {
    fn push(&mut self, (timestamp, group): (Timestamp, KeyGroup), (key, namespace): (&[u8], &[u8])) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(namespace);
        let lengths = (key.len() as u32, namespace.len() as u32);
        self.places.push((timestamp, group, lengths.0, lengths.1));
    }

    fn into_timers(self) -> Vec<Timer> {
        let buffer: Arc<[u8]> = self.bytes.into();
        let mut start = 0;
        let mut part = |length: u32| {
            let bytes = TimerBytes {
                buffer: (length > 0).then(|| buffer.clone()),
                start,
                length,
            };
            start += length;
            bytes
        };
        let timers = self.places.into_iter();
        timers
            .map(|(timestamp, group, key, namespace)| Timer {
                timestamp,
                group,
                key: part(key),
                namespace: part(namespace),
            })
            .collect()
    }
}

impl TimerQueue {
    /// Registers a timer; false where it was there already.
    pub fn register<'a>(&mut self, domain: TimeDomain, timer: impl Into<TimerRef<'a>>) -> bool {
        self.domain_mut(domain).insert(timer.into())
    }

    /// Removes a timer; false where there was none.
    pub fn delete<'a>(&mut self, domain: TimeDomain, timer: impl Into<TimerRef<'a>>) -> bool {
        let timer = timer.into();
        let removed = self.domain_mut(domain).remove(timer);
        // Also where it was there: it may have been taken, registered anew and now be deleted.
        if let Some(deleted) = &mut self.deleted_while_taken {
            deleted.push((domain, owned(timer)));
        }
        removed
    }

    /// The time of the first timer.
    pub fn next(&self, domain: TimeDomain) -> Option<Timestamp> {
        self.domain(domain).first().map(|(timestamp, _)| timestamp)
    }

    /// Removes and returns at most `max` timers at or before `now`, in firing order. Those that were then
    /// not fired must go back by [`TimerQueue::put_back`] before the queue is snapshotted.
    pub fn take_due(&mut self, domain: TimeDomain, now: Timestamp, max: usize) -> Vec<Timer> {
        self.deleted_while_taken = Some(Vec::new());
        let timers = self.domain_mut(domain);
        let mut taken = Taken::default();
        while let Some(place) = timers.first().filter(|(timestamp, _)| *timestamp <= now) {
            let room = max - taken.places.len();
            if room == 0 {
                break;
            }
            timers.take_first(place, room, &mut taken);
        }
        taken.into_timers()
    }

    /// Ends what [`TimerQueue::take_due`] began: gives back the timers that were not fired, but for those
    /// that were deleted in the meantime.
    pub fn put_back(&mut self, domain: TimeDomain, timers: impl IntoIterator<Item = Timer>) {
        let deleted = self.deleted_while_taken.take().unwrap_or_default();
        for timer in timers {
            if !deleted.iter().any(|(of, gone)| *of == domain && *gone == timer) {
                self.domain_mut(domain).insert((&timer).into());
            }
        }
    }

    /// How many there are.
    pub fn len(&self, domain: TimeDomain) -> usize {
        self.domain(domain).count
    }

    /// Whether there is none in either domain.
    pub fn is_empty(&self) -> bool {
        self.event.count == 0 && self.processing.count == 0
    }

    /// Gives the timers of a domain in firing order.
    pub fn for_each(&self, domain: TimeDomain, mut each: impl FnMut(TimerRef<'_>)) {
        for ((timestamp, group), bucket) in &self.domain(domain).buckets {
            bucket.for_each(|(key, namespace)| {
                each(TimerRef {
                    timestamp: *timestamp,
                    group: *group,
                    key,
                    namespace,
                });
            });
        }
    }

    /// Removes all timers of one time and group.
    pub(crate) fn remove_all_at(&mut self, domain: TimeDomain, timestamp: Timestamp, group: KeyGroup) {
        let timers = self.domain_mut(domain);
        if let Some(bucket) = timers.buckets.remove(&(timestamp, group)) {
            timers.count -= bucket.len();
        }
    }

    /// The places of a domain's timers by group, each in firing order: what [`TimerQueue::for_each_at`] takes.
    pub(crate) fn places(&self, domain: TimeDomain) -> impl Iterator<Item = (Timestamp, KeyGroup)> {
        self.domain(domain).buckets.keys().copied()
    }

    /// Gives the timers of one time and group in firing order.
    pub(crate) fn for_each_at<E>(
        &self,
        domain: TimeDomain,
        place: (Timestamp, KeyGroup),
        mut each: impl FnMut(TimerRef<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (timestamp, group) = place;
        let mut result = Ok(());
        if let Some(bucket) = self.domain(domain).buckets.get(&place) {
            bucket.for_each(|(key, namespace)| {
                if result.is_ok() {
                    result = each(TimerRef {
                        timestamp,
                        group,
                        key,
                        namespace,
                    });
                }
            });
        }
        result
    }

    fn domain(&self, domain: TimeDomain) -> &Timers {
        match domain {
            TimeDomain::Event => &self.event,
            TimeDomain::Processing => &self.processing,
        }
    }

    fn domain_mut(&mut self, domain: TimeDomain) -> &mut Timers {
        match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        }
    }
}

fn owned(timer: TimerRef<'_>) -> Timer {
    Timer {
        timestamp: timer.timestamp,
        group: timer.group,
        key: timer.key.into(),
        namespace: timer.namespace.into(),
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
        queue.register(TimeDomain::Event, &timer(1));
        queue.register(TimeDomain::Event, &timer(2));
        let due = queue.take_due(TimeDomain::Event, 5, 10);
        queue.register(TimeDomain::Event, &timer(2));
        queue.delete(TimeDomain::Event, &timer(2));
        queue.put_back(TimeDomain::Event, due.into_iter().skip(1));
        assert!(queue.is_empty());
    }

    #[test]
    fn timers_are_unique_and_come_in_order() {
        let mut queue = TimerQueue::default();
        for timestamp in [5, 1, 3, 1, 9] {
            queue.register(TimeDomain::Event, &timer(timestamp));
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
            queue.register(TimeDomain::Event, &timer(timestamp));
        }
        let due = queue.take_due(TimeDomain::Event, 3, 10);
        // The first fires: it deletes the second, registers itself anew and deletes a later one's namesake
        // of the other domain.
        assert!(!queue.delete(TimeDomain::Event, &timer(2)));
        queue.register(TimeDomain::Event, &timer(1));
        queue.delete(TimeDomain::Processing, &timer(3));
        queue.put_back(TimeDomain::Event, due.into_iter().skip(1));
        assert_eq!(queue.take_due(TimeDomain::Event, 3, 10), [timer(1), timer(3)]);
    }

    #[test]
    fn deleting_what_is_not_there_leaves_no_trace() {
        let mut queue = TimerQueue::default();
        queue.delete(TimeDomain::Event, &timer(1));
        queue.register(TimeDomain::Event, &timer(1));
        let due = queue.take_due(TimeDomain::Event, 0, 10);
        queue.put_back(TimeDomain::Event, due);
        assert_eq!(queue.take_due(TimeDomain::Event, 1, 10), [timer(1)]);
    }
}
