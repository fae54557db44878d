//! The command line.
//!
//! Invariant: what a command was asked for goes to standard output, everything else to standard error; an error is
//! one line that says what to do. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
//!
//! | module | holds |
//! |---|---|
//! | [`client`] | the host's HTTP |
//! | [`serve`] | `serve` |
//! | [`run`], [`progress`] | `run`, submitted or embedded |
//! | [`jobs`] | `list`, `info`, `cancel`, `savepoint`, `checkpoint`, `stop`, `resume` |
//! | [`plugins`] | `plugin …` |
//! | [`files`] | `job …`: needs no host |
//! | [`state`] | `state …`: needs no host |

pub mod client;
pub mod files;
pub mod jobs;
pub mod plugins;
pub mod progress;
pub mod run;
pub mod serve;
pub mod state;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// The host that client commands ask where none is named.
pub const DEFAULT_HOST: &str = "http://127.0.0.1:8081";

/// Runs WebAssembly components as checkpointed stream-processing jobs.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, max_term_width = 110)]
pub struct Cli {
    /// URL of the host. Default: http://127.0.0.1:8081; `run` without it runs the job in a host of its own
    #[arg(long, global = true, env = "WASMILL_HOST", value_name = "URL")]
    pub host: Option<String>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Whose a checkpoint or savepoint is that a job starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClaimMode {
    /// The job's.
    Claim,
    /// Its owner's.
    #[default]
    NoClaim,
}

/// How a savepoint holds keyed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SavepointType {
    /// In the format of all backends.
    #[default]
    Canonical,
    /// In the files of the job's backend, where it has such.
    Native,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a host: jobs, plugins and HTTP, until SIGTERM or ctrl-c
    Serve(ServeArgs),
    /// Run a job file: in the host of --host, or in a host of its own until the job ends
    Run(RunArgs),
    /// List the jobs of a host
    List,
    /// Show one job
    Info {
        /// The job's id, or the first characters of it
        job: String,
    },
    /// Cancel a job
    Cancel {
        /// The job's id, or the first characters of it
        job: String,
        /// Write a savepoint first. Without a directory it goes to `savepoints` in the host's data directory
        #[arg(long = "with-savepoint", short = 's', value_name = "DIRECTORY", num_args = 0..=1)]
        savepoint: Option<Option<String>>,
    },
    /// Write a savepoint of a running job, or delete one
    Savepoint {
        /// The job's id, or the first characters of it
        #[arg(required_unless_present = "dispose")]
        job: Option<String>,
        /// Directory or URL on the host. Default: `savepoints` in its data directory
        directory: Option<String>,
        /// How it holds keyed state: `native` is quick where the job's backend has files of its own
        #[arg(long = "type", value_enum, default_value_t)]
        format: SavepointType,
        /// Delete the savepoint at this path or URL
        #[arg(long, short = 'd', value_name = "PATH", conflicts_with_all = ["job", "directory"])]
        dispose: Option<String>,
    },
    /// Write a checkpoint of a running job now
    Checkpoint {
        /// The job's id, or the first characters of it
        job: String,
        /// One that builds on no other, also where the job's are incremental
        #[arg(long)]
        full: bool,
    },
    /// Stop a job with a savepoint
    Stop {
        /// The job's id, or the first characters of it
        job: String,
        /// Directory or URL on the host. Default: `savepoints` in its data directory
        directory: Option<String>,
        /// Send the watermark +∞ first, so that timers and windows fire: the job is over for good
        #[arg(long, short = 'd')]
        drain: bool,
        /// How the savepoint holds keyed state
        #[arg(long = "type", value_enum, default_value_t)]
        format: SavepointType,
    },
    /// Start a failed job again from its latest checkpoint
    Resume {
        /// The job's id, or the first characters of it
        job: String,
    },
    /// Upload, list, show and delete components
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List, export, import, compare and edit the state of savepoints and checkpoints, without a host
    #[command(subcommand)]
    State(state::StateCommand),
    /// Check job files
    #[command(subcommand)]
    Job(JobCommand),
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Settings file (TOML)
    #[arg(long, env = "WASMILL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings, which go over file and environment.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Settings as flags: the keys of the settings file.
#[derive(Clone, Debug, Default, Args)]
pub struct SettingsArgs {
    /// Address to serve HTTP on [default: 127.0.0.1:8081]
    #[arg(long, alias = "bind", value_name = "ADDRESS")]
    pub bind_address: Option<String>,
    /// Directory of jobs, plugins and checkpoints [default: wasmill-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// URL of checkpoint storage [default: `checkpoints` in the data directory]
    #[arg(long, value_name = "URL")]
    pub checkpoint_storage: Option<String>,
    /// Where jobs that say none hold keyed state: `memory` or `rocksdb` [default: memory]
    #[arg(long, value_name = "BACKEND")]
    pub state_backend: Option<String>,
    /// Subtasks of a sharing group that may run at once over all jobs [default: twice the processors]
    #[arg(long, value_name = "N")]
    pub slots: Option<String>,
    /// Log lines as `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,wasmill_engine=debug` [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Largest component that may be uploaded [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_upload_size: Option<String>,
    /// Ended jobs that stay listed [default: 100]
    #[arg(long, value_name = "N")]
    pub job_history: Option<String>,
    /// How long an orderly stop may take [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub shutdown_timeout: Option<String>,
    /// Parallelism of jobs that set none [default: 1]
    #[arg(long, value_name = "N")]
    pub default_parallelism: Option<String>,
}

impl SettingsArgs {
    /// Keys and values of the flags that were given.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("bind-address", &self.bind_address),
            ("data-dir", &self.data_dir),
            ("checkpoint-storage", &self.checkpoint_storage),
            ("state-backend", &self.state_backend),
            ("slots", &self.slots),
            ("log-format", &self.log_format),
            ("log-level", &self.log_level),
            ("max-upload-size", &self.max_upload_size),
            ("job-history", &self.job_history),
            ("shutdown-timeout", &self.shutdown_timeout),
            ("parallelism", &self.default_parallelism),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?)))
            .collect()
    }
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Job file (YAML or JSON); its plugins' paths are relative to it
    pub job: PathBuf,
    /// Checkpoint or savepoint to start from
    #[arg(long, short = 's', value_name = "PATH")]
    pub from_savepoint: Option<String>,
    /// Parallelism of a job whose file says none; goes over the host's default
    #[arg(long, short = 'p', value_name = "N")]
    pub parallelism: Option<u32>,
    /// Drop state in the savepoint that no operator claims
    #[arg(long, short = 'n')]
    pub allow_non_restored_state: bool,
    /// Whose the checkpoint or savepoint is from now on: with `claim` the job deletes it once it has a newer one
    #[arg(long, value_enum, default_value_t)]
    pub claim_mode: ClaimMode,
    /// With --host: do not wait for the job's end
    #[arg(long, short = 'd')]
    pub detached: bool,
    /// Without --host: where the job's checkpoints and plugins are kept [default: a directory that is deleted at the end]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Without --host: slots of the host [default: as many as the job needs]
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Without --host: what is logged to standard error [default: warn]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// `plugin …`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Upload a component
    Upload {
        /// The component (`.wasm`)
        file: PathBuf,
        /// Name by which jobs refer to it [default: the file's name without `.wasm`]
        #[arg(long)]
        name: Option<String>,
    },
    /// List the components of a host
    List,
    /// Show a component: functions, state, side outputs
    Show {
        /// Name, `sha256:…` or `name@sha256:…`
        plugin: String,
    },
    /// Delete a component that no job runs
    Delete {
        /// Name, `sha256:…` or `name@sha256:…`
        plugin: String,
    },
}

/// `job …`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Check a job file; its components are compiled and described as at a submission
    Validate {
        /// Job file (YAML or JSON)
        file: PathBuf,
    },
    /// Print the JSON Schema of job files
    Schema,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What happened and what to do.
    #[error("{0}")]
    Failed(String),
    /// Ctrl-c.
    #[error("interrupted: {0}")]
    Interrupted(String),
}

impl From<String> for CliError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl From<crate::config::ConfigError> for CliError {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::Failed(error.0)
    }
}

impl From<crate::host::HostError> for CliError {
    fn from(error: crate::host::HostError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What all commands know.
#[derive(Clone, Debug)]
pub struct Context {
    /// `--host`.
    pub host: Option<String>,
    /// `--json`.
    pub json: bool,
}

impl Context {
    /// A client of the host.
    pub fn client(&self) -> Result<client::Client, CliError> {
        client::Client::new(self.host.as_deref().unwrap_or(DEFAULT_HOST))
    }

    /// Prints an answer: JSON, or what `text` makes of it.
    pub fn print<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let shown = match self.json {
            true => serde_json::to_string_pretty(answer).map_err(|e| e.to_string())?,
            false => text(answer),
        };
        write_out(&shown)
    }
}

/// Writes a line to standard output; a reader that went away is no error.
pub fn write_out(text: &str) -> Result<(), CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::Failed(format!("standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args
        .nth(1)
        .is_some_and(|first| first == wasmill_plugin::compile::SUBCOMMAND)
    {
        return wasmill_plugin::compile::child_main(args);
    }
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Interrupted(message)) => {
            eprintln!("{message}");
            ExitCode::from(130)
        }
        Err(CliError::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a command line.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(args)
}

fn execute(cli: Cli) -> Result<(), CliError> {
    let context = Context {
        host: cli.host,
        json: cli.json,
    };
    match cli.command {
        Command::Serve(args) => serve::serve(&args),
        Command::Run(args) => run::run(&context, &args),
        Command::List => jobs::list(&context),
        Command::Info { job } => jobs::info(&context, &job),
        Command::Cancel { job, savepoint } => match savepoint {
            None => jobs::cancel(&context, &job),
            Some(directory) => jobs::cancel_with_savepoint(&context, &job, directory.as_deref()),
        },
        Command::Savepoint {
            job,
            directory,
            format,
            dispose,
        } => match (job, dispose) {
            (_, Some(path)) => jobs::dispose(&context, &path),
            (job, None) => jobs::savepoint(&context, &job.unwrap_or_default(), directory.as_deref(), format),
        },
        Command::Checkpoint { job, full } => jobs::checkpoint(&context, &job, full),
        Command::Stop {
            job,
            directory,
            drain,
            format,
        } => jobs::stop(&context, &job, directory.as_deref(), drain, format),
        Command::Resume { job } => jobs::resume(&context, &job),
        Command::Plugin(command) => plugins::plugin(&context, &command),
        Command::State(command) => state::state(&context, command),
        Command::Job(JobCommand::Validate { file }) => files::validate(&context, &file),
        Command::Job(JobCommand::Schema) => files::schema(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn flinks_short_options_of_run_are_understood() {
        let cli = parse([
            "wasmill",
            "run",
            "-s",
            "file:///sp",
            "-p",
            "4",
            "-n",
            "job.yaml",
            "--host",
            "http://h",
        ])
        .unwrap();
        assert_eq!(cli.host.as_deref(), Some("http://h"));
        let Command::Run(run) = cli.command else {
            panic!("run")
        };
        assert_eq!(
            (run.from_savepoint.as_deref(), run.parallelism),
            (Some("file:///sp"), Some(4))
        );
        assert!(run.allow_non_restored_state && !run.detached);
    }

    #[test]
    fn the_flags_of_serve_are_keys_of_the_settings() {
        let args = [
            "wasmill",
            "serve",
            "--bind",
            "127.0.0.1:0",
            "--data-dir",
            "d",
            "--slots",
            "16",
        ];
        let Command::Serve(serve) = parse(args).unwrap().command else {
            panic!("serve")
        };
        let given = serve.settings.given();
        assert_eq!(given.len(), 3);
        let every = SettingsArgs {
            bind_address: Some(String::new()),
            data_dir: Some(String::new()),
            checkpoint_storage: Some(String::new()),
            state_backend: Some(String::new()),
            slots: Some(String::new()),
            log_format: Some(String::new()),
            log_level: Some(String::new()),
            max_upload_size: Some(String::new()),
            job_history: Some(String::new()),
            shutdown_timeout: Some(String::new()),
            default_parallelism: Some(String::new()),
        };
        let mut keys: Vec<_> = every.given().into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        let mut known = crate::config::KEYS.to_vec();
        known.sort_unstable();
        assert_eq!(keys, known);
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for args in [
            &["wasmill"][..],
            &["wasmill", "lst"],
            &["wasmill", "run"],
            &["wasmill", "run", "-p", "x", "j"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
