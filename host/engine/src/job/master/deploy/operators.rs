//! The operator of each part of a chain.

use std::sync::Arc;

use serde_json::Value;
use wasmill_model::function::FunctionDescription;
use wasmill_model::graph::asynchronous::AsyncSpec;
use wasmill_model::graph::join::IntervalJoinSpec;
use wasmill_model::graph::{CheckpointMode, FunctionRef, OperatorKind};

use super::missing;
use crate::asynchronous::operator::AsyncWaitOperator;
use crate::builtin::{AssignTimestampsOperator, KeyByOperator, KeyReader, RollingOperator};
use crate::error::TaskError;
use crate::executor::{PlantedBug, Waker};
use crate::job::master::Master;
use crate::join::interval::IntervalJoinOperator;
use crate::operator::{Operator, RuntimeContext};
use crate::plan::ChainedOperator;
use crate::registry::FunctionPlace;
use crate::task::sink::SinkOperator;
use crate::time::strategy::Strategy;
use crate::window::operator::WindowOperator;
use crate::window::slices::SlicedWindows;

impl Master {
    pub(super) fn function_place(&self, runtime: &Arc<RuntimeContext>) -> FunctionPlace {
        FunctionPlace {
            runtime: runtime.clone(),
            settings: self.spec.graph.settings.clone(),
        }
    }

    pub(super) fn operator(
        &self,
        chained: &ChainedOperator,
        runtime: &Arc<RuntimeContext>,
        waker: Arc<Waker>,
    ) -> Result<Box<dyn Operator>, TaskError> {
        let operator = &chained.operator;
        if let Some(made) = self.asynchronous(chained, waker)? {
            return Ok(made);
        }
        let made: Option<Box<dyn Operator>> = match &operator.kind {
            OperatorKind::Function {
                plugin,
                description,
                config,
                ..
            } => Some(self.function(plugin, description, config)?),
            OperatorKind::Sink { .. } => {
                let sink = self.connectors.sinks.get(&operator.uid).cloned();
                sink.map(|sink| Box::new(SinkOperator::new(sink)) as _)
            }
            OperatorKind::KeyBy { selector, format } => {
                KeyReader::new(selector, *format).map(|reader| Box::new(KeyByOperator::new(reader)) as _)
            }
            OperatorKind::AssignTimestamps { .. } => match self.strategy(chained, runtime) {
                Some(strategy) => Some(Box::new(AssignTimestampsOperator::new(&strategy)?)),
                None => None,
            },
            OperatorKind::Rolling { aggregation } => {
                Some(Box::new(RollingOperator::new(aggregation.clone())))
            }
            OperatorKind::Window { spec } => {
                let functions = self.spec.registry.functions.as_deref();
                let settings = &self.spec.graph.settings;
                Some(match SlicedWindows::of(spec) {
                    Some(sliced) => Box::new(sliced),
                    None => Box::new(WindowOperator::of(spec, functions, settings)?),
                })
            }
            OperatorKind::IntervalJoin { spec } => Some(Box::new(self.interval_join(spec)?)),
            OperatorKind::Source { .. }
            | OperatorKind::Partition { .. }
            | OperatorKind::PartitionCustom { .. }
            | OperatorKind::Union => None,
        };
        made.ok_or_else(|| missing(chained))
    }

    /// The operator of an async function.
    fn asynchronous(
        &self,
        chained: &ChainedOperator,
        waker: Arc<Waker>,
    ) -> Result<Option<Box<dyn Operator>>, TaskError> {
        let OperatorKind::Function {
            plugin,
            description,
            config,
            asynchronous: Some(spec),
        } = &chained.operator.kind
        else {
            return Ok(None);
        };
        let function = FunctionRef {
            plugin: plugin.clone(),
            description: description.clone(),
            config: config.clone(),
        };
        let functions = self
            .spec
            .registry
            .functions
            .as_ref()
            .ok_or_else(|| missing(chained))?;
        let function = functions.async_function(&function, &self.spec.graph.settings)?;
        let client = self.connectors.clients.get(&chained.operator.uid).cloned();
        let spec = AsyncSpec::clone(spec);
        Ok(Some(Box::new(AsyncWaitOperator::new(
            spec, function, client, waker,
        ))))
    }

    fn interval_join(&self, spec: &IntervalJoinSpec) -> Result<IntervalJoinOperator, TaskError> {
        let pairs = match &spec.function {
            Some(function) => {
                Some(self.function(&function.plugin, &function.description, &function.config)?)
            }
            None => None,
        };
        Ok(IntervalJoinOperator::of(spec, pairs))
    }

    /// What calls a component.
    fn function(
        &self,
        plugin: &str,
        description: &FunctionDescription,
        config: &Value,
    ) -> Result<Box<dyn Operator>, TaskError> {
        let Some(functions) = &self.spec.registry.functions else {
            return Err(TaskError::host("this host runs no components").for_good());
        };
        functions.operator(plugin, description, config, &self.spec.graph.settings)
    }

    /// How the operator's records get their event time, where it says.
    pub(super) fn strategy(
        &self,
        chained: &ChainedOperator,
        runtime: &Arc<RuntimeContext>,
    ) -> Option<Strategy> {
        let declared = chained.operator.watermarks()?.clone();
        let format = match &chained.operator.kind {
            OperatorKind::Source { format, .. } | OperatorKind::AssignTimestamps { format, .. } => *format,
            _ => return None,
        };
        Some(Strategy {
            declared,
            format,
            interval_ms: self.spec.graph.settings.auto_watermark_interval_ms,
            functions: self.spec.registry.functions.clone(),
            place: self.function_place(runtime),
        })
    }

    pub(super) fn mode(&self) -> CheckpointMode {
        if self.executor.planted() == PlantedBug::NoHoldingBack {
            return CheckpointMode::AtLeastOnce;
        }
        let settings = self.spec.graph.settings.checkpointing.as_ref();
        settings.map_or(CheckpointMode::ExactlyOnce, |settings| settings.mode)
    }
}
