//! The table of requests for an upgrade: which are answered 101, which are refused and how.

use super::raw::{BINARY, FIN, Frame, PATH, Raw, TEXT, frame, upgrade_request};
use crate::harness::Stage;

/// One row: a request, and what its response must say.
#[derive(Debug)]
pub struct Upgrade {
    pub name: &'static str,
    request: Vec<u8>,
    status: u16,
    /// Lines of the response head, in lower case.
    says: &'static [&'static str],
    /// Words that may not stand in it.
    lacks: &'static [&'static str],
    /// The opcode of the frame that follows, when bytes were sent behind the request.
    then: Option<u8>,
}

impl Upgrade {
    fn new(name: &'static str, request: impl Into<Vec<u8>>, status: u16) -> Self {
        let (says, lacks): (&[_], &[_]) = match status {
            // The accept of the key that RFC 6455 takes as its example.
            101 => (
                &["upgrade: websocket", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="],
                &["sec-websocket-extensions"],
            ),
            _ => (&[], &["sec-websocket-accept"]),
        };
        Self { name, request: request.into(), status, says, lacks, then: None }
    }

    fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    fn lacks(self, lacks: &'static [&'static str]) -> Self {
        Self { lacks, ..self }
    }

    /// Sends `behind` in the same write; a frame of this opcode answers it.
    fn with(mut self, behind: &[u8], then: u8) -> Self {
        self.request.extend_from_slice(behind);
        Self { then: Some(then), ..self }
    }

    /// # Errors
    /// What is wrong with the response.
    pub async fn run(&self, stage: &Stage) -> Result<(), String> {
        let mut client = Raw::tcp(stage).await;
        client.write(&self.request).await;
        let head = client.head().await.to_lowercase();
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != self.status.to_string() {
            return Err(format!("not {}: {head}", self.status));
        }
        for line in self.says {
            if !head.lines().any(|other| other == *line) {
                return Err(format!("no {line}: {head}"));
            }
        }
        for words in self.lacks {
            if head.contains(words) {
                return Err(format!("{words} in {head}"));
            }
        }
        match (self.then, client) {
            (None, _) => Ok(()),
            (Some(opcode), mut client) => match client.frame().await {
                Some(Frame { opcode: got, .. }) if got == opcode => Ok(()),
                other => Err(format!("then {other:?}")),
            },
        }
    }
}

/// A good request in which one line is another.
fn changed(from: &str, to: &str) -> String {
    let request = upgrade_request(PATH, "");
    assert!(request.contains(from), "{from}");
    request.replacen(from, to, 1)
}

fn without(line: &str) -> String {
    changed(&format!("{line}\r\n"), "")
}

/// Every row.
pub fn all() -> Vec<Upgrade> {
    [granted(), refused()].into_iter().flatten().collect()
}

fn granted() -> Vec<Upgrade> {
    const PROTOBUF: &[&str] =
        &["sec-websocket-protocol: centrifuge-protobuf", "upgrade: websocket"];
    let good = |more: &str| upgrade_request(PATH, more);
    let connect = frame(FIN | TEXT, br#"{"id":1,"connect":{}}"#);
    // A command of four bytes: id 1, an empty `connect`.
    let protobuf = frame(FIN | BINARY, &[4, 8, 1, 0x22, 0]);
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let two = "Sec-WebSocket-Protocol: graphql-ws, centrifuge-protobuf\r\n";
    let lines = "Sec-WebSocket-Protocol: graphql-ws\r\n\
                 Sec-WebSocket-Protocol: centrifuge-protobuf\r\n";
    let one = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n";
    vec![
        Upgrade::new("a good request", good(""), 101),
        Upgrade::new("upgrade in other letters", changed("Upgrade: w", "Upgrade: W"), 101),
        Upgrade::new("connection in other letters", changed("e, Upgrade", "e,UPGRADE"), 101),
        Upgrade::new("an extension is offered", good(deflate), 101),
        Upgrade::new("a subprotocol of ours", good(one), 101).says(PROTOBUF),
        Upgrade::new("a subprotocol of ours behind another", good(two), 101).says(PROTOBUF),
        Upgrade::new("subprotocols on two lines", good(lines), 101).says(PROTOBUF),
        Upgrade::new(
            "a subprotocol nobody speaks",
            good("Sec-WebSocket-Protocol: graphql-ws\r\n"),
            101,
        )
        .lacks(&["sec-websocket-protocol"]),
        Upgrade::new("a command behind the request", good(""), 101).with(&connect, TEXT),
        Upgrade::new("a Protobuf command behind the request", good(one), 101)
            .with(&protobuf, BINARY),
    ]
}

fn refused() -> Vec<Upgrade> {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const VERSION: &str = "Sec-WebSocket-Version: 13";
    const OTHER: &[&str] = &["sec-websocket-version: 13", "upgrade: websocket"];
    let version = |number| changed(VERSION, &format!("Sec-WebSocket-Version: {number}"));
    vec![
        Upgrade::new("no key", without(KEY), 400),
        Upgrade::new("a key of 5 bytes", changed(KEY, "Sec-WebSocket-Key: c2hvcnQ="), 400),
        Upgrade::new("an empty key", changed(KEY, "Sec-WebSocket-Key: "), 400),
        Upgrade::new("a key that is no base64", changed("dGhl", "!@#$"), 400),
        Upgrade::new("version 12", version("12"), 426).says(OTHER),
        Upgrade::new("version 8", version("8"), 426).says(OTHER),
        Upgrade::new("version 130", version("130"), 426).says(OTHER),
        Upgrade::new("no version", without(VERSION), 400),
        Upgrade::new("no Upgrade", without("Upgrade: websocket"), 400),
        Upgrade::new("another Upgrade", changed("Upgrade: websocket", "Upgrade: h2c"), 400),
        Upgrade::new("no Connection", without("Connection: keep-alive, Upgrade"), 400),
        Upgrade::new("a Connection that stays", changed("keep-alive, Upgrade", "keep-alive"), 400),
        Upgrade::new("POST", changed("GET", "POST"), 400),
        Upgrade::new("HEAD", changed("GET", "HEAD"), 400),
        Upgrade::new("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), 400),
        Upgrade::new("another path", upgrade_request("/connection/other", ""), 404),
        Upgrade::new("no HTTP", "GET / HTTP/9.9\r\n\r\n", 400),
    ]
}
