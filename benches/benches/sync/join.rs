//! Who comes back and lacks something, or comes for the first time.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Cost, Kind, Place, Server};
use super::table::{self, Row};

/// What everybody has before the others go on.
const BASE: u64 = 1_000;
/// Each way.
const FAR: Duration = Duration::from_millis(50);

const COLUMNS: [&str; 7] = [
    "client",
    "there, ms",
    "in sync, ms",
    "client, ms of processor",
    "server, ms of processor",
    "kB to it",
    "kB from it",
];

/// Some operations behind.
pub(crate) fn behind(place: &Place) -> io::Result<String> {
    let counts: &[(u64, usize)] = if place.quick { &[(100, 1)] } else { &[(1_000, 5), (100_000, 3)] };
    let mut tables = String::new();
    for &(count, rounds) in counts {
        let mut rows = Vec::new();
        for kinds in [&Kind::YJS[..], &[Kind::AutomergeRepo]] {
            rows.extend(come_back(place, kinds, count, rounds)?);
        }
        let heading = format!(
            "Everybody has the first {BASE} edits of `automerge-paper`, and goes; the next {count} are written one by one; \
             {rounds} of each client come back. Medians; of processor time, means."
        );
        tables += &table::table(&format!("{count} operations behind"), &heading, &COLUMNS, &rows);
    }
    Ok(tables)
}

fn come_back(place: &Place, kinds: &[Kind], count: u64, rounds: usize) -> io::Result<Vec<Row>> {
    let server = Server::start(&place.tombolo)?;
    let (mut writer, doc) = author(place, kinds, &server)?;
    write(&mut writer, &doc, "automerge-paper", 0, Some(BASE))?;
    let mut clients = Vec::new();
    for _ in 0..rounds {
        for kind in kinds {
            let mut client = Client::start(*kind, &place.scripts, &server)?;
            client.tell(&json!({ "do": "open", "doc": doc }))?;
            client.tell(&json!({ "do": "leave" }))?;
            clients.push(client);
        }
    }
    let length = write(&mut writer, &doc, "automerge-paper", BASE, Some(BASE + count))?;
    drop(writer);
    server.rest();
    let mut costs = vec![Vec::new(); kinds.len()];
    for mut client in clients {
        let cost = client.measure(&server, &json!({ "do": "join", "doc": doc, "length": length }))?;
        put(&mut costs, kinds, &client, cost);
    }
    Ok(rows(kinds, &costs))
}

/// All of a document, from nothing.
pub(crate) fn traces(place: &Place) -> io::Result<String> {
    let (rounds, edits) = if place.quick { (1, Some(500)) } else { (3, None) };
    let mut tables = String::new();
    let wanted = if place.quick { &["rustcode"][..] } else { &["automerge-paper", "rustcode"] };
    for trace in wanted {
        let mut rows = Vec::new();
        for kinds in [&Kind::YJS[..], &[Kind::AutomergeRepo]] {
            rows.extend(first(place, kinds, trace, edits, rounds)?);
        }
        let heading = format!(
            "All of it was written one edit after the other; {rounds} new clients of each kind take turns. Medians; of processor time, means."
        );
        tables += &table::table(&format!("First sync of `{trace}`"), &heading, &COLUMNS, &rows);
    }
    Ok(tables)
}

fn first(
    place: &Place,
    kinds: &[Kind],
    trace: &str,
    edits: Option<u64>,
    rounds: usize,
) -> io::Result<Vec<Row>> {
    let server = Server::start(&place.tombolo)?;
    let (mut writer, doc) = author(place, kinds, &server)?;
    let length = write(&mut writer, &doc, trace, 0, edits)?;
    drop(writer);
    server.rest();
    let mut costs = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for kind in kinds {
            let mut client = Client::start(*kind, &place.scripts, &server)?;
            // It has started when it answers.
            client.tell(&json!({ "do": "heard" }))?;
            let cost = client.measure(&server, &json!({ "do": "join", "doc": doc, "length": length }))?;
            put(&mut costs, kinds, &client, cost);
        }
    }
    Ok(rows(kinds, &costs))
}

/// Many documents, few of them changed.
pub(crate) fn many(place: &Place) -> io::Result<String> {
    let (count, changed) = if place.quick { (200, 2) } else { (10_000, 10) };
    let mut rows = Vec::new();
    for kind in [Kind::Native, Kind::Hocuspocus] {
        rows.push(return_to_many(place, kind, count, changed)?);
    }
    rows.push(vec![Kind::YWebsocket.name().to_owned(), "a connection for each".to_owned()]);
    rows.push(vec![Kind::AutomergeRepo.name().to_owned(), "minutes of processor".to_owned()]);
    let heading = format!(
        "A client has {count} documents, goes, somebody changes {changed}, it comes back; *far away* is once more with \
         {} ms to the server and back. *At first* it makes them, a letter in each, until all are in sync; Hocuspocus \
         merely opens them.",
        2 * FAR.as_millis()
    );
    let mut columns = COLUMNS.to_vec();
    columns.extend(["there, far away", "in sync, far away", "at first, s", "client, s of processor"]);
    Ok(table::table(&format!("{count} documents, {changed} of them changed"), &heading, &columns, &rows))
}

fn return_to_many(place: &Place, kind: Kind, count: u64, changed: u64) -> io::Result<Row> {
    let server = Server::start(&place.tombolo)?;
    let mut client = Client::start(kind, &place.scripts, &server)?;
    let start = Instant::now();
    let answer =
        client.tell(&json!({ "do": "many", "prefix": "many/", "count": count, "changed": changed }))?;
    let at_first = (start.elapsed(), client.cpu_time());
    let docs = answer.get("docs").cloned().unwrap_or_default();
    let mut writer = Client::start(Kind::Hocuspocus, &place.scripts, &server)?;
    // What is done when one has just come is not over yet.
    server.rest();
    let base = if kind == Kind::Hocuspocus { 0 } else { 1 };
    let mut costs = Vec::new();
    for (turn, delay) in [Duration::ZERO, FAR].into_iter().enumerate() {
        client.tell(&json!({ "do": "leave" }))?;
        writer.tell(&json!({ "do": "touch", "docs": docs }))?;
        server.rest();
        client.delay(delay);
        let length = base + 1 + turn;
        costs.push(client.measure(&server, &json!({ "do": "rejoin", "docs": docs, "length": length }))?);
    }
    let [near, far] = costs.as_slice() else { return Err(io::ErrorKind::InvalidData.into()) };
    let mut row = table::row(kind.name(), std::slice::from_ref(near));
    row.extend([far.there, far.in_sync].map(|time| format!("{:.0}", table::ms(time))));
    row.extend([at_first.0, at_first.1].map(|time| format!("{:.1}", time.as_secs_f64())));
    Ok(row)
}

/// Who writes what these read, and the document's name.
fn author(place: &Place, kinds: &[Kind], server: &Server) -> io::Result<(Client, Value)> {
    let is_automerge = kinds.contains(&Kind::AutomergeRepo);
    let kind = if is_automerge { Kind::AutomergeRepo } else { Kind::Hocuspocus };
    let mut writer = Client::start(kind, &place.scripts, server)?;
    let wished = if is_automerge { "new" } else { "document" };
    let answer = writer.tell(&json!({ "do": "open", "doc": wished }))?;
    Ok((writer, answer.get("doc").cloned().unwrap_or_default()))
}

/// Writes edits of a trace until the server has fsynced them; gives the length.
fn write(writer: &mut Client, doc: &Value, trace: &str, from: u64, to: Option<u64>) -> io::Result<u64> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/traces");
    let file = fixtures.join(format!("{trace}.json.gz"));
    let to = to.unwrap_or(u64::from(u32::MAX));
    let answer = writer.tell(&json!({ "do": "trace", "doc": doc, "file": file, "from": from, "to": to }))?;
    Ok(answer.get("length").and_then(Value::as_u64).unwrap_or_default())
}

fn put(costs: &mut [Vec<Cost>], kinds: &[Kind], client: &Client, cost: Cost) {
    let place = kinds.iter().position(|kind| *kind == client.kind());
    if let Some(costs) = place.and_then(|place| costs.get_mut(place)) {
        costs.push(cost);
    }
}

fn rows(kinds: &[Kind], costs: &[Vec<Cost>]) -> Vec<Row> {
    kinds.iter().zip(costs).map(|(kind, costs)| table::row(kind.name(), costs)).collect()
}
