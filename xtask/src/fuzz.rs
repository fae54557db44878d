//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer, on the stable compiler.
//!
//! Coverage is put into our own crates alone: cargo calls [`compile`] for them in place of `rustc`, which adds the flags
//! of LLVM's coverage. So all dependencies are those of the ordinary build.
//!
//! Invariant: an input that breaks a target lies in `tests/fixtures/fuzz` afterwards, where the ordinary tests run it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{self, run};
use crate::workspace::Workspace;

/// Says to this program that it is called in place of `rustc`.
const AS_COMPILER: &str = "WASMILL_FUZZ_COMPILES";

/// What cargo-fuzz passes too: counters and a table of edges, and the operands of comparisons.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// An input may grow to this.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// One that takes longer counts as broken.
const INPUT_SECONDS_MAX: u32 = 20;

/// One that makes a target take more memory counts as broken.
const MEMORY_MB_MAX: u32 = 2_048;

/// Options of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The reader to run; all, one after another, where none is named.
    targets: Vec<String>,
    /// How long each is run.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// So many at one time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
}

/// In place of `rustc`, where cargo has called this program so; `None`: it has not.
pub(crate) fn compile() -> Option<ExitCode> {
    std::env::var_os(AS_COMPILER)?;
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next()?;
    let status = Command::new(rustc).args(arguments).args(COVERAGE).status();
    Some(match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Builds the fuzzer and runs targets.
pub(crate) fn fuzz(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(
        options.minutes > 0.0 && options.jobs > 0,
        "`--minutes` and `--jobs` are above 0"
    );
    let program = build(workspace)?;
    let known = output_of(Command::new(&program).env("WASMILL_FUZZ_LIST", "1"))?;
    let known: Vec<&str> = known.lines().collect();
    if let Some(unknown) = options
        .targets
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        bail!("there is no target `{unknown}`: {}", known.join(", "));
    }
    let targets: Vec<&str> = match options.targets.is_empty() {
        true => known,
        false => options.targets.iter().map(String::as_str).collect(),
    };
    let mut broken = Vec::new();
    for some in targets.chunks(options.jobs) {
        let running: Vec<_> = some
            .iter()
            .map(|target| Ok((*target, Run::start(workspace, &program, target, options.minutes)?)))
            .collect::<Result<_>>()?;
        for (target, run) in running {
            if let Some(input) = run.finish(target)? {
                broken.push(format!("{target}: {}", input.display()));
            }
        }
    }
    ensure!(
        broken.is_empty(),
        "these inputs break their target, as `cargo test --workspace --test fuzz` shows:\n{}",
        broken.join("\n")
    );
    Ok(())
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    eprintln!("==> cargo build of the fuzzer");
    let mut build = command::cargo(&workspace.root);
    build
        .args([
            "build",
            "--workspace",
            "--bin",
            "wasmill-fuzz",
            "--features",
            "wasmill-fuzz/libfuzzer",
        ])
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
        .env(AS_COMPILER, "1");
    run(&mut build)?;
    Ok(workspace.target.join("debug/wasmill-fuzz"))
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().context("start the fuzzer")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A fuzzer that runs.
struct Run {
    child: std::process::Child,
    log: PathBuf,
    kept: PathBuf,
    before: Vec<PathBuf>,
}

impl Run {
    fn start(workspace: &Workspace, program: &Path, target: &str, minutes: f64) -> Result<Self> {
        // What was found grows from run to run.
        let corpus = workspace.cache.join("fuzz").join(target);
        let kept = workspace.root.join("tests/fixtures/fuzz").join(target);
        for directory in [&corpus, &kept] {
            fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        }
        let log = workspace.cache.join("fuzz").join(format!("{target}.log"));
        let file = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let prefix: OsString = format!("{}/", kept.display()).into();
        let mut artifacts = OsString::from("-artifact_prefix=");
        artifacts.push(prefix);
        let child = Command::new(program)
            .arg(format!("-max_total_time={}", (minutes * 60.0).ceil()))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            .args(["-print_final_stats=1", "-use_value_profile=1"])
            .arg(artifacts)
            .args([&corpus, &kept])
            .env("WASMILL_FUZZ_TARGET", target)
            .env("WASMILL_FUZZ_CORPUS", &corpus)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let before = files(&kept);
        Ok(Self {
            child,
            log,
            kept,
            before,
        })
    }

    /// Waits for the end and prints the figures; the input that broke the target, if one did.
    fn finish(mut self, target: &str) -> Result<Option<PathBuf>> {
        let status = self.child.wait()?;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let figure = |name: &str| {
            let line = log
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
            line.map_or("?", str::trim).to_owned()
        };
        let (executions, rate) = (figure("number_of_executed_units"), figure("average_exec_per_sec"));
        println!(
            "{target}: {executions} executions, {rate} a second, {} new inputs",
            figure("new_units_added")
        );
        if status.success() {
            // Git keeps no empty directory; nor do we.
            let _ = fs::remove_dir(&self.kept);
            return Ok(None);
        }
        let broken = files(&self.kept)
            .into_iter()
            .find(|path| !self.before.contains(path));
        let said: Vec<&str> = log.lines().filter(|line| line.contains("panicked at")).collect();
        eprintln!("{target}: {}; the log is {}", said.join("; "), self.log.display());
        Ok(Some(broken.unwrap_or(self.log)))
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
