//! What is said in a room, as events: a message, its edit, its deletion, a reaction.
//!
//! Pure: ids and times are arguments. `amend` says how the earlier events of a message stand once
//! it is edited or deleted, `erase` what is left of them when a person is.

mod amend;
mod erase;

use serde::Serialize;
use uuid::Uuid;

pub use amend::{deleted, edited, superseded, text};
pub use erase::{ERASED, erased, without};

use super::{Body, Emoji, MessageId, Reason};
use crate::protocol::{Json, NotJson};

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sender<'a> {
    /// The person.
    pub id: &'a str,
    /// What others call them, if they are known to have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

/// Something that is said; its keys are those of docs/PROTOCOL.md, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Saying<'a> {
    /// Something new.
    Message {
        /// Its id.
        id: MessageId,
        /// What it says.
        body: &'a Body,
        /// Who says it.
        sender: Sender<'a>,
        /// The author's own key for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        idem: Option<Uuid>,
        /// The message it answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
    },
    /// A message says something else now.
    Edit {
        /// Which message.
        id: MessageId,
        /// What it says now.
        body: &'a Body,
        /// Who changed it.
        editor: &'a str,
    },
    /// A message is gone.
    Delete {
        /// Which message.
        id: MessageId,
        /// Who deleted it.
        by: &'a str,
        /// Why, in their words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a Reason>,
    },
    /// Somebody put an emoji to a message, or took it back.
    Reaction {
        /// Which message.
        id: MessageId,
        /// Which emoji.
        emoji: Emoji,
        /// Who did.
        by: &'a str,
        /// True when it was put.
        on: bool,
        /// How many there are of this emoji on this message now.
        count: u64,
    },
}

impl Saying<'_> {
    /// The event as clients get it.
    ///
    /// # Errors
    /// Never for texts, numbers and ids; the type of what is written cannot say so.
    pub fn event(&self) -> Result<Json, NotJson> {
        Json::from_value(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_keys_of_the_protocol_in_their_order() {
        let id = MessageId::from_uuid(Uuid::from_u128(1));
        let body = &Body::parse("hi \"all\"", 100).unwrap();
        let uuid = "00000000-0000-0000-0000-000000000001";
        let text = |saying: Saying<'_>| {
            let event = saying.event().unwrap();
            String::from_utf8(event.as_bytes().to_vec()).unwrap().replace(uuid, "1")
        };
        let (idem, reply_to) = (Some(id.uuid()), Some(id));
        let sender = Sender { id: "ann", name: Some("Ann") };
        assert_eq!(
            text(Saying::Message { id, body, sender, idem, reply_to }),
            concat!(
                r#"{"type":"message","id":"1","body":"hi \"all\"","#,
                r#""sender":{"id":"ann","name":"Ann"},"idem":"1","reply_to":"1"}"#,
            )
        );
        let sender = Sender { id: "ann", name: None };
        insta::assert_snapshot!(
            text(Saying::Message { id, body, sender, idem: None, reply_to: None }),
            @r#"{"type":"message","id":"1","body":"hi \"all\"","sender":{"id":"ann"}}"#
        );
        insta::assert_snapshot!(
            text(Saying::Edit { id, body, editor: "ann" }),
            @r#"{"type":"edit","id":"1","body":"hi \"all\"","editor":"ann"}"#
        );
        let reason = Reason::parse("spam").unwrap();
        insta::assert_snapshot!(
            text(Saying::Delete { id, by: "bob", reason: Some(&reason) }),
            @r#"{"type":"delete","id":"1","by":"bob","reason":"spam"}"#
        );
        let emoji = "👍".parse().unwrap();
        insta::assert_snapshot!(
            text(Saying::Reaction { id, emoji, by: "bob", on: true, count: 2 }),
            @r#"{"type":"reaction","id":"1","emoji":"👍","by":"bob","on":true,"count":2}"#
        );
    }
}
