//! Queries 0 to 2, which look at one event at a time, and the events of one kind for those that do not.

use wasmill_sdk::prelude::*;

use crate::event::{Auction, Bid, Event, Person};

/// Query 0: every event as it is, read and written.
#[derive(Default)]
pub struct Events;

impl MapFunction for Events {
    type In = Json<Event>;
    type Out = Json<Event>;

    fn map(&mut self, event: &Json<Event>) -> Result<impl Emit<Json<Event>>> {
        Ok(&event.0)
    }
}

/// Persons alone.
#[derive(Default)]
pub struct Persons;

impl FlatMapFunction for Persons {
    type In = Json<Event>;
    type Out = Json<Person>;

    fn flat_map(&mut self, event: &Json<Event>, ctx: &mut Context<Json<Person>>) -> Result<()> {
        event.0.person.iter().for_each(|person| ctx.emit(person));
        Ok(())
    }
}

/// Auctions alone.
#[derive(Default)]
pub struct Auctions;

impl FlatMapFunction for Auctions {
    type In = Json<Event>;
    type Out = Json<Auction>;

    fn flat_map(&mut self, event: &Json<Event>, ctx: &mut Context<Json<Auction>>) -> Result<()> {
        event.0.auction.iter().for_each(|auction| ctx.emit(auction));
        Ok(())
    }
}

/// Bids alone.
#[derive(Default)]
pub struct Bids;

impl FlatMapFunction for Bids {
    type In = Json<Event>;
    type Out = Json<Bid>;

    fn flat_map(&mut self, event: &Json<Event>, ctx: &mut Context<Json<Bid>>) -> Result<()> {
        event.0.bid.iter().for_each(|bid| ctx.emit(bid));
        Ok(())
    }
}

/// Query 1: a price in dollars becomes one in euros, at 0.908 euros a dollar.
#[derive(Default)]
pub struct InEuros;

impl MapFunction for InEuros {
    type In = Json<Bid>;
    type Out = Json<Bid>;

    fn map(&mut self, bid: &Json<Bid>) -> Result<impl Emit<Json<Bid>>> {
        Ok(Json(Bid {
            price: (bid.0.price * 908 + 500) / 1_000,
            ..bid.0.clone()
        }))
    }
}

/// Query 2: auction and price of bids for every 123rd auction.
#[derive(Default)]
pub struct Selected;

impl FlatMapFunction for Selected {
    type In = Json<Bid>;
    type Out = str;

    fn flat_map(&mut self, Json(bid): &Json<Bid>, ctx: &mut Context<str>) -> Result<()> {
        if bid.auction % 123 == 0 {
            ctx.emit((bid.auction, ',', bid.price));
        }
        Ok(())
    }
}
