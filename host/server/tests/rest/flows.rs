//! What clients do with a job: cancel, savepoint, stop, submit again, restart the host.

use serde_json::Value;
use wasmill_engine::job::status::JobState;
use wasmill_server::config::Settings;
use wasmill_server::host::store::StoredState;
use wasmill_server::host::{Host, Recover};

use super::host::{ENDLESS, LIMIT, Served, settings};

pub(super) fn savepoint_done(served: &Served, job: &str, trigger: &Value) -> Value {
    let trigger = trigger["request-id"].as_str().unwrap().to_owned();
    served.wait_for("the savepoint is done", || {
        let (status, answer) = served.get(&format!("/v1/jobs/{job}/savepoints/{trigger}"));
        assert_eq!(status, 200, "{answer}");
        (answer["status"]["id"] == "COMPLETED").then(|| answer["operation"]["location"].clone())
    })
}

#[test]
fn a_job_is_cancelled_as_flinks_client_does_it_with_a_body() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    let (status, answer) = served.patch(&format!("/v1/jobs/{job}?mode=CANCEL"), "{}");
    assert_eq!((status, answer), (202, serde_json::json!({})));
    served.wait_for_state(&job, "CANCELED");
    let (status, _) = served.patch(&format!("/v1/jobs/{job}"), "");
    assert_eq!(status, 202, "cancelling once more changes nothing");
    let (_, overview) = served.get("/overview");
    assert_eq!(
        (&overview["jobs-cancelled"], &overview["slots-available"]),
        (&1.into(), &8.into())
    );
}

#[test]
fn a_job_goes_on_from_a_savepoint_at_another_parallelism_and_the_savepoint_is_disposed_of() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    let target = served.data.path().join("sp").display().to_string();
    let body = serde_json::json!({"targetDirectory": target, "drain": false, "formatType": "CANONICAL"});
    let (status, trigger) = served.post(&format!("/v1/jobs/{job}/stop"), &body.to_string());
    assert_eq!(status, 202, "{trigger}");
    let location = savepoint_done(&served, &job, &trigger);
    let location = location.as_str().unwrap();
    served.wait_for_state(&job, "FINISHED");
    let name = location.rsplit('/').next().unwrap();
    assert!(
        name.starts_with(&format!("savepoint-{}-", &job[..6])),
        "{location}"
    );

    // A parallelism in the job file would go over that of the submission.
    let open = ENDLESS.replace("\nparallelism: 2\n", "\n");
    assert_ne!(open, ENDLESS);
    let (status, answer) = served.post(&format!("/v1/jobs?savepointPath={location}&parallelism=3"), &open);
    assert_eq!(status, 200, "{answer}");
    let next = answer["jobid"].as_str().unwrap();
    served.wait_for_state(next, "RUNNING");
    let (_, detail) = served.get(&format!("/jobs/{next}"));
    assert_eq!(detail["vertices"][0]["parallelism"], 3, "{detail}");
    let restored = served.wait_for("it says what it was restored from", || {
        let (_, answer) = served.get(&format!("/jobs/{next}/checkpoints"));
        (!answer["latest"]["restored"].is_null()).then(|| answer["latest"]["restored"].clone())
    });
    assert_eq!(restored["is_savepoint"], true, "{restored}");

    let (status, _) = served.post(
        "/v1/savepoint-disposal",
        &serde_json::json!({"savepoint-path": location}).to_string(),
    );
    assert_eq!(status, 200);
    let (status, answer) = served.post(&format!("/v1/jobs?savepointPath={location}"), ENDLESS);
    assert_eq!(status, 400, "{answer}");
}

#[test]
fn a_job_that_is_cancelled_after_a_savepoint_does_no_checkpoint_after_it() {
    let served = Served::start();
    // The checkpoints are so close that one would come between the savepoint and the cancellation.
    for _ in 0..3 {
        let job = served.submit(&ENDLESS.replace("interval: 50ms", "interval: 10ms"));
        served.wait_for_state(&job, "RUNNING");
        let (status, trigger) = served.post(&format!("/jobs/{job}/savepoints"), "{\"cancel-job\": true}");
        assert_eq!(status, 202, "{trigger}");
        let location = savepoint_done(&served, &job, &trigger);
        served.wait_for_state(&job, "CANCELED");
        let (_, answer) = served.get(&format!("/jobs/{job}/checkpoints"));
        let latest = &answer["latest"];
        assert_eq!(latest["savepoint"]["external_path"], location, "{answer}");
        let newest = answer["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["id"].as_u64());
        assert_eq!(
            newest.max().unwrap(),
            latest["savepoint"]["id"].as_u64(),
            "{answer}"
        );
    }
}

#[test]
fn disposal_deletes_no_foreign_directory_and_no_checkpoint_of_a_job_that_runs() {
    let served = Served::start();
    let dispose = |path: &str| {
        let body = serde_json::json!({"savepoint-path": path});
        served.post("/v1/savepoint-disposal", &body.to_string())
    };
    let parquet = served.data.path().join("table");
    std::fs::create_dir(&parquet).unwrap();
    for name in ["_metadata", "part-0.parquet"] {
        std::fs::write(parquet.join(name), "PAR1").unwrap();
    }
    let (status, answer) = dispose(parquet.to_str().unwrap());
    assert_eq!(status, 400, "{answer}");
    assert_eq!(std::fs::read_dir(&parquet).unwrap().count(), 2);

    let nowhere = served.data.path().join("nowhere");
    let (status, answer) = dispose(nowhere.join("sp").to_str().unwrap());
    assert_eq!((status, nowhere.exists()), (404, false), "{answer}");

    let job = served.submit(&ENDLESS.replace("interval: 50ms", "interval: 1h"));
    served.wait_for_state(&job, "RUNNING");
    let (status, trigger) = served.post(&format!("/jobs/{job}/checkpoints"), "{}");
    assert_eq!(status, 202, "{trigger}");
    let path = served.wait_for("the checkpoint is done", || {
        let (_, answer) = served.get(&format!("/jobs/{job}/checkpoints"));
        let path = answer["latest"]["completed"]["external_path"].clone();
        path.is_string().then_some(path)
    });
    let (status, answer) = dispose(path.as_str().unwrap());
    assert_eq!(status, 409, "{answer}");
    served.host.cancel(job.parse().unwrap()).unwrap();
    served.wait_for_state(&job, "CANCELED");
}

#[test]
fn a_request_that_is_too_large_is_refused_in_words_whatever_its_size() {
    let served = Served::start();
    for megabytes in [3, 30, 80] {
        let body = "x".repeat(megabytes << 20);
        for path in ["/v1/jobs/validate", "/v1/jobs", "/v1/plugins?name=large"] {
            // A component may have 64 MiB.
            if path.contains("plugins") && megabytes < 64 {
                continue;
            }
            let (status, answer) = served.post(path, &body);
            assert_eq!(status, 413, "{path} of {megabytes} MB: {answer}");
            assert!(answer["errors"][0].is_string(), "{answer}");
        }
    }
    let (status, _) = served.get("/overview");
    assert_eq!(status, 200);
}

#[test]
fn a_job_that_shows_its_end_holds_no_slots_any_more() {
    let served = Served::start();
    let bounded = ENDLESS
        .replace("rate: 1000", "rows: 10")
        .replace("\nparallelism: 2\n", "\nparallelism: 8\n");
    // The end is shown by one thread and stored by another: once is luck.
    for _ in 0..20 {
        let job = served.submit(&bounded);
        served.wait_for_state(&job, "FINISHED");
        let (_, overview) = served.get("/overview");
        assert_eq!(overview["slots-available"], 8, "{overview}");
    }
}

#[test]
fn a_checkpoint_is_triggered_once_for_one_trigger_id_of_the_clients_choice() {
    let served = Served::start();
    let job = served.submit(&ENDLESS.replace("interval: 50ms", "interval: 1h"));
    served.wait_for_state(&job, "RUNNING");
    let id = "0123456789abcdef0123456789abcdef";
    let body = format!("{{\"checkpointType\": \"CONFIGURED\", \"triggerId\": \"{id}\"}}");
    for _ in 0..2 {
        let (status, answer) = served.post(&format!("/jobs/{job}/checkpoints"), &body);
        assert_eq!((status, &answer["request-id"]), (202, &Value::from(id)));
    }
    let done = served.wait_for("the checkpoint is done", || {
        let (status, answer) = served.get(&format!("/jobs/{job}/checkpoints/{id}"));
        assert_eq!(status, 200, "{answer}");
        (answer["status"]["id"] == "COMPLETED").then_some(answer)
    });
    assert_eq!(done["operation"]["checkpointId"], 1, "{done}");
    let (_, answer) = served.get(&format!("/jobs/{job}/checkpoints"));
    assert_eq!(answer["counts"]["total"], 1, "{answer}");
}

#[test]
fn a_savepoint_that_cannot_be_written_is_an_error_of_its_status() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    let file = served.data.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let target = file.join("sp").display().to_string();
    let (status, answer) = served.post(
        &format!("/jobs/{job}/savepoints"),
        &serde_json::json!({"target-directory": target}).to_string(),
    );
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["errors"][0]
            .as_str()
            .unwrap()
            .contains("savepoint directory"),
        "{answer}"
    );
    let (status, answer) = served.post(
        &format!("/jobs/{job}/savepoints"),
        "{\"target-directory\": \"nosuch://x\"}",
    );
    assert_eq!(status, 400, "{answer}");
    served.wait_for_state(&job, "RUNNING");
}

#[test]
fn the_host_says_which_guarantee_a_job_gets_and_prometheus_can_read_it() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    let (_, answer) = served.get(&format!("/jobs/{job}/guarantees"));
    let guarantee = &answer["guarantees"][0];
    assert_eq!(guarantee["sink"], "out");
    assert!(!guarantee["reason"].as_str().unwrap().is_empty(), "{answer}");
    let (status, text) = served.get("/metrics");
    let text = text.as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    assert!(
        text.contains(&format!(
            "wasmill_job_state{{job=\"{job}\",name=\"rest-test\",state=\"RUNNING\"}} 1"
        )),
        "{text}"
    );
}

#[test]
fn a_bad_job_file_is_refused_over_http_at_its_line_and_column() {
    let served = Served::start();
    let bad = ENDLESS.replace("source: datagen", "source: datagn");
    let (status, answer) = served.post("/v1/jobs/validate?file=jobs/a.yaml", &bad);
    assert_eq!(status, 400);
    let error = answer["errors"][0].as_str().unwrap();
    assert!(
        error.starts_with("jobs/a.yaml:7:") && error.contains("did you mean `datagen`?"),
        "{error}"
    );
    let (status, answer) = served.post("/v1/jobs/validate", ENDLESS);
    assert_eq!(
        (status, &answer["name"]),
        (200, &Value::from("rest-test")),
        "{answer}"
    );
}

#[test]
fn a_suspended_host_resumes_its_running_jobs_and_lists_its_ended_ones() {
    let data = tempfile::tempdir().unwrap();
    let open = || {
        Host::open(
            Settings {
                slots: 4,
                ..settings(data.path())
            },
            Recover::RunningJobs,
        )
        .unwrap()
    };
    let host = open();
    let ended = host.submit(ENDLESS, &Default::default()).unwrap().id;
    let running = host.submit(ENDLESS, &Default::default()).unwrap().id;
    let until = std::time::Instant::now() + LIMIT;
    let checkpoints = |host: &Host| host.job(running).unwrap().status().checkpoints;
    while checkpoints(&host).completed == 0 {
        assert!(
            std::time::Instant::now() < until,
            "no checkpoint within {LIMIT:?}"
        );
        std::thread::yield_now();
    }
    host.cancel(ended).unwrap();
    while !host.job(ended).unwrap().is_ended() {
        assert!(
            std::time::Instant::now() < until,
            "not cancelled within {LIMIT:?}"
        );
        std::thread::yield_now();
    }
    assert!(host.suspend_all(LIMIT));
    let mut weak = std::sync::Arc::downgrade(&host);
    drop(host);
    // The threads of its jobs and of its rates let go of it.
    while weak.upgrade().is_some() {
        assert!(std::time::Instant::now() < until, "the host is still held");
        std::thread::yield_now();
    }
    let host = open();
    weak = std::sync::Arc::downgrade(&host);
    while checkpoints(&host).latest_restored.is_none() {
        assert!(
            std::time::Instant::now() < until,
            "not restored within {LIMIT:?}: {:?}",
            host.job(running).unwrap().status()
        );
        std::thread::yield_now();
    }
    assert_eq!(
        serde_json::to_value(host.job(ended).unwrap().status().state).unwrap(),
        "CANCELED"
    );
    assert_eq!(host.jobs().len(), 2);
    host.cancel(running).unwrap();
    while !host.job(running).unwrap().is_ended() {
        assert!(
            std::time::Instant::now() < until,
            "not cancelled within {LIMIT:?}"
        );
        std::thread::yield_now();
    }
    drop(host);
    assert!(weak.upgrade().is_none() || std::time::Instant::now() < until);
}

#[test]
fn a_host_that_goes_down_suspends_a_job_that_is_just_being_started() {
    // Which of the two comes first is luck.
    for _ in 0..10 {
        let data = tempfile::tempdir().unwrap();
        let host = Host::open(settings(data.path()), Recover::RunningJobs).unwrap();
        let job = host.submit(ENDLESS, &Default::default()).unwrap().id;
        assert!(host.suspend_all(LIMIT));
        let state = serde_json::to_value(host.job(job).unwrap().status().state).unwrap();
        assert_eq!(state, "SUSPENDED");
    }
}

#[test]
fn a_job_that_cannot_be_resumed_fails_alone_and_can_be_resumed_by_hand() {
    let data = tempfile::tempdir().unwrap();
    let secret = data.path().join("secret");
    std::fs::write(&secret, "{i%7}").unwrap();
    let open = || Host::open(settings(data.path()), Recover::RunningJobs).unwrap();
    let state_of = |host: &Host, id| serde_json::to_value(host.job(id).unwrap().status().state).unwrap();
    let until = std::time::Instant::now() + LIMIT;
    let wait = |host: &Host, id, state: &str| {
        while state_of(host, id) != state {
            assert!(
                std::time::Instant::now() < until,
                "{state}: {:?}",
                host.job(id).unwrap().status()
            );
            std::thread::yield_now();
        }
    };
    let template = "template: '{i%10}'";
    let job = ENDLESS.replace(template, &format!("template: {{file: {}}}", secret.display()));
    assert_ne!(job, ENDLESS);
    let host = open();
    let failing = host.submit(&job, &Default::default()).unwrap().id;
    let healthy = host.submit(ENDLESS, &Default::default()).unwrap().id;
    let stored = std::fs::read_to_string(host.job_directory(failing).join("job.json")).unwrap();
    assert!(
        stored.contains("\"file\"") && !stored.contains("{i%7}"),
        "{stored}"
    );
    assert!(host.suspend_all(LIMIT));
    let weak = std::sync::Arc::downgrade(&host);
    drop(host);
    while weak.upgrade().is_some() {
        assert!(std::time::Instant::now() < until, "the host is still held");
        std::thread::yield_now();
    }
    std::fs::remove_file(&secret).unwrap();
    let host = open();
    wait(&host, failing, "FAILED");
    wait(&host, healthy, "RUNNING");
    let message = host.job(failing).unwrap().status().exceptions[0].message.clone();
    assert!(
        message.contains("setting `template`: the secret's file"),
        "{message}"
    );
    std::fs::write(&secret, "{i%7}").unwrap();
    host.resume(failing).unwrap();
    wait(&host, failing, "RUNNING");
    assert!(
        host.resume(failing)
            .unwrap_err()
            .to_string()
            .contains("only a failed job can be resumed")
    );
    host.suspend_all(LIMIT);
}

#[test]
fn a_job_whose_end_cannot_be_stored_goes_on_from_its_checkpoint_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let open = || Host::open(settings(data.path()), Recover::RunningJobs).unwrap();
    let until = std::time::Instant::now() + LIMIT;
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(std::time::Instant::now() < until, "{what}: not within {LIMIT:?}");
            std::thread::yield_now();
        }
    };
    let host = open();
    let id = host.submit(ENDLESS, &Default::default()).unwrap().id;
    wait("a checkpoint", &|| {
        host.job(id).unwrap().status().checkpoints.completed > 0
    });
    // The new state is written aside first: nothing can be, where a directory is in the way.
    let in_the_way = host.job_directory(id).join(".state.json.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    host.job(id).unwrap().handle().unwrap().cancel();
    wait("the end", &|| host.job(id).unwrap().is_ended());
    let weak = std::sync::Arc::downgrade(&host);
    drop(host);
    wait("the host is gone", &|| weak.upgrade().is_none());
    std::fs::remove_dir(&in_the_way).unwrap();
    let host = open();
    wait("it is resumed from its checkpoint", &|| {
        let status = host.job(id).unwrap().status();
        assert!(!host.job(id).unwrap().is_ended(), "{status:?}");
        status.checkpoints.latest_restored.is_some()
    });
    assert!(host.suspend_all(LIMIT));
}

#[test]
fn a_failed_job_is_started_once_by_many_that_resume_it_at_the_same_time() {
    let data = tempfile::tempdir().unwrap();
    let open = || Host::open(settings(data.path()), Recover::RunningJobs).unwrap();
    let host = open();
    // Whether two look before one of them steps is luck.
    let jobs: Vec<_> = (0..4)
        .map(|_| host.submit(ENDLESS, &Default::default()).unwrap().id)
        .collect();
    assert!(host.suspend_all(LIMIT));
    for id in &jobs {
        let failed = host.job(*id).unwrap().planned_status(JobState::Failed, None);
        let state = serde_json::to_vec(&StoredState::ended(failed)).unwrap();
        std::fs::write(host.job_directory(*id).join("state.json"), state).unwrap();
    }
    let weak = std::sync::Arc::downgrade(&host);
    drop(host);
    let until = std::time::Instant::now() + LIMIT;
    while weak.upgrade().is_some() {
        assert!(std::time::Instant::now() < until, "the host is still held");
        std::thread::yield_now();
    }
    let host = open();
    for id in jobs {
        let together = std::sync::Barrier::new(4);
        let resumed: usize = std::thread::scope(|scope| {
            let ask = || {
                together.wait();
                usize::from(host.resume(id).is_ok())
            };
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(resumed, 1);
    }
    assert!(host.suspend_all(LIMIT));
}
