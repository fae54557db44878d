//! What can be told of an upload by its first bytes, so that the error can say what it is instead.
//!
//! Everything else about its bytes is the compiler's to judge, in its own process.

use wasmtime::Engine;

use crate::failure::printable;

const MAGIC: &[u8] = b"\0asm";
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
/// Bytes of something unknown that an error shows.
const SHOWN_MAX: usize = 16;

/// Whether the bytes claim to be a component; the error says what they are and what to do.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("the upload is empty: send the bytes of a component (a .wasm file)".to_owned());
    }
    if Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err(
            "this is machine code (a precompiled .cwasm file or a native library): upload the component itself, which the host compiles on its own"
                .to_owned(),
        );
    }
    let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.get(..4));
    match version {
        Some(version) if version == COMPONENT => Ok(()),
        Some(version) if version == CORE_MODULE => Err(
            "this is a core WebAssembly module, not a component: build for the target wasm32-wasip2, or turn it into one by `wasm-tools component new module.wasm -o component.wasm`"
                .to_owned(),
        ),
        Some(version) => Err(format!(
            "this is WebAssembly of an unknown version ({}): build the component with current tools (binary version 0x0d, layer 1)",
            printable(version, SHOWN_MAX)
        )),
        None if is_text(bytes) => Err(
            "this is WebAssembly text: translate it by `wasm-tools parse component.wat -o component.wasm` and upload that"
                .to_owned(),
        ),
        None => Err(format!(
            "this is no WebAssembly component: it starts with {}",
            printable(bytes, SHOWN_MAX)
        )),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    ["(component", "(module", "(;", ";;"]
        .iter()
        .any(|start| text.starts_with(start.as_bytes()))
}

/// What to do about an error of the compiler, where more can be said than it does.
pub(super) fn hint(message: &str) -> &'static str {
    if message.contains("async") {
        ": asynchronous components are not supported; export and import ordinary functions"
    } else if message.contains("unexpected end") || message.contains("section range") {
        ": the file seems to be cut short; upload it again"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_told_by_what_it_is() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "the upload is empty"),
            (b"\0asm\x01\0\0\0", "core WebAssembly module, not a component"),
            (b"\0asm\x02\0\0\0", "unknown version (\"\\u{2}\\0\\0\\0\")"),
            (b"\0asm\x0d\0", "starts with \"\\0asm\\r\\0\""),
            (b"\x7fELF and so on", "machine code"),
            (b"  (component)", "WebAssembly text"),
            (b";; a comment", "WebAssembly text"),
            (
                b"#!/bin/sh\nrm -rf everything",
                "starts with \"#!/bin/sh\\nrm -rf\"… (27 bytes)",
            ),
        ];
        for (bytes, expected) in cases {
            let message = check_header(bytes).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        check_header(b"\0asm\x0d\0\x01\0").unwrap();
    }
}
