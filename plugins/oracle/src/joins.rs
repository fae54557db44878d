//! What joins give their pairs to. `Joins.java`.

use serde::Serialize;
use wasmill_sdk::prelude::*;

use crate::{Event, json};

/// A pair with both timestamps.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Times<'a> {
    key: &'a str,
    left: u64,
    right: u64,
    left_ts: i64,
    right_ts: i64,
}

/// The lines of both elements and their timestamps.
#[derive(Default)]
pub struct PairTimes;

impl ProcessJoinFunction for PairTimes {
    type Left = Json<Event>;
    type Right = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
    }

    fn process_pair(
        &mut self,
        pair: Pair<'_, Json<Event>, Json<Event>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let line = json(&Times {
            key: &pair.left.0.key,
            left: pair.left.0.n,
            right: pair.right.0.n,
            left_ts: pair.left_timestamp,
            right_ts: pair.right_timestamp,
        })?;
        ctx.emit(line);
        Ok(())
    }
}
