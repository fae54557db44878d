//! `import` and `edit`: lines become a new savepoint.

use std::io::BufRead;

use serde_json::{Map, Value};
use wasmill_checkpoint::storage::StorageSettings;
use wasmill_model::key::MaxParallelism;

use super::OfflineError;
use super::document::{Document, Head, OperatorHead, VERSION};
use super::line::{Said, from_line};
use super::read::{Filter, Savepoint};
use super::sort::Sorter;
use super::write::{BASE, DELETED, PUT, Written, write};

/// A line may be long: a value is in it.
const LINE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Lines that are read, with the place for errors.
pub(super) struct Lines<'r> {
    name: &'r str,
    reader: &'r mut dyn BufRead,
    number: u64,
}

impl<'r> Lines<'r> {
    /// `name` is how errors call them.
    pub(super) fn new(name: &'r str, reader: &'r mut dyn BufRead) -> Self {
        Self {
            name,
            reader,
            number: 0,
        }
    }

    fn error(&self, message: impl std::fmt::Display) -> OfflineError {
        OfflineError(format!("{}:{}: {message}", self.name, self.number))
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Result<Option<Map<String, Value>>, OfflineError> {
        let mut text = Vec::new();
        loop {
            text.clear();
            self.number += 1;
            let mut limited = std::io::Read::take(&mut *self.reader, LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut text);
            match read.map_err(|error| self.error(error))? {
                0 => return Ok(None),
                _ if text.iter().all(u8::is_ascii_whitespace) => {}
                _ => break,
            }
        }
        match serde_json::from_slice(&text) {
            Ok(Value::Object(line)) => Ok(Some(line)),
            Ok(other) => Err(self.error(format!("the line is `{other}`: write a JSON object"))),
            Err(error) => Err(self.error(format!("the line is no JSON: {error}"))),
        }
    }
}

/// Writes a new savepoint to `to` from the lines of an export. `name` is how errors call them.
pub fn import(
    name: &str,
    reader: &mut dyn BufRead,
    to: &str,
    settings: &StorageSettings,
) -> Result<Written, OfflineError> {
    Import::of(&mut Lines::new(name, reader))?.write(to, settings)
}

/// A savepoint that is put together.
pub(super) struct Import {
    document: Document,
    sorter: Sorter,
}

impl Import {
    /// With all that the lines say.
    pub(super) fn of(lines: &mut Lines<'_>) -> Result<Self, OfflineError> {
        let document = Document {
            head: head(lines)?,
            operators: Default::default(),
        };
        let sorter = Sorter::new();
        let mut import = Self { document, sorter };
        while let Some(line) = lines.next()? {
            if line.contains_key("parallelism") {
                let (uid, operator) = operator(line).map_err(|error| lines.error(error))?;
                if import.document.operators.insert(uid.clone(), operator).is_some() {
                    return Err(lines.error(format!("operator `{uid}` is described twice")));
                }
            } else {
                import.put(line).map_err(|error| lines.error(error))?;
            }
        }
        Ok(import)
    }

    /// The job and its operators.
    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    /// Adds the line of an entry.
    pub(super) fn put(&mut self, line: Map<String, Value>) -> Result<(), String> {
        put(&mut self.sorter, &self.document, line, false)
    }

    /// Writes it to `to`.
    pub(super) fn write(self, to: &str, settings: &StorageSettings) -> Result<Written, OfflineError> {
        write(&self.document, &mut self.sorter.finish()?, to, settings)
    }
}

/// Writes a new savepoint to `to`: that of `base` with the entries that the lines put or delete.
pub fn edit(
    base: &Savepoint,
    name: &str,
    reader: &mut dyn BufRead,
    to: &str,
    settings: &StorageSettings,
) -> Result<Written, OfflineError> {
    let mut lines = Lines::new(name, reader);
    let document = base.document();
    // IMPORTANT: changes are put in before what they take the place of. And one that is wrong is found before all of
    // the state is read.
    let mut sorter = Sorter::new();
    while let Some(line) = lines.next()? {
        let describes = line.contains_key("savepoint") || line.contains_key("parallelism");
        if !describes {
            put(&mut sorter, document, line, true).map_err(|error| lines.error(error))?;
        }
    }
    base.visit(&Filter::default(), &mut |identity, value| {
        let mut marked = vec![BASE];
        marked.extend_from_slice(value);
        sorter.push(identity.order(), marked)
    })?;
    write(document, &mut sorter.finish()?, to, settings)
}

fn put(
    sorter: &mut Sorter,
    document: &Document,
    line: Map<String, Value>,
    deletes: bool,
) -> Result<(), String> {
    let (identity, mark, value) = match from_line(document, line, deletes)? {
        Said::Put(identity, value) => (identity, PUT, value),
        Said::Delete(identity) => (identity, DELETED, Vec::new()),
    };
    let mut marked = vec![mark];
    marked.extend(value);
    sorter.push(identity.order(), marked).map_err(|error| error.0)
}

fn head(lines: &mut Lines<'_>) -> Result<Head, OfflineError> {
    let first = lines.next()?.and_then(|mut line| line.remove("savepoint"));
    let Some(first) = first else {
        return Err(lines.error(
            "the first line should be {\"savepoint\": …}, as `wasmill state export` writes it: import a whole export",
        ));
    };
    let head: Head = serde_json::from_value(first)
        .map_err(|error| lines.error(format!("`savepoint` cannot be read: {error}")))?;
    if head.version != VERSION {
        return Err(lines.error(format!(
            "the lines have version {}, this program reads {VERSION}: use the program that wrote them",
            head.version
        )));
    }
    if let Some(only) = &head.only {
        let shown = [("operator", &only.operator), ("state", &only.state)];
        let shown = shown.map(|(what, name)| name.as_ref().map(|name| format!("{what} `{name}`")));
        let shown: Vec<String> = shown.into_iter().flatten().collect();
        return Err(lines.error(format!(
            "it is an export of {} alone: import one of all, or put these lines into a savepoint by `wasmill state edit`",
            shown.join(", ")
        )));
    }
    let max = head.max_parallelism.0;
    if !(1..=MaxParallelism::MAX).contains(&max) {
        return Err(lines.error(format!(
            "`max-parallelism` is {max}: write 1 to {}",
            MaxParallelism::MAX
        )));
    }
    Ok(head)
}

fn operator(mut line: Map<String, Value>) -> Result<(String, OperatorHead), String> {
    let Some(Value::String(uid)) = line.remove("operator") else {
        return Err("it has no `operator`: name the operator's uid".to_owned());
    };
    let mut operator: OperatorHead = serde_json::from_value(Value::Object(line))
        .map_err(|error| format!("the description of operator `{uid}` cannot be read: {error}"))?;
    if operator.parallelism == 0 {
        return Err(format!("operator `{uid}` has parallelism 0"));
    }
    operator.states.sort_by(|a, b| a.name.cmp(&b.name));
    if operator
        .states
        .windows(2)
        .any(|pair| pair[0].name == pair[1].name)
    {
        return Err(format!("operator `{uid}` declares a state twice"));
    }
    Ok((uid, operator))
}
