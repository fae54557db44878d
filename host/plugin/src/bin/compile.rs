//! The compile process as a program of its own: tests of this crate run it in place of `wasmill`.
//!
//! It takes the arguments that `wasmill` takes, the hidden subcommand first.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(subcommand) if subcommand == wasmill_plugin::compile::SUBCOMMAND => {
            wasmill_plugin::compile::child_main(args)
        }
        _ => {
            eprintln!("usage: wasmill-compile {}", wasmill_plugin::compile::SUBCOMMAND);
            ExitCode::FAILURE
        }
    }
}
