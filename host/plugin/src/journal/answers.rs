//! Requests of async functions: what a call makes, and the answers that a later one reads.

use bytes::Bytes;
use wasmill_engine::asynchronous::Request;
use wasmill_model::function::FunctionKind;
use wasmill_model::request::{HttpResponse, decode_response};
use wasmill_model::row::EXTENSION_REQUEST;

use super::at_hand::RecordAtHand;
use super::scope::CallScope;
use crate::frame::cursor::{Cursor, Short};

/// Requests that one call may make.
pub const REQUESTS_PER_CALL_MAX: usize = 64;

/// A request of the element at hand.
#[derive(Debug)]
pub struct AnsweredRequest {
    /// As the function gave it.
    pub continuation: Vec<u8>,
    /// Status and headers, or why there are none.
    pub head: HttpResponse,
    /// Empty where there is no answer.
    pub body: Bytes,
}

impl CallScope {
    /// Makes a request.
    pub fn request(&mut self, request: Request) -> Result<(), String> {
        if self.description().kind != FunctionKind::Async {
            return Err(
                "a request of a function that is not async: declare kind `async`, which gets the answers"
                    .to_owned(),
            );
        }
        if self.requests.len() >= REQUESTS_PER_CALL_MAX {
            return Err(format!(
                "more than {REQUESTS_PER_CALL_MAX} requests for one element at once: make some of them when others are answered"
            ));
        }
        self.check_size("a request", request.request.len() + request.continuation.len())?;
        self.requests.push(request);
        Ok(())
    }

    /// Takes the requests of the call that has succeeded.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }
}

impl RecordAtHand {
    /// Reads the answers that the record's extension holds; the error is the host's own fault.
    pub fn read_answers(&mut self) -> Result<(), String> {
        self.answers.clear();
        let mut entries = Cursor::new(&self.extension);
        let short = |error: Short| error.to_string();
        while !entries.is_done() {
            let tag = entries.u16().map_err(short)?;
            let length = entries.u32().map_err(short)? as usize;
            let mut entry = Cursor::new(entries.take(length).map_err(short)?);
            if tag != EXTENSION_REQUEST {
                continue;
            }
            let continuation_len = entry.u32().map_err(short)? as usize;
            let continuation = entry.take(continuation_len).map_err(short)?.to_vec();
            let (head, body) = decode_response(&Bytes::copy_from_slice(entry.rest()))?;
            self.answers.push(AnsweredRequest {
                continuation,
                head,
                body,
            });
        }
        Ok(())
    }
}
