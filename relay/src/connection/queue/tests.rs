//! Who falls behind, in which order what is written, and when what is owed is paid.

use std::future::Future;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn a_slow_reader_loses_all_or_nothing() {
    let queue = Queue::new(10, Counter::default());
    assert!(queue.forward(Bytes::from(vec![1; 100])), "one large frame may always wait");
    assert!(!queue.forward(Bytes::from_static(b"x")));
    assert_eq!(queue.fell_behind.get(), 1);
    let mut out = VecDeque::new();
    assert_eq!(queue.lock().take(&mut out, 1 << 20), Some(Taken::Last));
    assert_eq!(out, [frame::close(CLOSE_BEHIND, "too slow, resynchronise")]);
}

#[test]
fn nothing_comes_between_the_parts_of_a_frame() {
    let queue = Queue::new(10, Counter::default());
    queue.answer_in_parts([Bytes::from_static(b"head"), Bytes::from_static(b"rest")]);
    queue.answer(Bytes::from_static(b"next"));
    let mut out = VecDeque::new();
    assert_eq!(queue.lock().take(&mut out, 1), Some(Taken::Frames));
    assert_eq!(out, ["head", "rest"]);
    assert_eq!(queue.lock().answer_bytes, 4);
}

#[tokio::test]
async fn debts_are_paid_when_all_is_written_and_never_after_the_end() {
    let queue = Arc::new(Queue::new(10, Counter::default()));
    queue.forward(Bytes::from_static(b"five5"));
    assert!(!queue.is_behind(), "half is not more than half");
    queue.forward(Bytes::from_static(b"6"));
    assert!(queue.is_behind());
    let payer = Arc::clone(&queue);
    queue.owe(move || assert!(payer.forward(Bytes::from_static(b"paid"))));
    let mut out = VecDeque::new();
    queue.take(&mut out, 1 << 20).await;
    assert_eq!(out, ["five5", "6"]);
    out.clear();
    queue.take(&mut out, 1 << 20).await;
    assert_eq!(out, ["paid"]);
    let payer = Arc::clone(&queue);
    queue.owe(move || assert!(!payer.forward(Bytes::from_static(b"not paid"))));
    queue.end();
    queue.owe(|| panic!("nobody is left"));
    out.clear();
    assert_eq!(queue.take(&mut out, 1 << 20).await, Taken::Last);
    assert!(out.is_empty());
}

#[tokio::test]
async fn who_is_held_is_not_read() {
    let queue = Queue::new(10, Counter::default());
    queue.hold(Duration::from_secs(3600));
    queue.hold(Duration::ZERO);
    for _ in 0..2 {
        assert!(tokio::time::timeout(Duration::ZERO, queue.drained(0)).await.is_err());
    }
    queue.lock().held = Some(Instant::now());
    queue.drained(0).await;
    assert_eq!(queue.lock().held, None);
}

#[test]
fn answers_are_not_counted() {
    let queue = Queue::new(10, Counter::default());
    queue.answer(Bytes::from(vec![0; 1000]));
    assert!(queue.forward(Bytes::from_static(b"a")));
    assert!(queue.forward(Bytes::from_static(b"b")));
    queue.close(1000, "bye");
    let mut out = VecDeque::new();
    assert_eq!(queue.lock().take(&mut out, 1), Some(Taken::Frames));
    assert_eq!(out.len(), 1);
    assert_eq!(queue.lock().take(&mut out, 1 << 20), Some(Taken::Last));
    assert_eq!(out.len(), 4);
}

/// A socket, and the other end of it.
async fn sockets() -> (OwnedWriteHalf, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0.into_split().1, client)
}

/// Writes until the socket takes no more, or all is written.
async fn write(queue: &Queue) -> Written {
    poll_fn(|cx| Poll::Ready(queue.write(cx).unwrap())).await
}

/// Writes to the end.
async fn write_all(queue: &Queue) {
    poll_fn(|cx| match queue.write(cx).unwrap() {
        Written::Last => Poll::Ready(()),
        Written::All | Written::Stuck { .. } => Poll::Pending,
    })
    .await;
    queue.end();
}

#[tokio::test]
async fn a_frame_that_was_begun_is_finished_before_the_last_words() {
    let (socket, mut client) = sockets().await;
    let queue = Queue::new(10, Counter::default());
    queue.open(socket);
    let rest = vec![7; 16 << 20];
    let head = frame::binary_head(&[], rest.len());
    queue.answer_in_parts([head.clone(), rest.clone().into()]);
    queue.forward(Bytes::from_static(b"given up, but it makes the reader fall behind"));
    assert_eq!(write(&queue).await, Written::Stuck { progressed: true });
    assert!(!queue.forward(Bytes::from_static(b"given up, too")));
    let mut came = Vec::new();
    let (_, read) = tokio::join!(write_all(&queue), client.read_to_end(&mut came));
    read.unwrap();
    let expected = [&head[..], &rest, &frame::close(CLOSE_BEHIND, "too slow, resynchronise")].concat();
    assert!(came == expected, "{} bytes came for {}", came.len(), expected.len());
}

#[tokio::test]
async fn an_answer_that_is_on_its_way_keeps_nobody_from_asking() {
    let (socket, _client) = sockets().await;
    let queue = Queue::new(10, Counter::default());
    queue.open(socket);
    queue.answer_in_parts([Bytes::from_static(b"head"), vec![7; 16 << 20].into()]);
    assert_eq!(queue.leave_to_read(10), Leave::Wait);
    assert!(matches!(write(&queue).await, Written::Stuck { .. }));
    assert_eq!(queue.leave_to_read(10), Leave::Read);
    let waits = queue.bytes();
    assert!(waits > 1 << 20, "it is seen to wait");
    queue.answer(Bytes::from_static(b"one more"));
    queue.answer(Bytes::from_static(b"one more"));
    assert_eq!((queue.leave_to_read(10), queue.bytes()), (Leave::Wait, waits + 16));
}

#[tokio::test]
async fn what_is_written_directly_comes_in_its_order() {
    let (socket, mut client) = sockets().await;
    let queue = Queue::new(64 << 20, Counter::default());
    queue.open(socket);
    let mut expected = Vec::new();
    for number in 0..200u8 {
        let pieces: Vec<_> = (0..=number % 3).map(|_| Bytes::from(vec![number; 40_000])).collect();
        pieces.iter().for_each(|piece| expected.extend_from_slice(piece));
        let way = if number % 5 == 0 { Way::Writer } else { Way::Direct };
        assert!(queue.forward_all(pieces, way));
        if number == 100 {
            assert!(
                matches!(write(&queue).await, Written::Stuck { .. }),
                "the sockets have no room for this much"
            );
        }
    }
    queue.close(1000, "");
    expected.extend_from_slice(&frame::close(1000, ""));
    let mut came = Vec::new();
    let (_, read) = tokio::join!(write_all(&queue), client.read_to_end(&mut came));
    read.unwrap();
    assert!(came == expected, "{} bytes came for {}", came.len(), expected.len());
    assert_eq!(queue.bytes(), 0);
}

#[tokio::test]
async fn nobody_is_woken_while_the_socket_takes_nothing() {
    let (socket, _client) = sockets().await;
    let queue = Queue::new(usize::MAX, Counter::default());
    queue.open(socket);
    queue.forward(vec![0; 16 << 20].into());
    assert!(matches!(write(&queue).await, Written::Stuck { .. }));
    let mut task = std::pin::pin!(poll_fn(|cx| {
        queue.attend();
        let _ = queue.write(cx);
        Poll::<()>::Pending
    }));
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    for _ in 0..10 {
        queue.forward_all([Bytes::from_static(b"x")], Way::Direct);
        queue.answer(Bytes::from_static(b"x"));
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    queue.close(1000, "");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

/// Counts.
#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
