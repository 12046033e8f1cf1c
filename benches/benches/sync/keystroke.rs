//! One letter, from the edit in one process to the observer in another.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Kind, Place, Server};
use super::table::{self, Row};

/// Between two letters, so that each goes by itself, in ms.
const PAUSE_MS: u64 = 20;
/// For what the last letter still causes.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// The table of this part.
pub(crate) fn measure(place: &Place) -> io::Result<String> {
    let letters: u64 = if place.quick { 10 } else { 500 };
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        rows.push(one(place, kind, letters)?);
    }
    let heading = format!(
        "A letter, {letters} times, {PAUSE_MS} ms apart; {:.2} ms is the median of a write and an \
         `fdatasync` here, as far apart. Bytes are \
         those of each letter on the wire, less its update where it goes; the last columns are processor time for each, in ms.",
        table::ms(fdatasync(place)?)
    );
    let columns = [
        "client",
        "the edit, ms",
        "median, ms",
        "p99, ms",
        "update",
        "from the writer",
        "to the writer",
        "to the reader",
        "from the reader",
        "writer",
        "server",
        "reader",
    ];
    Ok(table::table("One keystroke", &heading, &columns, &rows))
}

fn one(place: &Place, kind: Kind, letters: u64) -> io::Result<Row> {
    let server = Server::start(&place.tombolo)?;
    let mut writer = Client::start(kind, &place.scripts, &server)?;
    let mut reader = Client::start(kind, &place.scripts, &server)?;
    let (pause, afterwards) = if place.quick { (20, AFTERWARDS / 10) } else { (300, AFTERWARDS) };
    let wished = if kind == Kind::AutomergeRepo { "new" } else { "letters" };
    let doc = writer.tell(&json!({ "do": "open", "doc": wished }))?;
    let doc = doc.get("doc").cloned().unwrap_or_default();
    writer.tell(&json!({ "do": "type", "doc": doc, "count": 5, "pause_ms": pause }))?;
    reader.tell(&json!({ "do": "open", "doc": doc }))?;
    reader.tell(&json!({ "do": "watch", "doc": doc }))?;
    writer.tell(&json!({ "do": "type", "doc": doc, "count": 5, "pause_ms": pause }))?;
    std::thread::sleep(afterwards * 3);

    let all = |writer: &Client, reader: &Client| {
        (writer.bytes(), reader.bytes(), writer.cpu_time(), server.cpu_time(), reader.cpu_time())
    };
    let before = all(&writer, &reader);
    let typed = writer.tell(&json!({ "do": "type", "doc": doc, "count": letters, "pause_ms": PAUSE_MS }))?;
    std::thread::sleep(afterwards);
    let after = all(&writer, &reader);
    let heard = reader.tell(&json!({ "do": "heard" }))?;

    let mut times = latencies(&pairs(&typed, "typed"), &pairs(&heard, "heard"));
    if times.len() as u64 != letters {
        return Err(io::Error::other(format!("{}: {} of {letters} letters came", kind.name(), times.len())));
    }
    times.sort_unstable();
    let at = |share: usize| {
        times.get((times.len() * share / 100).min(times.len() - 1)).copied().unwrap_or_default()
    };
    let each = |bytes: u64| bytes as f64 / letters as f64;
    let payload = each(typed.get("payload").and_then(Value::as_u64).unwrap_or_default());
    let cpu = |time: Duration| format!("{:.2}", table::ms(time) / letters as f64);
    Ok(vec![
        kind.name().to_owned(),
        format!("{:.2}", table::median(&column(&typed, "typed", 2)) as f64 / 1e6),
        format!("{:.2}", table::ms(at(50))),
        format!("{:.1}", table::ms(at(99))),
        format!("{payload:.1}"),
        format!("+{:.1}", each(after.0.up - before.0.up) - payload),
        format!("{:.1}", each(after.0.down - before.0.down)),
        format!("{:+.1}", each(after.1.down - before.1.down) - payload),
        format!("{:.1}", each(after.1.up - before.1.up)),
        cpu(after.2 - before.2),
        cpu(after.3 - before.3),
        cpu(after.4 - before.4),
    ])
}

/// Of each element of a list of lists the one at this place.
fn column(answer: &Value, name: &str, place: usize) -> Vec<u64> {
    let list = answer.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|one| one.get(place)?.as_u64()).collect()
}

/// Times and lengths.
fn pairs(answer: &Value, name: &str) -> Vec<(u64, u64)> {
    column(answer, name, 0).into_iter().zip(column(answer, name, 1)).collect()
}

/// From when each was begun until the document had its length. Several may come as one.
fn latencies(typed: &[(u64, u64)], heard: &[(u64, u64)]) -> Vec<Duration> {
    let mut heard = heard.iter().peekable();
    let mut times = Vec::new();
    for (begun, length) in typed {
        while heard.next_if(|(_, heard)| heard < length).is_some() {}
        if let Some((at, _)) = heard.peek() {
            times.push(Duration::from_nanos(at.saturating_sub(*begun)));
        }
    }
    times
}

/// What the disk takes for a few bytes, now and then.
fn fdatasync(place: &Place) -> io::Result<Duration> {
    let folder = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR"))?;
    let mut file = File::create(folder.path().join("file"))?;
    file.write_all(&vec![0; 64 * 1024])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for _ in 0..if place.quick { 10 } else { 200 } {
        let start = Instant::now();
        io::Seek::rewind(&mut file)?;
        file.write_all(&[1; 64])?;
        file.sync_data()?;
        times.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    Ok(table::median(&times))
}
