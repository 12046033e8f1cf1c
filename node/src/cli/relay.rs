//! `tombolo relay`: forwards between Yjs clients; no data folder, no document.

use std::sync::Arc;
use std::time::Duration;

use tombolo_relay::admission::Everybody;
use tombolo_relay::{AcknowledgeWithoutArchive, Parts, Relay};

use super::descriptors;
use super::signal::Ends;
use crate::config::Settings;
use crate::error::Error;

pub(super) async fn run(settings: &Settings) -> Result<(), Error> {
    let mut ends = Ends::install()?;
    let mut config = settings.relay()?;
    config.connections_max = descriptors::connections_max(config.connections_max);
    if settings.acknowledge_forwarded {
        config.acknowledge = AcknowledgeWithoutArchive::Forwarded;
    }
    let parts = Parts { admission: Arc::new(Everybody), archive: None, routes: None };
    let relay = Relay::start(config, parts).await?;
    let host = relay.local_addr();
    let saved =
        if settings.acknowledge_forwarded { "means forwarded; nothing is kept" } else { "is never said" };
    println!("tombolo {} forwards\n", env!("CARGO_PKG_VERSION"));
    println!("  y-websocket  ws://{host}/yjs");
    println!("  hocuspocus   ws://{host}/hocuspocus");
    println!("  y-webrtc     ws://{host}/signaling");
    super::announce_drop_ins(&relay);
    println!("  health       http://{host}/healthz  /readyz  /metrics");
    println!("  \"saved\"      {saved}");
    ends.wait().await;
    relay.stop(Duration::from_secs(3)).await;
    Ok(())
}
