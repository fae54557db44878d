//! The first version: whole euros.

use std::time::Duration;

use wasmill_sdk::prelude::*;

use crate::{Known, booking};

/// How long what is recent stays known: longer than any test.
pub(crate) const RECENT: Duration = Duration::from_hours(1);

/// What is known of each account.
#[derive(Default)]
pub(crate) struct Ledger1 {
    last: ValueState<i64>,
    bookings: ListState<i64>,
    days: MapState<u32, i64>,
    balance: ReducingState<i64>,
    mean: AggregatingState<Mean1>,
    recent: ValueState<i64>,
}

impl KeyedProcessFunction for Ledger1 {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        self.last = d.value_state("last");
        self.bookings = d.list_state("bookings");
        self.days = d.map_state("days");
        self.balance = d.reducing_state("balance", |a, b| a + b);
        self.mean = d.aggregating_state("mean");
        let recently = StateOptions::new().ttl(StateTtl::new(RECENT));
        self.recent = d.value_state_with("recent", recently);
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        let (day, euros) = booking(line)?;
        self.last.update(ctx, &euros)?;
        self.bookings.add(ctx, &euros)?;
        let of_day = self.days.get(ctx, &day)?.unwrap_or(0) + euros;
        self.days.put(ctx, &day, &of_day)?;
        self.balance.add(ctx, euros)?;
        self.mean.add(ctx, line)?;
        self.recent.update(ctx, &euros)?;
        let mut days = Vec::new();
        self.days.for_each(ctx, |_, day, euros| {
            days.push((day, euros * 100));
            Ok(())
        })?;
        let bookings = self.bookings.get(ctx)?;
        Known {
            last: self.last.value(ctx)?.unwrap_or(0) * 100,
            bookings: bookings.into_iter().map(|euros| euros * 100).collect(),
            days,
            balance: self.balance.get(ctx)?.unwrap_or(0) * 100,
            mean: self.mean.get(ctx)?.unwrap_or_default(),
            recent: self.recent.value(ctx)?.unwrap_or(0) * 100,
        }
        .emit(ctx)
    }
}

/// The mean of all bookings.
#[derive(Default)]
pub(crate) struct Mean1;

impl AggregateFunction for Mean1 {
    type In = str;
    /// Bookings and their sum.
    type Accumulator = (u32, i64);
    type Out = String;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
    }

    fn create_accumulator(&self) -> (u32, i64) {
        (0, 0)
    }

    fn add(&self, line: &str, (count, sum): &mut (u32, i64)) -> Result<()> {
        *count += 1;
        *sum += booking(line)?.1;
        Ok(())
    }

    fn get_result(&self, (count, sum): &(u32, i64)) -> Result<String> {
        Ok(format!("mean {}", sum * 100 / i64::from(*count)))
    }

    fn merge(&self, a: (u32, i64), b: (u32, i64)) -> Result<(u32, i64)> {
        Ok((a.0 + b.0, a.1 + b.1))
    }
}
