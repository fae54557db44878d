//! Requests over HTTP, which the host performs, and their answers: the bytes of `docs/frame.md`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Version 1 and kind 1, HTTP.
const PREFIX: [u8; 4] = [1, 1, 0, 0];
/// The extension of a row that holds a request and its answer.
const EXTENSION_REQUEST: u16 = 4;

/// A request over HTTP.
///
/// ```
/// # use wasmill_sdk::HttpRequest;
/// let request = HttpRequest::post("https://api.example.org/v1/items", r#"{"id": 7}"#)
///     .header("content-type", "application/json")
///     .continuation("first try");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    head: RequestHead,
    body: Vec<u8>,
    continuation: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RequestHead {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
}

impl HttpRequest {
    /// A request without a body. The job must allow the url's host.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            head: RequestHead {
                method: method.to_owned(),
                url: url.into(),
                headers: Vec::new(),
            },
            body: Vec::new(),
            continuation: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST with a body.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new("POST", url)
        }
    }

    /// Adds a header. Secrets are added by the job: `grants.http.headers`.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.head.headers.push((name.to_owned(), value.into()));
        self
    }

    /// What comes back with the answer, also after a restart: whatever the function has to remember of the record.
    pub fn continuation(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.continuation = bytes.into();
        self
    }

    /// Such as `GET`.
    pub fn method(&self) -> &str {
        &self.head.method
    }

    /// With scheme and host.
    pub fn url(&self) -> &str {
        &self.head.url
    }

    /// The continuation that was given.
    pub fn remembered(&self) -> &[u8] {
        &self.continuation
    }

    /// Reads what [`Self::write`] wrote, for tests.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn read(request: &[u8], continuation: &[u8]) -> Result<Self, String> {
        let (prefix, rest) = request
            .split_first_chunk::<8>()
            .ok_or("a request without a prefix")?;
        let length = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        let (head, body) = rest
            .split_at_checked(length as usize)
            .filter(|_| prefix[..4] == PREFIX)
            .ok_or("a request that is cut short, or of another version")?;
        Ok(Self {
            head: serde_json::from_slice(head).map_err(|error| error.to_string())?,
            body: body.to_vec(),
            continuation: continuation.to_vec(),
        })
    }

    /// Appends the entry of REQUESTS.
    pub(crate) fn write(&self, row: u32, out: &mut Vec<u8>) -> Result<()> {
        let head = serde_json::to_vec(&self.head)?;
        let request_len = 8 + head.len() + self.body.len();
        for number in [
            12 + request_len + self.continuation.len(),
            row as usize,
            request_len,
        ] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        out.extend_from_slice(&PREFIX);
        out.extend_from_slice(&(head.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.body);
        out.extend_from_slice(&self.continuation);
        Ok(())
    }
}

/// The answer to a request, or why there is none.
#[derive(Clone, Debug)]
pub struct HttpResponse<'f> {
    continuation: &'f [u8],
    head: ResponseHead,
    body: &'f [u8],
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ResponseHead {
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    error: Option<RequestError>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RequestError {
    /// `denied` (the job does not allow the host), `invalid` (the request makes no sense), `failed`, `timeout` or
    /// `too-large`. More may come.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
}

impl<'f> HttpResponse<'f> {
    /// What was given with the request.
    pub fn continuation(&self) -> &'f [u8] {
        self.continuation
    }

    /// The status, or why there is none. A status of 400 or more is an answer, too.
    pub fn status(&self) -> Result<u16, &RequestError> {
        match (&self.head.error, self.head.status) {
            (Some(error), _) => Err(error),
            (None, status) => Ok(status.unwrap_or_default()),
        }
    }

    /// A header by its name in lower case; the first of several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body; empty where there is no answer.
    pub fn body(&self) -> &'f [u8] {
        self.body
    }

    /// The body as text; a bad record where it is none.
    pub fn body_str(&self) -> Result<&'f str> {
        Ok(std::str::from_utf8(self.body)?)
    }

    /// Those of a row, in the order of their requests; the error says what is wrong with the row.
    pub(crate) fn of_row(extension: &'f [u8]) -> Result<Vec<Self>, String> {
        let mut rest = extension;
        let mut responses = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<6>() {
            let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
            let (body, tail) = tail
                .split_at_checked(length)
                .ok_or("an extension exceeds its row")?;
            rest = tail;
            if u16::from_le_bytes([head[0], head[1]]) == EXTENSION_REQUEST {
                responses.push(Self::read(body).ok_or("an answer that is cut short")??);
            }
        }
        Ok(responses)
    }

    fn read(entry: &'f [u8]) -> Option<Result<Self, String>> {
        let (length, entry) = entry.split_first_chunk::<4>()?;
        let (continuation, response) = entry.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        if response.is_empty() {
            let error = RequestError {
                code: "timeout".to_owned(),
                message: "the time of the record was over before there was an answer".to_owned(),
            };
            return Some(Ok(Self {
                continuation,
                head: ResponseHead {
                    error: Some(error),
                    ..ResponseHead::default()
                },
                body: &[],
            }));
        }
        let (prefix, rest) = response.split_first_chunk::<8>()?;
        if prefix[..2] != PREFIX[..2] {
            return Some(Err(format!(
                "an answer of version {} and kind {}: this SDK reads 1 and 1",
                prefix[0], prefix[1]
            )));
        }
        let length = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        let (head, body) = rest.split_at_checked(length as usize)?;
        let head = serde_json::from_slice(head).map_err(|error| format!("the head of an answer: {error}"));
        Some(head.map(|head| Self {
            continuation,
            head,
            body,
        }))
    }
}

impl From<&RequestError> for Error {
    /// No other attempt mends what is denied, invalid or too large.
    fn from(error: &RequestError) -> Self {
        let text = format!("{}: {}", error.code, error.message);
        match error.code.as_str() {
            "failed" | "timeout" => Self::Retry(text),
            _ => Self::Failed(text),
        }
    }
}
