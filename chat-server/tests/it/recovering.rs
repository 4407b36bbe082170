//! What a client missed is sent as fast as it reads, and no longer than it reads.

use serde_json::json;

use crate::harness::{Stage, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_what_it_recovers_is_given_up() {
    let (dir, channels) = (tempfile::tempdir().unwrap(), "channels.toml");
    let path = dir.path().join(channels);
    let keeps = "[without_namespace]\nhistory_size = 10000\nhistory_ttl = 300\n\
        force_recovery = true\nallow_subscribe = true\n";
    std::fs::write(&path, keeps).unwrap();
    let stage = Stage::with(&[
        ("CHANNELS_FILE", path.to_str().unwrap()),
        ("PING_INTERVAL_MS", "1000"),
        ("PONG_TIMEOUT_MS", "900"),
    ])
    .await;
    // More than the buffers of both ends hold together.
    let data = chat_server::protocol::Json::from_value(&"x".repeat(8000)).unwrap();
    for _ in 0..4000 {
        stage.control.publish("lobby", data.clone()).unwrap();
    }
    let mut bob = stage.connect("bob").await;
    let gone = async || stage.telemetry.render().contains("\nwebsocket_connections_active 0\n");
    assert!(!gone().await, "it is connected");
    bob.send("subscribe", json!({ "channel": "lobby", "recover": true })).await;
    eventually("the client that does not read is gone", gone).await;
    drop(bob);
}
