//! A small HTTP service on loopback, for functions that ask for something.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Reply {
    /// After so long.
    pub pause: Duration,
    /// Status.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Reply {
    /// Status 200.
    pub fn ok(body: impl Into<String>) -> Self {
        Self {
            pause: Duration::ZERO,
            status: 200,
            body: body.into(),
        }
    }
}

/// What decides, by path and by how often it was asked for before.
type Answers = dyn Fn(&str, u32) -> Reply + Send + Sync;

/// Runs until the process ends.
#[derive(Clone)]
pub struct Service {
    /// Where it listens.
    pub address: String,
    asked: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    paths: BTreeMap<String, u32>,
    now: usize,
    most: usize,
}

impl Service {
    /// Starts one.
    pub fn start(answers: impl Fn(&str, u32) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let service = Self {
            address: listener.local_addr()?.to_string(),
            asked: Arc::default(),
        };
        let (served, answers): (_, Arc<Answers>) = (service.clone(), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, answers) = (served.clone(), answers.clone());
                std::thread::spawn(move || served.serve(stream, &*answers));
            }
        });
        Ok(service)
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> u32 {
        self.with(|asked| asked.paths.get(path).copied().unwrap_or_default())
    }

    /// The most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.with(|asked| asked.most)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Asked) -> R) -> R {
        f(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, mut stream: TcpStream, answers: &Answers) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let before = self.with(|asked| {
            asked.now += 1;
            asked.most = asked.most.max(asked.now);
            let count = asked.paths.entry(path.clone()).or_default();
            *count += 1;
            *count - 1
        });
        let reply = answers(&path, before);
        std::thread::sleep(reply.pause);
        self.with(|asked| asked.now -= 1);
        let answer = format!(
            "HTTP/1.1 {} OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
            reply.status,
            reply.body.len(),
            reply.body
        );
        // Whoever asked may be gone.
        let _ = stream.write_all(answer.as_bytes());
    }
}
