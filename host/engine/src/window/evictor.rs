//! Which elements of a window a firing leaves out (W4).
//!
//! What an evictor removes is gone for good, also what it removes before the function runs.

use wasmill_model::time::Timestamp;

use super::element::Element;
use super::panes::{PaneId, Panes};
use super::trigger::DeltaFunction;
use crate::error::TaskError;
use crate::operator::OperatorContext;

/// When an evictor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionTime {
    /// Before the window function: it does not see what was removed.
    Before,
    /// After it: the next firing does not.
    After,
}

/// What an evictor knows of a firing, and works with.
pub struct EvictorContext<'c> {
    /// The key and the window that fires.
    pub pane: PaneId,
    /// Keys and windows.
    pub panes: &'c Panes,
    /// Clocks and metrics.
    pub operator: &'c mut OperatorContext,
}

/// Removes elements of a window that fires.
pub trait Evictor: Send {
    /// Called once before all else.
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }

    /// Says which elements stay: `keep` has one entry for each, true at first. They are in the order of arrival
    /// unless the window was merged. Called twice for each firing.
    fn evict(
        &mut self,
        when: EvictionTime,
        elements: &[Element<'_>],
        keep: &mut [bool],
        context: &mut EvictorContext<'_>,
    ) -> Result<(), TaskError>;

    /// Called once at an orderly end.
    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        let _ = context;
        Ok(())
    }
}

/// Keeps the last elements.
pub struct CountEvictor {
    /// How many.
    pub count: usize,
    /// When it runs.
    pub when: EvictionTime,
}

impl Evictor for CountEvictor {
    fn evict(
        &mut self,
        when: EvictionTime,
        elements: &[Element<'_>],
        keep: &mut [bool],
        _context: &mut EvictorContext<'_>,
    ) -> Result<(), TaskError> {
        if when == self.when {
            keep[..elements.len().saturating_sub(self.count)].fill(false);
        }
        Ok(())
    }
}

/// Keeps the elements newer than the newest minus a time. Without timestamps it keeps all.
pub struct TimeEvictor {
    /// In ms.
    pub size: i64,
    /// When it runs.
    pub when: EvictionTime,
}

impl Evictor for TimeEvictor {
    fn evict(
        &mut self,
        when: EvictionTime,
        elements: &[Element<'_>],
        keep: &mut [bool],
        _context: &mut EvictorContext<'_>,
    ) -> Result<(), TaskError> {
        let has_time = elements.first().is_some_and(|first| first.timestamp.is_some());
        if when != self.when || !has_time {
            return Ok(());
        }
        let time = |element: &Element<'_>| element.timestamp.unwrap_or(Timestamp::MIN);
        let newest = elements.iter().map(time).max().unwrap_or(Timestamp::MIN);
        let cutoff = newest.saturating_sub(self.size);
        for (element, keep) in elements.iter().zip(keep) {
            *keep = time(element) > cutoff;
        }
        Ok(())
    }
}

/// Removes the elements that are as far as the threshold from the last one, or further.
pub struct DeltaEvictor {
    /// The measure.
    pub function: Box<dyn DeltaFunction>,
    /// A distance that is not less removes.
    pub threshold: f64,
    /// When it runs.
    pub when: EvictionTime,
}

impl Evictor for DeltaEvictor {
    fn evict(
        &mut self,
        when: EvictionTime,
        elements: &[Element<'_>],
        keep: &mut [bool],
        _context: &mut EvictorContext<'_>,
    ) -> Result<(), TaskError> {
        let Some(last) = elements.last().filter(|_| when == self.when) else {
            return Ok(());
        };
        for (element, keep) in elements.iter().zip(keep) {
            let delta = self.function.delta(element.value, last.value)?;
            *keep = delta < self.threshold || delta.is_nan();
        }
        Ok(())
    }
}
