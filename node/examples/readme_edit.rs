//! Documents on this device, as the README has it.

use tombolo::replica::{Origin, Replica};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let replica = Replica::open("app-data")?;
    let today = replica.yjs("notes/today")?;
    let _watch = today.observe(|change| match change.origin {
        Origin::Local => println!("saved {} bytes", change.update.len()),
        Origin::Remote | Origin::Link(_) => println!("somebody else wrote {} bytes", change.update.len()),
    });
    today.edit(|edit| {
        edit.text("text").push("Milk, bread, salt\n");
        edit.map("meta").insert("colour", "blue");
        Ok(())
    })?;
    println!("{}", today.text("text")?);
    Ok(())
}
