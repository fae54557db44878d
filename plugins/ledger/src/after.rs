//! The second version: cents, and which currency they are of.

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

use crate::before::RECENT;
use crate::{Known, booking};

/// Goes on from what the first version has stored.
pub(crate) const MIGRATES: u8 = 0;
/// Says that it is another version, and not how to come to it.
pub(crate) const FORGETS: u8 = 1;
/// Takes no 13 euros.
pub(crate) const REFUSES: u8 = 2;
/// Falls over them.
pub(crate) const TRAPS: u8 = 3;

/// An amount of money.
#[derive(Serialize, Deserialize)]
pub(crate) struct Amount {
    cents: i64,
    currency: String,
}

impl Amount {
    fn of(euros: i64) -> Self {
        Self {
            cents: euros * 100,
            currency: "EUR".to_owned(),
        }
    }
}

/// What is known of each account; `HOW` it comes to that from the first version.
#[derive(Default)]
pub(crate) struct Ledger2<const HOW: u8> {
    last: ValueState<Amount>,
    bookings: ListState<Amount>,
    days: MapState<u32, i64>,
    balance: ReducingState<i64>,
    mean: AggregatingState<Mean2>,
    recent: ValueState<String>,
}

impl<const HOW: u8> KeyedProcessFunction for Ledger2<HOW> {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        let now = || StateOptions::new().schema_version(2);
        self.last = d.value_state_with("last", now());
        self.bookings = d.list_state_with("bookings", now());
        self.days = d.map_state_with("days", now());
        self.balance = d.reducing_state_with("balance", |a, b| a + b, now());
        self.mean = d.aggregating_state_with("mean", now());
        self.recent = d.value_state_with("recent", now().ttl(StateTtl::new(RECENT)));
        if HOW == FORGETS {
            return;
        }
        d.migrate(&self.last, 1, |euros: i64| match (euros, HOW) {
            (13, REFUSES) => Err(Error::failed("13 euros bring bad luck")),
            (13, TRAPS) => panic!("13 euros brought bad luck"),
            _ => Ok(Some(Amount::of(euros))),
        });
        // What came to nothing is no booking any more.
        d.migrate(&self.bookings, 1, |euros: i64| {
            Ok((euros != 0).then(|| Amount::of(euros)))
        });
        // Days are counted from 1.
        d.migrate_map(&self.days, 1, |day: u32, euros: i64| {
            Ok((day != 0).then_some(euros * 100))
        });
        d.migrate(&self.balance, 1, |euros: i64| Ok(Some(euros * 100)));
        d.migrate(&self.mean, 1, Sum::of);
        d.migrate(&self.recent, 1, |euros: i64| {
            Ok(Some(format!("{} cents", euros * 100)))
        });
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        let (day, euros) = booking(line)?;
        self.last.update(ctx, &Amount::of(euros))?;
        self.bookings.add(ctx, &Amount::of(euros))?;
        let of_day = self.days.get(ctx, &day)?.unwrap_or(0) + euros * 100;
        self.days.put(ctx, &day, &of_day)?;
        self.balance.add(ctx, euros * 100)?;
        self.mean.add(ctx, line)?;
        let before = self.recent.value(ctx)?;
        let before = before.as_deref().unwrap_or("0 cents");
        if !before.ends_with(" cents") {
            return Err(Error::failed(format_args!("`{before}` was not migrated")));
        }
        self.recent.update(ctx, &format!("{} cents", euros * 100))?;
        let mut days = Vec::new();
        self.days.for_each(ctx, |_, day, cents| {
            days.push((day, cents));
            Ok(())
        })?;
        let bookings = self.bookings.get(ctx)?;
        let last = self.last.value(ctx)?;
        if bookings
            .iter()
            .chain(&last)
            .any(|amount| amount.currency != "EUR")
        {
            return Err(Error::failed("an amount has no currency"));
        }
        Known {
            last: last.map_or(0, |amount| amount.cents),
            bookings: bookings.into_iter().map(|amount| amount.cents).collect(),
            days,
            balance: self.balance.get(ctx)?.unwrap_or(0),
            mean: self.mean.get(ctx)?.unwrap_or_default(),
            recent: euros * 100,
        }
        .emit(ctx)
    }
}

/// How many bookings there are, and their sum.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Sum {
    cents: i64,
    count: u64,
}

impl Sum {
    /// What the first version had.
    fn of((count, euros): (u32, i64)) -> Result<Option<Self>> {
        Ok(Some(Self {
            cents: euros * 100,
            count: count.into(),
        }))
    }
}

/// The mean of all bookings.
#[derive(Default)]
pub(crate) struct Mean2;

impl AggregateFunction for Mean2 {
    type In = str;
    type Accumulator = Sum;
    type Out = String;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        let accumulator = d.accumulator::<Sum>(StateOptions::new().schema_version(2));
        d.migrate(&accumulator, 1, Sum::of);
    }

    fn create_accumulator(&self) -> Sum {
        Sum::default()
    }

    fn add(&self, line: &str, sum: &mut Sum) -> Result<()> {
        sum.count += 1;
        sum.cents += booking(line)?.1 * 100;
        Ok(())
    }

    fn get_result(&self, sum: &Sum) -> Result<String> {
        Ok(format!(
            "mean {}",
            sum.cents / i64::try_from(sum.count).unwrap_or(i64::MAX)
        ))
    }

    fn merge(&self, a: Sum, b: Sum) -> Result<Sum> {
        Ok(Sum {
            cents: a.cents + b.cents,
            count: a.count + b.count,
        })
    }
}
