//! The door from outside: what a guest is told when it does not get in, and where it goes next.

use tombolo_core::cluster::To;
use tombolo_relay::backplane::{Link, RelayAddress};

use super::world::{Peer, Server, Told, soon};

fn link(address: &str, token: Option<&str>) -> Link {
    Link::Relays(vec![address.parse().unwrap()], token.map(|token| token.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_get_in_is_told_why() {
    let guarded = Server::relay(&["--peer-token", "s3cret"]);
    let open = Server::relay(&[]);
    let nats = Server::nats(&[]);
    for (link, words) in [
        (link(&format!("ws://{}", guarded.address), None), "wants a token; give its own with --peer-token"),
        (link(&format!("ws://{}", guarded.address), Some("wr0ng")), "wrong token"),
        (link(&format!("ws://{}/elsewhere", open.address), None), "nothing is served here"),
        (link(&format!("wss://{}", open.address), None), "no TLS with the relay"),
        (link(&format!("ws://{}", nats.address), None), "cannot reach the relay"),
        (link("ws://no-such-host.invalid", None), "cannot reach the relay"),
    ] {
        let peer = Peer::with(link);
        let said = soon(words, async {
            loop {
                let said = peer.plane.status().to_string();
                if said.contains(words) {
                    return said;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(!said.contains("s3cret") && !said.contains("wr0ng"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_token_opens_and_another_relay_is_found() {
    let mut first = Server::relay(&["--peer-token", "s3cret"]);
    let second = Server::relay(&["--peer-token", "s3cret"]);
    let to = |servers: &[&Server]| -> Vec<RelayAddress> {
        servers.iter().map(|server| format!("ws://{}", server.address).parse().unwrap()).collect()
    };
    let token = Some("s3cret".parse().unwrap());
    let both = to(&[&first, &second]);
    let mut guests = [both.clone(), both].map(|addresses| Peer::with(Link::Relays(addresses, token.clone())));
    for round in 0..2 {
        for guest in &mut guests {
            guest.up().await;
            let at = if round == 0 { &first } else { &second };
            let said = guest.plane.status().to_string();
            assert!(said.contains(&at.address.to_string()), "{said}");
        }
        let [a, b] = &mut guests;
        a.say(&To::Everybody, "x");
        assert_eq!(b.heard().await, (To::Everybody, "x".into()));
        if round == 0 {
            first.kill();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_hangs_is_away_and_one_that_ends_says_so() {
    let server = Server::relay(&[]);
    let link = || link(&format!("ws://{}", server.address), None);
    let mut guests = [Peer::with(link()), Peer::with(link())];
    for guest in &mut guests {
        guest.up().await;
    }
    server.signal("STOP");
    for guest in &mut guests {
        let reason = guest.down().await;
        assert!(reason.contains("away"), "{reason}");
    }
    server.signal("CONT");
    for guest in &mut guests {
        guest.up().await;
    }
    server.signal("TERM");
    // The first that goes may take the backplane from the other, so either word will do.
    for guest in &mut guests {
        loop {
            if let Told::Down(reason) = guest.told().await {
                assert!(reason.contains("away"), "{reason}");
                break;
            }
        }
    }
}
