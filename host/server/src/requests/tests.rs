//! Requests to a server on loopback that answers by the path.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use wasmill_engine::asynchronous::{Outcome, Response};
use wasmill_model::request::{HttpRequest, HttpResponse, decode_response, encode_request};

use super::*;

/// Serves each connection by the head of its one request.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let head = read_head(&mut stream);
                let _ = stream.write_all(&answer(&head));
            });
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn ok(headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
        .into_bytes()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .into_bytes()
}

fn client(grant: Value) -> Arc<dyn RequestClient> {
    let grants = BTreeMap::from([(GRANT_HTTP.to_owned(), grant)]);
    HttpClients::default().client(&grants).unwrap()
}

fn ask_as(client: &Arc<dyn RequestClient>, request: HttpRequest) -> (HttpResponse, Bytes, Outcome) {
    let (sender, receiver) = mpsc::channel::<Response>();
    let answer = Box::new(move |response| sender.send(response).unwrap());
    let _under_way = client.perform(encode_request(&request, b""), answer);
    let response = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
    let (head, body) = decode_response(&response.bytes).unwrap();
    (head, body, response.outcome)
}

fn ask(client: &Arc<dyn RequestClient>, url: String) -> (HttpResponse, Bytes, Outcome) {
    let request = HttpRequest {
        method: "GET".to_owned(),
        url,
        headers: vec![("authorization".to_owned(), "own".to_owned())],
    };
    ask_as(client, request)
}

fn error((head, _, outcome): (HttpResponse, Bytes, Outcome)) -> (String, String, Outcome) {
    let error = head.error.unwrap();
    (error.code, error.message, outcome)
}

#[test]
fn an_answer_comes_with_status_headers_and_body_and_the_job_adds_its_headers() {
    let address = serve(|head| ok("x-seen: yes\r\n", head));
    let client = client(json!({"hosts": [address.to_string()], "headers": {"x-token": "Secret"}}));
    let (head, body, outcome) = ask(&client, format!("http://{address}/a?b=c"));
    assert_eq!((head.status, outcome), (Some(200), Outcome::Status(200)));
    assert!(head.headers.contains(&("x-seen".to_owned(), "yes".to_owned())));
    let sent = String::from_utf8(body.to_vec()).unwrap();
    assert!(sent.starts_with("get /a?b=c http/1.1\r\n"), "{sent}");
    assert!(
        sent.contains("x-token: secret\r\n") && sent.contains("authorization: own\r\n"),
        "{sent}"
    );
}

#[test]
fn hosts_that_are_not_allowed_and_names_of_the_host_itself_are_denied() {
    let address = serve(|_| ok("", "reached"));
    let port = address.port();
    let client = client(json!({"hosts": ["api.example.org", format!("localhost:{port}")]}));
    let (code, message, outcome) = error(ask(&client, format!("http://{address}/")));
    assert_eq!((code.as_str(), outcome), ("denied", Outcome::Refused));
    assert!(
        message.contains(&format!("the job does not allow the host `{address}`")),
        "{message}"
    );
    let (code, message, _) = error(ask(&client, format!("http://localhost:{port}/")));
    assert_eq!(code, "denied");
    assert!(message.contains("the host `localhost` resolves to"), "{message}");
}

#[test]
fn redirects_go_to_allowed_hosts_alone_and_secrets_do_not_go_with_them() {
    let last = serve(|head| ok("", head));
    let first = serve(move |head| {
        let path = head.split(' ').nth(1).unwrap();
        match path {
            "/away" => redirect(&format!("http://{last}/x")),
            "/denied" => redirect("http://169.254.169.254/latest/meta-data"),
            "/file" => redirect("file:///etc/passwd"),
            "/here" => redirect("/there"),
            "/round" => redirect("/round"),
            _ => ok("", head),
        }
    });
    let hosts = [first.to_string(), last.to_string()];
    let client = client(json!({"hosts": hosts, "headers": {"x-token": "Secret"}}));
    let seen = |path: &str| {
        let (_, body, _) = ask(&client, format!("http://{first}{path}"));
        String::from_utf8(body.to_vec()).unwrap()
    };
    let away = seen("/away");
    assert!(
        away.starts_with("get /x ") && !away.contains("secret") && !away.contains("own"),
        "{away}"
    );
    let here = seen("/here");
    assert!(
        here.starts_with("get /there ") && here.contains("secret") && here.contains("own"),
        "{here}"
    );
    for (path, expected) in [
        ("/denied", "does not allow the host `169.254.169.254`"),
        ("/file", "the scheme `file` is not performed"),
        ("/round", "more than 5 redirects"),
    ] {
        let (_, message, outcome) = error(ask(&client, format!("http://{first}{path}")));
        assert_eq!(outcome, Outcome::Refused);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_answer_that_is_too_long_too_late_or_broken_off_is_an_error_of_its_request() {
    let address = serve(|head| match head.split(' ').nth(1).unwrap() {
        "/long" => ok("", &"x".repeat(101)),
        "/head" => ok(&format!("x: {}\r\n", "x".repeat(100_000)), ""),
        "/late" => {
            std::thread::sleep(Duration::from_secs(60));
            Vec::new()
        }
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort".to_vec(),
    });
    let client =
        client(json!({"hosts": [address.to_string()], "response-bytes-max": 100, "request-timeout-ms": 300}));
    let ask = |path: &str| error(ask(&client, format!("http://{address}{path}")));
    let (code, message, outcome) = ask("/long");
    assert_eq!((code.as_str(), outcome), ("too-large", Outcome::Refused));
    assert!(
        message.contains("more than 100 bytes: raise `response-bytes-max`"),
        "{message}"
    );
    let started = Instant::now();
    let (code, message, outcome) = ask("/late");
    assert_eq!((code.as_str(), outcome), ("timeout", Outcome::Failed));
    assert!(
        message.contains("within 300 ms") && started.elapsed() < Duration::from_secs(20),
        "{message}"
    );
    let (code, message, outcome) = ask("/broken");
    assert_eq!((code.as_str(), outcome), ("failed", Outcome::Failed), "{message}");
    // Whoever reads it first says so.
    let (code, message, _) = ask("/head");
    assert!(
        matches!(code.as_str(), "too-large" | "failed"),
        "{code}: {message}"
    );
}

#[test]
fn what_a_guest_writes_wrongly_is_told_to_it() {
    let client = client(json!({"hosts": ["127.0.0.1:1"]}));
    let request = |method: &str, url: &str, header: &str| HttpRequest {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: vec![(header.to_owned(), "x".to_owned())],
    };
    let url = "http://127.0.0.1:1/";
    for (request, expected) in [
        (request("CONNECT", url, "a"), "`CONNECT` is no method"),
        (request("G T", url, "a"), "`G T` is no method"),
        (request("GET", "no url", "a"), "the url `no url`"),
        (request("GET", url, "a b"), "the header `a b` cannot be sent"),
        (request("GET", url, "Host"), "the header `host` is the host's own"),
    ] {
        let (code, message, outcome) = error(ask_as(&client, request));
        assert_eq!((code.as_str(), outcome), ("invalid", Outcome::Refused));
        assert!(message.contains(expected), "{message}");
    }
    let (code, _, outcome) = error(ask(&client, url.to_owned()));
    assert_eq!(
        (code.as_str(), outcome),
        ("failed", Outcome::Failed),
        "nobody listens"
    );
}

#[test]
fn a_grant_that_is_none_is_refused() {
    let grants = BTreeMap::from([("files".to_owned(), json!({}))]);
    assert_eq!(
        check(&grants).unwrap_err(),
        "`files` is no grant of this host; there is: http"
    );
}
