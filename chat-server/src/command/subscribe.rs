//! Subscribing: may the caller, and is there room.

use chassis::auth::TokenError;
use chassis::delivery::Member;

use super::enter::{Entered, Entering, enter};
use super::{Caller, Refusal, Services, ttl};
use crate::channel::{ChannelName, Options, Place};
use crate::outbound::Format;
use crate::protocol::{ClientInfo, ErrorCode, ErrorReply, Position, Subscribe};
use crate::room::Act;

/// A client's own subscription.
///
/// # Errors
/// 101-112, each with a reason.
pub async fn subscribe(
    services: &Services,
    caller: Caller<'_>,
    member: &Member,
    format: Format,
    request: &Subscribe,
) -> Result<Entered, Refusal> {
    if request.kind != 0 || request.has_delta || request.has_tag_filter {
        let error = ErrorReply::new(ErrorCode::NotAvailable);
        return Err(error.with_reason("subscription_type").into());
    }
    let (name, options) = services.channel(&request.channel)?;
    if caller.subs.find(name.shared()).is_some() {
        return Err(ErrorCode::AlreadySubscribed.into());
    }
    let (limit, made) = (services.limits.channels_per_connection, caller.subs.of_client());
    if made >= limit {
        let error = ErrorReply::new(ErrorCode::LimitExceeded).with_reason("channel_limit");
        return Err(error.with_limit(limit as u64, made as u64 + 1).into());
    }
    let expires_at = permission(services, caller.info, request, &name, options).await?;
    let channel = services.fanout.open(&name, options).await?;
    let client = Entering { member, format, info: caller.info };
    let mut entered = enter(services, &channel, client, request).await?;
    entered.expires_at = expires_at;
    entered.result.ttl = ttl(expires_at);
    let lost = entered.result.was_recovering && !entered.result.recovered;
    if lost && request.rejects_unrecovered() {
        entered.subscription.end(member);
        return Err(ErrorCode::UnrecoverablePosition.into());
    }
    Ok(entered)
}

/// A subscription that the server makes for a client; `from` is where the client left off.
///
/// # Errors
/// 102, 106, or 503 when it cannot be asked where the channel stands.
pub async fn enter_for_server(
    services: &Services,
    client: Entering<'_>,
    name: &ChannelName,
    from: Option<&Subscribe>,
) -> Result<Entered, Refusal> {
    let options = services.hub.options(name).ok_or(ErrorCode::UnknownChannel)?;
    let position = from
        .filter(|from| from.recover)
        .map(|from| Position { offset: from.offset, epoch: from.epoch.as_str().into() });
    let channel = match position {
        // Nobody else is in it: what they say of it is theirs alone.
        Some(position) if matches!(name.place(), Place::User(_)) => {
            services.fanout.open_at(name, options, &position).await?
        }
        _ => services.fanout.open(name, options).await?,
    };
    let nothing = Subscribe::default();
    enter(services, &channel, client, from.unwrap_or(&nothing)).await
}

/// When the permission to subscribe ends; `None` = it does not.
async fn permission(
    services: &Services,
    info: &ClientInfo,
    request: &Subscribe,
    name: &ChannelName,
    options: &Options,
) -> Result<Option<u64>, Refusal> {
    let denied = |reason| Refusal::from(denied(reason));
    match name.place() {
        Place::User(_) => return Err(denied("server_side_only")),
        // What somebody is in a room is asked before the token: no token gets past a ban.
        Place::Room(Some(room)) => {
            services.authority.permit(room, &info.user, Act::Read).await.map_err(unknown_room)?;
        }
        _ => {}
    }
    let Some(token) = &request.token else {
        return match options.allow_subscribe && !options.subscribe_token_required {
            true => Ok(None),
            false if options.subscribe_token_required => Err(denied("token_required")),
            false => Err(denied("not_allowed")),
        };
    };
    let claims = services.verify(token).await.map_err(refused)?;
    let user = claims.user.as_ref().map_or("", |user| user.as_str());
    if claims.channel.as_deref() != Some(&**name.shared()) {
        return Err(denied("token_channel"));
    }
    if user != &*info.user {
        return Err(denied("token_user"));
    }
    Ok(claims.expires_at)
}

/// To a channel command, a room that does not exist is a channel that does not exist.
pub(super) fn unknown_room(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Error(error)
            if error.code == ErrorCode::NotFound && error.field == Some("room") =>
        {
            let error = ErrorReply::new(ErrorCode::UnknownChannel).with_reason("unknown_room");
            error.with_field("channel").into()
        }
        other => other,
    }
}

pub(super) fn denied(reason: &'static str) -> ErrorReply {
    ErrorReply::new(ErrorCode::PermissionDenied).with_reason(reason)
}

fn refused(error: TokenError) -> Refusal {
    let code = match error {
        _ if error.is_expired() => ErrorCode::TokenExpired,
        _ if error.is_temporary() => ErrorCode::Internal,
        _ => ErrorCode::PermissionDenied,
    };
    ErrorReply::new(code).with_reason(error.reason()).into()
}
