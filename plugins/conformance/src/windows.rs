//! `apply`: a window's elements in one line. `evictor`: leaves elements out by how they end.

use wasmill_sdk::prelude::*;

#[derive(Default)]
pub struct Joined;

impl WindowFunction for Joined {
    type In = str;
    type Out = str;

    fn apply(&mut self, _: Window, elements: Elements<str>, ctx: &mut Context<str>) -> Result<()> {
        let mut line = ctx.key_str()?.to_owned();
        elements.try_for_each(|element| {
            crate::check(element)?;
            line.push(' ');
            line.push_str(element);
            Ok(())
        })?;
        ctx.emit(line);
        Ok(())
    }
}

#[derive(Default)]
pub struct Endings;

impl Endings {
    fn ending(elements: &Elements<str>, ending: u8) -> Vec<u32> {
        let numbers = (0..).zip(elements.iter());
        let ends = numbers.filter(|(_, element)| element.value.last() == Some(&ending));
        ends.map(|(number, _)| number).collect()
    }
}

impl Evictor for Endings {
    type In = str;

    fn evict_before(&mut self, _: Window, elements: Elements<str>, _: &mut Context<()>) -> Result<Vec<u32>> {
        Ok(Self::ending(&elements, b'-'))
    }

    fn evict_after(&mut self, _: Window, elements: Elements<str>, _: &mut Context<()>) -> Result<Vec<u32>> {
        Ok(Self::ending(&elements, b'+'))
    }
}
