//! A Parquet file that is being written, a row group at a time.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value};

use super::columns::{Cell, Column, Form, cells};
use super::failed;
use crate::offline::OfflineError;

/// Of a row group.
const ROWS_MAX: usize = 128 * 1024;
const BYTES_MAX: usize = 16 * 1024 * 1024;

type Row = Vec<Option<Cell>>;

/// See the module.
pub(super) struct Table {
    path: PathBuf,
    columns: Vec<Column>,
    writer: SerializedFileWriter<File>,
    /// Of the next row group.
    rows: Vec<Row>,
    bytes: usize,
}

impl Table {
    pub(super) fn create(path: PathBuf, columns: Vec<Column>) -> Result<Self, OfflineError> {
        let fields: Vec<String> = columns
            .iter()
            .map(|column| column.form.declared(&column.name))
            .collect();
        let schema = parse_message_type(&format!("message entry {{ {} }}", fields.join(" ")));
        let schema = schema.map_err(|error| failed(&path, error))?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        }
        let file = File::create_new(&path).map_err(|error| failed(&path, error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("wasmill ", env!("CARGO_PKG_VERSION")).to_owned());
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build()));
        Ok(Self {
            writer: writer.map_err(|error| failed(&path, error))?,
            path,
            columns,
            rows: Vec::new(),
            bytes: 0,
        })
    }

    /// Bytes of the rows that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, line: Map<String, Value>) -> Result<(), OfflineError> {
        let row = cells(&self.columns, line).map_err(|error| failed(&self.path, error))?;
        let cells: usize = row.iter().flatten().map(Cell::bytes).sum();
        self.bytes += cells + size_of::<Option<Cell>>() * row.len();
        self.rows.push(row);
        match self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Writes the rows that wait.
    pub(super) fn flush(&mut self) -> Result<(), OfflineError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        self.write(&rows).map_err(|error| failed(&self.path, error))
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for (at, column) in self.columns.iter().enumerate() {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            write_column(&mut writer, column.form, rows, at)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), OfflineError> {
        self.flush()?;
        let closed = self.writer.close();
        closed.map(drop).map_err(|error| failed(&self.path, error))
    }
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    form: Form,
    rows: &[Row],
    at: usize,
) -> Result<(), ParquetError> {
    let cells = || rows.iter().map(|row| row.get(at).and_then(Option::as_ref));
    let levels: Vec<i16> = cells().map(|cell| i16::from(cell.is_some())).collect();
    let present = cells().flatten();
    match form {
        Form::Text | Form::Json | Form::Bytes => {
            let values = present.filter_map(|cell| match cell {
                Cell::Bytes(bytes) => Some(ByteArray::from(bytes.clone())),
                _ => None,
            });
            let values: Vec<_> = values.collect();
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&levels), None)
        }
        Form::Signed | Form::Unsigned | Form::Millis => {
            let values = present.filter_map(|cell| match cell {
                Cell::Number(number) => Some(*number),
                _ => None,
            });
            let values: Vec<_> = values.collect();
            writer
                .typed::<Int64Type>()
                .write_batch(&values, Some(&levels), None)
        }
        Form::Float => {
            let values = present.filter_map(|cell| match cell {
                Cell::Float(number) => Some(*number),
                _ => None,
            });
            let values: Vec<_> = values.collect();
            writer
                .typed::<DoubleType>()
                .write_batch(&values, Some(&levels), None)
        }
        Form::Bool => {
            let values = present.filter_map(|cell| match cell {
                Cell::Bool(flag) => Some(*flag),
                _ => None,
            });
            let values: Vec<_> = values.collect();
            writer
                .typed::<BoolType>()
                .write_batch(&values, Some(&levels), None)
        }
    }
    .map(drop)
}
