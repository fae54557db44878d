//! `Contains-3-5-7`: what a key has seen, kept in an AggregatingState.

use wasmill_sdk::prelude::*;

/// Appends each value to a text.
#[derive(Default)]
pub struct Concatenate;

impl AggregateFunction for Concatenate {
    type In = str;
    type Accumulator = String;
    type Out = String;

    fn create_accumulator(&self) -> String {
        "Contains".to_owned()
    }

    fn add(&self, value: &str, text: &mut String) -> Result<()> {
        text.push('-');
        text.push_str(value);
        Ok(())
    }

    fn get_result(&self, text: &String) -> Result<String> {
        Ok(text.clone())
    }

    fn merge(&self, a: String, b: String) -> Result<String> {
        Ok(a + b.strip_prefix("Contains").unwrap_or(&b))
    }
}

/// A `key,value` line in, `key,Contains-…` out.
#[derive(Default)]
pub struct Contains {
    seen: AggregatingState<Concatenate>,
}

impl KeyedProcessFunction for Contains {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        self.seen = d.aggregating_state("seen");
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        let value = line.rsplit_once(',').map(|(_, value)| value);
        let value = value.ok_or_else(|| Error::bad_record("no `key,value` line"))?;
        self.seen.add(ctx, value)?;
        if let Some(seen) = self.seen.get(ctx)? {
            ctx.emit((ctx.key_str()?, ',', seen));
        }
        Ok(())
    }
}

wasmill_sdk::export! { "contains" => process Contains }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_appended_in_their_order() {
        let mut t = testing::Harness::process::<Contains>();
        for (key, line) in [("1", "1,3"), ("1", "1,5"), ("2", "2,4"), ("1", "1,7")] {
            t.element(key, line).unwrap();
        }
        let expected = [
            "1,Contains-3",
            "1,Contains-3-5",
            "2,Contains-4",
            "1,Contains-3-5-7",
        ];
        assert_eq!(t.take_output(), expected);
    }
}
