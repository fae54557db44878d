//! `process-join`: numbers the pairs of a key; those of equal records go to a side output.

use wasmill_sdk::prelude::*;

#[derive(Default)]
pub struct ProcessJoin {
    pairs: ValueState<u64>,
    same: SideOutput<str>,
}

impl ProcessJoinFunction for ProcessJoin {
    type Left = str;
    type Right = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.pairs = d.value_state("pairs");
        self.same = d.side_output("same");
    }

    fn process_pair(&mut self, pair: Pair<'_, str, str>, ctx: &mut Context<str>) -> Result<()> {
        let number = self.pairs.value(ctx)?.unwrap_or(0) + 1;
        self.pairs.update(ctx, &number)?;
        crate::check(pair.left)?;
        crate::check(pair.right)?;
        if pair.left == pair.right {
            ctx.emit_to(self.same, pair.left);
        }
        let times = (pair.left_timestamp, ',', pair.right_timestamp);
        ctx.emit((number, ':', pair.left, '|', pair.right, ('@', times)));
        Ok(())
    }
}
