//! What it costs a server to hand one member's updates to the others: deliveries for each CPU-second.
//!
//! The yardstick ("limit") is an epoll loop that takes the same frames from the same clients and writes them
//! on, once per member and turn, all that came in that turn in one call. It is fair because the system
//! calls and the bytes on the wire are the same; it is hard because it validates nothing, keeps no state of any
//! document, bounds no queue, answers no join and has one thread.
//!
//! Clients are bare sockets in this process that count frames and never decode them. The server is a child
//! process, this binary again, and only its CPU time counts (user and system, `/proc/<pid>/stat`), so a slow
//! load generator makes a run longer and the result no worse. That is also why this is not a criterion
//! bench: criterion measures the wall time of a closure.
//!
//! - *interactive*: in each room one update is on its way at a time, from each member in turn.
//! - *loaded*: 64 of them.
//! - *flood*: one member types ahead, 4,096 updates, a tenth of what a reader may be behind before the relay gives
//!   it up. What is on its way here fills a call, so the yardstick shows the speed of copying memory.

#![expect(clippy::indexing_slicing, reason = "a bench that cannot go on stops")]

mod child; // the server process and its CPU time
mod idle; // connections that say nothing, or come and go
mod limit; // the yardstick
mod relay; // ours

use std::io;
use std::time::Duration;

use child::{Child, Server};
use tombolo_benches::load::{Crowd, Load, Shape};
use tombolo_benches::{Spread, print_ratio};

const SHAPES: [Shape; 8] = [
    shape(1, 100, Load::Interactive, 1),
    shape(100, 4, Load::Interactive, 1),
    shape(1000, 2, Load::Interactive, 1),
    shape(1, 100, Load::Loaded, 1),
    shape(100, 4, Load::Loaded, 1),
    shape(1, 100, Load::Loaded, 4096),
    shape(1, 100, Load::Flood, 1),
    shape(100, 4, Load::Flood, 1),
];
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_millis(2500);

const fn shape(rooms: usize, members: usize, load: Load, letters: u16) -> Shape {
    Shape { rooms, members, load, letters }
}

/// What one run came to.
struct Run {
    deliveries: u64,
    cpu_s: f64,
}

impl Run {
    fn rate(&self) -> f64 {
        self.deliveries as f64 / self.cpu_s
    }
}

fn measure(server: Server, shape: Shape) -> io::Result<Run> {
    let child = Child::start(server)?;
    let mut crowd = Crowd::join(child.address(), shape, &server.speech())?;
    crowd.load(WARM_UP)?;
    let before = child.cpu_time()?;
    let deliveries = crowd.load(MEASURED)?;
    let cpu_s = (child.cpu_time()? - before).as_secs_f64();
    drop(crowd);
    child.stop()?;
    Ok(Run { deliveries, cpu_s })
}

fn compare(shape: Shape) -> io::Result<()> {
    let (mut relays, mut limits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (limit, relay) = (measure(Server::Limit, shape)?, measure(Server::Relay, shape)?);
        relays.push(relay.rate());
        limits.push(limit.rate());
        ratios.push(relay.rate() / limit.rate());
    }
    let (relay, limit, ratio) = (Spread::of(relays), Spread::of(limits), Spread::of(ratios));
    let notes = format!(
        "{:.2} to {:.2}; relay {:.0} k, limit {:.0} k deliveries per CPU-second",
        ratio.min,
        ratio.max,
        relay.median / 1e3,
        limit.median / 1e3
    );
    print_ratio(&format!("relay/limit {shape}"), ratio.median, &notes);
    Ok(())
}

fn main() -> io::Result<()> {
    if let Some(server) = Server::asked_to_be() {
        return match server {
            Server::Relay => relay::serve(),
            Server::Limit => limit::serve(),
        };
    }
    // Cargo says `--bench` when this is what was asked for, and nothing or `--list` when tests were.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let wanted: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for shape in SHAPES {
        if is_wanted(&shape.to_string()) {
            compare(shape)?;
        }
    }
    if is_wanted("idle") {
        idle::memory()?;
    }
    if is_wanted("visits") {
        idle::visits()?;
    }
    Ok(())
}
