//! `tombolo note link`, `sync` and `explain`: notes here and elsewhere.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tombolo_core::id::DocumentId;
use tombolo_core::session::{Lag, Standing};
use tombolo_store::worker::{ProcessWorker, Worker};

use super::merge_process;
use super::note::with_notes;
use super::note_args::{Explain, Link, LinkAdd, LinkRm, Sync};
use super::note_backlog::{backlog_lines, backlog_row, decide};
use super::output::{Output, field, says};
use super::signal::Ends;
use crate::admin::{AdminServer, Desk};
use crate::config::Settings;
use crate::error::Error;
use crate::note::{NoteError, NoteLink, Notebook, load_links, save_links};
use crate::replica::{LinkState, LinkStatus, ListenOptions, Replica, ReplicaError};

/// How often what is shown of a sync is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the end waits for what is on its way.
const LAST: Duration = Duration::from_secs(2);

pub(super) fn link(settings: &Settings, command: &Link) -> Result<(), Error> {
    match command {
        Link::Add(args) => add(settings, args),
        Link::Rm(args) => remove(settings, args),
        Link::List(args) => list(settings, args.at.json),
    }
}

fn add(settings: &Settings, args: &LinkAdd) -> Result<(), Error> {
    let link = NoteLink::new(&args.url, args.token.clone())?;
    let (only, stale_after_days, holds) = (args.only.clone(), args.stale_after, args.hold);
    let link = NoteLink { only, stale_after_days, holds, ..link };
    // Made by this, if there is none yet; a server that has it does not mind.
    with_notes(settings, |_| Ok(()))?;
    let mut links = load_links(&settings.data)?;
    if links.iter().any(|other| other.url == link.url) {
        return Err(NoteError::Linked { url: link.url }.into());
    }
    let answer = json!({ "url": link.url });
    links.push(link);
    save_links(&settings.data, &links)?;
    Output::new(args.at.json)
        .answer(&answer, |answer| format!("linked to {}; `tombolo note sync` syncs", field(answer, "url")))
}

fn remove(settings: &Settings, args: &LinkRm) -> Result<(), Error> {
    let mut links = load_links(&settings.data)?;
    let url = NoteLink::new(&args.url, None).map_or_else(|_| args.url.clone(), |link| link.url);
    let before = links.len();
    links.retain(|link| link.url != url);
    if links.len() == before {
        return Err(NoteError::NotLinked { url }.into());
    }
    save_links(&settings.data, &links)?;
    Output::new(args.at.json).answer(&json!({ "url": url }), |answer| {
        format!("no longer linked to {}; what is there stays there", field(answer, "url"))
    })
}

fn list(settings: &Settings, json: bool) -> Result<(), Error> {
    let rows = with_notes(settings, |notes| Ok(linked(settings, notes)?))?;
    let mut output = Output::table(json, format!("{:8}  {:5}  {}", "UNSYNCED", "TOKEN", "LINK"));
    for row in &rows {
        let line = |row: &Value| {
            let token = if says(row, "token") { "yes" } else { "no" };
            format!("{:>8}  {token:5}  {}", unsynced(row), field(row, "url"))
        };
        output.row("links", row, line).map_err(Error::Output)?;
    }
    output.end_of_rows("links", &json!({})).map_err(Error::Output)
}

/// The links, and how many notes may not be there yet.
pub(super) fn linked(settings: &Settings, notes: &Notebook) -> Result<Vec<Value>, NoteError> {
    let row = |link: NoteLink| {
        let unsynced = match notes {
            Notebook::Here(replica) => Some(replica.unsynced(&link.url, &link.subscription())?),
            // A server that has them does not sync them.
            Notebook::There(_) => None,
        };
        let only: Vec<_> = link.only.iter().map(ToString::to_string).collect();
        Ok(json!({
            "url": link.url,
            "token": link.token.is_some(),
            "unsynced": unsynced,
            "only": only,
            "stale_after_days": link.stale_after_days,
            "hold": link.holds,
        }))
    };
    load_links(&settings.data)?.into_iter().map(row).collect()
}

/// The same of one link, for people.
pub(super) fn unsynced(link: &Value) -> String {
    match field(link, "unsynced") {
        none if none.is_empty() => "?".to_owned(),
        count => count,
    }
}

/// Opens the notes with all their links, for a while; without any if they may come to nothing.
fn with_links<T>(
    settings: &Settings,
    may_be_none: bool,
    decide: impl Fn(&Replica, &str),
    work: impl FnOnce(&Replica) -> Result<T, Error>,
) -> Result<T, Error> {
    let links = load_links(&settings.data)?;
    if links.is_empty() && !may_be_none {
        return Err(NoteError::NoLinks.into());
    }
    with_notes(settings, |notes| {
        let Notebook::Here(replica) = notes else { return Err(NoteError::ServerHasThem.into()) };
        for link in &links {
            replica.link(&link.url, link.options()).map_err(NoteError::Replica)?;
            decide(replica, &link.url);
        }
        work(replica)
    })
}

pub(super) fn sync(settings: &Settings, args: &Sync) -> Result<(), Error> {
    let decide = |replica: &Replica, url: &str| decide(replica, url, args);
    with_links(settings, args.listen.is_some(), decide, |replica| {
        let links = if args.stay {
            if let Some(address) = args.listen {
                let options = ListenOptions { token: args.listen_token.clone(), ..ListenOptions::default() };
                let address = replica.listen(address, options).map_err(NoteError::Replica)?;
                eprintln!("others can link to ws://{address}");
            }
            stay(settings, replica)?;
            // What has just come is asked after once more.
            replica.wait_for_sync(LAST)
        } else {
            wait(replica, Duration::from_secs(args.limit))
        };
        report(replica, &links, args.at.json)
    })
}

/// Waits until all is in sync or the time is over, and shows how far it is.
fn wait(replica: &Replica, limit: Duration) -> Vec<LinkStatus> {
    let is_watched = io::stderr().is_terminal();
    let bar = indicatif::ProgressBar::new_spinner();
    let links = replica.wait_for_sync_looking(limit, || {
        if is_watched {
            bar.set_message(replica.links().iter().map(progress).collect::<Vec<_>>().join(", "));
            bar.tick();
        }
    });
    bar.finish_and_clear();
    if links.iter().all(|link| link.in_sync) {
        // What has just been stored there is listed there as well: heard of now, it is not taken for somebody else's the next time.
        let _ = replica.wait_for_sync(LAST);
    }
    links
}

fn progress(link: &LinkStatus) -> String {
    match link.state {
        LinkState::Online | LinkState::Degraded => format!("{}: {} to go", link.url, link.lagging),
        state => format!("{}: {state}", link.url),
    }
}

/// Syncs until somebody wants the end. Other commands are answered meanwhile, and links that they add are used.
fn stay(settings: &Settings, replica: &Replica) -> Result<(), Error> {
    let worker: Arc<dyn Worker> = ProcessWorker::start(merge_process()?)?;
    let desk = Arc::new(Desk::over(replica, worker));
    let mut links = load_links(&settings.data)?;
    eprintln!("syncing; Ctrl-C ends it");
    let mut last = Vec::new();
    let mut told = |replica: &Replica| {
        let now: Vec<String> = replica.links().iter().map(state_of).collect();
        if now != last {
            now.iter().for_each(|line| eprintln!("{line}"));
            last = now;
        }
    };
    tokio::runtime::Handle::current().block_on(async {
        let mut ends = Ends::install()?;
        let admin = AdminServer::start(&settings.data, desk)?;
        loop {
            told(replica);
            relink(settings, replica, &mut links);
            tokio::select! {
                () = ends.wait() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        admin.stop().await;
        Ok(())
    })
}

/// Does what `note link add` and `rm` said meanwhile.
fn relink(settings: &Settings, replica: &Replica, links: &mut Vec<NoteLink>) {
    // A file that cannot be read now changes nothing; the command that wrote it says what is wrong with it.
    let Ok(now) = load_links(&settings.data) else { return };
    for gone in links.iter().filter(|link| !now.contains(link)) {
        // One that has ended by itself is as good.
        let _ = replica.unlink(&gone.url);
    }
    for new in now.iter().filter(|link| !links.contains(link)) {
        if let Err(error) = replica.link(&new.url, new.options()) {
            eprintln!("{}: {error}", new.url);
        }
    }
    *links = now;
}

fn state_of(link: &LinkStatus) -> String {
    let what = match (link.in_sync, link.keeps, &link.error) {
        (false, _, None) if link.held > 0 => format!("{}, {} waiting for a decision", link.state, link.held),
        (true, Some(true), _) => "in sync".to_owned(),
        (true, _, _) => "handed over; nobody there keeps it".to_owned(),
        (false, _, Some(error)) => error.clone(),
        (false, _, None) => format!("{}, {} to go", link.state, link.lagging),
    };
    format!("{}: {what}", link.url)
}

/// Says how all links were, and of each note that is not in sync why.
fn report(replica: &Replica, links: &[LinkStatus], json: bool) -> Result<(), Error> {
    let lagging = replica.lagging();
    let mut output = Output::new(json);
    for link in links {
        let unsynced: Vec<Value> = lagging
            .iter()
            .filter(|(url, _, standing)| *url == link.url && is_left_out(link, standing))
            .map(
                |(_, document, standing)| json!({ "name": document.to_string(), "why": why(standing, link) }),
            )
            .collect();
        let backlog = link.backlog.as_deref().map(|backlog| Ok((backlog, replica.estimate(backlog)?)));
        let backlog = backlog.transpose().map_err(NoteError::Replica)?;
        let row = json!({
            "url": link.url,
            "state": link.state.to_string(),
            "in_sync": link.in_sync && unsynced.is_empty(),
            "kept": link.keeps,
            "error": link.error,
            "unsynced": unsynced,
            "backlog": backlog.as_ref().map(|(backlog, about)| backlog_row(backlog, about, link)),
        });
        output
            .row("links", &row, |_| {
                let lines =
                    unsynced.iter().map(|row| format!("  {}: {}", field(row, "name"), field(row, "why")));
                let backlog = backlog.as_ref().map(|(backlog, about)| backlog_lines(backlog, about, link));
                let lines = backlog.into_iter().flatten().chain(lines);
                std::iter::once(state_of(link)).chain(lines).collect::<Vec<_>>().join("\n")
            })
            .map_err(Error::Output)?;
    }
    output.end_of_rows("links", &json!({})).map_err(Error::Output)?;
    let parked = lagging.iter().any(|(_, _, standing)| matches!(standing.lag, Some(Lag::Parked { .. })));
    if links.iter().any(|link| link.held > 0) {
        return Err(NoteError::Waits.into());
    }
    if parked || links.iter().any(|link| !link.in_sync) { Err(NoteError::NotSynced.into()) } else { Ok(()) }
}

/// What lags on a link that was in sync has come since, unless it is parked; what is held is said with the backlog.
fn is_left_out(link: &LinkStatus, standing: &Standing) -> bool {
    (!link.in_sync && standing.lag != Some(Lag::Held)) || matches!(standing.lag, Some(Lag::Parked { .. }))
}

/// Why a document is not in sync, for people.
fn why(standing: &Standing, link: &LinkStatus) -> String {
    match &standing.lag {
        None => "in sync".to_owned(),
        Some(Lag::Offline) => link.error.clone().unwrap_or_else(|| "there is no connection".to_owned()),
        Some(Lag::Parked { reason, .. }) => {
            format!("refused there: {reason}; it is not tried again by itself")
        }
        Some(Lag::Dropped { reason, .. }) => format!("refused there, and left at that: {reason}"),
        Some(Lag::Refused { reason, .. }) => format!("refused for now: {reason}; it is tried again"),
        Some(Lag::Held) => "it changed in a long time apart, and waits for a decision".to_owned(),
        Some(Lag::Queued) => "it waits for others".to_owned(),
        Some(Lag::Comparing) => "what each side lacks is being found out".to_owned(),
        Some(Lag::Storing) => "what came is on its way to the disk here".to_owned(),
        Some(Lag::Unacknowledged) => "it was sent, and is not known to be stored there".to_owned(),
        Some(Lag::Unkept) => "it was handed over, and nobody there keeps it for sure".to_owned(),
    }
}

pub(super) fn explain(settings: &Settings, args: &Explain) -> Result<(), Error> {
    let id = DocumentId::yjs(&args.name)
        .map_err(|source| NoteError::Replica(ReplicaError::Name { name: args.name.clone(), source }))?;
    with_links(
        settings,
        false,
        |_, _| (),
        |replica| {
            if replica
                .store()
                .describe(&id)
                .map_err(|error| NoteError::Replica(ReplicaError::Read(error)))?
                .is_none()
            {
                return Err(NoteError::Missing { name: args.name.clone() }.into());
            }
            let links = wait(replica, Duration::from_secs(args.limit));
            let mut output = Output::new(args.at.json);
            for (url, standing) in replica.explain(&id) {
                let Some(link) = links.iter().find(|link| link.url == url) else { continue };
                let why = match &standing {
                    Some(standing) => why(standing, link),
                    None if link.in_sync => "in sync".to_owned(),
                    None => link
                        .error
                        .clone()
                        .unwrap_or_else(|| "it has not changed since it was in sync".to_owned()),
                };
                let row = json!({ "url": url, "why": why });
                let line = |row: &Value| format!("{}: {}", field(row, "url"), field(row, "why"));
                output.row("links", &row, line).map_err(Error::Output)?;
            }
            output.end_of_rows("links", &json!({})).map_err(Error::Output)
        },
    )
}
