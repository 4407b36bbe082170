//! Whatever a node says is heard as it was said, and whatever else comes is an error.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn json() -> impl Strategy<Value = Json> {
    let value = prop_oneof![
        Just("null".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ".{0,40}".prop_map(|text| serde_json::json!({ "body": text, "n": [1, {}] }).to_string()),
    ];
    value.prop_map(|text| Json::parse(text.as_bytes()).unwrap())
}

fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,20}".prop_map(|text: String| text.into())
}

fn offset() -> impl Strategy<Value = u64> {
    1..=1_u64 << 53
}

fn client() -> impl Strategy<Value = ClientInfo> {
    (text(), text(), option::of(json()), option::of(json())).prop_map(
        |(user, client, conn_info, chan_info)| ClientInfo { user, client, conn_info, chan_info },
    )
}

fn event() -> impl Strategy<Value = Message> {
    let event = (offset(), any::<i64>(), json());
    let event = event.prop_map(|(offset, time_ms, data)| Event { offset, time_ms, data });
    let amend = (any::<u64>(), json()).prop_map(|(offset, data)| Amend { offset, data });
    (text(), event, vec(amend, 0..4))
        .prop_map(|(epoch, event, amends)| Message::Event(LogEvent { epoch, event, amends }))
}

fn publication() -> impl Strategy<Value = Message> {
    let tags = btree_map(".{0,8}", ".{0,8}", 0..4);
    (text(), any::<u64>(), any::<i64>(), json(), option::of(client()), tags).prop_map(
        |(epoch, offset, time_ms, data, info, tags)| Message::Publication {
            epoch,
            publication: Publication { data, info, offset, tags, time_ms },
        },
    )
}

fn order() -> impl Strategy<Value = Message> {
    let what = prop_oneof![
        select(DisconnectCode::ALL).prop_map(What::Disconnect),
        (text(), select(UnsubscribeCode::ALL))
            .prop_map(|(channel, code)| What::Unsubscribe(channel, code)),
        text().prop_map(What::Subscribe),
        option::of(1..u64::MAX).prop_map(What::Refresh),
        json().prop_map(What::Message),
    ];
    (".{1,20}", what).prop_map(|(user, what)| Message::Order(Order { user: user.into(), what }))
}

fn message() -> impl Strategy<Value = Message> {
    let ephemeral = (select(&[Class::Typing, Class::Presence]), json(), option::of(client()));
    let outcome = select(&[Outcome::Taken, Outcome::UnknownSession, Outcome::MailboxFull]);
    let frame = vec(any::<u8>(), 0..64);
    prop_oneof![
        event(),
        publication(),
        order(),
        ephemeral.prop_map(|(class, data, info)| Message::Ephemeral {
            class,
            publication: Publication { info, ..Publication::new(data) },
        }),
        client().prop_map(Message::Joined),
        client().prop_map(Message::Left),
        (any::<u32>(), any::<u32>())
            .prop_map(|(clients, users)| Message::Crowd(Crowd { clients, users })),
        (any::<u64>(), any::<u128>(), frame).prop_map(|(question, session, frame)| {
            Message::Commands { question, session, frame: frame.into() }
        }),
        (any::<u64>(), outcome)
            .prop_map(|(question, outcome)| Message::Taken { question, outcome }),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_heard(node in any::<u128>(), message in message()) {
        let node = Uuid::from_u128(node);
        let bytes = encode(node, &message);
        prop_assert!(is_said_by(node, &bytes));
        prop_assert!(!is_said_by(Uuid::from_u128(!node.as_u128()), &bytes));
        prop_assert_eq!(decode(bytes), Ok((node, Some(message))));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..256)) {
        let _total = decode(bytes.into());
    }

    #[test]
    fn a_damaged_message_is_a_message_or_an_error(
        message in message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(Uuid::nil(), &message).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(end.index(bytes.len() + 1));
        // What is understood in spite of it can be said again.
        if let Ok((node, Some(message))) = decode(bytes.into()) {
            prop_assert_eq!(decode(encode(node, &message)), Ok((node, Some(message))));
        }
    }
}

#[test]
fn more_than_anybody_says_is_not_looked_at() {
    let bytes = Bytes::from(vec![0; BYTES_MAX + 1]);
    assert_eq!(decode(bytes), Err(Malformed::Large(BYTES_MAX + 1)));
}

#[test]
fn what_a_newer_node_says_is_passed_over() {
    let node = Uuid::new_v4();
    let mut bytes = encode(node, &Message::Crowd(Crowd { clients: 1, users: 1 })).to_vec();
    // The number of a body that is not known here: 100 instead of 7, a field of bytes.
    let at = bytes.iter().rposition(|&byte| byte == 7 << 3 | 2).unwrap();
    bytes.splice(at..=at, [0xa2, 0x06]);
    assert_eq!(decode(bytes.into()), Ok((node, None)));
}
