//! The template language of the data generator: text with placeholders, parsed once.

use crate::shard::mix;

/// Text and placeholders in turn.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    Number(Expression),
}

/// `i`, `h` or `r`, alone or with `%n` or `/n`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expression {
    base: Base,
    operation: Operation,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    Index,
    Hash,
    Random,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Whole,
    Remainder(u64),
    Quotient(u64),
}

impl Expression {
    /// Without braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "`{{{text}}}` is no placeholder: there are i, h and r, each alone or with %n or /n, such as {{h%1000}}"
            )
        };
        let base = match text.chars().next() {
            Some('i') => Base::Index,
            Some('h') => Base::Hash,
            Some('r') => Base::Random,
            _ => return Err(unknown()),
        };
        let rest = &text[1..];
        let number = |digits: &str| match digits.parse::<u64>() {
            Ok(0) => Err(format!("`{{{text}}}` divides by 0")),
            Ok(number) => Ok(number),
            Err(_) => Err(unknown()),
        };
        let operation = match rest.chars().next() {
            None => Operation::Whole,
            Some('%') => Operation::Remainder(number(&rest[1..])?),
            Some('/') => Operation::Quotient(number(&rest[1..])?),
            Some(_) => return Err(unknown()),
        };
        Ok(Self { base, operation })
    }

    #[inline]
    pub(super) fn evaluate(self, index: u64, seed: u64) -> u64 {
        let base = match self.base {
            Base::Index => index,
            Base::Hash => index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1,
            Base::Random => mix(seed, index),
        };
        match self.operation {
            Operation::Whole => base,
            Operation::Remainder(n) => base % n,
            Operation::Quotient(n) => base / n,
        }
    }
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest.as_bytes()[..open].to_vec()));
            }
            if rest[open + 1..].starts_with('{') {
                parts.push(Part::Text(b"{".to_vec()));
                rest = &rest[open + 2..];
                continue;
            }
            let close = rest[open..].find('}').ok_or_else(|| {
                format!(
                    "a `{{` at `{}` has no `}}`; write `{{{{` for the character",
                    &rest[open..]
                )
            })?;
            parts.push(Part::Number(Expression::parse(&rest[open + 1..open + close])?));
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().to_vec()));
        }
        Ok(Self { parts })
    }

    /// Appends the record of a number.
    #[inline]
    pub(super) fn render(&self, index: u64, seed: u64, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Number(expression) => {
                    out.extend_from_slice(digits.format(expression.evaluate(index, seed)).as_bytes());
                }
            }
        }
    }
}
