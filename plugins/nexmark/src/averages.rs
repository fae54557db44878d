//! Queries 4 and 6: what is paid on average, told anew whenever an auction ends.
//!
//! Auctions come from several subtasks. So that the answer is the same each time they wait for the watermark and are
//! taken in the order in which they ended; of those that ended at once the one with the lower number is first.

use wasmill_sdk::prelude::*;

use crate::winners::Winner;

/// Auctions that wait for the watermark.
#[derive(Default)]
struct InOrder {
    waiting: ListState<Winner>,
}

impl InOrder {
    fn declare(&mut self, d: &mut Declare) {
        self.waiting = d.list_state("waiting");
    }

    fn add(&self, winner: &Winner, ctx: &mut Context<str>) -> Result<()> {
        ctx.register_event_timer(winner.expired);
        self.waiting.add(ctx, winner)
    }

    /// Those that ended when the timer says.
    fn ended(&self, timer: Timer, ctx: &mut Context<str>) -> Result<Vec<Winner>> {
        let waiting = self.waiting.get(ctx)?.into_iter();
        let (mut ended, later): (Vec<_>, Vec<_>) = waiting.partition(|winner| winner.expired <= timer.at);
        self.waiting.update(ctx, &later)?;
        ended.sort_by_key(|winner| winner.auction);
        Ok(ended)
    }
}

/// Query 4: the average price of all auctions of a category so far, as `time,category,average`.
#[derive(Default)]
pub struct OfCategory {
    ended: InOrder,
    /// How many, and the sum of their prices.
    paid: ValueState<(u64, u64)>,
}

impl KeyedProcessFunction for OfCategory {
    type In = Json<Winner>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.ended.declare(d);
        self.paid = d.value_state("paid");
    }

    fn process_element(&mut self, winner: &Json<Winner>, ctx: &mut Context<str>) -> Result<()> {
        self.ended.add(&winner.0, ctx)
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let (mut count, mut sum) = self.paid.value(ctx)?.unwrap_or_default();
        for winner in self.ended.ended(timer, ctx)? {
            (count, sum) = (count + 1, sum + winner.price);
            ctx.emit((timer.at, ',', winner.category, ',', sum / count));
        }
        self.paid.update(ctx, &(count, sum))
    }
}

/// How many auctions of a seller count.
const LAST: usize = 10;

/// Query 6: the average price of the last 10 auctions of a seller, as `time,seller,average`.
#[derive(Default)]
pub struct OfSeller {
    ended: InOrder,
    /// Prices, the oldest first.
    last: ValueState<Vec<u64>>,
}

impl KeyedProcessFunction for OfSeller {
    type In = Json<Winner>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.ended.declare(d);
        self.last = d.value_state("last");
    }

    fn process_element(&mut self, winner: &Json<Winner>, ctx: &mut Context<str>) -> Result<()> {
        self.ended.add(&winner.0, ctx)
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let mut last = self.last.value(ctx)?.unwrap_or_default();
        for winner in self.ended.ended(timer, ctx)? {
            if last.len() == LAST {
                last.remove(0);
            }
            last.push(winner.price);
            let average = last.iter().sum::<u64>() / last.len() as u64;
            ctx.emit((timer.at, ',', winner.seller, ',', average));
        }
        self.last.update(ctx, &last)
    }
}
