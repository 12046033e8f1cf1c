//! A replica that is linked to a server, as the README has it.

use std::time::Duration;
use tombolo::replica::{LinkOptions, Replica};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let replica = Replica::open("app-data")?;
    replica.link("ws://127.0.0.1:8484", LinkOptions::default())?;
    let today = replica.yjs("notes/today")?;
    let _watch = today.observe(|change| println!("{:?}: {} bytes", change.origin, change.update.len()));
    today.edit(|edit| edit.text("text").insert(0, "Milk, bread, salt\n"))?;
    for link in replica.wait_for_sync(Duration::from_secs(10)) {
        println!("{}: in sync: {}, kept there: {:?}", link.url, link.in_sync, link.keeps);
    }
    Ok(())
}
