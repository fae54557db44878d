//! Counts records by key, and those of windows: the functions that benches measure the boundary by.

use wasmill_sdk::prelude::*;

/// Any record in, `key:count` out.
#[derive(Default)]
pub struct KeyedCount {
    count: ValueState<u64>,
}

impl KeyedProcessFunction for KeyedCount {
    type In = [u8];
    type Out = [u8];

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.value_state("count");
    }

    fn process_element(&mut self, _record: &[u8], ctx: &mut Context<[u8]>) -> Result<()> {
        let count = self.count.value(ctx)?.unwrap_or(0) + 1;
        self.count.update(ctx, &count)?;
        let key = ctx.key();
        ctx.emit_with(|out| {
            out.bytes(key).text(":").u64(count);
        });
        Ok(())
    }
}

/// How many records a window has, as they are looked at one after another: `key:count`.
#[derive(Default)]
pub struct WindowCount;

impl ProcessWindowFunction for WindowCount {
    type In = [u8];
    type Out = [u8];

    fn process(&mut self, _: Window, records: Elements<[u8]>, ctx: &mut Context<[u8]>) -> Result<()> {
        let mut count = 0;
        records.try_for_each(|_| {
            count += 1;
            Ok(())
        })?;
        let key = ctx.key();
        ctx.emit_with(|out| {
            out.bytes(key).text(":").u64(count);
        });
        Ok(())
    }
}

/// How many records a window has, counted as they come.
#[derive(Default)]
pub struct IncrementalCount;

impl AggregateFunction for IncrementalCount {
    type In = [u8];
    type Accumulator = u64;
    type Out = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, _record: &[u8], count: &mut u64) -> Result<()> {
        *count += 1;
        Ok(())
    }

    fn get_result(&self, count: &u64) -> Result<u64> {
        Ok(*count)
    }

    fn merge(&self, a: u64, b: u64) -> Result<u64> {
        Ok(a + b)
    }
}

wasmill_sdk::export! {
    "keyed-count" => process KeyedCount,
    "window-count" => window WindowCount,
    "incremental-count" => aggregate IncrementalCount,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_count() {
        let mut t = testing::Harness::process::<KeyedCount>();
        for key in ["a", "b", "a"] {
            t.element(key, "record").unwrap();
        }
        assert_eq!(t.take_output(), ["a:1", "b:1", "a:2"]);
    }
}
