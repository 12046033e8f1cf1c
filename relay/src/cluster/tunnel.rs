//! One tunnel where it ends: a connection that has its socket at another relay.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tombolo_core::cluster::{TunnelFrame, TunnelId};
use tombolo_core::id::PeerId;

use super::tunnels::Handed;
use crate::connection::queue::{Queue, Taken};
use crate::connection::{self, Automerge, Dialect, Native, YWebrtc, frame};
use crate::listener::Shared;

/// Most bytes that wait at one end of a tunnel: the largest message, and some.
pub(super) const WAITING_BYTES_MAX: usize = 96 * 1024 * 1024;
/// What is taken from the dialect's queue in one go.
const TAKEN_BYTES: usize = 256 * 1024;

/// Where messages of the other end go in; dropping it ends the tunnel.
pub(super) struct Entrance {
    messages: UnboundedSender<Held>,
    /// Bytes that wait in this one, and in all.
    waiting: [Arc<AtomicUsize>; 2],
    /// Most in all.
    all_bytes_max: usize,
    queue: Arc<Queue>,
}

impl Entrance {
    pub(super) fn put(&self, payload: Bytes) {
        let held = Held::new(payload, &self.waiting);
        let [this, all] = self.waiting.each_ref().map(|waiting| waiting.load(Ordering::Relaxed));
        if this > WAITING_BYTES_MAX || all > self.all_bytes_max {
            return self.queue.close(1013, "more than the server can take now");
        }
        // The task may have ended a moment ago.
        let _ = self.messages.send(held);
    }
}

/// A message that waits to be read, and is counted as long.
struct Held {
    payload: Bytes,
    waiting: [Arc<AtomicUsize>; 2],
}

impl Held {
    fn new(payload: Bytes, waiting: &[Arc<AtomicUsize>; 2]) -> Self {
        for count in waiting {
            count.fetch_add(payload.len(), Ordering::Relaxed);
        }
        Self { payload, waiting: waiting.clone() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for count in &self.waiting {
            count.fetch_sub(self.payload.len(), Ordering::Relaxed);
        }
    }
}

/// Serves the connection of a tunnel until either end closes it.
pub(super) fn serve(
    shared: &Arc<Shared>,
    (peer, tunnel): (PeerId, TunnelId),
    handed: Handed,
    host: String,
    address: SocketAddr,
) -> Entrance {
    let (messages, incoming) = unbounded_channel();
    let waiting = [Arc::default(), Arc::clone(&shared.tunnels.waiting)];
    let behind = shared.metrics.refusals_for("behind");
    let queue = Arc::new(Queue::new(shared.config.queue_bytes_max, behind));
    let all_bytes_max = shared.config.tunnels_bytes_max;
    let entrance = Entrance { messages, waiting, all_bytes_max, queue: Arc::clone(&queue) };
    let shared_too = Arc::clone(shared);
    shared.shards.spawn(async move {
        // It was admitted where its socket is.
        let dialect: Box<dyn Dialect> = match handed {
            Handed::Automerge => Box::new(Automerge::new(&shared_too, &queue, address, &host)),
            Handed::Signaling => Box::new(YWebrtc::new(&shared_too, &queue)),
            Handed::Replica(access) => Box::new(Native::replica(&shared_too, &queue, address, access)),
        };
        let reading = read(&shared_too, (handed, dialect), &queue, incoming);
        tokio::select! {
            () = write(&shared_too, (peer, tunnel), &queue) => {}
            () = reading => queue.end(),
        }
        shared_too.tunnels.ended_here(peer, tunnel);
    });
    entrance
}

/// Ends when the other end has; a connection that is closed from here is ended by its last words.
async fn read(
    shared: &Shared,
    (handed, dialect): (Handed, Box<dyn Dialect>),
    queue: &Queue,
    mut incoming: UnboundedReceiver<Held>,
) {
    let mut dialect = Some(dialect);
    while let Some(held) = incoming.recv().await {
        let payload = held.payload.clone();
        drop(held);
        let Some(speaks) = &mut dialect else { continue };
        let judged = if handed.is_text() {
            speaks.text(&String::from_utf8_lossy(&payload))
        } else {
            connection::judge(&mut dialect, payload).await
        };
        if let Err(closing) = judged {
            if let Some(reason) = closing.refusal {
                shared.metrics.refuse(reason);
            }
            queue.close(closing.code, &closing.reason);
            dialect = None;
        }
        connection::ease(shared, queue).await;
    }
}

/// Hands on what the dialect says; ends with its last words.
async fn write(shared: &Shared, (peer, tunnel): (PeerId, TunnelId), queue: &Queue) {
    let mut out = VecDeque::new();
    let mut frames = Frames::default();
    loop {
        let taken = queue.take(&mut out, TAKEN_BYTES).await;
        for piece in out.drain(..) {
            frames.put(&piece);
            while let Some(frame) = frames.next(tunnel) {
                if !shared.joint.tunnel(peer, frame) {
                    return;
                }
            }
        }
        if taken == Taken::Last {
            return;
        }
    }
}

/// Cuts finished WebSocket frames of a queue into what a tunnel carries.
#[derive(Default)]
struct Frames(BytesMut);

impl Frames {
    fn put(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    fn next(&mut self, tunnel: TunnelId) -> Option<TunnelFrame> {
        loop {
            let frame::Head { first, len, payload } = frame::head_of(&self.0)?;
            if self.0.len() < len + payload {
                return None;
            }
            self.0.advance(len);
            let payload = self.0.split_to(payload).freeze();
            match first {
                frame::BINARY | frame::TEXT => return Some(TunnelFrame::Data { tunnel, payload }),
                frame::CLOSE => {
                    let (code, reason) = frame::close_of(&payload);
                    return Some(TunnelFrame::Close { tunnel, code, reason });
                }
                // For a socket, and there is none here.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_waits_in_all_tunnels_is_bounded() {
        let all = Arc::new(AtomicUsize::new(0));
        let tunnel = || {
            let (messages, incoming) = unbounded_channel();
            let queue =
                Arc::new(Queue::new(1 << 20, prometheus_client::metrics::counter::Counter::default()));
            let waiting = [Arc::default(), Arc::clone(&all)];
            (Entrance { messages, waiting, all_bytes_max: 1_000, queue: Arc::clone(&queue) }, queue, incoming)
        };
        let ((first, first_queue, mut incoming), (second, second_queue, _kept)) = (tunnel(), tunnel());
        first.put(vec![0; 600].into());
        second.put(vec![0; 400].into());
        assert_eq!(all.load(Ordering::Relaxed), 1_000);
        second.put(vec![0; 1].into());
        let mut out = VecDeque::new();
        assert_eq!(second_queue.take(&mut out, TAKEN_BYTES).now_or_never().unwrap(), Taken::Last);
        assert_eq!(out, [frame::close(1013, "more than the server can take now")]);
        // What was read waits no more, so there is room for others.
        assert_eq!(all.load(Ordering::Relaxed), 1_000, "what is refused is not counted");
        drop(incoming.recv().await);
        first.put(vec![0; 600].into());
        first_queue.answer(frame::ping());
        out.clear();
        assert_eq!(first_queue.take(&mut out, TAKEN_BYTES).now_or_never().unwrap(), Taken::Frames);
    }

    #[test]
    fn frames_come_out_as_they_were_put_in_however_they_are_cut() {
        let tunnel = TunnelId(1);
        let long = vec![7; 70_000];
        let mut bytes = Vec::new();
        for piece in
            [frame::binary(&[b"ab"]), frame::ping(), frame::binary(&[&long]), frame::close(1013, "slow")]
        {
            bytes.extend_from_slice(&piece);
        }
        for step in [1, 7, 1_000, bytes.len()] {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(step) {
                frames.put(piece);
                got.extend(std::iter::from_fn(|| frames.next(tunnel)));
            }
            let data =
                |payload: &[u8]| TunnelFrame::Data { tunnel, payload: Bytes::copy_from_slice(payload) };
            let close = TunnelFrame::Close { tunnel, code: 1013, reason: "slow".to_owned() };
            assert_eq!(got, [data(b"ab"), data(&long), close]);
        }
    }
}
