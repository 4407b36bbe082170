//! The text of a message.

use serde::Serialize;

/// A text that people can read: at least one visible character, no control characters but line
/// breaks and tabs, at most 30 combining marks in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Body(String);

/// Why a text is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBody {
    /// Nothing that can be seen: white space, combining marks and invisible characters only.
    #[error("body has nothing that can be seen")]
    Empty,
    /// Over `MAX_MESSAGE_SIZE`.
    #[error("body is larger than {limit} bytes")]
    TooLarge {
        /// The most there may be, in bytes.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// A control character.
    #[error("body has a control character")]
    Control,
    /// More than 30 combining marks in a row.
    #[error("body has more than 30 combining marks in a row")]
    Combining,
}
