//! The sink that writes down what arrives with the line of a tape that caused it.
//!
//! Invariant: lines are in the order of arrival, and become visible as those of the file sink do: once.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use wasmill_checkpoint::handle::Committable;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::sink::{Commit, Sink, SinkGuarantee, SinkRecovery, SinkWriter};
use wasmill_engine::source::SourceSignal;
use wasmill_model::batch::{Batch, BatchBuilder};
use wasmill_model::function::Format;
use wasmill_model::id::CheckpointId;
use wasmill_model::row::{RowHeader, RowRef};
use wasmill_model::time::TimeSignal;

use crate::{files, settings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Directory of the part files, as of the file sink.
    path: String,
    /// The name of each input in the field `out`; empty or missing: it has none.
    #[serde(default)]
    outputs: Vec<String>,
    /// Whether watermarks and statuses are written too.
    #[serde(default)]
    signals: bool,
    /// Whether records are.
    #[serde(default = "yes")]
    records: bool,
}

fn yes() -> bool {
    true
}

/// Makes the sink.
pub fn sink(config: &Value, _format: Format) -> Result<Arc<dyn Sink>, String> {
    let settings: Settings = settings::read("tape", config)?;
    let files = files::sink(&serde_json::json!({ "path": settings.path }), Format::Raw)?;
    let names = settings.outputs.into_iter();
    let outputs = names.map(|name| match name.is_empty() {
        true => String::new(),
        false => format!(",\"out\":{}", Value::String(name)),
    });
    Ok(Arc::new(TapeSink {
        files,
        outputs: outputs.collect(),
        signals: settings.signals,
        records: settings.records,
    }))
}

struct TapeSink {
    files: Arc<dyn Sink>,
    /// By input: what its lines have after `at`.
    outputs: Arc<[String]>,
    signals: bool,
    records: bool,
}

impl Sink for TapeSink {
    fn writer(&self, runtime: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(Writer {
            files: self.files.writer(runtime)?,
            outputs: self.outputs.clone(),
            signals: self.signals,
            records: self.records,
            line: 0,
        }))
    }

    fn recover(&self, context: &SinkRecovery) -> Result<(), TaskError> {
        self.files.recover(context)
    }

    fn guarantee(&self) -> SinkGuarantee {
        self.files.guarantee()
    }
}

struct Writer {
    files: Box<dyn SinkWriter>,
    outputs: Arc<[String]>,
    signals: bool,
    records: bool,
    /// Of the step that is under way.
    line: u64,
}

impl Writer {
    /// `{"at":…,"out":…,"ts":…,` and the fields of the record.
    fn written(&self, input: u16, row: RowRef<'_>) -> Result<String, TaskError> {
        let fields = std::str::from_utf8(row.value()).ok();
        let fields = fields.and_then(|value| value.strip_prefix('{')?.strip_suffix('}'));
        let fields = fields.ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(row.value()).chars().take(200).collect();
            TaskError::user(format!("tape: a record that is no JSON object: {shown:?}"))
        })?;
        let mut text = format!("{{\"at\":{}", row.cause_line().unwrap_or(self.line));
        text.push_str(self.outputs.get(usize::from(input)).map_or("", String::as_str));
        if let Some(timestamp) = row.timestamp() {
            // Writing to a string cannot fail.
            let _ = write!(text, ",\"ts\":{timestamp}");
        }
        if !fields.is_empty() {
            text.push(',');
        }
        text.push_str(fields);
        text.push('}');
        Ok(text)
    }

    fn write_line(&mut self, text: &str) -> Result<(), TaskError> {
        let mut line = BatchBuilder::default();
        line.push(RowHeader::element(None), b"", text.as_bytes(), b"");
        self.files.write(&line.finish())
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &Batch) -> Result<(), TaskError> {
        self.write_from(0, batch)
    }

    fn write_from(&mut self, input: u16, batch: &Batch) -> Result<(), TaskError> {
        if !self.records {
            return Ok(());
        }
        let mut lines = BatchBuilder::with_capacity(batch.bytes().len() * 2);
        for row in batch {
            let text = self.written(input, row)?;
            lines.push(RowHeader::element(None), b"", text.as_bytes(), b"");
        }
        self.files.write(&lines.finish())
    }

    fn on_signal(&mut self, signal: SourceSignal) -> Result<(), TaskError> {
        let said = match signal {
            SourceSignal::Tick(tick) => {
                self.line = tick.line;
                return Ok(());
            }
            _ if !self.signals => return Ok(()),
            SourceSignal::Time(TimeSignal::Watermark(time)) => format!("\"watermark\":{time}"),
            SourceSignal::Time(TimeSignal::Idle) => "\"status\":\"idle\"".to_owned(),
            SourceSignal::Time(TimeSignal::Active) => "\"status\":\"active\"".to_owned(),
        };
        self.write_line(&format!("{{\"at\":{},{said}}}", self.line))
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError> {
        self.files.prepare_commit(checkpoint)
    }

    fn commit(&mut self, committable: &Committable) -> Result<Commit, TaskError> {
        self.files.commit(committable)
    }

    fn flush(&mut self) -> Result<(), TaskError> {
        self.files.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::runtime;
    use wasmill_model::element::Tick;
    use wasmill_model::row::{self, FLAG_EXTENSION};

    #[test]
    fn a_line_tells_cause_output_and_timestamp_in_the_order_of_arrival() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let config = serde_json::json!({"path": path, "outputs": ["", "side"], "signals": true});
        let mut writer = sink(&config, Format::Raw)
            .unwrap()
            .writer(&runtime(0, 1))
            .unwrap();
        let tick = Tick {
            step: 4,
            line: 4,
            processing_time: 0,
            moves_clock: false,
        };
        writer.on_signal(SourceSignal::Tick(tick)).unwrap();
        let mut rows = BatchBuilder::default();
        rows.push(RowHeader::element(None), b"", b"{\"a\":1}", b"");
        let mut header = RowHeader::element(Some(-3));
        header.flags |= FLAG_EXTENSION;
        rows.push(header, b"", b"{}", &row::cause(9));
        writer.write_from(1, &rows.finish()).unwrap();
        writer
            .on_signal(SourceSignal::Time(TimeSignal::Watermark(5)))
            .unwrap();
        writer.on_signal(SourceSignal::Time(TimeSignal::Idle)).unwrap();
        let parts = writer.prepare_commit(CheckpointId(1)).unwrap();
        assert_eq!(parts.len(), 1);
        let file = std::fs::read_dir(directory.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(
            std::fs::read_to_string(file.path()).unwrap(),
            "{\"at\":4,\"out\":\"side\",\"a\":1}\n{\"at\":9,\"out\":\"side\",\"ts\":-3}\n\
             {\"at\":4,\"watermark\":5}\n{\"at\":4,\"status\":\"idle\"}\n"
        );
        let mut rows = BatchBuilder::default();
        rows.push(RowHeader::element(None), b"", b"[1]", b"");
        let error = writer.write(&rows.finish()).unwrap_err();
        assert!(error.message.contains("no JSON object"), "{error}");
    }
}
