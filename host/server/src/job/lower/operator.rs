//! One operator of a job file, as one or two of the logical graph.

use std::collections::BTreeMap;

use serde_json::Value;
use wasmill_engine::registry::Registry;
use wasmill_model::function::{Format, FunctionDescription, FunctionKind};
use wasmill_model::graph::join::LATE_SIDES;
use wasmill_model::graph::window::LATE;
use wasmill_model::graph::{
    FunctionRef, InputRef, KeySelector, LogicalOperator, OperatorKind, Partitioner, RollingAggregation,
};
use wasmill_model::id::OperatorUid;

use super::kind::kind_of;
use super::{PluginLookup, ResolvedPlugin, unknown};
use crate::job::error::JobFileError;
use crate::job::file::{KeyBy, Operator, Partition, RecordFormat, Rolling};
use crate::job::{ParsedJob, secret};

/// The uid of the operator that runs a `key-by`'s function ends so; users' uids have no dot.
const SELECTOR_SUFFIX: &str = ".selector";

/// The components that a job names.
pub(super) struct Plugins(BTreeMap<String, ResolvedPlugin>);

impl Plugins {
    pub(super) fn resolve(job: &ParsedJob, lookup: &dyn PluginLookup) -> Result<Self, JobFileError> {
        let resolved = job.file.plugins.iter().map(|(name, reference)| {
            let path = ["plugins".into(), name.as_str().into()];
            let plugin = lookup
                .plugin(reference)
                .map_err(|e| job.spans.error(&path, format!("plugin `{name}`: {e}")))?;
            Ok((name.clone(), plugin))
        });
        Ok(Self(resolved.collect::<Result<_, _>>()?))
    }
}

fn partitioner(partition: Partition) -> Partitioner {
    match partition {
        Partition::Forward => Partitioner::Forward,
        Partition::Rebalance => Partitioner::Rebalance,
        Partition::Broadcast => Partitioner::Broadcast,
        Partition::Shuffle => Partitioner::Shuffle,
        Partition::Rescale => Partitioner::Rescale,
        Partition::Global => Partitioner::Global,
    }
}

/// The lowering of one operator.
pub(super) struct Lowering<'a> {
    pub(super) job: &'a ParsedJob,
    pub(super) index: usize,
    pub(super) operator: &'a Operator,
    pub(super) uids: &'a [(String, bool)],
    pub(super) plugins: &'a Plugins,
    pub(super) registry: &'a Registry,
}

impl Lowering<'_> {
    /// The operators of the logical graph, upstream first.
    pub(super) fn lower(&self) -> Result<Vec<LogicalOperator>, JobFileError> {
        let operator = self.operator;
        let what = kind_of(operator).map_err(|e| self.whole(&e))?;
        self.check_fields(what)?;
        let inputs = self.inputs()?;
        if operator.parallelism == Some(0) {
            return Err(self.error("parallelism", "parallelism must be at least 1"));
        }
        if let Some(key_by) = &operator.key_by {
            return self.key_by(key_by, inputs);
        }
        let kind = if let Some(source) = &operator.source {
            self.source(source)?
        } else if let Some(sink) = &operator.sink {
            self.sink(sink)?
        } else if let Some(function) = &operator.function {
            self.function(function)?
        } else if let Some(asynchronous) = &operator.asynchronous {
            self.asynchronous(asynchronous)?
        } else if let Some(partition) = operator.partition {
            OperatorKind::Partition {
                partitioner: partitioner(partition),
            }
        } else if let Some(call) = &operator.partition_custom {
            OperatorKind::PartitionCustom {
                function: *self.function_ref("partition-custom", &call.function, call.config.as_ref())?,
            }
        } else if let Some(rolling) = &operator.rolling {
            OperatorKind::Rolling {
                aggregation: self.rolling(rolling)?,
            }
        } else if let Some((what, spec)) = self.windows(operator) {
            OperatorKind::Window {
                spec: spec.map_err(|e| self.error(what, e))?,
            }
        } else if let Some(join) = &operator.interval_join {
            OperatorKind::IntervalJoin {
                spec: self.interval_join(join)?,
            }
        } else if let Some(watermarks) = &operator.assign_timestamps {
            OperatorKind::AssignTimestamps {
                strategy: self.watermarks("assign-timestamps", watermarks)?,
                format: Format::Raw,
            }
        } else if operator.union == Some(true) {
            OperatorKind::Union
        } else {
            return Err(self.error("union", "write `union: true`"));
        };
        Ok(vec![self.logical(self.uid(), kind, inputs)])
    }

    fn uid(&self) -> String {
        self.uids[self.index].0.clone()
    }

    fn logical(&self, uid: String, kind: OperatorKind, inputs: Vec<InputRef>) -> LogicalOperator {
        let operator = self.operator;
        LogicalOperator {
            name: operator.name.clone().unwrap_or_else(|| uid.clone()),
            uid: OperatorUid::new(uid),
            uid_given: self.uids[self.index].1,
            kind,
            inputs,
            parallelism: operator.parallelism,
            chaining: operator.chaining.unwrap_or(true),
            slot_sharing_group: operator
                .slot_sharing_group
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// Fields that mean nothing for this kind are refused: they would be believed to work.
    fn check_fields(&self, what: &str) -> Result<(), JobFileError> {
        let operator = self.operator;
        let calls_function = operator.key_by.as_ref().is_some_and(|k| k.function.is_some())
            || operator
                .interval_join
                .as_ref()
                .is_some_and(|join| join.function.is_some());
        let configured = matches!(
            what,
            "source" | "sink" | "function" | "async" | "window" | "window-join" | "co-group"
        );
        if operator.config.is_some() && !configured && !calls_function {
            return Err(self.error("config", format!("`{what}` has no `config`: remove it")));
        }
        super::asynchronous::check_grants(self, what)?;
        self.check_state_ttl(what)?;
        if operator.watermarks.is_some() && what != "source" {
            let message = format!(
                "`watermarks` belongs to sources, not to `{what}`: remove it, or put an `assign-timestamps` behind it"
            );
            return Err(self.error("watermarks", message));
        }
        if operator.format.is_some() && !matches!(what, "source" | "sink") {
            let message = format!("`format` belongs to sources and sinks, not to `{what}`: remove it");
            return Err(self.error("format", message));
        }
        Ok(())
    }

    fn inputs(&self) -> Result<Vec<InputRef>, JobFileError> {
        let inputs = self.operator.inputs.iter().enumerate().map(|(at, input)| {
            let error = |message: String| {
                let path = ["operators".into(), self.index.into(), "inputs".into(), at.into()];
                self.job.spans.error(&path, message)
            };
            let (uid, side) = match input.split_once('.') {
                Some((uid, side)) => (uid, Some(side)),
                None => (input.as_str(), None),
            };
            let Some(from) = self.uids.iter().position(|(known, _)| known == uid) else {
                let others: Vec<_> = self
                    .uids
                    .iter()
                    .map(|(uid, _)| uid)
                    .filter(|uid| **uid != self.uid())
                    .collect();
                return Err(error(unknown("no operator has the uid", uid, &others)));
            };
            if let Some(side) = side {
                self.check_side(&self.job.file.operators[from], uid, side)
                    .map_err(error)?;
            }
            Ok(InputRef {
                uid: OperatorUid::new(uid),
                side: side.map(str::to_owned),
            })
        });
        inputs.collect()
    }

    fn check_side(&self, from: &Operator, uid: &str, side: &str) -> Result<(), String> {
        let late = from
            .interval_join
            .as_ref()
            .map(|join| join.late_outputs == Some(true));
        match late.filter(|_| LATE_SIDES.contains(&side)) {
            Some(true) => return Ok(()),
            Some(false) => {
                return Err(format!(
                    "`{uid}` drops late elements: write `late-outputs: true` there"
                ));
            }
            None => {}
        }
        if let Some((what, spec)) = self.windows(from) {
            // What does not hold is said at the window itself.
            let Ok(spec) = spec else {
                return Ok(());
            };
            let outputs = spec.side_outputs();
            let names: Vec<_> = outputs.iter().map(|(name, _)| *name).collect();
            return match names.contains(&side) {
                true => Ok(()),
                false if side == LATE && what == "window" => Err(format!(
                    "`{uid}` drops late elements: write `late-output: true` there"
                )),
                false if names.is_empty() && what == "window" => {
                    Err(unknown(&format!("`{uid}` has no side output"), side, &[LATE]))
                }
                false => Err(unknown(&format!("`{uid}` has no side output"), side, &names)),
            };
        }
        let function = from.function.as_deref();
        let function = function.or(from
            .asynchronous
            .as_ref()
            .map(|asynchronous| asynchronous.function.as_str()));
        let joined = from
            .interval_join
            .as_ref()
            .and_then(|join| join.function.as_deref());
        let function = function.or(joined);
        let Some((_, description)) = function.and_then(|f| self.find_function(f).ok()) else {
            return Err(format!(
                "`{uid}` is no function, so it has no side output `{side}`"
            ));
        };
        let names: Vec<_> = description.side_outputs.iter().map(|o| o.name.as_str()).collect();
        match names.contains(&side) {
            true => Ok(()),
            false => Err(unknown(&format!("`{uid}` declares no side output"), side, &names)),
        }
    }

    fn format(&self) -> Format {
        match self.operator.format {
            None | Some(RecordFormat::Raw) => Format::Raw,
            Some(RecordFormat::Lines) => Format::Lines,
            Some(RecordFormat::Json) => Format::Json,
            Some(RecordFormat::Csv) => Format::Csv,
        }
    }

    pub(super) fn config(&self) -> Value {
        self.operator
            .config
            .clone()
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }

    fn source(&self, connector: &str) -> Result<OperatorKind, JobFileError> {
        let names: Vec<_> = self.registry.sources.keys().collect();
        let Some(factory) = self.registry.sources.get(connector) else {
            return Err(self.error("source", unknown("there is no source", connector, &names)));
        };
        let kind = OperatorKind::Source {
            connector: connector.to_owned(),
            config: self.config(),
            format: self.format(),
            watermarks: match &self.operator.watermarks {
                Some(watermarks) => Some(self.watermarks("watermarks", watermarks)?),
                None => None,
            },
        };
        self.check_connector(&kind, |config, format| factory(config, format).map(drop))?;
        Ok(kind)
    }

    fn sink(&self, connector: &str) -> Result<OperatorKind, JobFileError> {
        let names: Vec<_> = self.registry.sinks.keys().collect();
        let Some(factory) = self.registry.sinks.get(connector) else {
            return Err(self.error("sink", unknown("there is no sink", connector, &names)));
        };
        let kind = OperatorKind::Sink {
            connector: connector.to_owned(),
            config: self.config(),
            format: self.format(),
        };
        self.check_connector(&kind, |config, format| factory(config, format).map(drop))?;
        Ok(kind)
    }

    /// Lets the connector check its settings, with secrets in them.
    fn check_connector(
        &self,
        kind: &OperatorKind,
        check: impl Fn(&Value, Format) -> Result<(), String>,
    ) -> Result<(), JobFileError> {
        let (OperatorKind::Source { config, format, .. } | OperatorKind::Sink { config, format, .. }) = kind
        else {
            return Ok(());
        };
        let resolved = secret::resolved(config).map_err(|e| self.error("config", e))?;
        check(&resolved, *format).map_err(|e| self.error("config", e))
    }

    fn function(&self, name: &str) -> Result<OperatorKind, JobFileError> {
        let (plugin, description) = self.find_function(name).map_err(|e| self.error("function", e))?;
        if description.kind == FunctionKind::KeySelector {
            let message = format!("`{name}` is a key selector: write `key-by: {{function: {name}}}`");
            return Err(self.error("function", message));
        }
        if let Some(place) = description.kind.place() {
            let message = format!(
                "`{name}` is no operator by itself: write `{}`",
                place.replace("NAME", name)
            );
            return Err(self.error("function", message));
        }
        Ok(self.call(plugin, self.with_state_ttl(description)?))
    }

    fn call(&self, plugin: &ResolvedPlugin, description: FunctionDescription) -> OperatorKind {
        OperatorKind::Function {
            plugin: plugin.digest.clone(),
            description,
            config: self.config(),
            asynchronous: None,
        }
    }

    /// A function that is a part of this operator, with its `config`.
    pub(super) fn part_ref(&self, name: &str) -> Result<FunctionRef, String> {
        let (plugin, description) = self.find_function(name)?;
        Ok(FunctionRef {
            plugin: plugin.digest.clone(),
            description: description.clone(),
            config: self.config(),
        })
    }

    /// A function that is no operator of its own; whether it is of the right kind is for the graph to say.
    pub(super) fn function_ref(
        &self,
        field: &str,
        name: &str,
        config: Option<&Value>,
    ) -> Result<Box<FunctionRef>, JobFileError> {
        let (plugin, description) = self.find_function(name).map_err(|e| self.error(field, e))?;
        Ok(Box::new(FunctionRef {
            plugin: plugin.digest.clone(),
            description: description.clone(),
            config: config
                .cloned()
                .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        }))
    }

    pub(super) fn find_function(
        &self,
        name: &str,
    ) -> Result<(&ResolvedPlugin, &FunctionDescription), String> {
        let Some((plugin, function)) = name.split_once('/') else {
            return Err(format!("`{}` is not `plugin/function`", name.escape_debug()));
        };
        let Some(found) = self.plugins.0.get(plugin) else {
            let names: Vec<_> = self.plugins.0.keys().collect();
            let mut message = unknown("`plugins` has no", plugin, &names);
            if names.is_empty() {
                message.push_str(&format!(": add `plugins: {{{plugin}: path/to/{plugin}.wasm}}`"));
            }
            return Err(message);
        };
        match found.description.function(function) {
            Some(description) => Ok((found, description)),
            None => {
                let names: Vec<_> = found.description.functions.iter().map(|f| &f.name).collect();
                Err(unknown(
                    &format!("plugin `{plugin}` has no function"),
                    function,
                    &names,
                ))
            }
        }
    }

    fn key_by(&self, key_by: &KeyBy, inputs: Vec<InputRef>) -> Result<Vec<LogicalOperator>, JobFileError> {
        let selector = match (key_by.value, &key_by.field, &key_by.fields, &key_by.function) {
            (Some(true), None, None, None) => KeySelector::Value,
            (None, Some(field), None, None) => KeySelector::Field(field.clone()),
            (None, None, Some(fields), None) => KeySelector::Fields(fields.clone()),
            (None, None, None, Some(_)) => KeySelector::Function,
            _ => {
                let message = "`key-by` takes exactly one of `value: true`, `field`, `fields`, `function`";
                return Err(self.error("key-by", message));
            }
        };
        let uid = self.uid();
        let keyed = OperatorKind::KeyBy {
            selector,
            format: Format::default(),
        };
        let Some(function) = &key_by.function else {
            return Ok(vec![self.logical(uid, keyed, inputs)]);
        };
        let error = |message: String| {
            let path = [
                "operators".into(),
                self.index.into(),
                "key-by".into(),
                "function".into(),
            ];
            self.job.spans.error(&path, message)
        };
        let (plugin, description) = self.find_function(function).map_err(error)?;
        if description.kind != FunctionKind::KeySelector {
            return Err(error(format!(
                "`{function}` is not a key selector: `key-by` needs a function of kind key-selector"
            )));
        }
        let first = format!("{uid}{SELECTOR_SUFFIX}");
        let selects = self.logical(first.clone(), self.call(plugin, description.clone()), inputs);
        let from_first = vec![InputRef {
            uid: OperatorUid::new(first),
            side: None,
        }];
        Ok(vec![selects, self.logical(uid, keyed, from_first)])
    }

    fn rolling(&self, rolling: &Rolling) -> Result<RollingAggregation, JobFileError> {
        let tie = rolling.tie.unwrap_or_default();
        let said = [
            rolling.sum.clone().map(RollingAggregation::Sum),
            rolling.min.clone().map(RollingAggregation::Min),
            rolling.max.clone().map(RollingAggregation::Max),
            rolling
                .min_by
                .clone()
                .map(|field| RollingAggregation::MinBy(field, tie)),
            rolling
                .max_by
                .clone()
                .map(|field| RollingAggregation::MaxBy(field, tie)),
            rolling
                .count
                .filter(|count| *count)
                .map(|_| RollingAggregation::Count),
        ];
        let mut said = said.into_iter().flatten();
        let (Some(aggregation), None) = (said.next(), said.next()) else {
            let message = "`rolling` takes exactly one of `sum`, `min`, `max`, `min-by`, `max-by` (each a field) and `count: true`";
            return Err(self.error("rolling", message));
        };
        if rolling.tie.is_some() && rolling.min_by.is_none() && rolling.max_by.is_none() {
            return Err(self.error("rolling", "`tie` belongs to `min-by` and `max-by`: remove it"));
        }
        Ok(aggregation)
    }

    pub(super) fn error(&self, field: &str, message: impl Into<String>) -> JobFileError {
        let path = ["operators".into(), self.index.into(), field.into()];
        self.job
            .spans
            .error(&path, format!("operator `{}`: {}", self.uid(), message.into()))
    }

    fn whole(&self, message: &str) -> JobFileError {
        let path = ["operators".into(), self.index.into()];
        self.job
            .spans
            .error(&path, format!("operator `{}`: {message}", self.uid()))
    }
}
