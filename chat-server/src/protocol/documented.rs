//! Holds docs/PROTOCOL.md to the code: its tables of codes are complete and its examples work.

use serde_json::Value;

use super::{DisconnectCode, Encoding, ErrorCode, Incoming, UnsubscribeCode, decode};

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");

/// The lines of all examples that are marked with `kind`.
fn examples(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    let blocks = DOCUMENT.split(&fence).skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect()
}

/// The rows of the table whose first column is `code`, below a heading.
fn rows(heading: &str) -> Vec<String> {
    let section = DOCUMENT.split(&format!("\n### {heading}\n")).nth(1).unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| row.rsplitn(3, " |").last().unwrap().to_owned()).collect()
}

#[test]
fn every_code_stands_in_its_table_with_its_words() {
    let expected = ErrorCode::ALL.iter().map(|code| {
        let temporary = if code.is_temporary() { " T" } else { "" };
        format!("| {} | {} |{temporary}", code.code(), code.message())
    });
    assert_eq!(rows("Errors"), expected.collect::<Vec<_>>());
    let expected = DisconnectCode::ALL.iter().map(|code| {
        let reconnect = if code.reconnect() { "yes" } else { "no" };
        format!("| {} | {} | {reconnect}", code.code(), code.reason())
    });
    assert_eq!(rows("Disconnects"), expected.collect::<Vec<_>>());
    let expected =
        UnsubscribeCode::ALL.iter().map(|code| format!("| {} | {}", code.code(), code.reason()));
    assert_eq!(rows("Unsubscribes"), expected.collect::<Vec<_>>());
}

#[test]
fn every_example_of_a_client_is_a_command() {
    let examples = examples("json client");
    assert!(examples.len() >= 12, "every command has an example");
    for example in examples {
        let found: Vec<_> = decode(Encoding::Json, example.as_bytes()).collect();
        assert!(matches!(found.as_slice(), [Ok(Incoming::Command(_))]), "{example}: {found:?}");
    }
}

#[test]
fn every_example_of_the_server_is_a_reply_or_a_push() {
    let kinds = [
        "connect",
        "subscribe",
        "unsubscribe",
        "publish",
        "presence",
        "presence_stats",
        "history",
        "ping",
        "rpc",
        "refresh",
        "sub_refresh",
        "error",
    ];
    let pushes = [
        "pub",
        "join",
        "leave",
        "subscribe",
        "unsubscribe",
        "message",
        "refresh",
        "disconnect",
        "lag",
    ];
    let (mut unseen_kinds, mut unseen_pushes) = (kinds.to_vec(), pushes.to_vec());
    for example in examples("json server") {
        let message: Value = serde_json::from_str(example).unwrap();
        let (names, unseen) = match message.get("push") {
            Some(push) => (push.as_object().unwrap(), &mut unseen_pushes),
            None => (message.as_object().unwrap(), &mut unseen_kinds),
        };
        let mut names = names.keys().filter(|name| !["id", "channel"].contains(&name.as_str()));
        let name = names.next().unwrap();
        assert!(names.next().is_none(), "{example}");
        let known = if message.get("push").is_some() { &pushes[..] } else { &kinds[..] };
        assert!(known.contains(&name.as_str()), "{example}");
        unseen.retain(|unseen| unseen != name);
    }
    assert_eq!((unseen_kinds, unseen_pushes), (Vec::new(), Vec::new()), "without an example");
}
