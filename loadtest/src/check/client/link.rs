//! A WebSocket that may be gone at any moment, which is no failure.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::wire::Reply;

/// Longest a handshake or a write may take: official SDKs give a command as long.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Hundreds of connections read with buffers of this size.
const BUFFER_BYTES: usize = 16 * 1024;

/// The connection is over; with its close code, if it had one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone(pub Option<u16>);

/// A connection, over plain TCP unless something else is under it.
#[derive(Debug)]
pub struct Link<S = TcpStream> {
    socket: WebSocketStream<S>,
    last_id: u64,
}

impl Link {
    /// Connects; nothing is said yet.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn open(address: SocketAddr) -> Result<Self, Gone> {
        let opened = timeout(PATIENCE, async {
            let stream = TcpStream::connect(address).await.map_err(|_refused| Gone(None))?;
            stream.set_nodelay(true).map_err(|_closed| Gone(None))?;
            Self::over(stream, address).await
        });
        opened.await.map_err(|_silent| Gone(None))?
    }

    /// Connects as somebody who asks and is answered.
    ///
    /// # Errors
    /// When the server does not let them in.
    pub async fn enter(address: SocketAddr, token: &str) -> Result<Self> {
        let Ok(mut link) = Self::open(address).await else { bail!("{address} does not answer") };
        link.greet(token).await?;
        Ok(link)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// The same over a stream that leads there.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn over(stream: S, address: SocketAddr) -> Result<Self, Gone> {
        let url = format!("ws://{address}/connection/websocket");
        let request = url.into_client_request().expect("an address makes a URL");
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(1 << 20);
        let shaken = timeout(PATIENCE, client_async_with_config(request, stream, Some(config)));
        let shaken = shaken.await.map_err(|_silent| Gone(None))?;
        let (socket, _) = shaken.map_err(|_broken| Gone(None))?;
        Ok(Self { socket, last_id: 0 })
    }

    /// Says who it is.
    ///
    /// # Errors
    /// When the server does not let them in.
    pub async fn greet(&mut self, token: &str) -> Result<()> {
        self.ask(json!({ "connect": { "token": token } })).await.map(drop)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When it cannot be written in time.
    pub async fn say(&mut self, frame: String) -> Result<(), Gone> {
        let sent = timeout(PATIENCE, self.socket.send(Message::text(frame))).await;
        sent.map_err(|_stuck| Gone(None))?.map_err(|_broken| Gone(None))
    }

    /// The next frame. Cancel safe.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn hear(&mut self) -> Result<Utf8Bytes, Gone> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(close))) => {
                    return Err(Gone(close.map(|close| close.code.into())));
                }
                Some(Err(_)) | None => return Err(Gone(None)),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends one command and gives its reply; everything else is passed over.
    ///
    /// # Errors
    /// When there is none in time, or it is a refusal.
    pub async fn ask(&mut self, command: Value) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask_raw(&command).await?)?)
    }

    /// The same, and gives the reply as it came.
    ///
    /// # Errors
    /// As for [`Link::ask`].
    pub async fn ask_raw(&mut self, command: &Value) -> Result<String> {
        self.last_id += 1;
        let mut command = command.clone();
        command["id"] = json!(self.last_id);
        let asked = timeout(PATIENCE, async {
            self.say(command.to_string()).await.ok()?;
            loop {
                let frame = self.hear().await.ok()?;
                for line in frame.lines().filter(|line| !line.is_empty()) {
                    if line == "{}" {
                        self.say("{}".to_owned()).await.ok()?;
                    }
                    let reply: Reply<'_> = serde_json::from_str(line).ok()?;
                    if reply.id == self.last_id {
                        let error = reply.error.map(|error| error.to_string());
                        return Some((line.to_owned(), error));
                    }
                }
            }
        });
        let asked = asked.await.ok().flatten();
        let (reply, error) = asked.with_context(|| format!("no answer: {command}"))?;
        if let Some(error) = error {
            bail!("{command}: {error}");
        }
        Ok(reply)
    }
}
