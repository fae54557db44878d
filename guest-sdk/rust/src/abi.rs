//! The component's edge: the exports and imports of the world `frame`, by the canonical ABI.
//!
//! This is what `wit-bindgen` 0.63 makes of `wit/frame.wit`, written out: the world is small, frozen
//! and the same for every function, and so answers can stay in a buffer that outlives the call rather
//! than be copied and freed. `COMPONENT_TYPE` is the world itself in binary form.
//!
//! Invariant: the instance is entered by one export at a time, so that what a pointer returned by one
//! export points to is changed by the next export at the earliest, when the host has copied it.
#![allow(unsafe_code)] // The canonical ABI is pointers: there is no safe way to be a component.

use std::alloc::Layout;
use std::cell::RefCell;

use crate::instance::{Instance, Registration};

#[link(wasm_import_module = "wasmill:function/frame-host@1.0.0")]
unsafe extern "C" {
    #[link_name = "host-call"]
    fn import_host_call(request: *const u8, length: usize, result: *mut Returned);
    #[link_name = "log"]
    fn import_log(level: u32, message: *const u8, length: usize);
}

/// A `result` whose cases are a list, a string or nothing; a plain string is its last two words. An `option` of a list is laid
/// out alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Returned {
    tag: u32,
    start: *const u8,
    length: usize,
}

impl Returned {
    const EMPTY: Self = Self {
        tag: 0,
        start: std::ptr::null(),
        length: 0,
    };
}

struct Component {
    instance: Instance,
    /// What was returned last, where it does not lie in the instance.
    kept: Vec<u8>,
    /// The same of a migration: the values, and where each lies.
    migrated: (Vec<Option<Vec<u8>>>, Vec<Returned>),
    returned: Returned,
}

thread_local! {
    static COMPONENT: RefCell<Component> = RefCell::new(Component {
        instance: Instance::default(),
        kept: Vec::new(),
        migrated: (Vec::new(), Vec::new()),
        returned: Returned::EMPTY,
    });
}

pub(crate) fn host_call(request: &[u8]) -> Result<Vec<u8>, String> {
    let mut returned = Returned::EMPTY;
    // SAFETY: the host reads `request` during the call only, and writes a whole `Returned` whose list it
    // allocated by `cabi_realloc`: its capacity is its length, and it is ours.
    let bytes = unsafe {
        import_host_call(request.as_ptr(), request.len(), &raw mut returned);
        if returned.length == 0 {
            Vec::new()
        } else {
            Vec::from_raw_parts(returned.start.cast_mut(), returned.length, returned.length)
        }
    };
    match returned.tag & 0xFF {
        0 => Ok(bytes),
        _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

pub(crate) fn log(level: u32, message: &str) {
    // SAFETY: the host reads `message` during the call only.
    unsafe { import_log(level, message.as_ptr(), message.len()) }
}

/// Runs an export and leaves what it returns where the host will find it.
fn export(f: impl FnOnce(&mut Component) -> Result<(*const u8, usize), String>) -> *const Returned {
    COMPONENT.with_borrow_mut(|component| {
        let (tag, (start, length)) = match f(component) {
            Ok(ok) => (0, ok),
            Err(message) => {
                component.kept = message.into_bytes();
                (1, (component.kept.as_ptr(), component.kept.len()))
            }
        };
        component.returned = Returned { tag, start, length };
        &raw const component.returned
    })
}

/// `describe: func() -> string`, which has no case: its pointer and length stand alone.
pub fn describe(registrations: &[Registration]) -> *const u8 {
    let returned = export(|component| {
        component.kept = Instance::describe(registrations).into_bytes();
        Ok((component.kept.as_ptr(), component.kept.len()))
    });
    // SAFETY: `start` lies within the `Returned` that `export` points to.
    unsafe { (&raw const (*returned).start).cast() }
}

/// `open: func(request: string) -> result<_, string>`.
///
/// # Safety
/// `start` and `length` are an argument that the host lowered.
pub unsafe fn open(registrations: &[Registration], start: *mut u8, length: usize) -> *const Returned {
    // SAFETY: as this function's.
    let request = unsafe { argument(start, length) };
    export(|component| {
        let request = std::str::from_utf8(&request).map_err(|error| error.to_string())?;
        component.instance.open(registrations, request)?;
        Ok((std::ptr::null(), 0))
    })
}

/// `call: func(frame: list<u8>) -> result<list<u8>, string>`.
///
/// # Safety
/// `start` and `length` are an argument that the host lowered.
pub unsafe fn call(start: *mut u8, length: usize) -> *const Returned {
    // SAFETY: as this function's.
    let frame = unsafe { argument(start, length) };
    export(|component| {
        let answer = component.instance.call(&frame)?;
        Ok((answer.as_ptr(), answer.len()))
    })
}

/// `snapshot: func() -> result<list<u8>, string>`.
pub fn snapshot() -> *const Returned {
    export(|component| {
        component.kept = component.instance.snapshot()?;
        Ok((component.kept.as_ptr(), component.kept.len()))
    })
}

/// `restore: func(snapshot: list<u8>) -> result<_, string>`.
///
/// # Safety
/// `start` and `length` are an argument that the host lowered.
pub unsafe fn restore(start: *mut u8, length: usize) -> *const Returned {
    // SAFETY: as this function's.
    let snapshot = unsafe { argument(start, length) };
    export(|component| {
        component.instance.restore(&snapshot)?;
        Ok((std::ptr::null(), 0))
    })
}

/// A map-entry of an argument.
#[repr(C)]
pub struct Entry {
    key: *mut u8,
    key_length: usize,
    value: *mut u8,
    value_length: usize,
}

/// `migrate: func(function: string, state: string, from-version: u32, to-version: u32, entries: list<map-entry>) ->
/// result<list<option<list<u8>>>, string>`.
///
/// # Safety
/// The pairs of pointer and length are arguments that the host lowered.
pub unsafe fn migrate(
    registrations: &[Registration],
    (function, state): ((*mut u8, usize), (*mut u8, usize)),
    from: u32,
    (entries, length): (*mut Entry, usize),
) -> *const Returned {
    // SAFETY: as this function's; `cabi_realloc` made the list with the size and alignment of its elements.
    let (function, state, entries) = unsafe {
        let entries = match length {
            0 => Vec::new(),
            _ => Vec::from_raw_parts(entries, length, length),
        };
        let entry = |entry: Entry| {
            (
                argument(entry.key, entry.key_length),
                argument(entry.value, entry.value_length),
            )
        };
        let entries: Vec<(Vec<u8>, Vec<u8>)> = entries.into_iter().map(entry).collect();
        (
            argument(function.0, function.1),
            argument(state.0, state.1),
            entries,
        )
    };
    export(|component| {
        let function = std::str::from_utf8(&function).map_err(|error| error.to_string())?;
        let state = std::str::from_utf8(&state).map_err(|error| error.to_string())?;
        let entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
        let values = Instance::migrate(registrations, function, state, from, entries)?;
        let place = |value: &Option<Vec<u8>>| match value {
            Some(value) => Returned {
                tag: 1,
                start: value.as_ptr(),
                length: value.len(),
            },
            None => Returned::EMPTY,
        };
        let places: Vec<Returned> = values.iter().map(place).collect();
        component.migrated = (values, places);
        let places = &component.migrated.1;
        Ok((places.as_ptr().cast(), places.len()))
    })
}

/// `close: func() -> result<_, string>`.
pub fn close() -> *const Returned {
    export(|component| {
        component.instance.close()?;
        Ok((std::ptr::null(), 0))
    })
}

/// Takes an argument, which the host allocated by `cabi_realloc`.
///
/// # Safety
/// `start` and `length` are an argument that the host lowered, and nobody else takes it.
unsafe fn argument(start: *mut u8, length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: `cabi_realloc` made it by the global allocator with this length and alignment 1.
    unsafe { Vec::from_raw_parts(start, length, length) }
}

/// Allocates what the host lowers into the component.
///
/// # Safety
/// As of the canonical ABI's `realloc`.
pub unsafe fn realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    let allocated = match Layout::from_size_align(old_size.max(new_size), align) {
        // SAFETY: the layouts are valid, and `old` came from here with `old_size` and `align`.
        Ok(_) if new_size > 0 => unsafe {
            if old_size == 0 {
                std::alloc::alloc(Layout::from_size_align_unchecked(new_size, align))
            } else {
                std::alloc::realloc(old, Layout::from_size_align_unchecked(old_size, align), new_size)
            }
        },
        _ => return align as *mut u8,
    };
    if allocated.is_null() {
        // Out of memory: trap, as any other allocation would.
        std::process::abort();
    }
    allocated
}

/// The world `frame` of `wit/frame.wit` as `wit-component` encodes it; the linker makes a component by it.
pub const COMPONENT_TYPE: [u8; COMPONENT_TYPE_BYTES.len()] = *COMPONENT_TYPE_BYTES;

#[allow(clippy::octal_escapes)] // It is binary.
const COMPONENT_TYPE_BYTES: &[u8; 451] = b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07\xc7\x02\x01A\x02\x01\
A\x04\x01B\x06\x01p}\x01j\x01\0\x01s\x01@\x01\x07request\0\0\x01\x04\0\x09host-c\
all\x01\x02\x01@\x02\x05levely\x07messages\x01\0\x04\0\x03log\x01\x03\x03\0!wasm\
ill:function/frame-host@1.0.0\x05\0\x01B\x0f\x01@\0\0s\x04\0\x08describe\x01\0\x01\
j\0\x01s\x01@\x01\x07requests\0\x01\x04\0\x04open\x01\x02\x01p}\x01j\x01\x03\x01\
s\x01@\x01\x05frame\x03\0\x04\x04\0\x04call\x01\x05\x01@\0\0\x04\x04\0\x08snapsh\
ot\x01\x06\x01@\x01\x08snapshot\x03\0\x01\x04\0\x07restore\x01\x07\x01@\0\0\x01\x04\
\0\x05close\x01\x08\x04\0%wasmill:function/frame-function@1.0.0\x05\x01\x04\0\x1c\
wasmill:function/frame@1.0.0\x04\0\x0b\x0b\x01\0\x05frame\x03\0\0\0G\x09producer\
s\x01\x0cprocessed-by\x02\x0dwit-component\x070.262.0\x10wit-bindgen-rust\x060.6\
3.0";

/// The world `migrating` of `wit/migration.wit` in the same way: the linker joins the two.
pub const MIGRATING_TYPE: [u8; MIGRATING_TYPE_BYTES.len()] = *MIGRATING_TYPE_BYTES;

#[allow(clippy::octal_escapes)] // It is binary.
const MIGRATING_TYPE_BYTES: &[u8; 490] = b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07\xea\x02\x01A\x02\x01\
A\x05\x01B\x08\x01q\x03\x0abad-record\x01s\0\x05retry\x01s\0\x06failed\x01s\0\x04\
\0\x05error\x03\0\0\x01p}\x01kx\x01r\x03\x03key\x02\x05value\x02\x09timestamp\x03\
\x04\0\x07element\x03\0\x04\x01r\x02\x03key\x02\x05value\x02\x04\0\x09map-entry\x03\
\0\x06\x03\0\x1cwasmill:function/types@1.0.0\x05\0\x02\x03\0\0\x09map-entry\x01B\
\x09\x02\x03\x02\x01\x01\x04\0\x09map-entry\x03\0\0\x01p\x01\x01p}\x01k\x03\x01p\
\x04\x01j\x01\x05\x01s\x01@\x05\x08functions\x05states\x0cfrom-versiony\x0ato-ve\
rsiony\x07entries\x02\0\x06\x04\0\x07migrate\x01\x07\x04\0 wasmill:function/migr\
ation@1.0.0\x05\x02\x04\0 wasmill:function/migrating@1.0.0\x04\0\x0b\x0f\x01\0\x09\
migrating\x03\0\0\0G\x09producers\x01\x0cprocessed-by\x02\x0dwit-component\x070.\
262.0\x10wit-bindgen-rust\x060.63.0";
