//! `tombolo serve`: relay, archive and store in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tombolo_relay::admission::Everybody;
use tombolo_relay::{Parts, Relay, RelayConfig};
use tombolo_store::worker::{ProcessConfig, ProcessWorker, Worker};
use tombolo_store::{Store, StoreConfig};

use super::descriptors;
use super::signal::Ends;
use crate::archive::StoreArchive;
use crate::config::Settings;
use crate::error::Error;
use crate::http::NodeRoutes;

pub(super) async fn run(settings: &Settings) -> Result<(), Error> {
    let mut ends = Ends::install()?;
    let worker: Arc<dyn Worker> = ProcessWorker::start(merge_process()?)?;
    let config = StoreConfig { engine: settings.engine, ..StoreConfig::new(&settings.data) };
    let store = Store::open(config, Arc::clone(&worker))?;
    let served = start(settings, &store, worker).await;
    let ended = match served {
        Ok(relay) => {
            announce(&relay, &settings.data);
            ends.wait().await;
            relay.stop(Duration::from_secs(3)).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    ended?;
    closed.map_err(std::io::Error::other)?.map_err(Error::Close)
}

async fn start(settings: &Settings, store: &Store, worker: Arc<dyn Worker>) -> Result<Relay, Error> {
    let archive = Arc::new(StoreArchive::start(store.clone(), &worker)?);
    let routes = NodeRoutes::new(store.clone(), Arc::clone(&archive));
    let parts =
        Parts { admission: Arc::new(Everybody), archive: Some(archive), routes: Some(Arc::new(routes)) };
    let mut config = RelayConfig::new(settings.listen);
    config.connections_max = descriptors::connections_max(config.connections_max);
    Ok(Relay::start(config, parts).await?)
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

fn announce(relay: &Relay, data: &Path) {
    let host = relay.local_addr();
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    println!("tombolo {} is ready\n", env!("CARGO_PKG_VERSION"));
    println!("  page         http://{host}/");
    println!("  y-websocket  ws://{host}/yjs");
    println!("  hocuspocus   ws://{host}/hocuspocus");
    println!("  automerge    ws://{host}/automerge");
    println!("  health       http://{host}/healthz  /readyz  /metrics");
    println!("  data         {}", data.display());
}
