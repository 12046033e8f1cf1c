//! The merge worker on threads of this process, for embedded replicas and tests.
//!
//! One thread folds, the others hold sessions, each document on the thread that its name hashes to: a long
//! fold never delays a session. Stacks are large because the engines recurse into nesting (HAZARDS yrs-3,
//! am-7); a stack that overflows all the same, a hang or an exhausted memory ends or stops the process:
//! that is what the child process of a server is for.
//!
//! A panic is caught and answered as [`WorkerError::Died`]. The session that it happened in is leaked, not
//! dropped: its destructors would run over a half-changed state, and a second panic while unwinding, or
//! what yrs does when it commits such a state (HAZARDS yrs-1), would take the whole process along. For the
//! same reason the session is out of the map while an engine works on it.

use std::any::Any;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use tombolo_core::engine::automerge::{self, Session};
use tombolo_core::engine::{EngineError, view, yjs};
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;

use super::{Reply, Request, SESSION_LANES, Worker, WorkerError, session_lane};

/// A merge worker in this process. Its threads end when the last handle is dropped.
///
/// There is no wall of memory around it. yrs 0.28.1 can be brought by well-formed updates to read what it freed
/// (HAZARDS yrs-1, yrs-10), and no `catch_unwind` catches that: in the worst case who wrote an update writes in the
/// memory of this process, its documents and its keys. Automerge does not do that, but it can exhaust the memory or
/// overflow a stack, which ends the process. So this is for updates of one's own or of people one trusts, and for
/// tests. For anybody else's use [`ProcessWorker`](super::ProcessWorker), as `serve` does: what happens there happens in
/// the memory of a child process, with bounds on memory, stack and time.
#[derive(Debug)]
pub struct ThreadWorker {
    compactor: SyncSender<Job>,
    sessions: Vec<SyncSender<Job>>,
}

impl ThreadWorker {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn start() -> Result<Arc<Self>, std::io::Error> {
        let compactor = spawn("merge-fold".to_owned())?;
        let sessions =
            (0..SESSION_LANES).map(|i| spawn(format!("merge-sync-{i}"))).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { compactor, sessions }))
    }

    fn thread_for(&self, request: &Request) -> Option<&SyncSender<Job>> {
        match session_of(request) {
            Some(document) => self.sessions.get(session_lane(document)),
            None => Some(&self.compactor),
        }
    }
}

impl Worker for ThreadWorker {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let gone = || WorkerError::Unavailable { reason: "its thread has ended".to_owned() };
        let thread = self.thread_for(&request).ok_or_else(gone)?;
        let (answer, answered) = sync_channel(1);
        thread.send(Job { request, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

struct Job {
    request: Request,
    answer: SyncSender<Result<Reply, WorkerError>>,
}

fn spawn(name: String) -> Result<SyncSender<Job>, std::io::Error> {
    let (jobs, inbox) = sync_channel(JOBS_WAITING_MAX);
    std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || run(&inbox))?;
    Ok(jobs)
}

fn run(inbox: &Receiver<Job>) {
    let mut shard = Shard::default();
    while let Ok(Job { request, answer }) = inbox.recv() {
        // Who asked may have given up meanwhile.
        let _ = answer.send(shard.handle(request));
    }
}

/// The document whose session a request is for, if it is for one.
pub(super) fn session_of(request: &Request) -> Option<&DocumentId> {
    match request {
        Request::Compact { .. } | Request::View { .. } | Request::Make { .. } => None,
        Request::SessionOpen { document, .. }
        | Request::SessionJoin { document, .. }
        | Request::SessionReceive { document, .. }
        | Request::SessionGenerate { document }
        | Request::SessionLeave { document, .. } => Some(document),
    }
}

/// The sessions of one thread.
#[derive(Default)]
pub(super) struct Shard {
    sessions: BTreeMap<DocumentId, Session>,
}

impl Shard {
    pub(super) fn handle(&mut self, request: Request) -> Result<Reply, WorkerError> {
        match request {
            Request::Compact { kind, parts } => {
                let folded = match kind {
                    Kind::YjsUpdate => guarded(|| yjs::compact(&parts))?.map(Reply::Snapshot),
                    Kind::AutomergeChanges => {
                        guarded(|| automerge::compact_what_has_ground(&parts))?.map(partly)
                    }
                    Kind::Deletion => {
                        return Err(WorkerError::Refused {
                            reason: "a deletion has nothing to fold".to_owned(),
                        });
                    }
                };
                folded.map_err(|error| match error {
                    EngineError::Pending => WorkerError::Pending,
                    EngineError::Diverged { reason } => WorkerError::Diverged { reason },
                    other => refused(other),
                })
            }
            Request::View { format, form, root, parts } => {
                guarded(|| view::view(format, form, root.as_deref(), &parts))?
                    .map(Reply::View)
                    .map_err(refused)
            }
            Request::Make { format, form, root, content } => {
                guarded(|| view::make(format, form, root.as_deref(), &content))?
                    .map(Reply::View)
                    .map_err(refused)
            }
            Request::SessionOpen { document, parts } => self.open(document, &parts),
            Request::SessionJoin { document, peer } => self.with(document, |session| {
                session.join(peer);
                Ok((Reply::Done, After::Keep))
            }),
            Request::SessionReceive { document, peer, message } => self.with(document, |session| {
                let changes = session.receive(peer, &message)?.changes;
                Ok((Reply::Received { changes, empty: session.is_empty() }, After::Keep))
            }),
            Request::SessionGenerate { document } => self.with(document, |session| {
                let messages = session.generate();
                Ok((Reply::Generated { messages, empty: session.is_empty() }, After::Keep))
            }),
            Request::SessionLeave { document, peer } => self.with(document, |session| {
                let closed = session.leave(peer);
                Ok((Reply::Left { closed }, if closed { After::Close } else { After::Keep }))
            }),
        }
    }

    fn open(&mut self, document: DocumentId, parts: &[Bytes]) -> Result<Reply, WorkerError> {
        if document.format() != Format::Automerge {
            return Err(WorkerError::Refused { reason: "only Automerge documents have sessions".to_owned() });
        }
        if let Some(session) = self.sessions.get(&document) {
            return Ok(Reply::Opened { empty: session.is_empty() });
        }
        let session = guarded(|| Session::open(parts))?.map_err(refused)?;
        let empty = session.is_empty();
        self.sessions.insert(document, session);
        Ok(Reply::Opened { empty })
    }

    /// Lets the engine work on one session, and gives the session up if it did not come out whole.
    fn with(
        &mut self,
        document: DocumentId,
        work: impl FnOnce(&mut Session) -> Result<(Reply, After), EngineError>,
    ) -> Result<Reply, WorkerError> {
        let mut session = ManuallyDrop::new(self.sessions.remove(&document).ok_or(WorkerError::NoSession)?);
        // On a panic `?` leaves with the session leaked: see the module.
        let worked = guarded(|| work(&mut session))?;
        match worked {
            Ok((reply, After::Keep)) => {
                self.sessions.insert(document, ManuallyDrop::into_inner(session));
                Ok(reply)
            }
            Ok((reply, After::Close)) => {
                guarded(|| drop(ManuallyDrop::into_inner(session)))?;
                Ok(reply)
            }
            Err(EngineError::Diverged { reason }) => Err(WorkerError::Died { reason }),
            Err(error) => {
                self.sessions.insert(document, ManuallyDrop::into_inner(session));
                Err(refused(error))
            }
        }
    }
}

fn partly((snapshot, waiting): (Bytes, Vec<usize>)) -> Reply {
    if waiting.is_empty() {
        return Reply::Snapshot(snapshot);
    }
    Reply::Partly { snapshot, waiting: waiting.into_iter().map(|place| place as u64).collect() }
}

/// What becomes of a session after a request.
enum After {
    Keep,
    Close,
}

/// Runs the engine; a panic becomes [`WorkerError::Died`]. Callers give up whatever `work` could change.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, WorkerError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let reason = words_of(&*panic);
        // A payload's own destructor may panic, too.
        std::mem::forget(panic);
        WorkerError::Died { reason }
    })
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    words.unwrap_or("a panic without words").chars().take(REASON_CHARS_MAX).collect()
}

fn refused(error: EngineError) -> WorkerError {
    match error {
        EngineError::UnknownPeer { .. } => WorkerError::NoSession,
        EngineError::Diverged { reason } => WorkerError::Died { reason },
        other => WorkerError::Refused { reason: other.to_string() },
    }
}

/// Address space, not memory: pages are used as the recursion goes.
pub(super) const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Requests that may wait for one thread; then callers wait, too.
const JOBS_WAITING_MAX: usize = 1024;
/// A panic may quote a whole document; its beginning is enough.
const REASON_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests;
