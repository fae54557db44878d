//! Who wins an auction: what queries 4 and 6 begin with.

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

use crate::event::{Auction, Bid};

/// An auction that is over, at the timestamp at which it expired.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Winner {
    pub auction: u64,
    pub seller: u64,
    pub category: u64,
    pub price: u64,
    pub bidder: u64,
    pub expired: i64,
}

/// What is kept of an auction that is open.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Open {
    seller: u64,
    category: u64,
    opened: i64,
    expires: i64,
    best: Option<Offer>,
}

/// What is kept of a bid.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Offer {
    price: u64,
    at: i64,
    bidder: u64,
}

impl Open {
    /// The highest bid wins, of equal ones the earliest, of those the one with the lowest bidder.
    fn take(&mut self, offer: Offer) {
        let counts = (self.opened..=self.expires).contains(&offer.at);
        let beats = self
            .best
            .as_ref()
            .is_none_or(|best| (offer.price, best.at, best.bidder) > (best.price, offer.at, offer.bidder));
        if counts && beats {
            self.best = Some(offer);
        }
    }
}

/// Tells of each auction its winning bid once it has expired, and nothing of one without bids. Streams are keyed by
/// the auction; either may be ahead of the other.
#[derive(Default)]
pub struct WinningBids {
    open: ValueState<Open>,
    /// Bids that came before their auction.
    early: ListState<Offer>,
}

impl KeyedCoProcessFunction for WinningBids {
    type In1 = Json<Auction>;
    type In2 = Json<Bid>;
    type Out = Json<Winner>;

    fn declare(&mut self, d: &mut Declare) {
        self.open = d.value_state("open");
        self.early = d.list_state("early");
    }

    fn process_element1(
        &mut self,
        Json(auction): &Json<Auction>,
        ctx: &mut Context<Json<Winner>>,
    ) -> Result<()> {
        let mut open = Open {
            seller: auction.seller,
            category: auction.category,
            opened: auction.date_time,
            expires: auction.expires,
            best: None,
        };
        self.early
            .get(ctx)?
            .into_iter()
            .for_each(|offer| open.take(offer));
        self.early.clear(ctx)?;
        ctx.register_event_timer(auction.expires);
        self.open.update(ctx, &open)
    }

    fn process_element2(&mut self, Json(bid): &Json<Bid>, ctx: &mut Context<Json<Winner>>) -> Result<()> {
        let offer = Offer {
            price: bid.price,
            at: bid.date_time,
            bidder: bid.bidder,
        };
        if let Some(mut open) = self.open.value(ctx)? {
            open.take(offer);
            return self.open.update(ctx, &open);
        }
        ctx.register_event_timer(bid.date_time);
        self.early.add(ctx, &offer)
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<Json<Winner>>) -> Result<()> {
        let Some(open) = self.open.value(ctx)? else {
            // No auction is older than these bids and still on its way: theirs is over.
            let later: Vec<Offer> = self
                .early
                .get(ctx)?
                .into_iter()
                .filter(|o| o.at > timer.at)
                .collect();
            return self.early.update(ctx, &later);
        };
        // The timer may be that of a bid which came before the auction.
        if timer.at < open.expires {
            return Ok(());
        }
        self.open.clear(ctx)?;
        if let Some(best) = open.best {
            ctx.emit(Json(Winner {
                auction: ctx.key_str()?.parse()?,
                seller: open.seller,
                category: open.category,
                price: best.price,
                bidder: best.bidder,
                expired: open.expires,
            }));
        }
        Ok(())
    }
}
