//! Python by componentize-py, in a virtual environment in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Builder, Job, WORLD};
use crate::command::{find_program, output};
use crate::workspace::Workspace;

const RELEASE: &str = "0.25.1";

/// The component maker for CPython, at a fixed release.
pub(crate) struct ComponentizePy;

impl Builder for ComponentizePy {
    fn name(&self) -> &'static str {
        "python"
    }

    fn tools(&self, workspace: &Workspace) -> Result<String> {
        let environment = environment(workspace);
        if !environment.join("complete").is_file() {
            let python = find_program("python3").context("needs python3 with venv and pip")?;
            eprintln!("installing componentize-py {RELEASE} into the cache, once");
            output(
                Command::new(python)
                    .args(["-m", "venv", "--clear"])
                    .arg(&environment),
            )
            .context("needs python3 with venv (on Debian: apt-get install -y python3-venv)")?;
            let package = format!("componentize-py=={RELEASE}");
            let mut pip = Command::new(environment.join("bin/pip"));
            output(pip.args(["install", "--quiet", &package]))
                .with_context(|| format!("needs {package} from PyPI; pip could not install it"))?;
            std::fs::write(environment.join("complete"), "")?;
        }
        Ok(format!("componentize-py {RELEASE}"))
    }

    fn make(&self, workspace: &Workspace, job: &Job) -> Result<PathBuf> {
        let component = job.scratch.join("component.wasm");
        let mut tool = Command::new(environment(workspace).join("bin/componentize-py"));
        tool.arg("-d")
            .arg(&job.wit)
            .args(["-w", WORLD, "componentize", "app"]);
        output(tool.arg("-p").arg(&job.source).arg("-o").arg(&component))?;
        Ok(component)
    }
}

fn environment(workspace: &Workspace) -> PathBuf {
    workspace.cache.join(format!("componentize-py-{RELEASE}"))
}
