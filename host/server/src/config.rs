//! The host's settings (O5): a TOML file, then environment variables, then flags; the later wins.
//!
//! Invariant: every layer goes through [`Settings::set`], so a key means the same wherever it is given, and an
//! unknown one is an error that names the nearest key and the place.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmill_checkpoint::storage::StorageSettings;

use crate::job::error::suggestion;
use crate::job::file::StateBackend;
use crate::job::units::{DurationText, SizeText};

mod rocksdb;
mod storage;

/// All settings of `wasmill serve`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `bind-address`: where HTTP is served. Anything but loopback lets others in: there is no login yet.
    pub bind_address: SocketAddr,
    /// `data-dir`: jobs, plugins, compiled code and, by default, checkpoints.
    pub data_dir: PathBuf,
    /// `checkpoint-storage`: URL; `None`: `checkpoints` in the data directory.
    pub checkpoint_storage: Option<String>,
    /// `s3-…`, `gs-…`, `azure-…`, `storage-…`: how object stores are reached.
    pub storage: StorageSettings,
    /// `state-backend`: of jobs that set none.
    pub state_backend: StateBackend,
    /// `rocksdb-…`; its local directory is empty where none was given: then it is below the data directory.
    pub rocksdb: wasmill_rocksdb::Settings,
    /// `slots`: how many subtasks of a sharing group may run at once over all jobs.
    pub slots: u32,
    /// `parallelism`: of jobs that set none.
    pub parallelism: u32,
    /// `max-upload-size`: bytes of a component.
    pub max_upload_bytes: u64,
    /// `log-format`.
    pub log_format: LogFormat,
    /// `log-level`: a level, or directives such as `info,wasmill_engine=debug`.
    pub log_level: String,
    /// `job-history`: how many ended jobs stay listed.
    pub job_history: usize,
    /// `shutdown-timeout`: how long an orderly stop may take.
    pub shutdown_timeout: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// All keys, in the order of the documentation.
pub fn keys() -> impl Iterator<Item = &'static str> + Clone {
    KEYS.into_iter().chain(storage::KEYS).chain(rocksdb::KEYS)
}

/// Those that have a flag, too. Those of `storage` have none: secrets are among them, and everybody sees flags. Nor do
/// those of `rocksdb`, which are many and seldom changed.
pub const KEYS: [&str; 11] = [
    "bind-address",
    "data-dir",
    "checkpoint-storage",
    "state-backend",
    "slots",
    "parallelism",
    "max-upload-size",
    "log-format",
    "log-level",
    "job-history",
    "shutdown-timeout",
];

/// Those that are true or false.
const BOOLEANS: [&str; 2] = ["s3-path-style-access", "rocksdb-use-bloom-filter"];

/// Prefix of the environment variables: `WASMILL_BIND_ADDRESS` is `bind-address`.
pub const ENV_PREFIX: &str = "WASMILL_";

impl Default for Settings {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(2, |n| n.get() as u32);
        Self {
            bind_address: SocketAddr::from(([127, 0, 0, 1], 8081)),
            data_dir: PathBuf::from("wasmill-data"),
            checkpoint_storage: None,
            storage: StorageSettings::default(),
            state_backend: StateBackend::Memory,
            rocksdb: wasmill_rocksdb::Settings::new(PathBuf::new()),
            // Twice the processors: subtasks of several jobs share them, and most wait most of the time.
            slots: cpus.saturating_mul(2).max(4),
            parallelism: 1,
            max_upload_bytes: 64 << 20,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            job_history: 100,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// A setting that is refused: where it was given, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Settings {
    /// The settings of a host: defaults, then the file, then the environment, then flags (key and value).
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let mut settings = Self::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError(format!("{}: {e}: does the file exist?", path.display())))?;
            settings.apply_toml(&path.display().to_string(), &text)?;
        }
        let warnings = settings.apply_env(env)?;
        for (key, value) in flags {
            settings
                .set(key, value)
                .map_err(|e| ConfigError(format!("--{key}: {e}")))?;
        }
        Ok((settings, warnings))
    }

    /// Sets one key from its text.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "bind-address" => {
                self.bind_address = value.parse().map_err(|_| {
                    format!("`{value}` is not an address: write one such as `127.0.0.1:8081`")
                })?;
            }
            "data-dir" if value.is_empty() => return Err("it is empty: name a directory".to_owned()),
            "data-dir" => self.data_dir = PathBuf::from(value),
            "checkpoint-storage" => {
                let url = url::Url::parse(value).map_err(|_| {
                    format!("`{value}` is not a URL: write one such as `file:///var/lib/wasmill/checkpoints`")
                })?;
                self.checkpoint_storage = Some(url.to_string());
            }
            "state-backend" => {
                self.state_backend = StateBackend::named(value).ok_or_else(|| {
                    format!(
                        "`{}` is no state backend: write `memory` or `rocksdb`",
                        value.escape_debug()
                    )
                })?;
            }
            "slots" => self.slots = number(value, 1, 10_000)?,
            "parallelism" => self.parallelism = number(value, 1, 10_000)?,
            "max-upload-size" => self.max_upload_bytes = SizeText::parse(value)?.0,
            "log-format" => {
                self.log_format = match value {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    other => return Err(format!("`{other}` is no log format: write `text` or `json`")),
                }
            }
            "log-level" => {
                tracing_subscriber::EnvFilter::try_new(value).map_err(|_| {
                    format!("`{value}` is no log level: write `error`, `warn`, `info`, `debug` or `trace`")
                })?;
                self.log_level = value.to_owned();
            }
            "job-history" => self.job_history = number(value, 0, 100_000)? as usize,
            "shutdown-timeout" => self.shutdown_timeout = DurationText::parse(value)?.duration(),
            key if rocksdb::KEYS.contains(&key) => rocksdb::set(&mut self.rocksdb, key, value)?,
            key if storage::KEYS.contains(&key) => storage::set(&mut self.storage, key, value)?,
            other => {
                let known: Vec<_> = keys().collect();
                return Err(format!(
                    "unknown key `{}`{}",
                    other.escape_debug(),
                    suggestion(other, &known)
                ));
            }
        }
        Ok(())
    }

    /// Applies a TOML file's text; `name` is how errors call it.
    pub fn apply_toml(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let at = |offset: usize, message: &str| {
            let before = text.get(..offset).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            ConfigError(format!("{name}:{line}:{column}: {message}"))
        };
        let table = toml::de::DeTable::parse(text)
            .map_err(|e| at(e.span().map_or(0, |s| s.start), &e.message().replace('\n', " ")))?;
        for (key, value) in table.get_ref() {
            let text = match value.get_ref() {
                toml::de::DeValue::String(text) => text.to_string(),
                toml::de::DeValue::Integer(number) => number.as_str().to_owned(),
                toml::de::DeValue::Float(number) => number.as_str().to_owned(),
                toml::de::DeValue::Boolean(value) if BOOLEANS.contains(&&**key.get_ref()) => {
                    value.to_string()
                }
                _ if is_key(key.get_ref()) => {
                    return Err(at(
                        value.span().start,
                        &format!("`{}` takes a string or a number", key.get_ref()),
                    ));
                }
                _ => String::new(),
            };
            let place = match is_key(key.get_ref()) {
                true => value.span().start,
                false => key.span().start,
            };
            self.set(key.get_ref(), &text).map_err(|e| at(place, &e))?;
        }
        Ok(())
    }

    /// Applies the `WASMILL_*` variables. One that is nearly a setting is an error; other ones belong to somebody else
    /// (tests, the client's `WASMILL_HOST`) and are returned as warnings where nobody is known to read them.
    fn apply_env(&mut self, env: impl Iterator<Item = (String, String)>) -> Result<Vec<String>, ConfigError> {
        const READ_ELSEWHERE: [&str; 4] = [
            "WASMILL_HOST",
            "WASMILL_CONFIG",
            "WASMILL_PAUSE_AT",
            "WASMILL_REQUIRE_ALL",
        ];
        let mut warnings = Vec::new();
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            if READ_ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            let key = rest.to_lowercase().replace('_', "-");
            if is_key(&key) {
                self.set(&key, &value)
                    .map_err(|e| ConfigError(format!("environment variable {name}: {e}")))?;
            } else if let Some(near) = crate::job::error::nearest(&key, keys()) {
                let near = near.to_uppercase().replace('-', "_");
                return Err(ConfigError(format!(
                    "environment variable {name}: there is no such setting: did you mean {ENV_PREFIX}{near}?"
                )));
            } else {
                warnings.push(format!(
                    "the environment variable {name} is no setting of the host and has no effect"
                ));
            }
        }
        Ok(warnings)
    }

    /// What RocksDB is told.
    pub fn rocksdb(&self) -> wasmill_rocksdb::Settings {
        let mut settings = self.rocksdb.clone();
        if settings.local_directory.as_os_str().is_empty() {
            settings.local_directory = self.data_dir.join("rocksdb");
        }
        settings
    }

    /// The URL of checkpoint storage.
    pub fn checkpoint_url(&self) -> Result<String, ConfigError> {
        match &self.checkpoint_storage {
            Some(url) => Ok(url.clone()),
            None => directory_url(&self.data_dir.join("checkpoints")),
        }
    }
}

/// The `file:` URL of a directory, absolute.
pub fn directory_url(directory: &Path) -> Result<String, ConfigError> {
    let absolute =
        std::path::absolute(directory).map_err(|e| ConfigError(format!("{}: {e}", directory.display())))?;
    url::Url::from_directory_path(&absolute)
        .map(|url| url.to_string())
        .map_err(|()| ConfigError(format!("{}: not a path that a URL can name", absolute.display())))
}

fn is_key(key: &str) -> bool {
    keys().any(|known| known == key)
}

fn number(value: &str, least: u32, most: u32) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "`{}` is not a number from {least} to {most}",
            value.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, env: &[(&str, &str)], flags: &[(&str, String)]) -> Result<Settings, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let shown = file.path().display().to_string();
        Settings::load(Some(file.path()), env, flags)
            .map(|(settings, _)| settings)
            .map_err(|e| e.to_string().replace(&shown, "wasmill.toml"))
    }

    #[test]
    fn flags_go_over_the_environment_which_goes_over_the_file() {
        let toml = "slots = 3\nparallelism = 3\njob-history = 3\n";
        let env = [
            ("WASMILL_SLOTS", "4"),
            ("WASMILL_PARALLELISM", "4"),
            ("HOME", "/"),
        ];
        let settings = load(toml, &env, &[("slots", "5".to_owned())]).unwrap();
        assert_eq!(
            (settings.slots, settings.parallelism, settings.job_history),
            (5, 4, 3)
        );
        assert_eq!(settings.bind_address, Settings::default().bind_address);
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_nearest_key() {
        let cases = [
            (
                "slots = 1\n  slot = 2\n",
                "wasmill.toml:2:3: unknown key `slot`: did you mean `slots`?",
            ),
            (
                "[http]\nport = 1\n",
                "wasmill.toml:1:2: unknown key `http`: there are `bind-address`",
            ),
            (
                "slots = 0\n",
                "wasmill.toml:1:9: `0` is not a number from 1 to 10000",
            ),
            (
                "slots = true\n",
                "wasmill.toml:1:9: `slots` takes a string or a number",
            ),
            ("slots = \n", "wasmill.toml:1:9: "),
            (
                "max-upload-size = 64\n",
                "wasmill.toml:1:19: `64` is not a size: write one such as",
            ),
            (
                "bind-address = \"8081\"\n",
                "wasmill.toml:1:16: `8081` is not an address: write one such as",
            ),
            (
                "log-format = \"xml\"\n",
                "wasmill.toml:1:14: `xml` is no log format: write `text` or `json`",
            ),
        ];
        for (toml, expected) in cases {
            let error = load(toml, &[], &[]).unwrap_err();
            assert!(error.starts_with(expected), "{toml}: {error}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_an_error_and_a_foreign_one_is_not() {
        let error = load("", &[("WASMILL_SLOT", "4")], &[]).unwrap_err();
        assert_eq!(
            error,
            "environment variable WASMILL_SLOT: there is no such setting: did you mean WASMILL_SLOTS?"
        );
        assert!(
            load(
                "",
                &[
                    ("WASMILL_PAUSE_AT", "before-commit"),
                    ("WASMILL_SEEDS_COUNT", "9")
                ],
                &[]
            )
            .is_ok()
        );
        let error = load("", &[], &[("log-level", "=,=".to_owned())]).unwrap_err();
        assert!(error.starts_with("--log-level: "), "{error}");
    }
}
