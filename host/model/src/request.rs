//! Requests of async functions and the answers to them, as bytes: the layout of `docs/frame.md`.
//!
//! Invariant: whatever a guest wrote is read without a panic, and what is wrong with it is said.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Of requests and answers.
const VERSION: u8 = 1;
/// Bytes before the head.
const PREFIX: usize = 8;
/// A request over HTTP.
const KIND_HTTP: u8 = 1;

/// The head of a request over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpRequest {
    /// `GET` where it is missing.
    #[serde(default = "get")]
    pub method: String,
    /// With scheme and host.
    pub url: String,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

fn get() -> String {
    "GET".to_owned()
}

/// The head of an answer: a status, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpResponse {
    /// Of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Names in lower case, and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Why there is no status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RequestError>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RequestError {
    /// `denied`, `invalid`, `failed`, `timeout` or `too-large`.
    pub code: String,
    /// For people: what happened and what to do.
    pub message: String,
}

/// The bytes of a request.
pub fn encode_request(head: &HttpRequest, body: &[u8]) -> Bytes {
    encode(head, body)
}

/// The bytes of an answer.
pub fn encode_response(head: &HttpResponse, body: &[u8]) -> Bytes {
    encode(head, body)
}

fn encode(head: &impl Serialize, body: &[u8]) -> Bytes {
    // Texts, numbers and lists of them are always JSON.
    let head = serde_json::to_vec(head).unwrap_or_default();
    let mut out = BytesMut::with_capacity(PREFIX + head.len() + body.len());
    out.put_slice(&[VERSION, KIND_HTTP, 0, 0]);
    out.put_u32_le(head.len() as u32);
    out.put_slice(&head);
    out.put_slice(body);
    out.freeze()
}

/// Head and body of a request; the error says what is wrong with the bytes.
pub fn decode_request(bytes: &Bytes) -> Result<(HttpRequest, Bytes), String> {
    let (head, body) = parts(bytes)?;
    let head = serde_json::from_slice(head).map_err(|error| format!("the head of a request: {error}"))?;
    Ok((head, body))
}

/// Head and body of an answer; no bytes at all are that of a request that was given up.
pub fn decode_response(bytes: &Bytes) -> Result<(HttpResponse, Bytes), String> {
    if bytes.is_empty() {
        let error = RequestError {
            code: "timeout".to_owned(),
            message: "the time of the element was over before there was an answer".to_owned(),
        };
        let head = HttpResponse {
            error: Some(error),
            ..HttpResponse::default()
        };
        return Ok((head, Bytes::new()));
    }
    let (head, body) = parts(bytes)?;
    let head = serde_json::from_slice(head).map_err(|error| format!("the head of an answer: {error}"))?;
    Ok((head, body))
}

fn parts(bytes: &Bytes) -> Result<(&[u8], Bytes), String> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(format!(
            "{} bytes are no request: it has at least {PREFIX}",
            bytes.len()
        ));
    };
    if prefix[0] != VERSION || prefix[1] != KIND_HTTP {
        return Err(format!(
            "version {} and kind {}: this host knows version {VERSION} and kind {KIND_HTTP}, HTTP",
            prefix[0], prefix[1]
        ));
    }
    let length = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]) as usize;
    if length > rest.len() {
        return Err(format!("a head of {length} bytes, and {} are left", rest.len()));
    }
    Ok((&rest[..length], bytes.slice(PREFIX + length..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_read_as_they_were_written() {
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: "https://example.org/".to_owned(),
            headers: vec![("accept".to_owned(), "text/plain".to_owned())],
        };
        let bytes = encode_request(&request, b"body\0");
        assert_eq!(
            decode_request(&bytes).unwrap(),
            (request, Bytes::from_static(b"body\0"))
        );
        let response = HttpResponse {
            status: Some(204),
            ..HttpResponse::default()
        };
        let bytes = encode_response(&response, b"");
        assert_eq!(decode_response(&bytes).unwrap(), (response, Bytes::new()));
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_is_wrong() {
        let whole = encode_request(
            &HttpRequest {
                method: get(),
                url: "http://a".to_owned(),
                headers: Vec::new(),
            },
            b"",
        );
        for end in 0..whole.len() {
            assert!(decode_request(&whole.slice(..end)).is_err(), "{end}");
        }
        let error = decode_request(&Bytes::from_static(&[2, 1, 0, 0, 0, 0, 0, 0])).unwrap_err();
        assert!(
            error.starts_with("version 2 and kind 1: this host knows"),
            "{error}"
        );
        let error = decode_request(&Bytes::from_static(b"\x01\x01\0\0\x02\0\0\0{}")).unwrap_err();
        assert!(error.contains("missing field `url`"), "{error}");
    }
}
