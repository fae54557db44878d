//! Lines from a TCP connection, as `nc -l` gives them. Not replayable: what was read before a failure
//! is gone, so a job that reads a socket is at most once.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::source::{Source, SourceReader, SourceStatus};
use wasmill_model::batch::BatchBuilder;
use wasmill_model::function::Format;
use wasmill_model::id::CheckpointId;
use wasmill_model::row::RowHeader;
use wasmill_model::time::Timestamp;

use crate::settings;

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at a connection that is silent, ms.
const POLL_INTERVAL_MS: Timestamp = 5;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// To connect to.
    host: String,
    /// To connect to.
    port: u16,
    /// Longest line.
    #[serde(default = "record_bytes_max")]
    record_bytes_max: usize,
}

fn record_bytes_max() -> usize {
    1 << 20
}

/// Makes the source.
pub fn source(config: &Value, _format: Format) -> Result<Arc<dyn Source>, String> {
    Ok(Arc::new(Socket {
        settings: settings::read("socket", config)?,
    }))
}

struct Socket {
    settings: Settings,
}

impl Source for Socket {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        _restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        // One connection: the other subtasks have nothing to read.
        let stream = if runtime.subtask_index == 0 {
            Some(connect(&self.settings)?)
        } else {
            None
        };
        Ok(Box::new(Reader {
            stream,
            settings: self.settings.clone(),
            buffer: Vec::new(),
            scanned: 0,
        }))
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

fn connect(settings: &Settings) -> Result<TcpStream, TaskError> {
    let target = format!("{}:{}", settings.host, settings.port);
    let fail = |e: std::io::Error| {
        TaskError::external(format!(
            "socket {target}: {e}: is a server listening there (`nc -lk {}`)?",
            settings.port
        ))
    };
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (settings.host.as_str(), settings.port)
        .to_socket_addrs()
        .map_err(fail)?
    {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nonblocking(true).map_err(fail)?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(fail(last))
}

struct Reader {
    stream: Option<TcpStream>,
    settings: Settings,
    /// Bytes that are no whole line yet.
    buffer: Vec<u8>,
    /// How far `buffer` holds no line end.
    scanned: usize,
}

impl Reader {
    /// Takes whole lines out of the buffer; says whether more may be in it.
    fn take_lines(&mut self, rows_max: u32, out: &mut BatchBuilder) -> bool {
        let (mut start, first) = (0, out.rows());
        while let Some(end) = memchr::memchr(b'\n', &self.buffer[self.scanned.max(start)..]) {
            let end = self.scanned.max(start) + end;
            push_line(&self.buffer[start..end], out);
            start = end + 1;
            self.scanned = start;
            if out.rows() - first >= rows_max {
                self.drop_front(start);
                return true;
            }
        }
        self.drop_front(start);
        self.scanned = self.buffer.len();
        false
    }

    fn drop_front(&mut self, start: usize) {
        self.buffer.drain(..start);
        self.scanned = self.scanned.saturating_sub(start);
    }
}

fn push_line(line: &[u8], out: &mut BatchBuilder) {
    out.push(
        RowHeader::element(None),
        b"",
        line.strip_suffix(b"\r").unwrap_or(line),
        b"",
    );
}

impl SourceReader for Reader {
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError> {
        if self.take_lines(rows_max, out) {
            return Ok(SourceStatus::More);
        }
        let Some(stream) = &mut self.stream else {
            return Ok(SourceStatus::Finished);
        };
        let held = self.buffer.len();
        if held > self.settings.record_bytes_max {
            return Err(TaskError::user(format!(
                "socket: a line is longer than `record-bytes-max` = {}: raise it if such lines are meant",
                self.settings.record_bytes_max
            )));
        }
        self.buffer.resize(held + READ_BYTES, 0);
        let result = stream.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + result.as_ref().copied().unwrap_or(0));
        match result {
            Ok(0) => {
                self.stream = None;
                if !self.buffer.is_empty() {
                    push_line(&std::mem::take(&mut self.buffer), out);
                }
                Ok(SourceStatus::Finished)
            }
            Ok(_) => {
                self.take_lines(rows_max, out);
                Ok(SourceStatus::More)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(SourceStatus::WaitUntil(now + POLL_INTERVAL_MS))
            }
            Err(e) => {
                let Settings { host, port, .. } = &self.settings;
                Err(TaskError::external(format!(
                    "socket {host}:{port}: reading failed: {e}"
                )))
            }
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;
    use crate::shard::tests::runtime;

    #[test]
    fn lines_arrive_whole_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let source = source(
            &serde_json::json!({"host": "127.0.0.1", "port": port}),
            Format::Lines,
        )
        .unwrap();
        let mut reader = source.reader(&runtime(0, 1), None).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let writer = std::thread::spawn(move || {
            for part in ["on", "e\r\ntw", "o\n\nlast"] {
                peer.write_all(part.as_bytes()).unwrap();
                peer.flush().unwrap();
            }
        });
        let mut out = BatchBuilder::default();
        while reader.poll(0, 2, &mut out).unwrap() != SourceStatus::Finished {}
        writer.join().unwrap();
        let values: Vec<_> = out
            .finish()
            .iter()
            .map(|r| String::from_utf8(r.value().to_vec()).unwrap())
            .collect();
        assert_eq!(values, ["one", "two", "", "last"]);
    }

    #[test]
    fn a_port_where_nobody_listens_is_named() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let source = source(
            &serde_json::json!({"host": "127.0.0.1", "port": port}),
            Format::Lines,
        )
        .unwrap();
        let error = source.reader(&runtime(0, 1), None).err().unwrap().to_string();
        assert!(
            error.contains(&format!("socket 127.0.0.1:{port}")) && error.contains("nc -lk"),
            "{error}"
        );
    }
}
