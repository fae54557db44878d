//! A component whose state has changed its form goes on from what its older version has stored.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::{guests, text, wait};

/// Accounts: each in another key group, so that all subtasks have some.
const ACCOUNTS: u32 = 30;

/// What a job goes on from, and the backends before and after.
const WAYS: [(Snapshot, &str, &str); 6] = [
    (Snapshot::Canonical, "memory", "rocksdb"),
    (Snapshot::Canonical, "rocksdb", "memory"),
    (Snapshot::Native, "rocksdb", "rocksdb"),
    (Snapshot::Native, "rocksdb", "memory"),
    (Snapshot::Checkpoint, "rocksdb", "rocksdb"),
    (Snapshot::Checkpoint, "memory", "rocksdb"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Snapshot {
    Canonical,
    Native,
    /// Incremental, kept when the job was cancelled.
    Checkpoint,
}

/// A job of one version: every kind of state, the accumulator of an aggregate function, and that of windows.
struct Job<'a> {
    name: &'a str,
    version: u32,
    backend: &'a str,
    parallelism: u32,
    continuous: bool,
}

impl Job<'_> {
    fn file(&self, directory: &Path) -> String {
        let Self {
            name,
            version,
            backend,
            parallelism,
            continuous,
        } = self;
        let directory = directory.display();
        format!(
            "version: 1
name: {name}
parallelism: {parallelism}
state-backend: {backend}
checkpointing: {{interval: 100ms, incremental: true, retain-on-cancel: true}}
plugins: {{ledger: ledger, typed: ledger_typed}}
operators:
  - uid: bookings
    source: files
    config: {{path: \"{directory}/in\", continuous: {continuous}, discovery-interval-ms: 20}}
    format: csv
  - {{uid: by-account, key-by: {{field: 0}}, inputs: [bookings]}}
  - {{uid: ledger, function: ledger/ledger-{version}, inputs: [by-account]}}
  - {{uid: mean, function: ledger/mean-{version}, inputs: [by-account]}}
  - uid: mean-of-4
    window: {{count: {{size: 4}}, function: {{aggregate: ledger/mean-{version}}}}}
    inputs: [by-account]
  - {{uid: balance, function: typed/balance-{version}, inputs: [by-account]}}
  - {{uid: out, sink: files, config: {{path: \"{directory}/out/{name}\"}}, format: lines, inputs: [ledger, mean, mean-of-4, balance]}}
"
        )
    }
}

/// What the functions keep of an account, in cents.
#[derive(Default)]
struct Account {
    bookings: Vec<i64>,
    days: BTreeMap<u32, i64>,
    /// All of them: what a migration drops is in the sums.
    all: Vec<i64>,
}

impl Account {
    /// The lines that a booking makes.
    fn book(&mut self, name: &str, day: u32, euros: i64, lines: &mut Vec<String>) {
        let cents = euros * 100;
        self.bookings.push(cents);
        *self.days.entry(day).or_default() += cents;
        self.all.push(cents);
        let mean = |of: &[i64]| format!("mean {}", of.iter().sum::<i64>() / of.len() as i64);
        let balance: i64 = self.all.iter().sum();
        let (bookings, days) = (&self.bookings, self.days.iter().collect::<Vec<_>>());
        lines.push(format!(
            "{name}: last {cents}, bookings {bookings:?}, days {days:?}, balance {balance}, {}, recent {cents}",
            mean(&self.all)
        ));
        lines.push(mean(&self.all));
        if self.all.len().is_multiple_of(4) {
            lines.push(mean(&self.all[self.all.len() - 4..]));
        }
        lines.push(format!("{name}: {balance}"));
    }

    /// As the second version takes it over.
    fn migrate(&mut self) {
        self.bookings.retain(|cents| *cents != 0);
        self.days.remove(&0);
    }
}

/// Bookings by account, and what comes of them.
#[derive(Default)]
struct Model {
    accounts: BTreeMap<String, Account>,
    lines: Vec<String>,
}

impl Model {
    /// Adds a file of so many bookings of each account; their number decides amounts and days.
    fn add(&mut self, directory: &Path, file: &str, numbers: std::ops::Range<u32>) -> Result<()> {
        let mut csv = String::new();
        for number in numbers {
            for account in 0..ACCOUNTS {
                let name = format!("a{account}");
                let (day, euros) = (number % 3, i64::from(number * account % 7));
                csv.push_str(&format!("{name},{day},{euros}\n"));
                let account = self.accounts.entry(name.clone()).or_default();
                account.book(&name, day, euros, &mut self.lines);
            }
        }
        let (part, input) = (directory.join("part"), directory.join("in"));
        std::fs::create_dir_all(&input)?;
        std::fs::write(&part, csv)?;
        Ok(std::fs::rename(part, input.join(file))?)
    }

    fn difference(&self, directory: &Path, job: &str) -> Result<Option<String>> {
        let mut expected = self.lines.clone();
        expected.sort();
        Ok(text::difference(
            &text::committed(&directory.join("out").join(job))?,
            &expected,
        ))
    }
}

fn end(host: &Host, job: &str, snapshot: Snapshot) -> Result<String> {
    match snapshot {
        Snapshot::Canonical => host.stop_with(job, "CANONICAL"),
        Snapshot::Native => host.stop_with(job, "NATIVE"),
        Snapshot::Checkpoint => {
            host.patch(&format!("/v1/jobs/{job}?mode=cancel"))?;
            host.wait_for(job, "CANCELED", LIMIT)?;
            let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
            let path = checkpoints["latest"]["completed"]["external_path"].as_str();
            Ok(path.with_context(|| checkpoints.to_string())?.to_owned())
        }
    }
}

fn host_with_ledgers(directory: &Path) -> Result<Host> {
    let settings = [("WASMILL_SLOTS", "64"), ("WASMILL_ROCKSDB_CACHE_SIZE", "4KiB")];
    let host = Host::start(&directory.join("data"), &settings)?;
    for name in ["ledger", "ledger_typed"] {
        host.upload(name, &guests::rust_component(name)?)?;
    }
    Ok(host)
}

#[test]
fn state_of_an_older_version_is_migrated_from_every_kind_of_snapshot_and_the_output_goes_on() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path();
    let (host, mut model) = (host_with_ledgers(directory)?, Model::default());
    model.add(directory, "1.csv", 0..6)?;
    let names = WAYS.map(|(snapshot, before, after)| format!("{snapshot:?}-{before}-{after}"));
    let job = |number: usize, version: u32, continuous: bool| Job {
        name: &names[number],
        version,
        backend: [WAYS[number].1, WAYS[number].2][version as usize - 1],
        parallelism: version + 1,
        continuous,
    };
    let first = (0..WAYS.len()).map(|number| host.submit(&job(number, 1, true).file(directory)));
    let first = first.collect::<Result<Vec<String>>>()?;
    let mut snapshots = Vec::new();
    for ((job, name), (snapshot, ..)) in first.iter().zip(&names).zip(WAYS) {
        wait::until("all is committed", LIMIT, || {
            Ok(model.difference(directory, name)?.map_or(Ok(()), Err))
        })?;
        host.wait_for_a_new_checkpoint(job)?;
        snapshots.push(end(&host, job, snapshot)?);
    }
    model.accounts.values_mut().for_each(Account::migrate);
    model.add(directory, "2.csv", 6..9)?;
    for ((number, name), snapshot) in names.iter().enumerate().zip(&snapshots) {
        let query = format!("?savepointPath={snapshot}");
        let second = host.submit_with(&job(number, 2, true).file(directory), &query)?;
        wait::until("all is committed", LIMIT, || {
            Ok(model.difference(directory, name)?.map_or(Ok(()), Err))
        })
        .with_context(|| format!("{name}: {}", host.log()))?;
        snapshots_of_now(&host, directory, &job(number, 2, false), &second)
            .with_context(|| (*name).clone())?;
    }
    Ok(())
}

/// The states of the functions, and the one in which windows keep the accumulators.
const STATES: [&str; 8] = [
    "accumulator",
    "balance",
    "bookings",
    "days",
    "last",
    "mean",
    "recent",
    "window-contents",
];

/// What the second version has stored is of its version, and needs no migration.
fn snapshots_of_now(host: &Host, directory: &Path, job: &Job<'_>, second: &str) -> Result<()> {
    host.wait_for_a_new_checkpoint(second)?;
    let savepoint = host.stop_with_savepoint(second)?;
    let exported = host.command(&["state", "export", &savepoint])?.ok()?;
    let mut versions = BTreeMap::new();
    for line in exported.lines() {
        let line: Value = serde_json::from_str(line)?;
        for state in line["states"].as_array().into_iter().flatten() {
            let name = state["name"].as_str().unwrap_or_default();
            versions.insert(name.to_owned(), state["schema-version"].as_u64());
        }
    }
    for name in STATES {
        ensure!(versions.get(name) == Some(&Some(2)), "{name}: {versions:?}");
    }
    let third = host.submit_with(&job.file(directory), &format!("?savepointPath={savepoint}"))?;
    host.wait_for(&third, "FINISHED", LIMIT)
}

/// Functions of a second version that do not go on, and what the job's one failure says.
const REFUSALS: [(&str, &[&str]); 6] = [
    (
        "ledger/ledger-2-forgets",
        &[
            "state `last`: the snapshot holds Value of schema version 1, the function declares Value of schema version 2",
            "give the component a `migrate` that reads the older version",
        ],
    ),
    (
        "ledger/ledger-2-refuses",
        &[
            "state `last`: what key `a` of key group ",
            " cannot be migrated from schema version 1 to 2; mend `migrate`",
            "migrate failed: 13 euros bring bad luck [plugin ledger@sha256:",
            "function `ledger-2-refuses`",
        ],
    ),
    (
        "ledger/ledger-2-traps",
        &[
            "what key `a` of key group ",
            "the component trapped: ",
            "function `ledger-2-traps`",
        ],
    ),
    (
        "typed/balance-2-loses",
        &[
            "state `balance`: what key `a` of key group ",
            "migrate answered 0 values for 1 entries: it has to answer one for each",
        ],
    ),
    (
        "typed/balance-2-spins",
        &[
            "state `balance`: what key `a` of key group ",
            "did not return within 100 ms",
            "limit call-ms-max = 100",
        ],
    ),
    (
        "typed/balance-2-reads",
        &[
            "state `balance`: what key `a` of key group ",
            "`migrate` is given the bytes of a state alone",
        ],
    ),
];

fn refusal_job(function: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "version: 1
name: refusals
checkpointing: {{interval: 100ms}}
limits: {{call-ms-max: 100}}
restart: {{strategy: fixed-delay, attempts: 1000, delay: 10ms}}
plugins: {{ledger: ledger, typed: ledger_typed}}
operators:
  - {{uid: bookings, source: files, config: {{path: \"{directory}/in\", continuous: true}}, format: csv}}
  - {{uid: by-account, key-by: {{field: 0}}, inputs: [bookings]}}
  - {{uid: function, function: {function}, inputs: [by-account]}}
  - {{uid: out, sink: files, config: {{path: \"{directory}/out\"}}, format: lines, inputs: [function]}}
"
    )
}

#[test]
fn state_that_cannot_be_migrated_fails_the_job_at_once_with_its_place_and_the_mend() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path();
    std::fs::create_dir_all(directory.join("in"))?;
    std::fs::write(directory.join("in/1.csv"), "a,1,13\n")?;
    let host = host_with_ledgers(directory)?;
    let mut savepoints = BTreeMap::new();
    for function in ["ledger/ledger-1", "typed/balance-1", "typed/balance-2"] {
        let job = host.submit(&refusal_job(function, directory))?;
        let committed = text::committed(&directory.join("out"))?.len();
        wait::until("its line is committed", LIMIT, || {
            let now = text::committed(&directory.join("out"))?.len();
            Ok(if now > committed {
                Ok(())
            } else {
                Err(format!("{now} lines"))
            })
        })?;
        savepoints.insert(function, host.stop_with_savepoint(&job)?);
    }
    let older = |function: &str| match function.starts_with("ledger") {
        true => &savepoints["ledger/ledger-1"],
        false => &savepoints["typed/balance-1"],
    };
    let newer: (&str, &[&str]) = (
        "typed/balance-1",
        &[
            "the snapshot holds Value of schema version 2, the function declares Value of schema version 1: keep the",
        ],
    );
    let refusals = REFUSALS.map(|(function, words)| (function, older(function), words));
    let all = refusals
        .into_iter()
        .chain([(newer.0, &savepoints["typed/balance-2"], newer.1)]);
    for (function, savepoint, words) in all {
        let query = format!("?savepointPath={savepoint}");
        let job = host.submit_with(&refusal_job(function, directory), &query)?;
        let failure = host.failure(&job)?;
        let place = ["operator `function`", "the job is not restarted"];
        for word in words.iter().chain(&place) {
            ensure!(failure.contains(word), "{function}: no `{word}` in: {failure}");
        }
    }
    Ok(())
}
