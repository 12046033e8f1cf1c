//! y-webrtc signaling: who subscribes a topic hears all that is published there, its own as well.

use super::world::{Client, Server};

const PATH: &str = "/signaling";
const ANNOUNCE: &str = r#"{"type":"publish","topic":"room","data":{"type":"announce","from":"a"}}"#;

fn told(clients: usize) -> serde_json::Value {
    serde_json::json!({
        "type": "publish", "topic": "room", "data": {"type": "announce", "from": "a"}, "clients": clients
    })
}

async fn hears(client: &mut Client) -> serde_json::Value {
    serde_json::from_str(&client.next_text().await).unwrap()
}

/// Everything said before has been taken in when the answer comes.
async fn ping(client: &mut Client) {
    client.text(r#"{"type":"ping"}"#).await;
    assert_eq!(client.next_text().await, r#"{"type":"pong"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_what_is_published_until_they_leave() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect(PATH).await, server.connect(PATH).await);
    for client in [&mut a, &mut b] {
        client.text(r#"{"type":"subscribe","topics":["room","room","other"]}"#).await;
        ping(client).await;
    }
    a.text(ANNOUNCE).await;
    assert_eq!((hears(&mut a).await, hears(&mut b).await), (told(2), told(2)));
    b.text(r#"{"type":"unsubscribe","topics":["room","never heard of"]}"#).await;
    ping(&mut b).await;
    a.text(ANNOUNCE).await;
    assert_eq!(hears(&mut a).await, told(1));
    ping(&mut b).await;
    assert_eq!(a.goodbye().await, 1005);
    server.until("connections{dialect=\"webrtc\"}", 1).await;
    b.text(ANNOUNCE).await;
    ping(&mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_nonsense_goes_and_the_others_stay() {
    let server = Server::with(|config| config.documents_per_connection_max = 2, None).await;
    let mut honest = server.connect(PATH).await;
    honest.text(r#"{"type":"subscribe","topics":["room"]}"#).await;
    ping(&mut honest).await;
    for (text, reason) in [
        ("no json", "malformed_json"),
        (r#"{"type":"publish","topic":{}}"#, "malformed_cbor"),
        (r#"{"type":"subscribe","topics":["a","b","c"]}"#, "documents_per_connection"),
    ] {
        let mut hostile = server.connect(PATH).await;
        hostile.text(text).await;
        assert_eq!(hostile.closed().await, 1008, "{text}");
        assert_eq!(server.metric(&format!("refusals_total{{reason=\"{reason}\"}}")).await, 1);
    }
    let mut hostile = server.connect(PATH).await;
    hostile.send(vec![0, 0, 1, 0]).await;
    assert_eq!(hostile.closed().await, 1003);
    ping(&mut honest).await;
}
