//! The `wasmill` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmill_server::cli::main()
}
