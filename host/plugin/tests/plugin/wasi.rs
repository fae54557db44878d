//! WASI with nothing behind it: what a guest reads is fixed, what it prints is a log line, and nothing
//! that it calls makes the host wait.

use std::time::{Duration, Instant};

use wasmill_plugin::failure::GuestError;
use wasmill_plugin::sandbox::limits::Limits;
use wasmill_plugin::sandbox::{CallBudget, Guest};

use super::guests::guest;

fn call_u64(guest: &mut Guest<()>) -> Result<u64, GuestError> {
    let instance = guest.instance();
    guest.call(CallBudget::Call, |store| {
        let run = instance.get_typed_func::<(), (u64,)>(&mut *store, "run")?;
        run.call(store, ()).map(|(number,)| number)
    })
}

/// A component whose `run` returns what an import returns.
fn reads(interface: &str, function: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "{interface}" (instance $import (export "{function}" (func (result u64)))))
  (core func $read (canon lower (func $import "{function}")))
  (core module $m (import "" "read" (func $read (result i64))) (func (export "run") (result i64) (call $read)))
  (core instance $i (instantiate $m (with "" (instance (export "read" (func $read))))))
  (func (export "run") (result u64) (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn random_numbers_follow_from_the_seed() {
    for interface in ["wasi:random/random@0.2.0", "wasi:random/random@0.2.6"] {
        let component = reads(interface, "get-random-u64");
        let read = |seed| {
            let mut guest = guest(&component, &Limits::default(), seed).unwrap();
            [call_u64(&mut guest).unwrap(), call_u64(&mut guest).unwrap()]
        };
        let numbers = read(7);
        assert_ne!(numbers[0], numbers[1]);
        assert_eq!(numbers, read(7));
        assert_ne!(numbers, read(8));
    }
}

#[test]
fn clocks_stand_at_zero() {
    let component = reads("wasi:clocks/monotonic-clock@0.2.0", "now");
    let mut guest = guest(&component, &Limits::default(), 0).unwrap();
    assert_eq!(call_u64(&mut guest).unwrap(), 0);
    assert_eq!(call_u64(&mut guest).unwrap(), 0);
}

/// A component whose `run` sleeps for as long as a clock can count.
const SLEEPER: &str = r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p'))
    (export "pollable" (type $p (eq $p')))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core module $m
    (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "" "block" (func $block (param i32)))
    (func (export "run") (result i64)
      (call $block (call $subscribe (i64.const 1000000000000000000)))
      (i64.const 1)))
  (core instance $i (instantiate $m (with "" (instance
    (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
  (func (export "run") (result u64) (canon lift (core func $i "run"))))"#;

#[test]
fn sleeping_ends_at_once() {
    let component = wat::parse_str(SLEEPER).unwrap();
    let mut guest = guest(&component, &Limits::default(), 0).unwrap();
    let started = Instant::now();
    assert_eq!(call_u64(&mut guest).unwrap(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// A component that prints and then does what `then` says.
fn prints(stream: &str, text: &str, then: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $o (sub resource)))
    (alias outer 1 $io-error (type $e'))
    (export "error" (type $e (eq $e')))
    (type $s' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $s (eq $s')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $o)) (param "contents" (list u8)) (result (result (error $s)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/{stream}@0.2.0" (instance $std
    (alias outer 1 $output-stream (type $o'))
    (export "output-stream" (type $o (eq $o')))
    (export "get-{stream}" (func (result (own $o))))))
  (core module $memory (memory (export "memory") 1) (data (i32.const 64) "{text}"))
  (core instance $memory (instantiate $memory))
  (core func $get (canon lower (func $std "get-{stream}")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory"))))
  (core module $m
    (import "" "get" (func $get (result i32)))
    (import "" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i64)
      (call $write (call $get) (i32.const 64) (i32.const {length}) (i32.const 0))
      {then}))
  (core instance $i (instantiate $m (with "" (instance
    (export "get" (func $get)) (export "write" (func $write))))))
  (func (export "run") (result u64) (canon lift (core func $i "run"))))"#,
        length = text.replace("\\n", "n").len(),
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn what_is_printed_becomes_lines_of_the_log() {
    let component = prints("stdout", "hello\\nworld", "(i64.const 0)");
    let mut guest = guest(&component, &Limits::default(), 0).unwrap();
    assert!(guest.sandbox().log().is_silent());
    call_u64(&mut guest).unwrap();
    assert!(!guest.sandbox().log().is_silent());
    let (_, lines) = guest.sandbox().log().drain();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["hello", "world"]);
}

#[test]
fn last_words_on_standard_error_are_part_of_the_error() {
    let component = prints("stderr", "panicked: no such key", "(unreachable)");
    let mut guest = guest(&component, &Limits::default(), 0).unwrap();
    let message = call_u64(&mut guest).unwrap_err().to_string();
    assert_eq!(
        message,
        "the component trapped: wasm trap: wasm `unreachable` instruction executed; its last words: panicked: no such key"
    );
}

#[test]
fn ending_the_process_ends_the_guest_alone() {
    let text = r#"(component
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
  (core func $exit (canon lower (func $exit "exit")))
  (core module $m (import "" "exit" (func $exit (param i32)))
    (func (export "run") (result i64) (call $exit (i32.const 1)) (i64.const 0)))
  (core instance $i (instantiate $m (with "" (instance (export "exit" (func $exit))))))
  (func (export "run") (result u64) (canon lift (core func $i "run"))))"#;
    let mut guest = guest(&wat::parse_str(text).unwrap(), &Limits::default(), 0).unwrap();
    let message = call_u64(&mut guest).unwrap_err().to_string();
    assert_eq!(
        message,
        "the component ended itself with exit code 1: return an error instead"
    );
}
