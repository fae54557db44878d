//! What each query asks, answered by going through all events at once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

/// All events, by kind; bids by time.
pub(super) struct Events {
    persons: Vec<Value>,
    auctions: Vec<Value>,
    bids: Vec<Value>,
}

/// An auction that has a winner.
struct Winner {
    auction: u64,
    seller: u64,
    category: u64,
    price: u64,
    expired: i64,
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_default()
}

fn time(event: &Value, field: &str) -> i64 {
    event[field].as_i64().unwrap_or_default()
}

/// `{"key","start","end","count"}` as the host's own count writes it.
fn count(key: u64, start: i64, end: i64, count: u64) -> String {
    format!("{{\"key\":\"{key}\",\"start\":{start},\"end\":{end},\"count\":{count}}}")
}

/// How many events a key has in each tumbling window.
pub(super) fn counts_of_windows(events: &[(u64, i64)], size: i64) -> Vec<String> {
    let mut counts: BTreeMap<(u64, i64), u64> = BTreeMap::new();
    for (key, at) in events {
        *counts.entry((*key, at - at.rem_euclid(size))).or_default() += 1;
    }
    let counts = counts.into_iter();
    counts
        .map(|((key, start), number)| count(key, start, start + size, number))
        .collect()
}

impl Events {
    /// Of lines of JSON.
    pub(super) fn parse(lines: &[String]) -> Result<Self> {
        let mut events = Self {
            persons: Vec::new(),
            auctions: Vec::new(),
            bids: Vec::new(),
        };
        for line in lines {
            let mut event: Value = serde_json::from_str(line)?;
            for (kind, all) in [
                ("person", &mut events.persons),
                ("auction", &mut events.auctions),
                ("bid", &mut events.bids),
            ] {
                if event.get(kind).is_some() {
                    all.push(event[kind].take());
                }
            }
        }
        events.bids.sort_by_key(|bid| time(bid, "dateTime"));
        Ok(events)
    }

    /// Query 1.
    pub(super) fn in_euros(&self) -> Vec<String> {
        let in_euros = |bid: &Value| {
            let mut bid = bid.clone();
            bid["price"] = ((number(&bid, "price") * 908 + 500) / 1_000).into();
            bid.to_string()
        };
        self.bids.iter().map(in_euros).collect()
    }

    /// Query 2.
    pub(super) fn selected(&self) -> Vec<String> {
        let bids = self
            .bids
            .iter()
            .filter(|bid| number(bid, "auction").is_multiple_of(123));
        bids.map(|bid| format!("{},{}", bid["auction"], bid["price"]))
            .collect()
    }

    /// Query 3.
    pub(super) fn local_items(&self) -> Vec<String> {
        let mut items = Vec::new();
        for person in &self.persons {
            let text = |field: &str| person[field].as_str().unwrap_or_default().to_owned();
            if !["OR", "ID", "CA"].contains(&&text("state")[..]) {
                continue;
            }
            let own = self.auctions.iter().filter(|a| a["seller"] == person["id"]);
            for auction in own.filter(|a| a["category"] == 10) {
                let id = &auction["id"];
                items.push(format!(
                    "{},{},{},{id}",
                    text("name"),
                    text("city"),
                    text("state")
                ));
            }
        }
        items
    }

    /// The auctions with bids, in the order in which they end.
    fn winners(&self) -> Vec<Winner> {
        let winner = |auction: &Value| {
            let open = time(auction, "dateTime")..=time(auction, "expires");
            let bids = self.bids.iter().filter(|bid| bid["auction"] == auction["id"]);
            let bids = bids.filter(|bid| open.contains(&time(bid, "dateTime")));
            let price = bids.map(|bid| number(bid, "price")).max()?;
            Some(Winner {
                auction: number(auction, "id"),
                seller: number(auction, "seller"),
                category: number(auction, "category"),
                price,
                expired: *open.end(),
            })
        };
        let mut winners: Vec<_> = self.auctions.iter().filter_map(winner).collect();
        winners.sort_by_key(|winner| (winner.expired, winner.auction));
        winners
    }

    /// The average of the last prices of a key, whenever one more auction has ended.
    fn averages(&self, key: impl Fn(&Winner) -> u64, last: usize) -> Vec<String> {
        let mut prices: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut averages = Vec::new();
        for winner in self.winners() {
            let prices = prices.entry(key(&winner)).or_default();
            prices.push(winner.price);
            let last = &prices[prices.len().saturating_sub(last)..];
            let average = last.iter().sum::<u64>() / last.len() as u64;
            averages.push(format!("{},{},{average}", winner.expired, key(&winner)));
        }
        averages
    }

    /// Query 4.
    pub(super) fn averages_of_categories(&self) -> Vec<String> {
        self.averages(|winner| winner.category, usize::MAX)
    }

    /// Query 6.
    pub(super) fn averages_of_sellers(&self) -> Vec<String> {
        self.averages(|winner| winner.seller, 10)
    }

    /// Query 5.
    pub(super) fn hot_items(&self) -> Vec<String> {
        let (size, slide) = (10_000, 2_000);
        let mut counts: BTreeMap<i64, BTreeMap<u64, u64>> = BTreeMap::new();
        for bid in &self.bids {
            let at = time(bid, "dateTime");
            let last = at - at.rem_euclid(slide);
            for start in (0..size / slide).map(|n| last - n * slide) {
                let window = counts.entry(start + size).or_default();
                *window.entry(number(bid, "auction")).or_default() += 1;
            }
        }
        let hottest = counts.iter().flat_map(|(end, counts)| {
            let most = counts.values().max().copied().unwrap_or_default();
            let hottest = counts.iter().filter(move |(_, count)| **count == most);
            hottest.map(move |(auction, count)| format!("{end},{auction},{count}"))
        });
        hottest.collect()
    }

    /// Query 7.
    pub(super) fn highest_bids(&self) -> Vec<String> {
        let window = |bid: &Value| time(bid, "dateTime").div_euclid(10_000);
        let windows: BTreeSet<i64> = self.bids.iter().map(window).collect();
        let highest = windows.into_iter().flat_map(|number_of_window| {
            let bids = self
                .bids
                .iter()
                .filter(move |bid| window(bid) == number_of_window);
            let price = bids.clone().map(|bid| number(bid, "price")).max();
            let highest = bids.filter(move |bid| Some(number(bid, "price")) == price);
            highest.map(move |bid| {
                let end = (number_of_window + 1) * 10_000;
                let fields = ["auction", "bidder", "price", "dateTime"].map(|field| bid[field].to_string());
                format!("{end},{}", fields.join(","))
            })
        });
        highest.collect()
    }

    /// Query 8.
    pub(super) fn new_sellers(&self) -> Vec<String> {
        let window = |event: &Value| time(event, "dateTime").div_euclid(10_000);
        let sells = |person: &&Value| {
            let mut own = self.auctions.iter().filter(|a| a["seller"] == person["id"]);
            own.any(|auction| window(auction) == window(person))
        };
        let sellers = self.persons.iter().filter(sells);
        let line = |person: &Value| {
            let name = person["name"].as_str().unwrap_or_default();
            format!("{},{name},{}", person["id"], window(person) * 10_000)
        };
        sellers.map(line).collect()
    }

    /// Query 11.
    pub(super) fn sessions(&self) -> Vec<String> {
        let mut times: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for bid in &self.bids {
            let times = times.entry(number(bid, "bidder")).or_default();
            times.push(time(bid, "dateTime"));
        }
        let sessions = times.iter().flat_map(|(bidder, times)| {
            // A bid exactly at the end of a session belongs to it: windows that touch merge.
            let sessions = times.chunk_by(|earlier, later| later - earlier <= 10_000);
            sessions.map(|bids| count(*bidder, bids[0], bids[bids.len() - 1] + 10_000, bids.len() as u64))
        });
        sessions.collect()
    }
}
