//! From the function that a job names to its operators.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use wasmill_engine::asynchronous::AsyncFunction;
use wasmill_engine::error::TaskError;
use wasmill_engine::operator::Operator;
use wasmill_engine::registry::{CustomPartitioner, FunctionPlace, FunctionProvider};
use wasmill_engine::time::{TimestampAssigner, WatermarkGenerator};
use wasmill_engine::window::assigner::{WindowAssigner, WindowTime};
use wasmill_engine::window::evictor::Evictor;
use wasmill_engine::window::function::{ElementsFunction, IncrementalFunction};
use wasmill_engine::window::trigger::Trigger;
use wasmill_model::function::{FunctionDescription, FunctionKind};
use wasmill_model::graph::{FunctionRef, JobSettings};

use super::aside::{Aside, PluginPartitioner, PluginTimestamps, PluginWatermarks};
use super::asynchronous::GuestAsyncFunction;
use super::blueprint::Blueprint;
use super::function::FunctionOperator;
use super::window::assigner::ComponentAssigner;
use super::window::evictor::ComponentEvictor;
use super::window::function::{ComponentFold, ComponentProcess};
use super::window::join::ComponentJoin;
use super::window::trigger::ComponentTrigger;
use crate::registry::PluginRegistry;
use crate::registry::error::LookupError;
use crate::sandbox::limits::Limits;

/// Makes operators of the components in a registry.
pub struct PluginFunctions {
    registry: Arc<PluginRegistry>,
    /// Subtasks of one function share their blueprint while any of them lives.
    blueprints: Mutex<BTreeMap<String, std::sync::Weak<Blueprint>>>,
}

impl PluginFunctions {
    /// Of a registry.
    pub fn new(registry: Arc<PluginRegistry>) -> Self {
        Self {
            registry,
            blueprints: Mutex::default(),
        }
    }

    /// What the subtasks of a function share; the error names the plugin or the limit and the mend.
    pub fn blueprint(
        &self,
        plugin: &str,
        description: &FunctionDescription,
        config: &Value,
        settings: &JobSettings,
    ) -> Result<Arc<Blueprint>, TaskError> {
        let info = self.registry.get(plugin).map_err(lookup)?;
        // The job may say how long states live: two operators of one function may differ in that.
        let lives: Vec<_> = description.state.iter().map(|state| state.ttl).collect();
        let place = format!(
            "{} {} {config} {} {lives:?}",
            info.digest, description.name, settings.limits
        );
        let mut blueprints = self.blueprints.lock().unwrap_or_else(PoisonError::into_inner);
        blueprints.retain(|_, blueprint| blueprint.strong_count() > 0);
        if let Some(known) = blueprints.get(&place).and_then(std::sync::Weak::upgrade) {
            return Ok(known);
        }
        let limits =
            Limits::parse(&settings.limits).map_err(|error| TaskError::user(error.to_string()).for_good())?;
        let loaded = self.registry.load(info.digest).map_err(lookup)?;
        let engine = self.registry.engine().clone();
        let blueprint = Arc::new(Blueprint::new(engine, loaded, description, config, limits)?);
        blueprints.insert(place, Arc::downgrade(&blueprint));
        Ok(blueprint)
    }
}

impl PluginFunctions {
    fn shared(&self, function: &FunctionRef, settings: &JobSettings) -> Result<Arc<Blueprint>, TaskError> {
        self.blueprint(
            &function.plugin,
            &function.description,
            &function.config,
            settings,
        )
    }

    fn aside(&self, function: &FunctionRef, place: &FunctionPlace) -> Result<Aside, TaskError> {
        Ok(Aside::new(self.shared(function, &place.settings)?, place))
    }
}

/// A plugin that is gone is the job's fault, one that cannot be read the host's.
fn lookup(error: LookupError) -> TaskError {
    match error {
        LookupError::Host(_) => TaskError::host(error.to_string()),
        _ => TaskError::user(error.to_string()).for_good(),
    }
}

impl FunctionProvider for PluginFunctions {
    fn operator(
        &self,
        plugin: &str,
        description: &FunctionDescription,
        config: &Value,
        settings: &JobSettings,
    ) -> Result<Box<dyn Operator>, TaskError> {
        let blueprint = self.blueprint(plugin, description, config, settings)?;
        Ok(Box::new(FunctionOperator::new(blueprint)))
    }

    fn window_fold(
        &self,
        fold: &FunctionRef,
        process: Option<&FunctionRef>,
        settings: &JobSettings,
    ) -> Result<Box<dyn IncrementalFunction>, TaskError> {
        let process = process
            .map(|process| self.shared(process, settings))
            .transpose()?;
        Ok(Box::new(ComponentFold::new(
            self.shared(fold, settings)?,
            process,
        )))
    }

    fn window_process(
        &self,
        process: &FunctionRef,
        settings: &JobSettings,
    ) -> Result<Box<dyn ElementsFunction>, TaskError> {
        let blueprint = self.shared(process, settings)?;
        Ok(match process.description.kind {
            FunctionKind::Join => Box::new(ComponentJoin::new(blueprint)),
            _ => Box::new(ComponentProcess::new(blueprint)),
        })
    }

    fn trigger(
        &self,
        trigger: &FunctionRef,
        first_port: u16,
        settings: &JobSettings,
    ) -> Result<Box<dyn Trigger>, TaskError> {
        let blueprint = self.shared(trigger, settings)?;
        Ok(Box::new(ComponentTrigger::new(blueprint, first_port)))
    }

    fn evictor(&self, evictor: &FunctionRef, settings: &JobSettings) -> Result<Box<dyn Evictor>, TaskError> {
        Ok(Box::new(ComponentEvictor::new(self.shared(evictor, settings)?)))
    }

    fn window_assigner(
        &self,
        assigner: &FunctionRef,
        time: WindowTime,
        settings: &JobSettings,
    ) -> Result<Box<dyn WindowAssigner>, TaskError> {
        let blueprint = self.shared(assigner, settings)?;
        Ok(Box::new(ComponentAssigner::new(blueprint, time)))
    }

    fn async_function(
        &self,
        function: &FunctionRef,
        settings: &JobSettings,
    ) -> Result<Box<dyn AsyncFunction>, TaskError> {
        let FunctionRef {
            plugin,
            description,
            config,
        } = function;
        let blueprint = self.blueprint(plugin, description, config, settings)?;
        Ok(Box::new(GuestAsyncFunction::new(blueprint)))
    }

    fn partitioner(
        &self,
        function: &FunctionRef,
        place: &FunctionPlace,
    ) -> Result<Box<dyn CustomPartitioner>, TaskError> {
        Ok(Box::new(PluginPartitioner {
            aside: self.aside(function, place)?,
            channels: 0,
        }))
    }

    fn timestamp_assigner(
        &self,
        function: &FunctionRef,
        place: &FunctionPlace,
    ) -> Result<Box<dyn TimestampAssigner>, TaskError> {
        Ok(Box::new(PluginTimestamps(self.aside(function, place)?)))
    }

    fn watermark_generator(
        &self,
        function: &FunctionRef,
        place: &FunctionPlace,
    ) -> Result<Box<dyn WatermarkGenerator>, TaskError> {
        Ok(Box::new(PluginWatermarks(self.aside(function, place)?)))
    }
}
