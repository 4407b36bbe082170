//! The server under measurement: the release binary in a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use chassis::auth::{NewToken, mint};
use tokio::time::{Instant, sleep};

const BINARY: &str = env!("CARGO_BIN_EXE_chat-server");
const SECRET: &str = "only a measurement on loopback uses this secret";

/// Anybody may subscribe and publish.
const CHANNELS: &str = "[namespaces.loud]\nallow_subscribe = true\nallow_publish = true\n";

const DEADLINE: Duration = Duration::from_secs(20);

/// A running server; dropping it ends the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    http: SocketAddr,
    _data: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let channels = data.path().join("channels.toml");
        std::fs::write(&channels, CHANNELS)?;
        let (http, address, metrics) = (free_port()?, free_port()?, free_port()?);
        let child = Command::new(BINARY)
            .env("PORT", http.port().to_string())
            .env("WS_PORT", address.port().to_string())
            .env("PROMETHEUS_PORT", metrics.port().to_string())
            .env("DATA_DIR", data.path())
            .env("CHANNELS_FILE", &channels)
            .env("JWT_SECRET", SECRET)
            .env("RATE_LIMIT_PER_MINUTE", "1000000")
            .env("MAX_MESSAGE_RATE", "100000")
            // Nobody answers pings, and nobody is put out for it meanwhile.
            .env("PING_INTERVAL_MS", "3600000")
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .spawn()
            .context(BINARY)?;
        let server = Self { child, address, http, _data: data };
        server.until(|| std::net::TcpStream::connect(address).is_ok()).await.context("start")?;
        Ok(server)
    }

    /// Waits until the server has noticed that all connections are gone.
    pub(crate) async fn until_empty(&self) -> anyhow::Result<()> {
        // Counted by /health itself, which has one connection while it answers.
        self.until(|| self.health().is_ok_and(|body| body.contains("\"connections\":1,"))).await
    }

    fn health(&self) -> anyhow::Result<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.http)?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
        let kib = line.split_whitespace().nth(1).context("a number")?;
        Ok(kib.parse()?)
    }

    async fn until(&self, holds: impl Fn() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !holds() {
            ensure!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        let (_killed, _reaped) = (self.child.kill().is_ok(), self.child.wait().is_ok());
    }
}

/// A token for one of many users, ten connections each.
pub(crate) fn token(connection: usize) -> anyhow::Result<String> {
    let user = Some(format!("user-{}", connection / 10).parse()?);
    let issued_at = chat_server::command::unix_seconds();
    let ttl = Some(Duration::from_secs(3600));
    Ok(mint(&SECRET.into(), &NewToken { user, issued_at, ttl, ..NewToken::default() }))
}

/// A variable of the measurement.
#[expect(clippy::disallowed_methods, reason = "a measurement has no configuration of its own")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
