//! Connections that are up to no good: they drip, stall, break off, flood; nothing of them stays.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::testing::{deadline, self_signed};
use chat_server::config::{Config, TlsFiles};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::conformance::raw::{CLOSE, FIN, PATH, PONG, Raw, TEXT, frame, header, upgrade_request};
use crate::harness::{Client, Stage, eventually, token};

/// The deadline under test; everything else here is far quicker.
const DEADLINE: Duration = Duration::from_millis(400);

const HALF_A_HEAD: &str = "GET /connection/websocket HTTP/1.1\r\nHost: chat\r\nConnec";

/// Connections of one stage in the test of leaks.
const CROWD: usize = 200;

async fn stage() -> Stage {
    Stage::with_config(short).await
}

fn short(config: &mut Config) {
    config.timing.header_timeout = DEADLINE;
    config.timing.tls_handshake_timeout = DEADLINE;
    config.limits.requests_per_minute = 1_000_000;
    config.limits.command_rate = 100_000;
}

async fn tcp(address: SocketAddr) -> TcpStream {
    let stream = deadline(TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads to the end, orderly or not, and returns what came.
async fn to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _end = deadline(stream.read_to_end(&mut bytes)).await.is_ok();
    bytes
}

/// Sends one byte at a time, never a whole head, until the server has enough; returns what it
/// said.
async fn drip(stream: &mut TcpStream, head: &str) -> Vec<u8> {
    let (mut bytes, mut said) = (head.bytes().chain(std::iter::repeat(b'x')), Vec::new());
    let until_dropped = async {
        loop {
            let byte = [bytes.next().unwrap_or_default()];
            if stream.write_all(&byte).await.is_err() {
                return;
            }
            let pace = Duration::from_millis(10);
            if let Ok(Ok(0) | Err(_)) = timeout(pace, stream.read_buf(&mut said)).await {
                return;
            }
        }
    };
    deadline(until_dropped).await;
    said
}

fn metric(stage: &Stage, series: &str) -> u64 {
    let text = stage.telemetry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

fn active(stage: &Stage) -> u64 {
    metric(stage, "websocket_connections_active")
}

/// Sockets that this process has accepted on a port and not closed; `/proc/net/tcp` names the
/// inode of each, and 0 where no file descriptor is left.
fn accepted(address: SocketAddr) -> usize {
    const LISTENS: &str = "0A";
    let local = format!("0100007F:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let open = table.lines().filter(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns[1] == local && columns[3] != LISTENS && columns[9] != "0"
    });
    open.count()
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut_off_at_the_deadline() {
    let stage = stage().await;
    for address in [stage.addresses.http, stage.addresses.connections] {
        let mut stream = tcp(address).await;
        let start = Instant::now();
        drip(&mut stream, HALF_A_HEAD).await;
        assert!(start.elapsed() >= DEADLINE, "{:?}", start.elapsed());
        eventually("the socket is closed", async || accepted(address) == 0).await;
    }
}

#[tokio::test]
async fn the_head_of_a_second_request_has_a_deadline_too() {
    let stage = stage().await;
    let mut stream = tcp(stage.addresses.http).await;
    stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: chat\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    deadline(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
    drip(&mut stream, "GET /nowhere HTTP/1.1\r\nHost: ").await;
    eventually("the socket is closed", async || accepted(stage.addresses.http) == 0).await;
}

#[tokio::test]
async fn a_connection_that_waits_between_requests_is_not_kept_for_ever() {
    let stage = stage().await;
    let mut stream = tcp(stage.addresses.http).await;
    stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: chat\r\n\r\n").await.unwrap();
    assert!(to_the_end(&mut stream).await.starts_with(b"HTTP/1.1 404"));
}

#[tokio::test]
async fn a_body_that_drips_in_is_cut_off_at_the_deadline() {
    let stage = stage().await;
    for path in ["/connection/http_stream", "/emulation"] {
        let mut stream = tcp(stage.addresses.http).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: chat\r\nContent-Length: 9000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let said = drip(&mut stream, "").await;
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 4"), "{path}: {said}");
        eventually("the socket is closed", async || accepted(stage.addresses.http) == 0).await;
    }
}

#[tokio::test]
async fn who_says_nothing_is_dropped() {
    let stage = stage().await;
    for address in [stage.addresses.http, stage.addresses.connections] {
        let start = Instant::now();
        assert_eq!(to_the_end(&mut tcp(address).await).await, b"");
        assert!(start.elapsed() >= DEADLINE);
        eventually("the socket is closed", async || accepted(address) == 0).await;
    }
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let files = self_signed(folder.path());
    let stage = Stage::with_config(|config| {
        short(config);
        config.tls = Some(TlsFiles { cert: files.cert, key: files.key });
    })
    .await;
    // Nothing, half a record's header, and a header whose record never comes.
    for said in [&b""[..], &[0x16, 3], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]] {
        for address in [stage.addresses.http, stage.addresses.connections] {
            let mut stream = tcp(address).await;
            let start = Instant::now();
            stream.write_all(said).await.unwrap();
            assert_eq!(to_the_end(&mut stream).await, b"");
            assert!(start.elapsed() >= DEADLINE);
            eventually("the socket is closed", async || accepted(address) == 0).await;
        }
    }
    let mut stream = tcp(stage.addresses.connections).await;
    stream.write_all(upgrade_request(PATH, "").as_bytes()).await.unwrap();
    let alert = to_the_end(&mut stream).await;
    assert_eq!(alert.first(), Some(&0x15), "plain HTTP gets an alert: {alert:?}");
}

#[tokio::test]
async fn who_ends_its_own_half_gets_what_it_asked_for_and_then_the_end() {
    let stage = stage().await;
    let mut bob = stage.connect("bob").await;
    bob.subscribe("room").await;
    let commands = format!(
        "{}\n{}",
        json!({ "id": 1, "connect": { "token": token("half") } }),
        json!({ "id": 2, "subscribe": { "channel": "room" } }),
    );
    let mut stream = tcp(stage.addresses.connections).await;
    let behind = frame(FIN | TEXT, commands.as_bytes());
    stream.write_all(&[upgrade_request(PATH, "").as_bytes(), &behind].concat()).await.unwrap();
    bob.expect(|message| message["push"]["join"]["info"]["user"] == "half").await;
    stream.shutdown().await.unwrap();
    bob.expect(|message| message["push"]["leave"]["info"]["user"] == "half").await;
    let said = to_the_end(&mut stream).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(r#""id":1,"connect""#) && said.contains(r#""id":2,"subscribe""#));
    eventually("one is left", async || active(&stage) == 1).await;
}

#[tokio::test]
async fn half_a_connection_at_any_moment_leaves_nothing() {
    let stage = stage().await;
    let request = upgrade_request(PATH, "");
    let connect = frame(FIN | TEXT, br#"{"id":1,"connect":{}}"#);
    let whole = [request.as_bytes(), &connect].concat();
    for at in [0, 1, 30, request.len() - 1, request.len(), request.len() + 3, whole.len()] {
        let mut stream = tcp(stage.addresses.connections).await;
        stream.write_all(&whole[..at]).await.unwrap();
        stream.shutdown().await.unwrap();
        to_the_end(&mut stream).await;
        let gone = async || accepted(stage.addresses.connections) == 0 && active(&stage) == 0;
        eventually("nothing is left", gone).await;
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_frame_is_a_leave() {
    let stage = stage().await;
    let mut bob = stage.connect("bob").await;
    bob.subscribe("room").await;
    for cut in [header(FIN | TEXT, 60_000), frame(TEXT, b"{\"id\":3"), vec![FIN | TEXT]] {
        let mut eve = stage.connect("eve").await;
        eve.subscribe("room").await;
        let stream = eve.socket.get_mut();
        stream.write_all(&cut).await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(eve);
        bob.expect(|message| message["push"]["leave"]["info"]["user"] == "eve").await;
        eventually("one is left", async || active(&stage) == 1).await;
    }
    eventually("its socket, too", async || accepted(stage.addresses.connections) == 1).await;
}

#[tokio::test]
async fn who_never_says_who_it_is_goes() {
    let stage = Stage::with_config(|config| config.timing.auth_timeout = DEADLINE).await;
    let start = Instant::now();
    let mut silent = Raw::open(&stage, PATH).await;
    let last = deadline(silent.frame()).await.unwrap();
    assert_eq!((last.opcode, &last.payload[..2]), (CLOSE, &3502_u16.to_be_bytes()[..]));
    assert!(start.elapsed() >= DEADLINE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_stops_sending_cannot_stop_the_clock() {
    let stage = Stage::with_config(|config| config.timing.auth_timeout = DEADLINE).await;
    // Neither is answered, so nothing has to be read; the server is busier with each than we are.
    for (name, flood) in [("pongs", frame(FIN | PONG, b"")), ("answers", frame(FIN | TEXT, b"{}"))]
    {
        let before = stale(&stage);
        let mut stream = tcp(stage.addresses.connections).await;
        stream.write_all(upgrade_request(PATH, "").as_bytes()).await.unwrap();
        let flood = flood.repeat(20_000);
        let written = deadline(async move { while stream.write_all(&flood).await.is_ok() {} });
        TaskTracker::new().spawn(written).await.unwrap();
        eventually(name, async || stale(&stage) == before + 1).await;
    }
}

fn stale(stage: &Stage) -> u64 {
    metric(stage, "chat_disconnects_total{code=\"3502\"}")
}

/// How far the connections of a crowd get before they are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaches {
    Tcp,
    HalfAHead,
    Upgrade,
    HalfAFrame,
    Connect,
    Room,
    /// A room, and a close frame nobody waits for an answer to.
    Farewell,
    /// A room, and a reset.
    Reset,
    /// The same over a streamed HTTP response.
    Stream,
}

impl Reaches {
    const ALL: [Self; 9] = [
        Self::Tcp,
        Self::HalfAHead,
        Self::Upgrade,
        Self::HalfAFrame,
        Self::Connect,
        Self::Room,
        Self::Farewell,
        Self::Reset,
        Self::Stream,
    ];

    /// One connection that gets so far.
    async fn go(self, stage: &Stage) -> TcpStream {
        let connect = json!({ "id": 1, "connect": { "token": token("crowd") } }).to_string();
        let mut stream = tcp(stage.addresses.connections).await;
        let said = match self {
            Self::Tcp => return stream,
            Self::HalfAHead => HALF_A_HEAD.to_owned(),
            Self::Stream => format!(
                "POST /connection/http_stream HTTP/1.1\r\nHost: chat\r\n\
                 Content-Length: {}\r\n\r\n{connect}",
                connect.len()
            ),
            _ => return self.on_websocket(stage.over(stream).await).await,
        };
        stream.write_all(said.as_bytes()).await.unwrap();
        if self == Self::Stream {
            let mut answer = [0; 12];
            deadline(stream.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        stream
    }

    async fn on_websocket(self, mut client: Client) -> TcpStream {
        if !matches!(self, Self::Upgrade | Self::HalfAFrame) {
            let reply = client.ask("connect", json!({ "token": token("crowd") })).await;
            assert!(reply["connect"].is_object(), "{reply}");
        }
        if matches!(self, Self::Room | Self::Farewell | Self::Reset) {
            client.subscribe("room").await;
        }
        let mut stream = client.socket.into_inner();
        match self {
            Self::HalfAFrame => {
                stream.write_all(&header(FIN | TEXT, 5000)).await.unwrap();
                stream.write_all(b"half").await.unwrap();
            }
            Self::Farewell => {
                stream.write_all(&frame(FIN | CLOSE, &1000_u16.to_be_bytes())).await.unwrap();
            }
            Self::Reset => stream.set_zero_linger().unwrap(),
            _ => {}
        }
        stream
    }
}

#[tokio::test]
async fn crowds_that_come_and_go_at_any_stage_leave_nothing_behind() {
    let stage = Stage::with_config(|config| {
        short(config);
        // A slot, a session or a registry entry that is not given back is missed by the next.
        config.limits.connections_max = CROWD;
        config.limits.connections_per_user = CROWD;
        config.timing.header_timeout = Duration::from_secs(60);
    })
    .await;
    let connections = stage.addresses.connections;
    for reaches in Reaches::ALL {
        let mut crowd = Vec::with_capacity(CROWD);
        for _ in 0..CROWD {
            crowd.push(reaches.go(&stage).await);
        }
        eventually("all are in", async || accepted(connections) == CROWD).await;
        drop(crowd);
        let gone = async || accepted(connections) == 0 && active(&stage) == 0;
        eventually(&format!("{reaches:?}: sockets and sessions are gone"), gone).await;
    }
    let streams = || metric(&stage, "chat_connections_active{transport=\"http_stream\"}");
    eventually("streams are gone", async || streams() == 0).await;
    let report = stage.stop().await;
    assert_eq!((report.told, report.forced), (0, 0), "nobody is left to tell");
}
