//! `/metrics`: the text that Prometheus scrapes.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use wasmill_engine::job::status::VertexStatus;

use super::App;
use super::types::name_of;
use crate::host::Host;

/// One metric with its help and its lines.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    lines: String,
}

impl Family {
    fn new(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            lines: String::new(),
        }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, text)| format!("{name}=\"{}\"", escape(text)))
            .collect();
        let braces = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.lines, "{}{braces} {value}", self.name);
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// What is told of each subtask.
struct TaskFamilies {
    records_in: Family,
    records_out: Family,
    busy: Family,
    backpressured: Family,
    watermark: Family,
}

impl TaskFamilies {
    fn new() -> Self {
        let counter = |name, help| Family::new(name, "counter", help);
        Self {
            records_in: counter("wasmill_task_records_in_total", "Records from channels."),
            records_out: counter("wasmill_task_records_out_total", "Records to channels."),
            busy: counter("wasmill_task_busy_ms_total", "Time at work."),
            backpressured: counter("wasmill_task_backpressured_ms_total", "Time without credit."),
            watermark: Family::new(
                "wasmill_task_watermark_ms",
                "gauge",
                "Event-time clock; missing before the first watermark.",
            ),
        }
    }

    fn add(&mut self, job: &str, vertex: &VertexStatus) {
        for (index, subtask) in vertex.subtasks.iter().enumerate() {
            let index = index.to_string();
            let labels = [
                ("job", job),
                ("task", vertex.name.as_str()),
                ("subtask", index.as_str()),
            ];
            self.records_in.add(&labels, subtask.records_in as f64);
            self.records_out.add(&labels, subtask.records_out as f64);
            self.busy.add(&labels, subtask.busy_ms as f64);
            self.backpressured.add(&labels, subtask.backpressured_ms as f64);
            if subtask.watermark != i64::MIN {
                self.watermark.add(&labels, subtask.watermark as f64);
            }
        }
    }

    fn all(self) -> [Family; 5] {
        [
            self.records_in,
            self.records_out,
            self.busy,
            self.backpressured,
            self.watermark,
        ]
    }
}

/// The counters of operators that drop late elements, of metrics named `vertex.subtask.operator.metric`.
fn add_late(family: &mut Family, job: &str, metrics: &BTreeMap<String, f64>) {
    for (name, dropped) in metrics {
        let parts = name
            .strip_suffix(".numLateRecordsDropped")
            .and_then(|name| name.split_once('.'))
            .and_then(|(_, rest)| rest.split_once('.'));
        if let Some((subtask, operator)) = parts {
            let labels = [("job", job), ("operator", operator), ("subtask", subtask)];
            family.add(&labels, *dropped);
        }
    }
}

fn render(host: &Host) -> String {
    let mut slots = Family::new("wasmill_slots", "gauge", "Slots of the host.");
    let mut used = Family::new("wasmill_slots_used", "gauge", "Slots that jobs hold.");
    let mut memory = Family::new("process_resident_memory_bytes", "gauge", "Memory of the process.");
    let mut state = Family::new("wasmill_job_state", "gauge", "1 for the state that a job is in.");
    let counter = |name, help| Family::new(name, "counter", help);
    let mut attempts = counter("wasmill_job_restarts_total", "Restarts of a job.");
    let mut completed = counter(
        "wasmill_job_checkpoints_completed_total",
        "Completed checkpoints.",
    );
    let mut failed = counter("wasmill_job_checkpoints_failed_total", "Failed checkpoints.");
    let mut late = counter(
        "wasmill_operator_late_records_dropped_total",
        "Late elements that windows dropped.",
    );
    let mut tasks = TaskFamilies::new();
    slots.add(&[], f64::from(host.settings().slots));
    used.add(&[], f64::from(host.slots_used()));
    memory.add(&[], super::taskmanagers::resident_bytes() as f64);
    for job in host.jobs() {
        let status = job.status();
        let id = status.id.to_string();
        let of_job = [("job", id.as_str()), ("name", status.name.as_str())];
        let state_name = name_of(&status.state);
        state.add(&[of_job[0], of_job[1], ("state", &state_name)], 1.0);
        attempts.add(&of_job, f64::from(status.attempt));
        completed.add(&of_job, status.checkpoints.completed as f64);
        failed.add(&of_job, status.checkpoints.failed as f64);
        if !status.state.is_terminal() {
            status.vertices.iter().for_each(|vertex| tasks.add(&id, vertex));
            add_late(&mut late, &id, &job.metrics());
        }
    }
    let of_host = [slots, used, memory, state, attempts, completed, failed, late];
    of_host
        .into_iter()
        .chain(tasks.all())
        .fold(String::new(), |mut text, family| {
            let _ = write!(
                text,
                "# HELP {0} {1}\n# TYPE {0} {2}\n{3}",
                family.name, family.help, family.kind, family.lines
            );
            text
        })
}

/// Metrics of the host and all its jobs, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(host): App) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        render(&host),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut family = Family::new("m", "gauge", "h");
        family.add(&[("name", "a\"b\\c\nd")], 1.5);
        assert_eq!(family.lines, "m{name=\"a\\\"b\\\\c\\nd\"} 1.5\n");
    }
}
