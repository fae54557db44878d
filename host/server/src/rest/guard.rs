//! Requests that a foreign web page makes a browser send are refused.
//!
//! Invariant: on a loopback address only a `Host` that is loopback is served (against DNS rebinding), and whatever
//! changes something, a GET that cancels included, is refused when `Origin` or `Sec-Fetch-Site` says that another site
//! asked (against cross-site request forgery).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use crate::host::Host;

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    loopback: bool,
}

impl Guard {
    /// For the address that a host serves.
    pub fn of(host: &Host) -> Self {
        Self {
            loopback: host.settings().bind_address.ip().is_loopback(),
        }
    }

    fn refusal(self, method: &Method, path: &str, headers: &HeaderMap) -> Option<String> {
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if self.loopback && !host.is_empty() && !is_loopback(host) {
            let host = host.escape_debug();
            return Some(format!(
                "the request's Host `{host}` is not this machine: use http://127.0.0.1 or http://localhost"
            ));
        }
        let reads =
            matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !path.contains("/yarn-");
        if reads {
            return None;
        }
        let own = |origin: &str| {
            origin
                .split_once("://")
                .is_some_and(|(_, authority)| authority == host)
        };
        if text(header::ORIGIN).is_some_and(|origin| !own(origin)) {
            return Some("the request comes from another site's page (Origin): only this host's own pages may change something".to_owned());
        }
        let site = headers
            .get("sec-fetch-site")
            .and_then(|value| value.to_str().ok());
        if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return Some("the request comes from another site's page (Sec-Fetch-Site): only this host's own pages may change something".to_owned());
        }
        None
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The middleware.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.refusal(request.method(), request.uri().path(), request.headers()) {
        Some(message) => ApiError {
            status: StatusCode::FORBIDDEN,
            message,
        }
        .into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, path: &str, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            (
                header::HeaderName::from_static(name),
                header::HeaderValue::from_str(value).unwrap(),
            )
        });
        Guard { loopback: true }
            .refusal(&method, path, &headers.collect())
            .is_some()
    }

    #[test]
    fn a_rebound_name_is_refused_and_loopback_names_are_not() {
        for host in [
            "localhost:8081",
            "127.0.0.1:8081",
            "127.1.2.3",
            "[::1]:8081",
            "LOCALHOST",
        ] {
            assert!(!refused(Method::GET, "/jobs", &[("host", host)]), "{host}");
        }
        for host in ["evil.example:8081", "127.0.0.1.evil.example", "10.0.0.1"] {
            assert!(refused(Method::GET, "/jobs", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn another_sites_page_may_read_nothing_into_being() {
        let host = ("host", "127.0.0.1:8081");
        let foreign = ("origin", "http://evil.example");
        assert!(refused(Method::POST, "/v1/jobs", &[host, foreign]));
        assert!(refused(Method::POST, "/v1/jobs", &[host, ("origin", "null")]));
        assert!(refused(
            Method::GET,
            "/jobs/0/yarn-cancel",
            &[host, ("sec-fetch-site", "cross-site")]
        ));
        assert!(!refused(
            Method::GET,
            "/jobs/0/yarn-cancel",
            &[host, ("sec-fetch-site", "same-origin")]
        ));
        assert!(!refused(
            Method::POST,
            "/v1/jobs",
            &[host, ("origin", "http://127.0.0.1:8081")]
        ));
        assert!(!refused(Method::PATCH, "/v1/jobs/0", &[host]));
    }
}
