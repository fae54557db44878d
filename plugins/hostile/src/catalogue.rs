//! The names of the functions, and what `describe` says of them.

const FLAT_MAPS: &[&str] = &[
    "pass",
    "poison",
    "trap",
    "loop",
    "allocate",
    "recurse",
    "grow-table",
    "log-flood",
    "emit-flood",
    "error-bad-record",
    "error-retry",
    "error-failed",
    "error-message-huge",
    "error-of-unknown-row",
    "error-kind-unknown",
    "call-error",
    "answer-empty",
    "answer-garbage",
    "answer-version",
    "answer-section-outside",
    "answer-section-unknown",
    "answer-row-truncated",
    "answer-row-lies",
    "consumed-none",
    "consumed-too-many",
    "output-undeclared",
    "output-cause-unknown",
    "output-oversized",
    "output-many",
    "host-call-garbage",
    "metric-unknown",
    "open-trap",
    "open-loop",
    "open-error",
    "close-trap",
    "close-error",
];

const BUFFERING: &[&str] = &[
    "snapshot-trap",
    "snapshot-error",
    "snapshot-garbage",
    "restore-error",
];

const PROCESS: &[&str] = &[
    "state-undeclared",
    "state-count-lies",
    "state-status-unknown",
    "write-undeclared",
    "write-truncated",
    "timer-row-unknown",
    "timer-domain-unknown",
    "host-call-key-unknown",
];

/// The component's description.
pub fn describe() -> String {
    let flat_maps = FLAT_MAPS
        .iter()
        .map(|name| format!(r#"{{"name":"{name}","kind":"flat-map"}}"#));
    let buffering = BUFFERING
        .iter()
        .map(|name| format!(r#"{{"name":"{name}","kind":"flat-map","raw-state":true}}"#));
    let process = PROCESS.iter().map(|name| {
        format!(r#"{{"name":"{name}","kind":"process","state":[{{"name":"state","kind":"value"}}]}}"#)
    });
    let all: Vec<String> = flat_maps.chain(buffering).chain(process).collect();
    format!(r#"{{"version":1,"functions":[{}]}}"#, all.join(","))
}
