//! Counts words: `split` makes lower-case words of lines, `count` keeps a running count of each.

use wasmill_sdk::prelude::*;

/// A line of text in, its words in lower case out. A word is a run of letters and digits.
#[derive(Default)]
pub struct Split {
    word: String,
}

impl FlatMapFunction for Split {
    type In = str;
    type Out = str;

    fn flat_map(&mut self, line: &str, ctx: &mut Context<str>) -> Result<()> {
        for word in line
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            self.word.clear();
            self.word.extend(word.chars().flat_map(char::to_lowercase));
            ctx.emit(&*self.word);
        }
        Ok(())
    }
}

/// A word in, `word,count` out.
#[derive(Default)]
pub struct Count {
    count: ValueState<u64>,
}

impl KeyedProcessFunction for Count {
    type In = str;
    type Out = str;

    fn declare(&mut self, d: &mut Declare) {
        self.count = d.value_state("count");
    }

    fn process_element(&mut self, word: &str, ctx: &mut Context<str>) -> Result<()> {
        let count = self.count.value(ctx)?.unwrap_or(0) + 1;
        self.count.update(ctx, &count)?;
        ctx.emit((word, ',', count));
        Ok(())
    }
}

wasmill_sdk::export! { "split" => flat_map Split, "count" => process Count }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_its_words_in_lower_case() {
        let mut t = testing::Harness::new(Registration::flat_map::<Split>("split"));
        t.element("", "To be, or NOT to bé!").unwrap();
        assert_eq!(t.take_output(), ["to", "be", "or", "not", "to", "bé"]);
    }

    #[test]
    fn each_word_has_its_own_running_count() {
        let mut t = testing::Harness::process::<Count>();
        for word in ["to", "be", "to"] {
            t.element(word, word).unwrap();
        }
        assert_eq!(t.take_output(), ["to,1", "be,1", "to,2"]);
    }
}
