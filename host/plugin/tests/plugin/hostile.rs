//! Uploads that are wrong or want harm: each is refused with the reason, the limit by its name, and what
//! to do; nothing of it stays.

use std::time::{Duration, Instant};

use wasmill_plugin::registry::error::UploadError;
use wasmill_plugin::sandbox::limits::HostLimits;

use super::components::{COUNT, Frame, good, typed_map};
use super::open_with;

/// Uploads, expects a refusal, and checks that the registry is as it was and goes on.
fn refused(bytes: &[u8]) -> String {
    refused_with(bytes, HostLimits::default())
}

fn refused_with(bytes: &[u8], limits: HostLimits) -> String {
    let data = tempfile::tempdir().unwrap();
    let registry = open_with(data.path(), limits.clone());
    let error = registry.upload("hostile", bytes).unwrap_err();
    assert!(
        !matches!(error, UploadError::Host(_)),
        "the host's fault: {error}"
    );
    assert!(registry.list().is_empty());
    for dir in ["plugins", "compiled"] {
        let left: Vec<_> = std::fs::read_dir(data.path().join(dir))
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "{left:?} was left behind");
    }
    error.to_string()
}

fn core(text: &str) -> String {
    refused(
        &Frame {
            describe: Some(text),
            ..Frame::default()
        }
        .bytes(),
    )
}

fn imports(text: &str) -> String {
    refused(
        &Frame {
            imports: text,
            ..Frame::default()
        }
        .bytes(),
    )
}

fn impatient() -> HostLimits {
    HostLimits {
        describe_ms_max: 100,
        ..HostLimits::default()
    }
}

#[test]
fn an_endless_loop_in_describe_ends_at_the_time_limit() {
    let endless = Frame {
        describe: Some("(loop $l (br $l)) (unreachable)"),
        ..Frame::default()
    };
    let started = Instant::now();
    let message = refused_with(&endless.bytes(), impatient());
    assert!(
        message.starts_with(
            "describe failed: the component did not return within 100 ms: look for an endless loop (limit describe-ms-max = 100)\n    at describe"
        ),
        "{message}"
    );
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_start_function_that_loops_ends_at_the_time_limit() {
    let endless = Frame {
        core: "(func $spin (loop $l (br $l))) (start $spin)",
        ..Frame::default()
    };
    let message = refused_with(&endless.bytes(), impatient());
    assert!(message.contains("did not return within 100 ms"), "{message}");
    assert!(message.contains("at spin"), "{message}");
}

#[test]
fn a_memory_bomb_stops_at_the_memory_limit() {
    let message = core("(loop $l (drop (memory.grow (i32.const 100))) (br $l)) (unreachable)");
    assert!(
        message.starts_with("describe failed: linear memory would grow to 26"),
        "{message}"
    );
    assert!(
        message.contains("bytes: look for a leak (limit memory-bytes-max = 268435456)\n    at describe"),
        "{message}"
    );
}

#[test]
fn a_memory_that_is_too_large_from_the_start_is_refused() {
    let large = Frame {
        memory: "65536",
        ..Frame::default()
    };
    let message = refused(&large.bytes());
    assert!(
        message
            .contains("would grow to 4294967296 bytes: look for a leak (limit memory-bytes-max = 268435456)"),
        "{message}"
    );
}

#[test]
fn a_table_bomb_stops_at_the_table_limit() {
    let bomb = Frame {
        core: "(table $t 10 funcref)",
        describe: Some(
            "(loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l)) (unreachable)",
        ),
        ..Frame::default()
    };
    let message = refused(&bomb.bytes());
    assert!(
        message.starts_with(
            "describe failed: tables would grow to 100010 elements: look for a leak (limit table-elements-max = 100000)"
        ),
        "{message}"
    );
}

#[test]
fn a_component_of_very_many_instances_is_refused() {
    let instances = "(core instance (instantiate $n))".repeat(300);
    let many = Frame {
        imports: &format!("(core module $n) {instances}"),
        ..Frame::default()
    };
    let message = refused(&many.bytes());
    assert!(
        message.contains(
            "instance count too high at 257: make the component of fewer parts (limit instances-max = 256)"
        ),
        "{message}"
    );
}

#[test]
fn endless_recursion_stops_at_the_stack_limit_with_a_bounded_backtrace() {
    let recursion = Frame {
        core: "(func $again (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 1)))",
        describe: Some("(call $again (i32.const 1))"),
        ..Frame::default()
    };
    let message = refused(&recursion.bytes());
    assert!(
        message.starts_with(
            "describe failed: the component's call stack is exhausted: look for endless recursion (limit stack-bytes-max = 1048576)\n    at again"
        ),
        "{message}"
    );
    assert_eq!(message.matches("\n    at ").count(), 32);
}

#[test]
fn a_trap_is_told_with_the_guests_backtrace() {
    let trap = Frame {
        core: "(func $_ZN5count5outer17h0123456789abcdefE (call $inner)) (func $inner (unreachable))",
        describe: Some("(call $_ZN5count5outer17h0123456789abcdefE) (unreachable)"),
        ..Frame::default()
    };
    let message = refused(&trap.bytes());
    assert_eq!(
        message,
        "describe failed: the component trapped: wasm trap: wasm `unreachable` instruction executed\n    at inner (module m)\n    at count::outer (module m)\n    at describe (module m)"
    );
}

#[test]
fn a_result_that_points_outside_of_memory_is_refused() {
    let message = core("(i32.store (i32.const 16) (i32.const -8)) (i32.const 16)");
    assert!(
        message.starts_with("describe failed: the component trapped: ") && message.contains("out of bounds"),
        "{message}"
    );
}

#[test]
fn a_result_that_is_no_text_is_refused() {
    let message = core("(i32.store (i32.const 1024) (i32.const -1)) (i32.const 16)");
    assert!(
        message.contains("the component trapped: invalid utf-8"),
        "{message}"
    );
}

#[test]
fn describe_must_not_call_imports() {
    let calls = Frame {
        imports: r#"(import "wasmill:function/frame-host@1.0.0" (instance $host
            (export "log" (func (param "level" u32) (param "message" string)))))
          (core module $lib (memory (export "memory") 1))
          (core instance $lib (instantiate $lib))
          (core func $log (canon lower (func $host "log") (memory (core memory $lib "memory"))))"#,
        core_imports: r#"(import "host" "log" (func $log (param i32 i32 i32)))"#,
        with: r#"(with "host" (instance (export "log" (func $log))))"#,
        describe: Some("(call $log (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 16)"),
        ..Frame::default()
    };
    let message = refused(&calls.bytes());
    assert!(
        message.starts_with(
            "describe failed: the component trapped: it called `wasmill:function/frame-host@1.0.0#log`, and must not call any import\n    at describe"
        ),
        "{message}"
    );
}

#[test]
fn describe_may_call_wasi_of_any_version_0_2() {
    let calls = Frame {
        imports: r#"(import "wasi:random/random@0.2.9" (instance $random
            (export "get-random-u64" (func (result u64)))))
          (core func $random (canon lower (func $random "get-random-u64")))"#,
        core_imports: r#"(import "host" "random" (func $random (result i64)))"#,
        with: r#"(with "host" (instance (export "random" (func $random))))"#,
        describe: Some("(drop (call $random)) (i32.const 16)"),
        ..Frame::default()
    };
    let data = tempfile::tempdir().unwrap();
    let registry = open_with(data.path(), HostLimits::default());
    registry.upload("random", &calls.bytes()).unwrap();
}

#[test]
fn describe_that_is_no_json_is_refused_with_the_place() {
    let message = refused(
        &Frame {
            json: "{\"version\":1,\"functions\":[}",
            ..Frame::default()
        }
        .bytes(),
    );
    assert_eq!(message, "describe: expected value at line 1 column 27");
}

#[test]
fn a_kind_of_function_that_does_not_exist_is_refused_without_moving_the_cursor() {
    let json = format!(
        r#"{{"version":1,"functions":[{{"name":"x","kind":"\u001b[2J{}"}}]}}"#,
        "y".repeat(10_000)
    );
    let message = refused(
        &Frame {
            json: &json,
            ..Frame::default()
        }
        .bytes(),
    );
    assert!(
        message.starts_with("describe: unknown variant `\\u{1b}[2Jyyy"),
        "{message}"
    );
    assert!(message.len() < 2000, "{} bytes", message.len());
}

#[test]
fn a_huge_description_is_refused() {
    let json = format!("\"{}\"", "x".repeat(2 * 1024 * 1024));
    let message = refused(
        &Frame {
            json: &json,
            ..Frame::default()
        }
        .bytes(),
    );
    assert!(
        message.starts_with("describe failed: it returned too much (limit describe-bytes-max = 1048576)"),
        "{message}"
    );
}

#[test]
fn a_typed_component_that_lies_about_its_kinds_is_refused() {
    let message = refused(&typed_map(COUNT));
    assert_eq!(
        message,
        "describe declares function `count`, for which the component must export `wasmill:function/process-function@1.0.0`, and it does not: include that world, or correct the description"
    );
}

#[test]
fn a_typed_component_that_says_it_buffers_must_be_checkpointed() {
    let message = refused(&typed_map(
        r#"{"version":1,"functions":[{"name":"m","kind":"map","operator-state":[{"name":"b"}]}]}"#,
    ));
    assert!(
        message.contains("must export `wasmill:function/checkpointed@1.0.0`"),
        "{message}"
    );
}

#[test]
fn an_export_of_another_type_is_refused_with_both_types() {
    let text = Frame::default().text().replace(
        r#"(func $call (param "frame" (list u8)) (result (result (list u8) (error string)))"#,
        r#"(func $call (param "frame" string) (result (result (list u8) (error string)))"#,
    );
    let message = refused(&wat::parse_str(text).unwrap());
    assert_eq!(
        message,
        "the export `call` of `wasmill:function/frame-function@1.0.0` must be `func(list<u8>) -> result<list<u8>, string>`, and is func(string) -> result<list<u8>, string>: build against wit/ of this host"
    );
}

#[test]
fn an_import_that_nobody_has_is_refused_by_name() {
    let message =
        imports(r#"(import "acme:secrets/store@1.0.0" (instance (export "read" (func (result string)))))"#);
    assert!(
        message
            .starts_with("the component imports `acme:secrets/store@1.0.0`, which the host does not offer"),
        "{message}"
    );
}

#[test]
fn the_network_is_refused_with_what_to_do() {
    let message = imports(r#"(import "wasi:http/types@0.2.0" (instance))"#);
    assert!(
        message.contains("components have no network: build without HTTP"),
        "{message}"
    );
}

#[test]
fn an_import_of_a_newer_version_names_the_function() {
    let message = imports(
        r#"(import "wasmill:function/collector@1.9.0" (instance
            (export "emit" (func (param "value" (list u8)))) (export "emit-all" (func))))"#,
    );
    assert!(
        message.contains(
            "`wasmill:function/collector@1.9.0`, whose function `emit-all` this host does not have"
        ),
        "{message}"
    );
    let message = imports(r#"(import "wasmill:function/collector@2.0.0" (instance))"#);
    assert!(
        message.contains("which version 1 of `wasmill:function` does not have"),
        "{message}"
    );
}

#[test]
fn an_import_of_another_type_is_refused_by_name() {
    let message = imports(
        r#"(import "wasmill:function/collector@1.0.0" (instance
            (export "emit" (func (param "value" string)))))"#,
    );
    assert!(
        message.starts_with("the component does not fit wit/ of this host: ")
            && message.contains("wasmill:function/collector@1.0.0")
            && message.contains("emit"),
        "{message}"
    );
}

#[test]
fn a_component_of_neither_family_is_told_what_is_expected() {
    let message = refused(&wat::parse_str("(component)").unwrap());
    assert!(
        message.starts_with(
            "the component exports nothing: expected `wasmill:function/frame-function@1.0.0` (the SDKs' world `frame`) or `wasmill:function/lifecycle@1.0.0`"
        ),
        "{message}"
    );
}

#[test]
fn a_core_module_is_refused_with_how_to_make_a_component() {
    let message = refused(&wat::parse_str("(module)").unwrap());
    assert!(
        message.contains("not a component") && message.contains("wasm-tools component new"),
        "{message}"
    );
}

#[test]
fn text_garbage_and_nothing_are_refused() {
    assert!(refused(Frame::default().text().as_bytes()).starts_with("this is WebAssembly text"));
    assert!(refused(b"").starts_with("the upload is empty"));
    assert_eq!(
        refused(b"PK\x03\x04 a zip file"),
        "this is no WebAssembly component: it starts with \"PK\\u{3}\\u{4} a zip file\""
    );
}

#[test]
fn garbage_with_a_components_first_bytes_is_refused() {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend((0..10_000u32).map(|i| ((i * 7919) >> 3) as u8));
    let message = refused(&bytes);
    assert!(message.starts_with("the component is not valid: "), "{message}");
}

#[test]
fn a_truncated_component_is_refused_at_every_length() {
    let bytes = good(1);
    for length in [9, 40, bytes.len() / 2, bytes.len() - 1] {
        let message = refused(&bytes[..length]);
        assert!(
            message.starts_with("the component is not valid: ")
                && message.ends_with("the file seems to be cut short; upload it again"),
            "{length}: {message}"
        );
    }
}

#[test]
fn machine_code_is_refused() {
    let engine = wasmill_plugin::engine::PluginEngine::shared().unwrap();
    let code = engine.engine().precompile_component(&good(1)).unwrap();
    let message = refused(&code);
    assert!(message.starts_with("this is machine code"), "{message}");
}

#[test]
fn an_asynchronous_component_is_refused() {
    let text = r#"(component
  (core module $m (func (export "run") (result i32) (i32.const 0))
    (func (export "cb") (param i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func (export "run") async
    (canon lift (core func $i "run") async (callback (core func $i "cb")))))"#;
    let message = refused(&wat::parse_str(text).unwrap());
    assert!(
        message.starts_with("the component is not valid: ")
            && message
                .ends_with("asynchronous components are not supported; export and import ordinary functions"),
        "{message}"
    );
}

#[test]
fn shared_memory_is_refused() {
    let text = r#"(component (core module (memory 1 2 shared)))"#;
    let message = refused(&wat::parse_str(text).unwrap());
    assert!(
        message.starts_with("the component is not valid: ") && message.contains("threads"),
        "{message}"
    );
}

/// Functions whose compilation takes far longer than their bytes suggest.
fn compile_bomb() -> Vec<u8> {
    let step = "(local.set 0 (i32.add (i32.mul (local.get 0) (local.get 1)) (i32.load (local.get 0)))) (if (local.get 0) (then (local.set 1 (local.get 0))))";
    let function = format!("(func (param i32 i32) {})", step.repeat(20_000));
    Frame {
        core: &function.repeat(2),
        ..Frame::default()
    }
    .bytes()
}

#[test]
fn a_compile_bomb_is_killed_at_the_time_limit() {
    let limits = HostLimits {
        compile_ms_max: 300,
        ..HostLimits::default()
    };
    let bomb = compile_bomb();
    let started = Instant::now();
    let message = refused_with(&bomb, limits);
    assert!(
        message.starts_with("compiling did not end within 300 ms: make the component smaller")
            && message.ends_with("(limit compile-ms-max = 300)"),
        "{message}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_compile_bomb_dies_at_the_limit_of_processor_time() {
    let limits = HostLimits {
        compile_cpu_seconds_max: 1,
        ..HostLimits::default()
    };
    let message = refused_with(&compile_bomb(), limits);
    assert!(
        message.starts_with("compiling needs more than 1 s of processor time: make the component smaller")
            && message.ends_with("(limit compile-cpu-seconds-max = 1)"),
        "{message}"
    );
}

#[test]
fn a_compile_bomb_dies_at_the_memory_limit() {
    let limits = HostLimits {
        compile_memory_bytes_max: 128 * 1024 * 1024,
        ..HostLimits::default()
    };
    let message = refused_with(&compile_bomb(), limits);
    assert!(
        message.starts_with("compiling needs more than 134217728 bytes of memory")
            && message.ends_with("(limit compile-memory-bytes-max = 134217728)"),
        "{message}"
    );
}

#[test]
fn an_upload_that_is_too_large_is_refused_before_it_is_looked_at() {
    let limits = HostLimits {
        upload_bytes_max: 1000,
        ..HostLimits::default()
    };
    let message = refused_with(&vec![0; 1001], limits);
    assert_eq!(
        message,
        "the component has 1001 bytes, and the limit upload-bytes-max is 1000: strip debug information, or raise the host's limit"
    );
}
