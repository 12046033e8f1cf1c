//! `tombolo serve`: relay, archive and store in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tombolo_relay::backplane::Link;
use tombolo_relay::member::Archive;
use tombolo_relay::{Parts, Relay, RelayConfig};
use tombolo_store::worker::{ProcessWorker, Worker};
use tombolo_store::{Store, StoreConfig};

use super::descriptors;
use super::merge_process;
use super::signal::Ends;
use crate::admin::{AdminServer, Desk};
use crate::archive::StoreArchive;
use crate::config::Settings;
use crate::error::Error;
use crate::http::NodeRoutes;

pub(super) async fn run(settings: &Settings) -> Result<(), Error> {
    let mut config = settings.relay()?;
    config.link = settings.link_of_archive();
    let mut ends = Ends::install()?;
    let worker: Arc<dyn Worker> = ProcessWorker::start(merge_process()?)?;
    let store_config = StoreConfig { engine: settings.engine, ..StoreConfig::new(&settings.data) };
    let store = Store::open(store_config, Arc::clone(&worker))?;
    let served = start(settings, config, &store, worker).await;
    let ended = match served {
        Ok((relay, admin)) => {
            announce(&relay, &settings.data, &settings.link_of_archive(), settings.entry.is_guarded());
            ends.wait().await;
            if let Some(admin) = admin {
                admin.stop().await;
            }
            relay.stop(Duration::from_secs(3)).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    ended?;
    closed.map_err(std::io::Error::other)?.map_err(Error::Close)
}

async fn start(
    settings: &Settings,
    mut config: RelayConfig,
    store: &Store,
    worker: Arc<dyn Worker>,
) -> Result<(Relay, Option<AdminServer>), Error> {
    let archive = Arc::new(StoreArchive::start(store.clone(), &worker)?);
    let routes = NodeRoutes::new(store.clone(), Arc::clone(&archive));
    let seats = Some(Arc::clone(&archive) as Arc<dyn Archive>);
    let parts =
        Parts { admission: settings.entry.admission(), archive: seats, routes: Some(Arc::new(routes)) };
    config.connections_max = descriptors::connections_max(config.connections_max);
    let relay = Relay::start(config, parts).await?;
    let desk = Desk::new(store.clone(), worker, archive, relay.guests());
    // Documents are served without it: some file systems have no sockets.
    let admin = AdminServer::start(&settings.data, Arc::new(desk))
        .inspect_err(
            |error| tracing::warn!(%error, "no admin socket: `tombolo doc` and its like find no answer"),
        )
        .ok();
    Ok((relay, admin))
}

fn announce(relay: &Relay, data: &Path, link: &Link, is_guarded: bool) {
    let host = relay.local_addr();
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    println!("tombolo {} is ready\n", env!("CARGO_PKG_VERSION"));
    println!("  page         http://{host}/{}", if is_guarded { "?token=TOKEN" } else { "" });
    println!("  y-websocket  ws://{host}/yjs");
    println!("  hocuspocus   ws://{host}/hocuspocus");
    println!("  automerge    ws://{host}/automerge");
    println!("  y-webrtc     ws://{host}/signaling");
    super::announce_drop_ins(relay);
    super::announce_link(link);
    println!("  health       http://{host}/healthz  /readyz  /metrics");
    println!("  data         {}", data.display());
}
