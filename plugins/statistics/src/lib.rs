//! How many events each window of a device has, and how many all its windows had: a total that survives failures.

use wasmill_sdk::prelude::*;

/// How many events there are.
#[derive(Default)]
pub struct Count;

impl AggregateFunction for Count {
    type In = [u8];
    type Accumulator = u64;
    type Out = u64;

    fn create_accumulator(&self) -> u64 {
        0
    }

    fn add(&self, _: &[u8], count: &mut u64) -> Result<()> {
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

/// Adds the result of [`Count`] to the total of the device: `end,device,count,total`.
///
/// The total is state of the key, whatever the window, so it is in every checkpoint.
#[derive(Default)]
pub struct Total {
    total: ValueState<u64>,
}

impl WindowFunction for Total {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.total = d.value_state("total");
    }

    fn apply(&mut self, window: Window, counts: Elements<str>, ctx: &mut Context<str>) -> Result<()> {
        let (device, end) = (ctx.key_str()?, window.max_timestamp() + 1);
        counts.try_for_each(|count| {
            let total = self.total.value(ctx)?.unwrap_or(0) + count.parse::<u64>()?;
            self.total.update(ctx, &total)?;
            ctx.emit((end, ',', device, ',', (count, ',', total)));
            Ok(())
        })
    }
}

wasmill_sdk::export! { "count" => aggregate Count, "total" => apply Total }
