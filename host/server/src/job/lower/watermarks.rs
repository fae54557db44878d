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
        let generator = match (given.strategy, given.disorder) {
            (WatermarkStrategyName::Bounded, Some(disorder)) => WatermarkGeneration::Bounded {
                disorder_ms: ms(disorder),
            },
            (WatermarkStrategyName::Bounded, None) => {
                let message =
                    "`bounded` needs `disorder`: how far behind the highest timestamp a record may come";
                return Err(self.error(field, message));
            }
            (_, Some(_)) => return Err(self.error(field, "`disorder` belongs to `bounded`: remove it")),
            (WatermarkStrategyName::Monotonous, None) => WatermarkGeneration::Monotonous,
            (WatermarkStrategyName::None, None) => WatermarkGeneration::None,
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
        match (&from.field, from.ingestion, from.unit) {
            (Some(name), None, unit) => Ok(TimestampSource::Field {
                name: name.clone(),
                unit: match unit {
                    None | Some(TimeUnitName::Ms) => TimeUnit::Milliseconds,
                    Some(TimeUnitName::S) => TimeUnit::Seconds,
                    Some(TimeUnitName::Us) => TimeUnit::Microseconds,
                    Some(TimeUnitName::Ns) => TimeUnit::Nanoseconds,
                },
            }),
            (None, Some(true), None) => Ok(TimestampSource::Ingestion),
            _ => {
                let message = "`timestamp` takes `field` (and its `unit`) or `ingestion: true`; leave it out where records \
                               have timestamps already";
                Err(self.error(field, message))
            }
        }
    }
}

fn ms(duration: DurationText) -> i64 {
    i64::try_from(duration.0).unwrap_or(i64::MAX)
}
