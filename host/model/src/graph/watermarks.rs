//! How a stream gets its event time (T1–T4), as a job declares it.

use serde::{Deserialize, Serialize};

use super::validate::{GraphError, error};
use super::{LogicalOperator, OperatorKind};
use crate::function::{Format, FunctionDescription, FunctionKind};

/// Timestamps and watermarks of a source or of an `assign-timestamps`. Durations in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct WatermarkStrategy {
    /// Where timestamps come from.
    pub timestamps: TimestampSource,
    /// How watermarks are made of them.
    pub generator: WatermarkGeneration,
    /// After so long without a record the stream, or a split of the source, is idle; `None`: never.
    pub idle_after_ms: Option<i64>,
    /// Keeps sources together; of sources only.
    pub alignment: Option<WatermarkAlignment>,
}

/// Where timestamps come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampSource {
    /// The record has one already: its source or the function before gave it.
    #[default]
    Record,
    /// The processing time at which the record enters.
    Ingestion,
    /// A field of the record.
    Field {
        /// Of JSON by name (dots go deeper), of CSV by number from 0.
        name: String,
        /// What it counts.
        unit: TimeUnit,
    },
    /// A component says.
    Function(Box<FunctionRef>),
}

/// What a number of a field counts since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// How watermarks are made of timestamps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatermarkGeneration {
    /// There are none but the last, at the end of input.
    #[default]
    None,
    /// Timestamps ascend: the highest less 1 ms.
    Monotonous,
    /// The highest less the allowed disorder less 1 ms.
    Bounded {
        /// How far behind the highest a record may come, ms.
        disorder_ms: i64,
    },
    /// A component says, periodically or with records.
    Function(Box<FunctionRef>),
}

/// A function of a component that is no operator of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FunctionRef {
    /// `sha256:<hex>`.
    pub plugin: String,
    /// What the component says of it.
    pub description: FunctionDescription,
    /// The job file's `config` for it.
    pub config: serde_json::Value,
}

/// Holds a source back that is too far ahead of the others of its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WatermarkAlignment {
    /// Sources of one group are aligned with each other.
    pub group: String,
    /// How far its watermark may be ahead of the lowest of the group, ms.
    pub max_drift_ms: i64,
    /// How often each subtask reports its watermark, ms.
    pub update_interval_ms: i64,
}

impl WatermarkStrategy {
    /// The components that it calls.
    pub fn functions(&self) -> Vec<&FunctionRef> {
        let mut functions = Vec::new();
        if let TimestampSource::Function(function) = &self.timestamps {
            functions.push(&**function);
        }
        if let WatermarkGeneration::Function(function) = &self.generator {
            functions.push(function);
        }
        functions
    }
}

impl WatermarkStrategy {
    /// Whether a checkpoint holds something of its generator.
    pub fn keeps_state(&self) -> bool {
        matches!(&self.generator, WatermarkGeneration::Function(function) if function.description.raw_state)
    }
}

impl LogicalOperator {
    /// The strategy of a source or of an `assign-timestamps`.
    pub fn watermarks(&self) -> Option<&WatermarkStrategy> {
        match &self.kind {
            OperatorKind::Source { watermarks, .. } => watermarks.as_ref(),
            OperatorKind::AssignTimestamps { strategy, .. } => Some(strategy),
            _ => None,
        }
    }
}

/// Checks the strategy of an operator whose records have that format.
pub(super) fn check(operator: &LogicalOperator, format: Format) -> Result<(), GraphError> {
    let Some(strategy) = operator.watermarks() else {
        return Ok(());
    };
    if let TimestampSource::Field { name, .. } = &strategy.timestamps {
        super::validate::check_fields(operator, std::slice::from_ref(name), format)?;
    }
    let wrong = |message: &str| Err(error(operator, message));
    if let TimestampSource::Function(function) = &strategy.timestamps {
        check_function(operator, function, FunctionKind::TimestampAssigner, format)?;
    }
    if let WatermarkGeneration::Function(function) = &strategy.generator {
        check_function(operator, function, FunctionKind::WatermarkGenerator, format)?;
        if function.description.raw_state && matches!(operator.kind, OperatorKind::Source { .. }) {
            return wrong(
                "its watermark generator keeps raw state, which a source does not checkpoint: put an `assign-timestamps` with \
                 it behind the source",
            );
        }
    }
    if let WatermarkGeneration::Bounded { disorder_ms } = strategy.generator
        && disorder_ms < 0
    {
        return wrong("the disorder of its watermarks is negative: it must be 0 or more");
    }
    if strategy.idle_after_ms.is_some_and(|after| after <= 0) {
        return wrong("`idle-after` must be above 0: leave it out for a stream that is never idle");
    }
    let Some(alignment) = &strategy.alignment else {
        return Ok(());
    };
    if !matches!(operator.kind, OperatorKind::Source { .. }) {
        return wrong("only a source can be held back: move `alignment` to the source's watermarks");
    }
    if strategy.generator == WatermarkGeneration::None {
        return wrong("it is to be aligned by its watermarks but makes none: choose another strategy");
    }
    if alignment.max_drift_ms < 0 {
        return wrong("`max-drift` of its alignment is negative: it must be 0 or more");
    }
    if alignment.update_interval_ms <= 0 {
        return wrong("`update-interval` of its alignment must be above 0");
    }
    if alignment.group.is_empty() {
        return wrong("the group of its alignment has no name");
    }
    Ok(())
}

/// Checks a function that an operator or an edge calls beside its own work.
pub(super) fn check_function(
    operator: &LogicalOperator,
    function: &FunctionRef,
    kind: FunctionKind,
    format: Format,
) -> Result<(), GraphError> {
    let FunctionDescription {
        name,
        kind: given,
        input,
        ..
    } = &function.description;
    if *given != kind {
        let message =
            format!("`{name}` is a function of kind {given:?}, and one of kind {kind:?} is needed here");
        return Err(error(operator, message));
    }
    if !format.fits(*input) {
        let message = format!(
            "`{name}` reads {input:?} but the records are {format:?}: put a function between that converts"
        );
        return Err(error(operator, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{InputRef, LogicalGraph};
    use crate::id::OperatorUid;
    use serde_json::Value;

    fn operator(uid: &str, kind: OperatorKind, input: Option<&str>) -> LogicalOperator {
        LogicalOperator {
            uid: OperatorUid::new(uid),
            uid_given: true,
            name: uid.to_owned(),
            kind,
            inputs: input
                .map(|uid| InputRef {
                    uid: OperatorUid::new(uid),
                    side: None,
                })
                .into_iter()
                .collect(),
            parallelism: None,
            chaining: true,
            slot_sharing_group: "default".to_owned(),
        }
    }

    fn source(format: Format, watermarks: Option<WatermarkStrategy>) -> LogicalOperator {
        let kind = OperatorKind::Source {
            connector: "x".to_owned(),
            config: Value::Null,
            format,
            watermarks,
        };
        operator("in", kind, None)
    }

    fn validated(operators: Vec<LogicalOperator>) -> Result<LogicalGraph, String> {
        let mut graph = LogicalGraph {
            name: "job".to_owned(),
            operators,
            max_parallelism: None,
            settings: Default::default(),
        };
        graph.validate().map_err(|error| error.to_string())?;
        Ok(graph)
    }

    fn field(name: &str) -> TimestampSource {
        TimestampSource::Field {
            name: name.to_owned(),
            unit: TimeUnit::Milliseconds,
        }
    }

    #[test]
    fn an_assignment_learns_the_format_of_its_records() {
        let assign = OperatorKind::AssignTimestamps {
            strategy: WatermarkStrategy {
                timestamps: field("3"),
                ..WatermarkStrategy::default()
            },
            format: Format::Raw,
        };
        let graph = validated(vec![source(Format::Csv, None), operator("t", assign, Some("in"))]).unwrap();
        assert!(matches!(
            graph.operators[1].kind,
            OperatorKind::AssignTimestamps {
                format: Format::Csv,
                ..
            }
        ));
    }

    #[test]
    fn a_strategy_that_cannot_work_is_refused_with_what_to_do() {
        let bounded = |disorder_ms| WatermarkStrategy {
            generator: WatermarkGeneration::Bounded { disorder_ms },
            ..WatermarkStrategy::default()
        };
        let aligned = |group: &str, max_drift_ms, update_interval_ms| WatermarkStrategy {
            alignment: Some(WatermarkAlignment {
                group: group.to_owned(),
                max_drift_ms,
                update_interval_ms,
            }),
            ..bounded(0)
        };
        let refused = |strategy: WatermarkStrategy, format| {
            validated(vec![source(format, Some(strategy))]).unwrap_err()
        };
        let idle = |after| WatermarkStrategy {
            idle_after_ms: Some(after),
            ..bounded(0)
        };
        let timestamps = |timestamps| WatermarkStrategy {
            timestamps,
            ..bounded(0)
        };
        for (strategy, format, wanted) in [
            (
                bounded(-1),
                Format::Json,
                "disorder of its watermarks is negative",
            ),
            (idle(0), Format::Json, "`idle-after` must be above 0"),
            (timestamps(field("t")), Format::Lines, "declare `json` or `csv`"),
            (timestamps(field("t")), Format::Csv, "columns of CSV count from 0"),
            (aligned("", 5, 5), Format::Json, "has no name"),
            (
                aligned("a", -5, 5),
                Format::Json,
                "`max-drift` of its alignment is negative",
            ),
            (
                aligned("a", 5, 0),
                Format::Json,
                "`update-interval` of its alignment",
            ),
        ] {
            let error = refused(strategy, format);
            assert!(error.contains("`in`") && error.contains(wanted), "{error}");
        }
        let silent = WatermarkStrategy {
            generator: WatermarkGeneration::None,
            ..aligned("a", 5, 5)
        };
        assert!(refused(silent, Format::Json).contains("makes none"));
        let downstream = OperatorKind::AssignTimestamps {
            strategy: aligned("a", 5, 5),
            format: Format::Raw,
        };
        let error = validated(vec![
            source(Format::Json, None),
            operator("t", downstream, Some("in")),
        ]);
        assert!(error.unwrap_err().contains("only a source can be held back"));
        assert!(validated(vec![source(Format::Json, Some(aligned("a", 5, 5)))]).is_ok());
    }
}
