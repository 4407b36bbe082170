//! A client that costs nothing: exact bytes, one small buffer, pongs.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A masked `{}`: the pong of the protocol. The mask of zeros changes nothing.
const PONG: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'{', b'}'];

/// A server frame that holds `{}`.
const PING: &[u8] = &[0x81, 2, b'{', b'}'];

pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects with a token and subscribes to one channel.
    pub(crate) async fn open(
        address: SocketAddr,
        token: &str,
        channel: usize,
    ) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let upgrade = format!(
            "GET /connection/websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await?;
        let mut client = Self { stream };
        let head = client.until(b"\r\n\r\n").await.context("upgrade")?;
        ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let commands = format!(
            "{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}\n\
             {{\"id\":2,\"subscribe\":{{\"channel\":\"idle:{channel}\"}}}}"
        );
        client.stream.write_all(&masked(commands.as_bytes())).await?;
        let replies = client.until(b"\"id\":2,\"subscribe\"").await.context("subscribe")?;
        ensure!(!replies.is_empty(), "no reply");
        Ok(client)
    }

    /// Answers pings until the connection ends.
    pub(crate) async fn stay(mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 256];
        loop {
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            if buffer[..count].windows(PING.len()).any(|bytes| bytes == PING) {
                self.stream.write_all(PONG).await?;
            }
        }
    }

    async fn until(&mut self, end: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
        while !all.windows(end.len()).any(|bytes| bytes == end) {
            let count = self.stream.read(&mut buffer).await?;
            ensure!(count > 0, "closed after {}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&buffer[..count]);
        }
        Ok(all)
    }
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len.to_be_bytes()[1]),
        Ok(len) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_too_long) => frame.clear(),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
