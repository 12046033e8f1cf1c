//! What connections cost that say nothing, and what coming and going costs.

use std::io;
use std::time::{Duration, Instant};

use tombolo_benches::load::{Client, Crowd, Load, Shape};
use tombolo_benches::print_ratio;

use crate::child::{Child, Server};

/// Synchronised clients that say nothing, in rooms of four.
const IDLE: Shape = Shape { rooms: 2500, members: 4, load: Load::Interactive, letters: 1 };
const MEASURED: Duration = Duration::from_secs(3);

/// Memory of an empty relay, and for each idle connection; kB (1,000 bytes).
pub(crate) fn memory() -> io::Result<()> {
    let child = Child::start(Server::Relay)?;
    let empty = child.memory()?;
    let crowd = Crowd::join(child.address(), IDLE, &Server::Relay.speech())?;
    let connections = IDLE.rooms * IDLE.members;
    let full = child.memory()?;
    drop(crowd);
    child.stop()?;
    println!(
        "relay idle: {:.1} kB for each of {connections} connections, {:.1} MB before the first",
        (full - empty) as f64 / connections as f64 / 1e3,
        empty as f64 / 1e6,
    );
    Ok(())
}

/// Clients that come, and clients that come, synchronise, edit once and go, for each CPU-second of the server.
pub(crate) fn visits() -> io::Result<()> {
    let connects = visited(|_| Ok(()))?;
    let cycles = visited(|client| {
        client.synchronise(None)?;
        client.types(1, 1)
    })?;
    println!("relay connects: {connects:.0} for each CPU-second");
    print_ratio(
        "relay connect-sync-edit-close/connect",
        cycles / connects,
        &format!("{cycles:.0} for each CPU-second"),
    );
    Ok(())
}

fn visited(visit: impl Fn(&mut Client) -> io::Result<()>) -> io::Result<f64> {
    let child = Child::start(Server::Relay)?;
    let (before, end) = (child.cpu_time()?, Instant::now() + MEASURED);
    let mut visits = 0;
    while Instant::now() < end {
        let mut client = Client::connect(child.address(), &Server::Relay.speech(), visits % 1000, 1)?;
        visit(&mut client)?;
        visits += 1;
    }
    let cpu_s = (child.cpu_time()? - before).as_secs_f64();
    child.stop()?;
    Ok(visits as f64 / cpu_s)
}
