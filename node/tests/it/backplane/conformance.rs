//! One suite for all transports: within a process, through NATS, through the door of a relay.

use bytes::Bytes;
use tombolo_core::cluster::To;
use tombolo_relay::backplane::{self, Link, Plane, Status};

use super::world::{BYTES_MAX, Peer, Server, Told, document, marked, room, soon};

/// A way for participants to be joined.
enum World {
    Local(Plane),
    Nats(Server),
    Native(Server),
}

impl World {
    fn local() -> Self {
        Self::Local(backplane::start(Link::None, backplane::fresh_name()))
    }

    fn nats() -> Self {
        Self::Nats(Server::nats(&[]))
    }

    fn native() -> Self {
        Self::Native(Server::relay(&[]))
    }

    /// Participants that hear each other.
    async fn peers<const COUNT: usize>(&self) -> [Peer; COUNT] {
        let mut peers: [Peer; COUNT] = std::array::from_fn(|_| match self {
            Self::Local(plane) => Peer::at(plane, backplane::fresh_name()),
            Self::Nats(server) => {
                Peer::with(Link::Nats(vec![format!("nats://{}", server.address).parse().unwrap()]))
            }
            Self::Native(server) => {
                Peer::with(Link::Relays(vec![format!("ws://{}", server.address).parse().unwrap()], None))
            }
        });
        for peer in &mut peers {
            peer.up().await;
        }
        self.acquaint(&mut peers).await;
        peers
    }

    /// What one says before another's connection is there is lost, as it may be. So all call until all hear all.
    async fn acquaint(&self, peers: &mut [Peer]) {
        for from in 0..peers.len() {
            for to in (0..peers.len()).filter(|to| *to != from) {
                loop {
                    peers[from].say(&To::Peer(peers[to].name), "there?");
                    let answer =
                        tokio::time::timeout(std::time::Duration::from_millis(200), peers[to].told());
                    if matches!(answer.await, Ok(Told::Heard(To::Peer(_), _))) {
                        break;
                    }
                }
            }
        }
        // Nothing of that is on its way any more when each has heard the last word of each.
        for from in 0..peers.len() {
            peers[from].say(&To::Everybody, format!("ready {from}"));
            for to in (0..peers.len()).filter(|to| *to != from) {
                while peers[to].heard().await != (To::Everybody, Bytes::from(format!("ready {from}"))) {}
            }
        }
    }

    fn server(&mut self) -> &mut Server {
        match self {
            Self::Local(_) => panic!("nobody to be killed"),
            Self::Nats(server) | Self::Native(server) => server,
        }
    }
}

async fn messages_arrive_in_order_where_they_should_and_nowhere_else(world: World) {
    const COUNT: usize = 500;
    let [a, mut b, mut c] = world.peers().await;
    let rooms = ["r", "ü/r .*>"].map(room);
    b.listen("r");
    b.listen("ü/r .*>");
    c.listen("r");
    // Whoever is heard had its listens heard before.
    let mut a = a;
    b.say(&To::Everybody, "b");
    c.say(&To::Everybody, "c");
    let mut names = [a.heard().await.1, a.heard().await.1];
    names.sort();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(b.heard().await, (To::Everybody, "c".into()));
    assert_eq!(c.heard().await, (To::Everybody, "b".into()));
    let addressees = [To::Everybody, rooms[0].clone(), rooms[1].clone(), To::Peer(b.name), To::Peer(c.name)];
    for number in 0..COUNT {
        for to in &addressees {
            a.say(to, format!("{number}"));
        }
    }
    a.say(&To::Everybody, "end");
    let numbers: Vec<Bytes> = (0..COUNT).map(|number| format!("{number}").into()).collect();
    for (peer, hears) in
        [(&mut b, [true, true, true, true, false]), (&mut c, [true, true, false, false, true])]
    {
        let count = hears.iter().filter(|hears| **hears).count() * COUNT;
        let mut heard = Vec::new();
        // Only to one addressee there is an order.
        let mut is_over = false;
        while heard.len() < count || !is_over {
            match peer.heard().await {
                (To::Everybody, message) if message == "end" => is_over = true,
                other => heard.push(other),
            }
        }
        for (to, hears) in addressees.iter().zip(hears) {
            let here: Vec<_> =
                heard.iter().filter(|(at, _)| at == to).map(|(_, message)| message.clone()).collect();
            assert_eq!(here, if hears { numbers.clone() } else { vec![] }, "{to:?}");
        }
    }
    // No echo: the first thing that it hears is of another.
    b.say(&To::Everybody, "b again");
    assert_eq!(a.heard().await, (To::Everybody, "b again".into()));
}

async fn rooms_are_heard_from_listen_to_unlisten(world: World) {
    let [mut a, mut b] = world.peers().await;
    for number in 0..50 {
        let name = format!("room {number}");
        b.listen(&name);
        b.say(&To::Peer(a.name), "go");
        assert_eq!(a.heard().await.1, "go");
        a.say(&room(&name), "x");
        assert_eq!(b.heard().await, (room(&name), "x".into()), "what is said after a word of the listener");
    }
    b.unlisten("room 7");
    // Twice is as once.
    b.unlisten("room 7");
    b.listen("room 8");
    b.say(&To::Peer(a.name), "go");
    assert_eq!(a.heard().await.1, "go");
    a.say(&room("room 7"), "not heard");
    a.say(&room("room 8"), "heard");
    assert_eq!(b.heard().await, (room("room 8"), "heard".into()));
    b.listen("room 7");
    b.say(&To::Peer(a.name), "go");
    assert_eq!(a.heard().await.1, "go");
    a.say(&room("room 7"), "again");
    assert_eq!(b.heard().await, (room("room 7"), "again".into()));
}

async fn large_messages_arrive_whole(world: World) {
    let [mut a, mut b] = world.peers().await;
    let of = |number: usize| -> Bytes {
        (0..BYTES_MAX).map(|at| u8::try_from((at ^ at >> 8 ^ number) & 0xff).unwrap()).collect()
    };
    b.listen("large");
    b.say(&To::Peer(a.name), "go");
    assert_eq!(a.heard().await.1, "go");
    for number in 0..16 {
        a.say(&room("large"), of(number));
    }
    a.say(&room("large"), "");
    for number in 0..16 {
        let (to, message) = b.heard().await;
        assert!(to == room("large") && message == of(number), "message {number}: {} bytes", message.len());
    }
    assert_eq!(b.heard().await, (room("large"), Bytes::new()));
}

async fn whoever_goes_is_missed_by_nobody_else(world: World) {
    let [mut a, b, mut c] = world.peers().await;
    let gone = b.name;
    b.listen("r");
    drop(b);
    a.listen("r");
    a.say(&To::Peer(c.name), "go");
    let next = async |peer: &mut Peer| loop {
        match peer.told().await {
            // In one process, it is said.
            Told::Went(peer) => assert_eq!(peer, gone),
            Told::Heard(_, message) => return message,
            Told::Up(_) | Told::Down(_) => panic!("something else ended"),
        }
    };
    assert_eq!(next(&mut c).await, "go");
    c.say(&To::Peer(gone), "to nobody");
    c.say(&room("r"), "x");
    assert_eq!(next(&mut a).await, "x");
}

async fn a_kill_is_told_and_all_begin_anew(mut world: World) {
    let [mut a, mut b] = world.peers().await;
    b.listen("r");
    let old = a.backplane.clone().unwrap();
    for round in 0..3 {
        world.server().kill();
        for peer in [&mut a, &mut b] {
            let reason = peer.down().await;
            assert!(reason.contains("away"), "{reason}");
            assert!(matches!(peer.plane.status(), Status::Away { .. }));
        }
        old.say(&To::Everybody, marked(b"lost"));
        old.listen(&document("of another time"));
        world.server().revive();
        for peer in [&mut a, &mut b] {
            peer.up().await;
            assert!(matches!(peer.plane.status(), Status::Up { .. }));
        }
        let mut both = [a, b];
        world.acquaint(&mut both).await;
        [a, b] = both;
        old.say(&To::Everybody, marked(b"of another time"));
        b.say(&room("of another time"), "x");
        // Nothing is listened to any more.
        a.say(&room("r"), "x");
        a.say(&To::Everybody, "end");
        assert_eq!(b.heard_until("end").await, [], "round {round}");
        b.listen("r");
        b.say(&To::Everybody, "end");
        assert_eq!(a.heard_until("end").await, [], "round {round}");
        a.say(&room("r"), "heard");
        assert_eq!(b.heard().await, (room("r"), "heard".into()));
    }
}

async fn whoever_comes_before_the_server_finds_it_later(mut world: World) {
    world.server().kill();
    let address = world.server().address;
    let link = match &world {
        World::Local(_) => Link::None,
        World::Nats(_) => Link::Nats(vec![format!("nats://{address}").parse().unwrap()]),
        World::Native(_) => Link::Relays(vec![format!("ws://{address}").parse().unwrap()], None),
    };
    let mut peers = [Peer::with(link.clone()), Peer::with(link)];
    soon("it to say so", async {
        while !peers[0].plane.status().to_string().contains("cannot reach") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let said = peers[0].plane.status().to_string();
    assert!(said.contains(&address.to_string()) && said.contains("start it"), "{said}");
    world.server().revive();
    for peer in &mut peers {
        peer.up().await;
    }
    world.acquaint(&mut peers).await;
}

macro_rules! suite {
    ($($transport:ident: $($test:ident)*;)*) => {$(
        mod $transport {
            use super::World;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(World::$transport()).await;
                }
            )*
        }
    )*};
}

suite! {
    local: messages_arrive_in_order_where_they_should_and_nowhere_else rooms_are_heard_from_listen_to_unlisten
        large_messages_arrive_whole whoever_goes_is_missed_by_nobody_else;
    nats: messages_arrive_in_order_where_they_should_and_nowhere_else rooms_are_heard_from_listen_to_unlisten
        large_messages_arrive_whole whoever_goes_is_missed_by_nobody_else a_kill_is_told_and_all_begin_anew
        whoever_comes_before_the_server_finds_it_later;
    native: messages_arrive_in_order_where_they_should_and_nowhere_else rooms_are_heard_from_listen_to_unlisten
        large_messages_arrive_whole whoever_goes_is_missed_by_nobody_else a_kill_is_told_and_all_begin_anew
        whoever_comes_before_the_server_finds_it_later;
}
