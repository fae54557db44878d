//! `keyed-state` of `wit/`: slots of declared states of the current key.

use wasmill_model::function::StateKind;
use wasmill_state::backend::Page;
use wasmill_state::ttl::read::PageBound;

use super::generated::wasmill::function::keyed_state::{Host, MapEntry};
use super::imports::names;
use super::{Data, trap};
use crate::journal::keys::NONE;
use crate::journal::overlay::Address;
use crate::journal::scope::PAGE_BYTES_MAX;

type Result<T> = wasmtime::Result<T>;

const VALUE: &[StateKind] = &[StateKind::Value];
const LIST: &[StateKind] = &[StateKind::List];
const MAP: &[StateKind] = &[StateKind::Map];
const ACCUMULATOR: &[StateKind] = &[StateKind::Reducing, StateKind::Aggregating];

/// The slot of a declared state of one of the kinds.
fn open(data: &mut Data, name: &str, kinds: &[StateKind], verb: &str) -> Result<u32> {
    let scope = &mut data.host;
    scope.count_call().map_err(trap)?;
    if scope.states().is_empty() && !scope.description().state.is_empty() {
        return Err(trap(format!(
            "{verb}: `migrate` is given the bytes of a state alone, and reaches no other"
        )));
    }
    let Some(slot) = scope.states().iter().position(|state| state.name == name) else {
        let shown: String = name.chars().take(64).collect();
        return Err(trap(format!(
            "{verb}: state `{}` is not declared; `describe` declares {}",
            shown.escape_debug(),
            names(scope.states().iter().map(|state| state.name.as_str()))
        )));
    };
    scope.state(slot as u32, kinds, verb).map_err(trap)?;
    Ok(slot as u32)
}

/// The place of a slot of one of the kinds for the current key.
fn at(data: &mut Data, slot: u32, kinds: &[StateKind], verb: &str) -> Result<Address> {
    let scope = &mut data.host;
    scope.count_call().map_err(trap)?;
    scope.state(slot, kinds, verb).map_err(trap)?;
    let key = scope.record.key;
    if !scope.keys.contains(key, NONE) {
        return Err(trap(format!(
            "{verb}: keyed state exists only while a keyed record or a timer is processed"
        )));
    }
    Ok(Address {
        slot,
        key,
        namespace: scope.namespace_of(slot),
    })
}

fn check(data: &Data, what: &str, bytes: &[u8]) -> Result<()> {
    data.host.check_size(what, bytes.len()).map_err(trap)
}

fn check_all(data: &Data, elements: &[Vec<u8>]) -> Result<()> {
    elements
        .iter()
        .try_for_each(|element| check(data, "a list element", element))
}

/// No more than is asked for: of a state with time to live a read may remove what it gives.
fn page_of(bytes_max: usize, entries_max: usize) -> PageBound {
    PageBound {
        entries_max,
        bytes_max: PAGE_BYTES_MAX.min(bytes_max),
    }
}

/// Elements from `start` on: `max` of them, or as many as the limit for one result holds.
fn list_elements(
    data: &mut Data,
    address: Address,
    start: u64,
    max: usize,
    whole: bool,
) -> Result<Vec<Vec<u8>>> {
    let limit = data.host.limits().output_bytes_max;
    let (mut elements, mut bytes) = (Vec::new(), 0usize);
    while elements.len() < max {
        let next = start + elements.len() as u64;
        let Page { entries, done } = data
            .host
            .list_page(address, next, page_of(limit, max - elements.len()))
            .map_err(trap)?;
        let is_last = done || entries.is_empty();
        for (_, element) in entries.into_iter().take(max - elements.len()) {
            bytes += element.len() + 8;
            if bytes > limit && !elements.is_empty() {
                if whole {
                    data.host.hit_output();
                    return Err(trap(format!(
                        "list-get: the list exceeds the limit of {limit} bytes for one result: read it by list-page"
                    )));
                }
                return Ok(elements);
            }
            elements.push(element);
        }
        if is_last {
            break;
        }
    }
    Ok(elements)
}

/// Entries after `after`: `max` of them, or as many as the limit for one result holds.
fn map_entries(
    data: &mut Data,
    address: Address,
    after: Option<Vec<u8>>,
    max: usize,
) -> Result<Vec<MapEntry>> {
    let limit = data.host.limits().output_bytes_max;
    let (mut entries, mut bytes, mut after) = (Vec::<MapEntry>::new(), 0usize, after);
    while entries.len() < max {
        let page = data
            .host
            .map_page(address, after.as_deref(), page_of(limit, max - entries.len()))
            .map_err(trap)?;
        let is_last = page.done || page.entries.is_empty();
        for (key, value) in page.entries.into_iter().take(max - entries.len()) {
            bytes += key.len() + value.len() + 16;
            if bytes > limit && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push(MapEntry { key, value });
        }
        after = entries.last().map(|entry| entry.key.clone());
        if is_last {
            break;
        }
    }
    Ok(entries)
}

impl Host for Data {
    fn open_value(&mut self, name: String) -> Result<u32> {
        open(self, &name, VALUE, "open-value")
    }

    fn value_get(&mut self, slot: u32) -> Result<Option<Vec<u8>>> {
        let address = at(self, slot, VALUE, "value-get")?;
        self.host.value(address).map_err(trap)
    }

    fn value_set(&mut self, slot: u32, value: Vec<u8>) -> Result<()> {
        let address = at(self, slot, VALUE, "value-set")?;
        check(self, "a value", &value)?;
        self.host.set_value(address, Some(value)).map_err(trap)
    }

    fn value_clear(&mut self, slot: u32) -> Result<()> {
        let address = at(self, slot, VALUE, "value-clear")?;
        self.host.set_value(address, None).map_err(trap)
    }

    fn open_list(&mut self, name: String) -> Result<u32> {
        open(self, &name, LIST, "open-list")
    }

    fn list_add(&mut self, slot: u32, value: Vec<u8>) -> Result<()> {
        let address = at(self, slot, LIST, "list-add")?;
        check(self, "a list element", &value)?;
        self.host.list_append(address, value).map_err(trap)
    }

    fn list_add_all(&mut self, slot: u32, values: Vec<Vec<u8>>) -> Result<()> {
        let address = at(self, slot, LIST, "list-add-all")?;
        check_all(self, &values)?;
        values
            .into_iter()
            .try_for_each(|value| self.host.list_append(address, value))
            .map_err(trap)
    }

    fn list_update(&mut self, slot: u32, values: Vec<Vec<u8>>) -> Result<()> {
        let address = at(self, slot, LIST, "list-update")?;
        check_all(self, &values)?;
        self.host.list_replace(address, values).map_err(trap)
    }

    fn list_page(&mut self, slot: u32, start: u32, max: u32) -> Result<Vec<Vec<u8>>> {
        let address = at(self, slot, LIST, "list-page")?;
        list_elements(self, address, start.into(), max as usize, false)
    }

    fn list_get(&mut self, slot: u32) -> Result<Vec<Vec<u8>>> {
        let address = at(self, slot, LIST, "list-get")?;
        list_elements(self, address, 0, usize::MAX, true)
    }

    fn list_clear(&mut self, slot: u32) -> Result<()> {
        let address = at(self, slot, LIST, "list-clear")?;
        self.host.list_replace(address, Vec::new()).map_err(trap)
    }

    fn open_map(&mut self, name: String) -> Result<u32> {
        open(self, &name, MAP, "open-map")
    }

    fn map_get(&mut self, slot: u32, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let address = at(self, slot, MAP, "map-get")?;
        self.host.map_value(address, &key).map_err(trap)
    }

    fn map_put(&mut self, slot: u32, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let address = at(self, slot, MAP, "map-put")?;
        check(self, "a map key", &key)?;
        check(self, "a map value", &value)?;
        self.host.map_put(address, key, Some(value)).map_err(trap)
    }

    fn map_remove(&mut self, slot: u32, key: Vec<u8>) -> Result<()> {
        let address = at(self, slot, MAP, "map-remove")?;
        self.host.map_put(address, key, None).map_err(trap)
    }

    fn map_contains(&mut self, slot: u32, key: Vec<u8>) -> Result<bool> {
        let address = at(self, slot, MAP, "map-contains")?;
        Ok(self.host.map_value(address, &key).map_err(trap)?.is_some())
    }

    fn map_is_empty(&mut self, slot: u32) -> Result<bool> {
        let address = at(self, slot, MAP, "map-is-empty")?;
        self.host.map_is_empty(address).map_err(trap)
    }

    fn map_entries(&mut self, slot: u32, after: Option<Vec<u8>>, max: u32) -> Result<Vec<MapEntry>> {
        let address = at(self, slot, MAP, "map-entries")?;
        map_entries(self, address, after, max as usize)
    }

    fn map_keys(&mut self, slot: u32, after: Option<Vec<u8>>, max: u32) -> Result<Vec<Vec<u8>>> {
        let address = at(self, slot, MAP, "map-keys")?;
        let entries = map_entries(self, address, after, max as usize)?;
        Ok(entries.into_iter().map(|entry| entry.key).collect())
    }

    fn map_clear(&mut self, slot: u32) -> Result<()> {
        let address = at(self, slot, MAP, "map-clear")?;
        self.host.map_clear(address).map_err(trap)
    }

    fn open_accumulator(&mut self, name: String) -> Result<u32> {
        open(self, &name, ACCUMULATOR, "open-accumulator")
    }

    fn accumulator_get(&mut self, slot: u32) -> Result<Option<Vec<u8>>> {
        let address = at(self, slot, ACCUMULATOR, "accumulator-get")?;
        self.host.value(address).map_err(trap)
    }

    fn accumulator_set(&mut self, slot: u32, accumulator: Vec<u8>) -> Result<()> {
        let address = at(self, slot, ACCUMULATOR, "accumulator-set")?;
        check(self, "an accumulator", &accumulator)?;
        let state = self
            .host
            .state(slot, ACCUMULATOR, "accumulator-set")
            .map_err(trap)?;
        if state.reduce.is_some() && accumulator.len() != 8 {
            return Err(trap(format!(
                "accumulator-set: state `{}` holds 8 bytes for its built-in reducer, not {}",
                state.name,
                accumulator.len()
            )));
        }
        self.host.set_value(address, Some(accumulator)).map_err(trap)
    }

    fn accumulator_add(&mut self, slot: u32, element: Vec<u8>) -> Result<()> {
        let address = at(self, slot, ACCUMULATOR, "accumulator-add")?;
        let state = self
            .host
            .state(slot, ACCUMULATOR, "accumulator-add")
            .map_err(trap)?;
        let Some(reduce) = state.reduce else {
            return Err(trap(format!(
                "accumulator-add: state `{}` declares no built-in `reduce`: read, combine and set it",
                state.name
            )));
        };
        self.host.fold(address, reduce, &element).map_err(trap)
    }

    fn accumulator_clear(&mut self, slot: u32) -> Result<()> {
        let address = at(self, slot, ACCUMULATOR, "accumulator-clear")?;
        self.host.set_value(address, None).map_err(trap)
    }
}
