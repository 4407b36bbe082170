//! Whoever talks in the rooms during the restarts, over whichever node is there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::person::{Socket, dial};
use super::{Deployment, Place};
use crate::harness::{token, unix};

/// After so many messages something happens to somebody, which their feed tells.
const DEED_EVERY: usize = 5;

/// The owner of the rooms.
#[derive(Debug)]
pub struct Talker {
    deployment: Arc<Deployment>,
    socket: Option<Socket>,
    last_id: u64,
}

impl Talker {
    pub fn new(deployment: &Arc<Deployment>) -> Self {
        Self { deployment: deployment.clone(), socket: None, last_id: 1 }
    }

    /// Says something in all rooms in turn until told to stop; gives where the rooms stand then.
    pub async fn talk(
        mut self,
        places: Vec<Place>,
        pace: Duration,
        stop: CancellationToken,
    ) -> Vec<u64> {
        let mut ticks = tokio::time::interval(pace);
        for (number, place) in places.iter().cycle().enumerate() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let (room, body) = (&place.room, format!("number {number}"));
            let message = json!({ "type": "message", "body": body, "idem": Uuid::new_v4() });
            self.ask("publish", json!({ "channel": room.channel, "data": message })).await;
            if number % DEED_EVERY == 0 && !place.members.is_empty() {
                let user = &place.members[number / DEED_EVERY % place.members.len()];
                // Another end is another event.
                let until = (unix() + 3600) * 1000 + number as u64;
                let data = json!({ "room": room.id, "user": user, "until": until });
                self.ask("rpc", json!({ "method": "member.mute", "data": data })).await;
            }
        }
        let mut heads = Vec::new();
        for place in &places {
            let request = json!({ "channel": place.room.channel, "limit": 0 });
            let reply = self.ask("history", request).await;
            heads.push(reply["history"]["offset"].as_u64().unwrap());
        }
        heads
    }

    /// Asks until somebody answers: what may be asked twice has a key.
    async fn ask(&mut self, method: &str, body: Value) -> Value {
        loop {
            if let Some(reply) = self.try_ask(method, &body).await
                && reply["error"]["temporary"] != true
            {
                assert!(reply[method].is_object(), "{method} {body}: {reply}");
                return reply;
            }
            self.socket = None;
        }
    }

    async fn try_ask(&mut self, method: &str, body: &Value) -> Option<Value> {
        if self.socket.is_none() {
            let mut socket = dial(self.deployment.pick()).await?;
            let connect = json!({ "id": 1, "connect": { "token": token("ann") } });
            socket.send(Message::text(connect.to_string())).await.ok()?;
            self.socket = Some(socket);
        }
        let socket = self.socket.as_mut()?;
        self.last_id += 1;
        let command = json!({ "id": self.last_id, method: body });
        socket.send(Message::text(command.to_string())).await.ok()?;
        loop {
            match socket.next().await? {
                Ok(Message::Text(text)) if text.as_str() == "{}" => {
                    socket.send(Message::text("{}")).await.ok()?;
                }
                Ok(Message::Text(text)) => {
                    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                    let answers = |reply: &Value| reply["id"] == self.last_id;
                    if let Some(reply) = lines.find(answers) {
                        return Some(reply);
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
