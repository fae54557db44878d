//! The example jobs of `plugins/`, each by the job file that is shipped with it, through the real host.
//!
//! What is expected is computed here by a plain model of the example's README line.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;

use anyhow::{Context, Result, bail, ensure};
use wasmill_tests::example::Example;
use wasmill_tests::host::LIMIT;
use wasmill_tests::{text, wait};

/// The words of a text as `split` finds them.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// `KEY SEPARATOR n` for the nth time that a key comes, in order.
fn running_counts(keys: impl Iterator<Item = String>, separator: char) -> Vec<String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    keys.map(|key| {
        let count = counts.entry(key.clone()).or_default();
        *count += 1;
        format!("{key}{separator}{count}")
    })
    .collect()
}

/// Compares what was committed below a directory with the model's lines.
fn expect_committed(example: &Example, directory: &str, mut expected: Vec<String>) -> Result<()> {
    expected.sort();
    ensure!(!expected.is_empty(), "the model expects nothing: mend the test");
    match text::difference(&text::committed(&example.path(directory))?, &expected) {
        None => Ok(()),
        Some(difference) => bail!("{directory}: {difference}"),
    }
}

/// Runs a bounded example in a host until it has finished, on each backend.
fn run_in_a_host(example: &Example) -> Result<()> {
    example.run_on_each_backend()
}

/// `key,value` lines whose keys are mixed.
fn key_values(keys: u32, lines: u32) -> String {
    let line = |n: u32| format!("k{},{}\n", n * n % keys, (n * 37) % 1000);
    (0..lines).map(line).collect()
}

/// Values by key in their order.
fn by_key(files: &[String]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        let (key, value) = line.split_once(',').context("no `key,value` line")?;
        values
            .entry(key.to_owned())
            .or_default()
            .push(value.trim().to_owned());
    }
    Ok(values)
}

#[test]
fn word_count_counts_the_words_of_text_files() -> Result<()> {
    let example = Example::copy("word-count")?;
    text::write(&example.path("text"), 3, 200, 5)?;
    example.write("text/odd.txt", "Don't  stop--DON'T!\n\nÄrger, ärger\nno line end")?;
    run_in_a_host(&example)?;
    let files = example.read("text")?;
    ensure!(files.len() > 4, "the shipped text is missing");
    let expected = running_counts(files.iter().flat_map(|file| words(file)), ',');
    expect_committed(&example, "out", expected)
}

#[test]
fn word_count_on_a_socket_prints_running_counts() -> Result<()> {
    let example = Example::copy("socket-word-count")?;
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    example.edit("port: 9000", &format!("port: {port}"))?;
    let host = example.host(&[])?;
    let job = example.submit(&host)?;
    let (mut connection, _) = server.accept()?;
    let said = "To be, or not to be:\nthat is the question.\r\nTo be\n";
    // A line may arrive in pieces.
    for piece in [&said[..9], &said[9..30], &said[30..]] {
        connection.write_all(piece.as_bytes())?;
        connection.flush()?;
    }
    let expected = running_counts(words(said), ',');
    wait::until("all words are printed", LIMIT, || {
        let printed = host.printed()?;
        Ok(if printed.len() >= expected.len() {
            Ok(())
        } else {
            Err(format!("{printed:?}"))
        })
    })?;
    ensure!(
        host.state(&job)? == "RUNNING",
        "a socket that is open does not end"
    );
    let guarantees = host.get_ok(&format!("/v1/jobs/{job}/guarantees"))?;
    ensure!(
        guarantees["guarantees"][0]["guarantee"] == "at-most-once",
        "{guarantees}"
    );
    drop(connection);
    host.wait_for(&job, "FINISHED", LIMIT)?;
    // One subtask: in the order of the words.
    ensure!(host.printed()? == expected, "{:?}", host.printed()?);
    Ok(())
}

#[test]
fn the_average_is_the_same_with_every_kind_of_state() -> Result<()> {
    let example = Example::copy("average")?;
    example.write("values/more.csv", &key_values(11, 400))?;
    run_in_a_host(&example)?;
    let mut expected = Vec::new();
    for (key, values) in by_key(&example.read("values")?)? {
        for three in values.chunks_exact(3) {
            let sum: f64 = three
                .iter()
                .map(|value| value.parse::<f64>())
                .sum::<Result<f64, _>>()?;
            expected.push(format!("{key},{:.2}", sum / 3.0));
        }
    }
    for variant in ["by-value", "by-list", "by-map", "by-reducing"] {
        expect_committed(&example, &format!("out/{variant}"), expected.clone())?;
    }
    Ok(())
}

#[test]
fn contains_tells_all_that_a_key_has_seen() -> Result<()> {
    let example = Example::copy("contains")?;
    example.write("values/more.csv", &key_values(40, 200))?;
    run_in_a_host(&example)?;
    let mut expected = Vec::new();
    for (key, values) in by_key(&example.read("values")?)? {
        let mut seen = "Contains".to_owned();
        for value in values {
            seen.push('-');
            seen.push_str(&value);
            expected.push(format!("{key},{seen}"));
        }
    }
    expect_committed(&example, "out", expected)
}

#[test]
fn the_buffering_sink_loses_nothing_that_waits_when_the_host_is_killed() -> Result<()> {
    let example = Example::copy("buffering-sink")?;
    let shipped: Vec<String> = example
        .read("text")?
        .iter()
        .flat_map(|file| file.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // Watched, so that the test says when more comes; the shipped file ends.
    example.edit(
        "\"text/*.txt\"",
        "\"text/*.txt\", continuous: true, discovery-interval-ms: 20",
    )?;
    example.edit("interval: 1s", "interval: 50ms")?;
    // With one more where needed, the last of them has no partner.
    let odd = if shipped.len().is_multiple_of(2) {
        "alone\n"
    } else {
        ""
    };
    if !odd.is_empty() {
        example.write("text/more.txt", odd)?;
    }
    let host = example.host(&[])?;
    let job = example.submit(&host)?;
    let pairs = (shipped.len() + odd.lines().count()) / 2;
    wait::until("the pairs are printed", LIMIT, || {
        let printed = host.printed()?;
        Ok(if printed.len() >= pairs {
            Ok(())
        } else {
            Err(format!("{printed:?}"))
        })
    })?;
    wait::until("the last line is read", LIMIT, || {
        let metrics = host.get_ok(&format!("/v1/jobs/{job}/metrics?get=numRecordsRead"))?;
        let read = metrics[0]["value"].as_str().unwrap_or_default().to_owned();
        Ok(if read == (2 * pairs + 1).to_string() {
            Ok(())
        } else {
            Err(read)
        })
    })?;
    host.wait_for_a_new_checkpoint(&job)?;
    host.kill()?;
    let host = example.host(&[])?;
    host.wait_for(&job, "RUNNING", LIMIT)?;
    example.write("text/partner.txt", "partner\n")?;
    wait::until("the partner is printed", LIMIT, || {
        let printed = host.printed()?;
        Ok(if printed.len() > pairs {
            Ok(())
        } else {
            Err(format!("{printed:?}"))
        })
    })?;
    host.stop_with_savepoint(&job)?;
    let printed = host.printed()?;
    ensure!(
        printed.len() == pairs + 1,
        "{printed:?}: a line was printed again"
    );
    ensure!(printed[pairs].ends_with(" partner"), "{printed:?}");
    let mut got: Vec<&str> = printed.iter().flat_map(|line| line.split(' ')).collect();
    let mut expected: Vec<&str> = shipped.iter().flat_map(|line| line.split(' ')).collect();
    expected.extend(odd.lines().chain(["partner"]));
    got.sort_unstable();
    expected.sort_unstable();
    ensure!(got == expected, "{got:?}, expected {expected:?}");
    Ok(())
}

#[test]
fn keyed_count_counts_generated_records() -> Result<()> {
    const ROWS: u64 = 20_000;
    const KEYS: u64 = 700;
    let example = Example::copy("keyed-count")?;
    example.edit("rows: 1000000", &format!("rows: {ROWS}"))?;
    example.edit("{h%100000}", &format!("{{h%{KEYS}}}"))?;
    example.edit("sink: discard", "sink: files\n    config: {path: out}")?;
    run_in_a_host(&example)?;
    let hash = |row: u64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1;
    let keys = (0..ROWS).map(|row| (hash(row) % KEYS).to_string());
    expect_committed(&example, "out", running_counts(keys, ':'))
}

#[test]
fn uppercase_turns_every_line_in_a_host_of_its_own() -> Result<()> {
    let example = Example::copy("uppercase")?;
    example.write("text/more.txt", "straße\nçà\n\nABC 1\n")?;
    let ran = example.run()?;
    ensure!(ran.errors.contains("FINISHED"), "{}", ran.errors);
    ran.ok()?;
    let files = example.read("text")?;
    let expected = files.iter().flat_map(|file| file.lines()).map(str::to_uppercase);
    expect_committed(&example, "out", expected.collect())
}
