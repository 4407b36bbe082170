//! Holds docs/PROTOCOL.md to the code: its tables are complete and its examples are messages.
//!
//! That the examples of rooms do what the page shows is for `tests/it/protocol_page.rs`.

mod words;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{DisconnectCode, Encoding, ErrorCode, Incoming, UnsubscribeCode, decode};
use crate::room::{Act, Kind, Membership, Role, Room, RoomId};

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");

/// Who speaks in the examples, and how what they are sent is marked.
const CLIENTS: [&str; 4] = ["json client", "json ann", "json bob", "json cid"];
const SERVERS: [&str; 4] = ["json server", "json to ann", "json to bob", "json to cid"];

/// The lines of all examples that are marked with one of these.
fn examples(kinds: &[&str]) -> Vec<&'static str> {
    let blocks = kinds.iter().flat_map(|kind| {
        let fence = format!("```{kind}\n");
        DOCUMENT.split(&fence).skip(1).collect::<Vec<_>>()
    });
    blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect()
}

/// The rows of the first table below a heading, without its head.
fn table(heading: &str) -> Vec<&'static str> {
    let section = DOCUMENT.split(&format!("\n{heading}\n")).nth(1).unwrap();
    let section = section.split("\n#").next().unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    lines.take_while(|line| line.starts_with('|')).skip(2).collect()
}

/// The rows of a table of codes, without the column that explains.
fn rows(heading: &str) -> Vec<String> {
    let rows = table(&format!("### {heading}")).into_iter();
    rows.map(|row| row.rsplitn(3, " |").last().unwrap().to_owned()).collect()
}

/// The words in backquotes in the first column of a row.
fn first_words(row: &'static str) -> impl Iterator<Item = String> {
    let first = row.split('|').nth(1).unwrap();
    first.split('`').skip(1).step_by(2).map(str::to_owned)
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
    let examples = examples(&CLIENTS);
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
    for example in examples(&SERVERS) {
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

#[test]
fn every_reason_stands_in_the_table_and_is_one() {
    let shown: Vec<String> = table("### Reasons").into_iter().flat_map(first_words).collect();
    let listed: BTreeSet<String> = shown.iter().cloned().collect();
    assert_eq!(listed.len(), shown.len(), "each stands there once");
    assert_eq!(listed, words::reasons());
}

#[test]
fn every_method_stands_in_the_table_and_has_an_example() {
    let shown = table("## Methods").into_iter().flat_map(first_words).collect::<BTreeSet<_>>();
    assert_eq!(shown, words::methods());
    let called = examples(&CLIENTS).into_iter().filter_map(|example| {
        let command: Value = serde_json::from_str(example).unwrap();
        command["rpc"]["method"].as_str().map(str::to_owned)
    });
    assert_eq!(called.collect::<BTreeSet<_>>(), shown);
}

/// Whether everyone with this role may do all of this in rooms of all of these kinds.
fn may(role: Option<Role>, kinds: &[Kind], acts: &[Act]) -> bool {
    let who = Membership { role, ..Membership::default() };
    kinds.iter().all(|&kind| {
        let room = Room { id: RoomId::new(), kind, archived: false, slow_mode_seconds: 0 };
        acts.iter().all(|&act| room.authorize(&who, act, 1).is_ok())
    })
}

#[test]
fn the_table_of_roles_says_what_rooms_allow() {
    use Kind::{Direct, Private, Public};
    let own = [Act::Post, Act::React, Act::Edit, Act::DeleteOwn];
    let moderate = [Act::DeleteOf(None), Act::Moderate(None)];
    let rank = [Act::Promote(Role::Guest, Role::Guest), Act::Update];
    let rules: [(&str, &[Kind], &[Act]); 10] = [
        ("read a public room", &[Public], &[Act::Read]),
        ("read a private or direct one", &[Private, Direct], &[Act::Read]),
        ("join a public room", &[Public], &[Act::Join]),
        ("leave, mark as read", &[Public, Private], &[Act::Leave, Act::Mark]),
        (
            "publish, type, react, edit and delete one's own messages",
            &[Public, Private, Direct],
            &own,
        ),
        ("invite into a public room", &[Public], &[Act::Invite]),
        ("invite into a private one", &[Private], &[Act::Invite]),
        ("delete others' messages; mute, kick, ban and back", &[Public, Private], &moderate),
        ("give roles; change the room", &[Public, Private], &rank),
        ("archive the room", &[Public, Private], &[Act::Archive]),
    ];
    let roles: Vec<_> = std::iter::once(None).chain(Role::ALL.map(Some)).collect();
    let rows = rules.map(|(words, kinds, acts)| {
        let cells = roles.iter().map(|role| if may(*role, kinds, acts) { " yes |" } else { " |" });
        format!("| {words} |{}", cells.collect::<String>())
    });
    assert_eq!(table("### Roles"), rows);
}

#[test]
fn every_link_within_the_page_leads_to_a_heading() {
    let headings = DOCUMENT.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|heading| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let is_kept = |kept: &char| kept.is_alphanumeric() || matches!(kept, '-' | '_');
        words.chars().filter(is_kept).collect::<String>()
    });
    let anchors: Vec<_> = anchors.collect();
    let distinct: BTreeSet<_> = anchors.iter().collect();
    assert_eq!(distinct.len(), anchors.len(), "every heading is another");
    let links = DOCUMENT.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
    let lost: Vec<_> = links.filter(|link| !anchors.iter().any(|anchor| anchor == link)).collect();
    assert_eq!(lost, Vec::<&str>::new());
}
