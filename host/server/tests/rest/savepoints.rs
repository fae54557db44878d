//! Savepoints by their formats, and whose they are.

use super::flows::savepoint_done;
use super::host::{ENDLESS, Served};

#[test]
fn a_claimed_savepoint_is_deleted_once_the_job_has_a_checkpoint_of_its_own_and_another_one_stays() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    let target = served.data.path().join("sp");
    let mut locations = Vec::new();
    for _ in 0..2 {
        let body = serde_json::json!({"target-directory": target.display().to_string()});
        let (status, trigger) = served.post(&format!("/jobs/{job}/savepoints"), &body.to_string());
        assert_eq!(status, 202, "{trigger}");
        let location = savepoint_done(&served, &job, &trigger);
        locations.push(location.as_str().unwrap().to_owned());
    }
    let (status, answer) = served.patch(&format!("/jobs/{job}?mode=cancel"), "");
    assert_eq!(status, 202, "{answer}");
    served.wait_for_state(&job, "CANCELED");
    let count = || std::fs::read_dir(&target).unwrap().count();
    assert_eq!(count(), 2);
    for (location, mode, left) in [(&locations[0], "NO_CLAIM", 2), (&locations[1], "CLAIM", 1)] {
        let query = format!("savepointPath={location}&claimMode={mode}");
        let (status, answer) = served.post(&format!("/jobs?{query}"), ENDLESS);
        assert_eq!(status, 200, "{answer}");
        let next = answer["jobid"].as_str().unwrap().to_owned();
        served.wait_for("some checkpoints are complete", || {
            let (_, answer) = served.get(&format!("/jobs/{next}/checkpoints"));
            (answer["counts"]["completed"].as_u64() >= Some(3)).then_some(serde_json::Value::Null)
        });
        served.wait_for("what was claimed is gone", || {
            (count() == left).then_some(serde_json::Value::Null)
        });
        served.patch(&format!("/jobs/{next}?mode=cancel"), "");
        served.wait_for_state(&next, "CANCELED");
    }
    let name = locations[0].trim_end_matches('/').rsplit('/').next().unwrap();
    assert!(target.join(name).join("_metadata").exists());
}

#[test]
fn a_checkpoint_of_a_running_job_cannot_be_claimed() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    // The checkpoint may be gone when it is asked for: there are new ones all the time.
    let refusal = served.wait_for("one is refused for its owner", || {
        let (_, answer) = served.get(&format!("/jobs/{job}/checkpoints"));
        let path = answer["latest"]["completed"]["external_path"]
            .as_str()?
            .to_owned();
        let (status, answer) = served.post(&format!("/jobs?savepointPath={path}&claimMode=CLAIM"), ENDLESS);
        assert_ne!(status, 200, "{answer}");
        (status == 409).then(|| answer["errors"][0].clone())
    });
    let refusal = refusal.as_str().unwrap();
    assert!(
        refusal.contains(&job) && refusal.contains("cancel the job first"),
        "{refusal}"
    );
}

#[test]
fn formats_and_modes_that_do_not_exist_are_refused_with_those_that_do() {
    let served = Served::start();
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    for (path, body, names) in [
        (
            format!("/jobs/{job}/savepoints"),
            "{\"formatType\": \"PARQUET\"}",
            ["PARQUET", "CANONICAL", "NATIVE"],
        ),
        (
            format!("/jobs/{job}/stop"),
            "{\"formatType\": \"native\"}",
            ["native", "CANONICAL", "NATIVE"],
        ),
        (
            format!("/jobs/{job}/checkpoints"),
            "{\"checkpointType\": \"HALF\"}",
            ["HALF", "FULL", "INCREMENTAL"],
        ),
        (
            "/jobs?savepointPath=sp&claimMode=LEGACY".to_owned(),
            ENDLESS,
            ["LEGACY", "CLAIM", "NO_CLAIM"],
        ),
    ] {
        let (status, answer) = served.post(&path, body);
        assert_eq!(status, 400, "{path}: {answer}");
        for name in names {
            assert!(answer.to_string().contains(name), "{path}: no {name} in {answer}");
        }
    }
}
