//! The event time of a source or of an `assign-timestamps`. What does not fit the records is left to the graph's
//! validation.

use wasmill_model::graph::{
    TimeUnit, TimestampSource, WatermarkAlignment, WatermarkGeneration, WatermarkStrategy,
};

use super::operator::Lowering;
use crate::job::error::JobFileError;
use crate::job::file::{TimeUnitName, TimestampFrom, WatermarkStrategyName, Watermarks};
use crate::job::units::DurationText;

impl Lowering<'_> {
    /// `field` is where it stands in the operator.
    pub(super) fn watermarks(
        &self,
        field: &str,
        given: &Watermarks,
    ) -> Result<WatermarkStrategy, JobFileError> {
        let generator = match (given.strategy, &given.generator, given.disorder) {
            (None, Some(call), None) => {
                let config = call.config.as_ref();
                WatermarkGeneration::Function(self.function_ref(field, &call.function, config)?)
            }
            (Some(WatermarkStrategyName::Bounded), None, Some(disorder)) => WatermarkGeneration::Bounded {
                disorder_ms: ms(disorder),
            },
            (Some(WatermarkStrategyName::Bounded), None, None) => {
                let message =
                    "`bounded` needs `disorder`: how far behind the highest timestamp a record may come";
                return Err(self.error(field, message));
            }
            (Some(_), None, Some(_)) | (None, Some(_), Some(_)) => {
                return Err(self.error(field, "`disorder` belongs to `bounded`: remove it"));
            }
            (Some(WatermarkStrategyName::Monotonous), None, None) => WatermarkGeneration::Monotonous,
            (Some(WatermarkStrategyName::None), None, None) => WatermarkGeneration::None,
            (Some(_), Some(_), _) | (None, None, _) => {
                let message = "say how watermarks are made: by a `strategy` (`bounded`, `monotonous` or `none`) or by a \
                               `generator` (`{function: plugin/function}`)";
                return Err(self.error(field, message));
            }
        };
        let alignment = given.alignment.as_ref().map(|alignment| WatermarkAlignment {
            group: alignment.group.clone().unwrap_or_else(|| "default".to_owned()),
            max_drift_ms: ms(alignment.max_drift),
            update_interval_ms: alignment.update_interval.map_or(1_000, ms),
        });
        Ok(WatermarkStrategy {
            timestamps: match &given.timestamp {
                None => TimestampSource::Record,
                Some(from) => self.timestamps(field, from)?,
            },
            generator,
            idle_after_ms: given.idle_after.map(ms),
            alignment,
        })
    }

    fn timestamps(&self, field: &str, from: &TimestampFrom) -> Result<TimestampSource, JobFileError> {
        if let (Some(function), None, None, None) = (&from.function, &from.field, from.ingestion, from.unit) {
            let function = self.function_ref(field, function, from.config.as_ref())?;
            return Ok(TimestampSource::Function(function));
        }
        let is_plain = from.function.is_none() && from.config.is_none();
        match (&from.field, from.ingestion, from.unit) {
            (Some(name), None, unit) if is_plain => Ok(TimestampSource::Field {
                name: name.clone(),
                unit: match unit {
                    None | Some(TimeUnitName::Ms) => TimeUnit::Milliseconds,
                    Some(TimeUnitName::S) => TimeUnit::Seconds,
                    Some(TimeUnitName::Us) => TimeUnit::Microseconds,
                    Some(TimeUnitName::Ns) => TimeUnit::Nanoseconds,
                },
            }),
            (None, Some(true), None) if is_plain => Ok(TimestampSource::Ingestion),
            _ => {
                let message = "`timestamp` takes `field` (and its `unit`), `ingestion: true` or `function` (and its `config`); \
                               leave it out where records have timestamps already";
                Err(self.error(field, message))
            }
        }
    }
}

fn ms(duration: DurationText) -> i64 {
    i64::try_from(duration.0).unwrap_or(i64::MAX)
}
