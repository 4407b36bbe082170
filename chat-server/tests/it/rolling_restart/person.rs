//! A person of the rolling restart: connected somewhere, told to go, back at once somewhere else,
//! and sure of every offset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::Deployment;
use crate::harness::token;

/// How soon after a refusal a client tries again: clients jitter, and a balancer needs a moment.
const AGAIN: Duration = Duration::from_millis(50);

/// Where somebody stands in one channel.
#[derive(Debug)]
struct Spot {
    channel: String,
    epoch: Value,
    /// `None` until they were in it.
    last: Option<u64>,
}

/// Somebody.
#[derive(Debug)]
pub struct Person {
    number: usize,
    user: String,
    /// Their feed, then their rooms.
    places: Vec<Spot>,
    /// Places that were refused for a moment: a store on a busy machine may say so.
    again: Vec<usize>,
}

pub type Socket = WebSocketStream<TcpStream>;

impl Spot {
    /// Where to go on.
    fn position(&self) -> Value {
        match self.last {
            Some(last) => json!({ "recover": true, "offset": last, "epoch": self.epoch }),
            None => json!({}),
        }
    }
}

impl Person {
    pub fn new(number: usize, rooms: Vec<String>) -> Self {
        let user = format!("person-{number}");
        let channels = std::iter::once(format!("user:{user}")).chain(rooms);
        let place = |channel| Spot { channel, epoch: Value::Null, last: None };
        Self { number, user, places: channels.map(place).collect(), again: Vec::new() }
    }

    /// Lives until the end, and comes back as often as told to go.
    pub async fn live(mut self, deployment: Arc<Deployment>, over: CancellationToken) {
        loop {
            let node = deployment.pick();
            let session = async {
                let Some(socket) = dial(node).await else {
                    deployment.tally.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(AGAIN).await;
                    return;
                };
                let _here = deployment.enter(node);
                let code = self.session(socket, &deployment).await;
                deployment.tally.goodbye(code);
            };
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = session => {}
            }
        }
    }

    /// One connection to its end; the code it was closed with.
    async fn session(&mut self, mut socket: Socket, deployment: &Deployment) -> Option<u16> {
        if socket.send(Message::text(self.commands())).await.is_err() {
            return None;
        }
        let returns = self.places[0].last.is_some();
        let (mut left, mut inside) = (self.places.len(), None);
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text.as_str() == "{}" => {
                    // The server will notice when it cannot be sent.
                    let _sent = socket.send(Message::text("{}")).await;
                }
                Some(Ok(Message::Text(text))) => {
                    for line in text.lines() {
                        let message: Value = serde_json::from_str(line).unwrap();
                        left = left.saturating_sub(self.heard(&message, returns, deployment));
                    }
                    for at in std::mem::take(&mut self.again) {
                        deployment.tally.refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(AGAIN).await;
                        let command = self.subscribe(at).to_string();
                        if socket.send(Message::text(command)).await.is_err() {
                            return None;
                        }
                    }
                    if left == 0 && inside.is_none() {
                        inside = Some(deployment.tally.enter(returns));
                    }
                }
                Some(Ok(Message::Close(close))) => return close.map(|close| close.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Everything in one frame, as SDKs send it.
    fn commands(&self) -> String {
        let feed = &self.places[0];
        let subs = json!({ feed.channel.clone(): feed.position() });
        let connect = json!({ "token": token(&self.user), "subs": subs });
        let mut lines = vec![json!({ "id": 1, "connect": connect }).to_string()];
        lines.extend((1..self.places.len()).map(|at| self.subscribe(at).to_string()));
        lines.join("\n")
    }

    /// The command with which a place is entered; its id tells which one.
    fn subscribe(&self, at: usize) -> Value {
        let place = &self.places[at];
        let mut subscribe = place.position();
        subscribe["channel"] = json!(place.channel);
        json!({ "id": at + 1, "subscribe": subscribe })
    }

    /// How many places were entered by this message.
    fn heard(&mut self, message: &Value, returns: bool, deployment: &Deployment) -> usize {
        let tally = &deployment.tally;
        if let Some(push) = message["push"].as_object() {
            let channel = push["channel"].as_str().unwrap_or_default();
            let at = self.places.iter().position(|place| place.channel == channel);
            match (push.get("pub"), at) {
                (Some(publication), Some(at)) => self.saw(at, publication, deployment),
                _ => tally.wrong(message),
            }
            return 0;
        }
        let (at, entered) = match message["id"].as_u64() {
            Some(1) => (0, &message["connect"]["subs"][&self.places[0].channel]),
            Some(id) => (usize::try_from(id).unwrap() - 1, &message["subscribe"]),
            None => return 0,
        };
        if at > 0 && message["error"]["temporary"] == true {
            self.again.push(at);
            return 0;
        }
        if !entered.is_object() || returns && entered["recovered"] != true {
            tally.wrong(message);
            return 0;
        }
        for publication in entered["publications"].as_array().into_iter().flatten() {
            self.saw(at, publication, deployment);
        }
        let place = &mut self.places[at];
        place.epoch = entered["epoch"].clone();
        if place.last.is_none() {
            place.last = Some(entered["offset"].as_u64().unwrap_or_default());
            deployment.saw(self.number, at, place.last.unwrap_or_default());
        }
        1
    }

    /// The next one, or one is lost or doubled.
    fn saw(&mut self, at: usize, publication: &Value, deployment: &Deployment) {
        let offset = publication["offset"].as_u64().unwrap();
        let place = &mut self.places[at];
        let next = place.last.map_or(offset, |last| last + 1);
        if offset != next {
            deployment.tally.out_of_order(&place.channel, next, offset);
        }
        place.last = Some(offset);
        deployment.saw(self.number, at, offset);
    }
}

pub async fn dial(node: SocketAddr) -> Option<Socket> {
    let stream = TcpStream::connect(node).await.ok()?;
    let url = format!("ws://{node}/connection/websocket");
    let small = WebSocketConfig::default().read_buffer_size(4096);
    let (socket, _) = client_async_with_config(url, stream, Some(small)).await.ok()?;
    Some(socket)
}
