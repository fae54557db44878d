//! What Flink answered on the kept inputs of the oracle: the same here, line by line and in batches.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use wasmill_tests::oracle::job::{Place, Steps, job};
use wasmill_tests::oracle::{Backend, Case, Family, Outcome, Runner, Scope, compare, flink};
use wasmill_tests::{cli, guests};

fn kept(seed: u64) -> PathBuf {
    flink::directory().join(format!("cases/seed-{seed}"))
}

fn agree(scope: Scope, seeds: &[u64]) -> Result<()> {
    agree_of(&[], scope, seeds)
}

/// Of these cases alone, or of all.
fn agree_of(names: &[&str], scope: Scope, seeds: &[u64]) -> Result<()> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    // Less than the states of any case: what RocksDB holds is read from it.
    let mut runner = Runner::start(&[("WASMILL_ROCKSDB_CACHE_SIZE", "1KiB")])?;
    let table = flink::directory().join("cases.jsonl");
    let mut failures = Vec::new();
    for seed in seeds.iter().copied() {
        for case in Case::read_all(&kept(seed), &table, &names)? {
            match runner.run(&case, scope)? {
                Outcome::Agrees => {}
                Outcome::Differs(how) | Outcome::NotYet(how) => {
                    failures.push(format!("{} of seed {seed}: {how}", case.name));
                }
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn kept_cases_agree_with_flink_in_one_subtask() -> Result<()> {
    agree(Scope::default(), &[1, 2])
}

#[test]
fn kept_cases_agree_with_flink_in_two_subtasks() -> Result<()> {
    let parallelism = 2;
    agree(
        Scope {
            parallelism,
            ..Scope::default()
        },
        &[1, 2],
    )
}

#[test]
fn kept_cases_agree_with_flink_by_functions_on_the_typed_worlds() -> Result<()> {
    let family = Family::Typed;
    agree(
        Scope {
            family,
            ..Scope::default()
        },
        &[1],
    )
}

#[test]
fn kept_cases_agree_with_flink_when_restored_in_the_middle_at_another_parallelism() -> Result<()> {
    let restore = Some(1);
    agree(
        Scope {
            restore,
            ..Scope::default()
        },
        &[1],
    )
}

#[test]
fn kept_cases_agree_with_flink_on_rocksdb() -> Result<()> {
    let parallelism = 2;
    let backend = Backend::Rocksdb;
    agree(
        Scope {
            parallelism,
            backend,
            ..Scope::default()
        },
        &[1],
    )
}

#[test]
fn kept_cases_agree_with_flink_when_restored_in_the_middle_on_the_other_backend() -> Result<()> {
    let scope = |backend, restored_backend, seed| Scope {
        backend,
        restored_backend,
        restore: Some(seed),
        ..Scope::default()
    };
    agree(scope(Backend::Memory, Backend::Rocksdb, 2), &[1])?;
    agree(scope(Backend::Rocksdb, Backend::Memory, 3), &[2])
}

#[test]
fn a_wrong_answer_is_found() -> Result<()> {
    let mut case = Case::read(&kept(1).join("timers-order"))?;
    let Some(line) = case.expected.get_mut(100) else {
        bail!("the case has no line 100");
    };
    *line = line.replace("\"now\":", "\"now\":1");
    let outcome = Runner::start(&[])?.run(&case, Scope::default())?;
    match outcome {
        Outcome::Differs(how) => ensure!(how.contains("answer 100 of"), "{how}"),
        other => bail!("{other:?}"),
    }
    Ok(())
}

#[test]
fn the_job_file_of_a_case_runs_by_itself() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let case = Case::read(&kept(1).join("timers-both"))?;
    let component = guests::rust_component("oracle")?.display().to_string();
    let out = directory.path().join("out");
    let place = Place {
        out: &out,
        plugin: &component,
        parallelism: 2,
        backend: Backend::Memory,
        steps: Steps::Runs,
        hold_at: None,
    };
    let Ok(file) = job(&case, place) else {
        bail!("the case cannot be run");
    };
    std::fs::write(directory.path().join("job.json"), file.to_string())?;
    cli::run(directory.path(), &["run", "job.json"])?.ok()?;
    let mut order = case.order();
    order.push("key".to_owned());
    let got = compare::sorted(compare::merged(compare::written(&out)?)?, &order)?;
    let expected = compare::sorted(case.expected, &order)?;
    ensure!(got == expected, "{:?}", compare::difference(&got, &expected));
    Ok(())
}
