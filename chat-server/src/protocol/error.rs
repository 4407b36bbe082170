//! The error a command is answered with.
//!
//! The official SDKs show an application `code` and `message` alone, so the message says what is
//! wrong; `reason` and the other keys are for programs.
//!
//! Invariant: nothing of the server's inside reaches an error; its text is written here or by
//! the caller for the client's eyes.

use std::borrow::Cow;

use super::ErrorCode;

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    pub code: ErrorCode,
    /// For people; never empty, for stock clients fail without it.
    pub message: Cow<'static, str>,
    /// A stable word for programs, finer than the code.
    pub reason: Option<&'static str>,
    /// When it makes sense to try again.
    pub retry_after_ms: Option<u64>,
    /// The field of the request that is wrong, as `data`.
    pub field: Option<&'static str>,
    /// The limit that was passed, in the unit of the field.
    pub limit: Option<u64>,
    /// What was met instead.
    pub got: Option<u64>,
}

impl ErrorReply {
    /// An error with the code's own message.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            message: Cow::Borrowed(code.message()),
            reason: None,
            retry_after_ms: None,
            field: None,
            limit: None,
            got: None,
        }
    }

    /// The same error in other words. An empty message is not taken.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        if !message.is_empty() {
            self.message = message;
        }
        self
    }

    #[must_use]
    pub const fn with_reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    #[must_use]
    pub const fn with_field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    #[must_use]
    pub const fn with_retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }

    /// Names the limit that was passed and what was met.
    #[must_use]
    pub const fn with_limit(mut self, limit: u64, got: u64) -> Self {
        self.limit = Some(limit);
        self.got = Some(got);
        self
    }
}

impl From<ErrorCode> for ErrorReply {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}
