//! Asks about each record, and passes it on once there is an answer; answers come in any order, and some fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use wasmill_engine::asynchronous::{
    Answer, AsyncFunction, Called, Outcome, Request, RequestClient, RequestClients, Response, UnderWay,
};
use wasmill_engine::error::TaskError;
use wasmill_engine::executor::Executor;
use wasmill_engine::operator::OperatorContext;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::row::{KIND_ELEMENT, RowHeader};

use crate::world::SimExecutor;

pub(super) struct Ask;

impl AsyncFunction for Ask {
    fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    /// Two requests one after the other: a checkpoint may come between them.
    fn call(&mut self, row: &Batch, _: &mut OperatorContext) -> Result<Called, TaskError> {
        let row = row.iter().next().unwrap();
        let mut emitted = BatchBuilder::default();
        let mut requests = Vec::new();
        let again = |continuation: &'static [u8]| Request {
            request: Bytes::copy_from_slice(row.value()),
            continuation: Bytes::from_static(continuation),
        };
        if row.kind() == KIND_ELEMENT {
            requests.push(again(b"first"));
        } else if row.extension().windows(5).any(|bytes| bytes == b"first") {
            requests.push(again(b"then"));
        } else {
            emitted.push(RowHeader::element(row.timestamp()), b"", row.value(), b"");
        }
        Ok(Called::Answered {
            emitted: vec![(0, emitted.finish())],
            requests,
        })
    }

    fn close(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Answers as blocking work of the simulated process: whenever the seed says so.
#[derive(Clone)]
pub(crate) struct Clients(pub(crate) Arc<SimExecutor>);

impl RequestClients for Clients {
    fn client(&self, _: &BTreeMap<String, Value>) -> Result<Arc<dyn RequestClient>, String> {
        Ok(Arc::new(self.clone()))
    }
}

impl RequestClient for Clients {
    fn perform(&self, request: Bytes, answer: Answer) -> UnderWay {
        let outcome = match self.0.random() % 4 {
            0 => Outcome::Failed,
            _ => Outcome::Status(200),
        };
        let work = move || {
            answer(Response {
                bytes: request,
                outcome,
            });
        };
        self.0.blocking("request".to_owned(), Box::new(work));
        UnderWay::default()
    }
}
