//! The one place where an error of the store or of Redis becomes words for a client.

use std::time::Duration;

use super::{Refusal, unix_millis};
use crate::fanout::{PublishError, ReadError};
use crate::nodes::Unavailable;
use crate::protocol::{ErrorCode, ErrorReply};
use crate::room::Denied;
use crate::store::{Conflict, Error};

/// In how long a channel that Redis has lost stands at the beginning of a new life here.
const BEGINS: Duration = Duration::from_millis(100);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable { reason, retry_after } => {
                let error = ErrorReply::new(ErrorCode::StoreUnavailable).with_reason(reason);
                error.with_retry_after_ms(millis(retry_after)).into()
            }
            Error::Denied(denied) => denied.into(),
            Error::Missing(what) => ErrorReply::new(ErrorCode::NotFound)
                .with_message(format!("no such {}", what.word()))
                .with_reason("not_found")
                .with_field(what.field())
                .into(),
            Error::Conflict(conflict) => conflict.into(),
            Error::Limit { what, limit } => ErrorReply::new(ErrorCode::LimitExceeded)
                .with_reason(what)
                .with_limit(limit, limit + 1)
                .into(),
            Error::BeyondHead { head, got } => ErrorReply::new(ErrorCode::Validation)
                .with_message("there is no such offset yet")
                .with_reason("beyond_head")
                .with_field("offset")
                .with_limit(head, got)
                .into(),
            Error::Broken(reason) => {
                tracing::error!(reason, "the store is broken");
                ErrorCode::Internal.into()
            }
            Error::Database(error) => {
                tracing::error!(%error, "a statement failed");
                ErrorCode::Internal.into()
            }
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(Unavailable { reason, retry_after }: Unavailable) -> Self {
        let error = ErrorReply::new(ErrorCode::StoreUnavailable).with_reason(reason);
        error.with_retry_after_ms(millis(retry_after)).into()
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::Unavailable(unavailable) => unavailable.into(),
            ReadError::Over => Unavailable { reason: "epoch_over", retry_after: BEGINS }.into(),
        }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full(_) => ErrorCode::LimitExceeded.into(),
            PublishError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let (code, reason) = match denied {
            Denied::NotAMember => (ErrorCode::PermissionDenied, "not_a_member"),
            Denied::Role { .. } => (ErrorCode::PermissionDenied, "role"),
            Denied::RoleAboveOwn => (ErrorCode::PermissionDenied, "role_above_own"),
            Denied::NotTheAuthor => (ErrorCode::PermissionDenied, "not_the_author"),
            Denied::Muted { .. } => (ErrorCode::Muted, "muted"),
            Denied::Banned { .. } => (ErrorCode::Muted, "banned"),
            Denied::Archived => (ErrorCode::Conflict, "archived"),
            Denied::Direct => (ErrorCode::Conflict, "direct"),
        };
        let error = ErrorReply::new(code).with_message(denied.to_string()).with_reason(reason);
        match denied.ends_at() {
            Some(until) => error.with_retry_after_ms(until.saturating_sub(unix_millis())).into(),
            None => error.into(),
        }
    }
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        let error = ErrorReply::new(ErrorCode::Conflict).with_reason(conflict.reason());
        error.with_message(conflict.message()).into()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
