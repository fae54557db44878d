//! `requests` of `wit/`: what an async function of the typed family asks for, and the answers.

use bytes::Bytes;
use wasmill_engine::asynchronous::Request;
use wasmill_model::request::{HttpRequest, encode_request};

use super::generated::wasmill::function::requests;
use super::{Data, trap};
use crate::journal::answers::AnsweredRequest;

type Result<T> = wasmtime::Result<T>;

impl requests::Host for Data {
    fn http(
        &mut self,
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        continuation: Vec<u8>,
    ) -> Result<()> {
        self.host.count_call().map_err(trap)?;
        let head = HttpRequest { method, url, headers };
        let request = Request {
            request: encode_request(&head, &body),
            continuation: Bytes::from(continuation),
        };
        self.host
            .request(request)
            .map_err(|error| trap(format!("http: {error}")))
    }

    fn request_count(&mut self) -> Result<u32> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.record.answers.len() as u32)
    }

    fn continuation(&mut self, index: u32) -> Result<Vec<u8>> {
        Ok(answer(self, "continuation", index)?.continuation.clone())
    }

    fn response_status(&mut self, index: u32) -> Result<std::result::Result<u32, String>> {
        let head = &answer(self, "response-status", index)?.head;
        Ok(match (head.status, &head.error) {
            (Some(status), _) => Ok(u32::from(status)),
            (None, Some(error)) => Err(format!("{}: {}", error.code, error.message)),
            (None, None) => Err("failed: there is no answer".to_owned()),
        })
    }

    fn response_header(&mut self, index: u32, name: String) -> Result<Option<String>> {
        let headers = &answer(self, "response-header", index)?.head.headers;
        let found = headers.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, value)| value.clone()))
    }

    fn response_body(&mut self, index: u32) -> Result<Vec<u8>> {
        Ok(answer(self, "response-body", index)?.body.to_vec())
    }
}

fn answer<'a>(data: &'a mut Data, import: &str, index: u32) -> Result<&'a AnsweredRequest> {
    data.host.count_call().map_err(trap)?;
    let answers = &data.host.record.answers;
    answers.get(index as usize).ok_or_else(|| {
        trap(format!(
            "{import}: there is no request {index}; the element has {}",
            answers.len()
        ))
    })
}
