//! The commands: arguments, one file per command, errors for people, exit codes.

mod args;
mod relay;
mod serve;
mod signal;

use std::process::ExitCode;

use clap::Parser;

use crate::config::Settings;
use crate::error::Error;
use crate::telemetry;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    match command(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(why) = cause {
                eprintln!("  why: {why}");
                cause = why.source();
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn command(args: &args::Args) -> Result<(), Error> {
    let settings = Settings::resolve(args.given())?;
    telemetry::install(&settings.log).map_err(|_| Error::Setting {
        name: "log",
        value: settings.log.clone(),
        expected: "give a level such as info, or a filter such as warn,tombolo_relay=debug",
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = match args.command {
        args::Command::Serve(_) => runtime.block_on(serve::run(&settings)),
        args::Command::Relay(_) => runtime.block_on(relay::run(&settings)),
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}
