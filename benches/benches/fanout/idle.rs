//! What connections cost that say nothing, and what coming and going costs.

use std::io;
use std::time::{Duration, Instant};

use tombolo_benches::load::{Client, Crowd, Load, Shape};
use tombolo_benches::print_ratio;

use crate::child::{Child, Server};

/// Synchronised clients that say nothing, in rooms of four.
const IDLE: Shape = Shape { rooms: 2500, members: 4, load: Load::Interactive, letters: 1 };
/// Clients that come at the same time.
const WAVE: usize = 64;
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

/// Clients that come, and clients that come, synchronise, edit once and go, for each CPU-second of the server. They
/// come in waves: one at a time would mostly show how a server goes to sleep and wakes up.
pub(crate) fn visits() -> io::Result<()> {
    let connects = visited(|_| Ok(()))?;
    let cycles = visited(|clients| {
        clients.iter_mut().try_for_each(Client::ask)?;
        clients.iter_mut().try_for_each(|client| client.synchronise(None))?;
        clients.iter_mut().try_for_each(|client| client.types(1, 1))
    })?;
    println!("relay connects: {connects:.0} for each CPU-second");
    print_ratio(
        "relay connect-sync-edit-close/connect",
        cycles / connects,
        &format!("{cycles:.0} for each CPU-second"),
    );
    Ok(())
}

fn visited(visit: impl Fn(&mut Vec<Client>) -> io::Result<()>) -> io::Result<f64> {
    let child = Child::start(Server::Relay)?;
    let (before, end) = (child.cpu_time()?, Instant::now() + MEASURED);
    let mut waves = 0;
    while Instant::now() < end {
        // Rooms of other numbers than in the waves before: who left may not be gone yet.
        let rooms = (0..WAVE).map(|place| waves % 50 * WAVE + place);
        let knock = |room| Client::knock(child.address(), &Server::Relay.speech(), room, 1);
        let mut clients = rooms.map(knock).collect::<io::Result<Vec<_>>>()?;
        clients.iter_mut().try_for_each(Client::enter)?;
        visit(&mut clients)?;
        waves += 1;
    }
    let cpu_s = (child.cpu_time()? - before).as_secs_f64();
    child.stop()?;
    Ok((waves * WAVE) as f64 / cpu_s)
}
