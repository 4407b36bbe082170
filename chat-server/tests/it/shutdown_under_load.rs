//! SIGTERM under 5,000 connections with traffic: everyone is told, nothing that was acknowledged
//! is missing, and the process ends with 0 in time. Prints its figures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::testing::free_port;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

const CONNECTIONS: usize = 5_000;
const CHANNELS: usize = 100;
const MEMBERS: usize = CONNECTIONS / CHANNELS;

/// The whole drain may take thirty seconds; the machine under the test may be slow.
const DRAIN_MAX: Duration = Duration::from_secs(30);
const SETUP_MAX: Duration = Duration::from_secs(120);

/// Between two messages of a channel: 200 messages and 10,000 deliveries a second in all, which
/// an unoptimised server and its clients manage on two cores.
const PACE: Duration = Duration::from_millis(500);

const CHANNELS_FILE: &str = "[namespaces.load]\nallow_subscribe = true\nallow_publish = true\n\
                             history_size = 100\nhistory_ttl = \"5m\"\nforce_recovery = true\n";

/// What one client saw.
struct Seen {
    channel: usize,
    /// Offsets in the order they came.
    offsets: Vec<u64>,
    /// The highest offset it published itself and got acknowledged.
    acknowledged: u64,
    goodbye: Option<u16>,
}

/// What the publisher of each channel has in hand, updated at every acknowledgement.
type Acknowledged = Arc<Vec<AtomicU64>>;

struct Process {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Process {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let channels = data.path().join("channels.toml");
        std::fs::write(&channels, CHANNELS_FILE).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new(env!("CARGO_BIN_EXE_chat-server"))
            .env_clear()
            .current_dir(data.path())
            .env("PORT", "0")
            .env("WS_PORT", address.port().to_string())
            .env("PROMETHEUS_PORT", "0")
            .env("CHANNELS_FILE", &channels)
            .env("RATE_LIMIT_PER_MINUTE", "1000000")
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let up = async { while TcpStream::connect(address).await.is_err() {} };
        timeout(SETUP_MAX, up).await.expect("the server did not start");
        Self { child, address, _data: data }
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has usually ended by then.
        let (_killed, _reaped) = (self.child.kill().is_ok(), self.child.wait().is_ok());
    }
}

async fn open(address: SocketAddr, channel: usize) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/connection/websocket");
    let small = WebSocketConfig::default().read_buffer_size(4096);
    let (mut socket, _) = client_async_with_config(url, stream, Some(small)).await.unwrap();
    let commands = [
        json!({ "id": 1, "connect": {} }),
        json!({ "id": 2, "subscribe": { "channel": format!("load:{channel}") } }),
    ];
    let commands = commands.map(|command| command.to_string()).join("\n");
    socket.send(Message::text(commands)).await.unwrap();
    let mut subscribed = false;
    while !subscribed {
        let message = socket.next().await.unwrap().unwrap();
        subscribed = message.to_text().unwrap().contains("\"id\":2,\"subscribe\"");
    }
    socket
}

/// Listens to the end; a publisher also publishes at its pace, one at a time.
async fn live(
    mut socket: WebSocketStream<TcpStream>,
    channel: usize,
    publishes: Option<Acknowledged>,
) -> Seen {
    let mut seen = Seen { channel, offsets: Vec::new(), acknowledged: 0, goodbye: None };
    let (mut next, mut pace) = (3_u64, interval(PACE));
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = pace.tick(), if publishes.is_some() => {
                publish(&mut socket, next, channel).await;
                next += 1;
                continue;
            }
        };
        let text = match message {
            Some(Ok(Message::Text(text))) if text.as_str() == "{}" => {
                let _pong = socket.send(Message::text("{}")).await.is_ok();
                continue;
            }
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(close))) => {
                seen.goodbye = close.map(|close| close.code.into());
                continue;
            }
            Some(Ok(_)) => continue,
            None | Some(Err(_)) => return seen,
        };
        for line in text.lines() {
            let message: Value = serde_json::from_str(line).unwrap();
            seen.offsets.extend(message["push"]["pub"]["offset"].as_u64());
            if let (Some(table), Some(offset)) = (&publishes, message["publish"]["offset"].as_u64())
            {
                seen.acknowledged = offset;
                table[channel].store(offset, Ordering::SeqCst);
            }
        }
    }
}

async fn publish(socket: &mut WebSocketStream<TcpStream>, id: u64, channel: usize) {
    let data = json!({ "channel": format!("load:{channel}"), "data": { "id": id } });
    let command = json!({ "id": id, "publish": data }).to_string();
    // The server may have gone: what was not acknowledged does not count.
    let _sent = socket.send(Message::text(command)).await.is_ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_is_told_and_nothing_acknowledged_is_lost() {
    let mut process = Process::start().await;
    let acknowledged: Acknowledged =
        Arc::new(std::iter::repeat_with(AtomicU64::default).take(CHANNELS).collect());
    let mut clients = JoinSet::new();
    let ready = Arc::new(AtomicU64::new(0));
    let go = tokio_util::sync::CancellationToken::new();
    for number in 0..CONNECTIONS {
        let (channel, address) = (number % CHANNELS, process.address);
        let table = (number < CHANNELS).then(|| acknowledged.clone());
        let (counted, go) = (ready.clone(), go.clone());
        clients.spawn(async move {
            let socket = open(address, channel).await;
            counted.fetch_add(1, Ordering::SeqCst);
            go.cancelled().await;
            live(socket, channel, table).await
        });
        // Two hundred handshakes at a time leave room in everybody's queues.
        let opened = async {
            while number as u64 > ready.load(Ordering::SeqCst) + 200 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SETUP_MAX, opened).await.expect("the connections did not come up");
    }
    until(|| ready.load(Ordering::SeqCst) == CONNECTIONS as u64).await;
    go.cancel();
    until(|| acknowledged.iter().all(|offset| offset.load(Ordering::SeqCst) >= 3)).await;

    let before: Vec<u64> =
        acknowledged.iter().map(|offset| offset.load(Ordering::SeqCst)).collect();
    let start = Instant::now();
    process.terminate();
    let (told, received) = check(clients, &before).await;
    let told_after = start.elapsed();
    let status = process.wait();
    let took = start.elapsed();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took <= DRAIN_MAX, "{took:?}");
    println!(
        "{told} of {CONNECTIONS} told within {:.1} s, {received} deliveries checked, \
         {} acknowledged messages before SIGTERM, exit 0 after {:.1} s",
        told_after.as_secs_f64(),
        before.iter().sum::<u64>(),
        took.as_secs_f64()
    );
}

/// Every client was told, saw its channel without a hole, and at least what was acknowledged
/// before the signal and what it got acknowledged itself.
async fn check(mut clients: JoinSet<Seen>, before: &[u64]) -> (usize, usize) {
    let (mut told, mut received) = (0, 0);
    let mut members: HashMap<usize, usize> = HashMap::new();
    while let Some(seen) = timeout(SETUP_MAX, clients.join_next()).await.expect("nobody ends") {
        let seen = seen.unwrap();
        assert_eq!(seen.goodbye, Some(3001), "a client of channel {} was not told", seen.channel);
        let last = seen.offsets.last().copied().unwrap_or(0);
        let expected: Vec<u64> = (1..=last).collect();
        assert_eq!(seen.offsets, expected, "channel {}", seen.channel);
        assert!(last >= before[seen.channel], "channel {}: {last}", seen.channel);
        assert!(last >= seen.acknowledged, "its own acknowledged message is missing");
        *members.entry(seen.channel).or_default() += 1;
        told += 1;
        received += seen.offsets.len();
    }
    assert!(members.values().all(|&count| count == MEMBERS));
    (told, received)
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SETUP_MAX, wait).await.expect("the setup did not come about");
}
