//! The commands: arguments, one file per command, errors for people, exit codes.

mod args;
mod counter; // who answers: this process, or the server that has the store
mod descriptors;
mod doc;
mod maintain;
mod manual; // completions and man pages
mod note;
mod note_args;
mod note_backlog;
mod note_editor; // a text in somebody's editor
mod note_files; // from Markdown and to it
mod note_sync; // with relays and nodes
mod output; // lines, JSON, progress
mod relay;
mod screen; // a terminal that is drawn on
mod serve;
mod signal;
mod store_args;
mod top;

use std::process::ExitCode;

use clap::Parser;

use tombolo_relay::backplane::Link;
use tombolo_store::worker::ProcessConfig;

use self::counter::Counter;
use crate::config::Settings;
use crate::error::Error;
use crate::telemetry;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    match command(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has read enough.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
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
        args::Command::Doc(doc) => with_counter(args, |counter| doc.run(counter)),
        args::Command::Note(note) => with_runtime(args, async |settings| {
            // Nothing else runs on this thread, so it may block.
            tokio::task::block_in_place(|| note::run(settings, note))
        }),
        args::Command::Verify(whole) => {
            with_runtime(args, async |settings| maintain::verify(settings, whole))
        }
        args::Command::Repair(repair) => {
            with_runtime(args, async |settings| maintain::repair(settings, repair))
        }
        args::Command::Compact(whole) => with_counter(args, |counter| maintain::compact(counter, whole)),
        args::Command::Top(top) => with_runtime(args, async |settings| top::run(settings, top).await),
        args::Command::Quarantine(quarantine) => with_counter(args, |counter| quarantine.run(counter)),
        args::Command::Completions(args) => manual::completions(args),
        args::Command::Man(args) => manual::pages(args),
        args::Command::MergeWorker(worker) => Ok(tombolo_store::worker::run_child(worker.memory_bytes)?),
    }
}

fn with_counter(args: &args::Args, run: impl FnOnce(&Counter) -> Result<(), Error>) -> Result<(), Error> {
    with_runtime(args, async |settings| {
        // Nothing else runs on this thread, so it may block.
        tokio::task::block_in_place(|| {
            let counter = Counter::open(settings)?;
            let result = run(&counter);
            result.and(counter.close())
        })
    })
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

/// Says where else a relay listens.
fn announce_drop_ins(relay: &tombolo_relay::Relay) {
    for (drop_in, address) in relay.drop_ins() {
        let path = if *drop_in == tombolo_relay::DropIn::Yjs { "/ROOM" } else { "" };
        println!("  drop-in      ws://{address}{path}  {drop_in}");
    }
}

/// What joins it with others.
fn announce_link(link: &Link) {
    match link {
        Link::None => {}
        Link::Nats(servers) => {
            servers.iter().for_each(|server| println!("  backplane    {server}"));
        }
        Link::Relays(relays, _) => {
            relays.iter().for_each(|relay| println!("  archive of   {relay}"));
        }
    }
}

/// This very program, in its hidden command.
fn merge_process() -> Result<ProcessConfig, Error> {
    // The link names the running program even after its file was replaced by a newer one.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
    Ok(ProcessConfig {
        program,
        arguments: vec![
            "merge-worker".into(),
            "--memory-bytes".into(),
            MERGE_MEMORY_BYTES.to_string().into(),
        ],
        request_ms_max: MERGE_REQUEST_MS,
    })
}

/// Address space of one merge process: a 64 MiB document takes a few times its size to fold.
const MERGE_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Longest time of one request to a merge process.
const MERGE_REQUEST_MS: u64 = 30_000;
