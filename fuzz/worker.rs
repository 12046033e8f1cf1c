//! What passed validation goes to the engines as a server hands it over: through a worker, on large stacks, with
//! panics caught.
//!
//! The first byte says Yjs or Automerge and which view is asked for; the rest is cut in parts, each a client's
//! update, chunks or message. Whatever an engine does, the worker answers and goes on answering. What a session took
//! in and gave out to be journaled opens again, or a document that was served before a restart would not be behind it.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;
use tombolo_core::update::Update;
use tombolo_core::validate::{validate_chunks, validate_sync_message};
use tombolo_store::worker::{Reply, Request, ThreadWorker, Worker, WorkerError};

use super::{chunks, panics, parts};

static WORKER: LazyLock<Arc<ThreadWorker>> = LazyLock::new(|| ThreadWorker::start().unwrap());
const DOCUMENT: DocumentId = DocumentId::Automerge([5; 16]);

/// See the module.
pub fn worker(data: &[u8]) {
    panics::watch();
    died(&**WORKER, data);
    panics::keep(data);
}

/// Runs a script on this worker; returns whether an engine died of it.
pub fn died(worker: &dyn Worker, data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let form = [Form::Json, Form::Text, Form::UpdateV2, Form::Heads][usize::from(first >> 1 & 3)];
    let answers =
        if first & 1 == 0 { yjs(worker, form, &parts(rest)) } else { automerge(worker, form, &parts(rest)) };
    let died = has_died(&answers);
    if died {
        goes_on(worker);
    }
    died
}

type Answer = Result<Reply, WorkerError>;

fn has_died(answers: &[Answer]) -> bool {
    answers.iter().any(|answer| matches!(answer, Err(WorkerError::Died { .. })))
}

/// One client typed "hi" into the text "t".
fn goes_on(worker: &dyn Worker) {
    let hi = Bytes::from_static(&[1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0]);
    let fold = Request::Compact { kind: Kind::YjsUpdate, parts: vec![hi] };
    assert!(matches!(worker.call(fold), Ok(Reply::Snapshot(_))));
}

fn yjs(worker: &dyn Worker, form: Form, parts: &[&[u8]]) -> Vec<Answer> {
    let updates = parts.iter().filter_map(|part| Update::parse(Bytes::copy_from_slice(part)).ok());
    // Folds keep legacy items away from yrs, which reads them differently.
    let parts: Vec<Bytes> =
        updates.filter(|update| !update.has_legacy_json()).map(|update| update.bytes().clone()).collect();
    if parts.is_empty() {
        return Vec::new();
    }
    let fold = worker.call(Request::Compact { kind: Kind::YjsUpdate, parts: parts.clone() });
    vec![fold, worker.call(Request::View { format: Format::Yjs, form, root: None, parts })]
}

fn automerge(worker: &dyn Worker, form: Form, parts: &[&[u8]]) -> Vec<Answer> {
    let mut stored = Vec::new();
    for part in parts.iter().filter(|part| part.first() == Some(&STORED)) {
        let chunk = chunks::seal(&part[1..]);
        if validate_chunks(&chunk).is_ok() {
            stored.push(Bytes::from(chunk));
        }
    }
    let mut answers = vec![worker.call(Request::SessionOpen { document: DOCUMENT, parts: stored.clone() })];
    if answers[0].is_ok() {
        for peer in [0, 1] {
            answers.push(worker.call(Request::SessionJoin { document: DOCUMENT, peer }));
        }
        for part in parts.iter().filter(|part| part.first() != Some(&STORED)) {
            let Some((first, bytes)) = part.split_first() else { continue };
            answers.extend(session(worker, *first, bytes, &mut stored));
        }
        for peer in [0, 1] {
            answers.push(worker.call(Request::SessionLeave { document: DOCUMENT, peer }));
        }
        if !has_died(&answers) {
            let again = worker.call(Request::SessionOpen { document: DOCUMENT, parts: stored.clone() });
            assert!(again.is_ok(), "what was journaled does not open again: {again:?}");
            worker.call(Request::SessionLeave { document: DOCUMENT, peer: 0 }).unwrap();
        }
    }
    answers.push(worker.call(Request::Compact { kind: Kind::AutomergeChanges, parts: stored.clone() }));
    answers.push(worker.call(Request::View { format: Format::Automerge, form, root: None, parts: stored }));
    answers
}

/// A part that is on the shelf when the session opens.
const STORED: u8 = 0;

/// What a part of a session is, by its first byte.
fn session(worker: &dyn Worker, first: u8, bytes: &[u8], stored: &mut Vec<Bytes>) -> Vec<Answer> {
    let peer = u64::from(first & 1);
    let message = match first >> 1 & 3 {
        0 => chunks::seal(bytes),
        1 => chunks::message(&chunks::seal(bytes)),
        2 => {
            let left = worker.call(Request::SessionLeave { document: DOCUMENT, peer: 2 });
            return vec![left, worker.call(Request::SessionJoin { document: DOCUMENT, peer })];
        }
        _ => return vec![worker.call(Request::SessionGenerate { document: DOCUMENT })],
    };
    if validate_sync_message(&message).is_err() {
        return Vec::new();
    }
    let received = worker.call(Request::SessionReceive { document: DOCUMENT, peer, message: message.into() });
    if let Ok(Reply::Received { changes, .. }) = &received
        && !changes.is_empty()
    {
        stored.push(changes.clone());
    }
    vec![received, worker.call(Request::SessionGenerate { document: DOCUMENT })]
}
