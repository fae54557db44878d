//! Requests of an async function in a test, and the answers that the test gives.

use super::encode::{FrameRow, RowKind};
use super::{Element, Harness};
use crate::error::Result;
use crate::http::HttpRequest;

impl Harness {
    /// The requests that the function has made, oldest first.
    pub fn take_requests(&mut self) -> Vec<HttpRequest> {
        std::mem::take(&mut self.requests)
    }

    /// All requests of a record are answered: each with a status and a body.
    pub fn complete(&mut self, value: &str, answers: &[(&HttpRequest, u16, &str)]) -> Result<()> {
        let answers = answers.iter().map(|(request, status, body)| {
            let head = format!(r#"{{"status":{status},"headers":[]}}"#);
            entry(request, Some((&head, body.as_bytes())))
        });
        self.answered(RowKind::Completion, value, answers.flatten().collect())
    }

    /// A request of a record has no answer, for that reason (see [`RequestError`](crate::RequestError)).
    pub fn fail(&mut self, value: &str, request: &HttpRequest, code: &str, message: &str) -> Result<()> {
        let head = serde_json::json!({"error": {"code": code, "message": message}}).to_string();
        self.answered(RowKind::Completion, value, entry(request, Some((&head, b""))))
    }

    /// The time of a record is over before its requests are answered.
    pub fn time_out(&mut self, value: &str, requests: &[HttpRequest]) -> Result<()> {
        let requests = requests.iter().flat_map(|request| entry(request, None));
        let answers = requests.collect();
        self.answered(RowKind::Timeout, value, answers)
    }

    fn answered(&mut self, kind: RowKind, value: &str, answers: Vec<u8>) -> Result<()> {
        let element = FrameRow::element(&Element {
            value: Some(value.as_bytes()),
            ..Element::default()
        });
        self.call(&[FrameRow {
            kind,
            answers,
            ..element
        }])
        .map(drop)
    }
}

fn entry(request: &HttpRequest, response: Option<(&str, &[u8])>) -> Vec<u8> {
    let continuation = request.remembered();
    let mut content = (continuation.len() as u32).to_le_bytes().to_vec();
    content.extend_from_slice(continuation);
    if let Some((head, body)) = response {
        content.extend_from_slice(&[1, 1, 0, 0]);
        content.extend_from_slice(&(head.len() as u32).to_le_bytes());
        content.extend_from_slice(head.as_bytes());
        content.extend_from_slice(body);
    }
    let mut entry = 4_u16.to_le_bytes().to_vec();
    entry.extend_from_slice(&(content.len() as u32).to_le_bytes());
    entry.append(&mut content);
    entry
}
