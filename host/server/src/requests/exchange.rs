//! One request and its answer, redirects included.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;
use wasmill_engine::asynchronous::{Outcome, Response};
use wasmill_model::request::{HttpRequest, HttpResponse, RequestError, decode_request, encode_response};

use super::grant::{HttpGrant, REDIRECTS_MAX};
use super::resolver::{Inward, Resolver};

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection waits for another request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections to one host at most.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// Bytes of the head of an answer at most; hyper's least bound is 8 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request or an answer at most.
const HEADERS_MAX: usize = 128;

/// Headers that are the client's own: they say where a message ends and who is asked.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "proxy-authorization",
];
/// Headers that are for the origin that was asked first.
const HEADERS_OF_ORIGIN: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Performs requests of one operator.
pub(super) struct Exchange {
    grant: HttpGrant,
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

/// Why there is no answer.
struct Failure {
    code: &'static str,
    message: String,
    outcome: Outcome,
}

impl Failure {
    fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            outcome: Outcome::Refused,
        }
    }

    fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            ..Self::refused(code, message)
        }
    }
}

/// What is sent, to the first host and to those that it redirects to.
struct Message {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the job's own headers go with it.
    is_first_origin: bool,
}

impl Exchange {
    /// The error says what the system lacks.
    pub(super) fn new(grant: HttpGrant) -> Result<Self, String> {
        let mut http = HttpConnector::new_with_resolver(Resolver);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| format!("the system's certificates cannot be read: {error}"))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            // A guest's request is made once, unless the job says how often.
            .retry_canceled_requests(false)
            .build(https);
        Ok(Self { grant, client })
    }

    /// The answer, whatever becomes of the request.
    pub(super) async fn perform(&self, request: Bytes) -> Response {
        let timed = tokio::time::timeout(self.grant.request_timeout, self.follow(request)).await;
        let answered = timed.unwrap_or_else(|_| {
            let ms = self.grant.request_timeout.as_millis();
            Err(Failure::failed(
                "timeout",
                format!("there was no answer within {ms} ms"),
            ))
        });
        match answered {
            Ok((head, body)) => Response {
                bytes: encode_response(&head, &body),
                outcome: Outcome::Status(head.status.unwrap_or_default()),
            },
            Err(failure) => {
                let error = RequestError {
                    code: failure.code.to_owned(),
                    message: failure.message,
                };
                let head = HttpResponse {
                    error: Some(error),
                    ..HttpResponse::default()
                };
                Response {
                    bytes: encode_response(&head, &[]),
                    outcome: failure.outcome,
                }
            }
        }
    }

    async fn follow(&self, request: Bytes) -> Result<(HttpResponse, Bytes), Failure> {
        let (head, body) = decode_request(&request).map_err(|error| Failure::refused("invalid", error))?;
        let mut message = message(&head, body).map_err(|error| Failure::refused("invalid", error))?;
        for _ in 0..=REDIRECTS_MAX {
            self.grant
                .check(&message.url)
                .map_err(|error| Failure::refused("denied", error))?;
            let answer = self
                .client
                .request(self.request(&message)?)
                .await
                .map_err(|error| failure(&error))?;
            let (status, location) = (answer.status(), answer.headers().get("location").cloned());
            match location.filter(|_| is_redirect(status)) {
                None => return self.read(answer).await,
                Some(location) => message = redirected(message, status, &location)?,
            }
        }
        Err(Failure::refused(
            "failed",
            format!("more than {REDIRECTS_MAX} redirects: ask the last url itself"),
        ))
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, Failure> {
        let invalid = |error: String| Failure::refused("invalid", error);
        let uri: hyper::Uri = message
            .url
            .as_str()
            .parse()
            .map_err(|error| invalid(format!("the url: {error}")))?;
        let mut request = Request::new(Full::new(message.body.clone()));
        *request.method_mut() = message.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = message.headers.clone();
        if message.is_first_origin {
            for (name, value) in &self.grant.headers {
                let name = HeaderName::from_bytes(name.as_bytes());
                let value = HeaderValue::from_str(value);
                if let (Ok(name), Ok(mut value)) = (name, value) {
                    value.set_sensitive(true);
                    request.headers_mut().insert(name, value);
                }
            }
        }
        Ok(request)
    }

    async fn read(
        &self,
        answer: hyper::Response<hyper::body::Incoming>,
    ) -> Result<(HttpResponse, Bytes), Failure> {
        let (parts, mut body) = answer.into_parts();
        // hyper's own bound is on what it buffers, and one read may bring more.
        let head_bytes: usize = parts
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if head_bytes > HEAD_BYTES_MAX {
            let message =
                format!("the head of the answer has {head_bytes} bytes: {HEAD_BYTES_MAX} are taken");
            return Err(Failure::refused("too-large", message));
        }
        let max = self.grant.response_bytes_max;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Failure::failed("failed", format!("the answer broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if (bytes.len() + data.len()) as u64 > max {
                return Err(Failure::refused(
                    "too-large",
                    format!(
                        "the answer has more than {max} bytes: raise `response-bytes-max` of the operator's `grants.http`"
                    ),
                ));
            }
            bytes.extend_from_slice(&data);
        }
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let head = HttpResponse {
            status: Some(parts.status.as_u16()),
            headers: headers.collect(),
            error: None,
        };
        Ok((head, bytes.freeze()))
    }
}

/// What a guest wrote, checked; the error says what is wrong with it.
fn message(head: &HttpRequest, body: Bytes) -> Result<Message, String> {
    let method = Method::from_bytes(head.method.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or_else(|| format!("`{}` is no method that is performed", shown(&head.method)))?;
    let url = Url::parse(&head.url).map_err(|error| format!("the url `{}`: {error}", shown(&head.url)))?;
    if head.headers.len() > HEADERS_MAX {
        return Err(format!(
            "{} headers: a request has at most {HEADERS_MAX}",
            head.headers.len()
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        let wrong = || format!("the header `{}` cannot be sent", shown(name));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(format!("the header `{name}` is the host's own: leave it out"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        headers.append(name, value);
    }
    Ok(Message {
        method,
        url,
        headers,
        body,
        is_first_origin: true,
    })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The next request of a redirect; it is checked as the first one was.
fn redirected(mut message: Message, status: StatusCode, location: &HeaderValue) -> Result<Message, Failure> {
    let failed =
        |error: String| Failure::refused("failed", format!("a redirect that cannot be followed: {error}"));
    let location = location.to_str().map_err(|error| failed(error.to_string()))?;
    let url = message
        .url
        .join(location)
        .map_err(|error| failed(error.to_string()))?;
    if url.origin() != message.url.origin() {
        message.is_first_origin = false;
        HEADERS_OF_ORIGIN.iter().for_each(|name| {
            message.headers.remove(*name);
        });
    }
    let becomes_get = match status.as_u16() {
        303 => message.method != Method::HEAD,
        301 | 302 => message.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        message.method = Method::GET;
        message.body = Bytes::new();
        message.headers.remove("content-type");
    }
    message.url = url;
    Ok(message)
}

/// Why hyper could not get an answer.
fn failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    let mut messages = Vec::new();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && let Some(inward) = io.get_ref().and_then(|inner| inner.downcast_ref::<Inward>())
        {
            return Failure::refused("denied", inward.to_string());
        }
        messages.push(cause.to_string());
        source = cause.source();
    }
    messages.dedup();
    Failure::failed("failed", messages.join(": "))
}

/// A part of what a guest wrote, for an error.
fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
