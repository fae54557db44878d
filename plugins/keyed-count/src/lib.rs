//! Counts records by key: the function that benches measure the boundary by.

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

wasmill_sdk::export! { "keyed-count" => process KeyedCount }

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
