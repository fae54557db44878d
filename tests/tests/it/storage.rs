//! Checkpoints in object stores: on real servers on loopback, which go away and come back.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use wasmill_checkpoint::storage::testing::contract;
use wasmill_checkpoint::storage::{Secret, StorageSettings, open};
use wasmill_tests::host::Host;
use wasmill_tests::object_server::{AZURITE_ACCOUNT, AZURITE_KEY, BUCKET, Gate, ObjectServer};
use wasmill_tests::{guests, text, wait};

const LIMIT: Duration = Duration::from_secs(60);

fn s3_settings(endpoint: &str) -> StorageSettings {
    let mut settings = StorageSettings {
        request_timeout: Duration::from_secs(10),
        ..StorageSettings::default()
    };
    settings.s3.endpoint = Some(endpoint.to_owned());
    settings.s3.region = Some("us-east-1".to_owned());
    settings.s3.access_key = Some(Secret::new("key"));
    settings.s3.secret_key = Some(Secret::new("hidden-secret"));
    settings
}

#[test]
fn s3_keeps_the_contract_of_storage() -> Result<()> {
    let Some(server) = ObjectServer::s3()? else {
        return Ok(());
    };
    let settings = s3_settings(&server.url());
    contract::check(&*open(&format!("s3://{BUCKET}/a/prefix"), &settings)?, true);

    let missing = open("s3://nowhere/x", &settings)?;
    for error in [
        missing.create("a", b"x").err(),
        missing.read("a", 0, 1).err(),
        missing.list("a").err(),
    ] {
        let text = error.context("a bucket that is not there answers")?.to_string();
        ensure!(
            text.contains("s3://nowhere/x") && text.contains("create it, or correct the URL"),
            "{text}"
        );
    }
    Ok(())
}

#[test]
fn azure_keeps_the_contract_of_storage() -> Result<()> {
    let Some(server) = ObjectServer::azure()? else {
        return Ok(());
    };
    make_container(&server)?;
    let mut settings = StorageSettings::default();
    settings.azure.endpoint = Some(format!("{}/{AZURITE_ACCOUNT}", server.url()));
    settings.azure.account = Some(AZURITE_ACCOUNT.to_owned());
    settings.azure.account_key = Some(Secret::new(AZURITE_KEY));
    contract::check(&*open(&format!("az://{BUCKET}/a/prefix"), &settings)?, true);
    Ok(())
}

#[test]
fn gcs_keeps_the_contract_of_storage() -> Result<()> {
    let Some(server) = ObjectServer::gcs()? else {
        return Ok(());
    };
    let mut settings = StorageSettings::default();
    settings.gcs.endpoint = Some(server.url());
    contract::check(&*open(&format!("gs://{BUCKET}/a/prefix"), &settings)?, true);
    Ok(())
}

/// Signs the one request that our own storage never makes.
fn make_container(server: &ObjectServer) -> Result<()> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (date, version) = (http_date(seconds), "2023-11-03");
    let signed = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
         /{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{BUCKET}\nrestype:container"
    );
    let signature = BASE64.encode(hmac_sha256(&BASE64.decode(AZURITE_KEY)?, signed.as_bytes()));
    ureq::put(format!(
        "{}/{AZURITE_ACCOUNT}/{BUCKET}?restype=container",
        server.url()
    ))
    .header("x-ms-date", date)
    .header("x-ms-version", version)
    .header(
        "Authorization",
        format!("SharedKey {AZURITE_ACCOUNT}:{signature}"),
    )
    .send_empty()?;
    Ok(())
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

/// As HTTP writes dates, from the seconds since 1970 (the civil calendar by days since 0000-03-01).
fn http_date(seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb",
    ];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

/// A host whose checkpoints are in a bucket, and a count of words whose every result is one line.
struct Words {
    directory: tempfile::TempDir,
    endpoint: String,
}

impl Words {
    fn new(endpoint: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        text::write(&directory.path().join("in"), 4, 300, 5)?;
        Ok(Self {
            directory,
            endpoint: format!("http://{endpoint}"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn host(&self, data: &str) -> Result<Host> {
        let url = format!("s3://{BUCKET}/checkpoints");
        Host::start(
            &self.path(data),
            &[
                ("WASMILL_CHECKPOINT_STORAGE", url.as_str()),
                ("WASMILL_S3_ENDPOINT", self.endpoint.as_str()),
                ("WASMILL_S3_REGION", "us-east-1"),
                ("WASMILL_S3_ACCESS_KEY", "key"),
                ("WASMILL_S3_SECRET_KEY", "hidden-secret"),
                ("WASMILL_STORAGE_REQUEST_TIMEOUT", "5s"),
                ("WASMILL_STORAGE_RETRIES", "1"),
            ],
        )
    }

    fn submit(&self, host: &Host) -> Result<String> {
        host.upload("words", &guests::rust_component("word_count")?)?;
        host.submit(&format!(
            "version: 1
name: words in a bucket
parallelism: 2
checkpointing: {{interval: 300ms, tolerable-failures: 1000}}
restart: {{strategy: fixed-delay, attempts: 100, delay: 100ms}}
plugins: {{words: words}}
operators:
  - {{uid: lines, source: files, config: {{path: \"{}\", rate: 300}}, format: lines}}
  - {{uid: split, function: words/split, inputs: [lines]}}
  - {{uid: by-word, key-by: {{value: true}}, inputs: [split]}}
  - {{uid: count, function: words/count, inputs: [by-word]}}
  - {{uid: out, sink: files, config: {{path: \"{}\"}}, format: lines, inputs: [count]}}
",
            self.path("in").display(),
            self.path("out").display()
        ))
    }

    fn is_exact(&self) -> Result<()> {
        let got = text::committed(&self.path("out"))?;
        let expected = text::expected_counts(&self.path("in"))?;
        let difference = text::difference(&got, &expected);
        ensure!(
            difference.is_none(),
            "the committed output differs: {difference:?}"
        );
        Ok(())
    }
}

fn failed_checkpoints(host: &Host, job: &str) -> Result<u64> {
    let checkpoints = host.get_ok(&format!("/v1/jobs/{job}/checkpoints"))?;
    Ok(checkpoints["counts"]["failed"].as_u64().unwrap_or(0))
}

#[test]
fn a_server_that_dies_within_a_checkpoint_and_a_killed_host_leave_the_output_exact() -> Result<()> {
    let Some(server) = ObjectServer::s3()? else {
        return Ok(());
    };
    let gate = Gate::open(&server.address)?;
    let words = Words::new(&gate.address)?;
    let host = words.host("data")?;
    let job = words.submit(&host)?;
    host.wait_for_a_new_checkpoint(&job)?;

    // In the middle of whatever is being sent.
    gate.close_after(1_500);
    wait::until("the server dies", LIMIT, || {
        Ok(gate.is_closed().then_some(()).ok_or_else(String::new))
    })?;
    let before = failed_checkpoints(&host, &job)?;
    wait::until("a checkpoint fails", LIMIT, || {
        let failed = failed_checkpoints(&host, &job)?;
        Ok(if failed > before {
            Ok(())
        } else {
            Err(format!("{failed} failed"))
        })
    })?;
    ensure!(host.state(&job)? == "RUNNING", "the job is {}", host.state(&job)?);
    gate.reopen();
    host.wait_for_a_new_checkpoint(&job)?;
    let log = host.log_lines()?.join("\n");
    ensure!(!log.contains("hidden-secret"), "the log shows the secret key");

    host.kill()?;
    let host = words.host("data")?;
    host.wait_for(&job, "FINISHED", LIMIT)?;
    ensure!(
        !words.path("data/checkpoints").exists(),
        "checkpoints lie in the data directory too"
    );
    words.is_exact()
}

#[test]
fn of_two_hosts_on_one_bucket_the_newer_goes_on_alone() -> Result<()> {
    let Some(server) = ObjectServer::s3()? else {
        return Ok(());
    };
    let words = Words::new(&server.address)?;
    let older = words.host("data")?;
    let job = words.submit(&older)?;
    older.wait_for_a_new_checkpoint(&job)?;
    copy(&words.path("data"), &words.path("other"))?;
    let newer = words.host("other")?;
    newer.wait_for(&job, "FINISHED", LIMIT)?;
    wait::until("the older host is fenced", LIMIT, || {
        let exceptions = older.get_ok(&format!("/v1/jobs/{job}/exceptions"))?.to_string();
        let is_fenced = exceptions.contains("was taken over by another host");
        Ok(if is_fenced { Ok(()) } else { Err(exceptions) })
    })?;
    older.kill()?;
    words.is_exact()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        match path.is_dir() {
            true => copy(&path, &to.join(name))?,
            false => drop(std::fs::copy(&path, to.join(name))?),
        }
    }
    Ok(())
}
