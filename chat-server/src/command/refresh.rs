//! New tokens for a connection and for a subscription.
//!
//! SDKs ask at the very moment of expiry, so both are accepted for a while after it. They take
//! every lasting error here as final: an expired token therefore ends the connection with a code
//! after which they connect again and ask for a fresh one.

use super::subscribe::denied;
use super::{Caller, Refusal, Services};
use crate::protocol::{DisconnectCode, ErrorCode, ErrorReply};
use secrecy::SecretString;

/// How long something is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Unix seconds; `None` = for ever.
    pub expires_at: Option<u64>,
}

/// A new token for the connection; it must be the same person's.
///
/// # Errors
/// Ends the connection: 3005 for an expired token, 3500 for any other bad one. 100 when keys
/// cannot be had.
pub async fn refresh(
    services: &Services,
    caller: Caller<'_>,
    token: Option<&SecretString>,
) -> Result<Renewal, Refusal> {
    let token = token.ok_or(DisconnectCode::InvalidToken)?;
    let claims = services.verify(token).await.map_err(|error| match error {
        _ if error.is_expired() => DisconnectCode::ConnectionExpired.into(),
        _ if error.is_temporary() => Refusal::from(ErrorCode::Internal),
        _ => DisconnectCode::InvalidToken.into(),
    })?;
    let user = claims.user.as_ref().map_or("", |user| user.as_str());
    if user != &*caller.info.user || claims.channel.is_some() {
        return Err(DisconnectCode::InvalidToken.into());
    }
    Ok(Renewal { expires_at: claims.expires_at })
}

/// A new token for one subscription.
///
/// # Errors
/// 103 for a bad token or a channel that is not subscribed, 110 for an expired one.
pub async fn sub_refresh(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
    token: Option<&SecretString>,
) -> Result<Renewal, Refusal> {
    let (name, _) = services.channel(channel)?;
    if caller.subs.find(name.shared()).is_none() {
        return Err(denied("not_subscribed").into());
    }
    let token = token.ok_or_else(|| denied("token_required"))?;
    let claims = services.verify(token).await.map_err(|error| match error {
        _ if error.is_expired() => ErrorReply::new(ErrorCode::Expired),
        _ if error.is_temporary() => ErrorReply::new(ErrorCode::Internal),
        _ => denied(error.reason()),
    })?;
    let user = claims.user.as_ref().map_or("", |user| user.as_str());
    let same_channel = claims.channel.as_deref() == Some(&**name.shared());
    if user != &*caller.info.user || !same_channel {
        return Err(denied("token_channel").into());
    }
    Ok(Renewal { expires_at: claims.expires_at })
}
