//! A client over SSE or HTTP streaming, with raw HTTP: one response that never ends, and a request
//! for each frame it sends.

use std::net::SocketAddr;

use chassis::testing::deadline;
use prost::Message;
use proto::client::v1;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::http::{self, Answer};
use super::{Stage, token};

const JSON: &str = "Content-Type: application/json";
const PROTOBUF: &str = "Content-Type: application/octet-stream";

/// How the response is divided into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Events,
    Lines,
    Protobuf,
}

/// A connected client; dropping it drops its response.
#[derive(Debug)]
pub struct Stream {
    response: BufReader<TcpStream>,
    kind: Kind,
    /// Bytes of the body that make no whole message yet.
    rest: Vec<u8>,
    unread: Vec<Value>,
    last_id: u64,
    address: SocketAddr,
    pub head: String,
    pub session: String,
    pub node: String,
}

impl Stage {
    /// A client over SSE that is connected as `user`.
    pub async fn sse(&self, user: &str) -> Stream {
        self.sse_with(json!({ "token": token(user) })).await.connected().await
    }

    /// A client over HTTP streaming in JSON that is connected as `user`.
    pub async fn http_stream(&self, user: &str) -> Stream {
        self.http_stream_with(json!({ "token": token(user) })).await.connected().await
    }

    /// A client over SSE that has sent this connect command.
    pub async fn sse_with(&self, connect: Value) -> Stream {
        let command = json!({ "id": 1, "connect": connect }).to_string();
        let path = format!("/connection/sse?cf_connect={}", encode(&command));
        self.stream("GET", &path, &[], b"", Kind::Events).await
    }

    /// A client over HTTP streaming that has sent this connect command.
    pub async fn http_stream_with(&self, connect: Value) -> Stream {
        let command = json!({ "id": 1, "connect": connect }).to_string();
        let body = command.as_bytes();
        self.stream("POST", "/connection/http_stream", &[JSON], body, Kind::Lines).await
    }

    /// A client over HTTP streaming in Protobuf that is connected as `user`.
    pub async fn http_stream_protobuf(&self, user: &str) -> Stream {
        let connect = v1::ConnectRequest { token: token(user), ..Default::default() };
        let command = v1::Command { id: 1, connect: Some(connect), ..Default::default() };
        let body = command.encode_length_delimited_to_vec();
        let path = "/connection/http_stream";
        let mut stream = self.stream("POST", path, &[PROTOBUF], &body, Kind::Protobuf).await;
        match stream.reply().await.body {
            Some(v1::reply::Body::Connect(connect)) => {
                (stream.session, stream.node) = (connect.session, connect.node);
            }
            other => panic!("not connected: {other:?}"),
        }
        stream
    }

    async fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
        kind: Kind,
    ) -> Stream {
        let address = self.addresses.http;
        let length = format!("Content-Length: {}", body.len());
        let headers = [headers, &[&length]].concat();
        let mut bytes = http::head(method, path, &headers).into_bytes();
        bytes.extend_from_slice(body);
        let mut response = BufReader::new(deadline(TcpStream::connect(address)).await.unwrap());
        deadline(response.write_all(&bytes)).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(deadline(response.read_line(&mut head)).await.unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let (rest, unread, last_id) = (Vec::new(), Vec::new(), 1);
        let (session, node) = (String::new(), String::new());
        Stream { response, kind, rest, unread, last_id, address, head, session, node }
    }
}

impl Stream {
    async fn connected(mut self) -> Self {
        let reply = self.expect(|message| message["id"] == 1).await;
        let text = |key| reply["connect"][key].as_str().unwrap_or_else(|| panic!("{reply}"));
        (self.session, self.node) = (text("session").to_owned(), text("node").to_owned());
        self
    }

    /// Sends a command in JSON and waits for its reply.
    pub async fn ask(&mut self, method: &str, body: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let answer = self.post(&json!({ "id": id, method: body }).to_string()).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        self.expect(|message| message["id"] == id).await
    }

    /// Its commands go to another node from now on, as a balancer may choose.
    pub fn posts_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Sends a frame in JSON.
    pub async fn post(&self, data: &str) -> Answer {
        let body = json!({ "session": self.session, "node": self.node, "data": data });
        self.emulate(&body).await
    }

    /// Sends any body to `/emulation`.
    pub async fn emulate(&self, body: &Value) -> Answer {
        http::post(self.address, "/emulation", &[JSON], body.to_string().as_bytes()).await
    }

    /// Sends a command in Protobuf.
    pub async fn post_protobuf(&self, command: v1::Command) -> Answer {
        let data = command.encode_length_delimited_to_vec().into();
        let (session, node) = (self.session.clone(), self.node.clone());
        let body = v1::EmulationRequest { session, node, data }.encode_to_vec();
        http::post(self.address, "/emulation", &[PROTOBUF], &body).await
    }

    /// The first message that fits; those before it stay for later, pings do not.
    pub async fn expect(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unread.iter().position(&fits) {
            return self.unread.remove(at);
        }
        loop {
            let message = self.json().await.expect("the response ended");
            if fits(&message) {
                return message;
            }
            self.unread.push(message);
        }
    }

    /// The next publication.
    pub async fn publication(&mut self) -> Value {
        let is_pub = |message: &Value| message["push"]["pub"].is_object();
        self.expect(is_pub).await["push"]["pub"].clone()
    }

    /// The next message in JSON, or `None` at the end of the response.
    pub async fn json(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.line() {
                return Some(serde_json::from_slice(&line).unwrap());
            }
            if !self.chunk().await {
                return None;
            }
        }
    }

    /// The next message in Protobuf.
    pub async fn reply(&mut self) -> v1::Reply {
        loop {
            let mut bytes = self.rest.as_slice();
            if let Ok(reply) = v1::Reply::decode_length_delimited(&mut bytes) {
                self.rest = bytes.to_vec();
                return reply;
            }
            assert!(self.chunk().await, "the response ended");
        }
    }

    /// Everything that still comes; the response must end.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut rest = std::mem::take(&mut self.unread);
        while let Some(message) = self.json().await {
            rest.push(message);
        }
        rest
    }

    /// The next line of the body that holds a message.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.rest.iter().position(|&byte| byte == b'\n')?;
            let mut line: Vec<u8> = self.rest.drain(..=end).collect();
            line.pop();
            if self.kind == Kind::Events && !line.is_empty() {
                assert!(line.starts_with(b"data: "), "{line:?}");
                line.drain(.."data: ".len());
            }
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    /// Reads one chunk of the response; `false` at its end.
    async fn chunk(&mut self) -> bool {
        let mut size = String::new();
        assert_ne!(deadline(self.response.read_line(&mut size)).await.unwrap(), 0, "cut off");
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        deadline(self.response.read_exact(&mut chunk)).await.unwrap();
        self.rest.extend_from_slice(&chunk[..size]);
        size > 0
    }
}

/// Percent-encodes everything but letters and digits.
pub fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
