//! The link through NATS: core subjects, no streams. One subscription for each room that is open in this process.
//!
//! A client of `async-nats` lives for one connection: what it kept for a later one would arrive out of order there.
//! Whoever hears is told when anything may be missing, by the server's word or the client's.

use std::collections::HashMap;
use std::error::Error as _;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Auth, AuthError, Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{AbortHandle, BoxStream, SelectAll, abortable};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use tombolo_core::cluster::To;
use tombolo_core::id::PeerId;
use tombolo_core::limits::SHARED_BYTES_MIN;

use super::MESSAGE_BYTES_MAX;
use super::address::{Credentials, NatsAddress};
use super::link::{End, Failure, Transport};
use super::local::Hub;
use super::outbox::{Outbox, Outward};
use super::subject::subject;

/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// Time between pings; at the third without an answer the server is away.
const PING: Duration = Duration::from_secs(2);
/// Time for the last words.
const FLUSH: Duration = Duration::from_secs(1);
/// Messages that may wait in the client to be written: it takes them out of the outbox, which counts bytes.
const CLIENT_MESSAGES: usize = 64;
/// Messages that may wait in the client for one subscription; they only pass through it.
const SUBSCRIPTION_MESSAGES: usize = 16 * 1024;

/// The link of a process of this name.
pub(super) struct Nats(pub(super) PeerId);

/// A connection.
pub(super) struct Made {
    client: Client,
    events: UnboundedReceiver<Event>,
    address: NatsAddress,
}

/// What is heard, and whether it was said to all, to a room or to one.
type Heard = BoxStream<'static, (To, Bytes)>;

impl Transport for Nats {
    type Address = NatsAddress;
    type Made = Made;

    async fn connect(&self, address: &NatsAddress) -> Result<Made, Failure> {
        let (report, events) = mpsc::unbounded_channel();
        let client = options(self.0, address, report)
            // Without what is secret: the client writes addresses into its log.
            .connect(address.to_string())
            .await
            .map_err(|error| failure(address, &error))?;
        let max = client.server_info().max_payload;
        if max < MESSAGE_BYTES_MAX {
            let words = format!(
                "NATS at {address} takes messages of at most {max} bytes; set its max_payload to {MESSAGE_BYTES_MAX} or more"
            );
            return Err(Failure::permanent(words));
        }
        Ok(Made { client, events, address: address.clone() })
    }

    async fn carry(&self, made: Made, hub: &Hub, outbox: &Outbox) -> End {
        let Made { client, events, address } = made;
        let (subscribed, fresh) = mpsc::unbounded_channel();
        let mut speaker = Speaker { client, prefix: &address.prefix, subscribed, listens: HashMap::new() };
        let end = tokio::select! {
            biased;
            () = outbox.overflow() => Err("it takes less than is said here".to_owned()),
            end = speaker.speak(outbox) => end,
            why = hear(events, fresh, hub) => Err(why),
        };
        match end {
            Ok(()) => End::Ours,
            Err(why) => End::Broken(Failure::passing(format!("NATS at {address} is away: {why}"))),
        }
    }
}

fn options(name: PeerId, address: &NatsAddress, report: UnboundedSender<Event>) -> ConnectOptions {
    let credentials = address.credentials.clone();
    // The client wants to connect anew by itself when a connection is over. It is not let.
    let has_connected = AtomicBool::new(false);
    let auth = move |_nonce| {
        if has_connected.swap(true, Ordering::AcqRel) {
            return ready(Err(AuthError::new("this connection is over")));
        }
        let mut auth = Auth::new();
        match credentials.clone() {
            Credentials::None => {}
            Credentials::Token(token) => auth.token = Some(token),
            Credentials::User(user, password) => {
                (auth.username, auth.password) = (Some(user), Some(password));
            }
        }
        ready(Ok(auth))
    };
    ConnectOptions::with_auth_callback(auth)
        .name(format!("tombolo {name}"))
        .no_echo()
        .require_tls(address.tls)
        .connection_timeout(CONNECT)
        .ping_interval(PING)
        .client_capacity(CLIENT_MESSAGES)
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .ignore_discovered_servers()
        .max_reconnects(1)
        .event_callback(move |event| {
            let _ = report.send(event);
            ready(())
        })
}

fn failure(address: &NatsAddress, error: &ConnectError) -> Failure {
    let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Failure::permanent(format!(
                "NATS at {address} does not let this relay in; correct the user, password or token in --backplane"
            ))
        }
        // What is wrong with TLS is said in words only.
        _ if why.contains("certificate") || why.contains("corrupt message") => Failure::passing(format!(
            "no TLS with NATS at {address}: {why}; it needs a certificate of an authority that this machine trusts, or \
             that SSL_CERT_FILE names"
        )),
        ConnectErrorKind::TimedOut => Failure::passing(format!(
            "NATS at {address} does not answer; see whether it runs, or correct --backplane"
        )),
        _ => Failure::passing(format!(
            "cannot reach NATS at {address}: {why}; start it, or correct --backplane"
        )),
    }
}

/// Says what is to be said, and listens and unlistens, in this order.
struct Speaker<'a> {
    client: Client,
    prefix: &'a str,
    subscribed: UnboundedSender<Heard>,
    listens: HashMap<To, AbortHandle>,
}

impl Speaker<'_> {
    async fn speak(&mut self, outbox: &Outbox) -> Result<(), String> {
        self.listen(To::Everybody).await?;
        loop {
            for entry in outbox.take().await {
                match entry {
                    Outward::Say(to, message) => {
                        let published = self.client.publish(subject(self.prefix, &to), message).await;
                        published.map_err(|error| error.to_string())?;
                    }
                    Outward::Listen(to) => self.listen(to).await?,
                    Outward::Unlisten(to) => {
                        if let Some(listen) = self.listens.remove(&to) {
                            listen.abort();
                        }
                    }
                    Outward::End => {
                        let _ = timeout(FLUSH, self.client.flush()).await;
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn listen(&mut self, to: To) -> Result<(), String> {
        let subscriber = self.client.subscribe(subject(self.prefix, &to)).await;
        let subscriber = subscriber.map_err(|error| error.to_string())?;
        let key = to.clone();
        let (heard, listen) = abortable(subscriber.map(move |message| (to.clone(), keep(message.payload))));
        let _ = self.subscribed.send(heard.boxed());
        if let Some(former) = self.listens.insert(key, listen) {
            former.abort();
        }
        Ok(())
    }
}

/// Hands on what is heard, until anything may be missing. Returns why.
async fn hear(
    mut events: UnboundedReceiver<Event>,
    mut fresh: UnboundedReceiver<Heard>,
    hub: &Hub,
) -> String {
    let mut heard = SelectAll::new();
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(Event::Connected) => {}
                Some(Event::LameDuckMode) => return "it is being shut down".to_owned(),
                Some(Event::SlowConsumer(_)) => return "this process is too slow for what is said".to_owned(),
                Some(Event::ServerError(error)) => return error.to_string(),
                Some(event) => return event.to_string(),
                None => return "its client ended".to_owned(),
            },
            Some(subscribed) = fresh.recv() => heard.push(subscribed),
            Some((to, message)) = heard.next() => hub.deliver(&to, &message),
        }
    }
}

/// A short message leaves the read buffer, which would be kept for as long as it waits.
fn keep(message: Bytes) -> Bytes {
    if message.len() < SHARED_BYTES_MIN { Bytes::copy_from_slice(&message) } else { message }
}
