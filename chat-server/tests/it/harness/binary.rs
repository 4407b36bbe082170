//! A client over WebSocket in Protobuf.

use chassis::testing::deadline;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use proto::client::v1;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Stage, close_code, token};

/// The counterpart of [`super::Client`].
#[derive(Debug)]
pub struct Binary {
    pub socket: WebSocketStream<TcpStream>,
    last_id: u32,
    unread: Vec<v1::Reply>,
}

impl Stage {
    /// A Protobuf client that has not said anything.
    pub async fn binary_socket(&self) -> Binary {
        let url = format!("ws://{}/connection/websocket", self.addresses.connections);
        let mut request = url.into_client_request().unwrap();
        let protocol = HeaderValue::from_static("centrifuge-protobuf");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.clone());
        let (socket, response) = deadline(client_async(request, self.tcp().await)).await.unwrap();
        assert_eq!(response.headers().get("Sec-WebSocket-Protocol"), Some(&protocol));
        Binary { socket, last_id: 0, unread: Vec::new() }
    }

    /// A Protobuf client that is connected as `user`.
    pub async fn connect_binary(&self, user: &str) -> Binary {
        let mut client = self.binary_socket().await;
        let connect = v1::ConnectRequest { token: token(user), ..Default::default() };
        let command = v1::Command { connect: Some(connect), ..Default::default() };
        match client.ask(command).await.body {
            Some(v1::reply::Body::Connect(_)) => client,
            other => panic!("not connected: {other:?}"),
        }
    }
}

/// A command that subscribes.
pub fn subscribe(channel: &str) -> v1::Command {
    let request = v1::SubscribeRequest { channel: channel.to_owned(), ..Default::default() };
    v1::Command { subscribe: Some(request), ..Default::default() }
}

/// A command that publishes some bytes, JSON or not.
pub fn publish(channel: &str, data: &'static [u8]) -> v1::Command {
    let data = data.into();
    let request = v1::PublishRequest { channel: channel.to_owned(), data, ..Default::default() };
    v1::Command { publish: Some(request), ..Default::default() }
}

impl Binary {
    /// Sends a command under the next id and waits for its reply.
    pub async fn ask(&mut self, mut command: v1::Command) -> v1::Reply {
        self.last_id += 1;
        command.id = self.last_id;
        self.bytes(command.encode_length_delimited_to_vec()).await;
        let id = self.last_id;
        self.expect(|reply| reply.id == id).await
    }

    /// Sends a command that is refused and gives the error.
    pub async fn refused(&mut self, command: v1::Command) -> v1::Error {
        match self.ask(command).await.body {
            Some(v1::reply::Body::Error(error)) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub async fn bytes(&mut self, bytes: Vec<u8>) {
        deadline(self.socket.send(Message::binary(bytes))).await.unwrap();
    }

    /// The next push, with replies passed over.
    pub async fn push(&mut self) -> v1::Push {
        let is_push = |reply: &v1::Reply| matches!(reply.body, Some(v1::reply::Body::Push(_)));
        match self.expect(is_push).await.body {
            Some(v1::reply::Body::Push(push)) => push,
            other => panic!("no push: {other:?}"),
        }
    }

    pub async fn publication(&mut self) -> v1::Publication {
        loop {
            if let Some(v1::push::Body::Pub(publication)) = self.push().await.body {
                return publication;
            }
        }
    }

    pub async fn expect(&mut self, fits: impl Fn(&v1::Reply) -> bool) -> v1::Reply {
        loop {
            if let Some(at) = self.unread.iter().position(&fits) {
                return self.unread.remove(at);
            }
            let Message::Binary(frame) = deadline(self.socket.next()).await.unwrap().unwrap()
            else {
                panic!("a Protobuf client got something else than a binary frame");
            };
            let mut rest = frame;
            while !rest.is_empty() {
                // The ping is a message without content.
                self.unread.push(v1::Reply::decode_length_delimited(&mut rest).unwrap());
            }
        }
    }

    /// Waits for the end and gives the code of the close frame.
    pub async fn closed(&mut self) -> u16 {
        close_code(&mut self.socket).await
    }
}
