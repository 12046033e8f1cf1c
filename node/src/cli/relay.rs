//! `tombolo relay`: forwards between clients; no data folder, no document.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tombolo_relay::{AcknowledgeWithoutArchive, Parts, Relay};

use super::descriptors;
use super::signal::Ends;
use crate::admin::{AdminServer, RelayDesk};
use crate::config::Settings;
use crate::error::Error;

pub(super) async fn run(settings: &Settings) -> Result<(), Error> {
    let mut ends = Ends::install()?;
    let mut config = settings.relay()?;
    config.connections_max = descriptors::connections_max(config.connections_max);
    config.link = settings.link_of_relay();
    if settings.acknowledge_forwarded {
        config.acknowledge = AcknowledgeWithoutArchive::Forwarded;
    }
    let parts = Parts { admission: settings.entry.admission(), archive: None, routes: None };
    let admin = settings.admin.as_deref().map(Folder::take).transpose()?;
    let relay = Relay::start(config, parts).await?;
    let admin = admin.map(|folder| folder.serve(&relay)).transpose()?;
    let host = relay.local_addr();
    let saved = if settings.acknowledge_forwarded {
        "means forwarded; nothing is kept"
    } else {
        "is said only for an archive that has joined it (tombolo serve --relay)"
    };
    println!("tombolo {} forwards\n", env!("CARGO_PKG_VERSION"));
    println!("  y-websocket  ws://{host}/yjs");
    println!("  hocuspocus   ws://{host}/hocuspocus");
    println!("  automerge    ws://{host}/automerge");
    println!("  y-webrtc     ws://{host}/signaling");
    super::announce_drop_ins(&relay);
    super::announce_link(&settings.link_of_relay());
    println!("  peers        ws://{host}/native");
    println!("  health       http://{host}/healthz  /readyz  /metrics");
    println!("  \"saved\"      {saved}");
    if let Some(path) = &settings.admin {
        println!("  admin        {}", path.display());
    }
    ends.wait().await;
    if let Some((admin, _folder)) = admin {
        admin.stop().await;
    }
    relay.stop(Duration::from_secs(3)).await;
    Ok(())
}

/// The folder of the admin socket; another process that wants it is told so.
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    fn take(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::AdminFolder { path: path.into(), source };
        // Its own server's socket is there.
        if ["replica", "lock", "journal", "shelf"].iter().any(|name| path.join(name).exists()) {
            return Err(fail(io::Error::other("it is the data folder of a store")));
        }
        std::fs::create_dir_all(path).map_err(fail)?;
        let lock = File::create(path.join("relay.lock")).map_err(fail)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => fail(io::Error::other("another relay uses it")),
            error => fail(error.into()),
        })?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    fn serve(self, relay: &Relay) -> Result<(AdminServer, Self), Error> {
        let desk = Arc::new(RelayDesk(relay.guests().onlooker()));
        match AdminServer::start(&self.path, desk) {
            Ok(admin) => Ok((admin, self)),
            Err(source) => Err(Error::AdminFolder { path: self.path, source }),
        }
    }
}
