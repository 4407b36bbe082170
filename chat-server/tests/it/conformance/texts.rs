//! The part of the table about what messages hold: text that must be UTF-8, and the right kind.

use super::cases::{
    Answer, Case, Delivery, binary, connect, connect_named, fragmented, protobuf_of, text,
};
use super::raw::{BINARY, TEXT};

pub fn utf8() -> Vec<Case> {
    use Answer::{Close, Connected};
    let mut rows = Vec::new();
    let valid = ["é", "κόσμε", "€", "\u{FFFF}", "\u{D7FF}", "\u{E000}", "🎶", "\u{10FFFF}"];
    for name in valid {
        let connect = connect_named(name.as_bytes());
        let row = format!("U+{:X} and more", u32::from(name.chars().next().unwrap()));
        rows.push(Case::json(row, &[text(&connect)], &[Connected]));
        let single: Vec<_> = connect.chunks(1).collect();
        let row = format!("{name:?} with its bytes in fragments of their own");
        rows.push(Case::json(row, &fragmented(TEXT, &single), &[Connected]));
    }
    let split = connect_named("🎶".as_bytes());
    let row = Case::json("a letter across reads", &[text(&split)], &[Connected]);
    rows.push(row.by(Delivery::EverySplit));
    let invalid: [(&str, &[u8]); 13] = [
        ("a lone continuation byte", b"\x80"),
        ("an overlong NUL", b"\xC0\x80"),
        ("an overlong slash of 3 bytes", b"\xE0\x80\xAF"),
        ("an overlong slash of 4 bytes", b"\xF0\x80\x80\xAF"),
        ("an overlong letter", b"\xC1\xBF"),
        ("a high surrogate", b"\xED\xA0\x80"),
        ("a low surrogate", b"\xED\xBF\xBF"),
        ("a letter behind the last one", b"\xF4\x90\x80\x80"),
        ("a sequence of 5 bytes", b"\xF8\x88\x80\x80\x80"),
        ("the byte FE", b"\xFE"),
        ("the byte FF", b"\xFF"),
        ("a letter broken off by another", b"\xE2\x82x"),
        ("a letter of 2 bytes broken off", b"\xC3\""),
    ];
    for (name, bytes) in invalid {
        let connect = connect_named(bytes);
        rows.push(Case::json(name, &[text(&connect)], &[Close(1007)]));
        let at = connect.len() - 11;
        let frames = fragmented(TEXT, &[&connect[..at], &connect[at..]]);
        rows.push(Case::json(format!("{name}, in fragments"), &frames, &[Close(1007)]));
    }
    let open = [&connect()[..], b"\xF0\x9F\x8E"].concat();
    rows.extend([
        Case::json("a letter cut at the end", &[text(&open)], &[Close(1007)]),
        Case::json(
            "a letter cut at the end of fragments",
            &fragmented(TEXT, &[&open, b""]),
            &[Close(1007)],
        ),
        Case::json(
            "a command before the bad one",
            &[text(&connect()), text(b"\xFF")],
            &[Connected, Close(1007)],
        ),
    ]);
    rows
}

pub fn kinds() -> Vec<Case> {
    use Answer::{Close, Connected};
    let (json, protobuf) = (connect(), protobuf_of(60));
    vec![
        Case::json("binary on JSON", &[binary(&json)], &[Close(1003)]),
        Case::json("empty binary on JSON", &[binary(b"")], &[Close(1003)]),
        Case::json(
            "fragmented binary on JSON",
            &fragmented(BINARY, &[&json[..4], &json[4..]]),
            &[Close(1003)],
        ),
        Case::json(
            "binary behind a command",
            &[text(&json), binary(b"x")],
            &[Connected, Close(1003)],
        ),
        Case::protobuf("text on Protobuf", &[text(&json)], &[Close(1003)]),
        Case::protobuf("bad text on Protobuf", &[text(b"\xFF")], &[Close(1007)]),
        Case::protobuf("binary that is no UTF-8", &[binary(b"\x02\xFF\xFF")], &[Close(3501)]),
        Case::protobuf(
            "a command and text",
            &[binary(&protobuf), text(b"x")],
            &[Connected, Close(1003)],
        ),
    ]
}
