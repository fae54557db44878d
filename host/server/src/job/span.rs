//! Where in a job file each value stands: looked up by path when something is wrong with a value that
//! only turns out later, such as an input that no operator has.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::error::JobFileError;

/// The places of all values of one file.
#[derive(Debug)]
pub struct Spans {
    file: String,
    root: Spanned<Shape>,
}

/// One step into a value.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Into a mapping.
    Key(&'a str),
    /// Into a sequence.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A value without its scalars.
#[derive(Debug)]
pub enum Shape {
    /// Anything without parts.
    Scalar,
    /// Its elements.
    Sequence(Vec<Spanned<Shape>>),
    /// Its entries.
    Mapping(Vec<(String, Spanned<Shape>)>),
}

impl Spans {
    /// Of a file, as errors name it.
    pub fn new(file: &str, root: Spanned<Shape>) -> Self {
        Self {
            file: file.to_owned(),
            root,
        }
    }

    /// An error at the value that a path leads to, or at the last one on the way that is there.
    pub fn error(&self, path: &[Step<'_>], message: impl Into<String>) -> JobFileError {
        JobFileError::at(&self.file, Some(self.find(path)), message)
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn find(&self, path: &[Step<'_>]) -> Location {
        let mut at = &self.root;
        for step in path {
            let next = match (step, &at.value) {
                (Step::Key(key), Shape::Mapping(entries)) => {
                    entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
                }
                (Step::Index(index), Shape::Sequence(elements)) => elements.get(*index),
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at.referenced
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Shape, E> {
            Ok(Shape::Scalar)
        })*
    };
}

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_i128: i128, visit_u128: u128,
        visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while let Some(shape) = elements.next_element()? {
            shapes.push(shape);
        }
        Ok(Shape::Sequence(shapes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while let Some(key) = entries.next_key::<KeyText>()? {
            shapes.push((key.0, entries.next_value()?));
        }
        Ok(Shape::Mapping(shapes))
    }
}

/// A mapping's key; keys that are no text cannot be asked for.
struct KeyText(String);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = KeyText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, text: &str) -> Result<KeyText, E> {
                Ok(KeyText(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<KeyText, E> {
                Ok(KeyText(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<KeyText, E> {
                Ok(KeyText(value.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<KeyText, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(KeyText(String::new()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}
