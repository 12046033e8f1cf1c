//! The one binary: parse, run, print what went wrong with its causes, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    tombolo::cli::run()
}
