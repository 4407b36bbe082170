//! A channel full of plain clients: blocking sockets, exact bytes, one thread.
//!
//! The first member publishes; nobody publishes again before all have what was published, so the
//! server does the same work in the same order in every run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::server::Server;
use crate::frame::masked;

/// For one read; the server under callgrind is some fifty times slower than otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of what is published, as chat messages go.
const DATA_BYTES: usize = 200;

/// Members of one channel, and the number of the last message.
pub(crate) struct Room {
    channel: String,
    members: Vec<Member>,
    last: usize,
}

/// One connection, and what it has received that was not looked at yet.
pub(crate) struct Member {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Room {
    /// Connects `size` clients and subscribes all of them.
    pub(crate) fn open(server: &Server, channel: &str, size: usize) -> anyhow::Result<Self> {
        let mut members = Vec::with_capacity(size);
        for _ in 0..size {
            let mut member = Member::connect(server)?;
            member.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#))?;
            member.until(r#"{"id":2,"subscribe""#).context(channel.to_owned())?;
            members.push(member);
        }
        Ok(Self { channel: channel.to_owned(), members, last: 0 })
    }

    /// Publishes one after the other.
    pub(crate) fn publish_each(&mut self, count: usize) -> anyhow::Result<()> {
        self.publish_bursts(count, 1)
    }

    /// Publishes `count` times so many at once, in one write.
    pub(crate) fn publish_bursts(&mut self, count: usize, burst: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let mut frames = Vec::new();
            for _ in 0..burst {
                self.last += 1;
                frames.extend(masked(self.command().as_bytes()));
            }
            let (reply, number) = (reply_to(self.last), numbered(self.last));
            self.members[0].stream.write_all(&frames)?;
            for (index, member) in self.members.iter_mut().enumerate() {
                // The reply may come before the message or behind it.
                let wanted: &[&str] = if index == 0 { &[&reply, &number] } else { &[&number] };
                member.until_all(wanted)?;
            }
        }
        Ok(())
    }

    fn command(&self) -> String {
        let (number, channel) = (self.last, &self.channel);
        let mut data = format!(r#"{{"type":"message",{}"#, numbered(number));
        data.extend(std::iter::repeat_n('x', DATA_BYTES - data.len() - 2));
        data.push_str("\"}");
        let id = number + 2;
        format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":{data}}}}}"#)
    }
}

impl Member {
    /// A connection that is let in.
    pub(crate) fn connect(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut member = Self { stream, received: Vec::new() };
        let upgrade = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\n\
                       Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        member.stream.write_all(upgrade.as_bytes())?;
        member.until("101 Switching Protocols").context("upgrade")?;
        member.say(&format!(r#"{{"id":1,"connect":{{"token":"{}"}}}}"#, server.token()))?;
        member.until(r#"{"id":1,"connect""#).context("connect")?;
        Ok(member)
    }

    /// Sends one command.
    pub(crate) fn say(&mut self, command: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&masked(command.as_bytes()))?)
    }

    /// Reads until this has come, and forgets what came before and with it.
    pub(crate) fn until(&mut self, wanted: &str) -> anyhow::Result<String> {
        self.until_all(&[wanted])
    }

    fn until_all(&mut self, wanted: &[&str]) -> anyhow::Result<String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let text = String::from_utf8_lossy(&self.received);
            ensure!(!text.contains(r#""error":"#), "refused: {text}");
            if wanted.iter().all(|wanted| text.contains(wanted)) {
                let text = text.into_owned();
                self.received.clear();
                return Ok(text);
            }
            let count = self.stream.read(&mut buffer).with_context(|| format!("{wanted:?}"))?;
            ensure!(count > 0, "closed before {wanted:?}");
            self.received.extend_from_slice(&buffer[..count]);
        }
    }
}

fn numbered(number: usize) -> String {
    format!(r#""body":"{} "#, 1_000_000 + number)
}

fn reply_to(number: usize) -> String {
    format!(r#"{{"id":{},"publish""#, number + 2)
}
