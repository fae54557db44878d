//! Hands records on three at a time; those in between are operator state.

use wasmill_checkpoint::handle::{Base64Bytes, OperatorList, OperatorState};
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::{Operator, OperatorContext, OperatorSnapshot};
use wasmill_engine::output::Output;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::element::Barrier;
use wasmill_model::function::OperatorStateMode;

use super::{emit, text};

const HELD_MAX: usize = 3;

#[derive(Default)]
pub(super) struct Buffer {
    held: Vec<String>,
}

impl Buffer {
    fn hand_on(&mut self, results: &mut BatchBuilder) {
        self.held.drain(..).for_each(|record| emit(results, &record));
    }
}

impl Operator for Buffer {
    fn open(&mut self, _: &mut OperatorContext, restored: Option<OperatorState>) -> Result<(), TaskError> {
        let lists = restored.into_iter().flat_map(|state| state.lists);
        let elements = lists.flat_map(|list| list.elements);
        self.held.extend(elements.map(|element| text(&element.0)));
        Ok(())
    }

    fn process(
        &mut self,
        _: u16,
        batch: &Batch,
        _: &mut OperatorContext,
        out: &mut Output,
    ) -> Result<u32, TaskError> {
        let mut results = BatchBuilder::default();
        for row in batch {
            self.held.push(text(row.value()));
            if self.held.len() >= HELD_MAX {
                self.hand_on(&mut results);
            }
        }
        out.emit(0, results.finish());
        Ok(batch.rows())
    }

    fn snapshot(&mut self, _: &Barrier, _: &mut OperatorContext) -> Result<OperatorSnapshot, TaskError> {
        let elements = self
            .held
            .iter()
            .map(|record| Base64Bytes(record.clone().into_bytes()));
        let list = OperatorList {
            name: "held".to_owned(),
            mode: OperatorStateMode::List,
            elements: elements.collect(),
        };
        let state = OperatorState {
            lists: vec![list],
            ..OperatorState::default()
        };
        Ok(OperatorSnapshot { state, keyed: None })
    }

    fn on_end(&mut self, _: &mut OperatorContext, out: &mut Output) -> Result<(), TaskError> {
        let mut results = BatchBuilder::default();
        self.hand_on(&mut results);
        out.emit(0, results.finish());
        Ok(())
    }
}
