//! What joins give their pairs and groups to. `Joins.java`.

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

/// A pair.
#[derive(Serialize)]
struct Lines<'a> {
    key: &'a str,
    left: u64,
    right: u64,
}

/// The lines of both elements.
#[derive(Default)]
pub struct InnerPair;

impl JoinFunction for InnerPair {
    type Left = Json<Event>;
    type Right = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
    }

    fn join(
        &mut self,
        _: Window,
        left: &Json<Event>,
        right: &Json<Event>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let line = json(&Lines {
            key: &left.0.key,
            left: left.0.n,
            right: right.0.n,
        })?;
        ctx.emit(line);
        Ok(())
    }
}

/// What a window has of both sides.
#[derive(Serialize)]
struct Sides<'a> {
    key: &'a str,
    left: Vec<u64>,
    right: Vec<u64>,
}

/// The lines of the elements of each side, sorted.
#[derive(Default)]
pub struct Group;

impl CoGroupFunction for Group {
    type Left = Json<Event>;
    type Right = Json<Event>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.output_format(Format::Json);
    }

    fn co_group(
        &mut self,
        _: Window,
        left: Elements<'_, Json<Event>>,
        right: Elements<'_, Json<Event>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let mut key = String::new();
        let mut lines = |elements: Elements<'_, Json<Event>>| -> Result<Vec<u64>> {
            let mut lines = Vec::new();
            elements.try_for_each(|event| {
                if key.is_empty() {
                    key.clone_from(&event.0.key);
                }
                lines.push(event.0.n);
                Ok(())
            })?;
            lines.sort_unstable();
            Ok(lines)
        };
        let (left, right) = (lines(left)?, lines(right)?);
        let line = json(&Sides {
            key: &key,
            left,
            right,
        })?;
        ctx.emit(line);
        Ok(())
    }
}
