//! Where a record's timestamp comes from (T1, T3).

use wasmill_model::batch::Batch;
use wasmill_model::function::Format;
use wasmill_model::graph::TimeUnit;
use wasmill_model::time::Timestamp;

use crate::builtin::field::NumberReader;
use crate::error::TaskError;

/// Says the timestamps of records: a component or, in tests, native.
pub trait TimestampAssigner: Send {
    /// Appends the timestamp of each record, in order. What a record has already is in its row.
    fn assign(&mut self, rows: &Batch, out: &mut Vec<Timestamp>) -> Result<(), TaskError>;
}

/// All ways.
pub(crate) enum Timestamps {
    /// They have them.
    Record,
    /// Processing time.
    Ingestion,
    /// A field.
    Field(NumberReader, TimeUnit),
    /// A user's.
    Function(Box<dyn TimestampAssigner>),
}

impl Timestamps {
    /// Of a field of records of a format.
    pub(crate) fn field(name: &str, unit: TimeUnit, format: Format) -> Self {
        Self::Field(NumberReader::new(name, format), unit)
    }

    /// The batch with its timestamps, which are also put into `out`; `i64::MIN` for a record that has none.
    pub(crate) fn assign(
        &mut self,
        batch: Batch,
        now: Timestamp,
        out: &mut Vec<Timestamp>,
    ) -> Result<Batch, TaskError> {
        out.clear();
        match self {
            Self::Record => {
                out.extend(batch.iter().map(|row| row.timestamp().unwrap_or(Timestamp::MIN)));
                return Ok(batch);
            }
            Self::Ingestion => out.extend(batch.iter().map(|_| now)),
            Self::Field(reader, unit) => {
                for row in &batch {
                    let read = reader.read(row.value()).map_err(|error| error.0);
                    let millis = read.and_then(|number| to_millis(number, *unit));
                    out.push(millis.map_err(|error| {
                        let record: String = String::from_utf8_lossy(row.value()).chars().take(200).collect();
                        TaskError::user(format!("no timestamp: {error}; record {record:?}"))
                    })?);
                }
            }
            Self::Function(assigner) => {
                assigner.assign(&batch, out)?;
                if out.len() != batch.rows() as usize {
                    return Err(TaskError::user(format!(
                        "the timestamp assigner gave {} timestamps for {} records: it must give one for each",
                        out.len(),
                        batch.rows()
                    )));
                }
            }
        }
        Ok(batch.with_timestamps(out))
    }
}

/// Rounds down.
fn to_millis(number: i64, unit: TimeUnit) -> Result<Timestamp, String> {
    match unit {
        TimeUnit::Milliseconds => Ok(number),
        TimeUnit::Microseconds => Ok(number.div_euclid(1_000)),
        TimeUnit::Nanoseconds => Ok(number.div_euclid(1_000_000)),
        TimeUnit::Seconds => number
            .checked_mul(1_000)
            .ok_or_else(|| format!("{number} s are more milliseconds than 64 bits hold")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_model::batch::BatchBuilder;
    use wasmill_model::row::RowHeader;

    fn batch(records: &[(Option<Timestamp>, &str)]) -> Batch {
        let mut builder = BatchBuilder::default();
        for (timestamp, record) in records {
            builder.push(RowHeader::element(*timestamp), b"", record.as_bytes(), b"");
        }
        builder.finish()
    }

    fn assigned(timestamps: &mut Timestamps, batch: Batch) -> Result<Vec<Option<Timestamp>>, String> {
        let mut out = Vec::new();
        let batch = timestamps
            .assign(batch, 77, &mut out)
            .map_err(|e| e.to_string())?;
        Ok(batch.iter().map(|row| row.timestamp()).collect())
    }

    #[test]
    fn timestamps_come_from_the_record_the_clock_or_a_field() {
        let records = || batch(&[(Some(5), r#"{"t":-1500}"#), (None, r#"{"t":2}"#)]);
        let with = |mut timestamps| assigned(&mut timestamps, records()).unwrap();
        assert_eq!(with(Timestamps::Record), [Some(5), None]);
        assert_eq!(with(Timestamps::Ingestion), [Some(77), Some(77)]);
        let field = |unit| with(Timestamps::field("t", unit, Format::Json));
        assert_eq!(field(TimeUnit::Milliseconds), [Some(-1500), Some(2)]);
        assert_eq!(field(TimeUnit::Seconds), [Some(-1_500_000), Some(2_000)]);
        assert_eq!(field(TimeUnit::Microseconds), [Some(-2), Some(0)]);
        assert_eq!(field(TimeUnit::Nanoseconds), [Some(-1), Some(0)]);
    }

    #[test]
    fn a_record_without_a_usable_timestamp_is_named_with_the_reason() {
        let refused = |unit, record: &str| {
            let mut timestamps = Timestamps::field("t", unit, Format::Json);
            assigned(&mut timestamps, batch(&[(None, record)])).unwrap_err()
        };
        let error = refused(TimeUnit::Milliseconds, r#"{"u":1}"#);
        assert!(
            error.contains("no timestamp") && error.contains("no field `t`"),
            "{error}"
        );
        let error = refused(TimeUnit::Seconds, r#"{"t":9223372036854776}"#);
        assert!(error.contains("more milliseconds"), "{error}");
    }
}
