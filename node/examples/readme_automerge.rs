//! An Automerge document from Rust types, as the README has it.

use autosurgeon::{Hydrate, Reconcile, Text, hydrate, reconcile};
use tombolo::replica::Replica;

#[derive(Default, Hydrate, Reconcile)]
struct List {
    title: Text,
    items: Vec<Text>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let replica = Replica::open("app-data")?;
    let shopping = replica.create_automerge()?;
    shopping.reconcile(&List { title: "Saturday".into(), ..List::default() })?;
    shopping.edit(|edit| {
        let mut list: List = hydrate(edit)?;
        list.items.push("milk".into());
        Ok(reconcile(edit, &list)?)
    })?;
    println!("{} has {} items", shopping.url(), shopping.hydrate::<List>()?.items.len());
    Ok(())
}
