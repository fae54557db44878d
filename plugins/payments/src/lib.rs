//! Orders joined with their payments: a keyed co-process function with state of both streams and timers (G13).

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

/// An order, or a payment for one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Event {
    order: String,
    amount: i64,
    at: i64,
}

/// An order with its payment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Paid {
    order: String,
    ordered: i64,
    paid: i64,
    /// From the order to the payment, in ms; negative where that was first.
    delay: i64,
}

/// How far apart an order and its payment may be, in ms.
const PATIENCE_MS: i64 = 15 * 60 * 1_000;

/// Joins each order with its payment, whichever comes first, where they are at most 15 minutes apart; what finds no partner
/// goes to the side outputs `unpaid` and `unmatched`.
#[derive(Default)]
pub struct MatchPayments {
    order: ValueState<Event>,
    payment: ValueState<Event>,
    unpaid: SideOutput<Json<Event>>,
    unmatched: SideOutput<Json<Event>>,
}

impl MatchPayments {
    /// Whether both are there and belong together; what comes of it does not depend on which stream was read first.
    fn try_match(&self, ctx: &mut Context<Json<Paid>>) -> Result<()> {
        let (Some(order), Some(payment)) = (self.order.value(ctx)?, self.payment.value(ctx)?) else {
            return Ok(());
        };
        let delay = payment.at - order.at;
        if delay.abs() > PATIENCE_MS {
            return Ok(());
        }
        self.order.clear(ctx)?;
        self.payment.clear(ctx)?;
        ctx.delete_event_timer(order.at + PATIENCE_MS);
        ctx.delete_event_timer(payment.at + PATIENCE_MS);
        ctx.emit(Json(Paid {
            order: order.order,
            ordered: order.amount,
            paid: payment.amount,
            delay,
        }));
        Ok(())
    }
}

impl KeyedCoProcessFunction for MatchPayments {
    type In1 = Json<Event>;
    type In2 = Json<Event>;
    type Out = Json<Paid>;

    fn declare(&mut self, d: &mut Declare) {
        self.order = d.value_state("order");
        self.payment = d.value_state("payment");
        self.unpaid = d.side_output("unpaid");
        self.unmatched = d.side_output("unmatched");
    }

    fn process_element1(&mut self, order: &Json<Event>, ctx: &mut Context<Json<Paid>>) -> Result<()> {
        self.order.update(ctx, &order.0)?;
        ctx.register_event_timer(order.0.at + PATIENCE_MS);
        self.try_match(ctx)
    }

    fn process_element2(&mut self, payment: &Json<Event>, ctx: &mut Context<Json<Paid>>) -> Result<()> {
        self.payment.update(ctx, &payment.0)?;
        ctx.register_event_timer(payment.0.at + PATIENCE_MS);
        self.try_match(ctx)
    }

    /// The clock is the lower of both streams': nothing that belongs to what waits is still to come.
    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<Json<Paid>>) -> Result<()> {
        let is_over = |waiting: &Event| waiting.at + PATIENCE_MS <= timer.at;
        if let Some(order) = self.order.value(ctx)?.filter(is_over) {
            self.order.clear(ctx)?;
            ctx.emit_to(self.unpaid, Json(order));
        }
        if let Some(payment) = self.payment.value(ctx)?.filter(is_over) {
            self.payment.clear(ctx)?;
            ctx.emit_to(self.unmatched, Json(payment));
        }
        Ok(())
    }
}

wasmill_sdk::export! { "match" => keyed_co_process MatchPayments }
