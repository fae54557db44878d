//! Errors of `object_store` as one sentence, with what to do where that is known.
//!
//! Invariant: nothing of an answer's body is repeated but its code and message: servers put keys and what was
//! signed into the rest.

use std::error::Error as _;
use std::io;

use object_store::Error;

use super::remote::is_unanswered;

/// Codes by which servers say that the bucket or container is not there.
const CONTAINER_MISSING: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];

/// Whether not the file but what should hold it is missing.
pub(super) fn is_container_missing(error: &Error) -> bool {
    let text = error.to_string();
    CONTAINER_MISSING.iter().any(|code| text.contains(code))
}

/// Keeps the kind of the error that the system gave, wherever in the chain it is.
pub(super) fn to_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            let mend = "the server does not let the host in: check its credentials and what they may do";
            return io::Error::other(format!("{}; {mend}", said(&error)));
        }
        _ if is_container_missing(&error) => {
            let mend = "the bucket or container is not there: create it, or correct the URL";
            return io::Error::other(format!("{}; {mend}", said(&error)));
        }
        _ if is_unanswered(&error) => {
            let mend = "the server does not answer: check that it runs and that the endpoint is right";
            return io::Error::new(io::ErrorKind::TimedOut, format!("{}; {mend}", with_cause(&error)));
        }
        error => system_kind(error),
    };
    io::Error::new(kind, said(&error))
}

fn system_kind(error: &Error) -> io::ErrorKind {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(system) = inner.downcast_ref::<io::Error>() {
            return system.kind();
        }
        cause = inner.source();
    }
    io::ErrorKind::Other
}

/// The error on one line; of a body in XML or JSON only the code and the message.
fn said(error: &Error) -> String {
    let text = error.to_string();
    let Some(body) = text.find('<') else {
        return one_line(&text);
    };
    let (before, body) = text.split_at(body);
    let parts = ["Code", "Message"].map(|name| element(body, name));
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    one_line(&format!("{before}{}", parts.join(": ")))
}

/// With the innermost reason: `object_store` itself says only that the request failed.
fn with_cause(error: &Error) -> String {
    let mut last = None;
    let mut cause = error.source();
    while let Some(inner) = cause {
        last = Some(inner);
        cause = inner.source();
    }
    let said = said(error);
    match last.map(|inner| one_line(&inner.to_string())) {
        Some(reason) if !said.contains(&reason) => format!("{said}: {reason}"),
        _ => said,
    }
}

fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    Some(after.split_once("</")?.0)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says what to do where that is known.
pub(super) fn with_mend(error: io::Error) -> io::Error {
    let mend = match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full: free space, or put checkpoints elsewhere",
        io::ErrorKind::QuotaExceeded => "the quota is used up: raise it, or put checkpoints elsewhere",
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: mount it for writing, or put checkpoints elsewhere"
        }
        io::ErrorKind::PermissionDenied => {
            "the host may not write there: give it the right, or put checkpoints elsewhere"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file stands where a directory is needed: move it away"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {mend}"))
}
