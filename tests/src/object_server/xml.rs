//! Google's XML API before `fake-gcs-server`, which knows it for reads, lists and deletions alone: uploads are handed on
//! as those of the JSON API, with their conditions.
//!
//! Invariant: what is stored, listed and refused is the server's doing; only the parts of an upload wait here until it is
//! complete.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;

/// Bytes of a request's or an answer's head at most.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// Uploads under way: their parts by number.
type Uploads = Arc<Mutex<BTreeMap<String, BTreeMap<u32, Vec<u8>>>>>;

/// Answers at an address of its own, as long as the process lives, and returns it: `host:port`.
pub(super) fn before(server: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let (server, uploads) = (server.to_owned(), Uploads::default());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (server, uploads) = (server.clone(), Arc::clone(&uploads));
            // A connection that fails is what the client sees of a server that is not there.
            std::thread::spawn(move || answer(&client, &server, &uploads));
        }
    });
    Ok(address)
}

/// A request, as far as it matters.
struct Request {
    /// Method, path with its query, version.
    line: [String; 3],
    /// Names in small letters.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The status line and headers of an answer to an upload, and its body.
type Answer = (&'static str, Vec<(&'static str, String)>, String);

/// One request a connection: so nobody waits for the next.
fn answer(client: &TcpStream, server: &str, uploads: &Uploads) -> Result<()> {
    let request = read(client)?;
    let (path, query) = request.line[1].split_once('?').unwrap_or((&request.line[1], ""));
    let asked = |name: &str| {
        let mut pairs = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|pair| pair.0 == name).map(|pair| pair.1)
    };
    let mut all = uploads.lock().unwrap_or_else(PoisonError::into_inner);
    let (head, headers, body): Answer = match (&*request.line[0], asked("uploadId"), asked("partNumber")) {
        ("POST", None, None) if asked("uploads").is_some() => {
            let id = format!("upload-{}", all.len());
            all.insert(id.clone(), BTreeMap::new());
            let body = format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            );
            ("200 OK", Vec::new(), body)
        }
        ("PUT", Some(id), Some(number)) => {
            let parts = all.entry(id.to_owned()).or_default();
            parts.insert(number.parse()?, request.body);
            (
                "200 OK",
                vec![("ETag", format!("\"part-{number}\""))],
                String::new(),
            )
        }
        ("POST", Some(id), None) => {
            let parts = all.insert(id.to_owned(), BTreeMap::new()).unwrap_or_default();
            drop(all);
            let whole: Vec<u8> = parts.into_values().flatten().collect();
            let (head, headers, _) = upload(server, path, None, &whole)?;
            let body =
                "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>";
            (head, headers, body.to_owned())
        }
        ("DELETE", Some(id), None) => {
            all.insert(id.to_owned(), BTreeMap::new());
            ("204 No Content", Vec::new(), String::new())
        }
        ("PUT", None, None) => {
            drop(all);
            let condition = request.header("x-goog-if-generation-match");
            upload(server, path, condition, &request.body)?
        }
        _ => {
            drop(all);
            return pass_on(client, server, &request);
        }
    };
    let mut out = format!(
        "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    let mut client = client;
    client.write_all((out + "\r\n" + &body).as_bytes())?;
    Ok(())
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.0 == name);
        found.map(|header| &*header.1)
    }
}

fn read(client: &TcpStream) -> Result<Request> {
    let mut from = BufReader::new(client).take(HEAD_BYTES_MAX);
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut word = || words.next().context("no request");
    let mut request = Request {
        line: [word()?, word()?, word()?],
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").map(str::parse).transpose()?;
    from.set_limit(length.unwrap_or(0));
    from.read_to_end(&mut request.body)?;
    Ok(request)
}

/// An upload by the JSON API: `path` is `/bucket/object`, encoded.
fn upload(server: &str, path: &str, condition: Option<&str>, content: &[u8]) -> Result<Answer> {
    let (bucket, object) = path
        .trim_start_matches('/')
        .split_once('/')
        .context("an upload names a bucket and an object")?;
    let mut url = format!("http://{server}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={object}");
    if let Some(generation) = condition {
        url += &format!("&ifGenerationMatch={generation}");
    }
    let mut answer = super::agent()
        .post(&url)
        .content_type("application/octet-stream")
        .send(content)?;
    Ok(match answer.status().as_u16() {
        200 => {
            let stored: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
            let field = |name: &str| stored[name].as_str().unwrap_or_default().to_owned();
            let headers = vec![
                ("ETag", format!("\"{}\"", field("etag"))),
                ("x-goog-generation", field("generation")),
            ];
            ("200 OK", headers, String::new())
        }
        412 => ("412 Precondition Failed", Vec::new(), String::new()),
        404 => ("404 Not Found", Vec::new(), String::new()),
        _ => ("500 Internal Server Error", Vec::new(), String::new()),
    })
}

/// The server reads it as it is.
fn pass_on(client: &TcpStream, server: &str, request: &Request) -> Result<()> {
    let mut out = format!(
        "{}\r\nHost: {server}\r\nConnection: close\r\n",
        request.line.join(" ")
    );
    let kept = |name: &str| !matches!(name, "host" | "connection");
    for (name, value) in request.headers.iter().filter(|(name, _)| kept(name)) {
        // The end of a range is a number of 64 bits with a sign to it, and a larger one no range.
        let value = match value.split_once('-') {
            Some((start, end)) if name == "range" && end.parse::<i64>().is_err() => format!("{start}-"),
            _ => value.clone(),
        };
        out += &format!("{name}: {value}\r\n");
    }
    let mut inside = TcpStream::connect(server)?;
    inside.write_all((out + "\r\n").as_bytes())?;
    inside.write_all(&request.body)?;
    let mut client = client;
    std::io::copy(&mut inside, &mut client)?;
    Ok(())
}
