//! A shopping list that is on this device first, and shared with whoever knows its URL: copies of this program, and web
//! pages with automerge-repo.
//!
//! `cargo run --example shopping -- FOLDER ws://127.0.0.1:8484 [automerge:URL]`; without a URL the list is a new one.
//! Each line of input is put on the list and, once it is kept by the node as well, confirmed; the list is printed whenever
//! it changes. It works the same without a network, and catches up later.

use std::error::Error;
use std::io::BufRead as _;
use std::time::Duration;

use autosurgeon::{Hydrate, Reconcile, Text, hydrate, reconcile};
use tombolo::replica::{AutomergeDocument, LinkOptions, Replica};

// What JavaScript calls a string is a `Text`.
#[derive(Default, Hydrate, Reconcile)]
struct List {
    title: Text,
    items: Vec<Text>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: shopping FOLDER ws://HOST:PORT [automerge:URL]";
    let (folder, node) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let replica = Replica::open(folder)?;
    replica.link(&node, LinkOptions::default())?;
    let shopping = match arguments.next() {
        Some(url) => replica.automerge(&url)?,
        None => {
            let new = replica.create_automerge()?;
            new.reconcile(&List { title: "Saturday".into(), ..List::default() })?;
            new
        }
    };
    println!("url {}", shopping.url());
    let shown = shopping.clone();
    let _watch = shopping.observe(move |_| show(&shown));
    show(&shopping);
    for line in std::io::stdin().lock().lines() {
        let item = line?;
        add(&shopping, &item)?;
        let links = replica.wait_for_sync(Duration::from_secs(10));
        let kept = links.iter().all(|link| link.in_sync && link.keeps == Some(true));
        println!("{} {item}", if kept { "kept" } else { "here" });
    }
    Ok(replica.close()?)
}

fn add(shopping: &AutomergeDocument, item: &str) -> Result<(), Box<dyn Error>> {
    Ok(shopping.edit(|edit| {
        let mut list: List = hydrate(edit)?;
        list.items.push(item.into());
        Ok(reconcile(edit, &list)?)
    })?)
}

/// Nothing, while nothing of it is here.
fn show(shopping: &AutomergeDocument) {
    if let Ok(list) = shopping.hydrate::<List>() {
        let items: Vec<_> = list.items.iter().map(Text::as_str).collect();
        println!("list {}", items.join(", "));
    }
}
