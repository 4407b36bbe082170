//! How an event stands once a person it concerns was erased.
//!
//! The sequence stays as it is: an event of theirs loses what they said and who they were, and
//! says that it was taken away; an event of somebody else only loses who they were. What others
//! wrote about them is others'.

use serde::Deserialize;

use super::amend::Object;
use crate::protocol::{Json, NotJson};

/// What stands in the place of a person who was erased; nobody can be called that.
pub const ERASED: &str = "erased";

/// The keys under which events name people.
const PEOPLE: [&str; 4] = ["sender", "editor", "by", "user"];

/// A person as events name them: by their id, or with their name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Id(String),
    Sender { id: String },
}

/// An event of this person after they were erased at `now` (Unix milliseconds). One that was
/// deleted before still says when and by whom. What is no event of ours is gone as a whole.
///
/// # Errors
/// Never for texts and numbers; the type of what is written cannot say so.
pub fn erased(event: &Json, person: &str, now: u64) -> Result<Json, NotJson> {
    let mut event = Object::read(event).unwrap_or_default();
    let kind: String = event.get("type").unwrap_or_default();
    match kind.as_str() {
        // These say how the room and others in it are, which goes on.
        "member" | "room" | "read" => {}
        "delete" => event.keep(&["type", "id", "by"]),
        _ => {
            let was_deleted = event.get::<u64>("deleted_at").is_some();
            event.keep(&["type", "id", "sender", "editor", "by", "deleted_at", "reason"]);
            if !was_deleted {
                event.set("deleted_at", &now)?;
                event.set("by", ERASED)?;
            }
        }
    }
    event.forget(person)?;
    event.write()
}

/// Somebody else's event without this person; what is no event of ours names nobody.
///
/// # Errors
/// Never for texts and numbers; the type of what is written cannot say so.
pub fn without(event: &Json, person: &str) -> Result<Json, NotJson> {
    let Ok(mut object) = Object::read(event) else { return Ok(event.clone()) };
    object.forget(person)?;
    object.write()
}

impl Object {
    /// Puts the placeholder in the place of a person, and takes out the reason they gave.
    fn forget(&mut self, person: &str) -> Result<(), NotJson> {
        for key in PEOPLE {
            match self.get(key) {
                Some(Named::Id(id)) if id == person => {
                    self.set(key, ERASED)?;
                    if key == "by" {
                        self.remove("reason");
                    }
                }
                Some(Named::Sender { id }) if id == person => {
                    self.set(key, &serde_json::json!({ "id": ERASED }))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: Result<Json, NotJson>) -> String {
        String::from_utf8(json.unwrap().as_bytes().to_vec()).unwrap()
    }

    /// What becomes of an event of ann's.
    fn of_ann(event: &str) -> String {
        text(erased(&Json::parse(event.as_bytes()).unwrap(), "ann", 7))
    }

    /// What becomes of an event of somebody else's.
    fn about_ann(event: &str) -> String {
        text(without(&Json::parse(event.as_bytes()).unwrap(), "ann"))
    }

    #[test]
    fn what_a_person_said_is_a_tombstone_of_its_kind_with_a_placeholder() {
        insta::assert_snapshot!(
            of_ann(r#"{"type":"message","id":"1","body":"hi","sender":{"id":"ann","name":"Ann"},"idem":"2","reply_to":"3","later":4}"#),
            @r#"{"type":"message","id":"1","sender":{"id":"erased"},"deleted_at":7,"by":"erased"}"#
        );
        insta::assert_snapshot!(
            of_ann(r#"{"type":"edit","id":"1","body":"ho","editor":"ann"}"#),
            @r#"{"type":"edit","id":"1","editor":"erased","deleted_at":7,"by":"erased"}"#
        );
        insta::assert_snapshot!(
            of_ann(r#"{"type":"reaction","id":"1","emoji":"👍","by":"ann","on":true,"count":2}"#),
            @r#"{"type":"reaction","id":"1","by":"erased","deleted_at":7}"#
        );
        insta::assert_snapshot!(
            of_ann(r#"{"type":"delete","id":"1","by":"ann","reason":"mine"}"#),
            @r#"{"type":"delete","id":"1","by":"erased"}"#
        );
    }

    #[test]
    fn what_was_deleted_before_still_says_when_and_by_whom() {
        insta::assert_snapshot!(
            of_ann(r#"{"type":"message","id":"1","sender":{"id":"ann"},"deleted_at":5,"by":"bob","reason":"spam"}"#),
            @r#"{"type":"message","id":"1","sender":{"id":"erased"},"deleted_at":5,"by":"bob","reason":"spam"}"#
        );
        insta::assert_snapshot!(
            of_ann(r#"{"type":"message","id":"1","sender":{"id":"ann"},"deleted_at":5,"by":"ann","reason":"mine"}"#),
            @r#"{"type":"message","id":"1","sender":{"id":"erased"},"deleted_at":5,"by":"erased"}"#
        );
    }

    #[test]
    fn what_a_person_did_to_others_and_the_room_stays_done() {
        insta::assert_snapshot!(
            of_ann(r#"{"type":"member","user":"bob","change":"role","role":"admin","by":"ann"}"#),
            @r#"{"type":"member","user":"bob","change":"role","role":"admin","by":"erased"}"#
        );
        insta::assert_snapshot!(
            of_ann(r#"{"type":"room","topic":"ann's garden"}"#),
            @r#"{"type":"room","topic":"ann's garden"}"#
        );
    }

    #[test]
    fn of_what_others_did_only_the_person_goes() {
        insta::assert_snapshot!(
            about_ann(r#"{"type":"member","user":"ann","change":"kicked","by":"bob"}"#),
            @r#"{"type":"member","user":"erased","change":"kicked","by":"bob"}"#
        );
        insta::assert_snapshot!(
            about_ann(r#"{"type":"message","id":"1","sender":{"id":"bob"},"deleted_at":5,"by":"ann","reason":"hers"}"#),
            @r#"{"type":"message","id":"1","sender":{"id":"bob"},"deleted_at":5,"by":"erased"}"#
        );
        let words =
            r#"{"type":"message","id":"1","body":"ann","sender":{"id":"bob","name":"ann"}}"#;
        assert_eq!(about_ann(words), words);
    }

    #[test]
    fn what_is_no_event_of_ours_is_gone_as_a_whole_and_of_others_left_alone() {
        for words in ["[\"ann\"]", "\"ann\"", "{}", r#"{"type":1,"words":"ann"}"#] {
            let left = of_ann(words);
            assert!(!left.contains("ann") && left.contains(r#""deleted_at":7"#), "{left}");
            assert_eq!(about_ann(words), words);
        }
    }
}
