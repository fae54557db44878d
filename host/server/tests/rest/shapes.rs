//! The structure of every answer that was captured from Flink.

use serde_json::Value;

use super::compare::differences;
use super::host::{ENDLESS, Served};

fn captured(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/flink-rest/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A running job with a completed checkpoint, and the id of its last vertex.
fn running(served: &Served) -> (String, String, u64) {
    let job = served.submit(ENDLESS);
    served.wait_for_state(&job, "RUNNING");
    let checkpoints = served.wait_for("a checkpoint completes", || {
        let (_, answer) = served.get(&format!("/jobs/{job}/checkpoints"));
        (answer["counts"]["completed"].as_u64() > Some(0)).then_some(answer)
    });
    let checkpoint = checkpoints["latest"]["completed"]["id"].as_u64().unwrap();
    let (_, detail) = served.get(&format!("/jobs/{job}"));
    let vertex = detail["vertices"].as_array().unwrap().last().unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    (job, vertex, checkpoint)
}

/// Each captured answer, and the path that must give the like.
fn calls(job: &str, vertex: &str, checkpoint: u64) -> Vec<(&'static str, String)> {
    let in_job = |rest: &str| format!("/jobs/{job}{rest}");
    let in_vertex = |rest: &str| format!("/jobs/{job}/vertices/{vertex}{rest}");
    vec![
        ("config", "/config".to_owned()),
        ("overview", "/overview".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("jobs_overview", "/jobs/overview".to_owned()),
        ("jobs_metrics", "/jobs/metrics".to_owned()),
        ("taskmanagers", "/taskmanagers".to_owned()),
        ("jobmanager_metrics", "/jobmanager/metrics".to_owned()),
        ("jobs_JOB", in_job("")),
        ("jobs_JOB_status", in_job("/status")),
        ("jobs_JOB_plan", in_job("/plan")),
        ("jobs_JOB_config", in_job("/config")),
        ("jobs_JOB_exceptions", in_job("/exceptions")),
        ("jobs_JOB_accumulators", in_job("/accumulators")),
        ("jobs_JOB_execution-result", in_job("/execution-result")),
        ("jobs_JOB_metrics", in_job("/metrics")),
        (
            "jobs_JOB_metrics_get_lastCheckpointSize_uptime",
            in_job("/metrics?get=lastCheckpointSize,uptime"),
        ),
        ("jobs_JOB_checkpoints", in_job("/checkpoints")),
        ("jobs_JOB_checkpoints_config", in_job("/checkpoints/config")),
        (
            "jobs_JOB_checkpoints_details_CHECKPOINT_subtasks_VERTEX",
            in_job(&format!("/checkpoints/details/{checkpoint}/subtasks/{vertex}")),
        ),
        (
            "jobs_JOB_checkpoints_details_CHECKPOINT",
            in_job(&format!("/checkpoints/details/{checkpoint}")),
        ),
        ("jobs_JOB_vertices_VERTEX", in_vertex("")),
        (
            "jobs_JOB_vertices_VERTEX_accumulators",
            in_vertex("/accumulators"),
        ),
        (
            "jobs_JOB_vertices_VERTEX_backpressure",
            in_vertex("/backpressure"),
        ),
        ("jobs_JOB_vertices_VERTEX_metrics", in_vertex("/metrics")),
        (
            "jobs_JOB_vertices_VERTEX_metrics_get_0.numRecordsIn_0.busyTimeMsPerSecond_0.currentInputWatermark",
            in_vertex("/metrics?get=0.numRecordsIn,0.busyTimeMsPerSecond,0.currentInputWatermark"),
        ),
        ("jobs_JOB_vertices_VERTEX_subtasks_0", in_vertex("/subtasks/0")),
        (
            "jobs_JOB_vertices_VERTEX_subtasks_metrics",
            in_vertex("/subtasks/metrics"),
        ),
        (
            "jobs_JOB_vertices_VERTEX_subtasks_metrics_get_numRecordsIn_agg_sum_max",
            in_vertex("/subtasks/metrics?get=numRecordsIn&agg=sum,max"),
        ),
        (
            "jobs_JOB_vertices_VERTEX_subtasktimes",
            in_vertex("/subtasktimes"),
        ),
        ("jobs_JOB_vertices_VERTEX_watermarks", in_vertex("/watermarks")),
    ]
}

#[test]
fn every_answer_has_the_structure_of_flinks() {
    let served = Served::start();
    let (job, vertex, checkpoint) = running(&served);
    served.wait_for("backpressure is measured", || {
        let (_, answer) = served.get(&format!("/jobs/{job}/vertices/{vertex}/backpressure"));
        (answer["status"] == "ok").then_some(answer)
    });
    let mut wrong = Vec::new();
    for (name, path) in calls(&job, &vertex, checkpoint) {
        for path in [path.clone(), format!("/v1{path}")] {
            let (status, mut ours) = served.get(&path);
            // Only completed ones were captured; the others have other keys in Flink too.
            if let Some(history) = ours.get_mut("history").and_then(Value::as_array_mut) {
                history.retain(|checkpoint| checkpoint["className"] == "completed");
            }
            assert_eq!(status, 200, "{path}: {ours}");
            assert!(!ours.as_array().is_some_and(Vec::is_empty), "{path} is empty");
            wrong.extend(
                differences(&captured(name), &ours)
                    .into_iter()
                    .map(|d| format!("{path}: {d}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refusals_have_flinks_statuses_and_one_key() {
    let served = Served::start();
    let (job, _, _) = running(&served);
    let nobody = "0".repeat(32);
    let open = ENDLESS.replace("\nparallelism: 2\n", "\n");
    let cases = [
        (served.get("/nosuch"), 404),
        (served.get("/v1/nosuch"), 404),
        (served.get("/jobs/0123"), 400),
        (served.get(&format!("/jobs/{nobody}")), 404),
        (served.patch(&format!("/jobs/{nobody}?mode=cancel"), "{}"), 404),
        (served.patch(&format!("/jobs/{job}?mode=stop"), "{}"), 400),
        (served.post(&format!("/jobs/{job}/savepoints"), "not json"), 400),
        (served.get(&format!("/jobs/{job}/savepoints/{nobody}")), 404),
        (served.get(&format!("/jobs/{job}/savepoints/xyz")), 400),
        (served.get(&format!("/jobs/{job}/vertices/{nobody}")), 404),
        (
            served.get(&format!("/jobs/{job}/checkpoints/details/999999")),
            404,
        ),
        (served.get("/jars"), 404),
        (served.post("/v1/jars/upload", "x"), 404),
        (served.post("/config", "{}"), 405),
        (served.get("/plugins/none"), 404),
        (served.post("/v1/plugins?name=bad", "not a component"), 422),
        (served.post("/v1/plugins?name=../x", "x"), 400),
        (served.post("/v1/plugins", "x"), 400),
        (
            served.post("/v1/jobs", "version: 2\nname: j\noperators: []\n"),
            400,
        ),
        (served.post("/v1/jobs?unknown=1", ENDLESS), 400),
        (served.post("/v1/jobs?parallelism=99", &open), 400),
        (served.post("/v1/jobs?savepointPath=/nowhere/sp", ENDLESS), 400),
        (served.post("/v1/jobs/validate", &"x".repeat(3 << 20)), 413),
        (
            served.get_from(&format!("/jobs/{job}/yarn-cancel"), "http://evil.example"),
            403,
        ),
    ];
    for (number, ((status, answer), expected)) in cases.into_iter().enumerate() {
        assert_eq!(status, expected, "case {number}: {answer}");
        let errors = answer["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("case {number}: {answer}"));
        assert!(
            answer.as_object().is_some_and(|o| o.len() == 1) && errors.iter().all(Value::is_string),
            "{answer}"
        );
    }
    served.wait_for_state(&job, "RUNNING");
}

#[test]
fn every_documented_path_is_served_and_the_document_is_json() {
    let served = Served::start();
    let (_, document) = served.get("/openapi.json");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 35, "{}", paths.len());
    for path in paths.keys() {
        let concrete: Vec<_> = path
            .split('/')
            .map(|part| if part.starts_with('{') { "0" } else { part })
            .collect();
        let (_, answer) = served.get(&concrete.join("/"));
        assert!(!answer.to_string().contains("Not found: "), "{path}: {answer}");
    }
}
