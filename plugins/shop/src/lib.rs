//! What a shop wants to know of its clicks: views and visitors, hot items, orders that nobody pays.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

/// What happened in the shop.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Somebody looked at an item.
    View {
        /// Who.
        user: String,
        /// At what.
        item: String,
    },
    /// An order was made.
    Order {
        /// Which.
        order: String,
    },
    /// An order was paid.
    Pay {
        /// Which.
        order: String,
    },
}

/// A view, for those that look at items alone.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct View {
    user: String,
    item: String,
}

/// Views alone.
#[derive(Default)]
pub struct Views;

impl FlatMapFunction for Views {
    type In = Json<Event>;
    type Out = Json<View>;

    fn flat_map(&mut self, event: &Json<Event>, ctx: &mut Context<Json<View>>) -> Result<()> {
        if let Event::View { user, item } = &event.0 {
            ctx.emit(Json(View {
                user: user.clone(),
                item: item.clone(),
            }));
        }
        Ok(())
    }
}

/// An order, or that it was paid.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OrderEvent {
    order: String,
    is_paid: bool,
}

/// Orders and payments alone.
#[derive(Default)]
pub struct Orders;

impl FlatMapFunction for Orders {
    type In = Json<Event>;
    type Out = Json<OrderEvent>;

    fn flat_map(&mut self, event: &Json<Event>, ctx: &mut Context<Json<OrderEvent>>) -> Result<()> {
        let (order, is_paid) = match &event.0 {
            Event::View { .. } => return Ok(()),
            Event::Order { order } => (order, false),
            Event::Pay { order } => (order, true),
        };
        ctx.emit(Json(OrderEvent {
            order: order.clone(),
            is_paid,
        }));
        Ok(())
    }
}

/// How many views, and by whom.
#[derive(Default, Deserialize, Serialize)]
pub struct Visits {
    views: u64,
    visitors: BTreeSet<String>,
}

/// What is told of them.
#[derive(Deserialize, Serialize)]
pub struct Traffic {
    views: u64,
    visitors: usize,
}

/// Page views and unique visitors of a window.
#[derive(Default)]
pub struct CountVisits;

impl AggregateFunction for CountVisits {
    type In = Json<View>;
    type Accumulator = Visits;
    type Out = Json<Traffic>;

    fn create_accumulator(&self) -> Visits {
        Visits::default()
    }

    fn add(&self, view: &Json<View>, visits: &mut Visits) -> Result<()> {
        visits.views += 1;
        if !visits.visitors.contains(&view.0.user) {
            visits.visitors.insert(view.0.user.clone());
        }
        Ok(())
    }

    fn get_result(&self, visits: &Visits) -> Result<Json<Traffic>> {
        Ok(Json(Traffic {
            views: visits.views,
            visitors: visits.visitors.len(),
        }))
    }

    fn merge(&self, mut a: Visits, b: Visits) -> Result<Visits> {
        a.views += b.views;
        a.visitors.extend(b.visitors);
        Ok(a)
    }
}

/// Puts item and window before [`Traffic`].
#[derive(Default)]
pub struct OfItem;

impl ProcessWindowFunction for OfItem {
    type In = Json<Traffic>;
    type Out = str;

    fn process(
        &mut self,
        window: Window,
        results: Elements<Json<Traffic>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let (item, end) = (ctx.key_str()?, window.max_timestamp() + 1);
        results.try_for_each(|Json(traffic)| {
            ctx.emit(format!("{end},{item},{},{}", traffic.views, traffic.visitors));
            Ok(())
        })
    }
}

/// How often an item was looked at in a window: a result of the host's own count.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Count {
    key: String,
    end: i64,
    count: u64,
}

/// The settings of [`TopItems`].
#[derive(Deserialize)]
struct Config {
    n: usize,
}

/// The most viewed items of each window, which the stream is keyed by: told when all counts of the window are there.
#[derive(Default)]
pub struct TopItems {
    n: usize,
    counts: ListState<Count>,
}

impl KeyedProcessFunction for TopItems {
    type In = Json<Count>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.counts = d.list_state("counts");
    }

    fn open(&mut self, ctx: &mut OpenContext) -> Result<()> {
        self.n = ctx.config::<Config>()?.n;
        Ok(())
    }

    fn process_element(&mut self, count: &Json<Count>, ctx: &mut Context<str>) -> Result<()> {
        // Counts carry the last timestamp of their window; the watermark behind it says that there are no others.
        ctx.register_event_timer(count.0.end);
        self.counts.add(ctx, &count.0)
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        let mut counts = self.counts.get(ctx)?;
        self.counts.clear(ctx)?;
        counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
        for (rank, count) in (1..).zip(counts.iter().take(self.n)) {
            ctx.emit(format!("{},{rank},{},{}", timer.at, count.key, count.count));
        }
        Ok(())
    }
}

/// How long an order may stay unpaid, in ms.
const PATIENCE_MS: i64 = 15 * 60 * 1_000;

/// Tells of orders that were not paid within 15 minutes.
#[derive(Default)]
pub struct Unpaid {
    deadline: ValueState<i64>,
}

impl KeyedProcessFunction for Unpaid {
    type In = Json<OrderEvent>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.deadline = d.value_state("deadline");
    }

    fn process_element(&mut self, event: &Json<OrderEvent>, ctx: &mut Context<str>) -> Result<()> {
        let at = ctx.timestamp().ok_or_else(|| Error::bad_record("no timestamp"))?;
        if !event.0.is_paid {
            ctx.register_event_timer(at + PATIENCE_MS);
            return self.deadline.update(ctx, &(at + PATIENCE_MS));
        }
        // What is paid after the deadline was unpaid then, whether the watermark has said so yet or not.
        if let Some(deadline) = self.deadline.value(ctx)?.filter(|deadline| at < *deadline) {
            ctx.delete_event_timer(deadline);
            self.deadline.clear(ctx)?;
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        self.deadline.clear(ctx)?;
        ctx.emit(format!("{},{}", timer.at - PATIENCE_MS, ctx.key_str()?));
        Ok(())
    }
}

wasmill_sdk::export! {
    "views" => flat_map Views,
    "orders" => flat_map Orders,
    "count-visits" => aggregate CountVisits,
    "of-item" => window OfItem,
    "top-items" => process TopItems,
    "unpaid" => process Unpaid,
}
