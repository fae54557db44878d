//! `cargo xtask oracle`: compares the host with Flink, case by case.
//!
//! Invariant: the last line is `N passed, N failed`, and what could not be run counts as failed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::oracle::{Case, Family, Outcome, Runner, Scope, flink};

/// Lines of an input where none are given.
const SIZE: u64 = 2_000;

struct Options {
    names: Vec<String>,
    seed: u64,
    size: u64,
    table: PathBuf,
    scope: Scope,
    kept: bool,
}

fn options() -> Result<Options> {
    let mut options = Options {
        names: Vec::new(),
        seed: 1,
        size: SIZE,
        table: flink::directory().join("cases.jsonl"),
        scope: Scope::default(),
        kept: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--seed" => options.seed = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--cases" => options.table = std::path::absolute(value()?)?,
            "--parallelism" => options.scope.parallelism = value()?.parse()?,
            "--family" => {
                let family = value()?;
                options.scope.family = Family::named(&family)
                    .with_context(|| format!("--family {family}: there are `frame` and `typed`"))?;
            }
            "--backend" => {
                let backend = value()?;
                ensure!(backend == "memory", "--backend {backend}: this host has `memory`");
            }
            "--restore" => options.scope.restore = Some(options.seed),
            "--kept" => options.kept = true,
            flag if flag.starts_with('-') => bail!("{flag} is not known"),
            name => options.names.push(name.to_owned()),
        }
    }
    ensure!(options.scope.parallelism > 0, "--parallelism must be at least 1");
    Ok(options)
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    let scratch = tempfile::tempdir()?;
    let directory = if options.kept {
        flink::directory().join(format!("cases/seed-{}", options.seed))
    } else {
        flink::generate(
            &options.table,
            &options.names,
            options.seed,
            options.size,
            scratch.path(),
        )?;
        scratch.path().to_owned()
    };
    let cases = Case::read_all(&directory, &options.table, &options.names)?;
    let mut runner = Runner::start()?;
    let (mut passed, mut failed) = (0, 0);
    for case in &cases {
        let outcome = runner.run(case, options.scope)?;
        match &outcome {
            Outcome::Agrees => passed += 1,
            Outcome::Differs(_) | Outcome::NotYet(_) => failed += 1,
        }
        match outcome {
            Outcome::Agrees => println!("ok      {}", case.name),
            Outcome::Differs(how) => println!("DIFFERS {}: {how}", case.name),
            Outcome::NotYet(what) => println!("not yet: {}: {what}", case.name),
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
