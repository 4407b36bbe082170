//! A client that reads what it waits for and nothing else: exact bytes, and a socket that takes in
//! little.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::frame::masked;

pub(crate) struct Client {
    stream: TcpStream,
}

/// What a client asks for.
#[derive(Default)]
pub(crate) struct Wish {
    /// The channel to subscribe to.
    pub(crate) channel: String,
    /// A gap marker may stand in for what it does not read.
    pub(crate) markers: bool,
    /// What its own socket takes in, if not what the system says.
    pub(crate) receive_bytes: Option<u32>,
}

impl Client {
    /// Connects with a token and subscribes to one channel.
    pub(crate) async fn open(
        address: SocketAddr,
        token: &str,
        wish: &Wish,
    ) -> anyhow::Result<Self> {
        let Wish { channel, markers, receive_bytes } = wish;
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(*bytes)?;
        }
        let mut stream = socket.connect(address).await?;
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
            "{{\"id\":1,\"connect\":{{\"token\":\"{token}\",\"veza\":{{\"lag\":{markers}}}}}}}\n\
             {{\"id\":2,\"subscribe\":{{\"channel\":\"{channel}\"}}}}"
        );
        client.stream.write_all(&masked(commands.as_bytes())).await?;
        let replies = client.until(b"\"id\":2,\"subscribe\"").await.context("subscribe")?;
        ensure!(!replies.is_empty(), "no reply");
        Ok(client)
    }

    /// One message, and the answer to it.
    pub(crate) async fn publish(
        &mut self,
        number: usize,
        channel: &str,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let (id, data) = (number + 10, "x".repeat(bytes));
        let publish = format!(
            "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"data\":\"{data}\"}}}}"
        );
        self.stream.write_all(&masked(publish.as_bytes())).await?;
        let answer = self.until(format!("\"id\":{id},").as_bytes()).await.context("publish")?;
        ensure!(!answer.windows(7).any(|it| it == b"\"error\""), "a message was refused");
        Ok(())
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
