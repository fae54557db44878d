//! Instances within their limits, as operators use them.

use wasmill_engine::error::Fault;
use wasmill_plugin::engine::PluginEngine;
use wasmill_plugin::failure::GuestError;
use wasmill_plugin::sandbox::limits::Limits;
use wasmill_plugin::sandbox::{CallBudget, Guest, GuestData, wasi};
use wasmtime::component::{Component, Linker};

use super::components::run;

/// An instance of a component that exports `run`.
pub(super) fn guest(component: &[u8], limits: &Limits, seed: u64) -> Result<Guest<()>, GuestError> {
    let engine = PluginEngine::shared().unwrap();
    let component = Component::from_binary(engine.engine(), component).unwrap();
    let mut linker = Linker::<GuestData<()>>::new(engine.engine());
    wasi::add_to_linker(&mut linker).unwrap();
    Guest::instantiate(
        &engine,
        &linker.instantiate_pre(&component).unwrap(),
        limits,
        seed,
        (),
    )
}

fn call(guest: &mut Guest<()>) -> Result<(), GuestError> {
    let instance = guest.instance();
    guest.call(CallBudget::Call, |store| {
        instance
            .get_typed_func::<(), ()>(&mut *store, "run")?
            .call(store, ())
    })
}

fn small() -> Limits {
    Limits {
        call_ms_max: 50,
        memory_bytes_max: 4 * 65_536,
        recycle_bytes: 2 * 65_536,
        ..Limits::default()
    }
}

#[test]
fn a_call_has_its_own_time_limit_each_time() {
    let counts = r#"(global $n (mut i32) (i32.const 0))
      (func $run (export "run")
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (i32.gt_u (global.get $n) (i32.const 3)) (then (loop $l (br $l)))))"#;
    let mut guest = guest(&run(counts), &small(), 0).unwrap();
    for _ in 0..3 {
        call(&mut guest).unwrap();
        // Longer than the limit between two calls: time that is not the guest's does not count.
        let until = std::time::Instant::now() + std::time::Duration::from_millis(60);
        while std::time::Instant::now() < until {
            std::thread::yield_now();
        }
    }
    let error = call(&mut guest).unwrap_err();
    assert_eq!(error.fault, Fault::Plugin);
    let error = error.into_task_error("count@sha256:00", "count", Some(b"a\nrecord"));
    assert_eq!(
        error.to_string(),
        "the component did not return within 50 ms: look for an endless loop, or raise the job's `limits.call-ms-max` \
         [plugin count@sha256:00, function `count`, limit call-ms-max = 50, record \"a\\nrecord\"]\n    at run (module m)"
    );
}

#[test]
fn a_guest_that_failed_is_not_entered_again() {
    let mut guest = guest(&run(r#"(func $run (export "run") (unreachable))"#), &small(), 0).unwrap();
    call(&mut guest).unwrap_err();
    let error = call(&mut guest).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the instance failed before and cannot be called again"
    );
    assert_eq!(error.fault, Fault::Host);
}

#[test]
fn memory_is_counted_until_the_instance_should_be_replaced_and_then_refused() {
    let grows = r#"(func $run (export "run") (drop (memory.grow (i32.const 1))))"#;
    let mut guest = guest(&run(grows), &small(), 0).unwrap();
    assert_eq!(guest.memory_bytes(), 65_536);
    call(&mut guest).unwrap();
    assert!(!guest.needs_recycling());
    call(&mut guest).unwrap();
    assert!(guest.needs_recycling());
    call(&mut guest).unwrap();
    let error = call(&mut guest).unwrap_err();
    assert_eq!(error.limit.unwrap().to_string(), "memory-bytes-max = 262144");
    assert_eq!(
        error.message,
        "linear memory would grow to 327680 bytes: look for a leak"
    );
}

#[test]
fn growth_beyond_a_modules_own_maximum_is_answered_as_the_language_says() {
    let polite = r#"(memory $own 1 2) (func $run (export "run")
      (if (i32.ne (memory.grow $own (i32.const 9)) (i32.const -1)) (then (unreachable))))"#;
    call(&mut guest(&run(polite), &small(), 0).unwrap()).unwrap();
}

#[test]
fn two_guests_beside_a_hostile_one_go_on() {
    let good = run(r#"(func $run (export "run"))"#);
    let mut beside = guest(&good, &small(), 0).unwrap();
    let hostile = std::thread::spawn(|| {
        let endless = run(r#"(func $run (export "run") (loop $l (br $l)))"#);
        call(&mut guest(&endless, &small(), 0).unwrap())
            .unwrap_err()
            .to_string()
    });
    while !hostile.is_finished() {
        call(&mut beside).unwrap();
        call(&mut guest(&good, &small(), 0).unwrap()).unwrap();
    }
    assert!(hostile.join().unwrap().contains("endless loop"));
}
