//! What is NATS' own: credentials, prefixes, small servers, servers that hang, several participants of one process.

use tombolo_core::cluster::To;
use tombolo_relay::backplane::{self, Link, MESSAGE_BYTES_MAX, Status};

use super::world::{BYTES_MAX, Peer, Server, Told, document, room, soon};

fn link(url: &str) -> Link {
    Link::Nats(vec![url.parse().unwrap()])
}

/// What it says about the link as soon as it says something like this.
async fn says(peer: &Peer, words: &str) -> String {
    soon(words, async {
        loop {
            let said = peer.plane.status().to_string();
            if said.contains(words) {
                return said;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_let_in_and_are_never_said() {
    for (arguments, right, wrong) in [
        (&["--user", "u", "--pass", "p@ss"][..], "u:p%40ss@", "u:wr0ng@"),
        (&["--auth", "t0ken"], "t0ken@", "wr0ng@"),
    ] {
        let server = Server::nats(arguments);
        let mut let_in = Peer::with(link(&format!("nats://{right}{}", server.address)));
        let_in.up().await;
        let said = let_in.plane.status().to_string();
        assert!(said.contains("joined through nats://127.0.0.1") && !said.contains("t0ken"), "{said}");
        for not_let_in in [wrong, ""] {
            let peer = Peer::with(link(&format!("nats://{not_let_in}{}", server.address)));
            let said = says(&peer, "does not let this relay in").await;
            assert!(said.contains("--backplane") && !said.contains("wr0ng"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_with_prefixes_of_their_own_share_a_server() {
    let server = Server::nats(&[]);
    let of = |prefix: &str| Peer::with(link(&format!("nats://{}/{prefix}", server.address)));
    let (mut here, mut also_here, mut elsewhere) = (of("here"), of("here"), of(""));
    for peer in [&mut here, &mut also_here, &mut elsewhere] {
        peer.up().await;
        peer.listen("r");
    }
    // Each subscription has arrived when its participant is heard.
    loop {
        also_here.say(&To::Peer(here.name), "there");
        let told = tokio::time::timeout(std::time::Duration::from_millis(200), here.told());
        if matches!(told.await, Ok(Told::Heard(..))) {
            break;
        }
    }
    for to in [To::Everybody, room("r"), To::Peer(here.name)] {
        elsewhere.say(&to, "of another cluster");
    }
    for to in [To::Everybody, room("r"), To::Peer(elsewhere.name)] {
        here.say(&to, "x");
    }
    also_here.say(&To::Everybody, "end");
    assert_eq!(here.heard_until("end").await.iter().filter(|(_, message)| message != "there").count(), 0);
    assert_eq!(also_here.heard().await, (To::Everybody, "x".into()));
    assert_eq!(also_here.heard().await, (room("r"), "x".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_small_messages_only_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, "max_payload: 65536\n").unwrap();
    let config: &'static str = config.to_str().unwrap().to_owned().leak();
    let server = Server::nats(vec!["-c", config].leak());
    let peer = Peer::with(link(&format!("nats://{}", server.address)));
    let said = says(&peer, "max_payload").await;
    assert!(said.contains(&MESSAGE_BYTES_MAX.to_string()) && said.contains("65536"), "{said}");
}

/// The relay and a guest at its door, as it were: both are heard, and hear each other without the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_of_one_process_are_heard_through_one_link() {
    let mut server = Server::nats(&[]);
    let mut owner = Peer::with(link(&format!("nats://{}", server.address)));
    let mut guest = Peer::at(&owner.plane.clone(), backplane::fresh_name());
    let mut far = Peer::with(link(&format!("nats://{}", server.address)));
    for peer in [&mut owner, &mut guest, &mut far] {
        while !matches!(peer.plane.status(), Status::Up { .. }) {
            tokio::task::yield_now().await;
        }
    }
    // Those of one process were up before the link was, or not: what counts is the last time.
    far.up().await;
    far.listen("r");
    settle(&mut owner, &mut guest, &mut far).await;
    owner.listen("r");
    guest.listen("r");
    guest.unlisten("r");
    guest.listen("r");
    owner.unlisten("r");
    for peer in [&owner, &guest] {
        peer.say(&To::Peer(far.name), "go");
        assert_eq!(far.heard().await.1, "go");
    }
    for to in [room("r"), To::Peer(guest.name), To::Peer(owner.name), To::Everybody] {
        far.say(&to, "far");
    }
    assert_eq!(
        owner.heard_all(2).await,
        [(To::Everybody, "far".into()), (To::Peer(owner.name), "far".into())]
    );
    let mut all =
        vec![(To::Everybody, "far".into()), (room("r"), "far".into()), (To::Peer(guest.name), "far".into())];
    all.sort();
    assert_eq!(guest.heard_all(3).await, all);
    // What the one says, the other hears once, and so do those far away.
    owner.say(&room("r"), "near");
    assert_eq!(guest.heard().await, (room("r"), "near".into()));
    assert_eq!(far.heard().await, (room("r"), "near".into()));
    owner.say(&To::Peer(guest.name), "between us");
    assert_eq!(guest.heard().await.1, "between us");
    // Without the server they still have each other.
    server.kill();
    for peer in [&mut owner, &mut guest] {
        assert!(peer.down().await.contains("away"));
        peer.up().await;
    }
    assert!(far.down().await.contains("away"));
    guest.listen("r");
    guest.say(&To::Peer(owner.name), "go");
    assert_eq!(owner.heard().await.1, "go");
    owner.say(&room("r"), "here");
    assert_eq!(guest.heard().await, (room("r"), "here".into()));
}

/// All hear all.
async fn settle(owner: &mut Peer, guest: &mut Peer, far: &mut Peer) {
    let patience = std::time::Duration::from_millis(200);
    for peer in [&mut *owner, &mut *guest] {
        loop {
            far.say(&To::Peer(peer.name), "there?");
            match tokio::time::timeout(patience, peer.told()).await {
                Ok(Told::Up(backplane)) => peer.backplane = Some(backplane),
                Ok(Told::Heard(..)) => break,
                _ => {}
            }
        }
        peer.say(&To::Peer(far.name), "here");
        assert_eq!(far.heard().await.1, "here");
    }
    // Answers to questions that were asked twice.
    far.say(&To::Everybody, "settled");
    for peer in [owner, guest] {
        while peer.heard().await.1 != "settled" {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_away() {
    let server = Server::nats(&[]);
    let url = format!("nats://{}", server.address);
    let (mut says, mut hears) = (Peer::with(link(&url)), Peer::with(link(&url)));
    says.up().await;
    hears.up().await;
    server.signal("STOP");
    // More than may wait.
    for _ in 0..600 {
        says.say(&To::Everybody, vec![0; BYTES_MAX]);
    }
    let reason = says.down().await;
    assert!(reason.contains("takes less than is said"), "{reason}");
    let reason = hears.down().await;
    assert!(reason.contains("away"), "{reason}");
    server.signal("CONT");
    says.up().await;
    hears.up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_servers_are_tried_and_what_was_said_is_said_before_the_end() {
    let (mut first, second) = (Server::nats(&[]), Server::nats(&[]));
    let both = [first.address, second.address].map(|address| format!("nats://{address}").parse().unwrap());
    let mut moves = Peer::with(Link::Nats(both.to_vec()));
    let mut stays = Peer::with(link(&format!("nats://{}", second.address)));
    moves.up().await;
    stays.up().await;
    first.kill();
    moves.down().await;
    moves.up().await;
    assert!(moves.plane.status().to_string().contains(&second.address.port().to_string()));
    loop {
        moves.say(&To::Peer(stays.name), "there");
        let told = tokio::time::timeout(std::time::Duration::from_millis(200), stays.told());
        if matches!(told.await, Ok(Told::Heard(..))) {
            break;
        }
    }
    for number in 0..1000u32 {
        moves.say(&To::Everybody, number.to_be_bytes());
    }
    moves.plane.stop().await;
    assert!(matches!(moves.plane.status(), Status::Away { .. }));
    let mut last = 0;
    while last != 999 {
        let (to, message) = stays.heard().await;
        if to == To::Everybody {
            last = u32::from_be_bytes(message[..].try_into().unwrap());
        }
    }
    moves.backplane.unwrap().listen(&document("after the end"));
}
