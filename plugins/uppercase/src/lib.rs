//! A stateless map: text in upper case.

use wasmill_sdk::prelude::*;

/// A line in, the same in upper case out. Letters beyond ASCII follow Unicode.
#[derive(Default)]
pub struct Uppercase;

/// A line that is turned while it is written.
struct Turned<'a>(&'a str);

impl Emit<str> for Turned<'_> {
    fn write_to(&self, out: &mut Writer<'_>) -> Result<()> {
        if self.0.is_ascii() {
            out.bytes_mut(self.0.as_bytes()).make_ascii_uppercase();
        } else {
            out.text(&self.0.to_uppercase());
        }
        Ok(())
    }
}

impl MapFunction for Uppercase {
    type In = str;
    type Out = str;

    fn map(&mut self, line: &str) -> Result<impl Emit<str>> {
        Ok(Turned(line))
    }
}

wasmill_sdk::export! { "uppercase" => map Uppercase }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_become_upper_case() {
        let mut t = testing::Harness::new(Registration::map::<Uppercase>("uppercase"));
        t.element("", "abc-1").unwrap();
        t.element("", "straße").unwrap();
        assert_eq!(t.take_output(), ["ABC-1", "STRASSE"]);
    }
}
