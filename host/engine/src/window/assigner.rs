//! Which windows an element belongs to (W1, W2).
//!
//! Times near the ends of `i64` stay within it: a window that would begin before or end behind is cut there.

use wasmill_model::batch::Batch;
use wasmill_model::row::RowRef;
use wasmill_model::time::Timestamp;

use super::bounds::Window;
use super::trigger::{EventTimeTrigger, NeverTrigger, ProcessingTimeTrigger, Trigger};
use crate::error::TaskError;
use crate::operator::OperatorContext;

/// Gives each element its windows.
pub trait WindowAssigner: Send {
    /// Whether windows end by watermarks; else by the clock.
    fn is_event_time(&self) -> bool;

    /// Whether windows of a key that meet become one.
    fn merges(&self) -> bool {
        false
    }

    /// The trigger of a job that names none.
    fn default_trigger(&self) -> Box<dyn Trigger>;

    /// Called once before all else.
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// Called once before the rows of a batch: an assigner of a component looks at all of them here.
    fn prepare(&mut self, batch: &Batch, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = (batch, context);
        Ok(())
    }

    /// Called once at an orderly end.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// Appends the windows of row `index` of that batch, in the order in which they are served.
    fn assign(
        &mut self,
        index: u32,
        row: RowRef<'_>,
        processing_time: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<(), TaskError>;
}

/// Which clock windows follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowTime {
    /// The timestamps of elements, and watermarks.
    Event,
    /// The host's clock.
    Processing,
}

impl WindowTime {
    /// The time by which an element gets its windows.
    pub(super) fn of(self, row: RowRef<'_>, processing_time: Timestamp) -> Result<Timestamp, TaskError> {
        match self {
            Self::Processing => Ok(processing_time),
            Self::Event => row.timestamp().ok_or_else(|| {
                TaskError::user(
                    "an element without a timestamp came to an event-time window: give the source a watermark strategy, or \
                     use processing time",
                )
            }),
        }
    }

    /// The trigger of windows that end by this clock.
    pub fn trigger(self) -> Box<dyn Trigger> {
        match self {
            Self::Event => Box::new(EventTimeTrigger),
            Self::Processing => Box::new(ProcessingTimeTrigger),
        }
    }
}

/// The start of the aligned window of a time, right for negative times; it may lie before the beginning of time.
pub fn window_start(time: Timestamp, offset: i64, size: i64) -> i128 {
    let past = match time.checked_sub(offset) {
        Some(shifted) => shifted.rem_euclid(size),
        None => (i128::from(time) - i128::from(offset)).rem_euclid(i128::from(size)) as i64,
    };
    i128::from(time) - i128::from(past)
}

/// A window cut at the ends of time.
pub(super) fn window(start: i128, size: i64) -> Window {
    let cut = |time: i128| time.clamp(i128::from(Timestamp::MIN), i128::from(Timestamp::MAX)) as Timestamp;
    Window::Time {
        start: cut(start),
        end: cut(start + i128::from(size)),
    }
}

/// Windows of one size, one after another.
pub struct Tumbling {
    /// Their clock.
    pub time: WindowTime,
    /// Size in ms, above 0.
    pub size: i64,
    /// Shift in ms, less than the size either way.
    pub offset: i64,
}

impl WindowAssigner for Tumbling {
    fn is_event_time(&self) -> bool {
        self.time == WindowTime::Event
    }

    fn default_trigger(&self) -> Box<dyn Trigger> {
        self.time.trigger()
    }

    fn assign(
        &mut self,
        _index: u32,
        row: RowRef<'_>,
        processing_time: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<(), TaskError> {
        let start = window_start(self.time.of(row, processing_time)?, self.offset, self.size);
        windows.push(window(start, self.size));
        Ok(())
    }
}

/// Windows of one size that begin a slide apart; the latest is served first.
pub struct Sliding {
    /// Their clock.
    pub time: WindowTime,
    /// Size in ms, above 0.
    pub size: i64,
    /// From one to the next, ms, above 0.
    pub slide: i64,
    /// Shift in ms, less than the slide either way.
    pub offset: i64,
}

impl WindowAssigner for Sliding {
    fn is_event_time(&self) -> bool {
        self.time == WindowTime::Event
    }

    fn default_trigger(&self) -> Box<dyn Trigger> {
        self.time.trigger()
    }

    fn assign(
        &mut self,
        _index: u32,
        row: RowRef<'_>,
        processing_time: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<(), TaskError> {
        let time = self.time.of(row, processing_time)?;
        let mut start = window_start(time, self.offset, self.slide);
        while start > i128::from(time) - i128::from(self.size) {
            windows.push(window(start, self.size));
            start -= i128::from(self.slide);
        }
        Ok(())
    }
}

/// How long a session stays open behind an element, in ms.
pub trait SessionGap: Send {
    /// Of this element; above 0.
    fn gap(&mut self, row: RowRef<'_>) -> Result<i64, TaskError>;
}

/// The same for every element.
pub struct FixedGap(pub i64);

impl SessionGap for FixedGap {
    fn gap(&mut self, _row: RowRef<'_>) -> Result<i64, TaskError> {
        Ok(self.0)
    }
}

/// Sessions: a window from an element to its gap's end; those that meet merge.
pub struct Session {
    /// Their clock.
    pub time: WindowTime,
    /// The gap of each element.
    pub gap: Box<dyn SessionGap>,
}

impl WindowAssigner for Session {
    fn is_event_time(&self) -> bool {
        self.time == WindowTime::Event
    }

    fn merges(&self) -> bool {
        true
    }

    fn default_trigger(&self) -> Box<dyn Trigger> {
        self.time.trigger()
    }

    fn assign(
        &mut self,
        _index: u32,
        row: RowRef<'_>,
        processing_time: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<(), TaskError> {
        let start = self.time.of(row, processing_time)?;
        let gap = self.gap.gap(row)?;
        if gap <= 0 {
            let message = format!("the session gap of an element is {gap} ms: it must be above 0");
            return Err(TaskError::user(message));
        }
        windows.push(Window::Time {
            start,
            end: start.saturating_add(gap),
        });
        Ok(())
    }
}

/// One window for all elements of a key.
pub struct Global;

impl WindowAssigner for Global {
    // As in Flink: no watermark makes an element late, and nothing is cleaned up.
    fn is_event_time(&self) -> bool {
        false
    }

    fn default_trigger(&self) -> Box<dyn Trigger> {
        Box::new(NeverTrigger)
    }

    fn assign(
        &mut self,
        _index: u32,
        _row: RowRef<'_>,
        _processing_time: Timestamp,
        windows: &mut Vec<Window>,
    ) -> Result<(), TaskError> {
        windows.push(Window::Global);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::row::RowHeader;

    use super::*;

    fn windows(assigner: &mut dyn WindowAssigner, timestamp: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut builder = BatchBuilder::default();
        builder.push(RowHeader::element(Some(timestamp)), b"", b"", b"");
        let batch = builder.finish();
        let mut windows = Vec::new();
        let row = batch.iter().next().unwrap();
        assigner.assign(0, row, 0, &mut windows).unwrap();
        windows.into_iter().map(Window::bounds).collect()
    }

    fn sliding(size: i64, slide: i64, offset: i64) -> Sliding {
        let time = WindowTime::Event;
        Sliding {
            time,
            size,
            slide,
            offset,
        }
    }

    #[test]
    fn tumbling_windows_are_aligned_to_the_epoch_also_before_it() {
        let mut tumbling = Tumbling {
            time: WindowTime::Event,
            size: 10,
            offset: 3,
        };
        assert_eq!(windows(&mut tumbling, 13), [(13, 23)]);
        assert_eq!(windows(&mut tumbling, 12), [(3, 13)]);
        assert_eq!(windows(&mut tumbling, -7), [(-7, 3)]);
        assert_eq!(windows(&mut tumbling, -8), [(-17, -7)]);
    }

    #[test]
    fn sliding_windows_come_latest_first_and_may_leave_gaps() {
        assert_eq!(windows(&mut sliding(10, 4, 0), 9), [(8, 18), (4, 14), (0, 10)]);
        assert_eq!(windows(&mut sliding(3, 10, 0), 2), [(0, 3)]);
        assert_eq!(windows(&mut sliding(3, 10, 0), 3), []);
    }

    #[test]
    fn an_element_without_a_timestamp_is_refused_in_event_time() {
        let mut builder = BatchBuilder::default();
        builder.push(RowHeader::element(None), b"", b"", b"");
        let batch = builder.finish();
        let row = batch.iter().next().unwrap();
        let error = sliding(1, 1, 0).assign(0, row, 0, &mut Vec::new()).unwrap_err();
        assert!(error.message.contains("watermark strategy"), "{error}");
    }

    proptest! {
        #[test]
        fn every_window_that_holds_an_element_is_assigned_once(
            time in prop_oneof![any::<i64>(), -100..100i64, Just(i64::MIN), Just(i64::MAX)],
            size in 1..50i64, slide in 1..50i64, offset in -49..50i64,
        ) {
            let offset = offset % slide;
            let found = windows(&mut sliding(size, slide, offset), time);
            let [time, size, slide, offset] = [time, size, slide, offset].map(i128::from);
            let first = (time - size - offset).div_euclid(slide) * slide + offset;
            let cut = |time: i128| time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            let mut expected: Vec<_> = (0..200)
                .map(|n| first + n * slide)
                .filter(|start| *start <= time && time < start + size)
                .map(|start| (cut(start), cut(start + size)))
                .rev()
                .collect();
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
    }
}
