//! The template language of the data generator: text with placeholders, parsed once.

use wasmill_model::row::extend_by_front;

use crate::shard::mix;

/// Text and placeholders in turn.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Text),
    Number(Expression),
}

/// Text with some room behind it, so that it is copied by a copy of a fixed size.
#[derive(Clone, Debug)]
struct Text {
    padded: Vec<u8>,
    length: usize,
}

impl Text {
    fn new(text: &[u8]) -> Self {
        let mut padded = text.to_vec();
        padded.resize(text.len().next_multiple_of(64), 0);
        Self {
            padded,
            length: text.len(),
        }
    }
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
                parts.push(Part::Text(Text::new(&rest.as_bytes()[..open])));
            }
            if rest[open + 1..].starts_with('{') {
                parts.push(Part::Text(Text::new(b"{")));
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
            parts.push(Part::Text(Text::new(rest.as_bytes())));
        }
        Ok(Self { parts })
    }

    /// Appends the record of a number.
    #[inline]
    pub(super) fn render(&self, index: u64, seed: u64, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => extend_by_front(out, &text.padded, text.length),
                Part::Number(expression) => push_decimal(out, expression.evaluate(index, seed)),
            }
        }
    }
}

/// Appends a number in decimal. Digits are written where they stay, without a loop: formatting is most of what
/// the generator does.
#[inline]
fn push_decimal(out: &mut Vec<u8>, number: u64) {
    const EIGHT_DIGITS: u64 = 100_000_000;
    if number >= EIGHT_DIGITS {
        push_decimal(out, number / EIGHT_DIGITS);
        out.extend_from_slice(&digits(number % EIGHT_DIGITS).to_le_bytes());
        return;
    }
    let digits = digits(number);
    // A leading zero is a byte `0x30`; the last digit stays whatever it is.
    let zeros = (digits & 0x0f0f_0f0f_0f0f_0f0f).trailing_zeros().min(56) / 8;
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&(digits >> (zeros * 8)).to_le_bytes());
    out.truncate(end);
}

/// The eight digits of a number below 10^8, the first in the lowest byte: halves, then pairs, then digits are
/// divided all at once, each in its own lane. The Rust SDK has the same: it shares no crate with the host.
#[inline]
fn digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | ((pairs - tens * 10) << 8)) | 0x3030_3030_3030_3030
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_printed() {
        let powers = (0..20).map(|exponent| 10u64.pow(exponent));
        let around = powers.flat_map(|power| [power - 1, power, power + 1]);
        let many = (0..100_000_000).step_by(9_973);
        for number in around.chain(many).chain([u64::MAX, 10_203_040]) {
            let mut out = b"x".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }

    #[test]
    fn long_text_is_kept_whole() {
        let text = "t".repeat(70);
        let mut out = Vec::new();
        Template::parse(&format!("{{{{{text}{{i}}"))
            .unwrap()
            .render(7, 0, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{{{text}7"));
    }
}
