//! `tombolo top`: what goes on in the rooms of a running server, second by second.

use std::path::Path;

use indicatif::HumanBytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::output::{Output, field, number};
use super::screen::{self, Screen};
use super::signal::Ends;
use super::store_args::Top;
use crate::admin::{Client, Event, Request};
use crate::config::Settings;
use crate::error::Error;

/// How long one look takes, in ms.
const LOOK_MS: u64 = 1_000;

/// What was seen in one look.
struct Look {
    rooms: Vec<Value>,
    all: Value,
}

pub(super) async fn run(settings: &Settings, top: &Top) -> Result<(), Error> {
    let (folder, limit) = (settings.data.clone(), top.limit);
    if !top.at.json && screen::is_there() {
        return live(folder, limit).await;
    }
    // Nothing else runs on this thread, so it may block.
    let seen = tokio::task::block_in_place(|| look(&folder, limit))?;
    let mut answer = seen.all.clone();
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("rooms".to_owned(), json!(seen.rooms));
    }
    Output::new(top.at.json).answer(&answer, |_| table(&seen).join("\n"))
}

/// Draws until somebody has seen enough.
async fn live(folder: std::path::PathBuf, limit: u64) -> Result<(), Error> {
    let mut ends = Ends::install()?;
    let mut keys = screen::keys()?;
    let mut looks = looks(folder, limit)?;
    let screen = Screen::open()?;
    screen.draw(&["looking for a second…".to_owned()]).map_err(Error::Output)?;
    loop {
        tokio::select! {
            () = ends.wait() => return Ok(()),
            key = keys.recv() => if matches!(key, None | Some(b'q' | b'Q')) {
                return Ok(());
            },
            seen = looks.recv() => match seen {
                Some(seen) => screen.draw(&table(&seen?)).map_err(Error::Output)?,
                None => return Ok(()),
            },
        }
    }
}

/// One look after the other, until one fails or nobody wants more.
fn looks(folder: std::path::PathBuf, limit: u64) -> std::io::Result<mpsc::Receiver<Result<Look, Error>>> {
    let (seen, looks) = mpsc::channel(1);
    // On no thread that the end of the process would wait for.
    std::thread::Builder::new().name("looks".into()).spawn(move || {
        loop {
            let look = look(&folder, limit);
            let failed = look.is_err();
            if seen.blocking_send(look).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(looks)
}

fn look(folder: &Path, limit: u64) -> Result<Look, Error> {
    let missing = |source| Error::NoServer { path: folder.into(), source };
    let client = Client::connect(folder).map_err(missing)?;
    let mut rooms = Vec::new();
    let request = Request::Rooms { over_ms: LOOK_MS, limit };
    let all = client.ask(&request, &[], &mut |event| {
        if let Event::Row(row) = event {
            rooms.push(row);
        }
        Ok(())
    })?;
    Ok(Look { rooms, all })
}

/// For people: all rooms in two lines, then one for each.
fn table(seen: &Look) -> Vec<String> {
    let connections = |dialect| seen.all.get("connections").map_or(0, |open| number(open, dialect));
    let mut lines = vec![
        format!(
            "{} rooms · connections: {} yjs, {} hocuspocus, {} automerge, {} webrtc",
            number(&seen.all, "count"),
            connections("yjs"),
            connections("hocuspocus"),
            connections("automerge"),
            connections("webrtc"),
        ),
        String::new(),
        format!(
            "{:>8} {:>10} {:>12} {:>10} {:>12} {:>12} {:>8}  ROOM",
            "MEMBERS", "MSG/S IN", "BYTES/S IN", "MSG/S OUT", "BYTES/S OUT", "QUEUED", "REFUSED"
        ),
        line(&seen.all, "", "(all)"),
    ];
    lines.extend(
        seen.rooms.iter().map(|room| line(room, &number(room, "members").to_string(), &field(room, "name"))),
    );
    let more = number(&seen.all, "count").saturating_sub(seen.rooms.len() as u64);
    if more > 0 {
        lines.push(format!("{more} more; --limit shows them"));
    }
    lines
}

fn line(of: &Value, members: &str, name: &str) -> String {
    let rate = |key| of.get(key).and_then(Value::as_f64).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
    let bytes = |key| HumanBytes(rate(key) as u64).to_string();
    format!(
        "{members:>8} {:>10.1} {:>12} {:>10.1} {:>12} {:>12} {:>8}  {name}",
        rate("messages_in_per_s"),
        bytes("bytes_in_per_s"),
        rate("messages_out_per_s"),
        bytes("bytes_out_per_s"),
        HumanBytes(number(of, "queue_bytes")).to_string(),
        number(of, "refusals"),
    )
}
