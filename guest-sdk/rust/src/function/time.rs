//! TimestampAssigner and WatermarkGenerator.

use super::{Runner, drive, drive_elements, lifecycle, runner_lifecycle, unknown_kind};
use crate::Context;
use crate::call::Call;
use crate::declare::Declare;
use crate::error::Result;
use crate::frame::{KIND_ELEMENT, KIND_PERIODIC};
use crate::record::{Format, Input, Record};

/// Says the timestamps of records.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// Lines that begin with their time in seconds.
/// #[derive(Default)]
/// struct FirstWord;
///
/// impl TimestampAssigner for FirstWord {
///     type In = str;
///
///     fn extract_timestamp(&mut self, line: &str, _: Option<i64>) -> Result<i64> {
///         let seconds: i64 = line.split(' ').next().unwrap_or_default().parse()?;
///         Ok(seconds * 1_000)
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::timestamp_assigner::<FirstWord>("first-word"));
/// # t.element("", "12 a").unwrap();
/// # assert_eq!(t.take_emissions()[0].timestamp, Some(12_000));
/// ```
pub trait TimestampAssigner: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;

    lifecycle!();

    /// The timestamp of a record, in milliseconds since the epoch; `record_timestamp` is what it has so far.
    fn extract_timestamp(&mut self, value: &Self::In, record_timestamp: Option<i64>) -> Result<i64>;
}

/// Makes watermarks of records and of the time. There is one for each stream, or for each split of a source.
///
/// What it remembers is in its fields. As in Flink that is not part of a checkpoint, unless the function declares raw
/// state.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// /// A line `mark` says that all before it has come.
/// #[derive(Default)]
/// struct AtMarks {
///     highest: Option<i64>,
/// }
///
/// impl WatermarkGenerator for AtMarks {
///     type In = str;
///
///     fn on_event(&mut self, line: &str, timestamp: i64, out: &mut WatermarkOutput) -> Result<()> {
///         self.highest = self.highest.max(Some(timestamp));
///         if line == "mark" && let Some(highest) = self.highest {
///             out.emit_watermark(highest);
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::new(Registration::watermark_generator::<AtMarks>("at-marks"));
/// # t.element_at("", "a", 9).unwrap();
/// # t.element_at("", "mark", 5).unwrap();
/// # t.periodic_emit(100).unwrap();
/// # assert_eq!(t.take_emissions()[0].timestamp, Some(9));
/// ```
pub trait WatermarkGenerator: Default + 'static {
    /// The records that it reads.
    type In: Input + ?Sized;

    lifecycle!();

    /// Called with each record and its timestamp ([`i64::MIN`] where it has none). A watermark that is emitted here comes
    /// right after the record.
    fn on_event(&mut self, value: &Self::In, timestamp: i64, out: &mut WatermarkOutput<'_, '_>)
    -> Result<()>;

    /// Called at each tick of the job's `auto-watermark-interval`.
    fn on_periodic_emit(&mut self, _out: &mut WatermarkOutput<'_, '_>) -> Result<()> {
        Ok(())
    }
}

/// Where watermarks go.
pub struct WatermarkOutput<'a, 'f> {
    ctx: &'a mut Context<'f, [u8]>,
}

impl WatermarkOutput<'_, '_> {
    /// No record with a timestamp at or below it is to come any more. One that does not grow is ignored.
    pub fn emit_watermark(&mut self, watermark: i64) {
        self.ctx.call.emit(0, Some(watermark), false, |_| Ok(()));
    }

    /// Nobody is to wait for this stream until its watermark grows.
    pub fn mark_idle(&mut self) {
        self.ctx.call.emit(0, None, true, |_| Ok(()));
    }

    /// The stream is to be waited for again.
    pub fn mark_active(&mut self) {
        self.ctx.call.emit(0, None, false, |_| Ok(()));
    }

    /// The processing time at the last tick, in milliseconds since the epoch; time in which the stream could not go on
    /// does not count.
    pub fn current_processing_time(&self) -> i64 {
        self.ctx.current_processing_time()
    }
}

/// Runs a [`TimestampAssigner`].
#[derive(Default)]
pub(crate) struct TimestampRunner<F> {
    function: F,
}

impl<F: TimestampAssigner> Runner for TimestampRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("timestamp-assigner", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        drive_elements::<[u8]>(call, |ctx, value| {
            F::In::with(value, |value| {
                let so_far = ctx.timestamp();
                let timestamp = self.function.extract_timestamp(value, so_far)?;
                ctx.call.emit(0, Some(timestamp), false, |_| Ok(()));
                Ok(())
            })
        })
    }

    runner_lifecycle!(TimestampAssigner);
}

/// Runs a [`WatermarkGenerator`].
#[derive(Default)]
pub(crate) struct WatermarkRunner<F> {
    function: F,
}

impl<F: WatermarkGenerator> Runner for WatermarkRunner<F> {
    fn declare(&mut self) -> Declare {
        let mut d = Declare::new("watermark-generator", F::In::FORMAT, Format::Raw);
        self.function.declare(&mut d);
        d
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), String> {
        let mut unknown = None;
        drive(call, |ctx, row| match row.kind {
            KIND_ELEMENT => F::In::with(row.value, |value| {
                let timestamp = ctx.timestamp().unwrap_or(i64::MIN);
                self.function
                    .on_event(value, timestamp, &mut WatermarkOutput { ctx })
            }),
            KIND_PERIODIC => self.function.on_periodic_emit(&mut WatermarkOutput { ctx }),
            kind => {
                unknown.get_or_insert(kind);
                Ok(())
            }
        })?;
        match unknown {
            None => Ok(()),
            Some(kind) => Err(unknown_kind(kind)),
        }
    }

    runner_lifecycle!(WatermarkGenerator);
}
