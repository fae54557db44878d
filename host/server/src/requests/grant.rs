//! What a job grants to requests over HTTP. Pure.
//!
//! Invariant: an address is allowed only where the job names that address; a name with a star stands for names below
//! it, never for an address.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

/// Hosts of one grant at most.
const HOSTS_MAX: usize = 1_000;
/// Redirects that are followed at most.
pub(super) const REDIRECTS_MAX: u32 = 5;
/// Bytes of an answer's body where the job says nothing.
const RESPONSE_BYTES_DEFAULT: u64 = 1024 * 1024;
/// Bytes of an answer's body at most: it goes into the memory of a guest as a whole.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Time of a request where the job says nothing.
const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What a job allows.
#[derive(Clone)]
pub(super) struct HttpGrant {
    pub(super) hosts: Vec<AllowedHost>,
    /// Added to every request of the first origin.
    pub(super) headers: Vec<(String, String)>,
    pub(super) request_timeout: Duration,
    pub(super) response_bytes_max: u64,
}

/// As in a job file, with secrets resolved or not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    hosts: Vec<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, Value>,
    request_timeout_ms: Option<u64>,
    response_bytes_max: Option<u64>,
}

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllowedHost {
    pattern: Pattern,
    /// `None`: the usual one of the scheme.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// Names that end so; the dot is its first byte.
    Below(String),
    Address(IpAddr),
}

impl fmt::Debug for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "HttpGrant({:?}, headers {names:?})", self.hosts)
    }
}

impl HttpGrant {
    pub(super) fn parse(settings: &Value) -> Result<Self, String> {
        let settings: Settings = serde_json::from_value(settings.clone()).map_err(|error| {
            format!("{error}: `http` takes `hosts`, and `headers`, `request-timeout-ms` and `response-bytes-max` if need be")
        })?;
        if settings.hosts.is_empty() || settings.hosts.len() > HOSTS_MAX {
            return Err(format!(
                "`hosts` has {} entries: name 1 to {HOSTS_MAX} hosts, such as `api.example.org` or `*.example.org:8443`",
                settings.hosts.len()
            ));
        }
        let headers = settings.headers.into_iter().map(|(name, value)| {
            let Value::String(value) = value else {
                return Err(format!("the header `{}` is no text", name.escape_debug()));
            };
            let is_name = hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok();
            let is_value = hyper::header::HeaderValue::from_str(&value).is_ok();
            match (is_name, is_value) {
                (true, true) => Ok((name, value)),
                (false, _) => Err(format!("`{}` is no name of a header", name.escape_debug())),
                // IMPORTANT: the value may be a secret.
                (_, false) => Err(format!(
                    "the header `{name}` has a value with characters that no header may have"
                )),
            }
        });
        let bytes = settings.response_bytes_max.unwrap_or(RESPONSE_BYTES_DEFAULT);
        if bytes == 0 || bytes > RESPONSE_BYTES_MAX {
            return Err(format!(
                "`response-bytes-max` is {bytes}: it must be 1 to {RESPONSE_BYTES_MAX}"
            ));
        }
        if settings.request_timeout_ms == Some(0) {
            return Err("`request-timeout-ms` is 0: it must be 1 or more".to_owned());
        }
        Ok(Self {
            hosts: settings
                .hosts
                .iter()
                .map(|host| AllowedHost::parse(host))
                .collect::<Result<_, _>>()?,
            headers: headers.collect::<Result<_, _>>()?,
            request_timeout: settings
                .request_timeout_ms
                .map_or(REQUEST_TIMEOUT_DEFAULT, Duration::from_millis),
            response_bytes_max: bytes,
        })
    }

    /// Whether a request may go there; the error names the host and the mend.
    pub(super) fn check(&self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "the scheme `{}` is not performed: use http or https",
                url.scheme()
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "the url holds a user's name or password: send the header `authorization` instead".to_owned(),
            );
        }
        let Some(host) = url.host() else {
            return Err("the url has no host".to_owned());
        };
        let port = url.port_or_known_default().unwrap_or_default();
        let usual = matches!((url.scheme(), port), ("http", 80) | ("https", 443));
        if self
            .hosts
            .iter()
            .any(|allowed| allowed.matches(&host, port, usual))
        {
            return Ok(());
        }
        let shown = match usual {
            true => host.to_string(),
            false => format!("{host}:{port}"),
        };
        Err(format!(
            "the job does not allow the host `{shown}`: add it to `hosts` of the operator's `grants.http`, if it is to be asked"
        ))
    }
}

impl AllowedHost {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` in `hosts` is no host: write a name, `*.name` or an address, with `:port` if it is not the usual one",
                text.escape_debug()
            )
        };
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // The same rules as for the url of a request: letters in lower case, international names in ASCII.
        let url = Url::parse(&format!("http://{rest}")).map_err(|_| wrong())?;
        let is_plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty();
        if !is_plain || rest.contains(['/', '*', '@', ' ', '?', '#']) {
            return Err(wrong());
        }
        let pattern = match (url.host().ok_or_else(wrong)?, below) {
            (Host::Domain(name), true) => Pattern::Below(format!(".{name}")),
            (Host::Domain(name), false) => Pattern::Name(name.to_owned()),
            (Host::Ipv4(address), false) => Pattern::Address(address.into()),
            (Host::Ipv6(address), false) => Pattern::Address(address.into()),
            (_, true) => return Err(wrong()),
        };
        // The usual port of http vanishes from a url; here it was meant.
        let port = match url.port() {
            None if rest.ends_with(":80") => Some(80),
            port => port,
        };
        Ok(Self { pattern, port })
    }

    fn matches(&self, host: &Host<&str>, port: u16, usual: bool) -> bool {
        if !self.port.map_or(usual, |allowed| allowed == port) {
            return false;
        }
        match (&self.pattern, host) {
            (Pattern::Name(name), Host::Domain(given)) => name == given,
            (Pattern::Below(below), Host::Domain(given)) => {
                given.ends_with(below.as_str()) && given.len() > below.len()
            }
            (Pattern::Address(address), Host::Ipv4(given)) => *address == IpAddr::from(*given),
            (Pattern::Address(address), Host::Ipv6(given)) => *address == IpAddr::from(*given),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grant(hosts: &[&str]) -> HttpGrant {
        HttpGrant::parse(&json!({"hosts": hosts})).unwrap()
    }

    fn allows(grant: &HttpGrant, url: &str) -> bool {
        grant.check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn hosts_are_matched_by_name_below_a_name_and_by_address_each_with_its_port() {
        let grant = grant(&[
            "api.example.org",
            "*.example.com:8443",
            "127.0.0.1:8080",
            "[::1]",
            "Bücher.example:80",
        ]);
        for allowed in [
            "http://api.example.org/x",
            "https://API.example.org:443/",
            "https://a.b.example.com:8443/",
            "http://127.0.0.1:8080/",
            "http://0x7f.1:8080/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://xn--bcher-kva.example/",
        ] {
            assert!(allows(&grant, allowed), "{allowed}");
        }
        for denied in [
            "http://example.org/",
            "http://evil-api.example.org/",
            "http://api.example.org.evil.net/",
            "http://api.example.org:8080/",
            "https://example.com:8443/",
            "https://a.example.com/",
            "http://127.0.0.1/",
            "http://localhost:8080/",
            "http://127.0.0.2:8080/",
            "http://[::ffff:127.0.0.1]:8080/",
            "https://xn--bcher-kva.example/",
        ] {
            assert!(!allows(&grant, denied), "{denied}");
        }
    }

    #[test]
    fn a_denied_request_is_told_the_host_and_the_mend() {
        let grant = grant(&["a.example"]);
        let error = |url: &str| grant.check(&Url::parse(url).unwrap()).unwrap_err();
        assert_eq!(
            error("http://b.example:81/secret?x"),
            "the job does not allow the host `b.example:81`: add it to `hosts` of the operator's `grants.http`, if it is to \
             be asked"
        );
        assert!(error("ftp://a.example/").contains("the scheme `ftp` is not performed"));
        assert!(error("http://user:pw@a.example/").contains("send the header `authorization`"));
    }

    #[test]
    fn each_wrong_setting_is_named_with_its_mend_and_a_secret_is_not_shown() {
        let cases = [
            (json!({}), "missing field `hosts`"),
            (json!({"hosts": []}), "`hosts` has 0 entries: name 1 to 1000"),
            (json!({"hosts": ["a b"]}), "`a b` in `hosts` is no host"),
            (json!({"hosts": ["http://a"]}), "`http://a` in `hosts` is no host"),
            (json!({"hosts": ["*"]}), "`*` in `hosts` is no host"),
            (
                json!({"hosts": ["*.127.0.0.1"]}),
                "`*.127.0.0.1` in `hosts` is no host",
            ),
            (json!({"hosts": ["a.*.b"]}), "`a.*.b` in `hosts` is no host"),
            (json!({"hosts": ["a:99999"]}), "`a:99999` in `hosts` is no host"),
            (json!({"hosts": ["a"], "header": {}}), "unknown field `header`"),
            (
                json!({"hosts": ["a"], "headers": {"a b": "c"}}),
                "`a b` is no name of a header",
            ),
            (
                json!({"hosts": ["a"], "headers": {"a": 1}}),
                "the header `a` is no text",
            ),
            (
                json!({"hosts": ["a"], "headers": {"a": "hunter2\n"}}),
                "the header `a` has a value with characters",
            ),
            (
                json!({"hosts": ["a"], "response-bytes-max": 0}),
                "`response-bytes-max` is 0",
            ),
            (
                json!({"hosts": ["a"], "request-timeout-ms": 0}),
                "`request-timeout-ms` is 0",
            ),
        ];
        for (settings, expected) in cases {
            let error = HttpGrant::parse(&settings).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        let secret =
            HttpGrant::parse(&json!({"hosts": ["a"], "headers": {"authorization": "hunter2"}})).unwrap();
        assert_eq!(format!("{secret:?}").matches("hunter2").count(), 0);
    }
}
