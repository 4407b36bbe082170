//! What must hold for any bytes at all, shared by the fuzz targets.

use chat_server::protocol::{
    DecodeError, Encoding, Incoming, Json, Publication, Reply, Request, decode, encode_publication,
    encode_reply,
};

/// Reads a frame to its end and checks what the session relies on.
pub fn frame(encoding: Encoding, bytes: &[u8]) {
    let mut decoder = decode(encoding, bytes);
    let mut outcomes = 0_usize;
    while let Some(message) = decoder.next() {
        outcomes += 1;
        match message {
            Ok(Incoming::Pong) => {}
            Ok(Incoming::Command(command)) => {
                let unanswered = matches!(command.request, Request::Send { .. });
                assert!(command.id > 0 || unanswered, "a command without an id");
                if let Request::Publish { channel, data } = command.request {
                    publication(&channel, data);
                }
            }
            Err(DecodeError::Refuse { id, error }) => {
                assert!(id > 0, "a refusal nobody hears");
                let mut out = Vec::new();
                encode_reply(Encoding::Json, &Reply::error(id, error), &mut out);
                one_json_line(&out);
            }
            Err(DecodeError::Disconnect(_)) => {
                assert!(decoder.next().is_none(), "reading goes on after nonsense");
            }
        }
    }
    assert!(outcomes > 0 && outcomes <= bytes.len().max(1), "{outcomes} messages");
}

/// Whatever a client published is one line for everyone else.
pub fn publication(channel: &str, data: Json) {
    let mut out = Vec::new();
    encode_publication(Encoding::Json, channel, &Publication::new(data), &mut out);
    one_json_line(&out);
}

fn one_json_line(line: &[u8]) {
    assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')), "more than one line");
    let value: serde_json::Value = serde_json::from_slice(line).expect("the line is JSON");
    assert!(value.is_object(), "the line is one message");
}
