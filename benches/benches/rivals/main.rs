//! The relays that people run today beside ours, in one run on one machine: deliveries for each CPU-second of the
//! server, and what an idle connection costs.
//!
//! `benches/rivals/run` installs them and calls this. Each server is started as its documentation says, without
//! storage where it has a choice, takes the same clients, and is ended. Only its own processor time counts (user and
//! system, with its children), so what is measured is what a machine full of it can do. All of them but the yardstick
//! and `tombolo relay` merge each update into a document; `tombolo serve` also brings each to the disk.
//!
//! Unlike in `fanout` nobody is told to use one thread.

mod chart; // the picture
mod server; // one contestant as a process

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use server::{Contestant, Running};
use tombolo_benches::load::{Crowd, Load, Shape};

const SHAPES: [Shape; 4] = [
    Shape { rooms: 1, members: 100, load: Load::Interactive, letters: 1 },
    Shape { rooms: 1000, members: 2, load: Load::Interactive, letters: 1 },
    Shape { rooms: 1, members: 100, load: Load::Loaded, letters: 1 },
    Shape { rooms: 100, members: 4, load: Load::Loaded, letters: 1 },
];
const IDLE: Shape = Shape { rooms: 500, members: 4, load: Load::Interactive, letters: 1 };
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_millis(2000);

/// Deliveries for each CPU-second of each contestant, in the order of the shapes; and kB for an idle connection.
type Results = BTreeMap<usize, (Vec<f64>, f64)>;

fn main() -> io::Result<()> {
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let Some(folder) = std::env::var_os("TOMBOLO_RIVALS").map(PathBuf::from) else {
        println!("rivals: not measured; run benches/rivals/run, which installs them first");
        return Ok(());
    };
    // A part of a name chooses.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let contestants: Vec<_> = server::contestants(&folder)
        .into_iter()
        .filter(|contestant| is_wanted(contestant.name) && contestant.is_installed())
        .collect();
    let mut results = Results::new();
    for (number, contestant) in contestants.iter().enumerate() {
        let rates: Vec<f64> =
            SHAPES.iter().map(|shape| median(contestant, *shape)).collect::<io::Result<_>>()?;
        let idle = idle(contestant)?;
        println!("{}", row(contestant, &rates, idle));
        results.insert(number, (rates, idle));
    }
    write(&folder, &contestants, &results)
}

fn median(contestant: &Contestant, shape: Shape) -> io::Result<f64> {
    let mut rates = (0..ROUNDS).map(|_| rate(contestant, shape)).collect::<io::Result<Vec<_>>>()?;
    rates.sort_by(f64::total_cmp);
    Ok(rates.get(ROUNDS / 2).copied().unwrap_or_default())
}

fn rate(contestant: &Contestant, shape: Shape) -> io::Result<f64> {
    let server = Running::start(contestant, shape.rooms)?;
    let mut crowd = Crowd::join(server.address(), shape, &contestant.speech)?;
    crowd.load(WARM_UP)?;
    let before = server.cpu_time();
    let deliveries = crowd.load(MEASURED)?;
    Ok(deliveries as f64 / (server.cpu_time() - before).as_secs_f64())
}

fn idle(contestant: &Contestant) -> io::Result<f64> {
    let server = Running::start(contestant, IDLE.rooms)?;
    let before = server.memory();
    let _crowd = Crowd::join(server.address(), IDLE, &contestant.speech)?;
    let after = server.memory();
    Ok(after.saturating_sub(before) as f64 / (IDLE.rooms * IDLE.members) as f64 / 1e3)
}

fn row(contestant: &Contestant, rates: &[f64], idle: f64) -> String {
    let rates: Vec<_> = rates.iter().map(|rate| format!("{:.0} k", rate / 1e3)).collect();
    format!("| {} | {} | {idle:.1} kB |", contestant.name, rates.join(" | "))
}

fn write(folder: &Path, contestants: &[Contestant], results: &Results) -> io::Result<()> {
    let shapes: Vec<_> = SHAPES.iter().map(Shape::to_string).collect();
    let mut table = format!("| server | {} | idle connection |\n", shapes.join(" | "));
    table.push_str("| --- | --: | --: | --: | --: | --: |\n");
    for (number, (rates, idle)) in results {
        if let Some(contestant) = contestants.get(*number) {
            table.push_str(&row(contestant, rates, *idle));
            table.push('\n');
        }
    }
    std::fs::write(folder.join("results.md"), table)?;
    let bars: Vec<_> = results
        .iter()
        .filter_map(|(number, (rates, _))| contestants.get(*number).map(|one| (one.name, rates.as_slice())))
        .collect();
    std::fs::write(folder.join("results.svg"), chart::draw(&shapes, &bars))
}
