//! How `object_store` speaks HTTP: by the hyper and rustls that the host has anyway.
//!
//! Invariant: every request ends within its time limit, the whole answer included; an answer that breaks off is an
//! error of the request, so that it is made again.

use std::error::Error;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpService,
};

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection waits for another request: less than servers usually do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes the clients of one store, which share their connections.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    request_timeout: Duration,
}

impl Connector {
    /// The error says what the system lacks.
    pub(super) fn new(request_timeout: Duration) -> Result<Self, String> {
        let mut tcp = TcpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(request_timeout)));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| format!("the system's certificates cannot be read: {error}"))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https);
        Ok(Self {
            client,
            request_timeout,
        })
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.client.request(request).await.map_err(|error| {
            let kind = match error.is_connect() {
                true => HttpErrorKind::Connect,
                false => kind_of(&error),
            };
            HttpError::new(kind, error)
        })?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| {
            // It was sent: whether it was done nobody knows.
            HttpError::new(HttpErrorKind::Interrupted, error)
        })?;
        Ok(HttpResponse::from_parts(head, body.to_bytes().into()))
    }
}

/// What became of a request that has no answer: whether it was sent at all.
fn kind_of(error: &(dyn Error + 'static)) -> HttpErrorKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_canceled()
        {
            return HttpErrorKind::Request;
        }
        cause = error.source();
    }
    HttpErrorKind::Interrupted
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if matches!(*request.method(), Method::PUT | Method::POST) {
            // Servers ask for it where the body is empty, and hyper then leaves it out.
            let length = request.body().content_length();
            let headers = request.headers_mut();
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        match tokio::time::timeout(self.request_timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(HttpError::new(HttpErrorKind::Timeout, elapsed)),
        }
    }
}
