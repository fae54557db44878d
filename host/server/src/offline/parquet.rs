//! State as Parquet files in a directory, and back.
//!
//! ```text
//! DIRECTORY/savepoint.jsonl                the job, its operators, operator state, raw state and committables, as lines
//! DIRECTORY/OPERATOR/timers.parquet
//! DIRECTORY/OPERATOR/states/STATE.parquet  a row for each value, map entry or element of a list
//! ```
//!
//! A row holds what a line holds (`line`): so both forms say the same, and one reader checks both. Names of operators and
//! states are escaped as in URLs. Invariants: `savepoint.jsonl` is written last, so an export that failed is none; memory
//! is bounded by `BUFFERED_BYTES_MAX` and a row.

mod columns;
mod rows;
mod table;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};
use wasmill_checkpoint::storage::StorageSettings;

use self::columns::{Column, columns_of_state, columns_of_timers};
use self::table::Table;
use super::OfflineError;
use super::change::{Import, Lines};
use super::document::Document;
use super::identity::Place;
use super::line::to_line;
use super::read::{Filter, Savepoint};
use super::write::Written;

/// The lines of an export.
const LINES: &str = "savepoint.jsonl";
const UNFINISHED: &str = "savepoint.jsonl.unfinished";
const TIMERS: &str = "timers";
const STATES: &str = "states";
const EXTENSION: &str = "parquet";

/// Rows of all files together that wait to be written.
const BUFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A file of the directory: an operator's timers, or one of its states.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TableName {
    operator: String,
    state: Option<String>,
}

impl TableName {
    fn path(&self, directory: &Path) -> PathBuf {
        let escaped = |name: &str| utf8_percent_encode(name, ESCAPED).to_string();
        let operator = directory.join(escaped(&self.operator));
        match &self.state {
            Some(state) => operator
                .join(STATES)
                .join(format!("{}.{EXTENSION}", escaped(state))),
            None => operator.join(format!("{TIMERS}.{EXTENSION}")),
        }
    }

    fn columns(&self, document: &Document) -> Result<Vec<Column>, String> {
        let head = document.operators.get(&self.operator);
        let head = head.ok_or_else(|| format!("the savepoint has no operator `{}`", self.operator))?;
        let Some(name) = &self.state else {
            return Ok(columns_of_timers());
        };
        match head.state(name) {
            Some((_, state)) => Ok(columns_of_state(state)),
            None => Err(format!("operator `{}` has no state `{name}`", self.operator)),
        }
    }
}

fn failed(path: &Path, error: impl std::fmt::Display) -> OfflineError {
    OfflineError(format!("{}: {error}", path.display()))
}

/// Writes all of a savepoint, or what the filter asks for, to a directory that is not there. Returns how many entries
/// there were.
pub fn export(savepoint: &Savepoint, filter: &Filter, directory: &Path) -> Result<u64, OfflineError> {
    savepoint.check(filter)?;
    fs::create_dir(directory).map_err(|error| {
        failed(
            directory,
            format!("{error}: name a directory that is not there, in one that is"),
        )
    })?;
    let mut tables = Tables {
        directory,
        document: savepoint.document(),
        open: BTreeMap::new(),
    };
    let (mut lines, mut entries) = (Vec::new(), 0);
    savepoint.visit(filter, &mut |identity, value| {
        entries += 1;
        let line = to_line(tables.document, &identity, value).map_err(|error| savepoint.failed(error))?;
        let state = match identity.place {
            Place::Entry { state, .. } => Some(state),
            Place::Timer { .. } => None,
            // They are few: they lie in the manifest.
            Place::Element { .. } | Place::Raw { .. } | Place::Committable { .. } => {
                lines.push(Value::Object(line));
                return Ok(());
            }
        };
        let name = TableName {
            operator: identity.operator,
            state,
        };
        tables.push(name, line)
    })?;
    let names = tables.finish()?;
    let lines = savepoint
        .head_lines(filter, Some(names))?
        .into_iter()
        .chain(lines);
    // It has its name once it is whole.
    let (unfinished, path) = (directory.join(UNFINISHED), directory.join(LINES));
    write_lines(&unfinished, lines)
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(|error| failed(&path, error))?;
    Ok(entries)
}

fn write_lines(path: &Path, mut lines: impl Iterator<Item = Value>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create_new(path)?);
    lines.try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()
}

/// The files that are being written.
struct Tables<'s> {
    directory: &'s Path,
    document: &'s Document,
    open: BTreeMap<TableName, Table>,
}

impl Tables<'_> {
    fn push(&mut self, name: TableName, line: Map<String, Value>) -> Result<(), OfflineError> {
        if !self.open.contains_key(&name) {
            let path = name.path(self.directory);
            let columns = name
                .columns(self.document)
                .map_err(|error| failed(&path, error))?;
            self.open.insert(name.clone(), Table::create(path, columns)?);
        }
        if let Some(table) = self.open.get_mut(&name) {
            table.push(line)?;
        }
        let buffered: usize = self.open.values().map(Table::bytes).sum();
        match buffered > BUFFERED_BYTES_MAX {
            true => self.open.values_mut().try_for_each(Table::flush),
            false => Ok(()),
        }
    }

    /// The paths of all files below the directory.
    fn finish(self) -> Result<Vec<String>, OfflineError> {
        let names = self
            .open
            .keys()
            .map(|name| name.path(Path::new("")).display().to_string());
        let names = names.collect();
        self.open.into_values().try_for_each(Table::finish)?;
        Ok(names)
    }
}

/// Writes a new savepoint to `to` from such a directory.
pub fn import(directory: &Path, to: &str, settings: &StorageSettings) -> Result<Written, OfflineError> {
    let path = directory.join(LINES);
    let file = File::open(&path).map_err(|error| {
        failed(
            &path,
            format!("{error}: import a whole export, as `wasmill state export --format parquet` writes it"),
        )
    })?;
    let name = path.display().to_string();
    let mut reader = BufReader::new(file);
    let mut import = Import::of(&mut Lines::new(&name, &mut reader))?;
    for table in import.document().head.tables.iter().flatten() {
        let path = directory.join(table);
        if !path.is_file() {
            return Err(failed(
                &path,
                format!("it is not there, and `{LINES}` names it: import the whole export"),
            ));
        }
    }
    for (table, path) in tables_of(directory)? {
        let columns = table
            .columns(import.document())
            .map_err(|error| failed(&path, error))?;
        rows::read(&path, &columns, &mut |mut line| {
            line.insert("operator".to_owned(), Value::from(table.operator.as_str()));
            if let Some(state) = &table.state {
                line.insert("state".to_owned(), Value::from(state.as_str()));
            }
            import.put(line)
        })?;
    }
    import.write(to, settings)
}

/// The files of a directory with what they hold.
fn tables_of(directory: &Path) -> Result<Vec<(TableName, PathBuf)>, OfflineError> {
    let mut tables = Vec::new();
    for path in entries_of(directory)? {
        if path == directory.join(LINES) {
            continue;
        }
        let operator = unescaped(&path)?;
        for path in entries_of(&path)? {
            let table = |state| TableName {
                operator: operator.clone(),
                state,
            };
            if path.is_dir() && path.file_name().is_some_and(|name| name == STATES) {
                for path in entries_of(&path)? {
                    tables.push((table(Some(unescaped(&path.with_extension(""))?)), path));
                }
            } else {
                tables.push((table(None), path));
            }
        }
    }
    for (table, path) in &tables {
        if table.path(directory) != *path {
            return Err(failed(
                path,
                format!(
                    "it is no part of an export: there should be `{LINES}`, `OPERATOR/{TIMERS}.{EXTENSION}` and \
                     `OPERATOR/{STATES}/STATE.{EXTENSION}` alone"
                ),
            ));
        }
    }
    Ok(tables)
}

fn entries_of(directory: &Path) -> Result<Vec<PathBuf>, OfflineError> {
    let entries = fs::read_dir(directory).map_err(|error| failed(directory, error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths
        .collect::<Result<_, _>>()
        .map_err(|error| failed(directory, error))?;
    paths.sort();
    Ok(paths)
}

fn unescaped(path: &Path) -> Result<String, OfflineError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.map(|name| percent_decode_str(name).decode_utf8());
    match name {
        Some(Ok(name)) => Ok(name.into_owned()),
        _ => Err(failed(
            path,
            "its name is no name of an operator or a state, escaped as in a URL",
        )),
    }
}
