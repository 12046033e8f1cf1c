//! A linked replica as a process of its own: takes commands as lines of JSON, answers each with one. The stock clients
//! in `benches/sync/client.mjs` take the same.
//!
//! - `open` a document and connect, until it is in sync; `leave`, and keep what there is.
//! - `join`: connect until a document has its length, which is `there` in ns, and is in sync, which is `ns`.
//! - `watch` a document; `heard` is when it had which length. `type` letters with a pause between, each an edit; `typed`
//!   is when each was begun, which length it made and how long the edit took, `payload` the bytes of their updates.
//! - `many` documents are made or opened, until all are in sync; `docs` are those to be changed. `rejoin`: as `join`, for
//!   these, until everything is in sync.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tombolo::replica::{LinkOptions, Observation, Origin, Replica, Subscription, YjsDocument};

/// Tells the child what it is.
const ROLE: &str = "TOMBOLO_BENCH_REPLICA";
const PATIENCE: Duration = Duration::from_secs(600);

/// How it is started; behind it come the server's URL and a folder.
pub(crate) fn command() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, "1");
    Ok(command)
}

/// The URL and the folder, if this process was started to be one.
pub(crate) fn asked_to_be() -> Option<(String, PathBuf)> {
    std::env::var_os(ROLE)?;
    let mut args = std::env::args().skip(1);
    Some((args.next()?, args.next()?.into()))
}

/// Nanoseconds of the clock that all processes of a machine share.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default()
}

/// In the child: obeys until nobody commands any more.
pub(crate) fn run(url: &str, folder: &Path) -> io::Result<()> {
    let replica = Replica::open(folder.join("replica")).map_err(io::Error::other)?;
    let mut native = Native {
        replica,
        url: url.to_owned(),
        prefix: String::new(),
        watched: None,
        documents: BTreeMap::new(),
    };
    for line in io::stdin().lock().lines() {
        let command = serde_json::from_str(&line?)?;
        let answer = native.obey(&command).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Heard = Arc<Mutex<Vec<(u64, usize)>>>;

struct Native {
    replica: Replica,
    url: String,
    /// What the link keeps in sync.
    prefix: String,
    watched: Option<(Heard, Observation)>,
    documents: BTreeMap<String, YjsDocument>,
}

impl Native {
    fn obey(&mut self, command: &Value) -> Result<Value> {
        let text = |name: &str| command.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| {
            command.get(name).and_then(Value::as_u64).map_or(0, |n| usize::try_from(n).unwrap_or(0))
        };
        let docs =
            || command.get("docs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        match text("do") {
            "open" => {
                self.prefix = text("doc").to_owned();
                self.document(text("doc"))?;
                self.connect()?;
                self.wait()?;
                Ok(json!({ "doc": text("doc") }))
            }
            "leave" => Ok(json!({ "was": self.replica.unlink(&self.url) })),
            "join" => {
                self.prefix = text("doc").to_owned();
                self.connect_until(&[text("doc")], number("length"))
            }
            "watch" => self.watch(text("doc")),
            "heard" => {
                let heard = self.watched.as_ref().map(|(heard, _)| lock(heard).clone());
                Ok(json!({ "heard": heard }))
            }
            "type" => self.type_letters(text("doc"), number("count"), number("pause_ms") as u64),
            "many" => self.many(text("prefix"), number("count"), number("changed")),
            "rejoin" => self.connect_until(&docs().collect::<Vec<_>>(), number("length")),
            other => Err(format!("a replica cannot {other} here").into()),
        }
    }

    fn document(&mut self, name: &str) -> Result<YjsDocument> {
        if let Some(document) = self.documents.get(name) {
            return Ok(document.clone());
        }
        let document = self.replica.yjs(name)?;
        self.documents.insert(name.to_owned(), document.clone());
        Ok(document)
    }

    fn connect(&self) -> Result<()> {
        let subscription = Subscription::prefixes([self.prefix.as_str()]);
        Ok(self.replica.link(&self.url, LinkOptions { subscription, ..LinkOptions::default() })?)
    }

    fn wait(&self) -> Result<()> {
        let links = self.replica.wait_for_sync(PATIENCE);
        match links.iter().find(|link| !link.in_sync) {
            Some(link) => Err(format!("waited in vain: {link:?}").into()),
            None => Ok(()),
        }
    }

    fn connect_until(&mut self, names: &[&str], length: usize) -> Result<Value> {
        let start = Instant::now();
        let (changed, changes) = channel();
        let mut watched = Vec::new();
        for name in names {
            let (document, changed) = (self.document(name)?, changed.clone());
            // Who has all that it wants listens no more.
            let told = document.observe(move |_| changed.send(()).unwrap_or_default());
            watched.push((told, document));
        }
        self.connect()?;
        for (_, document) in &watched {
            while length_of(document)? != length {
                changes.recv_timeout(PATIENCE)?;
            }
        }
        let there = nanoseconds(start);
        self.wait()?;
        Ok(json!({ "there": there, "ns": nanoseconds(start) }))
    }

    fn watch(&mut self, name: &str) -> Result<Value> {
        let document = self.document(name)?;
        let heard = Heard::default();
        let (told, watched) = (Arc::clone(&heard), document.clone());
        let observation = document.observe(move |_| {
            let now = now();
            // What cannot be read is not heard.
            if let Ok(length) = length_of(&watched) {
                lock(&told).push((now, length));
            }
        });
        self.watched = Some((heard, observation));
        Ok(json!({}))
    }

    fn type_letters(&mut self, name: &str, count: usize, pause_ms: u64) -> Result<Value> {
        let document = self.document(name)?;
        let payload = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&payload);
        let _observation = document.observe(move |change| {
            if change.origin == Origin::Local {
                counted.fetch_add(change.update.len() as u64, Ordering::Relaxed);
            }
        });
        let before = length_of(&document)?;
        let mut typed = Vec::with_capacity(count);
        for n in 0..count {
            let (begun, start) = (now(), Instant::now());
            document.edit(|edit| {
                edit.text("text").push("x");
                Ok(())
            })?;
            typed.push((begun, before + n + 1, nanoseconds(start)));
            std::thread::sleep(Duration::from_millis(pause_ms));
        }
        Ok(json!({ "typed": typed, "payload": payload.load(Ordering::Relaxed) }))
    }

    /// Documents are not held open: what has many opens what it shows.
    fn many(&mut self, prefix: &str, count: usize, changed: usize) -> Result<Value> {
        let names: Vec<_> = (0..count).map(|n| format!("{prefix}{n}")).collect();
        for name in &names {
            self.replica.yjs(name)?.edit(|edit| {
                edit.text("text").push("x");
                Ok(())
            })?;
        }
        self.prefix = prefix.to_owned();
        self.connect()?;
        self.wait()?;
        let docs: Vec<_> = names.iter().step_by(count / changed.max(1)).take(changed).collect();
        Ok(json!({ "docs": docs }))
    }
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// As the stock clients count.
fn length_of(document: &YjsDocument) -> Result<usize> {
    Ok(document.text("text")?.encode_utf16().count())
}

fn lock(heard: &Heard) -> std::sync::MutexGuard<'_, Vec<(u64, usize)>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
