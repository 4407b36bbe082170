//! How an event stands now that something was done to its message.
//!
//! An edit changes the message and takes the text out of the edit before it, so that history shows
//! one text and not those that were taken back; a deletion leaves tombstones. Each event loses its
//! text once: a message that is edited a thousand times does not rewrite a thousand events each
//! time. Values that this file does not know stay as they are in an edited message, byte for byte
//! and in their order: what a later version puts into a message survives an edit.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::protocol::{Json, NotJson};
use crate::room::{Body, Reason};

/// One object, its values as they were written.
#[derive(Default)]
pub(super) struct Object(Vec<(String, Box<RawValue>)>);

/// What a message says; a tombstone says nothing.
///
/// # Errors
/// When the event is no object, or its body no text.
pub fn text(message: &Json) -> Result<String, NotJson> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        body: String,
    }
    let said: Said = serde_json::from_slice(message.as_bytes()).map_err(|_no_text| NotJson)?;
    Ok(said.body)
}

/// A message after an edit at `now` (Unix milliseconds).
///
/// # Errors
/// When the event is no object.
pub fn edited(message: &Json, body: &Body, now: u64) -> Result<Json, NotJson> {
    let mut message = Object::read(message)?;
    message.set("body", body)?;
    message.set("edited_at", &now)?;
    message.write()
}

/// An edit after a later one of the same message: it has no text any more.
///
/// # Errors
/// When the event is no object.
pub fn superseded(edit: &Json) -> Result<Json, NotJson> {
    let mut edit = Object::read(edit)?;
    edit.keep(&["type", "id", "editor"]);
    edit.set("superseded", &true)?;
    edit.write()
}

/// A message, or an edit of it, after somebody deleted it at `now` (Unix milliseconds).
///
/// # Errors
/// When the event is no object.
pub fn deleted(event: &Json, by: &str, reason: Option<&Reason>, now: u64) -> Result<Json, NotJson> {
    let mut event = Object::read(event)?;
    event.keep(&["type", "id", "sender", "editor"]);
    event.set("deleted_at", &now)?;
    event.set("by", by)?;
    if let Some(reason) = reason {
        event.set("reason", reason)?;
    }
    event.write()
}

impl Object {
    pub(super) fn read(json: &Json) -> Result<Self, NotJson> {
        serde_json::from_slice(json.as_bytes()).map_err(|_no_object| NotJson)
    }

    pub(super) fn write(&self) -> Result<Json, NotJson> {
        Json::from_value(self)
    }

    /// A value, if it is there and of this type.
    pub(super) fn get<'de, T: Deserialize<'de>>(&'de self, key: &str) -> Option<T> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        serde_json::from_str(value.get()).ok()
    }

    /// Replaces a value where it stands, or adds it at the end.
    pub(super) fn set(
        &mut self,
        key: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), NotJson> {
        let value = to_raw_value(value).map_err(|_not_json| NotJson)?;
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.0.push((key.to_owned(), value)),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    pub(super) fn keep(&mut self, keys: &[&str]) {
        self.0.retain(|(key, _)| keys.contains(&key.as_str()));
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = concat!(
        r#"{"type":"message","id":"1","body":"hi","sender":{"id":"ann"},"#,
        r#""idem":"2","later":[1.50, {"b":0,"a":0}]}"#,
    );

    fn text(json: Result<Json, NotJson>) -> String {
        String::from_utf8(json.unwrap().as_bytes().to_vec()).unwrap()
    }

    fn body(text: &str) -> Body {
        Body::parse(text, 100).unwrap()
    }

    #[test]
    fn an_edit_leaves_everything_but_the_text_as_it_was() {
        let message = Json::parse(MESSAGE.as_bytes()).unwrap();
        let once = edited(&message, &body("hi\n\"all\""), 5).unwrap();
        assert_eq!(
            text(Ok(once.clone())),
            concat!(
                r#"{"type":"message","id":"1","body":"hi\n\"all\"","sender":{"id":"ann"},"#,
                r#""idem":"2","later":[1.50, {"b":0,"a":0}],"edited_at":5}"#,
            )
        );
        let twice = text(edited(&once, &body("bye"), 6));
        assert_eq!(twice.matches("edited_at").count(), 1);
        assert!(twice.ends_with(r#""edited_at":6}"#), "{twice}");
    }

    #[test]
    fn a_tombstone_tells_who_and_nothing_else() {
        let message = Json::parse(MESSAGE.as_bytes()).unwrap();
        let stone = deleted(&message, "bob", Some(&Reason::parse("spam").unwrap()), 7).unwrap();
        assert_eq!(
            text(Ok(stone)),
            concat!(
                r#"{"type":"message","id":"1","sender":{"id":"ann"},"#,
                r#""deleted_at":7,"by":"bob","reason":"spam"}"#,
            )
        );
        let edit = br#"{"type":"edit","id":"1","body":"hi","editor":"ann"}"#;
        let edit = Json::parse(edit).unwrap();
        insta::assert_snapshot!(
            text(deleted(&edit, "ann", None, 7)),
            @r#"{"type":"edit","id":"1","editor":"ann","deleted_at":7,"by":"ann"}"#
        );
        insta::assert_snapshot!(
            text(superseded(&edit)),
            @r#"{"type":"edit","id":"1","editor":"ann","superseded":true}"#
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(edited(&Json::parse(b"[1]").unwrap(), &body("a"), 1), Err(NotJson));
    }
}
