//! The targets under libFuzzer, which brings `main`. Started by `cargo xtask fuzz`: `WASMILL_FUZZ_TARGET` names the
//! target to run and `WASMILL_FUZZ_CORPUS` the directory into which its seeds go; with `WASMILL_FUZZ_LIST` it prints the
//! names of all.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use wasmill_fuzz::{TARGETS, Target, target};

/// Chosen once.
static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: begin(),
    |data: &[u8]| if let Some(target) = CHOSEN.get() { (target.run)(data) }
);

fn begin() {
    let variable = |name: &str| std::env::var(name).ok();
    if variable("WASMILL_FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    }
    let name = variable("WASMILL_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = target(&name) else {
        panic!("WASMILL_FUZZ_TARGET is `{name}`: name a target of `cargo xtask fuzz`");
    };
    if let Some(corpus) = variable("WASMILL_FUZZ_CORPUS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let path = Path::new(&corpus).join(format!("seed-{number}"));
            if let Err(error) = std::fs::write(&path, seed) {
                panic!("{}: {error}", path.display());
            }
        }
    }
    // It is set once: libFuzzer begins once.
    let _ = CHOSEN.set(target);
}
