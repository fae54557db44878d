//! `buffering`: a flat-map with operator state of all three modes and raw state.

use std::cell::RefCell;

use crate::bindings::wasmill::function::{collector, operator_state};

/// Elements that one page asks for; few, so that tests read several pages.
const PAGE: u32 = 2;

#[derive(Default)]
struct Buffering {
    buffer_slot: u32,
    seen_slot: u32,
    setting_slot: u32,
    buffer: Vec<String>,
    seen: u64,
    setting: String,
    raw: String,
    is_restored: bool,
}

thread_local! {
    static STATE: RefCell<Buffering> = RefCell::default();
}

pub fn open() {
    STATE.with_borrow_mut(|state| {
        state.buffer_slot = operator_state::open_operator_list("buffer");
        state.seen_slot = operator_state::open_operator_list("seen");
        state.setting_slot = operator_state::open_operator_list("setting");
    });
}

fn elements(slot: u32) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let page = operator_state::operator_list_page(slot, all.len() as u32, PAGE);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn restore(restored: bool, raw: Vec<u8>, is_first: bool) {
    STATE.with_borrow_mut(|state| {
        state.is_restored = restored;
        state.buffer = elements(state.buffer_slot).into_iter().map(text).collect();
        state.seen = 0;
        if is_first {
            let seen = elements(state.seen_slot);
            let counts = seen.iter().filter_map(|bytes| bytes.as_slice().try_into().ok());
            state.seen = counts.map(u64::from_le_bytes).sum();
        }
        let mut setting = elements(state.setting_slot).into_iter();
        state.setting = setting.next().map(text).unwrap_or_default();
        state.raw = text(raw);
    });
}

pub fn snapshot() -> Vec<u8> {
    STATE.with_borrow(|state| {
        for slot in [state.buffer_slot, state.seen_slot, state.setting_slot] {
            operator_state::operator_list_clear(slot);
        }
        for element in &state.buffer {
            operator_state::operator_list_add(state.buffer_slot, element.as_bytes());
        }
        operator_state::operator_list_add(state.seen_slot, &state.seen.to_le_bytes());
        if !state.setting.is_empty() {
            operator_state::operator_list_add(state.setting_slot, state.setting.as_bytes());
        }
        state.raw.clone().into_bytes()
    })
}

pub fn flat_map(value: &str) {
    STATE.with_borrow_mut(|state| {
        if value == "?" {
            let Buffering {
                buffer,
                seen,
                setting,
                raw,
                is_restored,
                ..
            } = state;
            let buffer = buffer.join(",");
            let line =
                format!("buffer=[{buffer}] seen={seen} setting={setting} raw={raw} restored={is_restored}");
            collector::emit(line.as_bytes());
        } else if let Some(setting) = value.strip_prefix('=') {
            setting.clone_into(&mut state.setting);
        } else {
            state.seen += 1;
            value.clone_into(&mut state.raw);
            state.buffer.push(value.to_owned());
            if state.buffer.len() == 3 {
                collector::emit(state.buffer.join("+").as_bytes());
                state.buffer.clear();
            }
        }
    });
}
