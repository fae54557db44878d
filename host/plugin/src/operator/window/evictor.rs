//! Evictors that are components (W4).

use std::sync::Arc;

use wasmill_engine::error::TaskError;
use wasmill_engine::operator::OperatorContext;
use wasmill_engine::window::element::Element;
use wasmill_engine::window::evictor::{EvictionTime, Evictor, EvictorContext};
use wasmill_model::row::{KIND_EVICT_AFTER, KIND_EVICT_BEFORE};

use super::Part;
use super::rows::{OneRow, PaneRow, PaneValue};
use crate::operator::blueprint::Blueprint;

/// A component's evictor.
pub(crate) struct ComponentEvictor(Part);

impl ComponentEvictor {
    /// Of one subtask.
    pub(crate) fn new(blueprint: Arc<Blueprint>) -> Self {
        Self(Part::new(blueprint))
    }
}

impl Evictor for ComponentEvictor {
    fn open(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.0.open(None, context)
    }

    fn evict(
        &mut self,
        when: EvictionTime,
        elements: &[Element<'_>],
        keep: &mut [bool],
        context: &mut EvictorContext<'_>,
    ) -> Result<(), TaskError> {
        let kind = match when {
            EvictionTime::Before => KIND_EVICT_BEFORE,
            EvictionTime::After => KIND_EVICT_AFTER,
        };
        let rows = OneRow {
            row: PaneRow {
                timestamp: Some(context.panes.window(context.pane).max_timestamp()),
                value: PaneValue::Elements(elements),
                ..PaneRow::bare(kind, context.pane)
            },
            panes: context.panes,
        };
        let mut removed = Vec::new();
        self.0.call(&rows, context.operator, |_, _, row| {
            removed.extend_from_slice(row.value());
            Ok(())
        })?;
        let (indexes, rest) = removed.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(self
                .0
                .lied("an evictor answers numbers of elements, 4 bytes each"));
        }
        for index in indexes {
            let index = u32::from_le_bytes(*index);
            match keep.get_mut(index as usize) {
                Some(keep) => *keep = false,
                None => {
                    let message = format!(
                        "there is no element {index} among the {} of the window",
                        elements.len()
                    );
                    return Err(self.0.lied(&message));
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, context: &mut OperatorContext) -> Result<(), TaskError> {
        self.0.close(context)
    }
}
