//! The accounts of customers, in two versions of the same functions: the first keeps amounts in whole euros, the second in
//! cents with their currency. The second goes on from what the first has stored, in every kind of state.
//!
//! All functions read `account,day,euros` lines; both versions tell amounts in cents, so that one's output goes on in the
//! other's.

mod after;
mod before;

use wasmill_sdk::prelude::*;

use after::{Ledger2, Mean2};
use before::{Ledger1, Mean1};

/// Day and euros of a line.
fn booking(line: &str) -> Result<(u32, i64)> {
    let mut fields = line.split(',').skip(1);
    match (fields.next(), fields.next()) {
        (Some(day), Some(euros)) => Ok((day.parse()?, euros.parse()?)),
        _ => Err(Error::bad_record("no `account,day,euros` line")),
    }
}

/// What is known of an account after a booking, amounts in cents.
struct Known {
    last: i64,
    bookings: Vec<i64>,
    days: Vec<(u32, i64)>,
    balance: i64,
    mean: String,
    recent: i64,
}

impl Known {
    fn emit(self, ctx: &mut Context<str>) -> Result<()> {
        let account = ctx.key_str()?;
        let Self {
            last,
            bookings,
            days,
            balance,
            mean,
            recent,
        } = self;
        ctx.emit(format_args!(
            "{account}: last {last}, bookings {bookings:?}, days {days:?}, balance {balance}, {mean}, recent {recent}"
        ));
        Ok(())
    }
}

wasmill_sdk::export! {
    "ledger-1" => process Ledger1,
    "ledger-2" => process Ledger2<{ after::MIGRATES }>,
    "ledger-2-forgets" => process Ledger2<{ after::FORGETS }>,
    "ledger-2-refuses" => process Ledger2<{ after::REFUSES }>,
    "ledger-2-traps" => process Ledger2<{ after::TRAPS }>,
    "mean-1" => aggregate Mean1,
    "mean-2" => aggregate Mean2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_tell_the_same_of_the_same_bookings() {
        let mut first = testing::Harness::process::<Ledger1>();
        let mut second = testing::Harness::process::<Ledger2<{ after::MIGRATES }>>();
        for line in ["a,1,3", "a,2,0", "a,1,6"] {
            first.element("a", line).unwrap();
            second.element("a", line).unwrap();
        }
        let output = first.take_output();
        assert_eq!(
            output[2],
            "a: last 600, bookings [300, 0, 600], days [(1, 900), (2, 0)], balance 900, mean 300, recent 600"
        );
        assert_eq!(output, second.take_output());
    }

    #[test]
    fn what_the_first_version_stored_is_migrated_value_by_value() {
        let mut first = testing::Harness::process::<Ledger1>();
        for line in ["a,1,3", "a,0,0"] {
            first.element("a", line).unwrap();
        }
        let second = testing::Harness::process::<Ledger2<{ after::MIGRATES }>>();
        let migrated = |state: &str, key: &[u8], value: &[u8]| second.migrate(state, 1, key, value).unwrap();
        let balance = first.value("a", "balance").unwrap();
        assert_eq!(
            migrated("balance", b"", &balance),
            Some(300_i64.to_le_bytes().to_vec())
        );
        let bookings = first.list("a", "bookings").into_iter();
        let kept: Vec<bool> = bookings
            .map(|booking| migrated("bookings", b"", &booking).is_some())
            .collect();
        assert_eq!(kept, [true, false]);
        for (day, euros) in first.map("a", "days") {
            assert_eq!(migrated("days", &day, &euros).is_some(), day == [0, 0, 0, 1]);
        }
    }
}
