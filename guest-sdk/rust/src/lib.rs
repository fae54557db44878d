//! Writes Wasmill functions in Rust.
//!
//! A function is a type with one of the traits below; [`export!`] makes a component of several. This is
//! a whole plugin that counts words:
//!
//! ```
//! use wasmill_sdk::prelude::*;
//!
//! /// A line in, its words out.
//! #[derive(Default)]
//! struct Split;
//!
//! impl FlatMapFunction for Split {
//!     type In = str;
//!     type Out = str;
//!
//!     fn flat_map(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
//!         line.split_whitespace().for_each(|word| ctx.emit(word));
//!         Ok(())
//!     }
//! }
//!
//! /// The running count of each word.
//! #[derive(Default)]
//! struct Count {
//!     count: ValueState<u64>,
//! }
//!
//! impl KeyedProcessFunction for Count {
//!     type In = str;
//!     type Out = str;
//!
//!     fn declare(&mut self, d: &mut Declare) {
//!         self.count = d.value_state("count");
//!     }
//!
//!     fn process_element(&mut self, word: &str, ctx: &mut Context<str>) -> Result<()> {
//!         let count = self.count.value(ctx)?.unwrap_or(0) + 1;
//!         self.count.update(ctx, &count)?;
//!         ctx.emit((word, ',', count));
//!         Ok(())
//!     }
//! }
//!
//! wasmill_sdk::export! { "split" => flat_map Split, "count" => process Count }
//! # fn main() {}
//! ```
//!
//! `crate-type = ["cdylib"]` and `--target wasm32-unknown-unknown` make a component of it. The same
//! function runs natively in [`testing`], with no host.
//!
//! Guests are deterministic: there is no clock but [`Context::current_processing_time`], no random
//! number, no file and no network. What a function must not lose lies in state: fields of the type
//! itself are a cache that the host may drop between any two calls, unless the function snapshots them
//! (`snapshot_state`). A panic traps: the call is undone and the host reports where it happened.
//!

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod abi;
mod bytes;
mod call;
mod context;
mod declare;
mod error;
mod export;
mod frame;
mod function;
mod host;
mod http;
mod instance;
pub mod log;
mod metrics;
mod migration;
mod operator_state;
mod overlay;
mod record;
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod window;

pub use call::TimeDomain;
pub use context::Context;
pub use declare::{Declare, SideOutput, StateOptions};
pub use error::{Error, Result};
pub use function::{
    AggregateFunction, AsyncFunction, BroadcastProcessFunction, CoFlatMapFunction, CoMapFunction,
    CoProcessFunction, FilterFunction, FlatMapFunction, KeySelector, KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction, KeyedProcessFunction, MapFunction, OpenContext, OwnedRecord, Pair, Partitioner,
    ProcessJoinFunction, ReduceFunction, RuntimeContext, Timer, TimestampAssigner, WatermarkGenerator,
    WatermarkOutput,
};
pub use http::{HttpRequest, HttpResponse, RequestError};
pub use instance::Registration;
pub use metrics::{Counter, Gauge, Histogram};
pub use migration::{Accumulator, StoredState};
pub use operator_state::{OperatorListState, RestoreContext, SnapshotContext};
pub use record::{Emit, Format, Input, Json, Record, Writer};
pub use state::{
    AggregatingState, BroadcastState, Fold, FoldedState, KeyedState, ListState, MapKey, MapState,
    ReducingState, StateTtl, StateVisibility, UpdateType, ValueState,
};

pub use window::{
    CoGroupFunction, Elements, Evictor, JoinFunction, ProcessWindowFunction, Trigger, TriggerResult, Window,
    WindowAssigner, WindowFunction,
};

/// Everything that a function is written with.
pub mod prelude {
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::testing;
    pub use crate::{
        AggregateFunction, AggregatingState, AsyncFunction, BroadcastProcessFunction, BroadcastState,
        CoFlatMapFunction, CoGroupFunction, CoMapFunction, CoProcessFunction, Context, Counter, Declare,
        Elements, Emit, Error, Evictor, FilterFunction, FlatMapFunction, Fold, FoldedState, Format, Gauge,
        Histogram, HttpRequest, HttpResponse, JoinFunction, Json, KeySelector, KeyedBroadcastProcessFunction,
        KeyedCoProcessFunction, KeyedProcessFunction, ListState, MapFunction, MapState, OpenContext,
        OperatorListState, Pair, Partitioner, ProcessJoinFunction, ProcessWindowFunction, ReduceFunction,
        ReducingState, Registration, RestoreContext, Result, RuntimeContext, SideOutput, SnapshotContext,
        StateOptions, StateTtl, StateVisibility, TimeDomain, Timer, TimestampAssigner, Trigger,
        TriggerResult, UpdateType, ValueState, WatermarkGenerator, WatermarkOutput, Window, WindowAssigner,
        WindowFunction, Writer,
    };
}
