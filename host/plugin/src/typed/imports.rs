//! `runtime`, `collector`, `timers` and `operator-state` of `wit/`.

use wasmill_model::row::{EXTENSION_HEADER, RowHeader};
use wasmill_model::time::Timestamp;
use wasmill_state::timers::TimeDomain;

use super::generated::wasmill::function::{
    collector, operator_state, runtime, timers, types, window_context,
};
use super::{Data, trap};
use crate::frame::answer::check_metric;
use crate::frame::cursor::Cursor;
use crate::journal::effects::{MetricKind, TimerOp};
use crate::journal::keys::NONE;
use crate::journal::scope::ENTRY_BYTES;
use crate::sandbox::log::LogLevel;

type Result<T> = wasmtime::Result<T>;

impl types::Host for Data {}

impl runtime::Host for Data {
    fn context(&mut self) -> Result<String> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.context_json().to_owned())
    }

    fn value_is_null(&mut self) -> Result<bool> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.record.is_null)
    }

    fn header(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        self.host.count_call().map_err(trap)?;
        Ok(find_header(&self.host.record.extension, name.as_bytes()).map(<[u8]>::to_vec))
    }

    fn log(&mut self, level: u8, message: String) -> Result<()> {
        self.host.count_call().map_err(trap)?;
        self.sandbox
            .log()
            .push(LogLevel::from_code(level.into()), &message);
        Ok(())
    }

    fn counter_add(&mut self, name: String, delta: u64) -> Result<()> {
        record(self, &name, MetricKind::Counter, delta as f64)
    }

    fn gauge_set(&mut self, name: String, value: f64) -> Result<()> {
        record(self, &name, MetricKind::Gauge, value)
    }

    fn histogram_record(&mut self, name: String, value: f64) -> Result<()> {
        record(self, &name, MetricKind::Histogram, value)
    }
}

fn record(data: &mut Data, name: &str, kind: MetricKind, value: f64) -> Result<()> {
    data.host.count_call().map_err(trap)?;
    check_metric(kind, value).map_err(|error| trap(format!("metric: {error}")))?;
    let metric = data.host.metrics.register(name, kind).map_err(trap)?;
    data.host.metrics.record(metric, value);
    Ok(())
}

/// A header of a record in its extension; extensions were checked nowhere, so bytes that make no sense
/// have no header.
pub(crate) fn find_header<'a>(extension: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut entries = Cursor::new(extension);
    while !entries.is_done() {
        let tag = entries.u16().ok()?;
        let length = entries.u32().ok()? as usize;
        let mut entry = Cursor::new(entries.take(length).ok()?);
        if tag == EXTENSION_HEADER {
            let name_len = usize::from(entry.u16().ok()?);
            if entry.take(name_len).ok()? == name {
                return Some(entry.rest());
            }
        }
    }
    None
}

impl collector::Host for Data {
    fn emit(&mut self, value: Vec<u8>) -> Result<()> {
        let timestamp = self.host.record.timestamp;
        emit(self, 0, timestamp, &value)
    }

    fn emit_at(&mut self, value: Vec<u8>, timestamp: i64) -> Result<()> {
        emit(self, 0, Some(timestamp), &value)
    }

    fn emit_to(&mut self, output: String, value: Vec<u8>) -> Result<()> {
        let outputs = &self.host.description().side_outputs;
        let Some(index) = outputs.iter().position(|declared| declared.name == output) else {
            let shown: String = output.chars().take(64).collect();
            return Err(trap(format!(
                "emit-to: side output `{}` is not declared; `describe` declares {}",
                shown.escape_debug(),
                names(outputs.iter().map(|declared| declared.name.as_str()))
            )));
        };
        let timestamp = self.host.record.timestamp;
        emit(self, index as u16 + 1, timestamp, &value)
    }
}

/// The declared names for a message.
pub(crate) fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn emit(data: &mut Data, port: u16, timestamp: Option<Timestamp>, value: &[u8]) -> Result<()> {
    let scope = &mut data.host;
    scope.count_call().map_err(trap)?;
    scope.check_size("an emitted value", value.len()).map_err(trap)?;
    let limit = scope.limits().output_bytes_max;
    if scope.emissions.bytes_of_call() + value.len() > limit {
        scope.hit_output();
        return Err(trap(format!(
            "one call emits more than the limit of {limit} bytes: emit less for one record, or raise the job's `limits.output-bytes-max`"
        )));
    }
    let header = RowHeader {
        key: scope.row,
        ..RowHeader::element(timestamp)
    };
    scope.emissions.push(port, header, value);
    Ok(())
}

impl timers::Host for Data {
    fn current_key(&mut self) -> Result<Vec<u8>> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.keys.body(self.host.record.key).to_vec())
    }

    fn current_watermark(&mut self) -> Result<i64> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.clocks.watermark)
    }

    fn current_processing_time(&mut self) -> Result<i64> {
        self.host.count_call().map_err(trap)?;
        Ok(self.host.clocks.processing_time)
    }

    fn register_event_timer(&mut self, at: i64) -> Result<()> {
        timer(self, true, TimeDomain::Event, at)
    }

    fn delete_event_timer(&mut self, at: i64) -> Result<()> {
        timer(self, false, TimeDomain::Event, at)
    }

    fn register_processing_timer(&mut self, at: i64) -> Result<()> {
        timer(self, true, TimeDomain::Processing, at)
    }

    fn delete_processing_timer(&mut self, at: i64) -> Result<()> {
        timer(self, false, TimeDomain::Processing, at)
    }
}

fn timer(data: &mut Data, register: bool, domain: TimeDomain, timestamp: Timestamp) -> Result<()> {
    let scope = &mut data.host;
    scope.count_call().map_err(trap)?;
    let key = scope.record.key;
    if !scope.keys.contains(key, NONE) || scope.keys.is_scanned(key) {
        return Err(trap(
            "timers exist only while a keyed record or a timer is processed".to_owned(),
        ));
    }
    let op = TimerOp {
        register,
        domain,
        key,
        namespace: NONE,
        timestamp,
    };
    scope.timer(op).map_err(trap)
}

/// Elements of the window at hand from where the guest stopped, by its place, before the element `end`.
pub(super) fn window_page(data: &mut Data, place: usize, end: usize, max_bytes: u32) -> Vec<types::Element> {
    let scope = &mut data.host;
    let limit = scope.limits().output_bytes_max.min(max_bytes as usize);
    let (mut index, mut at) = scope.window.taken[place];
    let (mut page, mut bytes) = (Vec::new(), 0);
    while index < end {
        let Some((timestamp, length)) = scope.window.elements.get(index).copied() else {
            break;
        };
        bytes += length + ENTRY_BYTES;
        if bytes > limit && !page.is_empty() {
            break;
        }
        let value = scope.window.values.get(at..at + length).unwrap_or_default();
        page.push(types::Element {
            key: scope.keys.body(scope.record.key).to_vec(),
            value: value.to_vec(),
            timestamp,
        });
        (index, at) = (index + 1, at + length);
    }
    scope.window.taken[place] = (index, at);
    page
}

impl window_context::Host for Data {
    fn window_start(&mut self) -> Result<i64> {
        window(self).map(|(start, _)| start)
    }

    fn window_end(&mut self) -> Result<i64> {
        window(self).map(|(_, end)| end)
    }

    fn next_elements(&mut self, max_bytes: u32) -> Result<Vec<types::Element>> {
        window(self)?;
        if self.host.window.left.is_some() {
            return Err(trap(
                "next-elements: the elements of a co-group are of two sides: use next-left and next-right"
                    .to_owned(),
            ));
        }
        let end = self.host.window.elements.len();
        Ok(window_page(self, 0, end, max_bytes))
    }

    fn merged_windows(&mut self) -> Result<u32> {
        window(self)?;
        Ok(self.host.window.merged)
    }

    fn use_window(&mut self, merged: Option<u32>) -> Result<()> {
        window(self)?;
        let window = &mut self.host.window;
        match merged {
            None => window.namespace = 0,
            Some(index) if index < window.merged => window.namespace = index + 1,
            Some(index) => {
                return Err(trap(format!(
                    "use-window: there is no merged window {index}; there are {}",
                    window.merged
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn window(data: &mut Data) -> Result<(Timestamp, Timestamp)> {
    data.host.count_call().map_err(trap)?;
    let bounds = data.host.window.bounds;
    bounds.ok_or_else(|| trap("there is a window only while a part of a window is called".to_owned()))
}

impl operator_state::Host for Data {
    fn open_operator_list(&mut self, name: String) -> Result<u32> {
        self.host.count_call().map_err(trap)?;
        let declared = &self.host.description().operator_state;
        if let Some(slot) = declared.iter().position(|state| state.name == name) {
            return Ok(slot as u32);
        }
        let shown: String = name.chars().take(64).collect();
        Err(trap(format!(
            "open-operator-list: operator state `{}` is not declared; `describe` declares {}",
            shown.escape_debug(),
            names(declared.iter().map(|state| state.name.as_str()))
        )))
    }

    fn operator_list_page(&mut self, slot: u32, start: u32, max: u32) -> Result<Vec<Vec<u8>>> {
        let limit = self.host.limits().output_bytes_max;
        let list = operator_list(self, slot)?;
        let mut bytes = 0;
        let page = list
            .iter()
            .skip(start as usize)
            .take(max as usize)
            .take_while(|element| {
                let cost = element.len() + ENTRY_BYTES;
                let fits = bytes == 0 || bytes + cost <= limit;
                bytes += cost;
                fits
            });
        Ok(page.cloned().collect())
    }

    fn operator_list_add(&mut self, slot: u32, value: Vec<u8>) -> Result<()> {
        self.host
            .check_size("an element of operator state", value.len())
            .map_err(trap)?;
        operator_list(self, slot)?;
        self.host.operator_list_add(slot as usize, value).map_err(trap)
    }

    fn operator_list_clear(&mut self, slot: u32) -> Result<()> {
        operator_list(self, slot)?.clear();
        Ok(())
    }
}

fn operator_list(data: &mut Data, slot: u32) -> Result<&mut Vec<Vec<u8>>> {
    data.host.count_call().map_err(trap)?;
    let declared = data.host.operator_lists.len();
    data.host.operator_lists.get_mut(slot as usize).ok_or_else(|| {
        trap(format!(
            "there is no operator state slot {slot}; the function declares {declared}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_name_and_nonsense_has_none() {
        let mut extension = Vec::new();
        for (name, value) in [(&b"a"[..], &b"1"[..]), (b"bb", b"")] {
            extension.extend_from_slice(&EXTENSION_HEADER.to_le_bytes());
            extension.extend_from_slice(&(2 + name.len() as u32 + value.len() as u32).to_le_bytes());
            extension.extend_from_slice(&(name.len() as u16).to_le_bytes());
            extension.extend_from_slice(name);
            extension.extend_from_slice(value);
        }
        assert_eq!(find_header(&extension, b"a"), Some(&b"1"[..]));
        assert_eq!(find_header(&extension, b"bb"), Some(&b""[..]));
        assert_eq!(find_header(&extension, b"b"), None);
        for end in 0..extension.len() {
            assert_eq!(find_header(&extension[..end], b"zz"), None);
        }
    }
}
