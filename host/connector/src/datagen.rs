//! Records from a template, at a rate or as fast as it goes: for trials and benchmarks.
//!
//! Every record is a function of its number and the seed, so a restored reader goes on with exactly
//! the records that an undisturbed run would have given.

mod template;

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
use template::{Expression, Template};

/// A poll gives up the thread after so many bytes.
const POLL_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Text with placeholders: `{i}` the record's number, `{h}` a hash of it, `{r}` a random number
    /// of seed and number; each with `%n` or `/n`.
    template: String,
    /// How many records; none: no end.
    #[serde(default)]
    rows: Option<u64>,
    /// Records a second of the whole job; none: as fast as it goes.
    #[serde(default)]
    rate: Option<f64>,
    /// For `{r}`.
    #[serde(default)]
    seed: u64,
    /// Event time in ms as a placeholder without braces, such as `i/100`; none: no timestamps.
    #[serde(default)]
    timestamp: Option<String>,
}

/// Makes the source.
pub fn source(config: &Value, _format: Format) -> Result<Arc<dyn Source>, String> {
    let settings: Settings = settings::read("datagen", config)?;
    if settings.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        return Err("settings of `datagen`: `rate` must be above 0; leave it out for no limit".to_owned());
    }
    let template =
        Template::parse(&settings.template).map_err(|e| format!("settings of `datagen`: `template`: {e}"))?;
    let timestamp = settings.timestamp.as_deref().map(Expression::parse).transpose();
    let timestamp = timestamp.map_err(|e| format!("settings of `datagen`: `timestamp`: {e}"))?;
    Ok(Arc::new(DataGenerator {
        settings,
        template,
        timestamp,
    }))
}

struct DataGenerator {
    settings: Settings,
    template: Template,
    timestamp: Option<Expression>,
}

impl Source for DataGenerator {
    fn reader(
        &self,
        runtime: &RuntimeContext,
        restored: Option<Vec<Vec<u8>>>,
    ) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(Reader {
            shards: Shards::new(runtime, self.settings.rows.unwrap_or(u64::MAX), restored)?,
            limit: RateLimit::new(self.settings.rate, runtime),
            template: self.template.clone(),
            timestamp: self.timestamp,
            seed: self.settings.seed,
        }))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn is_bounded(&self) -> bool {
        self.settings.rows.is_some()
    }
}

struct Reader {
    shards: Shards,
    limit: RateLimit,
    template: Template,
    timestamp: Option<Expression>,
    seed: u64,
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
        let end = out.len() + POLL_BYTES;
        let mut given = 0;
        while given < u64::from(allowed) && out.len() < end {
            let Some(number) = self.shards.next() else {
                self.limit.take(given);
                return Ok(SourceStatus::Finished);
            };
            let timestamp = self.timestamp.map(|e| e.evaluate(number, self.seed) as Timestamp);
            out.push_with(RowHeader::element(timestamp), |value| {
                self.template.render(number, self.seed, value);
            });
            given += 1;
        }
        self.limit.take(given);
        Ok(SourceStatus::More)
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Vec<u8>>, TaskError> {
        Ok(self.shards.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::runtime;

    fn read(config: Value) -> Vec<(Option<i64>, String)> {
        let source = source(&config, Format::Csv).unwrap();
        let mut reader = source.reader(&runtime(0, 1), None).unwrap();
        let mut out = BatchBuilder::default();
        while reader.poll(0, 3, &mut out).unwrap() != SourceStatus::Finished {}
        out.finish()
            .iter()
            .map(|r| (r.timestamp(), String::from_utf8(r.value().to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn records_follow_the_template_in_order() {
        let rows = read(serde_json::json!({"template": "u-{h%10},{i%2},{i/3}", "rows": 4, "timestamp": "i"}));
        let hash = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1) % 10;
        let expected: Vec<_> = (0..4u64)
            .map(|i| (Some(i as i64), format!("u-{},{},{}", hash(i), i % 2, i / 3)))
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn bad_settings_name_the_setting() {
        let error = |config: Value| source(&config, Format::Raw).err().unwrap();
        assert!(error(serde_json::json!({"template": "{x}"})).contains("`template`: `{x}`"));
        assert!(error(serde_json::json!({"template": "{i%0}"})).contains("0"));
        assert!(error(serde_json::json!({"template": "{i"})).contains("no `}`"));
        assert!(error(serde_json::json!({"template": "a", "rate": 0})).contains("`rate`"));
        assert!(error(serde_json::json!({"template": "a", "rats": 1})).contains("rats"));
        assert!(error(serde_json::json!({})).contains("template"));
    }
}
