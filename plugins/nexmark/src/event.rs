//! What happens in the auction house, as the source `nexmark` writes it. Times are in ms, prices in cents.

use serde::{Deserialize, Serialize};

/// One of the three.
#[derive(Deserialize, Serialize)]
pub struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auction: Option<Auction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bid: Option<Bid>,
}

/// Somebody registers, to sell or to bid.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub id: u64,
    pub name: String,
    pub email_address: String,
    pub credit_card: String,
    pub city: String,
    pub state: String,
    pub date_time: i64,
    pub extra: String,
}

/// Somebody offers an item.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Auction {
    pub id: u64,
    pub item_name: String,
    pub description: String,
    pub initial_bid: u64,
    pub reserve: u64,
    pub date_time: i64,
    /// The last time at which a bid counts.
    pub expires: i64,
    pub seller: u64,
    pub category: u64,
    pub extra: String,
}

/// Somebody bids for it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub url: String,
    pub date_time: i64,
    pub extra: String,
}
