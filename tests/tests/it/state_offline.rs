//! `wasmill state …`: state of a savepoint read, written, compared and edited without a job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wasmill_tests::host::Host;
use wasmill_tests::{cli, guests, text, wait};

const LIMIT: Duration = Duration::from_secs(60);

/// Lines of the input, each with the same three words.
const LINES: u64 = 400;

struct Stopped {
    directory: tempfile::TempDir,
    host: Host,
    /// Of a job that counted words and was stopped in the middle.
    savepoint: String,
}

impl Stopped {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir(directory.path().join("in"))?;
        std::fs::write(
            directory.path().join("in/words"),
            "alpha beta gamma\n".repeat(LINES as usize),
        )?;
        let host = Host::start(&directory.path().join("data"), &[])?;
        host.upload("words", &guests::rust_component("word_count")?)?;
        let mut stopped = Self {
            directory,
            host,
            savepoint: String::new(),
        };
        let job = stopped.host.submit(&stopped.job("first", ", rate: 200"))?;
        stopped.host.wait_for_a_new_checkpoint(&job)?;
        let savepoint = stopped.host.stop_with_savepoint(&job)?;
        stopped.savepoint = savepoint;
        Ok(stopped)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn job(&self, output: &str, rate: &str) -> String {
        format!(
            "version: 1
name: words
parallelism: 2
checkpointing: {{interval: 100ms}}
plugins: {{words: words}}
operators:
  - {{uid: lines, source: files, config: {{path: \"{}\"{rate}}}, format: lines}}
  - {{uid: split, function: words/split, inputs: [lines]}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [split]}}
  - {{uid: count, function: words/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [count]}}
",
            self.path("in").display(),
            self.path(output).display()
        )
    }

    /// What the rest of the job gives when it goes on from a savepoint, sorted. It writes to where the savepoint's results
    /// are, which it commits where they are not.
    fn rest(&self, savepoint: &str) -> Result<Vec<String>> {
        let output = self.path("first");
        let mut before = text::committed(&output)?.into_iter().peekable();
        let query = format!("?savepointPath={savepoint}");
        let job = self.host.submit_with(&self.job("first", ""), &query)?;
        self.host.wait_for(&job, "FINISHED", LIMIT)?;
        let mut after = text::committed(&output)?;
        after.retain(|line| before.next_if_eq(line).is_none());
        Ok(after)
    }

    fn state(&self, arguments: &[&str]) -> Result<cli::Ran> {
        cli::run(self.directory.path(), &[&["state"], arguments].concat())
    }

    fn export(&self, savepoint: &str) -> Result<Vec<Value>> {
        let lines = self.state(&["export", savepoint])?.ok()?;
        lines
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }
}

fn count_of(lines: &[Value], word: &str) -> Result<u64> {
    let entry = lines
        .iter()
        .find(|line| line["key"] == *word)
        .context("the word has no count")?;
    entry["value"].as_u64().with_context(|| entry.to_string())
}

#[test]
fn an_export_that_is_imported_restores_to_the_same_output_and_an_edited_count_shows() -> Result<()> {
    let stopped = Stopped::new()?;
    let lines = stopped.export(&stopped.savepoint)?;
    let counted = count_of(&lines, "alpha")?;
    ensure!(
        counted > 0 && counted < LINES,
        "{counted} of {LINES} were counted"
    );
    let listed = stopped.state(&["list", "--json", &stopped.savepoint])?.json()?;
    let rows = listed.as_array().context("rows")?;
    let count = rows
        .iter()
        .find(|row| row["state"] == "count")
        .context("a row of `count`")?;
    ensure!(count["entries"] == 3 && count["encoding"] == "u64-le", "{count}");

    stopped
        .state(&["export", &stopped.savepoint, "-o", "lines"])?
        .ok()?;
    stopped.state(&["import", "lines", "imported"])?.ok()?;
    let differences = stopped.state(&["diff", &stopped.savepoint, "imported"])?.ok()?;
    ensure!(differences.is_empty(), "{differences}");

    let changes = [
        json!({"operator": "count", "state": "count", "key": "alpha", "value": 1_000_000}),
        json!({"operator": "count", "state": "count", "key": "beta", "delete": true}),
        json!({"operator": "count", "state": "count", "key": "unseen", "value": 7}),
    ];
    let changes: Vec<String> = changes.iter().map(Value::to_string).collect();
    std::fs::write(stopped.path("changes"), changes.join("\n"))?;
    stopped
        .state(&["edit", "imported", "edited", "--changes", "changes"])?
        .ok()?;
    let differences = stopped.state(&["diff", "imported", "edited"])?.ok()?;
    let changes: Vec<Value> = differences
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let change_of = |word: &str| changes.iter().find(|line| line["key"] == *word).cloned();
    let alpha = change_of("alpha").context("alpha has changed")?;
    ensure!(
        alpha["change"] == "changed" && alpha["was-value"] == counted,
        "{alpha}"
    );
    ensure!(change_of("beta").is_some_and(|line| line["change"] == "removed"));
    ensure!(change_of("unseen").is_some_and(|line| line["change"] == "added"));
    ensure!(changes.len() == 3, "{differences}");

    let place = |name: &str| stopped.path(name).display().to_string();
    let original = stopped.rest(&stopped.savepoint)?;
    ensure!(
        original.len() as u64 == 3 * (LINES - counted),
        "{} lines",
        original.len()
    );
    ensure!(stopped.rest(&place("imported"))? == original);
    let edited = stopped.rest(&place("edited"))?;
    let expected = |word: &str, from: u64| format!("{word},{}", from + LINES - counted);
    for line in [
        expected("alpha", 1_000_000),
        expected("beta", 0),
        expected("gamma", counted),
    ] {
        ensure!(edited.contains(&line), "{line} is not in the output");
    }
    Ok(())
}

/// Runs a command on lines that are wrong and returns its error.
fn refused(directory: &Path, lines: &[String]) -> Result<String> {
    std::fs::write(directory.join("wrong"), lines.join("\n"))?;
    let error = cli::run(directory, &["state", "import", "wrong", "never"])?.refused()?;
    ensure!(
        !directory.join("never/_metadata").exists(),
        "a savepoint was written"
    );
    Ok(error)
}

#[test]
fn a_line_that_is_wrong_is_named_with_its_number_and_nothing_is_written() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let head = json!({"savepoint": {
        "version": 1, "job-id": "00000000000000000000000000000001", "job-name": "words", "checkpoint": 1,
        "triggered-at": 0, "epoch": 1, "max-parallelism": 128
    }});
    let operator = json!({"operator": "count", "parallelism": 2, "states": [
        {"name": "count", "kind": "value", "encoding": "u64-le"},
        {"name": "seen", "kind": "map", "encoding": "utf8", "schema": {"key": "u16-be"}}
    ]});
    let cases = [
        ("{\"operator\": \"count\"", "wrong:3: the line is no JSON"),
        ("[1]", "wrong:3: the line is `[1]`: write a JSON object"),
        (
            r#"{"operator":"cuont","state":"count","key":"a","value":1}"#,
            "did you mean `count`?",
        ),
        (
            r#"{"operator":"count","state":"coumt","key":"a","value":1}"#,
            "has no state `coumt`",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","value":"1"}"#,
            "`\"1\"` is not a whole number",
        ),
        (
            r#"{"operator":"count","state":"count","value":1}"#,
            "wrong:3: it has no `key`",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","valeu":1}"#,
            "it has no `value`",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","value":1,"x":2}"#,
            "the field `x` does not belong",
        ),
        (
            r#"{"operator":"count","state":"seen","key":"a","map-key":65536,"value":""}"#,
            "no map key of the encoding `u16-be`",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","window":{"start":5,"end":5},"value":1}"#,
            "is no window",
        ),
        (
            r#"{"operator":"count","timer":"evnt","timestamp":1,"key":"a"}"#,
            "write \"event\" or \"processing\"",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","key-group":128,"value":1}"#,
            "its `key-group` is `128`: write 0 to 127",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","window":"global","namespace":"x","value":1}"#,
            "a `window` or a `namespace`, not both",
        ),
        (
            r#"{"operator":"count","state":"count","key":"a","value":{"base64":"*"}}"#,
            "`*` is not base64",
        ),
        (
            r#"{"operator":"count","operator-state":"x","mode":"lst","subtask":0,"element":""}"#,
            "write \"list\", \"union\" or \"broadcast\"",
        ),
        (
            r#"{"operator":"count","raw-state":"x","subtask":2}"#,
            "has 2, from 0",
        ),
        (r#"{"operator":"count"}"#, "wrong:3: it is of no kind"),
    ];
    for (line, expected) in cases {
        let error = refused(
            directory.path(),
            &[head.to_string(), operator.to_string(), line.to_owned()],
        )?;
        ensure!(
            error.contains("wrong:3: ") && error.contains(expected),
            "{line}: {error}"
        );
        ensure!(error.trim().lines().count() == 1, "{error}");
    }
    let twice = r#"{"operator":"count","state":"count","key":"a","value":1}"#.to_owned();
    let error = refused(
        directory.path(),
        &[head.to_string(), operator.to_string(), twice.clone(), twice],
    )?;
    ensure!(
        error.contains("the entry of the key \"a\" is given twice"),
        "{error}"
    );
    let error = refused(directory.path(), &[operator.to_string()])?;
    ensure!(error.contains("wrong:1: the first line should be"), "{error}");
    Ok(())
}

/// The lines of a savepoint with every kind of entry.
fn every_kind() -> Vec<String> {
    let head = json!({"savepoint": {
        "version": 1, "job-id": "00000000000000000000000000000001", "job-name": "kinds", "checkpoint": 3,
        "triggered-at": 5, "epoch": 2, "max-parallelism": 128, "plugins": {}
    }});
    let ttl = json!({"time-to-live": 60_000, "update-type": "on-create-and-write", "visibility": "never-return-expired"});
    let states = json!([
        {"name": "last", "kind": "list", "encoding": "utf8"},
        {"name": "old", "kind": "value", "encoding": "i64-le", "ttl": ttl},
        {"name": "seen", "kind": "map", "encoding": "json", "schema": {"key": "i32-be-ordered"}},
        {"name": "total", "kind": "reducing", "encoding": "f64-le"}
    ]);
    let mut lines = vec![
        head.to_string(),
        json!({"operator": "kinds", "parallelism": 2, "states": states}).to_string(),
        json!({"operator": "source", "parallelism": 1}).to_string(),
    ];
    for key in [json!("a"), json!(1), json!(null), json!({"fields": ["x", true]})] {
        let window = json!({"start": 0, "end": 60_000});
        lines.extend((0..3).map(|n| {
            json!({"operator": "kinds", "state": "last", "key": key, "element": format!("{n}")}).to_string()
        }));
        lines.push(
            json!({"operator": "kinds", "state": "old", "key": key, "last-update": 9, "value": -4})
                .to_string(),
        );
        lines.extend([-5, 5].map(|n| {
            json!({"operator": "kinds", "state": "seen", "key": key, "window": window, "map-key": n, "value": {"n": n}})
                .to_string()
        }));
        lines.push(
            json!({"operator": "kinds", "state": "total", "key": key, "window": "global", "value": 0.5})
                .to_string(),
        );
        lines.push(
            json!({"operator": "kinds", "timer": "event", "timestamp": -1, "key": key, "window": window})
                .to_string(),
        );
        lines.push(
            json!({"operator": "kinds", "timer": "processing", "timestamp": 8, "key": key}).to_string(),
        );
    }
    lines.push(json!({"operator": "kinds", "raw-state": {"base64": "/w=="}, "subtask": 1}).to_string());
    lines.push(
        json!({"operator": "source", "operator-state": "offsets", "mode": "union", "subtask": 0, "element": "f:5"}).to_string(),
    );
    lines
}

#[test]
fn every_kind_of_state_timers_and_operator_state_come_back_from_lines_as_they_were() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let lines = every_kind();
    std::fs::write(directory.path().join("lines"), lines.join("\n"))?;
    let state = |arguments: &[&str]| cli::run(directory.path(), &[&["state"], arguments].concat())?.ok();
    state(&["import", "lines", "savepoint"])?;
    let exported = state(&["export", "savepoint"])?;
    let sorted = |mut lines: Vec<Value>| {
        lines.sort_by_key(Value::to_string);
        lines
    };
    let read = |lines: Vec<&str>| -> Result<Vec<Value>> {
        lines
            .into_iter()
            .map(|line| Ok(serde_json::from_str::<Value>(line)?))
            .collect()
    };
    let entries = |lines: Vec<Value>| {
        sorted(
            lines
                .into_iter()
                .filter(|line| line.get("parallelism").is_none())
                .collect(),
        )
    };
    let wanted = entries(read(lines.iter().map(String::as_str).collect())?);
    let got = entries(read(exported.lines().collect())?);
    for (wanted, got) in wanted.iter().zip(&got) {
        ensure!(wanted == got, "{got} instead of {wanted}");
    }
    ensure!(
        wanted.len() == got.len(),
        "{} entries instead of {}",
        got.len(),
        wanted.len()
    );
    let elements: Vec<&str> = exported
        .lines()
        .filter(|line| line.contains("\"key\":\"a\",\"element\""))
        .collect();
    ensure!(elements.is_sorted() && elements.len() == 3, "{elements:?}");
    let again = state(&["import", "lines", "again"])?;
    ensure!(again.contains("again"), "{again}");
    ensure!(state(&["diff", "savepoint", "again"])?.is_empty());
    let refused = cli::run(directory.path(), &["state", "import", "lines", "again"])?.refused()?;
    ensure!(refused.contains("`again` is there already"), "{refused}");
    Ok(())
}

#[test]
fn every_kind_of_entry_comes_back_from_parquet_as_it_was() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("lines"), every_kind().join("\n"))?;
    let state = |arguments: &[&str]| cli::run(directory.path(), &[&["state"], arguments].concat());
    state(&["import", "lines", "savepoint"])?.ok()?;
    let parquet = ["export", "savepoint", "--format", "parquet"];
    let refused = state(&parquet)?.refused()?;
    ensure!(refused.contains("name it with `-o DIRECTORY`"), "{refused}");
    state(&[&parquet[..], &["-o", "tables"]].concat())?.ok()?;
    let refused = state(&[&parquet[..], &["-o", "tables"]].concat())?.refused()?;
    ensure!(refused.contains("tables: File exists"), "{refused}");
    for table in [
        "timers",
        "states/last",
        "states/old",
        "states/seen",
        "states/total",
    ] {
        let path = directory.path().join(format!("tables/kinds/{table}.parquet"));
        ensure!(path.is_file(), "there is no {}", path.display());
    }
    state(&["import", "tables", "again"])?.ok()?;
    ensure!(state(&["diff", "savepoint", "again"])?.ok()?.is_empty());
    ensure!(state(&["export", "savepoint"])?.ok()? == state(&["export", "again"])?.ok()?);

    let only = ["--operator", "kinds", "--state", "total", "-o", "total"];
    state(&[&parquet[..], &only].concat())?.ok()?;
    let tables: Vec<_> =
        std::fs::read_dir(directory.path().join("total/kinds"))?.collect::<Result<_, _>>()?;
    ensure!(tables.len() == 1, "{tables:?}");
    Ok(())
}

/// Lines that a number of sliding windows count; the highest time is `seconds`.
fn clicks(path: &Path, seconds: u64) -> Result<()> {
    let line = |n: u64| json!({"word": format!("w{}", n % 7), "at": n * 100}).to_string();
    let lines: Vec<String> = (0..seconds * 10).map(line).collect();
    Ok(std::fs::write(path, lines.join("\n") + "\n")?)
}

#[test]
fn windows_go_on_from_what_was_exported_and_imported() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("in"))?;
    clicks(&path("in/first"), 60)?;
    let host = Host::start(&path("data"), &[])?;
    let job = |read: &str| {
        format!(
            "version: 1
name: clicks
parallelism: 2
checkpointing: {{interval: 100ms}}
operators:
  - uid: clicks
    source: files
    config: {{path: \"{}\"{read}}}
    format: json
    watermarks: {{timestamp: {{field: at}}, strategy: bounded, disorder: 1s}}
  - {{uid: by-word, key-by: {{field: word}}, inputs: [clicks]}}
  - {{uid: counts, window: {{sliding: {{size: 40s, slide: 10s}}, function: {{count: true}}}}, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: json, inputs: [counts]}}
",
            path("in").display(),
            path("out").display()
        )
    };
    let first = host.submit(&job(", continuous: true"))?;
    wait::until("all is read", LIMIT, || {
        let read = host.get_ok(&format!("/v1/jobs/{first}"))?.to_string();
        Ok(if read.contains("\"write-records\":600") {
            Ok(())
        } else {
            Err(read)
        })
    })?;
    let savepoint = host.stop_with_savepoint(&first)?;
    let state = |arguments: &[&str]| cli::run(directory.path(), &[&["state"], arguments].concat())?.ok();
    let exported = state(&["export", &savepoint])?;
    ensure!(
        exported.contains("\"key-group\":"),
        "windows keep nothing of all keys of a group: {exported}"
    );
    std::fs::write(path("lines"), &exported)?;
    state(&["import", "lines", "from lines"])?;
    state(&["export", &savepoint, "--format", "parquet", "-o", "tables"])?;
    state(&["import", "tables", "from %tables ä"])?;
    clicks(&path("in/second"), 100)?;
    let file = path("job.yaml").display().to_string();
    std::fs::write(&file, job(""))?;
    // Where the savepoint's results are.
    let rest = |from: &str| -> Result<Vec<String>> {
        let mut before = text::committed(&path("out"))?.into_iter().peekable();
        let id = host.command(&["run", "-d", "-s", from, &file])?.ok()?;
        host.wait_for(id.trim(), "FINISHED", LIMIT)?;
        let mut after = text::committed(&path("out"))?;
        after.retain(|line| before.next_if_eq(line).is_none());
        Ok(after)
    };
    let wanted = rest(&savepoint)?;
    ensure!(wanted.len() > 20, "{} results", wanted.len());
    for from in ["from lines", "from %tables ä"] {
        ensure!(state(&["diff", &savepoint, from])?.is_empty());
        let got = rest(&path(from).display().to_string())?;
        ensure!(got == wanted, "from `{from}`: {got:?} instead of {wanted:?}");
    }
    Ok(())
}

#[test]
fn parts_of_an_export_and_names_that_are_not_there_are_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("lines"), every_kind().join("\n"))?;
    let state = |arguments: &[&str]| cli::run(directory.path(), &[&["state"], arguments].concat());
    state(&["import", "lines", "savepoint"])?.ok()?;
    for (arguments, expected) in [
        (
            ["--operator", "kidns"],
            "there is no operator `kidns`: did you mean `kinds`?",
        ),
        (
            ["--state", "totla"],
            "there is no state `totla`: did you mean `total`?",
        ),
    ] {
        let error = state(&[&["export", "savepoint", "-o", "lines"], &arguments[..]].concat())?.refused()?;
        ensure!(error.contains(expected), "{error}");
        let error = state(&[&["diff", "savepoint", "savepoint"], &arguments[..]].concat())?.refused()?;
        ensure!(error.contains(expected), "{error}");
    }
    ensure!(
        std::fs::read_to_string(path("lines"))? == every_kind().join("\n"),
        "the file was emptied"
    );
    state(&["export", "savepoint", "--state", "total", "-o", "part"])?.ok()?;
    let error = state(&["import", "part", "never"])?.refused()?;
    ensure!(
        error.contains("part:1: it is an export of state `total` alone"),
        "{error}"
    );
    state(&["export", "savepoint", "--format", "parquet", "-o", "tables"])?.ok()?;
    std::fs::remove_file(path("tables/kinds/states/old.parquet"))?;
    let error = state(&["import", "tables", "never"])?.refused()?;
    ensure!(error.contains("old.parquet: it is not there"), "{error}");
    ensure!(!path("never").exists(), "a savepoint was written");
    Ok(())
}

#[test]
fn a_directory_that_is_no_export_is_refused_by_the_file_that_is_wrong() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("lines"), every_kind().join("\n"))?;
    let state = |arguments: &[&str]| cli::run(directory.path(), &[&["state"], arguments].concat());
    state(&["import", "lines", "savepoint"])?.ok()?;
    state(&["export", "savepoint", "--format", "parquet", "-o", "tables"])?.ok()?;
    let seen = std::fs::read(path("tables/kinds/states/seen.parquet"))?;
    let cut = &seen[..seen.len() / 2];
    let cases: [(&str, &[u8], &str); 5] = [
        ("kinds/states/seen.parquet", cut, "kinds/states/seen.parquet: "),
        ("kinds/notes", b"", "kinds/notes: it is no part of an export"),
        (
            "kinds/states/other.parquet",
            &seen,
            "operator `kinds` has no state `other`",
        ),
        (
            "kinds/states/total.parquet",
            &seen,
            "there is no column `map_key`",
        ),
        ("kinds/states/old.parquet", &seen, "there is no column `map_key`"),
    ];
    for (file, content, expected) in cases {
        let file = path("tables").join(file);
        let before = std::fs::read(&file).ok();
        std::fs::write(&file, content)?;
        let error = state(&["import", "tables", "never"])?.refused()?;
        ensure!(error.contains(expected), "{error}");
        ensure!(error.trim().lines().count() == 1, "{error}");
        ensure!(!path("never").exists(), "a savepoint was written");
        match before {
            Some(before) => std::fs::write(&file, before)?,
            None => std::fs::remove_file(&file)?,
        }
    }
    std::fs::remove_file(path("tables/savepoint.jsonl"))?;
    let error = state(&["import", "tables", "never"])?.refused()?;
    ensure!(
        error.contains("savepoint.jsonl: ") && error.contains("import a whole export"),
        "{error}"
    );
    Ok(())
}

#[test]
fn entries_in_files_of_a_backend_are_read_as_those_of_a_canonical_savepoint() -> Result<()> {
    let stopped = Stopped::new()?;
    let job = stopped.job("first", ", continuous: true");
    let job = job.replace("parallelism: 2", "parallelism: 2\nstate-backend: rocksdb");
    let query = format!("?savepointPath={}", stopped.savepoint);
    let job = stopped.host.submit_with(&job, &query)?;
    stopped.host.wait_for_a_new_checkpoint(&job)?;
    let savepoint = |format: &str| -> Result<String> {
        let saved = stopped
            .host
            .command(&["savepoint", &job, "--type", format, "--json"])?;
        let saved = saved.json()?;
        Ok(saved["location"].as_str().context("no location")?.to_owned())
    };
    let canonical = wait::until("all lines are counted", LIMIT, || {
        let savepoint = savepoint("canonical")?;
        let counted = count_of(&stopped.export(&savepoint)?, "gamma")?;
        Ok(if counted == LINES {
            Ok(savepoint)
        } else {
            Err(format!("{counted} of {LINES}"))
        })
    })?;
    let native = savepoint("native")?;
    let metadata =
        std::fs::read_to_string(Path::new(native.trim_start_matches("file://")).join("_metadata"))?;
    ensure!(metadata.contains("rocksdb-1"), "it holds no files of RocksDB");
    ensure!(count_of(&stopped.export(&native)?, "gamma")? == LINES);
    let differences = stopped.state(&["diff", &canonical, &native])?.ok()?;
    ensure!(differences.is_empty(), "{differences}");

    // A savepoint is its directory, wherever that is.
    stopped.host.command(&["cancel", &job])?.ok()?;
    for (number, savepoint) in [canonical, native].iter().enumerate() {
        let from = PathBuf::from(savepoint.trim_start_matches("file://"));
        let moved = stopped.path(&format!("moved {number} %41 ä"));
        let own = stopped.directory.path().as_os_str().as_encoded_bytes();
        for file in std::fs::read_dir(&from)? {
            let path = file?.path();
            let content = std::fs::read(&path)?;
            let names_itself = content.windows(own.len()).any(|bytes| bytes == own);
            ensure!(
                !names_itself,
                "{} holds the path of its directory",
                path.display()
            );
        }
        std::fs::rename(&from, &moved)?;
        let moved = moved.display().to_string();
        ensure!(count_of(&stopped.export(&moved)?, "gamma")? == LINES);
        let file = stopped.path("job.yaml").display().to_string();
        std::fs::write(&file, stopped.job("first", ""))?;
        let next = stopped.host.command(&["run", "-d", "-s", &moved, &file])?.ok()?;
        stopped.host.wait_for(next.trim(), "FINISHED", LIMIT)?;
    }
    let committed = text::committed(&stopped.path("first"))?;
    ensure!(committed.len() as u64 == 3 * LINES, "{} lines", committed.len());
    Ok(())
}

#[test]
fn a_job_deletes_what_it_has_claimed_and_not_what_is_put_in_its_place() -> Result<()> {
    let stopped = Stopped::new()?;
    std::fs::write(stopped.path("changes"), "")?;
    let edit = || {
        stopped
            .state(&["edit", &stopped.savepoint, "edited", "--changes", "changes"])?
            .ok()
    };
    edit()?;
    let place = stopped.path("edited").display().to_string();
    let claimed = |job: &str| {
        stopped
            .host
            .submit_with(job, &format!("?savepointPath={place}&claimMode=CLAIM"))
    };
    let endless = stopped.job("first", ", continuous: true");
    let slow = claimed(&endless.replace("interval: 100ms", "interval: 1h"))?;
    let host = &stopped.host;
    host.wait_for(&slow, "RUNNING", LIMIT)?;
    for refused in [
        host.command(&["savepoint", "-d", &place])?.refused()?,
        claimed(&endless)
            .err()
            .context("it is claimed twice")?
            .to_string(),
    ] {
        let expected = format!("is claimed by job {slow}, which has not ended");
        ensure!(refused.contains(&expected), "{refused}");
    }
    let is_there = || Path::new(&place).join("_metadata").exists();
    let wait_until_gone = || {
        wait::until("what was claimed is deleted", LIMIT, || {
            Ok(if is_there() {
                Err("it is there".to_owned())
            } else {
                Ok(())
            })
        })
    };
    ensure!(is_there());
    host.command(&["cancel", &slow])?.ok()?;
    wait_until_gone()?;
    edit()?;
    let job = claimed(&endless)?;
    wait_until_gone()?;
    edit()?;
    host.wait_for_a_new_checkpoint(&job)?;
    host.command(&["cancel", &job])?.ok()?;
    host.wait_for(&job, "CANCELED", LIMIT)?;
    ensure!(is_there(), "the job deleted a savepoint that it had not claimed");
    Ok(())
}

#[test]
fn a_canonical_savepoint_has_nothing_that_is_over_where_the_job_says_so() -> Result<()> {
    let stopped = Stopped::new()?;
    for backend in ["memory", "rocksdb"] {
        for (is_cleaned, left) in [(false, 3), (true, 0)] {
            let cleanup = format!("cleanup-full-snapshot: {is_cleaned}, disable-cleanup-in-background: true");
            let job = stopped
                .job(&format!("{backend}-{is_cleaned}"), ", continuous: true")
                .replace(
                    "parallelism: 2",
                    &format!("parallelism: 2\nstate-backend: {backend}"),
                )
                .replace(
                    "inputs: [by-word]",
                    &format!("inputs: [by-word], state-ttl: {{count: {{time-to-live: 1ms, {cleanup}}}}}"),
                );
            let job = stopped.host.submit(&job)?;
            stopped.host.wait_for_a_new_checkpoint(&job)?;
            wait::until("all is over", LIMIT, || {
                let saved = stopped.host.command(&["savepoint", &job, "--json"])?.json()?;
                let lines = stopped.export(saved["location"].as_str().context("no location")?)?;
                let counts = lines.iter().filter(|line| line["state"] == "count").count();
                Ok(if counts == left {
                    Ok(())
                } else {
                    Err(format!("{counts} of {left} counts on {backend}"))
                })
            })?;
            stopped.host.patch(&format!("/v1/jobs/{job}?mode=cancel"))?;
        }
    }
    Ok(())
}
