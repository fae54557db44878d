//! What a function is given before its first record.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::metrics::{Counter, Gauge, Histogram, Metrics};

/// Where the function runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RuntimeContext {
    /// Of the job.
    pub job_id: String,
    /// As the job file has it.
    pub job_name: String,
    /// Of the chain of operators.
    pub task_name: String,
    /// The operator's `uid`.
    pub operator_uid: String,
    /// From 0.
    pub subtask_index: u32,
    /// How many subtasks the operator has.
    pub parallelism: u32,
    /// The bound of the parallelism: the number of key groups.
    pub max_parallelism: u32,
    /// From 0, one more with each restart.
    pub attempt: u32,
    /// Of a partitioner: how many channels there are to choose from; 0 for all others.
    pub channels: u32,
}

/// The host's request to open a function.
#[derive(Deserialize)]
pub(crate) struct OpenRequest {
    pub(crate) version: u32,
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) config: Value,
    #[serde(default)]
    pub(crate) context: RuntimeContext,
}

/// Configuration, surroundings and metrics.
pub struct OpenContext<'a> {
    pub(crate) config: &'a Value,
    pub(crate) runtime: &'a RuntimeContext,
    pub(crate) metrics: &'a mut Metrics,
}

impl OpenContext<'_> {
    /// The operator's `config` in the job file, read as `T`.
    ///
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// #[derive(serde::Deserialize)]
    /// struct Config {
    ///     threshold: u64,
    /// }
    ///
    /// #[derive(Default)]
    /// struct Above {
    ///     threshold: u64,
    /// }
    ///
    /// impl FilterFunction for Above {
    ///     type In = str;
    ///
    ///     fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
    ///         self.threshold = ctx.config::<Config>()?.threshold;
    ///         Ok(())
    ///     }
    ///
    ///     fn filter(&mut self, number: &str) -> Result<bool> {
    ///         Ok(number.parse::<u64>()? > self.threshold)
    ///     }
    /// }
    /// # let mut t = testing::Harness::with_config(Registration::filter::<Above>("above"), r#"{"threshold":3}"#);
    /// # for n in ["3", "4"] { t.element("", n).unwrap(); }
    /// # assert_eq!(t.take_output(), ["4"]);
    /// ```
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(self.config).map_err(|error| Error::failed(format_args!("config: {error}")))
    }

    /// The operator's `config` as it is; an empty object where the job file has none.
    pub fn config_value(&self) -> &Value {
        self.config
    }

    /// Where the function runs.
    pub fn runtime(&self) -> &RuntimeContext {
        self.runtime
    }

    /// A counter of that name: `[a-zA-Z_][a-zA-Z0-9_]*`.
    pub fn counter(&mut self, name: &str) -> Result<Counter> {
        self.metrics.counter(name)
    }

    /// A gauge of that name.
    pub fn gauge(&mut self, name: &str) -> Result<Gauge> {
        self.metrics.gauge(name)
    }

    /// A histogram of that name.
    pub fn histogram(&mut self, name: &str) -> Result<Histogram> {
        self.metrics.histogram(name)
    }
}
