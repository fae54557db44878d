//! One Nexmark event by its number.

use wasmill_model::time::Timestamp;

use crate::shard::mix;

const PERSON_PROPORTION: u64 = 1;
const AUCTION_PROPORTION: u64 = 3;
const TOTAL_PROPORTION: u64 = 50;
const FIRST_PERSON_ID: u64 = 1_000;
const FIRST_AUCTION_ID: u64 = 1_000;
const FIRST_CATEGORY_ID: u64 = 10;
/// Bids and auctions refer to the newest so many persons and auctions.
const ACTIVE_PERSONS: u64 = 1_000;
const IN_FLIGHT_AUCTIONS: u64 = 100;
/// One of so many bids goes to an auction, or comes from a bidder, that is not hot.
const HOT_AUCTION_RATIO: u64 = 2;
const HOT_BIDDER_RATIO: u64 = 4;
const HOT_SELLER_RATIO: u64 = 4;

const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] = [
    "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris",
];
const CITIES: [(&str, &str); 10] = [
    ("Phoenix", "AZ"),
    ("Los Angeles", "CA"),
    ("San Francisco", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Bend", "OR"),
    ("Redmond", "WA"),
    ("Seattle", "WA"),
    ("Kent", "WA"),
    ("Cheyenne", "WY"),
];
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// Writes events.
#[derive(Clone, Copy)]
pub(super) struct Generator {
    pub(super) seed: u64,
    pub(super) base_time: Timestamp,
    pub(super) events_per_second: u64,
}

/// Random numbers of one event.
struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        mix(self.seed, self.drawn) % bound.max(1)
    }

    /// Prices are spread evenly over magnitudes, from 1 to 10 million cents.
    fn price(&mut self) -> u64 {
        let exponent = self.below(7_000) as f64 / 1_000.0;
        (10f64.powf(exponent) * 100.0).round() as u64
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len() as u64) as usize)
    }
}

/// Number of the last person made at or before an event.
fn last_person(number: u64) -> u64 {
    // One person opens each epoch of 50 events.
    number / TOTAL_PROPORTION * PERSON_PROPORTION
}

/// Number of the last auction made at or before an event; 0 also where there is none yet.
fn last_auction(number: u64) -> u64 {
    let (epoch, offset) = (number / TOTAL_PROPORTION, number % TOTAL_PROPORTION);
    if offset < PERSON_PROPORTION {
        return (epoch * AUCTION_PROPORTION).saturating_sub(1);
    }
    epoch * AUCTION_PROPORTION + (offset - PERSON_PROPORTION).min(AUCTION_PROPORTION - 1)
}

impl Generator {
    /// Appends the event as JSON and returns its event time.
    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) -> Timestamp {
        let elapsed = u128::from(number) * 1_000 / u128::from(self.events_per_second);
        let time = self.base_time.saturating_add(elapsed as i64);
        let mut random = Random {
            seed: mix(self.seed, number),
            drawn: 0,
        };
        let offset = number % TOTAL_PROPORTION;
        let event = if offset < PERSON_PROPORTION {
            person(number, time, &mut random)
        } else if offset < PERSON_PROPORTION + AUCTION_PROPORTION {
            auction(number, time, &mut random)
        } else {
            bid(number, time, &mut random)
        };
        out.extend_from_slice(event.as_bytes());
        time
    }
}

fn person(number: u64, time: Timestamp, random: &mut Random) -> String {
    let id = FIRST_PERSON_ID + last_person(number);
    let first = random.one_of(&FIRST_NAMES).unwrap_or(&"");
    let last = random.one_of(&LAST_NAMES).unwrap_or(&"");
    let (city, state) = random.one_of(&CITIES).unwrap_or(&("", ""));
    let card: Vec<String> = (0..4).map(|_| format!("{:04}", random.below(10_000))).collect();
    format!(
        r#"{{"person":{{"id":{id},"name":"{first} {last}","emailAddress":"{}@{}.com","creditCard":"{}","city":"{city}","state":"{state}","dateTime":{time},"extra":""}}}}"#,
        first.to_lowercase(),
        last.to_lowercase(),
        card.join(" "),
    )
}

fn auction(number: u64, time: Timestamp, random: &mut Random) -> String {
    let id = FIRST_AUCTION_ID + last_auction(number);
    let newest = last_person(number);
    let seller = if random.below(HOT_SELLER_RATIO) > 0 {
        newest / HOT_SELLER_RATIO * HOT_SELLER_RATIO
    } else {
        newest - random.below(newest.min(ACTIVE_PERSONS) + 1)
    };
    let category = FIRST_CATEGORY_ID + random.below(5);
    let initial = random.price();
    let reserve = initial + random.price();
    let expires = time + 1 + random.below(20_000) as i64;
    format!(
        r#"{{"auction":{{"id":{id},"itemName":"item-{id}","description":"lot {}","initialBid":{initial},"reserve":{reserve},"dateTime":{time},"expires":{expires},"seller":{},"category":{category},"extra":""}}}}"#,
        random.below(100_000),
        FIRST_PERSON_ID + seller,
    )
}

fn bid(number: u64, time: Timestamp, random: &mut Random) -> String {
    let (newest_auction, newest_person) = (last_auction(number), last_person(number));
    let auction = if random.below(HOT_AUCTION_RATIO) > 0 {
        newest_auction / 100 * 100
    } else {
        newest_auction - random.below(newest_auction.min(IN_FLIGHT_AUCTIONS) + 1)
    };
    let bidder = if random.below(HOT_BIDDER_RATIO) > 0 {
        newest_person / 100 * 100
    } else {
        newest_person - random.below(newest_person.min(ACTIVE_PERSONS) + 1)
    };
    let channel = random.one_of(&CHANNELS).unwrap_or(&"");
    let url = random.below(1 << 20);
    format!(
        r#"{{"bid":{{"auction":{},"bidder":{},"price":{},"channel":"{channel}","url":"https://www.nexmark.com/item/{url}","dateTime":{time},"extra":""}}}}"#,
        FIRST_AUCTION_ID + auction,
        FIRST_PERSON_ID + bidder,
        random.price(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: u64) -> Vec<serde_json::Value> {
        let generator = Generator {
            seed: 1,
            base_time: 0,
            events_per_second: 1_000,
        };
        let event = |number| {
            let mut out = Vec::new();
            assert_eq!(generator.write(number, &mut out), number as i64);
            serde_json::from_slice(&out).unwrap()
        };
        (0..count).map(event).collect()
    }

    #[test]
    fn proportions_are_the_standard_ones() {
        let events = events(5_000);
        let count = |kind: &str| events.iter().filter(|e| e.get(kind).is_some()).count();
        assert_eq!(
            (count("person"), count("auction"), count("bid")),
            (100, 300, 4_600)
        );
    }

    #[test]
    fn ids_are_distinct_and_references_point_to_what_exists() {
        let (mut persons, mut auctions) = (Vec::new(), Vec::new());
        for event in events(10_000) {
            if let Some(person) = event.get("person") {
                persons.push(person["id"].as_u64().unwrap());
            } else if let Some(auction) = event.get("auction") {
                assert!(persons.contains(&auction["seller"].as_u64().unwrap()));
                auctions.push(auction["id"].as_u64().unwrap());
            } else {
                let bid = &event["bid"];
                assert!(auctions.contains(&bid["auction"].as_u64().unwrap()), "{bid}");
                assert!(persons.contains(&bid["bidder"].as_u64().unwrap()), "{bid}");
            }
        }
        assert_eq!(persons, (1_000..1_200).collect::<Vec<_>>());
        assert_eq!(auctions, (1_000..1_600).collect::<Vec<_>>());
    }
}
