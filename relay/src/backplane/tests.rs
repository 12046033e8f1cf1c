//! The hub: who has a backplane when, and what happens to who does not keep up.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tombolo_core::cluster::bye;

use super::outbox::Outward;
use super::*;

const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const C: PeerId = PeerId(3);

enum Told {
    Up(Arc<dyn Backplane>),
    Heard(To, Bytes),
    Down(String),
    Went(PeerId),
}

/// Tells what it is told, and waits before each call ends if it is told to.
struct Ear(Sender<Told>, Option<Mutex<Receiver<()>>>);

impl Ear {
    fn tell(&self, told: Told) {
        let _ = self.0.send(told);
        if let Some(go) = &self.1 {
            let _ = go.lock().unwrap().recv();
        }
    }
}

impl Hearer for Ear {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        self.tell(Told::Up(backplane));
    }

    fn hear(&self, to: &To, message: Bytes) {
        self.tell(Told::Heard(to.clone(), message));
    }

    fn down(&self, reason: &str) {
        self.tell(Told::Down(reason.to_owned()));
    }

    fn went(&self, peer: PeerId, _said: Option<tombolo_core::cluster::Sender>) {
        self.tell(Told::Went(peer));
    }
}

struct Seat {
    participant: Participant,
    told: Receiver<Told>,
}

impl Seat {
    fn at(hub: &Hub, name: PeerId) -> Self {
        let (ear, told) = channel();
        Self { participant: hub.join(name, Arc::new(Ear(ear, None))).unwrap(), told }
    }

    fn next(&self) -> Told {
        self.told.recv_timeout(Duration::from_secs(10)).expect("it was told nothing")
    }

    fn up(&self) -> Arc<dyn Backplane> {
        match self.next() {
            Told::Up(backplane) => backplane,
            _ => panic!("not up"),
        }
    }

    fn down(&self) -> String {
        match self.next() {
            Told::Down(reason) => reason,
            _ => panic!("not down"),
        }
    }

    fn went(&self) -> PeerId {
        match self.next() {
            Told::Went(peer) => peer,
            _ => panic!("nobody went"),
        }
    }

    fn heard(&self) -> (To, Bytes) {
        match self.next() {
            Told::Heard(to, message) => (to, message),
            Told::Up(_) => panic!("up"),
            Told::Down(reason) => panic!("down: {reason}"),
            Told::Went(peer) => panic!("{peer} went"),
        }
    }
}

fn document(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

fn room(name: &str) -> To {
    To::Room(document(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_backplane_is_there_while_anybody_can_be_heard() {
    let hub = Hub::new(1 << 20);
    let a = Seat::at(&hub, A);
    let b = Seat::at(&hub, B);
    // A was told nothing before B came, and knows nothing of being alone.
    let (of_a, of_b) = (a.up(), b.up());
    assert_eq!(hub.join(B, Arc::new(Ear(channel().0, None))).err(), Some(NameTaken(B)));
    let c = Seat::at(&hub, C);
    let _of_c = c.up();
    of_a.say(&To::Everybody, "x".into());
    assert_eq!((b.heard(), c.heard()), ((To::Everybody, "x".into()), (To::Everybody, "x".into())));
    drop(c.participant);
    assert_eq!((a.went(), b.went()), (C, C));
    drop(b.participant);
    assert_eq!(a.went(), B);
    assert_eq!(a.down(), "nobody else is joined any more");
    of_b.say(&To::Everybody, "from beyond".into());
    let b = Seat::at(&hub, B);
    let (new_of_a, _) = (a.up(), b.up());
    of_a.say(&To::Everybody, "of another time".into());
    new_of_a.say(&To::Everybody, "y".into());
    assert_eq!(b.heard().1, "y");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_begin_anew_when_the_link_comes_and_goes() {
    let hub = Hub::new(1 << 20);
    let a = Seat::at(&hub, A);
    let link = hub.link_up();
    let of_a = a.up();
    of_a.listen(&document("r"));
    of_a.say(&room("r"), "x".into());
    of_a.say(&To::Peer(B), "y".into());
    of_a.unlisten(&document("r"));
    let entries = link.take().await;
    assert_eq!(
        entries,
        [
            Outward::Listen(To::Peer(A)),
            Outward::Listen(room("r")),
            Outward::Say(room("r"), "x".into()),
            Outward::Say(To::Peer(B), "y".into()),
            Outward::Unlisten(room("r")),
        ]
    );
    hub.link_down("broken");
    assert_eq!(a.down(), "broken");
    let b = Seat::at(&hub, B);
    let (of_a, of_b) = (a.up(), b.up());
    of_a.listen(&document("r"));
    of_b.say(&room("r"), "z".into());
    assert_eq!(a.heard().1, "z");
    // With others in the process it is down for a moment only.
    let link = hub.link_up();
    a.down();
    b.down();
    let (of_a, of_b) = (a.up(), b.up());
    of_b.say(&To::Peer(A), "here".into());
    assert_eq!(a.heard().1, "here");
    of_b.listen(&document("r"));
    of_a.listen(&document("r"));
    of_a.unlisten(&document("r"));
    hub.deliver(&room("r"), &"from elsewhere".into());
    assert_eq!(b.heard(), (room("r"), "from elsewhere".into()));
    drop(b.participant);
    let entries = link.take().await;
    let heard_of = |entry: &&Outward| !matches!(entry, Outward::Listen(To::Peer(_)));
    let entries: Vec<_> = entries.iter().filter(heard_of).cloned().collect();
    assert_eq!(
        entries,
        [Outward::Listen(room("r")), Outward::Unlisten(room("r")), Outward::Unlisten(To::Peer(B))],
        "one listen for both, nothing for who is here"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_too_slow_is_told_and_begins_anew() {
    let hub = Hub::new(10_000);
    let ((ear, told), (go, gate)) = (channel(), channel());
    let participant = hub.join(A, Arc::new(Ear(ear, Some(Mutex::new(gate))))).unwrap();
    let a = Seat { participant, told };
    let (b, c) = (Seat::at(&hub, B), Seat::at(&hub, C));
    let (of_b, _of_c) = (b.up(), c.up());
    let of_a = a.up();
    of_a.listen(&document("r"));
    // A is still in its first call.
    for number in 0..100 {
        of_b.say(&room("r"), vec![number; 1000].into());
        of_b.say(&To::Everybody, vec![number; 10].into());
        assert_eq!(c.heard().1, vec![number; 10], "nobody else is held up");
    }
    (0..1000).for_each(|_| go.send(()).unwrap());
    let reason = a.down();
    assert!(reason.contains("too slow"), "{reason}");
    let again = a.up();
    of_a.say(&To::Everybody, "of another time".into());
    again.say(&To::Everybody, "again".into());
    assert_eq!(c.heard().1, "again");
    // What was said to all after that is all there, and nothing of the room.
    let mut all = Vec::new();
    of_b.say(&To::Everybody, "end".into());
    loop {
        match a.heard() {
            (To::Everybody, end) if end == "end" => break,
            (to, message) => all.push((to, message[0])),
        }
    }
    assert!(all.iter().all(|(to, _)| *to == To::Everybody), "it listens to no room");
    assert!(all.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1), "nothing is missing in between");
    assert_eq!(all.last().map(|(_, number)| *number), Some(99));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_speaks_from_elsewhere_has_no_place_here_any_more() {
    let hub = Hub::new(1 << 20);
    let (a, b) = (Seat::at(&hub, A), Seat::at(&hub, B));
    let (_, _) = (a.up(), b.up());
    let link = hub.link_up();
    a.down();
    b.down();
    let (of_a, of_b) = (a.up(), b.up());
    let from = |peer, starts| bye(tombolo_core::cluster::Sender { peer, starts });
    hub.deliver(&To::Everybody, &from(C, 1));
    assert_eq!((a.heard().1, b.heard().1), (from(C, 1), from(C, 1)));
    hub.deliver(&To::Everybody, &from(B, 2));
    assert_eq!(b.down(), "it has joined elsewhere");
    assert_eq!(a.heard().1, from(B, 2));
    of_b.say(&To::Everybody, "from its old place".into());
    of_b.listen(&document("r"));
    of_a.say(&To::Everybody, "end".into());
    let entries = link.take().await;
    let said = |entry: &&Outward| !matches!(entry, Outward::Listen(To::Peer(_)));
    let entries: Vec<_> = entries.iter().filter(said).cloned().collect();
    assert_eq!(entries, [Outward::Say(To::Everybody, "end".into())]);
    drop(b.participant);
    assert_eq!(a.went(), B, "and hears nothing of it before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_link_that_comes_after_the_last_words_is_for_nobody() {
    let hub = Hub::new(1 << 20);
    let (a, b) = (Seat::at(&hub, A), Seat::at(&hub, B));
    let (of_a, _) = (a.up(), b.up());
    hub.end_link();
    let link = hub.link_up();
    assert_eq!(link.take().await, [Outward::End]);
    of_a.say(&To::Everybody, "still here".into());
    assert_eq!(b.heard().1, "still here", "nobody began anew");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_being_made_ends_at_once() {
    // Nobody is there; it is tried again for ever.
    let address = "ws://127.0.0.1:9".parse().unwrap();
    let plane = start(Link::Relays(vec![address], None), A);
    while !plane.status().to_string().contains("cannot reach") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = tokio::time::Instant::now();
    plane.stop().await;
    assert_eq!(before.elapsed(), Duration::ZERO, "nothing was to be waited for");
}

/// It says something whenever it hears something.
struct Echo(Mutex<Option<Arc<dyn Backplane>>>);

impl Hearer for Echo {
    fn up(&self, backplane: Arc<dyn Backplane>) {
        *self.0.lock().unwrap() = Some(backplane);
    }

    fn hear(&self, _to: &To, message: Bytes) {
        if let Some(backplane) = &*self.0.lock().unwrap() {
            backplane.listen(&document("r"));
            backplane.say(&To::Peer(B), message);
        }
    }

    fn down(&self, _reason: &str) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_hearer_may_speak_while_it_hears() {
    let hub = Hub::new(1 << 20);
    let _echo = hub.join(A, Arc::new(Echo(Mutex::default()))).unwrap();
    let b = Seat::at(&hub, B);
    let of_b = b.up();
    for number in 0..100u8 {
        of_b.say(&To::Peer(A), vec![number].into());
    }
    for number in 0..100u8 {
        assert_eq!(b.heard(), (To::Peer(B), vec![number].into()));
    }
}
