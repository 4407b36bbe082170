//! What is said in a room, as events: a message, its edit, its deletion, a reaction; and what
//! becomes of the earlier events of a message when it is edited or deleted.
//!
//! Pure: ids and times are arguments. Values that this file does not know stay as they are, byte
//! for byte and in their order: what a later version puts into a message survives an edit.

use serde::Serialize;
use uuid::Uuid;

use super::{Body, MessageId};
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

/// A message as its author sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "message")]
pub struct Message<'a> {
    /// Its id.
    pub id: MessageId,
    /// What it says.
    pub body: &'a Body,
    /// Who says it.
    pub sender: Sender<'a>,
    /// The author's own key for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idem: Option<Uuid>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
}

impl Message<'_> {
    /// The event.
    ///
    /// # Errors
    /// Never for texts, numbers and ids; the type cannot say so.
    pub fn event(&self) -> Result<Json, NotJson> {
        Json::from_value(self)
    }
}
