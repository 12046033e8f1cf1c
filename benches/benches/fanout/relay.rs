//! Ours: the relay with the settings and the runtime of the server, without an archive.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tombolo_relay::admission::Everybody;
use tombolo_relay::{Parts, Rate, Relay, RelayConfig};

use crate::child;

/// Serves until the parent lets go.
pub(crate) fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let parts = Parts { admission: Arc::new(Everybody), archive: None, routes: None };
    let mut config = RelayConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    // As many as the yardstick has.
    config.threads = 1;
    // One client that types two million messages a second is nobody's honest client; the rates are kept all the same.
    config.connection_messages = Rate::FREE;
    config.connection_kib = Rate::FREE;
    config.room_messages = Rate::FREE;
    config.room_kib = Rate::FREE;
    let relay = runtime.block_on(Relay::start(config, parts)).map_err(io::Error::other)?;
    child::announce(relay.local_addr());
    child::wait_for_end();
    Ok(())
}
