//! The functions of `plugins/conformance/README.md` as a plain model: no frames, no imports, no journal.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_model::key;
use wasmill_model::time::{Timestamp, WATERMARK_NONE};
use wasmill_state::timers::TimeDomain;

use crate::support::{Emitted, GROUPS, Input};

#[derive(Clone, Default)]
struct KeyState {
    value: Option<String>,
    cold: Option<String>,
    list: Vec<String>,
    map: BTreeMap<String, String>,
    reducing: Option<i64>,
    folded: Option<i64>,
    aggregating: Option<String>,
    script: Option<String>,
    chains: [Option<(i64, i64)>; 2],
}

/// A timer in firing order: time, key group, encoded key.
type ModelTimer = (Timestamp, u16, Vec<u8>);

/// `process`.
#[derive(Clone)]
pub(crate) struct Process {
    keys: BTreeMap<String, KeyState>,
    timers: [BTreeSet<ModelTimer>; 2],
    pub(crate) clocks: [Timestamp; 2],
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) counter: f64,
    pub(crate) gauge: Option<f64>,
    pub(crate) observations: Vec<f64>,
}

/// The record or timer at hand.
struct AtHand<'a> {
    key: &'a str,
    /// What emissions carry.
    timestamp: Option<Timestamp>,
    /// What `~N` counts from.
    base: Timestamp,
    is_null: bool,
    headers: &'a [(String, String)],
}

impl Default for Process {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            timers: [BTreeSet::new(), BTreeSet::new()],
            clocks: [WATERMARK_NONE, 0],
            emitted: Vec::new(),
            counter: 0.0,
            gauge: None,
            observations: Vec::new(),
        }
    }
}

fn encoded(body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    key::encode_bytes(&mut out, body.as_bytes());
    out
}

fn timer(at: Timestamp, body: &str) -> ModelTimer {
    let key = encoded(body);
    (at, GROUPS.group_of(key::hash(&key)).0, key)
}

fn or_none<T: std::fmt::Display>(name: &str, value: Option<T>) -> String {
    value.map_or_else(|| format!("{name} none"), |value| format!("{name}={value}"))
}

impl Process {
    /// One record.
    pub(crate) fn element(&mut self, input: &Input) {
        let at = AtHand {
            key: input.key.as_deref().unwrap_or_default(),
            timestamp: input.timestamp,
            base: input.timestamp.unwrap_or(0),
            is_null: input.value.is_none(),
            headers: &input.headers,
        };
        let script = input.value.clone().unwrap_or_else(|| "n".to_owned());
        script.split(';').for_each(|command| self.command(command, &at));
    }

    /// A clock advances.
    pub(crate) fn advance(&mut self, domain: TimeDomain, now: Timestamp) {
        let d = domain as usize;
        self.clocks[d] = now;
        while let Some(first) = self.timers[d].first().filter(|first| first.0 <= now).cloned() {
            self.timers[d].remove(&first);
            self.on_timer(
                domain,
                first.0,
                std::str::from_utf8(key::body(&first.2)).unwrap_or_default(),
            );
        }
    }

    /// The timers of a domain in firing order.
    pub(crate) fn timers(&self, domain: TimeDomain) -> Vec<ModelTimer> {
        self.timers[domain as usize].iter().cloned().collect()
    }

    fn on_timer(&mut self, domain: TimeDomain, time: Timestamp, body: &str) {
        let d = domain as usize;
        let at = AtHand {
            key: body,
            timestamp: (domain == TimeDomain::Event).then_some(time),
            base: time,
            is_null: false,
            headers: &[],
        };
        let name = ["event", "processing"][d];
        self.emit(0, &at, format!("timer {name} {time}"));
        let state = self.keys.entry(body.to_owned()).or_default();
        if let Some((left, step)) = state.chains[d] {
            state.chains[d] = (left > 1).then_some((left - 1, step));
            if left > 1 {
                self.timers[d].insert(timer(time.saturating_add(step), body));
            }
        }
        let state = self.keys.entry(body.to_owned()).or_default();
        if let Some(script) = state.script.take() {
            script.split(';').for_each(|command| self.command(command, &at));
        }
    }

    fn emit(&mut self, port: u16, at: &AtHand<'_>, value: String) {
        self.emitted.push(Emitted {
            port,
            value,
            timestamp: at.timestamp,
            key: None,
        });
    }

    fn state(&mut self, at: &AtHand<'_>) -> &mut KeyState {
        self.keys.entry(at.key.to_owned()).or_default()
    }

    fn command(&mut self, command: &str, at: &AtHand<'_>) {
        let rest = |skip: usize| command.get(skip..).unwrap_or_default();
        let number = |skip: usize| rest(skip).parse::<i64>().unwrap_or_else(|_| panic!("{command}"));
        let two = command.get(..2).unwrap_or(command);
        match two {
            "v=" | "v-" | "v?" | "c=" | "c-" | "c?" | "l+" | "l=" | "l-" | "l?" => {
                self.value_or_list(command, at)
            }
            "m+" | "m/" | "m-" | "m?" | "m#" | "m0" => self.map(command, at),
            "r+" | "r-" | "r?" | "f+" | "f-" | "f?" | "a+" | "a-" | "a?" => self.accumulator(command, at),
            "te" | "tp" | "on" | "ce" | "cp" => self.timer_command(command, at),
            "e " => self.emit(0, at, rest(2).to_owned()),
            "s " => self.emit(1, at, rest(2).to_owned()),
            "o " => self.emit(2, at, rest(2).to_owned()),
            "k" => self.emit(0, at, format!("k={}", at.key)),
            "w" => self.emit(0, at, format!("w={}", self.clocks[0])),
            "p" => self.emit(0, at, format!("p={}", self.clocks[1])),
            "t" => self.emit(0, at, or_none("t", at.timestamp)),
            "n" => self.emit(0, at, format!("n {}", at.is_null)),
            "h " => {
                let found = at
                    .headers
                    .iter()
                    .find(|(name, _)| name == rest(2))
                    .map(|(_, value)| value);
                let text = or_none(&format!("h {}", rest(2)), found);
                self.emit(0, at, text);
            }
            "lo" => {}
            "mc" => self.counter += number(3) as f64,
            "mg" => self.gauge = Some(number(3) as f64),
            "mh" => self.observations.push(number(3) as f64),
            _ if command.starts_with('@') => {
                let (time, text) = rest(1).split_once(' ').unwrap_or_else(|| panic!("{command}"));
                let at = AtHand {
                    timestamp: Some(time.parse().unwrap_or_else(|_| panic!("{command}"))),
                    ..*at
                };
                self.emit(0, &at, text.to_owned());
            }
            _ => panic!("the model does not know `{command}`"),
        }
    }

    fn value_or_list(&mut self, command: &str, at: &AtHand<'_>) {
        let (op, text) = (&command[..2], command[2..].to_owned());
        let state = self.state(at);
        let answer = match op {
            "v=" => return state.value = Some(text),
            "v-" => return state.value = None,
            "c=" => return state.cold = Some(text),
            "c-" => return state.cold = None,
            "l+" => return state.list.push(text),
            "l=" if text.is_empty() => return state.list.clear(),
            "l=" => return state.list = text.split(',').map(str::to_owned).collect(),
            "l-" => return state.list.clear(),
            "v?" => or_none("v", state.value.as_ref()),
            "c?" => or_none("c", state.cold.as_ref()),
            _ => format!("l=[{}]", state.list.join(",")),
        };
        self.emit(0, at, answer);
    }

    fn map(&mut self, command: &str, at: &AtHand<'_>) {
        let (op, text) = (&command[..2], &command[2..]);
        let map = &mut self.state(at).map;
        let answer = match (op, text) {
            ("m+", _) => {
                let (name, value) = text.split_once(':').unwrap_or_else(|| panic!("{command}"));
                map.insert(name.to_owned(), value.to_owned());
                return;
            }
            ("m/", _) => return drop(map.remove(text)),
            ("m-", _) => return map.clear(),
            ("m?", "") => {
                let entries: Vec<_> = map
                    .iter()
                    .map(|(name, value)| format!("{name}:{value}"))
                    .collect();
                format!("m={{{}}}", entries.join(","))
            }
            ("m?", _) => or_none(&format!("m {text}"), map.get(text)),
            ("m#", _) => format!("m {text} {}", map.contains_key(text)),
            _ => format!("m empty {}", map.is_empty()),
        };
        self.emit(0, at, answer);
    }

    fn accumulator(&mut self, command: &str, at: &AtHand<'_>) {
        let (op, text) = (&command[..2], &command[2..]);
        let number = || text.parse::<i64>().unwrap_or_else(|_| panic!("{command}"));
        let state = self.state(at);
        let add = |known: Option<i64>| Some(known.map_or(number(), |known| known.wrapping_add(number())));
        let answer = match op {
            "r+" => return state.reducing = add(state.reducing),
            "r-" => return state.reducing = None,
            "f+" => return state.folded = add(state.folded),
            "f-" => return state.folded = None,
            "a+" => {
                let known = state.aggregating.take().unwrap_or_else(|| "Contains".to_owned());
                return state.aggregating = Some(format!("{known}-{text}"));
            }
            "a-" => return state.aggregating = None,
            "r?" => or_none("r", state.reducing),
            "f?" => or_none("f", state.folded),
            _ => or_none("a", state.aggregating.as_ref()),
        };
        self.emit(0, at, answer);
    }

    fn timer_command(&mut self, command: &str, at: &AtHand<'_>) {
        let parse = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("{command}"));
        let time = |text: &str| match text.strip_prefix('~') {
            Some(offset) => at.base.saturating_add(parse(offset)),
            None => parse(text),
        };
        if let Some(script) = command.strip_prefix("on=") {
            self.state(at).script = Some(script.replace('|', ";"));
            return;
        }
        let domain = usize::from(command.as_bytes()[1] == b'p');
        let rest = &command[3..];
        match (&command[..1], &command[2..3]) {
            ("t", "+") => drop(self.timers[domain].insert(timer(time(rest), at.key))),
            ("t", _) => drop(self.timers[domain].remove(&timer(time(rest), at.key))),
            _ => {
                let (count, step) = rest.split_once(' ').unwrap_or_else(|| panic!("{command}"));
                let (count, step) = (parse(count), parse(step));
                self.state(at).chains[domain] = Some((count, step));
                self.timers[domain].insert(timer(at.base.saturating_add(step), at.key));
            }
        }
    }
}
