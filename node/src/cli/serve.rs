//! `tombolo serve`: relay, archive and store in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tombolo_relay::admission::Everybody;
use tombolo_relay::{Parts, Relay, RelayConfig};
use tombolo_store::worker::{ThreadWorker, Worker};
use tombolo_store::{Store, StoreConfig};

use super::signal::Ends;
use crate::archive::StoreArchive;
use crate::config::Settings;
use crate::error::Error;
use crate::http::NodeRoutes;

pub(super) async fn run(settings: &Settings) -> Result<(), Error> {
    let mut ends = Ends::install()?;
    let worker: Arc<dyn Worker> = ThreadWorker::start()?;
    let store = Store::open(StoreConfig::new(&settings.data), Arc::clone(&worker))?;
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
    let archive = Arc::new(StoreArchive::start(store.clone(), worker)?);
    let routes = NodeRoutes::new(store.clone(), Arc::clone(&archive));
    let parts =
        Parts { admission: Arc::new(Everybody), archive: Some(archive), routes: Some(Arc::new(routes)) };
    Ok(Relay::start(RelayConfig::new(settings.listen), parts).await?)
}

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
