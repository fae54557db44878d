//! The triggers that fire early, again and again, until the window's end.
//!
//! As in Flink the first firing of a negative time is an interval late, for its remainder rounds toward 0, and a
//! firing may have nothing new to say.

use wasmill_model::time::{Timestamp, WATERMARK_END};
use wasmill_state::timers::TimeDomain;

use super::time::at_end;
use super::{Trigger, TriggerContext, TriggerResult, merge_numbers, number, set_number};
use crate::error::TaskError;
use crate::window::element::Element;

const FIRE_TIME: usize = 0;

/// Fires at multiples of the interval by watermarks, at the window's end, and with every element behind that.
pub struct ContinuousEventTimeTrigger {
    /// In ms; above 0.
    pub interval: i64,
}

impl Trigger for ContinuousEventTimeTrigger {
    fn slots(&self) -> Vec<&'static str> {
        vec!["trigger-fire-time"]
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_element(
        &mut self,
        element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let end = context.window().max_timestamp();
        if end <= context.watermark() {
            return Ok(TriggerResult::Fire);
        }
        context.register_timer(TimeDomain::Event, end);
        if number(context, FIRE_TIME)?.is_none() {
            let time = element.timestamp.unwrap_or(Timestamp::MIN);
            register_next(
                TimeDomain::Event,
                time - time % self.interval,
                self.interval,
                context,
            )?;
        }
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        if at_end(time, context).fires() {
            return Ok(TriggerResult::Fire);
        }
        if number(context, FIRE_TIME)? != Some(time) {
            return Ok(TriggerResult::Continue);
        }
        // NOTE: a window without end would fire for ever at the end of input, as Flink's does: ours goes to the end.
        let endless =
            context.watermark() == WATERMARK_END && context.window().max_timestamp() == Timestamp::MAX;
        let interval = if endless { i64::MAX } else { self.interval };
        register_next(TimeDomain::Event, time, interval, context)?;
        Ok(TriggerResult::Fire)
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        merge(TimeDomain::Event, context)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        clear(TimeDomain::Event, context)
    }
}

/// Fires at multiples of the interval by the clock, and when a timer of the window's end comes.
pub struct ContinuousProcessingTimeTrigger {
    /// In ms; above 0.
    pub interval: i64,
}

impl Trigger for ContinuousProcessingTimeTrigger {
    fn slots(&self) -> Vec<&'static str> {
        vec!["trigger-fire-time"]
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_element(
        &mut self,
        _element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        if number(context, FIRE_TIME)?.is_none() {
            let now = context.processing_time();
            register_next(
                TimeDomain::Processing,
                now - now % self.interval,
                self.interval,
                context,
            )?;
        }
        Ok(TriggerResult::Continue)
    }

    fn on_processing_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        if at_end(time, context).fires() {
            return Ok(TriggerResult::Fire);
        }
        if number(context, FIRE_TIME)? != Some(time) {
            return Ok(TriggerResult::Continue);
        }
        register_next(TimeDomain::Processing, time, self.interval, context)?;
        Ok(TriggerResult::Fire)
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        merge(TimeDomain::Processing, context)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        clear(TimeDomain::Processing, context)
    }
}

fn register_next(
    domain: TimeDomain,
    time: Timestamp,
    interval: i64,
    context: &mut dyn TriggerContext,
) -> Result<(), TaskError> {
    let next = time
        .saturating_add(interval)
        .min(context.window().max_timestamp());
    set_number(context, FIRE_TIME, Some(next))?;
    context.register_timer(domain, next);
    Ok(())
}

fn merge(domain: TimeDomain, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
    merge_numbers(context, FIRE_TIME, i64::min)?;
    if let Some(next) = number(context, FIRE_TIME)? {
        context.register_timer(domain, next);
    }
    Ok(())
}

fn clear(domain: TimeDomain, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
    if let Some(next) = number(context, FIRE_TIME)? {
        context.delete_timer(domain, next);
        set_number(context, FIRE_TIME, None)?;
    }
    Ok(())
}
