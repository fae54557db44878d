//! `cargo xtask oracle`: compares the host with Flink, case by case.
//!
//! Invariant: the last line is `N passed, N failed`, and what could not be run counts as failed.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::oracle::{Backend, Case, Family, Outcome, Runner, Scope, flink};

/// Lines of an input where none are given.
const SIZE: u64 = 2_000;

struct Options {
    names: Vec<String>,
    seeds: RangeInclusive<u64>,
    size: u64,
    all_ways: bool,
    table: PathBuf,
    scope: Scope,
    kept: bool,
}

fn options() -> Result<Options> {
    let mut options = Options {
        names: Vec::new(),
        seeds: 1..=1,
        size: SIZE,
        all_ways: false,
        table: flink::directory().join("cases.jsonl"),
        scope: Scope::default(),
        kept: false,
    };
    let mut restored_backend = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--seed" => options.seeds = seeds(&value()?)?,
            "--all-ways" => options.all_ways = true,
            "--size" => options.size = value()?.parse()?,
            "--cases" => options.table = std::path::absolute(value()?)?,
            "--parallelism" => options.scope.parallelism = value()?.parse()?,
            "--family" => {
                let family = value()?;
                options.scope.family = Family::named(&family)
                    .with_context(|| format!("--family {family}: there are `frame` and `typed`"))?;
            }
            "--backend" => {
                options.scope.backend = backend(&value()?)?;
                options.scope.restored_backend = options.scope.backend;
            }
            "--restored-backend" => {
                restored_backend = Some(backend(&value()?)?);
            }
            "--restore" => options.scope.restore = Some(0),
            "--kept" => options.kept = true,
            flag if flag.starts_with('-') => bail!("{flag} is not known"),
            name => options.names.push(name.to_owned()),
        }
    }
    if let Some(backend) = restored_backend {
        options.scope.restored_backend = backend;
    }
    ensure!(options.scope.parallelism > 0, "--parallelism must be at least 1");
    Ok(options)
}

fn backend(name: &str) -> Result<Backend> {
    Backend::named(name).with_context(|| format!("backend {name}: there are `memory` and `rocksdb`"))
}

/// `7`, or `1-20`.
fn seeds(text: &str) -> Result<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(first.parse()?..=last.parse()?)
}

impl Options {
    /// How the cases of a seed are run.
    fn scopes(&self, seed: u64) -> Vec<Scope> {
        let restore = self.scope.restore.map(|_| seed);
        let scope = Scope {
            restore,
            ..self.scope
        };
        if !self.all_ways {
            return vec![scope];
        }
        let ways = [(1, None), (2, None), (1, Some(seed)), (2, Some(seed))];
        let ways = ways.into_iter().map(|(parallelism, restore)| Scope {
            parallelism,
            restore,
            ..scope
        });
        ways.collect()
    }

    /// The cases of a seed, with Flink's answers.
    fn cases(&self, seed: u64, scratch: &Path) -> Result<Vec<Case>> {
        if self.kept {
            let directory = flink::directory().join(format!("cases/seed-{seed}"));
            return Case::read_all(&directory, &self.table, &self.names);
        }
        flink::generate(&self.table, &self.names, seed, self.size, scratch)?;
        Case::read_all(scratch, &self.table, &self.names)
    }
}

fn main() -> Result<ExitCode> {
    let options = options()?;
    let mut runner = Runner::start(&[])?;
    let (mut passed, mut failed) = (0, 0);
    for seed in options.seeds.clone() {
        let scratch = tempfile::tempdir()?;
        let cases = options.cases(seed, scratch.path())?;
        for scope in options.scopes(seed) {
            let before = (passed, failed);
            for case in &cases {
                if options.all_ways && !Runner::differs(case, scope)? {
                    continue;
                }
                let outcome = runner.run(case, scope)?;
                match &outcome {
                    Outcome::Agrees => passed += 1,
                    Outcome::Differs(_) | Outcome::NotYet(_) => failed += 1,
                }
                match outcome {
                    Outcome::Agrees if options.all_ways => {}
                    Outcome::Agrees => println!("ok      {}", case.name),
                    Outcome::Differs(how) => println!("DIFFERS {}: {how}", case.name),
                    Outcome::NotYet(what) => println!("not yet: {}: {what}", case.name),
                }
            }
            if options.all_ways {
                println!(
                    "seed {seed}, in {} subtask(s){}: {} passed, {} failed",
                    scope.parallelism,
                    if scope.restore.is_some() { ", restored" } else { "" },
                    passed - before.0,
                    failed - before.1
                );
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
