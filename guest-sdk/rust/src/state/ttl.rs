//! How long what a state holds lives.

use std::time::Duration;

use serde::Serialize;

/// Time to live of what a state holds: each value, list element and map entry by itself, from the last time that it was
/// written, in processing time. The words are Flink's. In the test harness everything lives for ever.
///
/// ```
/// # use std::time::Duration;
/// # use wasmill_sdk::prelude::*;
/// #[derive(Default)]
/// struct Seen {
///     seen: ValueState<u64>,
/// }
///
/// impl KeyedProcessFunction for Seen {
///     type In = str;
///     type Out = str;
///
///     fn declare(&mut self, d: &mut Declare) {
///         let hour = StateTtl::new(Duration::from_secs(3600));
///         self.seen = d.value_state_with("seen", StateOptions::new().ttl(hour));
///     }
///
///     fn process_element(&mut self, record: &str, ctx: &mut Context<str>) -> Result<()> {
///         if self.seen.value(ctx)?.is_none() {
///             self.seen.update(ctx, &1)?;
///             ctx.emit(record);
///         }
///         Ok(())
///     }
/// }
/// # let mut t = testing::Harness::process::<Seen>();
/// # for n in ["3", "3"] { t.element("k", n).unwrap(); }
/// # assert_eq!(t.take_output(), ["3"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateTtl {
    /// In ms.
    time_to_live: u64,
    update_type: UpdateType,
    visibility: StateVisibility,
}

impl StateTtl {
    /// From the last write; what is over is never returned. Whole milliseconds count, and there must be one.
    pub fn new(time_to_live: Duration) -> Self {
        Self {
            time_to_live: u64::try_from(time_to_live.as_millis()).unwrap_or(u64::MAX),
            update_type: UpdateType::OnCreateAndWrite,
            visibility: StateVisibility::NeverReturnExpired,
        }
    }

    /// What updates the time from which something lives.
    pub fn update_type(mut self, update_type: UpdateType) -> Self {
        self.update_type = update_type;
        self
    }

    /// What is read of something whose time is over.
    pub fn visibility(mut self, visibility: StateVisibility) -> Self {
        self.visibility = visibility;
        self
    }
}

/// What updates the time from which something lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateType {
    /// A write.
    OnCreateAndWrite,
    /// A write or a read.
    OnReadAndWrite,
}

/// What is read of something whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateVisibility {
    /// Nothing.
    NeverReturnExpired,
    /// What is there still; reading removes it. Such a value does not travel with the records.
    ReturnExpiredIfNotCleanedUp,
}
