//! The async function: `README.md` of `conformance` says what it does.

use super::bindings::exports::wasmill::function::async_function;
use super::bindings::wasmill::function::types::{Element, Error};
use super::bindings::wasmill::function::{collector, requests};
use super::{Component, text};

impl async_function::Guest for Component {
    fn invoke(e: Element) -> Result<(), Error> {
        let value = text(&e)?;
        let Some(urls) = value.strip_prefix("ask ") else {
            collector::emit(value.as_bytes());
            return Ok(());
        };
        for (number, url) in urls.split(' ').enumerate() {
            let headers = [("x-number".to_owned(), number.to_string())];
            requests::http("GET", url, &headers, b"", number.to_string().as_bytes());
        }
        Ok(())
    }

    fn complete(e: Element) -> Result<(), Error> {
        let mut retries = false;
        for index in 0..requests::request_count() {
            let continuation = String::from_utf8_lossy(&requests::continuation(index)).into_owned();
            let answer = match requests::response_status(index) {
                Ok(status) => {
                    let body = requests::response_body(index);
                    retries |= body == b"again";
                    let length = requests::response_header(index, "content-length").unwrap_or_default();
                    format!("{status} {length} {}", String::from_utf8_lossy(&body))
                }
                Err(error) => error.split(':').next().unwrap_or_default().to_owned(),
            };
            collector::emit(format!("{} {continuation} {answer}", text(&e)?.len()).as_bytes());
        }
        match retries {
            true => Err(Error::Retry("the service says so".to_owned())),
            false => Ok(()),
        }
    }

    fn timeout(e: Element) -> Result<(), Error> {
        let line = format!("{} timeout of {}", text(&e)?.len(), requests::request_count());
        collector::emit(line.as_bytes());
        Ok(())
    }
}
