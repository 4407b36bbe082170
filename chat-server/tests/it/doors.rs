//! What a door says before there is a session: methods, paths, subprotocols, origins.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Stage, encode, http};

const KEY: &str = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";

/// The status line's code of an upgrade with some more header lines.
async fn upgrade(stage: &Stage, more: &[&str]) -> u16 {
    let headers = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY];
    let head = http::head("GET", "/connection/websocket", &[&headers, more].concat());
    let mut socket = stage.tcp().await;
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let stage = Stage::start().await;
    for port in [stage.addresses.http, stage.addresses.connections] {
        assert_eq!(http::get(port, "/connection", &[]).await.status, 404);
        assert_eq!(http::get(port, "/connection/http_stream", &[]).await.status, 405);
        assert_eq!(http::get(port, "/emulation", &[]).await.status, 405);
        assert_eq!(http::post(port, "/connection/sse", &[], b"{}").await.status, 405);
        assert_eq!(http::get(port, "/connection/websocket", &[]).await.status, 400);
    }
    // The port for connections has nothing else.
    assert_eq!(http::get(stage.addresses.connections, "/health", &[]).await.status, 404);
    assert_eq!(http::get(stage.addresses.http, "/metrics", &[]).await.status, 404);
}

#[tokio::test]
async fn every_door_is_on_both_ports() {
    let stage = Stage::start().await;
    for port in [stage.addresses.http, stage.addresses.connections] {
        let url = format!("ws://{port}/connection/websocket?cf_protocol=json");
        let stream = tokio::net::TcpStream::connect(port).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        let path = format!("/connection/sse?cf_connect={}", encode("nonsense"));
        assert!(http::get(port, &path, &[]).await.body.contains("3501"));
    }
}

#[tokio::test]
async fn a_page_opens_connections_only_from_the_origins_allowed() {
    let stage = Stage::with(&[("ALLOWED_ORIGINS", "https://veza.live")]).await;
    for (origin, status) in [
        (&[][..], 101),
        (&["Origin: https://veza.live"], 101),
        (&["Origin: HTTPS://Veza.Live"], 101),
        // The server's own pages: the host of every request here.
        (&["Origin: http://chat.test"], 101),
        (&["Origin: https://evil.example"], 403),
        (&["Origin: https://veza.live.evil.example"], 403),
        (&["Origin: http://veza.live"], 403),
        (&["Origin: https://chat.test.evil.example"], 403),
        (&["Origin: null"], 403),
        (&["Origin: "], 403),
    ] {
        assert_eq!(upgrade(&stage, origin).await, status, "{origin:?}");
    }
    let evil = ["Origin: https://evil.example"];
    for answer in [
        http::get(stage.addresses.http, "/connection/sse?cf_connect=%7B%7D", &evil).await,
        http::post(stage.addresses.http, "/connection/http_stream", &evil, b"{}").await,
        http::post(stage.addresses.http, "/emulation", &evil, b"{}").await,
    ] {
        let problem = answer.problem();
        let found = (answer.status, &problem["code"], &problem["reason"]);
        assert_eq!(found, (403, &json!(103), &json!("origin")));
    }
}

#[tokio::test]
async fn with_cors_off_only_the_servers_own_pages_may_call() {
    let stage =
        Stage::with(&[("ENABLE_CORS", "false"), ("ALLOWED_ORIGINS", "https://veza.live")]).await;
    assert_eq!(upgrade(&stage, &["Origin: https://veza.live"]).await, 403);
    assert_eq!(upgrade(&stage, &["Origin: https://chat.test"]).await, 101);
    assert_eq!(upgrade(&stage, &[]).await, 101);
}

#[tokio::test]
async fn by_default_development_lets_every_page_call() {
    let stage = Stage::start().await;
    assert_eq!(upgrade(&stage, &["Origin: http://localhost:5173"]).await, 101);
    assert_eq!(upgrade(&stage, &["Origin: null"]).await, 101);
}

#[tokio::test]
async fn the_streams_of_one_http2_connection_count_as_connections() {
    chassis::tls::install_provider();
    let stage = Stage::with(&[("MAX_CONNECTIONS", "3")]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/connection/http_stream", stage.addresses.http);
    let mut open = Vec::new();
    for _ in 0..3 {
        let body = json!({ "id": 1, "connect": {} }).to_string();
        let response = client.post(&url).body(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        open.push(response);
    }
    let response = client.post(&url).body("{}").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(problem["reason"], "connections_max");
    let mut first = open.remove(0);
    let reply = first.chunk().await.unwrap().unwrap();
    assert!(reply.starts_with(b"{\"id\":1,\"connect\":{"), "{reply:?}");
}
