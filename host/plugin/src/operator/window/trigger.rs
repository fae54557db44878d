//! Triggers that are components (W4, W5).

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::window::element::Element;
use wasmill_engine::window::trigger::{Trigger, TriggerContext, TriggerResult};
use wasmill_model::row::{
    KIND_TRIGGER_CLEAR, KIND_TRIGGER_ELEMENT, KIND_TRIGGER_EVENT_TIME, KIND_TRIGGER_MERGE,
    KIND_TRIGGER_PROCESSING_TIME,
};
use wasmill_model::time::Timestamp;

use super::Part;
use super::rows::{OneRow, PaneRow, PaneValue};
use crate::operator::blueprint::Blueprint;

/// A component's trigger. Its state lies in the backend under the window's namespace, not in slots.
pub(crate) struct ComponentTrigger {
    part: Part,
    can_merge: bool,
    /// The operator's output for the first side output of the trigger.
    first_port: u16,
}

/// What is asked.
struct Question<'q> {
    kind: u8,
    time: Option<Timestamp>,
    element: Option<Element<'q>>,
}

impl ComponentTrigger {
    /// Of one subtask.
    pub(crate) fn new(blueprint: Arc<Blueprint>, first_port: u16) -> Self {
        Self {
            can_merge: blueprint.description().merges,
            part: Part::new(blueprint),
            first_port,
        }
    }

    fn ask(
        &mut self,
        question: &Question<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<Option<u8>, TaskError> {
        let (at, operator) = context.parts();
        let row = match question.element {
            Some(element) => PaneRow::element(question.kind, at.pane, element),
            None => PaneRow {
                timestamp: question.time,
                value: PaneValue::Panes(at.merged),
                ..PaneRow::bare(question.kind, at.pane)
            },
        };
        let rows = OneRow { row, panes: at.panes };
        let (mut answers, mut emitted) = (Vec::new(), Vec::new());
        self.part.call(&rows, operator, |_, port, row| {
            match port {
                0 => answers.push(row.value().to_vec()),
                side => emitted.push((side - 1, row.timestamp(), row.value().to_vec())),
            }
            Ok(())
        })?;
        for timer in self.part.take_timers() {
            match timer.register {
                true => context.register_timer(timer.domain, timer.timestamp),
                false => context.delete_timer(timer.domain, timer.timestamp),
            }
        }
        for (side, timestamp, value) in emitted {
            context.emit(self.first_port + side, timestamp, &value);
        }
        match answers[..] {
            [] => Ok(None),
            [ref one] if one.len() == 1 => Ok(Some(one[0])),
            _ => Err(self.part.lied("a trigger answers one row of one byte")),
        }
    }

    fn decide(
        &mut self,
        question: &Question<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        match self.ask(question, context)? {
            Some(0) => Ok(TriggerResult::Continue),
            Some(1) => Ok(TriggerResult::Fire),
            Some(2) => Ok(TriggerResult::Purge),
            Some(3) => Ok(TriggerResult::FireAndPurge),
            Some(other) => Err(self.part.lied(&format!(
                "there is no trigger result {other}: 0 continues, 1 fires, 2 purges, 3 does both"
            ))),
            None => Err(self.part.lied("the trigger gave no result")),
        }
    }

    fn tell(&mut self, kind: u8, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        let question = Question {
            kind,
            time: None,
            element: None,
        };
        match self.ask(&question, context)? {
            None => Ok(()),
            Some(_) => Err(self.part.lied("a result where none was asked for")),
        }
    }
}

impl Trigger for ComponentTrigger {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.part.open(None, context)
    }

    fn can_merge(&self) -> bool {
        self.can_merge
    }

    fn on_element(
        &mut self,
        element: Element<'_>,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let question = Question {
            kind: KIND_TRIGGER_ELEMENT,
            time: element.timestamp,
            element: Some(element),
        };
        self.decide(&question, context)
    }

    fn on_event_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let question = Question {
            kind: KIND_TRIGGER_EVENT_TIME,
            time: Some(time),
            element: None,
        };
        self.decide(&question, context)
    }

    fn on_processing_time(
        &mut self,
        time: Timestamp,
        context: &mut dyn TriggerContext,
    ) -> Result<TriggerResult, TaskError> {
        let question = Question {
            kind: KIND_TRIGGER_PROCESSING_TIME,
            time: Some(time),
            element: None,
        };
        self.decide(&question, context)
    }

    fn on_merge(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        self.tell(KIND_TRIGGER_MERGE, context)
    }

    fn clear(&mut self, context: &mut dyn TriggerContext) -> Result<(), TaskError> {
        self.tell(KIND_TRIGGER_CLEAR, context)
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.part.close(context)
    }
}
