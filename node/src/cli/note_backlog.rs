//! What `tombolo note sync` says of what changed in a long time apart, and what is decided about it.

use std::time::Duration;

use serde_json::{Value, json};

use super::note_args::Sync;
use super::output::plain;
use crate::replica::{Backlog, BacklogEstimate, Decision, DocumentId, LinkStatus, Replica};

/// Says what is to be done with what waits, before it is known whether anything does.
pub(super) fn decide(replica: &Replica, url: &str, args: &Sync) {
    let some = args.merge_only.iter().cloned().map(Decision::MergeOnly);
    for decision in args.merge.then_some(Decision::Merge).into_iter().chain(some) {
        // The link was made just now.
        let _ = replica.decide(url, decision);
    }
}

pub(super) fn backlog_row(backlog: &Backlog, about: &BacklogEstimate, link: &LinkStatus) -> Value {
    let names = |documents: &[DocumentId]| documents.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "days_away": backlog.away.map(|away| away.as_secs() / (24 * 3600)),
        "here": names(&backlog.apart.here),
        "there": names(&backlog.apart.there),
        "both": names(&backlog.apart.both),
        "knows_there": backlog.apart.knows_there,
        "held": link.held,
        "operations_here_about": about.operations,
        "bytes_here_about": about.bytes,
    })
}

/// The same for people: a line for each side, and one for each note that changed on both.
pub(super) fn backlog_lines(backlog: &Backlog, about: &BacklogEstimate, link: &LinkStatus) -> Vec<String> {
    let apart = &backlog.apart;
    let away = backlog.away.map_or_else(
        || "for an unknown time, since a clock was set back".to_owned(),
        |away| format!("for {}", time(away)),
    );
    let there = if apart.knows_there { apart.there.len().to_string() } else { "?".to_owned() };
    let waits = if link.held > 0 { format!("; {} wait for --merge", link.held) } else { String::new() };
    let mut lines = vec![format!(
        "  not in sync {away}: {} changed here, {there} there, {} on both sides (here about {} edits, {} bytes){waits}",
        apart.here.len(),
        apart.both.len(),
        about.operations,
        about.bytes
    )];
    lines.extend(apart.both.iter().map(|id| format!("  changed on both sides: {}", plain(&id.to_string()))));
    lines
}

fn time(away: Duration) -> String {
    match away.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / (24 * 3_600)),
    }
}
