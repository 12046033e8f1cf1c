//! The merge worker in processes of their own, for servers: whatever an engine does there, the server lives.
//!
//! One process folds, one shows documents, the others hold sessions, each document in the one that its name hashes
//! to. A process that dies, exhausts its memory or takes too long is ended, answered for with
//! [`WorkerError::Died`], and replaced with the next request; one that does not even start answers
//! [`WorkerError::Unavailable`], and so does one that somebody else ends (a person, a system out of memory), for
//! engines crash, but do not send themselves such signals; sessions that it held for other documents answer
//! [`WorkerError::NoSession`] and are opened again by whoever needs them.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tombolo_core::operation::Kind;

use super::child::{read_frame, write_frame};
use super::codec::{decode_reply, encode_request};
use super::strain;
use super::thread::session_of;
use super::{Reply, Request, SESSION_LANES, Worker, WorkerError, session_lane};

/// How a merge process is started.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The program; it must end up in [`run_child`](super::run_child).
    pub program: PathBuf,
    /// What to call it with.
    pub arguments: Vec<OsString>,
    /// Longest time for one request in ms.
    pub request_ms_max: u64,
}

/// A merge worker in other processes. They end when it is dropped.
#[derive(Debug)]
pub struct ProcessWorker {
    compactor: Lane,
    /// Apart, so that a view that takes long or dies holds up no fold.
    views: Lane,
    sessions: Vec<Lane>,
}

impl ProcessWorker {
    /// Prepares the processes; each is started with its first request.
    ///
    /// # Errors
    /// If the system gives no thread to watch them.
    pub fn start(config: ProcessConfig) -> io::Result<Arc<Self>> {
        let config = Arc::new(config);
        let lane = || Lane::new(Arc::clone(&config));
        let sessions = (0..SESSION_LANES).map(|_| lane()).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { compactor: lane()?, views: lane()?, sessions }))
    }
}

impl Worker for ProcessWorker {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let lane = match session_of(&request) {
            Some(document) => self.sessions.get(session_lane(document)),
            None if matches!(request, Request::View { .. } | Request::Make { .. }) => Some(&self.views),
            None => Some(&self.compactor),
        };
        lane.ok_or(WorkerError::NoSession)?.call(&request)
    }

    fn abandon(&self) {
        self.compactor.watch.cut();
    }

    fn is_strained(&self) -> bool {
        self.compactor.strained.load(Ordering::Relaxed)
    }
}

/// One process, one request at a time.
#[derive(Debug)]
struct Lane {
    config: Arc<ProcessConfig>,
    running: Mutex<Option<Running>>,
    watch: Arc<Watch>,
    watching: Option<JoinHandle<()>>,
    strained: AtomicBool,
}

#[derive(Debug)]
struct Running {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Lane {
    fn new(config: Arc<ProcessConfig>) -> io::Result<Self> {
        let watch = Arc::new(Watch::default());
        let watched = Arc::clone(&watch);
        let watching = std::thread::Builder::new().name("merge-watch".into()).spawn(move || watched.run())?;
        let (running, strained) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { config, running, watch, watching: Some(watching), strained })
    }

    fn call(&self, request: &Request) -> Result<Reply, WorkerError> {
        let mut slot = lock(&self.running);
        let running = match slot.take().and_then(Running::if_alive) {
            Some(running) => running,
            None => self.start()?,
        };
        let (running, reply) = self.exchange(running, request)?;
        *slot = Some(running);
        reply
    }

    /// A process that has answered once: one that ends before that does not end because of what it is asked.
    fn start(&self) -> Result<Running, WorkerError> {
        let running = Running::start(&self.config).map_err(|error| unavailable(error.to_string()))?;
        let nothing = Request::Compact { kind: Kind::YjsUpdate, parts: Vec::new() };
        match self.exchange(running, &nothing) {
            Ok((running, Ok(_))) => Ok(running),
            Err(error @ WorkerError::Unavailable { .. }) => Err(error),
            Ok((_, Err(error))) | Err(error) => Err(unavailable(error.to_string())),
        }
    }

    /// The answer in time, and the process; otherwise how the process ended.
    fn exchange(
        &self,
        mut running: Running,
        request: &Request,
    ) -> Result<(Running, Result<Reply, WorkerError>), WorkerError> {
        let limit = Duration::from_millis(self.config.request_ms_max);
        let process = Pid::from_child(&running.child);
        strain::begin(process);
        let begun = Instant::now();
        self.watch.arm(begun + limit, process);
        let exchanged = running.exchange(request);
        match (self.watch.disarm(), exchanged) {
            (Watched::Overdue, _) => {
                running.end();
                let reason = format!("it took longer than {} ms", self.config.request_ms_max);
                Err(WorkerError::Died { reason })
            }
            (Watched::Cut, _) => {
                running.end();
                Err(unavailable("it was told to give up".to_owned()))
            }
            (_, Ok(reply)) => {
                let is_strained = begun.elapsed() > limit / strain::PART || strain::is_much(process);
                self.strained.store(is_strained, Ordering::Relaxed);
                Ok((running, reply))
            }
            (_, Err(error)) => Err(running.end_of(&error)),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            running.end();
        }
        self.watch.close();
        if let Some(watching) = self.watching.take() {
            // It only waits and kills; there is nothing to hear of it.
            let _ = watching.join();
        }
    }
}

impl Running {
    fn start(config: &ProcessConfig) -> io::Result<Self> {
        let mut child = Command::new(&config.program)
            .args(&config.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own group: a Ctrl-C at the server's terminal is for the server.
            .process_group(0)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        Ok(Self { child, input, output })
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Result<Reply, WorkerError>> {
        write_frame(&mut self.input, &encode_request(request))?;
        let frame = read_frame(&mut self.output)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        decode_reply(&frame).map_err(io::Error::other)
    }

    /// Itself, if it is still there: one that died without a request is replaced without a word.
    fn if_alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Ends it and says how it ended.
    fn end(mut self) -> String {
        // One that is gone already cannot be killed, and need not be.
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Why it gave no answer.
    fn end_of(mut self, error: &io::Error) -> WorkerError {
        // Only one that closed its pipes without an answer ends by itself.
        if !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) {
            return WorkerError::Died { reason: format!("{error}; {}", self.end()) };
        }
        match self.child.wait() {
            Ok(status) if status.signal().is_some_and(is_from_outside) => {
                unavailable(format!("its process was ended from outside ({status})"))
            }
            Ok(status) => WorkerError::Died { reason: format!("its process ended ({status})") },
            Err(error) => unavailable(error.to_string()),
        }
    }
}

fn unavailable(reason: String) -> WorkerError {
    WorkerError::Unavailable { reason }
}

/// Whether a signal is one that crashes do not raise.
fn is_from_outside(signal: i32) -> bool {
    let outside = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
    outside.iter().any(|outside| outside.as_raw() == signal)
}

/// Kills the process of a request that takes too long, so that whoever waits for its answer goes on.
#[derive(Debug, Default)]
struct Watch {
    state: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Watched {
    #[default]
    Idle,
    Until(Instant, Pid),
    Overdue,
    /// Given up.
    Cut,
    Closed,
}

impl Watch {
    fn arm(&self, deadline: Instant, process: Pid) {
        *lock(&self.state) = Watched::Until(deadline, process);
        self.changed.notify_all();
    }

    /// Tells whether the process was killed meanwhile.
    fn disarm(&self) -> Watched {
        std::mem::take(&mut *lock(&self.state))
    }

    /// Kills the process of the request that is running.
    fn cut(&self) {
        let mut state = lock(&self.state);
        if let Watched::Until(_, process) = *state {
            // Under the lock, as below.
            let _ = kill_process(process, Signal::KILL);
            *state = Watched::Cut;
        }
    }

    fn close(&self) {
        *lock(&self.state) = Watched::Closed;
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            state = match *state {
                Watched::Closed => return,
                Watched::Idle | Watched::Overdue | Watched::Cut => {
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
                Watched::Until(deadline, process) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        // Under the lock: the process cannot be reaped, nor its number given away, before
                        // whoever waits has disarmed.
                        let _ = kill_process(process, Signal::KILL);
                        *state = Watched::Overdue;
                        state
                    } else {
                        self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
                    }
                }
            };
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single step, so a poisoned state is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
