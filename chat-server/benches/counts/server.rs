//! The server under measurement: a release build in a process of its own, plain or under callgrind.
//!
//! callgrind counts from the start; a command to valgrind's own gate, `vgdb`, has it write what was
//! executed since the last one into a numbered file.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use chassis::auth::{NewToken, mint};

use super::member::Member;
use super::profile::Profile;

const SECRET: &str = "only a measurement on loopback uses this secret";

/// The server is up within a second, and within ten under callgrind on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// A running server; dropping it ends the process.
pub(crate) struct Server {
    child: Child,
    /// Where connections go.
    pub(crate) address: SocketAddr,
    http: SocketAddr,
    folder: tempfile::TempDir,
    /// Parts that callgrind has written.
    parts: usize,
}

impl Server {
    pub(crate) fn plain(binary: &Path) -> anyhow::Result<Self> {
        Self::start(|_folder| Command::new(binary))
    }

    /// Turns of threads are dealt out fairly, and commands are looked for often, so that a server
    /// that does little hears them soon.
    pub(crate) fn under_callgrind(binary: &Path) -> anyhow::Result<Self> {
        Self::start(|folder| {
            let mut command = Command::new("valgrind");
            command
                .args(["--tool=callgrind", "--quiet", "--fair-sched=try", "--vgdb-poll=500"])
                .arg(format!("--vgdb-prefix={}", folder.join("gate").display()))
                .arg(format!("--callgrind-out-file={}", folder.join("part").display()))
                .arg(binary);
            command
        })
    }

    fn start(command: impl FnOnce(&Path) -> Command) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let channels = folder.path().join("channels.toml");
        std::fs::write(&channels, super::CHANNELS)?;
        let (http, address) = (free_port()?, free_port()?);
        let child = command(folder.path())
            .env("PORT", http.port().to_string())
            .env("WS_PORT", address.port().to_string())
            .env("PROMETHEUS_PORT", free_port()?.port().to_string())
            .env("DATA_DIR", folder.path())
            .env("CHANNELS_FILE", &channels)
            .env("JWT_SECRET", SECRET)
            // The same on every machine, whatever it has.
            .env("WORKER_THREADS", "2")
            .env("DELIVERY_SHARDS", "1")
            // All connections are one user's, and nothing holds them back.
            .env("MAX_CONNECTIONS_PER_USER", "100000")
            .env("RATE_LIMIT_PER_MINUTE", "1000000")
            .env("MAX_MESSAGE_RATE", "100000")
            .env("COMMAND_RATE", "100000")
            // No ping falls into what is counted.
            .env("PING_INTERVAL_MS", "3600000")
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .spawn()
            .context("the server or valgrind cannot be started")?;
        let mut server = Self { child, address, http, folder, parts: 0 };
        server.until_up()?;
        Ok(server)
    }

    #[expect(clippy::disallowed_methods, reason = "one thread, which has nothing else to do")]
    fn until_up(&mut self) -> anyhow::Result<()> {
        for _ in 0..DEADLINE.as_millis() / LOOK.as_millis() {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none(), "the server has ended: {ended:?}");
            std::thread::sleep(LOOK);
        }
        anyhow::bail!("the server is not up within {DEADLINE:?}")
    }

    /// What was executed so far is not counted.
    pub(crate) fn forget(&mut self) -> anyhow::Result<()> {
        self.executed().map(drop)
    }

    /// What was executed since this was called last.
    pub(crate) fn executed(&mut self) -> anyhow::Result<Profile> {
        let status = Command::new("vgdb")
            .arg(format!("--vgdb-prefix={}", self.folder.path().join("gate").display()))
            .arg(format!("--pid={}", self.child.id()))
            .arg("dump")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("vgdb")?;
        ensure!(status.success(), "callgrind does not write what it counted: {status}");
        self.parts += 1;
        let part = self.folder.path().join(format!("part.{}", self.parts));
        let text = std::fs::read(&part).with_context(|| part.display().to_string())?;
        Profile::parse(&String::from_utf8_lossy(&text))
    }

    /// Makes a room whose messages are durable; its channel.
    pub(crate) fn durable_room(&self) -> anyhow::Result<String> {
        let mut owner = Member::connect(self)?;
        let data = r#"{"name":"counted","visibility":"public"}"#;
        owner.say(&format!(r#"{{"id":2,"rpc":{{"method":"room.create","data":{data}}}}}"#))?;
        let reply = owner.until(r#"{"id":2,"rpc""#)?;
        // The owner's feed tells of the room too, before the reply or behind it.
        let from = reply.find("room:").context("no channel")?;
        let (_, channel) = reply.split_at(from);
        let (channel, _) = channel.split_once('"').context("no end of the channel")?;
        Ok(channel.to_owned())
    }

    /// What the program has asked the allocator for and not given back, in bytes.
    pub(crate) fn allocated(&self) -> anyhow::Result<f64> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.write_all(b"GET /health/memory HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, bytes) = answer.split_once(r#""allocated_bytes":"#).context(answer.clone())?;
        let end = bytes.find(|digit: char| !digit.is_ascii_digit()).context("no end")?;
        Ok(bytes.split_at(end).0.parse()?)
    }

    /// For one user, who owns everything.
    pub(crate) fn token(&self) -> String {
        let user = Some("ann".parse().expect("it is a name"));
        let issued_at = chat_server::command::unix_seconds();
        let ttl = Some(Duration::from_secs(3600));
        mint(&SECRET.into(), &NewToken { user, issued_at, ttl, ..NewToken::default() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        let (_killed, _reaped) = (self.child.kill().is_ok(), self.child.wait().is_ok());
    }
}

fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
