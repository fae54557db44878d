//! Keyed state, timers and outputs as the host would keep them, in plain collections.
//!
//! Invariant: a call's effects are applied as a whole or not at all: a copy of everything is taken
//! before each call.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::answer::{Answer, Cursor, OutputRow, Status, Write};
use super::encode::{FrameContent, FrameRow, StateBlock};
use crate::call::TimeDomain;

/// One record that a function emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The record; empty where it is null.
    pub value: Vec<u8>,
    /// Its event time.
    pub timestamp: Option<i64>,
    /// Whether it is a tombstone.
    pub is_null: bool,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 0 trace, 1 debug, 2 info, 3 warn, 4 error.
    pub level: u32,
    /// The text.
    pub message: String,
}

#[derive(Clone)]
enum Stored {
    Value(Vec<u8>),
    List(Vec<Vec<u8>>),
    Map(BTreeMap<Vec<u8>, Vec<u8>>),
}

#[derive(Clone)]
struct StateInfo {
    name: String,
    is_prefetched: bool,
    fold: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Domain {
    Event,
    Processing,
}

impl From<TimeDomain> for Domain {
    fn from(domain: TimeDomain) -> Self {
        match domain {
            TimeDomain::EventTime => Self::Event,
            TimeDomain::ProcessingTime => Self::Processing,
        }
    }
}

/// Times and keys of timers that fire.
pub(super) type Due = Vec<(i64, Vec<u8>)>;

/// What a failed call must not change.
#[derive(Clone, Default)]
struct Durable {
    stored: BTreeMap<(u32, Vec<u8>), Stored>,
    timers: BTreeSet<(Domain, i64, Vec<u8>)>,
    emitted: Vec<(u16, Emission)>,
    metrics: Vec<(u32, f64)>,
    broadcast: BTreeMap<u32, BTreeMap<Vec<u8>, Vec<u8>>>,
}

#[derive(Default)]
pub(super) struct Model {
    states: Vec<StateInfo>,
    now: Durable,
    before: Durable,
    keys: Vec<Vec<u8>>,
    row_keys: Vec<Option<usize>>,
    row_ports: Vec<u8>,
    /// Keys that a scan has still to give, from the last.
    scan: Vec<Vec<u8>>,
    broadcast_names: Vec<String>,
    metric_names: Vec<String>,
    /// Timers that are in the frame.
    pub(super) firing: Option<(TimeDomain, Due)>,
    pub(super) log: Vec<LogLine>,
}

impl Model {
    pub(super) fn new(description: &Value) -> Self {
        let states = description["state"].as_array().cloned().unwrap_or_default();
        let states = states.iter().map(|state| StateInfo {
            name: state["name"].as_str().unwrap_or_default().to_owned(),
            is_prefetched: state["prefetch"] == "always",
            fold: state["reduce"].as_str().map(str::to_owned),
        });
        let broadcast = description["broadcast-state"].as_array();
        let broadcast_names = broadcast.into_iter().flatten();
        let broadcast_names = broadcast_names.filter_map(|state| state["name"].as_str());
        Self {
            broadcast_names: broadcast_names.map(str::to_owned).collect(),
            states: states.collect(),
            ..Self::default()
        }
    }

    /// Notes the rows' keys and gathers what the frame holds.
    pub(super) fn start_call<'a>(
        &mut self,
        rows: &'a [FrameRow],
        watermark: i64,
        processing_time: i64,
    ) -> FrameContent<'a> {
        self.before = self.now.clone();
        self.keys.clear();
        self.row_keys.clear();
        self.row_ports = rows.iter().map(|row| row.port).collect();
        for row in rows {
            let index = row.key.as_ref().map(|key| {
                let known = self.keys.iter().position(|other| other == key);
                known.unwrap_or_else(|| {
                    self.keys.push(key.clone());
                    self.keys.len() - 1
                })
            });
            self.row_keys.push(index);
        }
        let prefetched = self
            .states
            .iter()
            .enumerate()
            .filter(|(_, state)| state.is_prefetched);
        let state = prefetched.map(|(slot, _)| StateBlock {
            slot: slot as u32,
            values: self
                .keys
                .iter()
                .map(|key| self.get(slot as u32, key, &[]))
                .collect(),
        });
        FrameContent {
            rows,
            state: state.collect(),
            keys: self.keys.clone(),
            watermark,
            processing_time,
        }
    }

    /// Undoes the call.
    pub(super) fn undo(&mut self) {
        self.now = self.before.clone();
    }

    /// Applies an answer. `kept`: the rows, where the function is a filter.
    pub(super) fn apply(&mut self, answer: &Answer, kept: Option<&[FrameRow]>) -> Result<(), String> {
        if let Some((_, due)) = &mut self.firing {
            due.drain(..answer.consumed.min(due.len()));
        }
        self.put_back_firing();
        for row in &answer.output {
            let mut row = row.clone();
            if let Some(kept) = kept.and_then(|rows| rows.get(row.cause as usize)) {
                row.value = kept.value.clone().unwrap_or_default();
                row.is_null = kept.value.is_none();
            }
            self.emit(row);
        }
        for (slot, statuses) in &answer.state {
            for (key, status) in statuses.iter().enumerate() {
                let place = (*slot, self.key(key as u32)?.to_vec());
                match status {
                    Status::Set(value) => drop(self.now.stored.insert(place, Stored::Value(value.clone()))),
                    Status::Cleared => drop(self.now.stored.remove(&place)),
                    Status::Read | Status::Untouched => {}
                }
            }
        }
        for timer in &answer.timers {
            let domain = match timer.domain {
                1 => Domain::Event,
                2 => Domain::Processing,
                other => return Err(format!("timer domain {other}")),
            };
            let entry = (domain, timer.at, self.key_of_row(timer.row)?.to_vec());
            match timer.operation {
                1 => drop(self.now.timers.insert(entry)),
                2 => drop(self.now.timers.remove(&entry)),
                other => return Err(format!("timer operation {other}")),
            }
        }
        answer.writes.iter().try_for_each(|write| self.write(write))?;
        self.now.metrics.extend(&answer.metrics);
        Ok(())
    }

    /// Takes the timers that are due, in order.
    pub(super) fn take_due(&mut self, domain: TimeDomain, clock: i64) -> Due {
        let domain = Domain::from(domain);
        let due: Vec<_> = self
            .now
            .timers
            .iter()
            .filter(|(own, at, _)| *own == domain && *at <= clock)
            .cloned()
            .collect();
        for timer in &due {
            self.now.timers.remove(timer);
        }
        due.into_iter().map(|(_, at, key)| (at, key)).collect()
    }

    /// Registers what was in the frame and not consumed again.
    pub(super) fn put_back_firing(&mut self) {
        if let Some((domain, due)) = self.firing.take() {
            let due = due.into_iter().map(|(at, key)| (domain.into(), at, key));
            self.now.timers.extend(due);
        }
    }

    pub(super) fn emit(&mut self, row: OutputRow) {
        let emission = Emission {
            value: row.value,
            timestamp: row.timestamp,
            is_null: row.is_null,
        };
        self.now.emitted.push((row.port, emission));
    }

    pub(super) fn take_output(&mut self, port: u16) -> Vec<Emission> {
        let all = std::mem::take(&mut self.now.emitted);
        let (taken, left) = all.into_iter().partition(|(own, _)| *own == port);
        self.now.emitted = left;
        let taken: Vec<(u16, Emission)> = taken;
        taken.into_iter().map(|(_, emission)| emission).collect()
    }

    pub(super) fn register_metric(&mut self, name: String) -> u32 {
        self.metric_names.push(name);
        self.metric_names.len() as u32 - 1
    }

    pub(super) fn metric(&self, name: &str) -> Vec<f64> {
        let is_named = |metric: &u32| {
            self.metric_names
                .get(*metric as usize)
                .is_some_and(|own| own == name)
        };
        let metrics = self.now.metrics.iter().filter(|(metric, _)| is_named(metric));
        metrics.map(|(_, value)| *value).collect()
    }

    pub(super) fn timers(&self) -> Vec<(TimeDomain, i64, Vec<u8>)> {
        let timers = self.now.timers.iter().map(|(domain, at, key)| {
            let domain = match domain {
                Domain::Event => TimeDomain::EventTime,
                Domain::Processing => TimeDomain::ProcessingTime,
            };
            (domain, *at, key.clone())
        });
        timers.collect()
    }

    /// Keys that have something in a state, with their indexes, which they have from now on.
    pub(super) fn scan(&mut self, slot: u32, restart: bool, max: usize) -> Vec<(u32, Vec<u8>)> {
        if restart {
            let held = self.now.stored.iter().filter(|((own, _), _)| *own == slot);
            self.scan = held.map(|((_, key), _)| key.clone()).rev().collect();
        }
        let page = self.scan.split_off(self.scan.len().saturating_sub(max));
        let page = page.into_iter().rev();
        let indexed = page.map(|key| {
            let known = self.keys.iter().position(|own| *own == key);
            let index = known.unwrap_or(self.keys.len());
            if known.is_none() {
                self.keys.push(key.clone());
            }
            (index as u32, key)
        });
        indexed.collect()
    }

    /// The entries of a broadcast state.
    pub(super) fn broadcast_of(&self, slot: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.now.broadcast.get(&slot).cloned().unwrap_or_default()
    }

    /// The entries of a broadcast state by its name.
    pub(super) fn broadcast(&self, state: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let slot = self.broadcast_names.iter().position(|name| name == state);
        slot.map_or_else(BTreeMap::new, |slot| self.broadcast_of(slot as u32))
    }

    fn write_broadcast(&mut self, write: &Write) -> Result<(), String> {
        if self.row_ports.get(write.row as usize) != Some(&1) {
            return Err(format!("row {} is not of the broadcast input", write.row));
        }
        let map = self.now.broadcast.entry(write.slot).or_default();
        match write.operation {
            8 => drop(map.insert(write.map_key.clone(), write.value.clone())),
            9 => drop(map.remove(&write.map_key)),
            _ => map.clear(),
        }
        Ok(())
    }

    /// The key with that index in the frame.
    pub(super) fn key(&self, index: u32) -> Result<&[u8], String> {
        let key = self.keys.get(index as usize).map(Vec::as_slice);
        key.ok_or_else(|| format!("key {index} is not in the frame"))
    }

    fn key_of_row(&self, row: u32) -> Result<&[u8], String> {
        if row & 1 << 31 != 0 {
            return self.key(row & !(1 << 31));
        }
        let index = self.row_keys.get(row as usize).copied().flatten();
        let index = index.ok_or_else(|| format!("row {row} has no key"))?;
        self.key(index as u32)
    }

    fn slot(&self, state: &str) -> u32 {
        let slot = self.states.iter().position(|own| own.name == state);
        slot.map_or(u32::MAX, |slot| slot as u32)
    }

    pub(super) fn value(&self, key: &[u8], state: &str) -> Option<Vec<u8>> {
        self.get(self.slot(state), key, &[])
    }

    pub(super) fn list(&self, key: &[u8], state: &str) -> Vec<Vec<u8>> {
        self.list_of(self.slot(state), key)
    }

    pub(super) fn map(&self, key: &[u8], state: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.map_of(self.slot(state), key)
    }

    pub(super) fn get(&self, slot: u32, key: &[u8], map_key: &[u8]) -> Option<Vec<u8>> {
        match self.now.stored.get(&(slot, key.to_vec()))? {
            Stored::Value(value) => Some(value.clone()),
            Stored::Map(map) => map.get(map_key).cloned(),
            Stored::List(_) => None,
        }
    }

    pub(super) fn list_of(&self, slot: u32, key: &[u8]) -> Vec<Vec<u8>> {
        match self.now.stored.get(&(slot, key.to_vec())) {
            Some(Stored::List(list)) => list.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn map_of(&self, slot: u32, key: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        match self.now.stored.get(&(slot, key.to_vec())) {
            Some(Stored::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// Applies one entry of WRITES.
    pub(super) fn write(&mut self, write: &Write) -> Result<(), String> {
        if (8..=10).contains(&write.operation) {
            return self.write_broadcast(write);
        }
        let key = self.key_of_row(write.row)?.to_vec();
        let place = (write.slot, key.clone());
        let stored = &mut self.now.stored;
        let value = write.value.clone();
        match write.operation {
            1 => drop(stored.insert(place, Stored::Value(value))),
            2 => drop(stored.remove(&place)),
            3 => match stored.entry(place).or_insert_with(|| Stored::List(Vec::new())) {
                Stored::List(list) => list.push(value),
                _ => return Err("an append to what is no list".to_owned()),
            },
            4 => drop(stored.insert(place, Stored::List(elements(&value)?))),
            5 => match stored
                .entry(place)
                .or_insert_with(|| Stored::Map(BTreeMap::new()))
            {
                Stored::Map(map) => drop(map.insert(write.map_key.clone(), value)),
                _ => return Err("a put into what is no map".to_owned()),
            },
            6 => {
                if let Some(Stored::Map(map)) = stored.get_mut(&place) {
                    map.remove(&write.map_key);
                }
            }
            7 => return self.fold(write.slot, &key, &value),
            other => return Err(format!("write operation {other}")),
        }
        Ok(())
    }

    fn fold(&mut self, slot: u32, key: &[u8], element: &[u8]) -> Result<(), String> {
        let fold = self
            .states
            .get(slot as usize)
            .and_then(|state| state.fold.clone());
        let fold = fold.ok_or_else(|| format!("slot {slot} is not folded by the host"))?;
        let integer = |bytes: &[u8]| {
            let bytes = bytes.try_into().map_err(|_| format!("{} bytes", bytes.len()))?;
            Ok::<i64, String>(i64::from_le_bytes(bytes))
        };
        let former = self
            .get(slot, key, &[])
            .map(|bytes| integer(&bytes))
            .transpose()?;
        let folded = match (fold.as_str(), former) {
            ("count", former) => former.unwrap_or(0).wrapping_add(1),
            (_, None) => integer(element)?,
            ("sum", Some(former)) => former.wrapping_add(integer(element)?),
            ("min", Some(former)) => former.min(integer(element)?),
            (_, Some(former)) => former.max(integer(element)?),
        };
        let place = (slot, key.to_vec());
        self.now
            .stored
            .insert(place, Stored::Value(folded.to_le_bytes().to_vec()));
        Ok(())
    }
}

fn elements(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (mut cursor, mut elements) = (Cursor(bytes), Vec::new());
    while !cursor.0.is_empty() {
        let length = cursor.length()?;
        elements.push(cursor.take(length)?.to_vec());
    }
    Ok(elements)
}
