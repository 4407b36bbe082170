//! The table: bytes a client may send behind its upgrade, and every answer it must get.
//!
//! The exchange that carries the lengths and the text is a `connect` command: its reply shows
//! that the message arrived whole. A case that does not end with a close frame of the server is
//! closed by the client, which shows that nothing else was sent and the connection still works.

use prost::Message;
use proto::client::v1::{Command, ConnectRequest};
use serde_json::json;

use super::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close, frame, frame_masked, header,
    unmasked,
};
use super::texts;

/// The protocol's limit on one message.
const LIMIT: usize = 64 * 1024;

/// How a connection is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Json,
    Protobuf,
}

/// How the bytes reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    AtOnce,
    /// One write for each byte.
    ByteByByte,
    /// Two writes, on a connection of its own for every place to split at.
    EverySplit,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The reply to `connect`.
    Connected,
    Pong(Vec<u8>),
    /// A close frame; the end of the connection must follow.
    Close(u16),
    /// The end without a close frame.
    End,
    /// Nothing within the deadline.
    Silence,
    Other(String),
}

/// One row.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub speaks: Speaks,
    pub delivery: Delivery,
    pub bytes: Vec<u8>,
    pub answers: Vec<Answer>,
}

impl Case {
    fn new(
        speaks: Speaks,
        name: impl Into<String>,
        frames: &[Vec<u8>],
        answers: &[Answer],
    ) -> Self {
        let (delivery, bytes, answers) = (Delivery::AtOnce, frames.concat(), answers.to_vec());
        Self { name: name.into(), speaks, delivery, bytes, answers }
    }

    pub fn json(name: impl Into<String>, frames: &[Vec<u8>], answers: &[Answer]) -> Self {
        Self::new(Speaks::Json, name, frames, answers)
    }

    pub fn protobuf(name: impl Into<String>, frames: &[Vec<u8>], answers: &[Answer]) -> Self {
        Self::new(Speaks::Protobuf, name, frames, answers)
    }

    pub fn by(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }
}

/// Every row about frames.
pub fn all() -> Vec<Case> {
    let families: [fn() -> Vec<Case>; 7] =
        [lengths, deliveries, fragments, controls, reserved, order, closes];
    let families = families.into_iter().chain([texts::utf8, texts::kinds]);
    families.flat_map(|family| family()).collect()
}

/// `connect` in JSON, of exactly so many bytes.
fn connect_of(len: usize) -> Vec<u8> {
    let bare = json!({ "id": 1, "connect": { "name": "" } }).to_string().len();
    connect_named("n".repeat(len - bare).as_bytes())
}

/// `connect` in JSON with any bytes as a name.
pub fn connect_named(name: &[u8]) -> Vec<u8> {
    let [before, after] = [&b"{\"connect\":{\"name\":\""[..], b"\"},\"id\":1}"];
    [before, name, after].concat()
}

pub fn connect() -> Vec<u8> {
    connect_named("κόσμε 🎶".as_bytes())
}

/// `connect` in Protobuf, of exactly so many bytes.
pub fn protobuf_of(len: usize) -> Vec<u8> {
    let encoded = |name: usize| {
        let connect = Some(ConnectRequest { name: "n".repeat(name), ..Default::default() });
        Command { id: 1, connect, ..Default::default() }.encode_length_delimited_to_vec()
    };
    let name = (0..len).rev().find(|&name| encoded(name).len() <= len).unwrap();
    let command = encoded(name);
    // A pong behind it fills the byte that a longer varint took.
    let fill = len - command.len();
    [command, vec![0; fill]].concat()
}

pub fn text(payload: &[u8]) -> Vec<u8> {
    frame(FIN | TEXT, payload)
}

pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FIN | BINARY, payload)
}

/// A message in fragments, the first of the given opcode.
pub fn fragmented(opcode: u8, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let last = parts.len() - 1;
    let bits = |index| {
        let fin = if index == last { FIN } else { 0 };
        if index == 0 { fin | opcode } else { fin | CONTINUATION }
    };
    parts.iter().enumerate().map(|(index, part)| frame(bits(index), part)).collect()
}

/// Frames of ours between the fragments of `connect`.
fn between(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let connect = connect();
    let [first, last] = <[_; 2]>::try_from(fragmented(TEXT, &[&connect[..9], &connect[9..]]))
        .expect("two fragments");
    [&[first], frames, &[last]].concat()
}

pub fn lengths() -> Vec<Case> {
    use Answer::{Close, Connected};
    let mut rows = vec![
        Case::json("an empty text message", &[text(b"")], &[Close(3501)]),
        Case::json("a text message of 1 byte", &[text(b"x")], &[Close(3501)]),
        Case::protobuf("an empty binary message", &[binary(b"")], &[Close(3501)]),
        Case::protobuf("a binary message of 1 byte", &[binary(b"\0")], &[]),
    ];
    for len in [125, 126, 127, 128, 32_768, LIMIT - 1, LIMIT] {
        let named = |kind| format!("a {kind} message of {len} bytes");
        rows.push(Case::json(named("text"), &[text(&connect_of(len))], &[Connected]));
        rows.push(Case::protobuf(named("binary"), &[binary(&protobuf_of(len))], &[Connected]));
    }
    let half = connect_of(LIMIT);
    let at_limit = fragmented(TEXT, &[&half[..40_000], &half[40_000..]]);
    rows.push(Case::json("fragments that add up to the limit", &at_limit, &[Connected]));
    let over = connect_of(LIMIT + 1);
    let parts: Vec<_> = over.chunks(20_000).collect();
    let over_limit = fragmented(TEXT, &parts);
    rows.push(Case::json("a message over the limit", &[text(&over)], &[Close(1009)]));
    rows.push(Case::json("fragments that add up to more", &over_limit, &[Close(1009)]));
    for (name, len) in [("1 byte over the limit", LIMIT as u64 + 1), ("2^62 bytes", 1 << 62)] {
        let head = header(FIN | TEXT, len);
        rows.push(Case::json(format!("a header alone says {name}"), &[head], &[Close(1009)]));
        let head = header(FIN | BINARY, len);
        rows.push(Case::protobuf(format!("a binary header says {name}"), &[head], &[Close(1009)]));
    }
    rows
}

pub fn deliveries() -> Vec<Case> {
    use Answer::{Connected, Pong};
    use Delivery::{ByteByByte, EverySplit};
    let long = connect_of(300);
    let pong = || Pong(b"between".to_vec());
    let ping = frame(FIN | PING, b"between");
    let batch = [text(&connect()), ping.clone()];
    let mixed = between(std::slice::from_ref(&ping));
    let protobuf = protobuf_of(60);
    vec![
        Case::json("text byte by byte", &[text(&connect())], &[Connected]).by(ByteByByte),
        Case::json("a 16-bit length byte by byte", &[text(&long)], &[Connected]).by(ByteByByte),
        Case::protobuf("binary byte by byte", &[binary(&protobuf)], &[Connected]).by(ByteByByte),
        Case::json("text at every split", &[text(&connect())], &[Connected]).by(EverySplit),
        Case::protobuf("binary at every split", &[binary(&protobuf)], &[Connected]).by(EverySplit),
        Case::json("fragments byte by byte", &mixed, &[pong(), Connected]).by(ByteByByte),
        Case::json("fragments at every split", &mixed, &[pong(), Connected]).by(EverySplit),
        Case::json("two frames at once", &batch, &[Connected, pong()]),
        Case::json("two frames at every split", &batch, &[Connected, pong()]).by(EverySplit),
    ]
}

pub fn fragments() -> Vec<Case> {
    use Answer::{Close, Connected};
    let connect = connect();
    let mut rows = Vec::new();
    for count in [2, 3, 5, 10] {
        let at = |part| part * connect.len() / count;
        let parts: Vec<_> = (0..count).map(|part| &connect[at(part)..at(part + 1)]).collect();
        let frames = fragmented(TEXT, &parts);
        rows.push(Case::json(format!("{count} fragments"), &frames, &[Connected]));
    }
    let bytes: Vec<_> = connect.chunks(1).collect();
    let protobuf = protobuf_of(60);
    let binary: Vec<_> = protobuf.chunks(7).collect();
    let empty: &[u8] = b"";
    let many: Vec<_> = [&vec![empty; 10_000][..], &[&connect]].concat();
    let continued = |parts: &[&[u8]]| fragmented(TEXT, parts);
    rows.extend([
        Case::json("a fragment for each byte", &continued(&bytes), &[Connected]),
        Case::protobuf("binary fragments", &fragmented(BINARY, &binary), &[Connected]),
        Case::json("an empty first fragment", &continued(&[empty, &connect]), &[Connected]),
        Case::json("an empty last fragment", &continued(&[&connect, empty]), &[Connected]),
        Case::json(
            "empty fragments between",
            &continued(&[&connect[..5], empty, empty, &connect[5..]]),
            &[Connected],
        ),
        Case::json("10,000 empty fragments", &continued(&many), &[Connected]),
        Case::json("nothing but empty fragments", &continued(&[empty; 3]), &[Close(3501)]),
    ]);
    rows
}

pub fn controls() -> Vec<Case> {
    use Answer::{Close, Connected, Pong};
    let ping = |payload: &[u8]| frame(FIN | PING, payload);
    let pong = |payload: &[u8]| Pong(payload.to_vec());
    let mut rows = Vec::new();
    for len in [0, 1, 124, 125] {
        let payload = vec![b'p'; len];
        let name = format!("a ping of {len} bytes");
        rows.push(Case::json(name, &[ping(&payload)], &[pong(&payload)]));
    }
    let not_text = [0x00, 0xFF, 0xFE, 0xC0, 0x80];
    let ten: Vec<_> = (0..10).map(|number| vec![number; 3]).collect();
    let pings: Vec<_> = ten.iter().map(|payload| ping(payload)).collect();
    let pongs: Vec<_> = ten.iter().map(|payload| pong(payload)).collect();
    let both = [pong(b"a"), pong(b"b"), Connected];
    let closing = [frame(TEXT, b"{\"id"), close(1000, b"")];
    rows.extend([
        Case::json("a ping of any bytes", &[ping(&not_text)], &[pong(&not_text)]),
        Case::protobuf("a ping on Protobuf", &[ping(b"hi")], &[pong(b"hi")]),
        Case::json("ten pings at once", &pings, &pongs),
        Case::json("a ping byte by byte", &[ping(b"slow")], &[pong(b"slow")])
            .by(Delivery::ByteByByte),
        Case::json("a ping of 126 bytes", &[ping(&[b'p'; 126])], &[Close(1002)]),
        Case::json("a ping header of 64 KiB", &[header(FIN | PING, 65_536)], &[Close(1002)]),
        Case::json(
            "an unsolicited pong",
            &[frame(FIN | PONG, b"?"), text(&connect())],
            &[Connected],
        ),
        Case::json("an empty pong", &[frame(FIN | PONG, b"")], &[]),
        Case::json("a pong of 126 bytes", &[frame(FIN | PONG, &[0; 126])], &[Close(1002)]),
        Case::json("pings between fragments", &between(&[ping(b"a"), ping(b"b")]), &both),
        Case::json("a pong between fragments", &between(&[frame(FIN | PONG, b"")]), &[Connected]),
        Case::json("a close between fragments", &closing, &[Close(1000)]),
        Case::json("a fragmented ping", &[frame(PING, b"a")], &[Close(1002)]),
        Case::json("a fragmented pong", &[frame(PONG, b"a")], &[Close(1002)]),
        Case::json("a fragmented close", &[frame(CLOSE, &[3, 232])], &[Close(1002)]),
    ]);
    rows
}

pub fn reserved() -> Vec<Case> {
    let violation = [Answer::Close(1002)];
    let mut rows = Vec::new();
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for (kind, opcode) in [("text", TEXT), ("ping", PING), ("close", CLOSE)] {
            let name = format!("reserved bits {bits:#x} on a {kind} frame");
            rows.push(Case::json(name, &[frame(FIN | bits | opcode, b"")], &violation));
        }
    }
    let first = frame(TEXT, b"{\"id");
    let bits = [first, frame(FIN | 0x40 | CONTINUATION, b"\":1}")];
    rows.push(Case::json("a reserved bit on a continuation", &bits, &violation));
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        let name = format!("reserved opcode {opcode:#x}");
        rows.push(Case::json(name, &[frame(FIN | opcode, b"what")], &violation));
    }
    let after = [text(&connect()), frame(FIN | 0x3, b"")];
    let answers = [Answer::Connected, Answer::Close(1002)];
    rows.push(Case::json("a reserved opcode behind a command", &after, &answers));
    rows
}

pub fn order() -> Vec<Case> {
    let violation = [Answer::Close(1002)];
    let connect = connect();
    let zero = frame_masked(FIN | TEXT, &connect, [0; 4]);
    let inside = [frame(TEXT, b"{\"id"), text(&connect)];
    let binary_inside = [frame(TEXT, b"{\"id"), binary(b"\0")];
    let after = [text(&connect), frame(FIN | CONTINUATION, b"more")];
    vec![
        Case::json("an unmasked text frame", &[unmasked(FIN | TEXT, b"{}")], &violation),
        Case::json("an unmasked ping", &[unmasked(FIN | PING, b"hi")], &violation),
        Case::json("an unmasked close", &[unmasked(FIN | CLOSE, &[3, 232])], &violation),
        Case::json("a mask of zeros", &[zero], &[Answer::Connected]),
        Case::json("a continuation of nothing", &[frame(FIN | CONTINUATION, b"x")], &violation),
        Case::json("an open continuation of nothing", &[frame(CONTINUATION, b"x")], &violation),
        Case::json(
            "a continuation of a whole message",
            &after,
            &[Answer::Connected, Answer::Close(1002)],
        ),
        Case::json("a new message inside a fragmented one", &inside, &violation),
        Case::json("another kind inside a fragmented one", &binary_inside, &violation),
    ]
}

pub fn closes() -> Vec<Case> {
    use Answer::Close;
    let mut rows = Vec::new();
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    for code in good.into_iter().chain([3000, 3999, 4000, 4999]) {
        let name = format!("a close with {code} is echoed");
        rows.push(Case::json(name, &[close(code, b"bye")], &[Close(code)]));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let name = format!("a close with {code}, which nobody may send");
        rows.push(Case::json(name, &[close(code, b"")], &[Close(1002)]));
    }
    let late = [close(1000, b""), text(&connect()), frame(FIN | PING, b"late")];
    let garbage = [close(1001, b""), vec![0xFF; 300]];
    let long = "é".repeat(61);
    let greeted = [text(&connect()), close(4000, b"done")];
    rows.extend([
        Case::json("a close without payload", &[frame(FIN | CLOSE, b"")], &[Close(1000)]),
        Case::json("a close of 1 byte", &[frame(FIN | CLOSE, &[3])], &[Close(1002)]),
        Case::json("a reason of 123 bytes", &[close(1000, &[b'r'; 123])], &[Close(1000)]),
        Case::json(
            "a reason of letters of 2 bytes",
            &[close(1000, long.as_bytes())],
            &[Close(1000)],
        ),
        Case::json("a reason of 124 bytes", &[close(1000, &[b'r'; 124])], &[Close(1002)]),
        Case::json("a reason that is no UTF-8", &[close(1000, b"\xCE\xBA\xE1")], &[Close(1007)]),
        Case::json("frames behind a close do not count", &late, &[Close(1000)]),
        Case::json("garbage behind a close does not count", &garbage, &[Close(1001)]),
        Case::json("a close behind a command", &greeted, &[Answer::Connected, Close(4000)]),
        Case::json("a close byte by byte", &[close(4001, b"slowly")], &[Close(4001)])
            .by(Delivery::ByteByByte),
    ]);
    rows
}
