//! An error in a job file: where it stands, what is wrong, what to do.
//!
//! Invariant: it prints as one line, `file:line:column: message`.

use std::fmt;

use serde_saphyr::{Error, Location};

/// What is wrong with a job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFileError {
    /// The file, as the user named it.
    pub file: String,
    /// Line and column, both from 1; `None` where the error is about the file as a whole.
    pub place: Option<(u64, u64)>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for JobFileError {}

impl JobFileError {
    /// An error at a place.
    pub fn at(file: &str, location: Option<Location>, message: impl Into<String>) -> Self {
        let place = location.filter(|l| l.line() > 0).map(|l| (l.line(), l.column()));
        Self {
            file: file.to_owned(),
            place,
            message: message.into(),
        }
    }

    /// From what the YAML reader or serde says, in our words where ours help more.
    pub fn from_yaml(file: &str, error: &Error) -> Self {
        let error = error.without_snippet();
        let location = error.location();
        let message = match error {
            Error::SerdeUnknownField { field, expected, .. } => unknown("field", field, expected),
            Error::SerdeUnknownVariant {
                variant, expected, ..
            } => unknown("value", variant, expected),
            Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing: add it"),
            Error::SerdeInvalidType {
                unexpected, expected, ..
            } => {
                format!("{expected} is expected here, not {unexpected}")
            }
            Error::SerdeInvalidValue {
                unexpected, expected, ..
            } => {
                format!("{expected} is expected here, not {unexpected}")
            }
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key `{key}` stands twice in this mapping: remove one")
            }
            Error::Message { msg, .. } => msg.clone(),
            Error::InvalidScalar { ty, .. } => format!("{} is expected here", scalar(ty)),
            Error::Unexpected {
                expected: "mapping start",
                ..
            } => {
                "a mapping is expected here: `key: value` on lines of their own, or `{key: value}`".to_owned()
            }
            Error::Unexpected {
                expected: "sequence start",
                ..
            } => "a list is expected here: `- value` on lines of their own, or `[value]`".to_owned(),
            Error::MultipleDocuments { .. } => {
                "the file holds a second document: one file is one job".to_owned()
            }
            Error::Eof { .. } => {
                "the file is empty or ends too early: a job starts with `version: 1`".to_owned()
            }
            other => one_line(&other.to_string()),
        };
        Self::at(file, location, message)
    }
}

/// The types of scalars as users call them.
fn scalar(ty: &str) -> String {
    match ty {
        "u8" | "u16" | "u32" | "u64" => "a whole number from 0 on".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "bool" => "`true` or `false`".to_owned(),
        other => format!("a value of type {other}"),
    }
}

/// The first line of a message, without the place that the reader appends to it.
fn one_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.rsplit_once(" at line ") {
        Some((head, place)) if place.starts_with(|c: char| c.is_ascii_digit()) => head.to_owned(),
        _ => line.to_owned(),
    }
}

fn unknown<S: AsRef<str>>(what: &str, given: &str, known: &[S]) -> String {
    let given: String = given.chars().take(64).flat_map(char::escape_debug).collect();
    format!("unknown {what} `{given}`{}", suggestion(&given, known))
}

/// `: did you mean …?`, or all that there is to choose from.
pub fn suggestion<S: AsRef<str>>(given: &str, known: &[S]) -> String {
    match nearest(given, known.iter().map(AsRef::as_ref)) {
        Some(near) => format!(": did you mean `{near}`?"),
        None if known.is_empty() => String::new(),
        None => {
            let names: Vec<_> = known.iter().map(|k| format!("`{}`", k.as_ref())).collect();
            format!(
                ": there {} {}",
                if known.len() == 1 { "is" } else { "are" },
                names.join(", ")
            )
        }
    }
}

/// The known name that a typing error may have meant.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    known
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(given.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_far_ones_are_not() {
        let known = ["paralellism", "sink", "source", "checkpointing"];
        assert_eq!(
            nearest("checkpoiting", known.iter().copied()),
            Some("checkpointing")
        );
        assert_eq!(nearest("sorce", known.iter().copied()), Some("source"));
        assert_eq!(nearest("zebra", known.iter().copied()), None);
        assert_eq!(suggestion("zebra", &["a", "b"]), ": there are `a`, `b`");
    }
}
