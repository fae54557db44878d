//! Query 3: who sells, in some states, items of one category?

use serde::Deserialize;
use wasmill_sdk::prelude::*;

use crate::event::{Auction, Person};

/// The settings of [`FromStates`].
#[derive(Deserialize)]
struct States {
    states: Vec<String>,
}

/// Persons from some states.
#[derive(Default)]
pub struct FromStates {
    states: Vec<String>,
}

impl FilterFunction for FromStates {
    type In = Json<Person>;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.states = ctx.config::<States>()?.states;
        Ok(())
    }

    fn filter(&mut self, person: &Json<Person>) -> Result<bool> {
        Ok(self.states.contains(&person.0.state))
    }
}

/// The settings of [`InCategory`].
#[derive(Deserialize)]
struct Category {
    category: u64,
}

/// Auctions of one category.
#[derive(Default)]
pub struct InCategory {
    category: u64,
}

impl FilterFunction for InCategory {
    type In = Json<Auction>;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.category = ctx.config::<Category>()?.category;
        Ok(())
    }

    fn filter(&mut self, auction: &Json<Auction>) -> Result<bool> {
        Ok(auction.0.category == self.category)
    }
}

/// Joins sellers with their auctions, whichever comes first: `name,city,state,auction`.
///
/// A seller is kept for good. An auction waits for its seller until the watermark has passed it: who registers
/// after that cannot have opened it.
#[derive(Default)]
pub struct LocalItems {
    seller: ValueState<String>,
    waiting: ListState<u64>,
}

impl KeyedCoProcessFunction for LocalItems {
    type In1 = Json<Person>;
    type In2 = Json<Auction>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.seller = d.value_state("seller");
        self.waiting = d.list_state("waiting");
    }

    fn process_element1(&mut self, Json(person): &Json<Person>, ctx: &mut Context<str>) -> Result<()> {
        let seller = format!("{},{},{}", person.name, person.city, person.state);
        for auction in self.waiting.get(ctx)? {
            ctx.emit((&seller[..], ',', auction));
        }
        self.waiting.clear(ctx)?;
        self.seller.update(ctx, &seller)
    }

    fn process_element2(&mut self, Json(auction): &Json<Auction>, ctx: &mut Context<str>) -> Result<()> {
        if let Some(seller) = self.seller.value(ctx)? {
            ctx.emit((&seller[..], ',', auction.id));
            return Ok(());
        }
        ctx.register_event_timer(auction.date_time);
        self.waiting.add(ctx, &auction.id)
    }

    fn on_timer(&mut self, _: Timer, ctx: &mut Context<str>) -> Result<()> {
        // All wait for the same seller, who is older than the oldest of them.
        self.waiting.clear(ctx)
    }
}
