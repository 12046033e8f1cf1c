//! Logs: on stderr, leveled by `--log`, never with content, keys or whole messages.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Installs the log of the process. A filter such as `info` or `warn,tombolo_relay=debug`.
///
/// # Errors
/// The filter's own complaint, if it has no meaning.
pub fn install(filter: &str) -> Result<(), String> {
    // What the client of NATS says, the relay says with what to do, and once.
    let quiet = if filter.contains("async_nats") { "" } else { ",async_nats=off" };
    let filter = EnvFilter::try_new(format!("{filter}{quiet}")).map_err(|error| error.to_string())?;
    // A second call in one process (tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are for people, not for files.
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    Ok(())
}
