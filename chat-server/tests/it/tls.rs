//! Everything over TLS: the same server, sealed.

use std::path::Path;
use std::sync::Arc;

use chassis::testing::{SelfSigned, client_config, deadline, self_signed};
use chassis::tls::{ALPN_H2, ALPN_HTTP_1_1};
use chat_server::config::{Config, TlsFiles};
use chat_server::protocol::{DisconnectCode, Json};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::Version;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::conformance::raw::{FIN, PATH, TEXT, frame, upgrade_request};
use crate::harness::{Stage, eventually, token};

/// A body that fits a frame of 64 KiB with its envelope.
const LARGE: usize = 60_000;

/// A server that speaks TLS, and its certificate.
struct Sealed {
    stage: Stage,
    files: SelfSigned,
    folder: TempDir,
}

/// A client over WebSocket over TLS.
struct Client {
    write: SplitSink<WebSocketStream<Box<TlsStream<TcpStream>>>, Message>,
    read: SplitStream<WebSocketStream<Box<TlsStream<TcpStream>>>>,
}

impl Sealed {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = self_signed(folder.path());
        let stage = Stage::with_config(|config| {
            let (cert, key) = (files.cert.clone(), files.key.clone());
            config.tls = Some(TlsFiles { cert, key });
            config.limits.message_size_max = 61_440;
            config.limits.message_rate = 100_000;
            config.limits.command_rate = 100_000;
            change(config);
        })
        .await;
        Self { stage, files, folder }
    }

    async fn tls(&self, tcp: TcpStream) -> Box<TlsStream<TcpStream>> {
        shake(tcp, &self.files).await.expect("the certificate is trusted")
    }

    /// A client that is connected as `user`.
    async fn connect(&self, user: &str) -> Client {
        self.connect_over(self.stage.tcp().await, user).await
    }

    async fn connect_over(&self, tcp: TcpStream, user: &str) -> Client {
        let stream = self.tls(tcp).await;
        let upgraded = client_async("wss://localhost/connection/websocket", stream);
        let (socket, _) = Box::pin(deadline(upgraded)).await.unwrap();
        let (write, read) = socket.split();
        let mut client = Client { write, read };
        client.send(&json!({ "id": 1, "connect": { "token": token(user) } })).await;
        client.expect(|message| message["connect"]["client"].is_string()).await;
        client
    }

    async fn member(&self, user: &str) -> Client {
        let mut client = self.connect(user).await;
        client.subscribe().await;
        client
    }

    async fn publish(&self, data: &Value) -> u64 {
        self.stage.control.publish("room", Json::from_value(data).unwrap()).await.unwrap().offset
    }
}

/// A handshake with a client that trusts one certificate.
async fn shake(tcp: TcpStream, trusted: &SelfSigned) -> std::io::Result<Box<TlsStream<TcpStream>>> {
    let config = client_config(std::slice::from_ref(&trusted.der), &[ALPN_HTTP_1_1]);
    let connector = TlsConnector::from(config);
    let name = ServerName::try_from("localhost").unwrap();
    Box::pin(deadline(connector.connect(name, tcp))).await.map(Box::new)
}

impl Client {
    async fn send(&mut self, command: &Value) {
        deadline(self.write.send(Message::text(command.to_string()))).await.unwrap();
    }

    async fn subscribe(&mut self) {
        self.send(&json!({ "id": 2, "subscribe": { "channel": "room" } })).await;
        self.expect(|message| message["id"] == 2 && message["subscribe"].is_object()).await;
    }

    /// The first message that fits; what comes before it is dropped.
    async fn expect(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = deadline(self.read.next()).await.expect("the end").unwrap();
            let Message::Text(text) = message else { panic!("{message:?}") };
            let messages = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let mut fitting = messages.filter(|message| fits(message));
            if let Some(found) = fitting.next() {
                assert!(fitting.next().is_none(), "one at a time: {text}");
                return found;
            }
        }
    }

    async fn publication(&mut self) -> Value {
        self.expect(|message| message["push"]["pub"].is_object()).await["push"]["pub"].clone()
    }

    /// The code of the close frame and an orderly end.
    async fn closed(&mut self) -> u16 {
        loop {
            match deadline(self.read.next()).await.expect("the end").unwrap() {
                Message::Close(close) => {
                    assert!(deadline(self.read.next()).await.is_none(), "nothing behind a close");
                    return close.expect("a code").code.into();
                }
                Message::Text(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a client says that has not heard of TLS 1.3: no `supported_versions` in its hello.
fn hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        // supported_groups: secp256r1, x25519
        &[0, 10, 0, 6, 0, 4, 0, 23, 0, 29],
        // signature_algorithms: ecdsa and rsa_pss with SHA-256
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4],
    ];
    let extensions = extensions.concat();
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session; ECDHE with ECDSA or RSA and AES-128-GCM; no compression.
    body.extend([0, 0, 4, 0xC0, 0x2B, 0xC0, 0x2F, 1, 0]);
    body.extend(length(extensions.len()));
    body.extend(extensions);
    let handshake = [&[1, 0][..], &length(body.len()), &body].concat();
    [&[0x16, 3, 1][..], &length(handshake.len()), &handshake].concat()
}

#[tokio::test]
async fn both_ports_speak_tls_1_3_and_nothing_older() {
    let sealed = Sealed::start().await;
    let addresses = sealed.stage.addresses;
    assert!(addresses.tls);
    for address in [addresses.http, addresses.connections] {
        let stream = sealed.tls(TcpStream::connect(address).await.unwrap()).await;
        let (_, session) = stream.get_ref();
        let version = session.protocol_version().unwrap();
        assert_eq!(format!("{version:?}"), "TLSv1_3");

        let mut old = TcpStream::connect(address).await.unwrap();
        old.write_all(&hello_of_tls_1_2()).await.unwrap();
        let mut answer = Vec::new();
        deadline(old.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 70], "a fatal alert: protocol_version");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_while_connections_go_on() {
    let sealed = Sealed::start().await;
    let mut before = sealed.member("before").await;
    let renewed = self_signed(Path::new(sealed.folder.path()));
    assert!(shake(sealed.stage.tcp().await, &renewed).await.is_err(), "not read yet");
    let served = async || shake(sealed.stage.tcp().await, &renewed).await.is_ok();
    eventually("the new one is served", served).await;
    assert!(shake(sealed.stage.tcp().await, &sealed.files).await.is_err(), "the old one is gone");
    let offset = sealed.publish(&json!("still here")).await;
    assert_eq!(before.publication().await["offset"], offset);
}

#[tokio::test]
async fn large_messages_go_both_ways() {
    let sealed = Sealed::start().await;
    let (mut ann, mut bob) = (sealed.member("ann").await, sealed.member("bob").await);
    for round in 0..20 {
        let data = json!(char::from(b'a' + round).to_string().repeat(LARGE));
        let publish = json!({ "id": 9, "publish": { "channel": "room", "data": data } });
        ann.send(&publish).await;
        assert!(bob.publication().await["data"] == data, "round {round}");
        assert!(ann.publication().await["data"] == data, "round {round}");
    }
    // A page of half a megabyte, in one frame.
    bob.send(&json!({ "id": 3, "history": { "channel": "room", "limit": -1 } })).await;
    let page = bob.expect(|message| message["id"] == 3).await;
    let publications = page["history"]["publications"].as_array().unwrap();
    assert_eq!(publications.len(), 8, "512 KiB of data");
    assert!(publications.iter().all(|one| one["data"].as_str().unwrap().len() == LARGE));
}

#[tokio::test]
async fn both_directions_are_busy_at_once() {
    const COUNT: u64 = 200;
    let sealed = Sealed::start().await;
    let Client { mut write, mut read } = sealed.member("ann").await;
    let data = "x".repeat(20_000);
    // More on the way than this would be a client that does not read.
    let under_way = Semaphore::new(3);
    let send = async {
        for id in 0..COUNT {
            under_way.acquire().await.unwrap().forget();
            let publish = json!({ "id": id + 10, "publish": { "channel": "room", "data": data } });
            write.send(Message::text(publish.to_string())).await.unwrap();
        }
    };
    let receive = async {
        let (mut replies, mut offset) = (0, 0);
        while replies < COUNT || offset < COUNT {
            let Message::Text(text) = read.next().await.unwrap().unwrap() else { continue };
            for line in text.lines() {
                let message: Value = serde_json::from_str(line).unwrap();
                replies += u64::from(message["publish"].is_object());
                if message["push"]["pub"].is_object() {
                    offset += 1;
                    assert_eq!(message["push"]["pub"]["offset"], offset);
                    under_way.add_permits(1);
                }
            }
        }
    };
    deadline(async { tokio::join!(send, receive) }).await;
}

#[tokio::test]
async fn many_messages_arrive_in_order_through_changing_keys() {
    let sealed = Sealed::start().await;
    let mut bob = sealed.member("bob").await;
    for offset in 1..=3000 {
        assert_eq!(sealed.publish(&json!(offset)).await, offset);
        // The backlog of a reader that keeps up is never in question here.
        if offset % 50 == 0 {
            for known in offset - 49..=offset {
                assert_eq!(bob.publication().await["offset"], known);
            }
            let mut socket = bob.write.reunite(bob.read).unwrap();
            socket.get_mut().get_mut().1.refresh_traffic_keys().unwrap();
            (bob.write, bob.read) = socket.split();
            bob.send(&json!({ "id": offset, "ping": {} })).await;
            bob.expect(|message| message["id"] == offset).await;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_gets_its_page_and_every_message_in_order() {
    const BEHIND: u64 = 12;
    let sealed = Sealed::start().await;
    let data = json!("x".repeat(4096));
    for _ in 0..100 {
        sealed.publish(&data).await;
    }
    let narrow = TcpSocket::new_v4().unwrap();
    narrow.set_recv_buffer_size(8 * 1024).unwrap();
    let tcp = deadline(narrow.connect(sealed.stage.addresses.connections)).await.unwrap();
    let mut slow = sealed.connect_over(tcp, "slow").await;
    slow.subscribe().await;
    let mut bob = sealed.member("bob").await;
    slow.send(&json!({ "id": 3, "history": { "channel": "room", "limit": -1 } })).await;
    let page = slow.expect(|message| message["id"] == 3).await;
    assert_eq!(page["history"]["publications"].as_array().unwrap().len(), 100);
    for offset in 101..=400 {
        assert_eq!(sealed.publish(&data).await, offset);
        assert_eq!(bob.publication().await["offset"], offset);
        if offset > 100 + BEHIND {
            assert_eq!(slow.publication().await["offset"], offset - BEHIND);
        }
    }
    for offset in 401 - BEHIND..=400 {
        assert_eq!(slow.publication().await["offset"], offset);
    }
}

#[tokio::test]
async fn a_reader_that_stops_is_closed_over_tls_as_well() {
    let sealed = Sealed::start().await;
    let mut bob = sealed.member("bob").await;
    let stopped = sealed.member("stopped").await;
    let ended = || sealed.stage.telemetry.render().contains("{code=\"3008\"} 1");
    let mut offset = 0;
    while !ended() {
        offset = sealed.publish(&json!("x".repeat(LARGE))).await;
        assert_eq!(bob.publication().await["offset"], offset);
        assert!(offset < 500, "the kernels of both sides hold less");
    }
    drop(stopped);
    assert_eq!(sealed.publish(&json!("on")).await, offset + 1);
    assert_eq!(bob.publication().await["offset"], offset + 1);
}

#[tokio::test]
async fn closes_of_both_sides_end_in_order() {
    let sealed = Sealed::start().await;
    let mut ann = sealed.member("ann").await;
    let bye = CloseFrame { code: 4000.into(), reason: "bye".into() };
    ann.write.send(Message::Close(Some(bye))).await.unwrap();
    assert_eq!(ann.closed().await, 4000);

    let mut bob = sealed.member("bob").await;
    assert_eq!(sealed.stage.control.disconnect("bob", DisconnectCode::Forced).await.here, 1);
    assert_eq!(bob.closed().await, 3503);

    // Without WebSocket's close and without TLS's: a client that vanished.
    let carol = sealed.member("carol").await;
    let mut dave = sealed.member("dave").await;
    drop(carol);
    let left = |message: &Value| message["push"]["leave"]["info"]["user"] == "carol";
    dave.expect(left).await;
}

#[tokio::test]
async fn a_command_in_the_same_record_as_the_upgrade_is_answered() {
    let sealed = Sealed::start().await;
    let mut stream = sealed.tls(sealed.stage.tcp().await).await;
    let request = upgrade_request(PATH, "");
    let connect = frame(FIN | TEXT, br#"{"id":1,"connect":{}}"#);
    stream.write_all(&[request.as_bytes(), &connect].concat()).await.unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(r#""id":1,"connect""#) {
        assert!(deadline(stream.read_buf(&mut said)).await.unwrap() > 0, "{said:?}");
    }
}

#[tokio::test]
async fn http_2_carries_requests_and_streams() {
    let sealed = Sealed::start().await;
    let config = client_config(std::slice::from_ref(&sealed.files.der), &[ALPN_H2, ALPN_HTTP_1_1]);
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(Arc::unwrap_or_clone(config))
        .build()
        .unwrap();
    let addresses = sealed.stage.addresses;
    let live = format!("https://{}/health/live", addresses.http);
    let answer = deadline(client.get(live).send()).await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 200));

    for address in [addresses.http, addresses.connections] {
        let url = |path| format!("https://{address}/connection/{path}");
        let upgrade = deadline(client.get(url("websocket")).send()).await.unwrap();
        assert_eq!(upgrade.status().as_u16(), 400, "there is no upgrade in HTTP/2");
        let mut streams = Vec::new();
        for id in 1..=10 {
            let connect = json!({ "id": id, "connect": { "token": token("ann") } });
            let request = client.post(url("http_stream")).body(connect.to_string());
            let mut stream = deadline(request.send()).await.unwrap();
            assert_eq!((stream.version(), stream.status().as_u16()), (Version::HTTP_2, 200));
            let first = deadline(stream.chunk()).await.unwrap().unwrap();
            let reply: Value = serde_json::from_slice(&first).unwrap();
            assert_eq!(reply["id"], id);
            assert!(reply["connect"]["session"].is_string(), "{reply}");
            streams.push(stream);
        }
        drop(streams);
        let gone = async || {
            let text = sealed.stage.telemetry.render();
            text.contains("chat_connections_active{transport=\"http_stream\"} 0")
        };
        eventually("the streams are gone", gone).await;
    }
}
