//! What the simulated job must commit, computed without an engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::functions::several::SECOND;

/// Records by key.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Records by key and start of a window.
pub(crate) type WindowCounts = BTreeMap<(String, i64), u64>;

/// The state of the job's functions and all lines they have emitted.
#[derive(Clone, Default)]
pub(crate) struct Model {
    counts: Counts,
    gathered: BTreeMap<String, Vec<String>>,
    lines: Vec<String>,
}

impl Model {
    /// Processes all records of `until` that were not processed yet, and then the end of the input.
    pub(crate) fn run(&mut self, until: &Counts) {
        let mut touched = BTreeSet::new();
        let mut counted = Vec::new();
        for (key, total) in until {
            let count = self.counts.entry(key.clone()).or_default();
            counted.extend((*count + 1..=*total).map(|count| format!("{key},{count}")));
            if total > count {
                counted.push(format!("{key},total,{total}"));
            }
            *count = *total;
        }
        for record in counted {
            let group = record.split(',').nth(1).unwrap_or_default().to_owned();
            let seen = self.gathered.entry(group.clone()).or_default();
            seen.push(record.clone());
            let times = seen.iter().filter(|other| **other == record).count();
            self.lines.push(format!("{record}*{times}"));
            self.lines.push(format!("{group}#{}", seen.len()));
            touched.insert(group);
        }
        for group in touched {
            let records: BTreeSet<&str> = self.gathered[&group].iter().map(String::as_str).collect();
            let records: Vec<&str> = records.into_iter().collect();
            self.lines.push(format!("{group}=[{}]", records.join(" ")));
        }
    }

    /// That exactly the model's lines are committed.
    pub(crate) fn equals(&self, committed: &[String]) -> Result<(), String> {
        let mut expected = self.lines.clone();
        expected.sort();
        match wasmill_tests::text::difference(committed, &expected) {
            None => Ok(()),
            Some(difference) => Err(format!(
                "the committed output differs from the model: {difference}"
            )),
        }
    }
}

/// The line that the job emits when it counts a record for the first time.
fn first_time(key: &str, count: u64) -> String {
    format!("{key},{count}*1")
}

/// That at least one line of every record is committed.
pub(crate) fn nothing_is_lost(input: &Counts, committed: &[String]) -> Result<(), String> {
    for (key, total) in input {
        let missing = (1..=*total)
            .map(|count| first_time(key, count))
            .find(|line| committed.binary_search(line).is_err());
        if let Some(line) = missing {
            return Err(format!("`{line}` is lost: key {key} has {total} records"));
        }
    }
    Ok(())
}

/// That every record's line is committed at most once, and none that the input does not have.
pub(crate) fn nothing_is_repeated(input: &Counts, committed: &[String]) -> Result<(), String> {
    if let Some(pair) = committed.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("`{}` is committed twice", pair[0]));
    }
    let known: BTreeSet<String> = input
        .iter()
        .flat_map(|(key, total)| (1..=*total).map(|count| first_time(key, count)))
        .collect();
    let is_record = |line: &&String| line.contains('*') && !line.contains("total");
    match committed
        .iter()
        .filter(is_record)
        .find(|line| !known.contains(*line))
    {
        Some(line) => Err(format!("`{line}` is committed and not in the model")),
        None => Ok(()),
    }
}

/// How many records of each key are committed.
pub(crate) fn committed_counts(input: &Counts, committed: &[String]) -> Counts {
    let is_there = |key: &str, count: u64| committed.binary_search(&first_time(key, count)).is_ok();
    let counted = |(key, total): (&String, &u64)| {
        let counts = (1..=*total).filter(|count| is_there(key, *count));
        (key.clone(), counts.count() as u64)
    };
    input
        .iter()
        .map(counted)
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Takes the results of windows out of what is committed. A window that a drained stop has fired begins anew when the
/// job goes on: its counts are added up.
pub(crate) fn take_windows(committed: &mut Vec<String>) -> Result<WindowCounts, String> {
    let mut counts = WindowCounts::new();
    for line in committed.extract_if(.., |line| line.starts_with('{')) {
        let result: serde_json::Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let (key, start, count) = (&result["key"], &result["start"], &result["count"]);
        match (key.as_str(), start.as_i64(), count.as_u64()) {
            (Some(key), Some(start), Some(count)) => {
                *counts.entry((key.to_owned(), start)).or_default() += count
            }
            _ => return Err(format!("`{line}` is no result of a window")),
        }
    }
    Ok(counts)
}

/// Takes what the join and the functions of two inputs have given out of what is committed.
pub(crate) fn take_several(committed: &mut Vec<String>) -> Vec<String> {
    let is_theirs = |line: &mut String| line.starts_with('~') || line.starts_with("{\"left\"");
    committed.extract_if(.., is_theirs).collect()
}

/// That each pair came once, and each key told once of all that both inputs had.
pub(crate) fn several_equal(counts: &Counts, pairs: &Counts, lines: &[String]) -> Result<(), String> {
    let mut expected = Vec::new();
    for (key, count) in counts {
        expected.push(format!("~both,{key},{}", count + count * SECOND));
        expected.push(format!("~known,{key},{}", counts.len()));
        let pair = format!("{{\"left\":\"{key}\",\"right\":\"{key}\"}}");
        let pairs = pairs.get(key).copied().unwrap_or_default() as usize;
        expected.extend(std::iter::repeat_n(pair, pairs));
    }
    expected.sort();
    let mut lines = lines.to_vec();
    lines.sort();
    match wasmill_tests::text::difference(&lines, &expected) {
        None => Ok(()),
        Some(difference) => Err(format!("of several streams: {difference}")),
    }
}

/// That every record is counted once in each of its windows.
pub(crate) fn windows_equal(expected: &WindowCounts, counted: &WindowCounts) -> Result<(), String> {
    let differs = |of: &WindowCounts, other: &WindowCounts| {
        let mut entries = of.clone().into_iter();
        entries.find(|(window, count)| other.get(window) != Some(count))
    };
    match (differs(expected, counted), differs(counted, expected)) {
        (None, None) => Ok(()),
        (missing, given) => Err(format!(
            "windows differ from the model: expected {missing:?}, committed {given:?}"
        )),
    }
}
