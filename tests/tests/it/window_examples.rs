//! The example jobs with windows and timers, each by the job file that is shipped with it, against a plain model.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use wasmill_tests::example::Example;
use wasmill_tests::host::LIMIT;
use wasmill_tests::text;

const START: i64 = 1_700_000_000_000;

/// A number that looks random: the same for the same place.
fn random(seed: u64, n: u64, below: u64) -> i64 {
    let mixed = (seed << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as i64 % below as i64
}

fn lines(records: impl Iterator<Item = serde_json::Value>) -> String {
    records.map(|record| format!("{record}\n")).collect()
}

fn expect(example: &Example, directory: &str, mut expected: Vec<String>) -> Result<()> {
    expected.sort();
    ensure!(!expected.is_empty(), "the model expects nothing: mend the test");
    match text::difference(&text::committed(&example.path(directory))?, &expected) {
        None => Ok(()),
        Some(difference) => bail!("{directory}: {difference}"),
    }
}

fn run(example: &Example) -> Result<()> {
    example.run_on_each_backend()
}

/// The starts of the windows of a time.
fn windows_of(at: i64, size: i64, slide: i64) -> impl Iterator<Item = i64> {
    let last = at - at.rem_euclid(slide);
    (0..size / slide).map(move |n| last - n * slide)
}

#[test]
fn windows_over_words_and_readings() -> Result<()> {
    let example = Example::copy("windows")?;
    let words = ["To", "be", "or", "not", "that", "question", "Ärger"];
    // Times are out of order by less than the disorder that the job allows.
    let said: Vec<(i64, String)> = (0..300)
        .map(|n| {
            let word = |m| words[random(1, n * 3 + m, 7) as usize];
            let at = START + n as i64 * 150 - random(2, n, 1_500);
            (at, format!("{} {}, {}!", word(0), word(1), word(2)))
        })
        .collect();
    let text = lines(said.iter().map(|(at, text)| json!({"text": text, "at": at})));
    example.write("text/lines.jsonl", &text)?;
    let readings: Vec<(String, i64, i64)> = (0..900)
        .map(|n| {
            let at = START + n as i64 * 90 + random(3, n, 60);
            (format!("s{}", random(4, n, 4)), random(5, n, 40), at)
        })
        .collect();
    let values = readings.iter().map(|(sensor, value, at)| {
        // As the plugin writes them.
        format!("{{\"sensor\":\"{sensor}\",\"value\":{value},\"at\":{at}}}\n")
    });
    example.write("values/readings.jsonl", &values.collect::<String>())?;
    run(&example)?;

    let mut counts: BTreeMap<(String, i64), u64> = BTreeMap::new();
    for (at, text) in &said {
        let words = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty());
        for word in words {
            for start in windows_of(*at, 10_000, 2_000) {
                *counts.entry((word.to_lowercase(), start)).or_default() += 1;
            }
        }
    }
    let counts = counts.into_iter().map(|((word, start), count)| {
        let end = start + 10_000;
        format!("{{\"key\":\"{word}\",\"start\":{start},\"end\":{end},\"count\":{count}}}")
    });
    expect(&example, "out/words", counts.collect())?;
    expect_of_readings(&example, &readings)
}

fn expect_of_readings(example: &Example, readings: &[(String, i64, i64)]) -> Result<()> {
    let mut by_sensor: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    let mut sums: BTreeMap<(&str, i64), (i64, i64)> = BTreeMap::new();
    for (sensor, value, at) in readings {
        by_sensor.entry(sensor).or_default().push((*value, *at));
        let (sum, last) = sums
            .entry((sensor, at - at.rem_euclid(5_000)))
            .or_insert((0, *at));
        (*sum, *last) = (*sum + value, (*last).max(*at));
    }
    let sums = sums
        .iter()
        .map(|((sensor, _), (sum, at))| format!("{{\"sensor\":\"{sensor}\",\"value\":{sum},\"at\":{at}}}"));
    expect(example, "out/sum", sums.collect())?;
    let (mut highest, mut averages, mut rises) = (Vec::new(), Vec::new(), Vec::new());
    for (sensor, values) in by_sensor {
        for five in values.chunks_exact(5) {
            let (max, first) = (five.iter().map(|(value, _)| value).max(), five[0].1);
            let max = max.copied().unwrap_or_default();
            highest.push(format!(
                "{{\"sensor\":\"{sensor}\",\"value\":{max},\"at\":{first}}}"
            ));
        }
        for three in values.chunks_exact(3) {
            let sum: i64 = three.iter().map(|(value, _)| value).sum();
            averages.push(format!("{sensor},{:.2}", sum as f64 / 3.0));
        }
        // The rise that began last, and whether it was told of.
        let (mut last, mut began) = (None, None);
        for (value, at) in values {
            if let Some(since) = began.filter(|since| at >= since + 1_000) {
                rises.push(format!("{sensor},{since}"));
                began = None;
            }
            match last.is_some_and(|last| value > last) {
                true => began = began.or(Some(at)),
                false => began = None,
            }
            last = Some(value);
        }
        rises.extend(began.map(|since| format!("{sensor},{since}")));
    }
    expect(example, "out/highest", highest)?;
    expect(example, "out/average", averages)?;
    expect(example, "out/rising", rises)
}

#[test]
fn a_shop_knows_its_traffic_its_hot_items_and_its_unpaid_orders() -> Result<()> {
    const MINUTE: i64 = 60_000;
    let example = Example::copy("shop")?;
    let (mut at, mut open) = (START, Vec::new());
    let (mut events, mut views, mut ordered, mut paid) =
        (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
    for n in 0..2_000 {
        at += random(6, n, 20_000) + 1;
        let event = match random(7, n, 10) {
            0..6 => {
                let (user, item) = (
                    format!("u{}", random(8, n, 40)),
                    format!("item-{}", random(9, n, 8)),
                );
                views.push((user.clone(), item.clone(), at));
                json!({"event": "view", "user": user, "item": item, "at": at})
            }
            6 | 7 => {
                let order = format!("o{n}");
                open.push(order.clone());
                ordered.push((order.clone(), at));
                json!({"event": "order", "order": order, "at": at})
            }
            _ if open.is_empty() => continue,
            _ => {
                let order = open.swap_remove(random(10, n, open.len() as u64) as usize);
                paid.insert(order.clone(), at);
                json!({"event": "pay", "order": order, "at": at})
            }
        };
        events.push(event);
    }
    example.write("values/events.jsonl", &lines(events.into_iter()))?;
    run(&example)?;

    let mut traffic: BTreeMap<(i64, &str), (u64, BTreeSet<&str>)> = BTreeMap::new();
    let mut hot: BTreeMap<i64, BTreeMap<&str, u64>> = BTreeMap::new();
    for (user, item, at) in &views {
        let hour = at - at.rem_euclid(60 * MINUTE) + 60 * MINUTE;
        let (count, visitors) = traffic.entry((hour, item)).or_default();
        *count += 1;
        visitors.insert(user);
        for start in windows_of(*at, 60 * MINUTE, 5 * MINUTE) {
            *hot.entry(start + 60 * MINUTE)
                .or_default()
                .entry(item)
                .or_default() += 1;
        }
    }
    let traffic = traffic
        .iter()
        .map(|((end, item), (views, visitors))| format!("{end},{item},{views},{}", visitors.len()));
    expect(&example, "out/traffic", traffic.collect())?;
    let top = hot.iter().flat_map(|(end, counts)| {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let ranked = (1..).zip(counts.into_iter().take(3));
        ranked
            .map(|(rank, (item, count))| format!("{end},{rank},{item},{count}"))
            .collect::<Vec<_>>()
    });
    expect(&example, "out/hot", top.collect())?;
    let unpaid = ordered.iter().filter(|(order, at)| {
        let paid_at = paid.get(order).copied();
        paid_at.is_none_or(|paid_at| paid_at >= at + 15 * MINUTE)
    });
    let unpaid = unpaid.map(|(order, at)| format!("{at},{order}"));
    expect(&example, "out/unpaid", unpaid.collect())
}

/// An order or payment: which one, amount, time.
type Booking = (String, i64, i64);

fn bookings(bookings: &[Booking]) -> String {
    let each = bookings.iter().map(booking);
    each.map(|line| format!("{line}\n")).collect()
}

/// As the plugin writes it.
fn booking((order, amount, at): &Booking) -> String {
    format!("{{\"order\":\"{order}\",\"amount\":{amount},\"at\":{at}}}")
}

#[test]
fn orders_meet_their_payments_also_where_the_host_is_killed() -> Result<()> {
    const PATIENCE: i64 = 15 * 60_000;
    let example = Example::copy("payments")?;
    let (mut orders, mut payments): (Vec<Booking>, Vec<Booking>) = (Vec::new(), Vec::new());
    for n in 0..600 {
        let at = START + n as i64 * 20_000;
        let (order, kind) = (format!("o{n}"), random(11, n, 10));
        if kind > 0 {
            orders.push((order.clone(), random(12, n, 90), at));
        }
        // Before the order or long after it; some exactly when the patience ends.
        let delay = match random(13, n, 8) {
            0 => PATIENCE,
            1 => PATIENCE + 1,
            _ => random(14, n, 1_400_000) - 200_000,
        };
        if kind < 9 {
            payments.push((order, random(15, n, 90), at + delay));
        }
    }
    payments.sort_by_key(|payment| payment.2);
    example.write("values/orders.jsonl", &bookings(&orders))?;
    example.write("values/payments.jsonl", &bookings(&payments))?;
    example.edit("interval: 1s", "interval: 50ms")?;
    // Slow enough that the input outlives the kills.
    example.edit("orders.jsonl\"", "orders.jsonl\", rate: 200")?;
    example.edit("payments.jsonl\"", "payments.jsonl\", rate: 200")?;
    let host = example.host(&[])?;
    let job = example.submit(&host)?;
    let mut running = host;
    for _ in 0..3 {
        running.wait_for_a_new_checkpoint(&job)?;
        running.kill()?;
        running = example.host(&[])?;
    }
    ensure!(
        running.state(&job)? != "FINISHED",
        "the input ended before the last kill"
    );
    running.wait_for(&job, "FINISHED", LIMIT)?;

    let paid_of: BTreeMap<&str, &Booking> = payments.iter().map(|p| (&p.0[..], p)).collect();
    let (mut paid, mut unpaid, mut met) = (Vec::new(), Vec::new(), BTreeSet::new());
    for order in &orders {
        let payment = paid_of.get(&order.0[..]);
        match payment.filter(|payment| (payment.2 - order.2).abs() <= PATIENCE) {
            None => unpaid.push(booking(order)),
            Some(payment) => {
                met.insert(&order.0);
                paid.push(format!(
                    "{{\"order\":\"{}\",\"ordered\":{},\"paid\":{},\"delay\":{}}}",
                    order.0,
                    order.1,
                    payment.1,
                    payment.2 - order.2
                ));
            }
        }
    }
    let unmatched = payments.iter().filter(|payment| !met.contains(&payment.0));
    let unmatched = unmatched.map(booking).collect();
    expect(&example, "out/paid", paid)?;
    expect(&example, "out/unpaid", unpaid)?;
    expect(&example, "out/unmatched", unmatched)
}
