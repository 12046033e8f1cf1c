//! What it costs to be in sync: a linked replica beside stock clients, all at the same `tombolo serve`, in one run.
//!
//! `benches/sync/run` installs the stock clients and calls this. Each client is a process of its own behind a proxy of its
//! own, which counts what TCP carries. Yjs clients work on the same documents. Times are medians, everything else means.
//!
//! What is not the same: a replica has what it says on its disk, twice for a letter that goes from one to another, and
//! the stock clients have it in memory; so for each row there is a lesser one, and it is theirs. `fdatasync` is in the
//! table for that. Their documents are in memory when they come back, which an application would have had to read first.

mod client; // processes, behind proxies
mod join; // behind, at first, and with many documents
mod keystroke; // from one client to another
mod native; // the replica, as such a process
mod proxy;
mod table;

use std::io;
use std::path::PathBuf;

use client::Place;

fn main() -> io::Result<()> {
    if let Some((url, folder)) = native::asked_to_be() {
        return native::run(&url, &folder);
    }
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let (Some(scripts), Some(tombolo)) = (std::env::var_os("TOMBOLO_SYNC"), std::env::var_os("TOMBOLO_BIN"))
    else {
        println!("sync: not measured; run benches/sync/run, which installs the stock clients first");
        return Ok(());
    };
    let quick = std::env::args().any(|arg| arg == "--quick");
    let place = Place { tombolo: tombolo.into(), scripts: PathBuf::from(scripts), quick };
    // A part of a name chooses.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    type Part = fn(&Place) -> io::Result<String>;
    let parts: [(&str, Part); 4] = [
        ("keystroke", keystroke::measure),
        ("behind", join::behind),
        ("traces", join::traces),
        ("many", join::many),
    ];
    let mut results = table::heading()?;
    for (name, measure) in parts.into_iter().filter(|(name, _)| is_wanted(name)) {
        let part = measure(&place).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        println!("{part}");
        results.push('\n');
        results.push_str(&part);
    }
    if !quick && wanted.is_empty() {
        std::fs::write(place.scripts.join("results.md"), results)?;
    }
    Ok(())
}
