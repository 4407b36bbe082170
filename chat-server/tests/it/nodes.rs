//! Several nodes behave as one.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Backend, Stage, on_both_stores};

on_both_stores! {
    async fn a_message_reaches_people_on_other_nodes_at_once(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        bob.subscribe(&room.channel).await;
        let sent = Instant::now();
        ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
        assert_eq!(bob.hears(&room.channel).await["body"], "hi");
        // Long before heads are compared.
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    }
}
