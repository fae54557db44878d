//! Queries 5 and 7: the most of a window.

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

use crate::event::Bid;

/// How many bids an auction had in a window: a result of the host's own count.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Count {
    key: String,
    end: i64,
    count: u64,
}

/// Query 5: the auctions with the most bids of each window, which the stream is keyed by, as `end,auction,count`.
#[derive(Default)]
pub struct Hottest {
    /// Those with the most bids so far.
    hottest: ListState<Count>,
}

impl KeyedProcessFunction for Hottest {
    type In = Json<Count>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.hottest = d.list_state("hottest");
    }

    fn process_element(&mut self, Json(count): &Json<Count>, ctx: &mut Context<str>) -> Result<()> {
        // Counts carry the last timestamp of their window; the watermark behind it says that there are no others.
        ctx.register_event_timer(count.end);
        let most = self.hottest.get(ctx)?.first().map_or(0, |hottest| hottest.count);
        if count.count > most {
            self.hottest.clear(ctx)?;
        }
        match count.count >= most {
            true => self.hottest.add(ctx, count),
            false => Ok(()),
        }
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        for Count { key, count, .. } in self.hottest.get(ctx)? {
            ctx.emit((timer.at, ',', key, ',', count));
        }
        self.hottest.clear(ctx)
    }
}

/// Query 7: the highest bids of a window; several where prices are equal.
#[derive(Default)]
pub struct Highest;

impl AggregateFunction for Highest {
    type In = Json<Bid>;
    type Accumulator = Vec<Bid>;
    type Out = Json<Vec<Bid>>;

    fn create_accumulator(&self) -> Vec<Bid> {
        Vec::new()
    }

    fn add(&self, Json(bid): &Json<Bid>, highest: &mut Vec<Bid>) -> Result<()> {
        let price = highest.first().map_or(0, |highest| highest.price);
        if bid.price > price {
            highest.clear();
        }
        if bid.price >= price {
            highest.push(bid.clone());
        }
        Ok(())
    }

    fn get_result(&self, highest: &Vec<Bid>) -> Result<Json<Vec<Bid>>> {
        Ok(Json(highest.clone()))
    }

    fn merge(&self, mut a: Vec<Bid>, b: Vec<Bid>) -> Result<Vec<Bid>> {
        let price = |bids: &[Bid]| bids.first().map_or(0, |bid| bid.price);
        match price(&a).cmp(&price(&b)) {
            std::cmp::Ordering::Less => Ok(b),
            std::cmp::Ordering::Greater => Ok(a),
            std::cmp::Ordering::Equal => {
                a.extend(b);
                Ok(a)
            }
        }
    }
}

/// Writes the bids of [`Highest`] one by one, after the end of their window: `end,auction,bidder,price,time`.
#[derive(Default)]
pub struct OfWindow;

impl ProcessWindowFunction for OfWindow {
    type In = Json<Vec<Bid>>;
    type Out = str;

    fn process(
        &mut self,
        window: Window,
        results: Elements<Json<Vec<Bid>>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let end = window.max_timestamp() + 1;
        results.try_for_each(|Json(bids)| {
            for Bid {
                auction,
                bidder,
                price,
                date_time,
                ..
            } in bids
            {
                ctx.emit(format!("{end},{auction},{bidder},{price},{date_time}"));
            }
            Ok(())
        })
    }
}
