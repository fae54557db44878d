//! Functions that each do one thing that a host must survive: `README.md` lists them.
//!
//! On the bare frame world, for the SDK would not let a function do most of this.
#![cfg(target_arch = "wasm32")] // The names of its exports are none that a native linker takes.

mod answer;
mod catalogue;

#[allow(unsafe_code)] // Generated.
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "frame", pub_export_macro: true });
}

use std::cell::RefCell;

use answer::{ANSWER_HEADER, Answer, rows, u32_at};
use bindings::exports::wasmill::function::frame_function::Guest;
use bindings::wasmill::function::frame_host;

const UNKNOWN: u32 = 1_000_000;

#[derive(Default, Clone)]
struct Opened {
    function: String,
    request: String,
}

thread_local! {
    static OPENED: RefCell<Opened> = RefCell::default();
}

struct Component;

impl Guest for Component {
    fn describe() -> String {
        catalogue::describe()
    }

    fn open(request: String) -> Result<(), String> {
        let function = answer::text_field(&request, "function")
            .unwrap_or_default()
            .to_owned();
        match function.as_str() {
            "open-trap" => panic!("hostile on purpose"),
            "open-loop" => spin(),
            "open-error" => return Err("hostile open error".to_owned()),
            _ => {}
        }
        OPENED.set(Opened { function, request });
        Ok(())
    }

    fn call(frame: Vec<u8>) -> Result<Vec<u8>, String> {
        let opened = OPENED.with_borrow(Opened::clone);
        misbehave(&opened, &frame)
            .or_else(|| malformed(&opened.function, &frame))
            .or_else(|| lying(&opened, &frame))
            .unwrap_or_else(|| Ok(pass(&opened.function, &frame)))
    }

    fn snapshot() -> Result<Vec<u8>, String> {
        match OPENED.with_borrow(|opened| opened.function.clone()).as_str() {
            "snapshot-trap" => panic!("hostile on purpose"),
            "snapshot-error" => Err("hostile snapshot error".to_owned()),
            "snapshot-garbage" => Ok(vec![0xA5; 16]),
            _ => Ok(Vec::new()),
        }
    }

    fn restore(_snapshot: Vec<u8>) -> Result<(), String> {
        match OPENED.with_borrow(|opened| opened.function.clone()).as_str() {
            "restore-error" => Err("hostile restore error".to_owned()),
            _ => Ok(()),
        }
    }

    fn close() -> Result<(), String> {
        match OPENED.with_borrow(|opened| opened.function.clone()).as_str() {
            "close-trap" => panic!("hostile on purpose"),
            "close-error" => Err("hostile close error".to_owned()),
            _ => Ok(()),
        }
    }
}

type Reply = Option<Result<Vec<u8>, String>>;

/// Every record as it is, but for the poisonous.
fn pass(function: &str, frame: &[u8]) -> Vec<u8> {
    let mut answer = Answer::default();
    let mut count = 0;
    for (index, value) in rows(frame).into_iter().enumerate() {
        assert!(function != "poison" || value != b"poison", "hostile on purpose");
        answer.row(0, index as u32, value);
        count += 1;
    }
    answer.finish(count)
}

fn spin() -> ! {
    let mut steps = 0_u64;
    loop {
        steps = std::hint::black_box(steps.wrapping_add(1));
    }
}

#[allow(unconditional_recursion)] // On purpose.
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[(depth % 64) as usize]
}

/// What never returns, or floods.
fn misbehave(opened: &Opened, frame: &[u8]) -> Reply {
    match opened.function.as_str() {
        "trap" => panic!("hostile on purpose"),
        "loop" => spin(),
        "allocate" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        "recurse" => Some(Err(recurse(0).to_string())),
        "grow-table" => {
            for n in 0_u64.. {
                let mut request = vec![6, 0, 0, 0, 1, 0, 0, 0];
                request.extend_from_slice(format!("hostile_{n}").as_bytes());
                if let Err(error) = frame_host::host_call(&request) {
                    return Some(Err(error));
                }
            }
            None
        }
        "log-flood" => {
            let line = "x".repeat(1 << 10);
            for _ in 0..100_000 {
                frame_host::log(2, &line);
            }
            Some(Ok(pass("pass", frame)))
        }
        "emit-flood" => loop {
            let mut request = vec![7, 0, 0, 0];
            answer::push_row(&mut request, 0, 0, &[b'x'; 64 << 10]);
            if let Err(error) = frame_host::host_call(&request) {
                return Some(Err(error));
            }
        },
        "call-error" => Some(Err("hostile call error".to_owned())),
        "host-call-garbage" => Some(host_call(&[200, 0, 0, 0, 1, 2, 3])),
        "host-call-key-unknown" => {
            let mut request = vec![2, 0, 0, 0];
            for field in [0, 1, UNKNOWN, u32::MAX, 0] {
                request.extend_from_slice(&field.to_le_bytes());
            }
            Some(host_call(&request))
        }
        _ => None,
    }
}

/// The host's refusal as the call's own error; an empty answer where it did not refuse.
fn host_call(request: &[u8]) -> Result<Vec<u8>, String> {
    frame_host::host_call(request).map(|_| Vec::new())
}

/// Answers that are no answers.
fn malformed(function: &str, frame: &[u8]) -> Reply {
    let count = u32_at(frame, 4);
    let mut answer = Answer::default();
    answer.row(0, 0, b"record");
    let mut bytes = answer.finish(count);
    match function {
        "answer-empty" => bytes.clear(),
        "answer-garbage" => bytes = vec![0xA5; 64],
        "answer-version" => bytes[0] = 9,
        "answer-section-outside" => {
            bytes[ANSWER_HEADER + 8..ANSWER_HEADER + 12].copy_from_slice(&UNKNOWN.to_le_bytes());
        }
        "answer-section-unknown" => {
            bytes[ANSWER_HEADER..ANSWER_HEADER + 4].copy_from_slice(&99_u32.to_le_bytes())
        }
        "answer-row-truncated" => {
            let length = u32_at(&bytes, ANSWER_HEADER + 8) - 3;
            bytes[ANSWER_HEADER + 8..ANSWER_HEADER + 12].copy_from_slice(&length.to_le_bytes());
        }
        "answer-row-lies" => {
            let row = ANSWER_HEADER + 12;
            bytes[row + 28..row + 32].copy_from_slice(&UNKNOWN.to_le_bytes());
        }
        "consumed-none" => bytes[4..8].fill(0),
        "consumed-too-many" => bytes[4..8].copy_from_slice(&(count + 1).to_le_bytes()),
        _ => return None,
    }
    Some(Ok(bytes))
}

/// Answers that are well formed and untrue.
fn lying(opened: &Opened, frame: &[u8]) -> Reply {
    let count = u32_at(frame, 4);
    let number = |name| answer::number_field(&opened.request, name);
    let mut answer = Answer::default();
    match opened.function.as_str() {
        "error-bad-record" => answer.error(0, 1, b"hostile bad record"),
        "error-retry" => answer.error(0, 2, b"hostile retry"),
        "error-failed" => answer.error(0, 3, b"hostile failed"),
        "error-message-huge" => answer.error(0, 1, &b"huge\x07\x1b[31m\n".repeat(8 << 20 >> 3)[..8 << 20]),
        "error-of-unknown-row" => answer.error(UNKNOWN, 1, b"hostile"),
        "error-kind-unknown" => answer.error(0, 9, b"hostile"),
        "output-undeclared" => answer.side_row(7, 0, b"record"),
        "output-cause-unknown" => answer.row(0, UNKNOWN, b"record"),
        "output-oversized" => answer.row(0, 0, &vec![b'x'; number("bytes").unwrap_or(64 << 20) as usize]),
        "output-many" => (0..number("rows").unwrap_or(1_000_000)).for_each(|_| answer.row(0, 0, b"")),
        "state-undeclared" => answer.section(18, &answer::words(&[9, 0])),
        "state-count-lies" => {
            let keys = u32_at(frame, 24) + 1;
            let mut block = answer::words(&[0, keys]);
            block.resize(8 + keys as usize, 1);
            answer.section(18, &block);
        }
        "state-status-unknown" => {
            let keys = u32_at(frame, 24);
            let mut block = answer::words(&[0, keys]);
            block.resize(8 + keys as usize, 7);
            answer.section(18, &block);
        }
        // length, row, slot, namespace, operation, map key length
        "write-undeclared" => answer.section(20, &answer::words(&[24, 0, 9, u32::MAX, 2, 0])),
        "write-truncated" => answer.section(20, &answer::words(&[24, 0, 0])),
        "timer-row-unknown" => answer.section(19, &answer::words(&[UNKNOWN, 0x0101, u32::MAX, 0, 5, 0])),
        "timer-domain-unknown" => answer.section(19, &answer::words(&[0, 0x0501, u32::MAX, 0, 5, 0])),
        "metric-unknown" => answer.section(23, &answer::words(&[UNKNOWN, 1, 0, 0])),
        _ => return None,
    }
    Some(Ok(answer.finish(count)))
}

#[allow(unsafe_code)] // Generated.
mod exported {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
