//! Rooms as people use them: calls, what they hear, and what the logs say.

use std::sync::Arc;

use chat_server::room::{LogId, RoomId};
use chat_server::store::{Range, Store};
use serde_json::{Value, json};

use super::{Client, Stage};

/// A room of a test.
#[derive(Debug, Clone)]
pub struct Room {
    pub id: String,
    pub channel: String,
}

/// The logs of a server, read past it.
#[derive(Debug)]
pub struct Logs {
    store: Arc<Store>,
}

impl Client {
    /// Calls a method and expects it to be done.
    pub async fn call(&mut self, method: &str, data: Value) -> Value {
        let reply = self.ask("rpc", json!({ "method": method, "data": data })).await;
        assert!(reply["rpc"].is_object(), "{method} {data}: {reply}");
        reply["rpc"]["data"].clone()
    }

    /// Calls a method that is refused and gives the error.
    pub async fn call_refused(&mut self, method: &str, data: Value) -> Value {
        let reply = self.ask("rpc", json!({ "method": method, "data": data })).await;
        assert!(reply["error"].is_object(), "{method} {data}: {reply}");
        reply["error"].clone()
    }

    /// The code and reason with which a method is refused.
    pub async fn denied(&mut self, method: &str, data: Value) -> (u64, String) {
        let error = self.call_refused(method, data).await;
        let reason = error["reason"].as_str().unwrap_or_default().to_owned();
        (error["code"].as_u64().unwrap(), reason)
    }

    /// Makes a room with these people in it.
    pub async fn create(&mut self, visibility: &str, members: &[&str]) -> Room {
        let data = json!({ "name": "Lobby", "visibility": visibility, "members": members });
        let made = self.call("room.create", data).await;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Room { id: text("id"), channel: text("channel") }
    }

    /// What the next publication in a channel says.
    pub async fn hears(&mut self, channel: &str) -> Value {
        let is_there = |message: &Value| {
            message["push"]["channel"] == *channel && message["push"]["pub"].is_object()
        };
        self.expect(is_there).await["push"]["pub"]["data"].clone()
    }
}

impl Stage {
    /// A way to the logs past the server.
    pub async fn logs(&self) -> Logs {
        Logs { store: Store::open(&self.config.store).await.unwrap() }
    }
}

impl Room {
    pub fn id(&self) -> RoomId {
        self.id.parse().unwrap()
    }

    /// The request that names this room and nothing else.
    pub fn alone(&self) -> Value {
        json!({ "room": self.id })
    }

    /// The request that names this room and somebody.
    pub fn with(&self, user: &str) -> Value {
        json!({ "room": self.id, "user": user })
    }
}

impl Logs {
    /// Everything that happened in a room, without a hole.
    pub async fn room(&self, room: &Room) -> Vec<Value> {
        self.log(room.id().log()).await
    }

    /// Everything in a person's feed, without a hole.
    pub async fn feed(&self, user: &str) -> Vec<Value> {
        self.log(LogId::of_feed(user)).await
    }

    /// What happened in a room since then.
    pub async fn since(&self, room: &Room, offset: u64) -> Vec<Value> {
        let seen = usize::try_from(offset).unwrap();
        self.room(room).await.split_off(seen)
    }

    /// Who did what to whom, as the audit has it.
    pub async fn audit(&self, room: &Room) -> Vec<Value> {
        let acts = self.store.audited(room.id(), None, 1000).await.unwrap();
        let act = |act: chat_server::store::Audited| {
            let detail: Value = serde_json::from_slice(act.detail.as_bytes()).unwrap();
            json!([act.actor, act.action, act.subject, detail])
        };
        acts.into_iter().map(act).collect()
    }

    async fn log(&self, log: LogId) -> Vec<Value> {
        let (mut events, mut last) = (Vec::new(), 0);
        loop {
            let page = self.store.page(log, Range::After(last), 1000).await.unwrap();
            if page.is_empty() {
                return events;
            }
            for event in page {
                assert_eq!(event.offset, last + 1, "the log has a hole");
                last = event.offset;
                events.push(serde_json::from_slice(event.data.as_bytes()).unwrap());
            }
        }
    }
}
