//! A sink that prints records to the host's standard output, a line each; with several subtasks each
//! line starts with `subtask> `, from 1, as in Flink.

use std::io::{self, Write as _};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::RuntimeContext;
use wasmill_engine::sink::{Commit, Sink, SinkGuarantee, SinkRecovery, SinkWriter};
use wasmill_model::batch::Batch;
use wasmill_model::function::Format;
use wasmill_model::id::CheckpointId;

use crate::settings;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Put before every line, as `name:`.
    #[serde(default)]
    identifier: Option<String>,
    /// To standard error instead.
    #[serde(default)]
    standard_error: bool,
}

/// Makes the sink.
pub fn sink(config: &Value, _format: Format) -> Result<Arc<dyn Sink>, String> {
    Ok(Arc::new(Print {
        settings: settings::read("print", config)?,
    }))
}

struct Print {
    settings: Settings,
}

impl Sink for Print {
    fn writer(&self, runtime: &RuntimeContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let prefix = match (&self.settings.identifier, runtime.parallelism > 1) {
            (Some(name), true) => format!("{name}:{}> ", runtime.subtask_index + 1),
            (Some(name), false) => format!("{name}> "),
            (None, true) => format!("{}> ", runtime.subtask_index + 1),
            (None, false) => String::new(),
        };
        Ok(Box::new(Printer {
            prefix,
            standard_error: self.settings.standard_error,
            lines: Vec::new(),
        }))
    }

    fn recover(&self, _context: &SinkRecovery) -> Result<(), TaskError> {
        Ok(())
    }

    fn guarantee(&self) -> SinkGuarantee {
        SinkGuarantee::AtLeastOnce
    }
}

struct Printer {
    prefix: String,
    standard_error: bool,
    lines: Vec<u8>,
}

impl SinkWriter for Printer {
    fn write(&mut self, batch: &Batch) -> Result<(), TaskError> {
        self.lines.clear();
        for row in batch {
            self.lines.extend_from_slice(self.prefix.as_bytes());
            self.lines.extend_from_slice(row.value());
            self.lines.push(b'\n');
        }
        let result = if self.standard_error {
            io::stderr().lock().write_all(&self.lines)
        } else {
            let mut out = io::stdout().lock();
            out.write_all(&self.lines).and_then(|()| out.flush())
        };
        result.map_err(|e| TaskError::external(format!("print: standard output cannot be written: {e}")))
    }

    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> Result<Vec<(u32, Vec<u8>)>, TaskError> {
        Ok(Vec::new())
    }

    fn commit(
        &mut self,
        _committable: &wasmill_checkpoint::handle::Committable,
    ) -> Result<Commit, TaskError> {
        Ok(Commit::Already)
    }
}
