//! The average of every three values of a key, kept in each kind of keyed state in turn.
//!
//! All four functions read `key,value` lines under a key and write `key,average` once three values are
//! there, then start anew: the same input gives the same output.

use wasmill_sdk::prelude::*;

/// Values that one average is made of.
const VALUES: u64 = 3;

/// The value of a `key,value` line.
fn value_of(line: &str) -> Result<f64> {
    let value = line.rsplit_once(',').map(|(_, value)| value.trim());
    let value = value.ok_or_else(|| Error::bad_record("no `key,value` line"))?;
    value
        .parse()
        .map_err(|_| Error::bad_record(format_args!("`{value}` is no number")))
}

fn emit(sum: f64, ctx: &mut Context<str>) -> Result<()> {
    let key = ctx.key_str()?;
    ctx.emit(format_args!("{key},{:.2}", sum / VALUES as f64));
    Ok(())
}

/// Count and sum in one value.
#[derive(Default)]
pub struct ByValue {
    total: ValueState<(u64, f64)>,
}

impl KeyedProcessFunction for ByValue {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        self.total = d.value_state("total");
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        let (count, sum) = self.total.value(ctx)?.unwrap_or_default();
        let (count, sum) = (count + 1, sum + value_of(line)?);
        if count < VALUES {
            return self.total.update(ctx, &(count, sum));
        }
        emit(sum, ctx)?;
        self.total.clear(ctx)
    }
}

/// The values themselves in a list.
#[derive(Default)]
pub struct ByList {
    values: ListState<f64>,
}

impl KeyedProcessFunction for ByList {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        self.values = d.list_state("values");
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        self.values.add(ctx, &value_of(line)?)?;
        let values = self.values.get(ctx)?;
        if values.len() as u64 == VALUES {
            emit(values.iter().sum(), ctx)?;
            self.values.clear(ctx)?;
        }
        Ok(())
    }
}

/// The values by the order of their arrival in a map.
#[derive(Default)]
pub struct ByMap {
    values: MapState<u64, f64>,
}

impl KeyedProcessFunction for ByMap {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        self.values = d.map_state("values");
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        let arrived = self.values.keys(ctx)?.len() as u64;
        self.values.put(ctx, &arrived, &value_of(line)?)?;
        if arrived + 1 == VALUES {
            let sum = self.values.values(ctx)?.iter().sum();
            emit(sum, ctx)?;
            self.values.clear(ctx)?;
        }
        Ok(())
    }
}

/// Count and sum, folded by a reducing state.
#[derive(Default)]
pub struct ByReducing {
    total: ReducingState<(u64, f64)>,
}

impl KeyedProcessFunction for ByReducing {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        d.input_format(Format::Csv);
        self.total = d.reducing_state("total", |a, b| (a.0 + b.0, a.1 + b.1));
    }

    fn process_element(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        self.total.add(ctx, (1, value_of(line)?))?;
        if let Some((VALUES, sum)) = self.total.get(ctx)? {
            emit(sum, ctx)?;
            self.total.clear(ctx)?;
        }
        Ok(())
    }
}

wasmill_sdk::export! {
    "by-value" => process ByValue,
    "by-list" => process ByList,
    "by-map" => process ByMap,
    "by-reducing" => process ByReducing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_state_gives_the_same_averages() {
        for registration in functions() {
            let mut t = testing::Harness::new(*registration);
            for (key, value) in [
                ("a", "a,1"),
                ("b", "b,10"),
                ("a", "a,2"),
                ("a", "a,6"),
                ("b", "b,20"),
                ("a", "a,4"),
                ("b", "b,33"),
            ] {
                t.element(key, value).unwrap();
            }
            assert_eq!(t.take_output(), ["a,3.00", "b,21.00"], "{}", registration.name());
        }
    }

    #[test]
    fn a_line_without_a_number_is_a_bad_record_and_changes_nothing() {
        for registration in functions() {
            let mut t = testing::Harness::new(*registration);
            t.element("a", "a,1").unwrap();
            let error = t.element("a", "a,x").unwrap_err();
            assert_eq!(error, Error::bad_record("`x` is no number"));
            t.element("a", "a,1").unwrap();
            t.element("a", "a,1").unwrap();
            assert_eq!(t.take_output(), ["a,1.00"], "{}", registration.name());
        }
    }
}
