//! The threads that serve connections: one for each core, each with a runtime of its own.
//!
//! A runtime with several threads wakes one of them for nearly every frame and hands tasks around between them; that
//! costs a relay twice what the frames do. Here a connection stays on the thread it was given to, and a connection with one
//! room (y-websocket) is given to the thread of its room, so that nobody else waits for the room's lock. Rooms are
//! spread by a keyed hash: nobody can choose names that all fall on one thread.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::room::turn;

/// Threads of one shard for what takes long, as judging a large message.
const ASIDE_MAX: usize = 4;

/// All shards of a relay.
pub(crate) struct Shards {
    /// Never empty.
    shards: Vec<Shard>,
    next: AtomicUsize,
    hasher: RandomState,
    end: watch::Sender<bool>,
}

struct Shard {
    runtime: Handle,
    thread: ThreadId,
}

impl Shards {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The system gives no thread or no epoll instance.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (end, _) = watch::channel(false);
        let shards = (0..count.max(1)).map(|number| start(number, &end)).collect::<io::Result<_>>()?;
        Ok(Self { shards, next: AtomicUsize::new(0), hasher: RandomState::new(), end })
    }

    /// Runs a task on one of them.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        self.shards.first().map(|shard| shard.runtime.spawn(task))
    }

    /// Does something that starts tasks, which then run on one of them.
    pub(crate) fn enter<T>(&self, start: impl FnOnce() -> T) -> T {
        let _entered = self.shards.first().map(|shard| shard.runtime.enter());
        start()
    }

    /// Goes on with a socket on the next shard in turn.
    pub(crate) fn give(&self, socket: TcpStream, then: impl FnOnce(TcpStream) + Send + 'static) {
        self.give_to(self.next.fetch_add(1, Ordering::Relaxed), socket, then);
    }

    /// Goes on with a socket on the shard of a room.
    #[expect(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
    pub(crate) fn give_for(
        &self,
        room: &str,
        socket: TcpStream,
        then: impl FnOnce(TcpStream) + Send + 'static,
    ) {
        self.give_to(self.hasher.hash_one(room) as usize, socket, then);
    }

    fn give_to(&self, number: usize, socket: TcpStream, then: impl FnOnce(TcpStream) + Send + 'static) {
        let Some(shard) = self.shards.get(number % self.shards.len()) else { return };
        if shard.thread == std::thread::current().id() {
            return then(socket);
        }
        // A socket belongs to the epoll instance of its runtime.
        match socket.into_std() {
            Ok(socket) => drop(shard.runtime.spawn(async {
                match TcpStream::from_std(socket) {
                    Ok(socket) => then(socket),
                    Err(error) => tracing::warn!(%error, "cannot take over a connection"),
                }
            })),
            Err(error) => tracing::warn!(%error, "cannot hand a connection over"),
        }
    }

    /// Ends all threads, with whatever still runs there.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}

fn start(number: usize, end: &watch::Sender<bool>) -> io::Result<Shard> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(ASIDE_MAX).build()?;
    let handle = runtime.handle().clone();
    let mut end = end.subscribe();
    let thread = std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
        turn::begin();
        // An error is an end, too: nobody is left who could ask for it.
        let _ = runtime.block_on(end.wait_for(|end| *end));
        runtime.shutdown_background();
    })?;
    Ok(Shard { runtime: handle, thread: thread.thread().id() })
}
