//! The events of the Nexmark benchmark: persons, auctions and bids in the standard proportions of 1 : 3 :
//! 46, as JSON objects with one of the fields `person`, `auction`, `bid`.
//!
//! Every event is a function of the seed and its number. Names, proportions and the hot keys (half of
//! the auctions and bidders are the newest of each hundred) are those of the published generator.

mod event;

use std::sync::Arc;

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
use crate::shard::{RateLimit, Shards};
use event::Generator;

/// A poll gives up the thread after so many bytes.
const POLL_BYTES: usize = 64 * 1024;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// How many events; none: no end.
    #[serde(default)]
    events: Option<u64>,
    /// Events a second of the whole job; none: as fast as it goes.
    #[serde(default)]
    rate: Option<f64>,
    /// Of the random choices.
    #[serde(default)]
    seed: u64,
    /// Event time of the first event, ms since the epoch.
    #[serde(default)]
    base_time: Timestamp,
    /// Events in one second of event time.
    #[serde(default = "events_per_second")]
    events_per_second: u64,
}

fn events_per_second() -> u64 {
    10_000
}

/// Makes the source.
pub fn source(config: &Value, format: Format) -> Result<Arc<dyn Source>, String> {
    let settings: Settings = settings::read("nexmark", config)?;
    if !Format::Json.fits(format) {
        return Err(format!(
            "`nexmark` emits JSON, not {format:?}: set `format: json`"
        ));
    }
    if settings.events_per_second == 0 {
        return Err("settings of `nexmark`: `events-per-second` must be above 0".to_owned());
    }
    if settings.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        return Err("settings of `nexmark`: `rate` must be above 0; leave it out for no limit".to_owned());
    }
    Ok(Arc::new(Nexmark { settings }))
}

struct Nexmark {
    settings: Settings,
}

impl Source for Nexmark {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        let Settings {
            seed,
            base_time,
            events_per_second,
            ..
        } = self.settings;
        Ok(Box::new(Reader {
            shards: Shards::new(runtime, self.settings.events.unwrap_or(u64::MAX), restored)?,
            limit: RateLimit::new(self.settings.rate, runtime),
            generator: Generator {
                seed,
                base_time,
                events_per_second,
            },
            value: Vec::new(),
        }))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        self.settings.events.is_some()
    }
}

struct Reader {
    shards: Shards,
    limit: RateLimit,
    generator: Generator,
    value: Vec<u8>,
}

impl SourceReader for Reader {
    fn poll(
        &mut self,
        now: Timestamp,
        rows_max: u32,
        out: &mut BatchBuilder,
    ) -> Result<SourceStatus, TaskError> {
        let allowed = match self.limit.allowance(now, rows_max) {
            Ok(allowed) => allowed,
            Err(again) => return Ok(SourceStatus::WaitUntil(again)),
        };
        let (end, mut given) = (out.len() + POLL_BYTES, 0);
        while given < u64::from(allowed) && out.len() < end {
            let Some(number) = self.shards.next() else {
                self.limit.take(given);
                return Ok(SourceStatus::Finished);
            };
            self.value.clear();
            let timestamp = self.generator.write(number, &mut self.value);
            out.push(RowHeader::element(Some(timestamp)), b"", &self.value, b"");
            given += 1;
        }
        self.limit.take(given);
        Ok(SourceStatus::More)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(self.shards.snapshot())
    }
}
