//! `tombolo verify`, `repair`, `compact` and `quarantine`.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value, json};
use tombolo_core::id::DocumentId;
use tombolo_store::OpenError;
use tombolo_store::maintain::{self, MaintainError, Verification};

use super::counter::{Counter, check_there_is_one};
use super::doc::{name_of, nothing};
use super::output::{Output, date, field, number, says};
use super::store_args::{Document, Quarantine, Release, Repair, Where, Whole};
use crate::admin::{self, Event, Named, Request};
use crate::config::Settings;
use crate::error::Error;

/// Findings that a person is shown, the worst of them; one lost shelf can have as many as documents.
const FINDINGS_SHOWN: u64 = 50;

/// Judges a folder that nobody uses whole, file by file; on a running server what can be judged while it changes.
pub(super) fn verify(settings: &Settings, args: &Whole) -> Result<(), Error> {
    check_there_is_one(settings)?;
    let mut report = Report { output: Output::new(args.at.json), findings: 0 };
    let done = match maintain::verify(&settings.data, &mut |progress| report.output.progress(progress)) {
        Ok(verification) => report.add_all(&verification).map_err(Error::Output)?,
        Err(MaintainError::Open(OpenError::Locked { .. })) => {
            let counter = Counter::open(settings)?;
            let done = counter.ask(&Request::Verify, &Bytes::new(), &mut |event| match event {
                Event::Progress(progress) => {
                    report.output.progress(progress);
                    Ok(())
                }
                Event::Row(row) => report.add(&row),
                Event::Bytes(_) => Ok(()),
            })?;
            counter.close()?;
            done
        }
        Err(error) => return Err(error.into()),
    };
    report.end(&done).map_err(Error::Output)?;
    if says(&done, "damaged") { Err(Error::Damaged) } else { Ok(()) }
}

/// What verify says, as it comes.
struct Report {
    output: Output,
    findings: u64,
}

impl Report {
    fn add_all(&mut self, verification: &Verification) -> std::io::Result<Value> {
        for one in &verification.findings {
            self.add(&admin::finding(one))?;
        }
        Ok(admin::verification(verification))
    }

    fn add(&mut self, row: &Value) -> std::io::Result<()> {
        self.findings += 1;
        if self.output.json || self.findings <= FINDINGS_SHOWN {
            self.output.row("findings", row, finding)?;
        }
        Ok(())
    }

    fn end(&mut self, done: &Value) -> std::io::Result<()> {
        self.output.end_of_rows("findings", done)?;
        let more = self.findings.saturating_sub(FINDINGS_SHOWN);
        if more > 0 {
            self.output.line(format!("… and {more} findings more; --json has them all"))?;
        }
        let verdict = if says(done, "damaged") { "damaged" } else { "everything is as it was written" };
        let counts = ["documents", "operations", "bytes"].map(|key| format!("{} {key}", field(done, key)));
        self.output.line(format!("{}: {verdict}", counts.join(", ")))
    }
}

fn finding(row: &Value) -> String {
    let document = match field(row, "document") {
        name if name.is_empty() => name,
        name => format!(" document {name}:"),
    };
    format!("{}: {}:{document} {}", field(row, "severity"), field(row, "place"), field(row, "found"))
}

/// Only on a folder that nobody uses: a server would go on writing what is not in the copy.
pub(super) fn repair(settings: &Settings, args: &Repair) -> Result<(), Error> {
    check_there_is_one(settings)?;
    // Whole, so that names beside it can be made of its own.
    let folder = std::fs::canonicalize(&settings.data)?;
    let mut output = Output::new(args.at.json);
    let to = args.to.clone().unwrap_or_else(|| {
        let mut name = folder.as_os_str().to_owned();
        name.push(".repaired");
        PathBuf::from(name)
    });
    let repaired = maintain::repair(&folder, &to, &mut |progress| output.progress(progress))?;
    let aside = if args.apply { Some(maintain::apply(&folder, &to)?) } else { None };
    let names = |ids: &[DocumentId]| ids.iter().map(|id| json!(Named::of(id))).collect::<Vec<_>>();
    let done = json!({
        "whole": repaired.whole,
        "mended": names(&repaired.mended),
        "lost": names(&repaired.lost),
        "shelves_lost": repaired.shelves_lost,
        "operations": repaired.operations,
        "operations_from_journal": repaired.from_journal,
        "operations_missing": repaired.missing,
        "copy": if aside.is_some() { &folder } else { &to },
        "damaged": aside.as_ref().unwrap_or(&folder),
        "applied": args.apply,
    });
    output.answer(&done, |done| {
        let mut lines = vec![format!("{} documents are whole", field(done, "whole"))];
        for (key, what) in
            [("mended", "damaged, and saved as far as it is intact:"), ("lost", "nothing was found of")]
        {
            lines.extend(
                done.get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .map(|row| format!("{what} {}", name_of(row))),
            );
        }
        if number(done, "shelves_lost") > 0 {
            let lost = field(done, "shelves_lost");
            lines.push(format!(
                "{lost} shelves are gone with all their documents; restore them from a backup, if there is one"
            ));
        }
        lines.push(format!(
            "{} operations saved, {} of them only in the journal; {} are known to be missing",
            field(done, "operations"),
            field(done, "operations_from_journal"),
            field(done, "operations_missing")
        ));
        lines.push(match args.apply {
            true => format!("the repaired store is in place; the damaged one is {}", field(done, "damaged")),
            false => format!(
                "the repaired copy is {}; look at it, then run again with --apply, or serve it",
                field(done, "copy")
            ),
        });
        lines.join("\n")
    })
}

pub(super) fn compact(counter: &Counter, args: &Whole) -> Result<(), Error> {
    let mut output = Output::new(args.at.json);
    let done = counter.ask(&Request::Compact, &Bytes::new(), &mut |event| {
        if let Event::Progress(progress) = event {
            output.progress(progress);
        }
        Ok(())
    })?;
    output.answer(&done, |done| {
        format!("shelves: {} bytes before, {} now", field(done, "bytes_before"), field(done, "bytes_after"))
    })
}

impl Quarantine {
    pub(super) fn at(&self) -> &Where {
        match self {
            Self::List(args) => &args.at,
            Self::Show(args) => &args.at,
            Self::Retry(args) | Self::Drop(args) => &args.at,
        }
    }

    pub(super) fn run(&self, counter: &Counter) -> Result<(), Error> {
        match self {
            Self::List(args) => documents(counter, args),
            Self::Show(args) => operations(counter, args),
            Self::Retry(args) => release(counter, args, true),
            Self::Drop(args) => release(counter, args, false),
        }
    }
}

fn documents(counter: &Counter, args: &Whole) -> Result<(), Error> {
    let mut output = Output::table(args.at.json, format!("{:>10}  NAME", "OPERATIONS"));
    let done = counter.ask(&Request::Quarantined, &Bytes::new(), &mut |event| match event {
        Event::Row(row) => {
            output.row("documents", &row, |row| format!("{:>10}  {}", field(row, "operations"), name_of(row)))
        }
        _ => Ok(()),
    })?;
    output.end_of_rows("documents", &done).map_err(Error::Output)
}

fn operations(counter: &Counter, args: &Document) -> Result<(), Error> {
    let mut output = Output::new(args.at.json);
    let request = Request::Quarantine { document: args.name.named()? };
    let done = counter.ask(&request, &Bytes::new(), &mut |event| match event {
        Event::Row(row) => output.row("operations", &row, |row| {
            let at = date(number(row, "set_aside_ms"));
            let dropped = if says(row, "dropped") { ", dropped" } else { "" };
            format!(
                "{}/{}  {at}  {} bytes{dropped}  {}",
                field(row, "replica"),
                field(row, "seq"),
                field(row, "bytes"),
                field(row, "reason")
            )
        }),
        _ => Ok(()),
    })?;
    output.end_of_rows("operations", &done).map_err(Error::Output)
}

fn release(counter: &Counter, args: &Release, retry: bool) -> Result<(), Error> {
    let (replica, seq) = args.operation.clone();
    let request = Request::Release { document: args.name.named()?, replica, seq, retry };
    let done = counter.ask(&request, &Bytes::new(), &mut nothing)?;
    let what = if retry { "is back in its document" } else { "is given up" };
    Output::new(args.at.json)
        .answer(&done, |done| format!("{}/{} {what}", field(done, "replica"), field(done, "seq")))
}
