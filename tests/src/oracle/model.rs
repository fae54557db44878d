//! Sessions with a gap by element, as plain as can be: what stands in for Flink where it has a fault.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Case;

/// One session: start, end, count, sum, least, greatest.
#[derive(Clone, Copy)]
struct Session {
    start: i64,
    end: i64,
    count: u64,
    sum: i64,
    min: i64,
    max: i64,
}

impl Session {
    fn meets(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn with(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            count: self.count + other.count,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// The answers to a case that has a model; `None` where there is none.
pub(super) fn answers(case: &Case) -> Result<Option<Vec<String>>> {
    let parameters = case.pipeline().as_object().context("a case without a pipeline")?;
    let is_known = parameters.len() == 2
        && parameters.get("assigner").is_some_and(|a| a == "session-dynamic")
        && parameters.get("function").is_some_and(|f| f == "stats");
    if !is_known {
        return Ok(None);
    }
    let text = fs::read_to_string(&case.tape)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut model = Model {
        sessions: BTreeMap::new(),
        watermark: i64::MIN,
        dropped: 0,
        answers: Vec::new(),
    };
    for (at, line) in lines.iter().enumerate() {
        let line: Value = serde_json::from_str(line)?;
        if let Some(watermark) = line["watermark"].as_i64() {
            model.advance(at, watermark);
        } else if let (Some(ts), Some(key), Some(value)) =
            (line["ts"].as_i64(), line["key"].as_str(), line["value"].as_i64())
        {
            model.element(ts, key, value);
        }
    }
    model.advance(lines.len(), i64::MAX);
    let (at, count) = (lines.len(), model.dropped);
    model.answers.push(format!(
        "{{\"at\":{at},\"metric\":\"numLateRecordsDropped\",\"count\":{count}}}"
    ));
    Ok(Some(model.answers))
}

struct Model {
    sessions: BTreeMap<String, Vec<Session>>,
    watermark: i64,
    dropped: u64,
    answers: Vec<String>,
}

impl Model {
    fn element(&mut self, ts: i64, key: &str, value: i64) {
        let gap = 60 * (1 + value.rem_euclid(8));
        let own = Session {
            start: ts,
            end: ts + gap,
            count: 1,
            sum: value,
            min: value,
            max: value,
        };
        let sessions = self.sessions.entry(key.to_owned()).or_default();
        // A session that is there has not fired yet: an element that meets one is not late.
        let (met, apart): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| session.meets(&own));
        let whole = met.into_iter().fold(own, Session::with);
        if whole.end - 1 <= self.watermark {
            self.dropped += 1;
            return;
        }
        *sessions = apart;
        sessions.push(whole);
    }

    fn advance(&mut self, at: usize, watermark: i64) {
        if watermark <= self.watermark {
            return;
        }
        self.watermark = watermark;
        for (key, sessions) in &mut self.sessions {
            let (mut over, open): (Vec<_>, Vec<_>) =
                sessions.iter().partition(|session| session.end - 1 <= watermark);
            *sessions = open;
            over.sort_by_key(|session| session.end);
            for Session {
                start,
                end,
                count,
                sum,
                min,
                max,
            } in over
            {
                self.answers.push(format!(
                    "{{\"at\":{at},\"ts\":{},\"start\":{start},\"end\":{end},\"key\":\"{key}\",\"count\":{count},\"sum\":{sum},\
                     \"min\":{min},\"max\":{max}}}",
                    end - 1
                ));
            }
        }
    }
}
