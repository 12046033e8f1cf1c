//! Who is in a document now: copies of this program, and web pages with y-websocket.
//!
//! `cargo run --example visitors -- FOLDER ws://127.0.0.1:8484 DOCUMENT`. Each line of input is a name that the others see
//! from then on, an empty one hides it; the others are printed whenever one of them comes, goes, or changes. The end of the
//! input is a goodbye.

use std::error::Error;
use std::io::BufRead as _;

use tombolo::replica::{LinkOptions, Replica, YjsDocument};
use tombolo::serde_json::{self, Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: visitors FOLDER ws://HOST:PORT DOCUMENT");
    let (folder, node, name) = (next()?, next()?, next()?);
    let replica = Replica::open(folder)?;
    replica.link(&node, LinkOptions::default())?;
    let document = replica.yjs(&name)?;
    let shown = document.clone();
    let _watch = document.observe_presence(move |_| show(&shown))?;
    println!("id {}", document.presence_id()?);
    for line in std::io::stdin().lock().lines() {
        let name = line?;
        let state = if name.is_empty() { Value::Null } else { json!({ "name": name }) };
        document.set_presence(&state)?;
    }
    Ok(replica.close()?)
}

fn show(document: &YjsDocument) {
    match document.presence().map(|states| serde_json::to_string(&states)) {
        Ok(Ok(states)) => println!("here {states}"),
        Ok(Err(error)) => eprintln!("{error}"),
        Err(error) => eprintln!("{error}"),
    }
}
