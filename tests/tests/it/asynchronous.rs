//! Async I/O through the real host against a real service: slow, failing and silent answers, kills, and refusals.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use wasmill_tests::example::Example;
use wasmill_tests::host::{Host, LIMIT};
use wasmill_tests::service::{Reply, Service};
use wasmill_tests::{guests, text, wait};

fn number(path: &str) -> u64 {
    let digits: String = path.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// User `uN` has the number N and lives in `cN`. Every third request comes back with 503 the first time; answers overtake
/// each other.
fn cities(path: &str, before: u32) -> Reply {
    let number = number(path);
    let pause = Duration::from_millis(number * 7 % 40);
    if number.is_multiple_of(3) && before == 0 {
        return Reply {
            pause,
            status: 503,
            body: String::new(),
        };
    }
    let body = match path.starts_with("/number/") {
        true => number.to_string(),
        false => format!("c{number}"),
    };
    Reply {
        pause,
        ..Reply::ok(body)
    }
}

struct Job<'a> {
    service: &'a str,
    hosts: &'a str,
    input: &'a Path,
    output: &'a Path,
    rate: &'a str,
    spec: &'a str,
}

impl Job<'_> {
    fn text(&self) -> String {
        format!(
            "version: 1
name: enriched
checkpointing: {{interval: 100ms}}
restart: {{strategy: none}}
plugins: {{enrich: enrich}}
operators:
  - {{uid: users, source: files, config: {{path: \"{}\"{}}}, format: lines}}
  - uid: city
    async: {{function: enrich/enrich, {}}}
    grants: {{http: {{hosts: [{}]}}}}
    config: {{service: \"http://{}\"}}
    inputs: [users]
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [city]}}
",
            self.input.display(),
            self.rate,
            self.spec,
            self.hosts,
            self.service,
            self.output.display()
        )
    }
}

fn users(directory: &Path, count: u64) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let lines: String = (0..count).map(|n| format!("u{n}\n")).collect();
    Ok(std::fs::write(directory.join("users.txt"), lines)?)
}

/// The lines of all part files, file by file in the order in which they were made: a name ends with checkpoint and number.
fn in_order(directory: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        let mut last = name.rsplit('-').map(number);
        let place = (last.next().unwrap_or_default(), last.next().unwrap_or_default());
        if !name.starts_with('.') {
            files.push(((place.1, place.0), std::fs::read_to_string(file.path())?));
        }
    }
    files.sort();
    let lines = files.iter().flat_map(|(_, text)| text.lines());
    Ok(lines.map(str::to_owned).collect())
}

fn expect(output: &Path, mut expected: Vec<String>) -> Result<()> {
    expected.sort();
    match text::difference(&text::committed(output)?, &expected) {
        None => Ok(()),
        Some(difference) => bail!("{difference}"),
    }
}

#[test]
fn enrich_asks_for_many_records_at_once_and_repeats_what_has_failed() -> Result<()> {
    let service = Service::start(cities)?;
    let example = Example::copy("enrich")?;
    example.edit(
        "[\"127.0.0.1:8700\"], request-timeout: 5s",
        &format!("[\"{}\"]", service.address),
    )?;
    example.edit(
        "    grants:",
        &format!(
            "    config: {{service: \"http://{}\"}}\n    grants:",
            service.address
        ),
    )?;
    example.write(
        "text/users.txt",
        &(0..100).map(|n| format!("u{n}\n")).collect::<String>(),
    )?;
    example.run()?.ok()?;
    let expected = (0..100).map(|n| format!("u{n},c{n}")).collect();
    expect(&example.path("out"), expected)?;
    ensure!((service.asked("/number/u3"), service.asked("/number/u4")) == (2, 1));
    let most = service.most_at_once();
    ensure!((2..=50).contains(&most), "{most} at once, of a capacity of 50");
    Ok(())
}

#[test]
fn answers_survive_kills_once_each_and_in_order() -> Result<()> {
    for order in ["ordered", "unordered"] {
        let scratch = tempfile::tempdir()?;
        let at = |name: &str| scratch.path().join(name);
        let service = Service::start(cities)?;
        users(&at("in"), 600)?;
        let job = Job {
            service: &service.address,
            hosts: &format!("\"{}\"", service.address),
            input: &at("in"),
            output: &at("out"),
            rate: ", rate: 150",
            spec: &format!("order: {order}, capacity: 20, retry: {{delay: 20ms}}"),
        };
        let mut host = Host::start(&at("data"), &[])?;
        host.upload("enrich", &guests::rust_component("enrich")?)?;
        let id = host.submit(&job.text())?;
        for _ in 0..3 {
            let before = host.completed_checkpoints(&id).unwrap_or_default();
            wait::until("two checkpoints complete", LIMIT, || {
                let completed = host.completed_checkpoints(&id)?;
                Ok(if completed >= before + 2 {
                    Ok(())
                } else {
                    Err(completed.to_string())
                })
            })?;
            host.kill()?;
            host = Host::start(&at("data"), &[])?;
        }
        host.wait_for(&id, "FINISHED", LIMIT)?;
        let expected: Vec<String> = (0..600).map(|n| format!("u{n},c{n}")).collect();
        expect(&at("out"), expected.clone())?;
        if order == "ordered" {
            // One subtask: its part files are named in the order in which it made them.
            let got = in_order(&at("out"))?;
            let mut numbers: Vec<u64> = got
                .iter()
                .map(|line| number(line.split(',').next().unwrap_or_default()))
                .collect();
            let is_sorted = numbers.is_sorted();
            numbers.sort_unstable();
            ensure!(is_sorted, "not in the order of the input");
        }
    }
    Ok(())
}

#[test]
fn a_record_whose_time_is_over_is_what_the_function_makes_of_it() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let at = |name: &str| scratch.path().join(name);
    let service = Service::start(|path, before| match number(path) {
        2 => Reply {
            pause: Duration::from_secs(600),
            ..Reply::ok("")
        },
        4 => Reply {
            status: 404,
            ..Reply::ok("")
        },
        _ => cities(path, before + 1),
    })?;
    users(&at("in"), 6)?;
    let job = Job {
        service: &service.address,
        hosts: &format!("\"{}\"", service.address),
        input: &at("in"),
        output: &at("out"),
        rate: "",
        spec: "timeout: 1s",
    };
    let host = Host::start(&at("data"), &[])?;
    host.upload("enrich", &guests::rust_component("enrich")?)?;
    let id = host.submit(&job.text())?;
    host.wait_for(&id, "FINISHED", LIMIT)?;
    let expected = ["u0,c0", "u1,c1", "u2,timed out", "u3,c3", "u4,unknown", "u5,c5"];
    expect(&at("out"), expected.map(str::to_owned).to_vec())
}

#[test]
fn a_host_that_is_not_allowed_fails_the_job_with_its_name_and_the_mend() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let at = |name: &str| scratch.path().join(name);
    let service = Service::start(cities)?;
    users(&at("in"), 3)?;
    let job = Job {
        service: &service.address,
        hosts: "api.example.org",
        input: &at("in"),
        output: &at("out"),
        rate: "",
        spec: "capacity: 2",
    };
    let host = Host::start(&at("data"), &[])?;
    host.upload("enrich", &guests::rust_component("enrich")?)?;
    let id = host.submit(&job.text())?;
    host.wait_for(&id, "FAILED", LIMIT)?;
    let exceptions: Value = host.get_ok(&format!("/v1/jobs/{id}/exceptions"))?;
    let shown = exceptions.to_string();
    let wanted = format!(
        "the job does not allow the host `{}`: add it to `hosts`",
        service.address
    );
    ensure!(shown.contains(&wanted) && shown.contains("denied"), "{shown}");
    ensure!(service.asked("/number/u0") == 0, "it was asked all the same");
    Ok(())
}

#[test]
fn a_function_without_its_grant_or_in_the_wrong_place_is_refused_at_submit() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let host = Host::start(&scratch.path().join("data"), &[])?;
    host.upload("enrich", &guests::rust_component("enrich")?)?;
    host.upload("upper", &guests::rust_component("uppercase")?)?;
    let job = |operator: &str| {
        format!(
            "version: 1
name: refused
plugins: {{enrich: enrich, upper: upper}}
operators:
  - {{uid: users, source: datagen, config: {{template: \"u{{i}}\", rows: 1}}, format: lines}}
  - {{uid: city, inputs: [users], {operator}}}
  - {{uid: out, sink: discard, inputs: [city]}}
"
        )
    };
    let grants = "grants: {http: {hosts: [a.example]}}";
    for (operator, expected) in [
        (
            "async: {function: enrich/enrich}".to_owned(),
            "`enrich` needs the grant `http`: add `grants: {http: {hosts: [api.example.org]}}`",
        ),
        (
            "function: enrich/enrich".to_owned(),
            "`enrich` is an async function: call it by `async: {function: …}`",
        ),
        (
            "async: {function: upper/uppercase}".to_owned(),
            "`uppercase` is no async function: call it by `function`",
        ),
        (
            format!("async: {{function: upper/uppercase}}, {grants}"),
            "`uppercase` does not ask for the grant `http`: remove it",
        ),
        (
            format!("function: upper/uppercase, {grants}"),
            "`grants` belongs to `async`, not to `function`: remove it",
        ),
        (
            format!("async: {{function: enrich/enrich, capacity: 0}}, {grants}"),
            "`capacity` is 0: it must be 1 to 10000",
        ),
        (
            format!("async: {{function: enrich/enrich, retry: {{backoff: 0.1}}}}, {grants}"),
            "`backoff` is 0.1: pauses grow by it",
        ),
        (
            "async: {function: enrich/enrich}, grants: {http: {hosts: [\"http://a\"]}}".to_owned(),
            "`http://a` in `hosts` is no host",
        ),
        (
            "async: {function: enrich/enrich}, grants: {http: {hosts: [a], headers: {x: {env: WASMILL_UNSET}}}}".to_owned(),
            "the environment variable `WASMILL_UNSET` is not set",
        ),
    ] {
        let error = match host.submit(&job(&operator)) {
            Err(error) => format!("{error:#}"),
            Ok(_) => bail!("it was accepted: {operator}"),
        };
        ensure!(error.contains(expected), "{operator}: {error}");
    }
    Ok(())
}

/// Both families ask for the same and say the same.
#[test]
fn an_async_function_gives_the_same_on_the_frame_world_and_on_the_typed_one() -> Result<()> {
    let service = Service::start(|path, before| match path {
        "/again" if before == 0 => Reply::ok("again"),
        "/silent" => Reply {
            pause: Duration::from_secs(600),
            ..Reply::ok("")
        },
        "/none" => Reply {
            status: 404,
            ..Reply::ok("nothing")
        },
        _ => Reply::ok(path),
    })?;
    let at = &service.address;
    let record = |paths: &[&str]| {
        let urls: Vec<String> = paths.iter().map(|path| format!("http://{at}{path}")).collect();
        format!("ask {}", urls.join(" "))
    };
    let mut outputs = Vec::new();
    for family in crate::FAMILIES {
        let scratch = tempfile::tempdir()?;
        let path = |name: &str| scratch.path().join(name);
        std::fs::create_dir_all(path("in"))?;
        let records = [
            "no request".to_owned(),
            record(&["/a", "/none", "/bb"]),
            record(&["/again"]),
            "ask http://denied.example/ no-url".to_owned(),
            record(&["/silent", "/a"]),
        ];
        std::fs::write(path("in/records.txt"), records.join("\n"))?;
        let job = format!(
            "version: 1
name: {family}
plugins: {{functions: {family}}}
operators:
  - {{uid: records, source: files, config: {{path: \"{}\"}}, format: lines}}
  - uid: ask
    async: {{function: functions/async, timeout: 2s, retry: {{delay: 10ms}}}}
    grants: {{http: {{hosts: [\"{at}\"]}}}}
    inputs: [records]
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [ask]}}
",
            path("in").display(),
            path("out").display()
        );
        let host = Host::start(&path("data"), &[])?;
        host.upload(family, &guests::rust_component(family)?)?;
        let id = host.submit(&job)?;
        host.wait_for(&id, "FINISHED", LIMIT)?;
        let lengths: Vec<usize> = records.iter().map(String::len).collect();
        let expected = [
            "no request".to_owned(),
            format!("{} 0 200 2 /a", lengths[1]),
            format!("{} 1 404 7 nothing", lengths[1]),
            format!("{} 2 200 3 /bb", lengths[1]),
            format!("{} 0 200 6 /again", lengths[2]),
            format!("{} 0 denied", lengths[3]),
            format!("{} 1 invalid", lengths[3]),
            format!("{} timeout of 2", lengths[4]),
        ];
        let got = in_order(&path("out"))?;
        ensure!(got == expected, "{family}: {got:#?}, not {expected:#?}");
        outputs.push(got);
    }
    ensure!(outputs[0] == outputs[1]);
    ensure!(service.asked("/again") >= 2, "the retry was not seen");
    Ok(())
}
