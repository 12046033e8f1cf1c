//! What goes on in the rooms of a server, over a while: for `tombolo top`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tombolo_relay::{Onlooker, RoomStatus, Traffic};
use tombolo_store::maintain::Progress;

use super::protocol::{Code, Event, Failure, FormatName, Sink};

/// Longest time to look, in ms.
const OVER_MS_MAX: u64 = 10_000;
/// How long it sleeps before it sees whether anybody still waits.
const NAP: Duration = Duration::from_millis(50);

/// What happened in one room, or in all.
#[derive(Clone, Copy, Debug, Default)]
struct Happened {
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
}

impl Happened {
    /// `before` is nothing for a room that was opened meanwhile.
    fn between(before: Traffic, now: Traffic) -> Self {
        Self {
            messages_in: now.messages_in.saturating_sub(before.messages_in),
            bytes_in: now.bytes_in.saturating_sub(before.bytes_in),
            messages_out: now.messages_out.saturating_sub(before.messages_out),
            bytes_out: now.bytes_out.saturating_sub(before.bytes_out),
        }
    }

    fn add(&mut self, other: Self) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
    }

    /// What the busiest come first by.
    fn weight(self) -> (u64, u64) {
        (self.bytes_in + self.bytes_out, self.messages_in + self.messages_out)
    }

    fn write(self, ms: u64, into: &mut Value) {
        for (key, count) in [
            ("messages_in_per_s", self.messages_in),
            ("bytes_in_per_s", self.bytes_in),
            ("messages_out_per_s", self.messages_out),
            ("bytes_out_per_s", self.bytes_out),
        ] {
            if let Some(into) = into.as_object_mut() {
                into.insert(key.to_owned(), json!(per_second(count, ms)));
            }
        }
    }
}

/// To one decimal: who types is slower than a message in each second.
#[expect(clippy::cast_precision_loss, reason = "nobody reads that many digits")]
fn per_second(count: u64, ms: u64) -> f64 {
    (count.saturating_mul(10_000) / ms.max(1)) as f64 / 10.0
}

/// A row for each of the busiest rooms; the answer is about all of them.
pub(super) fn rooms(
    onlooker: &Onlooker,
    over_ms: u64,
    limit: u64,
    sink: &mut Sink<'_>,
) -> Result<Value, Failure> {
    if !(1..=OVER_MS_MAX).contains(&over_ms) {
        return Err(Failure::new(Code::Request, format!("look for 1 to {OVER_MS_MAX} ms, not {over_ms}")));
    }
    let start = Instant::now();
    let before: HashMap<u64, Traffic> =
        onlooker.rooms().into_iter().map(|room| (room.number, room.traffic)).collect();
    wait(start, Duration::from_millis(over_ms), sink)?;
    let now = onlooker.rooms();
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut all = Happened::default();
    let (mut queue_bytes, mut refusals) = (0, 0);
    let mut rooms: Vec<(Happened, RoomStatus)> = Vec::with_capacity(now.len());
    for room in now {
        let happened = Happened::between(before.get(&room.number).copied().unwrap_or_default(), room.traffic);
        all.add(happened);
        queue_bytes += room.queue_bytes;
        refusals += room.traffic.refusals;
        rooms.push((happened, room));
    }
    let rank = |(happened, room): &(Happened, RoomStatus)| (happened.weight(), room.members);
    rooms.sort_by(|one, other| {
        rank(other).cmp(&rank(one)).then_with(|| one.1.document.cmp(&other.1.document))
    });
    let (total, shown) = (rooms.len(), usize::try_from(limit).unwrap_or(usize::MAX));
    for (happened, room) in rooms.into_iter().take(shown) {
        sink(Event::Row(row(happened, &room, ms)))?;
    }
    let connections = |dialect| onlooker.connections(dialect);
    let mut answer = json!({
        "count": total,
        "over_ms": ms,
        "connections": {
            "yjs": connections("yjs"),
            "hocuspocus": connections("hocuspocus"),
            "automerge": connections("automerge"),
            "webrtc": connections("webrtc"),
        },
        "queue_bytes": queue_bytes,
        "refusals": refusals,
    });
    all.write(ms, &mut answer);
    Ok(answer)
}

fn wait(start: Instant, long: Duration, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let of = u64::try_from(long.as_millis()).unwrap_or(u64::MAX);
    loop {
        let left = long.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(NAP));
        // Whoever went away, as a server that ends, is not waited for.
        let done = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).min(of);
        sink(Event::Progress(Progress { done, of }))?;
    }
}

fn row(happened: Happened, room: &RoomStatus, ms: u64) -> Value {
    let mut row = json!({
        "name": room.document.to_string(),
        "format": FormatName::of(room.document.format()),
        "members": room.members,
        "queue_bytes": room.queue_bytes,
        "refusals": room.traffic.refusals,
    });
    happened.write(ms, &mut row);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_time_that_passed() {
        for (count, ms, rate) in
            [(0, 1000, 0.0), (10, 1000, 10.0), (1, 1003, 0.9), (15, 10_000, 1.5), (1, 0, 1000.0)]
        {
            assert!((per_second(count, ms) - rate).abs() < 1e-9, "{count} in {ms} ms");
        }
    }
}
