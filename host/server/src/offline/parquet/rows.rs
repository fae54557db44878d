//! The rows of a Parquet file as lines, whoever wrote it: other programs have other types of the same width of meaning.
//!
//! Invariant: a column that is not known, or whose type cannot say what the column means, is an error before any row of
//! the file is read.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::ColumnDescriptor;
use serde_json::{Map, Value};

use super::columns::{Cell, Column, Form, line};
use super::failed;
use crate::offline::OfflineError;

/// Units of a column of times in a millisecond.
type Scale = i64;

/// Hands each row to `give` as a line; what that refuses is named with the number of the row, from 1.
pub(super) fn read(
    path: &Path,
    columns: &[Column],
    give: &mut dyn FnMut(Map<String, Value>) -> Result<(), String>,
) -> Result<(), OfflineError> {
    // The decoder takes a file at its word here and there: a damaged one must not end the program.
    match catch_unwind(AssertUnwindSafe(|| read_rows(path, columns, give))) {
        Ok(read) => read,
        Err(_) => Err(failed(path, "the file is damaged: the decoder gave up on it")),
    }
}

fn read_rows(
    path: &Path,
    columns: &[Column],
    give: &mut dyn FnMut(Map<String, Value>) -> Result<(), String>,
) -> Result<(), OfflineError> {
    let file = File::open(path).map_err(|error| failed(path, error))?;
    let reader = SerializedFileReader::new(file).map_err(|error| failed(path, error))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let own = schema.columns().iter().map(|own| known(columns, own));
    let own: Vec<(usize, Scale)> = own
        .collect::<Result<_, _>>()
        .map_err(|error| failed(path, error))?;
    let twice = own
        .iter()
        .enumerate()
        .find(|(number, (at, _))| own[..*number].iter().any(|(before, _)| before == at));
    if let Some((_, (at, _))) = twice {
        return Err(failed(
            path,
            format!("the column `{}` is there twice", columns[*at].name),
        ));
    }
    let rows = reader.get_row_iter(None).map_err(|error| failed(path, error))?;
    for (number, row) in (1u64..).zip(rows) {
        let at_row = |error: String| failed(path, format!("row {number}: {error}"));
        let row = row.map_err(|error| at_row(error.to_string()))?;
        let mut cells = vec![None; columns.len()];
        for ((at, scale), (name, field)) in own.iter().zip(row.into_columns()) {
            let wanted = |error| at_row(format!("its `{name}` is {error}"));
            cells[*at] = cell(columns[*at].form, field, *scale).map_err(wanted)?;
        }
        line(columns, cells).and_then(&mut *give).map_err(at_row)?;
    }
    Ok(())
}

/// Which column it is, and the unit of its times.
fn known(columns: &[Column], own: &ColumnDescriptor) -> Result<(usize, Scale), String> {
    let name = own.path().string();
    let found = columns.iter().position(|column| column.name == name);
    let Some((at, form)) = found.map(|at| (at, columns[at].form)) else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let suggestion = crate::job::error::suggestion(&name, &names);
        return Err(format!("there is no column `{name}` in such a file{suggestion}"));
    };
    let scale = scale_of(form, own).filter(|_| own.max_rep_level() == 0);
    scale.map(|scale| (at, scale)).ok_or_else(|| {
        let logical = own
            .logical_type_ref()
            .map_or(String::new(), |logical| format!(" ({logical:?})"));
        format!(
            "the column `{name}` is {}{logical}: write {}",
            own.physical_type(),
            form.shown()
        )
    })
}

/// `None` where the column's type cannot hold what the form wants.
fn scale_of(form: Form, own: &ColumnDescriptor) -> Option<Scale> {
    use ConvertedType as Converted;
    let converted = own.converted_type();
    let is_nanos =
        matches!(own.logical_type_ref(), Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS);
    let is_plain = converted == Converted::NONE && own.logical_type_ref().is_none();
    let is_number = is_plain
        || matches!(
            converted,
            Converted::INT_8
                | Converted::INT_16
                | Converted::INT_32
                | Converted::INT_64
                | Converted::UINT_8
                | Converted::UINT_16
                | Converted::UINT_32
                | Converted::UINT_64
        );
    match (form, own.physical_type(), converted) {
        // Nothing but nulls.
        (..) if own.logical_type_ref() == Some(&LogicalType::Unknown) => Some(1),
        (Form::Text | Form::Json, Type::BYTE_ARRAY, Converted::UTF8 | Converted::JSON | Converted::ENUM) => {
            Some(1)
        }
        (Form::Bytes, Type::BYTE_ARRAY, _) if is_plain => Some(1),
        (Form::Signed | Form::Unsigned, Type::INT64 | Type::INT32, _) if is_number => Some(1),
        // What some programs make of whole numbers of which some are null.
        (Form::Signed | Form::Unsigned, Type::DOUBLE, _) => Some(1),
        (Form::Float, Type::DOUBLE | Type::FLOAT, _) => Some(1),
        (Form::Bool, Type::BOOLEAN, _) => Some(1),
        (Form::Millis, Type::INT64, Converted::TIMESTAMP_MICROS) => Some(1_000),
        (Form::Millis, Type::INT64, _) if is_nanos => Some(1_000_000),
        (Form::Millis, Type::INT64, Converted::TIMESTAMP_MILLIS) => Some(1),
        (Form::Millis, Type::INT64, _) if is_number => Some(1),
        _ => None,
    }
}

fn cell(form: Form, field: Field, scale: Scale) -> Result<Option<Cell>, String> {
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::Bool(flag) => Cell::Bool(flag),
        Field::UByte(number) => Cell::Number(number.into()),
        Field::UShort(number) => Cell::Number(number.into()),
        Field::UInt(number) => Cell::Number(number.into()),
        Field::ULong(number) if form == Form::Unsigned => Cell::Number(number as i64),
        Field::ULong(number) => match i64::try_from(number) {
            Ok(number) => Cell::Number(number),
            Err(_) => return Err(format!("{number}: write {}", form.shown())),
        },
        Field::Byte(_) | Field::Short(_) | Field::Int(_) | Field::Long(_)
            if is_below_0(&field) && form == Form::Unsigned =>
        {
            return Err(format!("{field}: write {}", form.shown()));
        }
        Field::Byte(number) => Cell::Number(number.into()),
        Field::Short(number) => Cell::Number(number.into()),
        Field::Int(number) => Cell::Number(number.into()),
        Field::Long(number) | Field::TimestampMillis(number) | Field::TimestampMicros(number) => {
            match number % scale {
                0 => Cell::Number(number / scale),
                _ => return Err(format!("{number}, which is no whole millisecond")),
            }
        }
        Field::Float(number) => Cell::Float(number.into()),
        Field::Double(number) if form != Form::Float => match number as i64 {
            // Beyond these a double leaves whole numbers out.
            whole
                if whole as f64 == number
                    && whole.unsigned_abs() <= 1 << 53
                    && (whole >= 0 || form == Form::Signed) =>
            {
                Cell::Number(whole)
            }
            _ => return Err(format!("{number}: write {}", form.shown())),
        },
        Field::Double(number) => Cell::Float(number),
        Field::Str(text) => Cell::Bytes(text.into_bytes()),
        Field::Bytes(bytes) => Cell::Bytes(bytes.data().to_vec()),
        other => return Err(format!("`{other}`, of a type that is not known here")),
    }))
}

fn is_below_0(field: &Field) -> bool {
    match field {
        Field::Byte(number) => *number < 0,
        Field::Short(number) => *number < 0,
        Field::Int(number) => *number < 0,
        Field::Long(number) => *number < 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{ByteArrayType, DoubleType, Int32Type, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use serde_json::json;

    use super::super::columns::columns_of_state;
    use super::*;

    /// Writes a file of one row, as other programs would, and reads it.
    fn read_one(columns: &[Column], fields: &[(&str, Given)]) -> Result<Vec<Value>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.parquet");
        let declared: Vec<String> = fields
            .iter()
            .map(|(declared, _)| format!("optional {declared};"))
            .collect();
        let schema = parse_message_type(&format!("message row {{ {} }}", declared.join(" "))).unwrap();
        let file = File::create(&path).unwrap();
        let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for (_, given) in fields {
            let mut column = group.next_column().unwrap().unwrap();
            let one = Some(&[1i16][..]);
            match given {
                Given::Text(text) => {
                    column
                        .typed::<ByteArrayType>()
                        .write_batch(&[(*text).into()], one, None)
                }
                Given::Long(number) => column.typed::<Int64Type>().write_batch(&[*number], one, None),
                Given::Double(number) => column.typed::<DoubleType>().write_batch(&[*number], one, None),
                Given::Int(number) => column.typed::<Int32Type>().write_batch(&[*number], one, None),
            }
            .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        lines_of(&path, columns).map_err(|error| error.replace(&path.display().to_string(), "F"))
    }

    fn lines_of(path: &Path, columns: &[Column]) -> Result<Vec<Value>, String> {
        let mut lines = Vec::new();
        let read = read(path, columns, &mut |line| {
            lines.push(Value::Object(line));
            Ok(())
        });
        read.map(|()| lines).map_err(|error| error.0)
    }

    enum Given {
        Text(&'static str),
        Long(i64),
        Int(i32),
        Double(f64),
    }

    fn counts() -> Vec<Column> {
        let ttl = json!({"time-to-live": 1});
        let declared = json!({"name": "count", "kind": "value", "encoding": "u64-le", "ttl": ttl});
        columns_of_state(&serde_json::from_value(declared).unwrap())
    }

    #[test]
    fn types_of_other_programs_are_taken_where_they_say_the_same() {
        let key = ("binary key (UTF8)", Given::Text("a"));
        for (value, time) in [
            ("int64 value", "int64 last_update (TIMESTAMP_MICROS)"),
            (
                "int64 value (UINT_64)",
                "int64 last_update (TIMESTAMP(NANOS,true))",
            ),
            (
                "int64 value (INTEGER(64,true))",
                "int64 last_update (TIMESTAMP(MILLIS,false))",
            ),
        ] {
            let units = match time {
                _ if time.contains("NANOS") => 1_000_000,
                _ if time.contains("MICROS") => 1_000,
                _ => 1,
            };
            let fields = [
                (value, Given::Long(7)),
                (time, Given::Long(5 * units)),
                ("binary key (UTF8)", Given::Text("a")),
            ];
            let lines = read_one(&counts(), &fields).unwrap();
            assert_eq!(
                lines,
                [json!({"key": "a", "last-update": 5, "value": 7})],
                "{value}, {time}"
            );
        }
        let lines = read_one(&counts(), &[key, ("int32 value", Given::Int(7))]).unwrap();
        assert_eq!(lines, [json!({"key": "a", "value": 7})]);
        let lines = read_one(
            &counts(),
            &[
                ("double key_number", Given::Double(-7.0)),
                ("double value", Given::Double(7.0)),
            ],
        );
        assert_eq!(lines.unwrap(), [json!({"key": -7, "value": 7})]);
    }

    #[test]
    fn what_is_wrong_is_named_with_column_or_row() {
        let cases: [(&[(&str, Given)], &str); 8] = [
            (
                &[("double value", Given::Double(-1.0))],
                "F: row 1: its `value` is -1: write whole numbers from 0",
            ),
            (
                &[("double value", Given::Double(0.5))],
                "F: row 1: its `value` is 0.5: write whole numbers from 0",
            ),
            (
                &[("int64 valeu", Given::Long(1))],
                "F: there is no column `valeu` in such a file: did you mean `value`?",
            ),
            (
                &[("int64 value (TIMESTAMP_MILLIS)", Given::Long(1))],
                "F: the column `value` is INT64",
            ),
            (
                &[("int64 key", Given::Long(1))],
                "F: the column `key` is INT64: write text (STRING)",
            ),
            (
                &[("int64 value", Given::Long(-1))],
                "F: row 1: its `value` is -1: write whole numbers from 0",
            ),
            (
                &[("int64 last_update (TIMESTAMP_MICROS)", Given::Long(1))],
                "F: row 1: its `last_update` is 1, which is no whole millisecond",
            ),
            (
                &[
                    ("int64 value", Given::Long(1)),
                    ("binary value_bytes", Given::Text("x")),
                ],
                "F: row 1: it has more than one of `value`, `value_bytes`: leave one",
            ),
        ];
        for (fields, expected) in cases {
            let error = read_one(&counts(), fields).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.parquet");
        let mut table = super::super::table::Table::create(path.clone(), counts()).unwrap();
        for number in 0..20 {
            let line =
                json!({"key": format!("key {number}"), "last-update": number, "value": number * 1_000});
            table.push(line.as_object().unwrap().clone()).unwrap();
        }
        table.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(lines_of(&path, &counts()).unwrap().len(), 20);
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, damaged).unwrap();
            refused += usize::from(lines_of(&path, &counts()).is_err());
        }
        assert!(refused > whole.len() / 10, "{refused} of {}", whole.len());
    }
}
