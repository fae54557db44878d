//! `join` and `co-group`: number what they are given of a key; equal records, and windows with one side alone, go to a side
//! output.

use wasmill_sdk::prelude::*;

#[derive(Default)]
pub struct Join {
    pairs: ValueState<u64>,
    same: SideOutput<str>,
}

impl JoinFunction for Join {
    type Left = str;
    type Right = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.pairs = d.value_state("pairs");
        self.same = d.side_output("same");
    }

    fn join(&mut self, window: Window, left: &str, right: &str, ctx: &mut Context<str>) -> Result<()> {
        let number = self.pairs.value(ctx)?.unwrap_or(0) + 1;
        self.pairs.update(ctx, &number)?;
        crate::check(left)?;
        crate::check(right)?;
        if left == right {
            ctx.emit_to(self.same, left);
        }
        ctx.emit((number, ':', left, '|', right, ('@', window.max_timestamp())));
        Ok(())
    }
}

#[derive(Default)]
pub struct CoGroup {
    groups: ValueState<u64>,
    alone: SideOutput<str>,
}

impl CoGroupFunction for CoGroup {
    type Left = str;
    type Right = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.groups = d.value_state("groups");
        self.alone = d.side_output("alone");
    }

    fn co_group(
        &mut self,
        window: Window,
        left: Elements<'_, str>,
        right: Elements<'_, str>,
        ctx: &mut Context<str>,
    ) -> Result<()> {
        let number = self.groups.value(ctx)?.unwrap_or(0) + 1;
        self.groups.update(ctx, &number)?;
        let (left, right) = (listed(left)?, listed(right)?);
        if left.is_empty() || right.is_empty() {
            ctx.emit_to(self.alone, (&left[..], &right[..]));
        }
        ctx.emit((
            number,
            ':',
            &left[..],
            '|',
            &right[..],
            ('@', window.max_timestamp()),
        ));
        Ok(())
    }
}

fn listed(elements: Elements<'_, str>) -> Result<String> {
    let mut all = Vec::new();
    elements.try_for_each(|element| {
        crate::check(element)?;
        all.push(element.to_owned());
        Ok(())
    })?;
    Ok(all.join("+"))
}
