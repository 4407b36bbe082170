//! Plain HTTP/1.1 over a raw connection: one request, one answer.

use std::net::SocketAddr;

use chassis::testing::deadline;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// `GET path` with some header lines.
pub async fn get(address: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    request(address, "GET", path, headers, b"").await
}

/// `POST path` with a body.
pub async fn post(address: SocketAddr, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    request(address, "POST", path, headers, body).await
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &[&str]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: chat.test\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

/// A request as it is written here, and its answer, after which the connection must end.
pub async fn raw(address: SocketAddr, request: &str) -> Answer {
    exchange(address, request.as_bytes()).await
}

async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    let headers = [headers, &["Connection: close", &length]].concat();
    let mut bytes = head(method, path, &headers).into_bytes();
    bytes.extend_from_slice(body);
    exchange(address, &bytes).await
}

async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = deadline(TcpStream::connect(address)).await.unwrap();
    // The answer may come, and the connection end, before a large request was read.
    let _cut_short = deadline(stream.write_all(request)).await.is_err();
    let mut answer = Vec::new();
    let _cut_short = deadline(stream.read_to_end(&mut answer)).await.is_err();
    Answer::parse(&String::from_utf8(answer).unwrap())
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The problem document of a refusal.
    pub fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        problem
    }
}
