//! `wasmill state …`: state without a job, and without a host.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use wasmill_checkpoint::storage::StorageSettings;

use super::{CliError, Context, serve};
use crate::offline::OfflineError;
use crate::offline::change::{edit, import};
use crate::offline::diff::diff;
use crate::offline::parquet;
use crate::offline::read::{Filter, Row, Savepoint};
use crate::offline::write::Written;

/// `state …`.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Sum up what a savepoint or checkpoint holds
    List {
        /// Its directory or URL
        path: String,
    },
    /// Write its state as JSON lines, or as Parquet files
    Export {
        /// Its directory or URL
        path: String,
        /// File to write [default: standard output]; of Parquet the directory, which must not be there
        #[arg(long, short = 'o', value_name = "FILE")]
        output: Option<PathBuf>,
        /// Form of what is written
        #[arg(long, value_enum, default_value_t = Format::Json)]
        format: Format,
        /// What is wanted of it
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Write a new savepoint from an export
    Import {
        /// The lines, or the directory of Parquet files; `-` is lines of standard input
        file: PathBuf,
        /// Directory or URL of the new savepoint, which must not be there
        to: String,
    },
    /// Show what differs between two savepoints, as JSON lines
    Diff {
        /// The older one's directory or URL
        older: String,
        /// The newer one's
        newer: String,
        /// What is wanted of them
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Write a new savepoint from another one and changes to it
    Edit {
        /// Directory or URL of the one to start from
        path: String,
        /// Directory or URL of the new savepoint, which must not be there
        to: String,
        /// Lines as of an export, which take the place of what is there, or with `"delete": true`; `-` is standard input
        #[arg(long, value_name = "FILE")]
        changes: PathBuf,
    },
}

/// How state is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of JSON for each entry
    Json,
    /// A directory of Parquet files, one for each state
    Parquet,
}

/// Which entries.
#[derive(Debug, Default, Args)]
pub struct FilterArgs {
    /// Only of the operator with this uid
    #[arg(long, value_name = "UID")]
    pub operator: Option<String>,
    /// Only of the state with this name
    #[arg(long, value_name = "NAME")]
    pub state: Option<String>,
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        Self {
            operator: args.operator,
            state: args.state,
        }
    }
}

impl From<OfflineError> for CliError {
    fn from(error: OfflineError) -> Self {
        Self::Failed(error.0)
    }
}

/// Runs one of them.
pub fn state(context: &Context, command: StateCommand) -> Result<(), CliError> {
    let settings = serve::settings_outside()?.storage;
    match command {
        StateCommand::List { path } => list(context, &path, &settings),
        StateCommand::Export {
            path,
            output,
            format,
            filter,
        } => {
            let savepoint = Savepoint::open(&path, &settings)?;
            let entries = match (format, &output) {
                (Format::Parquet, Some(directory)) => parquet::export(&savepoint, &filter.into(), directory)?,
                (Format::Parquet, None) => {
                    let error = "`--format parquet` writes a directory: name it with `-o DIRECTORY`";
                    return Err(CliError::Failed(error.to_owned()));
                }
                (Format::Json, _) => {
                    // Before the file is emptied.
                    let filter = filter.into();
                    savepoint.check(&filter)?;
                    let mut out = output_to(output.as_deref())?;
                    let entries = savepoint.export(&filter, &mut *out)?;
                    out.flush()
                        .map_err(|error| format!("the export could not be written: {error}"))?;
                    entries
                }
            };
            eprintln!("{entries} entries of {path}");
            Ok(())
        }
        StateCommand::Import { file, to } if file.is_dir() => {
            let written = parquet::import(&file, &to, &settings)?;
            context.print(&written, shown)
        }
        StateCommand::Import { file, to } => {
            let written = import(
                &file.display().to_string(),
                &mut *input_of(&file)?,
                &to,
                &settings,
            )?;
            context.print(&written, shown)
        }
        StateCommand::Diff { older, newer, filter } => {
            let (older, newer) = (
                Savepoint::open(&older, &settings)?,
                Savepoint::open(&newer, &settings)?,
            );
            let mut out = output_to(None)?;
            let found = diff(&older, &newer, &filter.into(), &mut *out)?;
            out.flush()
                .map_err(|error| format!("the differences could not be written: {error}"))?;
            eprintln!(
                "{} added, {} removed, {} changed",
                found.added, found.removed, found.changed
            );
            Ok(())
        }
        StateCommand::Edit { path, to, changes } => {
            let base = Savepoint::open(&path, &settings)?;
            let name = changes.display().to_string();
            let written = edit(&base, &name, &mut *input_of(&changes)?, &to, &settings)?;
            context.print(&written, shown)
        }
    }
}

fn shown(written: &Written) -> String {
    format!("{} ({} entries)", written.savepoint, written.entries)
}

fn list(context: &Context, path: &str, settings: &StorageSettings) -> Result<(), CliError> {
    let rows = Savepoint::open(path, settings)?.list()?;
    context.print(&rows, |rows| table(rows))
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no state".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header([
        "operator",
        "parallelism",
        "state",
        "kind",
        "encoding",
        "version",
        "entries",
        "bytes",
    ]);
    for row in rows {
        table.add_row([
            row.operator.clone(),
            row.parallelism.to_string(),
            row.state.clone(),
            row.kind.clone(),
            row.encoding.clone(),
            row.schema_version
                .map_or(String::new(), |version| version.to_string()),
            row.entries.to_string(),
            row.bytes.to_string(),
        ]);
    }
    table.to_string()
}

/// A file, or standard output.
fn output_to(file: Option<&Path>) -> Result<Box<dyn Write>, CliError> {
    Ok(match file {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(path) => {
            let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
    })
}

/// A file, or standard input for `-`.
fn input_of(file: &Path) -> Result<Box<dyn BufRead>, CliError> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened =
        File::open(file).map_err(|error| format!("{}: {error}: does the file exist?", file.display()))?;
    Ok(Box::new(BufReader::new(opened)))
}
