//! Which columns hold the fields of a line, by what a state declares.
//!
//! Invariant: of the columns of one field the first that can hold the value does, the last can hold any that a line may
//! have there; and what comes out of the columns is the line that went in.

use serde_json::{Map, Value, json};
use wasmill_model::function::{StateDeclaration, StateKind};

use crate::offline::typed;

/// How a column holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// Any value, as JSON.
    Json,
    Signed,
    Unsigned,
    Float,
    Bool,
    /// `{"base64": …}`
    Bytes,
    /// Milliseconds since 1970.
    Millis,
}

impl Form {
    /// The column's type, in the language of Parquet's schemas.
    pub(super) fn declared(self, name: &str) -> String {
        let (physical, logical) = match self {
            Self::Text => ("binary", " (STRING)"),
            Self::Json => ("binary", " (JSON)"),
            Self::Signed => ("int64", ""),
            Self::Unsigned => ("int64", " (INTEGER(64,false))"),
            Self::Float => ("double", ""),
            Self::Bool => ("boolean", ""),
            Self::Bytes => ("binary", ""),
            Self::Millis => ("int64", " (TIMESTAMP(MILLIS,true))"),
        };
        format!("optional {physical} {name}{logical};")
    }

    /// What errors call it.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Text => "text (STRING)",
            Self::Json => "text (STRING or JSON)",
            Self::Signed => "whole numbers (INT64)",
            Self::Unsigned => "whole numbers from 0 (INT64, unsigned or not)",
            Self::Float => "numbers (DOUBLE)",
            Self::Bool => "BOOLEAN",
            Self::Bytes => "bytes (BYTE_ARRAY)",
            Self::Millis => "times (TIMESTAMP)",
        }
    }
}

/// A value in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Bytes(Vec<u8>),
    /// An unsigned number by its bits.
    Number(i64),
    Float(f64),
    Bool(bool),
}

impl Cell {
    /// `None` where the form cannot hold the value.
    pub(super) fn of(form: Form, value: &Value) -> Option<Self> {
        Some(match form {
            Form::Text => Self::Bytes(value.as_str()?.as_bytes().to_vec()),
            Form::Json => Self::Bytes(value.to_string().into_bytes()),
            Form::Signed | Form::Millis => Self::Number(value.as_i64()?),
            Form::Unsigned => Self::Number(value.as_u64()? as i64),
            Form::Float => Self::Float(value.as_f64().filter(|_| value.is_f64())?),
            Form::Bool => Self::Bool(value.as_bool()?),
            Form::Bytes => Self::Bytes(typed::opaque_bytes(value)?.ok()?),
        })
    }

    /// The value; `None` where the cell is none of the form.
    pub(super) fn value(&self, form: Form) -> Option<Value> {
        Some(match (form, self) {
            (Form::Text, Self::Bytes(text)) => Value::from(std::str::from_utf8(text).ok()?),
            (Form::Json, Self::Bytes(text)) => serde_json::from_slice(text).ok()?,
            (Form::Signed | Form::Millis, Self::Number(number)) => Value::from(*number),
            (Form::Unsigned, Self::Number(number)) => Value::from(*number as u64),
            // JSON has no such number.
            (Form::Float, Self::Float(number)) if !number.is_finite() => typed::opaque(&number.to_le_bytes()),
            (Form::Float, Self::Float(number)) => Value::from(*number),
            (Form::Bool, Self::Bool(flag)) => Value::from(*flag),
            (Form::Bytes, Self::Bytes(bytes)) => typed::opaque(bytes),
            _ => return None,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => size_of::<Vec<u8>>() + bytes.len(),
            Self::Number(_) | Self::Float(_) => 8,
            Self::Bool(_) => 1,
        }
    }
}

/// A column and the field of a line that it holds.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    field: &'static str,
    pub(super) form: Form,
}

/// Names of a line's fields are written with `-`, those of columns with `_`, which needs no quotes in SQL.
fn column(field: &'static str, suffix: &str, form: Form) -> Column {
    Column {
        name: field.replace('-', "_") + suffix,
        field,
        form,
    }
}

const WINDOW_START: &str = "window-start";
const WINDOW_END: &str = "window-end";
const NAMESPACE: &str = "namespace";

fn place() -> Vec<Column> {
    vec![
        column("key", "", Form::Text),
        column("key", "_number", Form::Signed),
        column("key", "_json", Form::Json),
        column("key-group", "", Form::Signed),
        column(WINDOW_START, "", Form::Millis),
        column(WINDOW_END, "", Form::Millis),
        column(NAMESPACE, "", Form::Json),
    ]
}

/// Of the timers of an operator.
pub(super) fn columns_of_timers() -> Vec<Column> {
    let mut columns = vec![
        column("timer", "", Form::Text),
        column("timestamp", "", Form::Signed),
    ];
    columns.extend(place());
    columns
}

/// Of a state.
pub(super) fn columns_of_state(state: &StateDeclaration) -> Vec<Column> {
    let mut columns = place();
    if state.kind == StateKind::Map {
        let encoding = typed::map_key_encoding(state);
        let form = match encoding {
            "bool" => Form::Bool,
            "u8" | "u16-be" | "u32-be" | "u64-be" => Form::Unsigned,
            _ if encoding.ends_with("-ordered") => Form::Signed,
            _ => Form::Text,
        };
        columns.push(column("map-key", "", form));
        if form != Form::Text {
            columns.push(column("map-key", "_text", Form::Text));
        }
        columns.push(column("map-key", "_bytes", Form::Bytes));
    }
    if state.ttl.is_some() {
        columns.push(column("last-update", "", Form::Millis));
    }
    let field = match state.kind {
        StateKind::List => "element",
        _ => "value",
    };
    let form = match state.encoding.as_str() {
        "u64-le" => Form::Unsigned,
        "i64-le" => Form::Signed,
        "f64-le" => Form::Float,
        "utf8" | "raw" => Form::Text,
        "json" => Form::Json,
        _ => Form::Bytes,
    };
    columns.push(column(field, "", form));
    if !matches!(form, Form::Json | Form::Bytes) {
        columns.push(column(field, "_bytes", Form::Bytes));
    }
    columns
}

/// The cells of a line, one for each column.
pub(super) fn cells(columns: &[Column], mut line: Map<String, Value>) -> Result<Vec<Option<Cell>>, String> {
    // They stand in the name of the file.
    line.remove("operator");
    line.remove("state");
    if let Some(window) = line.remove("window") {
        match (window.get("start"), window.get("end")) {
            (Some(start), Some(end)) => {
                line.insert(WINDOW_START.to_owned(), start.clone());
                line.insert(WINDOW_END.to_owned(), end.clone());
            }
            _ => drop(line.insert(NAMESPACE.to_owned(), window)),
        }
    }
    let cells = columns.iter().map(|column| {
        let cell = Cell::of(column.form, line.get(column.field)?)?;
        line.remove(column.field);
        Some(cell)
    });
    let cells = cells.collect();
    match line.into_iter().next() {
        Some((field, value)) => Err(format!("no column holds the `{field}` {value}: this is a bug")),
        None => Ok(cells),
    }
}

/// The line of such cells.
pub(super) fn line(columns: &[Column], cells: Vec<Option<Cell>>) -> Result<Map<String, Value>, String> {
    let mut line = Map::new();
    for (column, cell) in columns.iter().zip(cells) {
        let Some(cell) = cell else {
            continue;
        };
        let value = cell
            .value(column.form)
            .ok_or_else(|| format!("its `{}` is not {}", column.name, column.form.shown()))?;
        if line.insert(column.field.to_owned(), value).is_some() {
            let of_field = columns.iter().filter(|other| other.field == column.field);
            let names: Vec<_> = of_field.map(|column| format!("`{}`", column.name)).collect();
            return Err(format!("it has more than one of {}: leave one", names.join(", ")));
        }
    }
    match (line.remove(WINDOW_START), line.remove(WINDOW_END)) {
        (None, None) => {}
        (start, end) => drop(line.insert("window".to_owned(), json!({ "start": start, "end": end }))),
    }
    if line.get(NAMESPACE).is_some_and(Value::is_string)
        && let Some(window) = line.remove(NAMESPACE)
    {
        line.insert("window".to_owned(), window);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;

    fn state(declared: Value) -> Vec<Column> {
        columns_of_state(&serde_json::from_value(declared).unwrap())
    }

    #[test]
    fn a_line_comes_out_of_its_columns_as_it_went_in() {
        let map = |key: &str, encoding: &str| {
            state(json!({"name": "m", "kind": "map", "encoding": encoding, "schema": {"key": key}}))
        };
        let cases = [
            (
                map("u32-be", "u64-le"),
                json!({"key": "a", "map-key": 7, "value": u64::MAX}),
            ),
            (
                map("i64-be-ordered", "i64-le"),
                json!({"key": -1, "map-key": -7, "value": i64::MIN}),
            ),
            (
                map("bool", "f64-le"),
                json!({"key": 1.5, "map-key": true, "value": 1.0}),
            ),
            (
                map("u8", "utf8"),
                json!({"key": null, "map-key": "no number", "value": "é"}),
            ),
            (
                map("u8", "json"),
                json!({"key": {"fields": ["a", 1]}, "map-key": {"base64": "/w=="}, "value": {"a": [1]}}),
            ),
            (
                map("raw", "postcard"),
                json!({"key": true, "map-key": "", "value": {"base64": "Bw=="}}),
            ),
            (
                map("raw", "u64-le"),
                json!({"key": "", "map-key": "", "value": {"base64": "Bw=="}}),
            ),
            (
                state(json!({"name": "l", "kind": "list", "encoding": "utf8"})),
                json!({"key": "a", "window": {"start": 0, "end": 60_000}, "element": "x"}),
            ),
            (
                state(json!({"name": "v", "kind": "value", "encoding": "json"})),
                json!({"key": {"base64": "/w=="}, "window": "global", "value": null}),
            ),
            (
                columns_of_timers(),
                json!({"timer": "event", "timestamp": 5, "key": {"encoded": ""}, "key-group": 9}),
            ),
            (
                columns_of_timers(),
                json!({"timer": "event", "timestamp": i64::MIN, "key": "a", "namespace": {"base64": "/w=="}}),
            ),
        ];
        for (columns, value) in cases {
            let went_in = value.as_object().unwrap();
            let cells = cells(&columns, went_in.clone()).unwrap();
            assert_eq!(&line(&columns, cells).unwrap(), went_in);
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_bytes_and_two_columns_of_one_field_are_refused() {
        let columns = state(json!({"name": "v", "kind": "value", "encoding": "f64-le"}));
        let with = |cells: &[(&str, Cell)]| {
            let of = |column: &Column| cells.iter().find(|(name, _)| *name == column.name);
            line(
                &columns,
                columns
                    .iter()
                    .map(|column| of(column).map(|(_, cell)| cell.clone()))
                    .collect(),
            )
        };
        let nan = with(&[("value", Cell::Float(f64::NAN))]).unwrap();
        assert_eq!(
            nan.get("value"),
            Some(&json!({ "base64": BASE64.encode(f64::NAN.to_le_bytes()) }))
        );
        let error = with(&[
            ("key", Cell::Bytes(b"a".to_vec())),
            ("key_number", Cell::Number(1)),
        ])
        .unwrap_err();
        assert_eq!(
            error,
            "it has more than one of `key`, `key_number`, `key_json`: leave one"
        );
    }
}
