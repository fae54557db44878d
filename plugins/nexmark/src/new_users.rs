//! Query 8: who sells something in the window in which he registered?

use wasmill_sdk::prelude::*;

use crate::event::{Auction, Person};

/// A new user who opens auctions in the window: `id,name,start`. Both streams are keyed by the user.
#[derive(Default)]
pub struct NewSellers;

impl CoGroupFunction for NewSellers {
    type Left = Json<Person>;
    type Right = Json<Auction>;
    type Out = str;

    fn co_group(
        &mut self,
        window: Window,
        persons: Elements<Json<Person>>,
        auctions: Elements<Json<Auction>>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let Window::Time { start, .. } = window else {
            return Err(Error::failed("the window of query 8 has a start"));
        };
        if auctions.is_empty() {
            return Ok(());
        }
        persons.try_for_each(|Json(person)| {
            let id = ctx.key_str()?;
            ctx.emit((id, ',', &person.name[..], ',', start));
            Ok(())
        })
    }
}
