//! `wasmill-bench`: run by `cargo xtask bench`, which builds the host and the components first.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use wasmill_bench::bench::Bench;
use wasmill_bench::runs::{ALL, Runner};
use wasmill_bench::settings::Settings;

/// Measures the host; a line of JSON for each figure.
#[derive(Parser)]
struct Arguments {
    /// Benches to run, or comparisons of one such as `windows.tumbling`; all where none is named.
    names: Vec<String>,
    /// The host's release binary.
    #[arg(long, env = "WASMILL_BIN")]
    binary: PathBuf,
    /// Write the figures to this file as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Small runs that show that everything works; their figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// How often both sides take turns; figures are medians.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all bars were reached; small runs reach none and fail none.
fn run(arguments: &Arguments) -> Result<bool> {
    let mut settings = if arguments.quick {
        Settings::quick()
    } else {
        Settings::full()
    };
    settings.rounds = arguments.rounds.unwrap_or(settings.rounds);
    let root = wasmill_tests::guests::root();
    let runners = chosen(&arguments.names)?;
    let has_parts = arguments.names.iter().any(|name| name.contains('.'));
    let bench = Bench::new(&root, &arguments.binary, settings, arguments.json.as_deref())?;
    let mut bench = match has_parts {
        true => bench.only(arguments.names.clone()),
        false => bench,
    };
    for (name, runner) in runners {
        eprintln!("==> bench {name}");
        runner(&mut bench)?;
    }
    if !bench.failed().is_empty() {
        eprintln!("bars not reached: {}", bench.failed().join(", "));
    }
    Ok(arguments.quick || bench.failed().is_empty())
}

fn chosen(names: &[String]) -> Result<Vec<(&'static str, Runner)>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let bench_of = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let find = |name: &String| match ALL.iter().find(|(known, _)| *known == bench_of(name)) {
        Some(bench) => Ok(*bench),
        None => bail!(
            "there is no bench `{name}`: {}",
            ALL.map(|(known, _)| known).join(", ")
        ),
    };
    let mut chosen: Vec<(&'static str, Runner)> = names.iter().map(find).collect::<Result<_>>()?;
    // Several comparisons of one bench are measured in one run of it.
    let mut seen = Vec::new();
    chosen.retain(|(name, _)| {
        let is_new = !seen.contains(name);
        seen.push(*name);
        is_new
    });
    Ok(chosen)
}
