//! `wasmill job …`: needs no host.

use std::path::{Path, PathBuf};

use wasmill_plugin::compile::CompileIn;
use wasmill_plugin::registry::PluginRegistry;
use wasmill_plugin::sandbox::limits::HostLimits;

use super::{CliError, Context, write_out};
use crate::config::Settings;
use crate::host::connectors;
use crate::host::plugins::is_path;
use crate::job::lower::{LowerOptions, PluginLookup, ResolvedPlugin, lower};
use crate::job::{JOB_FILE_BYTES_MAX, parse};
use crate::rest::types::job::ValidateAnswer;

/// A job file's text, and its name for messages.
pub fn read(path: &Path) -> Result<(String, String), CliError> {
    let name = path.display().to_string();
    let failed = |e: std::io::Error| format!("{name}: {e}");
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > JOB_FILE_BYTES_MAX as u64 {
        return Err(CliError::Failed(format!(
            "{name}: larger than {JOB_FILE_BYTES_MAX} bytes: is it a job file?"
        )));
    }
    Ok((name.clone(), std::fs::read_to_string(path).map_err(failed)?))
}

/// The path that a job file's plugin reference means.
pub fn component_path(job: &Path, reference: &str) -> PathBuf {
    job.parent().unwrap_or_else(|| Path::new(".")).join(reference)
}

/// A name for an upload: the file's, as far as a plugin's name may have its characters.
pub fn plugin_name(path: &Path) -> String {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name: String = stem
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(64)
        .collect();
    if name.is_empty() {
        "plugin".to_owned()
    } else {
        name
    }
}

/// Components by their paths beside a job file, in a registry that is thrown away.
struct LocalPlugins<'a> {
    job: &'a Path,
    registry: PluginRegistry,
}

impl PluginLookup for LocalPlugins<'_> {
    fn plugin(&self, reference: &str) -> Result<ResolvedPlugin, String> {
        if !is_path(reference) {
            return Err(format!(
                "`{}` is a name that only a host knows: validate by submitting it, or write a path to a `.wasm` file",
                reference.escape_debug()
            ));
        }
        let path = component_path(self.job, reference);
        let bytes = std::fs::read(&path)
            .map_err(|e| format!("{}: {e}: build the component first", path.display()))?;
        let info = self
            .registry
            .upload(&plugin_name(&path), &bytes)
            .map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(ResolvedPlugin {
            digest: info.digest.to_string(),
            description: info.description,
        })
    }
}

/// Checks a job file.
pub fn validate(context: &Context, path: &Path) -> Result<(), CliError> {
    let (name, text) = read(path)?;
    let job = parse(&name, &text).map_err(|e| e.to_string())?;
    let scratch = super::run::Scratch::new()?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let registry = PluginRegistry::open(scratch.path(), CompileIn::Child(program), HostLimits::default())?;
    let options = LowerOptions {
        default_parallelism: Settings::default().parallelism,
        state_backend: Settings::default().state_backend,
        parallelism: None,
        slots: u32::MAX,
    };
    let lowered = lower(
        &job,
        &connectors(),
        &LocalPlugins { job: path, registry },
        options,
    )
    .map_err(|e| e.to_string())?;
    let answer = ValidateAnswer {
        name: lowered.graph.name,
        operators: lowered.graph.operators.len(),
        warnings: lowered.warnings,
    };
    for warning in &answer.warnings {
        eprintln!("warning: {warning}");
    }
    context.print(&answer, |answer| {
        format!(
            "{name}: job `{}` with {} operators is valid",
            answer.name, answer.operators
        )
    })
}

/// Prints the JSON Schema.
pub fn schema() -> Result<(), CliError> {
    write_out(&serde_json::to_string_pretty(&crate::job::schema()).map_err(|e| e.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_components_file_name_becomes_a_plugins_name() {
        assert_eq!(plugin_name(Path::new("a/word_count.wasm")), "word_count");
        assert_eq!(plugin_name(Path::new("_ä b.wasm")), "b");
        assert_eq!(plugin_name(Path::new("..")), "plugin");
        assert_eq!(
            component_path(Path::new("jobs/j.yaml"), "../w.wasm"),
            Path::new("jobs/../w.wasm")
        );
    }
}
