//! The commands: arguments, one file per command, errors for people, exit codes.

mod args;
mod descriptors;
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
    match &args.command {
        args::Command::Serve(_) => with_runtime(args, async |settings| serve::run(settings).await),
        args::Command::Relay(_) => with_runtime(args, async |settings| relay::run(settings).await),
        args::Command::MergeWorker(worker) => Ok(tombolo_store::worker::run_child(worker.memory_bytes)?),
    }
}

fn with_runtime(
    args: &args::Args,
    run: impl AsyncFnOnce(&Settings) -> Result<(), Error>,
) -> Result<(), Error> {
    let settings = Settings::resolve(args.given())?;
    telemetry::install(&settings.log).map_err(|_| Error::Setting {
        name: "log",
        value: settings.log.clone(),
        expected: "give a level such as info, or a filter such as warn,tombolo_relay=debug",
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(&settings));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}
