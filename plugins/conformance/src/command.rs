//! The text commands of `README.md`, parsed: shared by the component with the SDK and the one without.
//!
//! It knows neither of them: what a command does is written twice, on purpose.

/// How an error command fails.
pub enum Failure<'a> {
    BadRecord(&'a str),
    Retry(&'a str),
    Failed(&'a str),
}

/// A time in a command.
#[derive(Clone, Copy)]
pub enum Time {
    At(i64),
    /// After the timestamp of the record or timer at hand.
    After(i64),
}

impl Time {
    /// In milliseconds, given the timestamp at hand.
    pub fn resolve(self, base: i64) -> i64 {
        match self {
            Self::At(at) => at,
            Self::After(delay) => base.saturating_add(delay),
        }
    }
}

/// One command of a script.
pub enum Command<'a> {
    ValueSet(&'a str),
    ValueClear,
    ValueGet,
    ColdSet(&'a str),
    ColdClear,
    ColdGet,
    ListAdd(&'a str),
    ListUpdate(&'a str),
    ListClear,
    ListGet,
    MapPut(&'a str, &'a str),
    MapRemove(&'a str),
    MapClear,
    MapGet(&'a str),
    MapContains(&'a str),
    MapEntries,
    MapIsEmpty,
    ReducingAdd(i64),
    ReducingClear,
    ReducingGet,
    FoldedAdd(i64),
    FoldedClear,
    FoldedGet,
    AggregatingAdd(&'a str),
    AggregatingClear,
    AggregatingGet,
    RegisterEvent(Time),
    DeleteEvent(Time),
    RegisterProcessing(Time),
    DeleteProcessing(Time),
    OnTimer(&'a str),
    EventChain(&'a str),
    ProcessingChain(&'a str),
    Emit(&'a str),
    EmitAt(i64, &'a str),
    Side(&'a str),
    Other(&'a str),
    Key,
    Watermark,
    ProcessingTime,
    Timestamp,
    IsNull,
    Header(&'a str),
    Log(&'a str),
    Counter(u64),
    Gauge(f64),
    Histogram(f64),
    Fail(Failure<'a>),
    Trap,
}

/// An error command, where the text is one.
pub fn failure(text: &str) -> Option<Command<'_>> {
    let command = text.strip_prefix('!')?;
    let (name, message) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "bad" => Some(Command::Fail(Failure::BadRecord(message))),
        "retry" => Some(Command::Fail(Failure::Retry(message))),
        "fail" => Some(Command::Fail(Failure::Failed(message))),
        "trap" => Some(Command::Trap),
        _ => None,
    }
}

/// `LEFT STEP` of a chain.
pub fn chain(text: &str) -> Option<(i64, i64)> {
    let (left, step) = text.split_once(' ')?;
    Some((left.parse().ok()?, step.parse().ok()?))
}

/// One command; none where the text is none.
pub fn parse(text: &str) -> Option<Command<'_>> {
    if text.starts_with('!') {
        return failure(text);
    }
    exact(text).or_else(|| state(text)).or_else(|| effect(text))
}

fn exact(text: &str) -> Option<Command<'_>> {
    Some(match text {
        "v-" => Command::ValueClear,
        "v?" => Command::ValueGet,
        "c-" => Command::ColdClear,
        "c?" => Command::ColdGet,
        "l-" => Command::ListClear,
        "l?" => Command::ListGet,
        "m-" => Command::MapClear,
        "m?" => Command::MapEntries,
        "m0" => Command::MapIsEmpty,
        "r-" => Command::ReducingClear,
        "r?" => Command::ReducingGet,
        "f-" => Command::FoldedClear,
        "f?" => Command::FoldedGet,
        "a-" => Command::AggregatingClear,
        "a?" => Command::AggregatingGet,
        "k" => Command::Key,
        "w" => Command::Watermark,
        "p" => Command::ProcessingTime,
        "t" => Command::Timestamp,
        "n" => Command::IsNull,
        _ => return None,
    })
}

fn state(text: &str) -> Option<Command<'_>> {
    let (operation, rest) = text.split_at_checked(2)?;
    Some(match operation {
        "v=" => Command::ValueSet(rest),
        "c=" => Command::ColdSet(rest),
        "l+" => Command::ListAdd(rest),
        "l=" => Command::ListUpdate(rest),
        "m+" => {
            let (key, value) = rest.split_once(':')?;
            Command::MapPut(key, value)
        }
        "m/" => Command::MapRemove(rest),
        "m?" => Command::MapGet(rest),
        "m#" => Command::MapContains(rest),
        "r+" => Command::ReducingAdd(rest.parse().ok()?),
        "f+" => Command::FoldedAdd(rest.parse().ok()?),
        "a+" => Command::AggregatingAdd(rest),
        _ => return None,
    })
}

fn effect(text: &str) -> Option<Command<'_>> {
    if let Some((operation, rest)) = text.split_at_checked(3) {
        match operation {
            "te+" => return time(rest).map(Command::RegisterEvent),
            "te-" => return time(rest).map(Command::DeleteEvent),
            "tp+" => return time(rest).map(Command::RegisterProcessing),
            "tp-" => return time(rest).map(Command::DeleteProcessing),
            "on=" => return Some(Command::OnTimer(rest)),
            "ce=" => return chain(rest).map(|_| Command::EventChain(rest)),
            "cp=" => return chain(rest).map(|_| Command::ProcessingChain(rest)),
            _ => {}
        }
    }
    let (name, rest) = text.split_once(' ')?;
    Some(match name {
        "e" => Command::Emit(rest),
        "s" => Command::Side(rest),
        "o" => Command::Other(rest),
        "h" => Command::Header(rest),
        "log" => Command::Log(rest),
        "mc" => Command::Counter(rest.parse().ok()?),
        "mg" => Command::Gauge(rest.parse().ok()?),
        "mh" => Command::Histogram(rest.parse().ok()?),
        _ => Command::EmitAt(name.strip_prefix('@')?.parse().ok()?, rest),
    })
}

fn time(text: &str) -> Option<Time> {
    match text.strip_prefix('~') {
        Some(delay) => delay.parse().ok().map(Time::After),
        None => text.parse().ok().map(Time::At),
    }
}

/// N of `until N`.
pub fn until(value: &str) -> Option<u32> {
    value.strip_prefix("until ")?.parse().ok()
}

/// The elements of `l=A,B,C`; none for `l=`.
pub fn elements(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(str::to_owned).collect()
}

/// The last 64 bytes of `ACCUMULATOR,VALUE`.
pub fn reduced(accumulator: &str, value: &str) -> String {
    let joined = format!("{accumulator},{value}");
    let start = joined.len().saturating_sub(64);
    joined.get(start..).unwrap_or_default().to_owned()
}

/// `COUNT:SUM` of an aggregate.
pub fn count_and_sum(accumulator: &str) -> (i64, i64) {
    let (count, sum) = accumulator.split_once(':').unwrap_or(("0", "0"));
    (count.parse().unwrap_or(0), sum.parse().unwrap_or(0))
}
