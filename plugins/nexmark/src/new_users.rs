//! Query 8: who sells something in the window in which he registered?

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

use crate::event::{Auction, Person};

/// How long a window is, in ms.
const SIZE_MS: i64 = 10_000;

/// The start of the window of a time.
fn start_of(at: i64) -> i64 {
    at - at.rem_euclid(SIZE_MS)
}

/// The last millisecond of a window.
fn last_of(start: i64) -> i64 {
    start + SIZE_MS - 1
}

/// Who registered in a window that is not over.
#[derive(Deserialize, Serialize)]
pub struct NewUser {
    name: String,
    start: i64,
    is_told: bool,
}

/// Tells of a new user's first auction: `id,name,start`. Streams are keyed by the user; either may be ahead.
#[derive(Default)]
pub struct NewSellers {
    user: ValueState<NewUser>,
    /// The starts of the windows that are not over in which the user opened auctions, without those of `user`.
    opened: ListState<i64>,
}

impl NewSellers {
    fn tell(user: &NewUser, ctx: &mut Context<str>) -> Result<()> {
        let id = ctx.key_str()?;
        ctx.emit_at((id, ',', &user.name[..], ',', user.start), last_of(user.start));
        Ok(())
    }
}

impl KeyedCoProcessFunction for NewSellers {
    type In1 = Json<Person>;
    type In2 = Json<Auction>;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.user = d.value_state("user");
        self.opened = d.list_state("opened");
    }

    fn process_element1(&mut self, Json(person): &Json<Person>, ctx: &mut Context<str>) -> Result<()> {
        let start = start_of(person.date_time);
        let user = NewUser {
            name: person.name.clone(),
            start,
            is_told: self.opened.get(ctx)?.contains(&start),
        };
        if user.is_told {
            Self::tell(&user, ctx)?;
        }
        ctx.register_event_timer(last_of(start));
        self.user.update(ctx, &user)
    }

    fn process_element2(&mut self, Json(auction): &Json<Auction>, ctx: &mut Context<str>) -> Result<()> {
        let start = start_of(auction.date_time);
        match self.user.value(ctx)? {
            Some(user) if user.start == start && user.is_told => Ok(()),
            Some(user) if user.start == start => {
                Self::tell(&user, ctx)?;
                self.user.update(
                    ctx,
                    &NewUser {
                        is_told: true,
                        ..user
                    },
                )
            }
            _ if self.opened.get(ctx)?.contains(&start) => Ok(()),
            _ => {
                ctx.register_event_timer(last_of(start));
                self.opened.add(ctx, &start)
            }
        }
    }

    fn on_timer(&mut self, timer: Timer, ctx: &mut Context<str>) -> Result<()> {
        if self
            .user
            .value(ctx)?
            .is_some_and(|user| last_of(user.start) <= timer.at)
        {
            self.user.clear(ctx)?;
        }
        let mut opened = self.opened.get(ctx)?;
        opened.retain(|start| last_of(*start) > timer.at);
        self.opened.update(ctx, &opened)
    }
}
