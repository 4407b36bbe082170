//! A connection of the kill test: one that may be gone at any moment, which is no failure.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A server that was killed while it answered leaves a connection that says nothing for ever, if
/// the system lost the reset. Longer than a loaded machine needs.
const SILENCE: Duration = Duration::from_secs(20);

/// The connection is over; come back.
#[derive(Debug)]
pub struct Gone;

/// A client's connection.
#[derive(Debug)]
pub struct Link {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
}

impl Link {
    /// Connects to a port of this machine; nothing is said yet.
    pub async fn open(port: u16) -> Result<Self, Gone> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|_refused| Gone)?;
        let url = format!("ws://127.0.0.1:{port}/connection/websocket");
        let request = url.into_client_request().unwrap();
        let shaken = timeout(SILENCE, client_async(request, stream)).await;
        let (socket, _) = shaken.map_err(|_silent| Gone)?.map_err(|_broken| Gone)?;
        Ok(Self { socket, last_id: 0 })
    }

    /// Sends commands in one frame and returns the id of the first; the others follow it.
    pub async fn send(&mut self, commands: Vec<Value>) -> Result<u64, Gone> {
        let first = self.last_id + 1;
        let mut lines = Vec::new();
        for mut command in commands {
            self.last_id += 1;
            command["id"] = json!(self.last_id);
            lines.push(command.to_string());
        }
        self.frame(lines.join("\n")).await?;
        Ok(first)
    }

    /// The messages of the next frame; pings are answered and passed over.
    pub async fn messages(&mut self) -> Result<Vec<Value>, Gone> {
        loop {
            match timeout(SILENCE, self.socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) if text.as_str() == "{}" => {
                    self.frame("{}".to_owned()).await?;
                }
                Ok(Some(Ok(Message::Text(text)))) => {
                    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                    return Ok(lines.collect());
                }
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return Err(Gone),
                Ok(Some(Ok(_))) => {}
            }
        }
    }

    /// Sends one command and gives its reply; pushes are passed over.
    pub async fn ask(&mut self, command: Value) -> Result<Value, Gone> {
        let id = self.send(vec![command]).await?;
        loop {
            let messages = self.messages().await?;
            if let Some(reply) = messages.into_iter().find(|message| message["id"] == id) {
                return Ok(reply);
            }
        }
    }

    async fn frame(&mut self, text: String) -> Result<(), Gone> {
        let sent = timeout(SILENCE, self.socket.send(Message::text(text))).await;
        sent.map_err(|_stuck| Gone)?.map_err(|_broken| Gone)
    }
}
