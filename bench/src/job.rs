//! The job files of `bench/jobs`, filled in.
//!
//! Invariant: a figure comes from a job file that a person could run; `@name@` in it stands for what a run
//! chooses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A job file of `bench/jobs` and what is chosen for it.
#[derive(Clone, Debug)]
pub struct Job {
    /// File name without `.yaml`.
    pub template: &'static str,
    /// What stands for `@name@`.
    pub choices: Vec<(&'static str, String)>,
    /// Settings of the host that runs it, as environment variables.
    pub settings: Vec<(&'static str, String)>,
}

impl Job {
    /// A job with nothing chosen yet.
    pub fn new(template: &'static str) -> Job {
        Job {
            template,
            choices: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The same with one more choice.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Job {
        self.choices.retain(|(known, _)| *known != name);
        self.choices.push((name, value.to_string()));
        self
    }

    /// The same with a component: by its path for a job that carries it along, by its name for one that goes to a
    /// host which has it.
    #[must_use]
    pub fn with_plugin(self, reference: impl ToString) -> Job {
        self.with("plugin", reference)
    }

    /// The same in a host with one more setting.
    #[must_use]
    pub fn with_setting(mut self, variable: &'static str, value: impl ToString) -> Job {
        self.settings.push((variable, value.to_string()));
        self
    }

    /// The filled-in job file.
    pub fn text(&self, root: &Path) -> Result<String> {
        let template = root.join("bench/jobs").join(format!("{}.yaml", self.template));
        let text = fs::read_to_string(&template).with_context(|| format!("read {}", template.display()))?;
        fill(&text, &self.choices).with_context(|| format!("fill in {}", template.display()))
    }

    /// Writes the filled-in file into `directory`; returns its path.
    pub fn write(&self, root: &Path, directory: &Path) -> Result<PathBuf> {
        let path = directory.join(format!("{}.yaml", self.template));
        fs::write(&path, self.text(root)?).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Chooses the line `checkpointing: …`: none where the interval is 0.
pub fn checkpointing(interval: Duration) -> String {
    checkpointing_with(interval, "")
}

/// The same with other settings behind it, such as `incremental: true`.
pub fn checkpointing_with(interval: Duration, more: &str) -> String {
    match (interval.as_millis(), more) {
        (0, _) => "# No checkpoints.".to_owned(),
        (interval, "") => format!("checkpointing: {{interval: {interval}ms}}"),
        (interval, more) => format!("checkpointing: {{interval: {interval}ms, {more}}}"),
    }
}

fn fill(text: &str, choices: &[(&'static str, String)]) -> Result<String> {
    let mut filled = text.to_owned();
    for (name, value) in choices {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    if let Some(line) = filled
        .lines()
        .find(|line| line.matches('@').count() > 1 && !line.starts_with('#'))
    {
        bail!("nothing was chosen for a name in `{}`", line.trim());
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_a_job_file_must_be_chosen() -> Result<()> {
        let text = "# @a@ is chosen\nrows: @a@\nkeys: {h%@b@}\n";
        let choices = [("a", "1".to_owned()), ("b", "2".to_owned())];
        assert!(fill(text, &choices)?.ends_with("rows: 1\nkeys: {h%2}\n"));
        assert!(fill(text, &choices[..1]).is_err());
        Ok(())
    }

    #[test]
    fn a_later_choice_replaces_an_earlier_one() {
        assert_eq!(
            Job::new("x").with("rows", 1).with("rows", 2).choices,
            [("rows", "2".to_owned())]
        );
    }
}
