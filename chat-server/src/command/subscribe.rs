//! Subscribing: may the caller, is there room, and what was missed.
//!
//! The client enters the channel on hold, its position is read, and [`Entered`] tells the session
//! what to reply and where delivery starts: nothing can fall in between.

use std::sync::Arc;

use chassis::auth::TokenError;
use chassis::delivery::Member;

use super::{Caller, Refusal, Services, ttl};
use crate::channel::{Channel, ChannelName, Options, Place, Recovery, Subscription};
use crate::outbound::Format;
use crate::protocol::{
    ClientInfo, ErrorCode, ErrorReply, Position, Publication, Subscribe, SubscribeResult,
};

/// Publications of the first recovery page.
const PAGE_PUBLICATIONS_MAX: usize = 256;

/// What stands around the data of a publication in a reply: offset, time, sender.
const ENVELOPE_BYTES: usize = 256;

/// Bytes of the first recovery page.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// A client that is in a channel but hears nothing yet.
#[derive(Debug)]
pub struct Entered {
    /// Its place.
    pub subscription: Subscription,
    /// What the subscriber is told first.
    pub result: SubscribeResult,
    /// What it missed beyond the first page, in order.
    pub rest: Vec<Publication>,
    /// Delivery starts behind this offset.
    pub after: u64,
    /// When the permission ends, in Unix seconds.
    pub expires_at: Option<u64>,
}

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
    let channel = services.hub.channel(&name, options).map_err(|full| {
        ErrorReply::new(ErrorCode::LimitExceeded)
            .with_message(full.to_string())
            .with_reason("channels_max")
    })?;
    let mut entered = enter(&channel, member, format, caller.info, request);
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
/// 102, 105 or 106.
pub fn enter_for_server(
    services: &Services,
    info: &Arc<ClientInfo>,
    member: &Member,
    format: Format,
    name: &ChannelName,
    from: Option<&Subscribe>,
) -> Result<Entered, Refusal> {
    let options = services.hub.options(name).ok_or(ErrorCode::UnknownChannel)?;
    let channel = services.hub.channel(name, options).map_err(|_full| ErrorCode::LimitExceeded)?;
    let nothing = Subscribe::default();
    Ok(enter(&channel, member, format, info, from.unwrap_or(&nothing)))
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
    if matches!(name.place(), Place::User(_)) {
        return Err(denied("server_side_only"));
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

fn enter(
    channel: &Arc<Channel>,
    member: &Member,
    format: Format,
    info: &Arc<ClientInfo>,
    request: &Subscribe,
) -> Entered {
    let options = channel.options();
    let keeps = options.history_size > 0;
    let recoverable = keeps && (options.force_recovery || request.recoverable);
    let positioned = keeps && (recoverable || request.positioned);
    let subscription = channel.subscribe(member, format, info.clone(), request.join_leave);
    let from = (request.recover && recoverable)
        .then(|| Position { offset: request.offset, epoch: request.epoch.as_str().into() });
    let (top, recovery) = channel.recover(from.as_ref());
    let (mut publications, recovered) = match recovery {
        Recovery::Recovered(publications) => (publications, true),
        Recovery::Fresh | Recovery::Lost => (Vec::new(), false),
    };
    let rest = publications.split_off(page_len(&publications));
    let offset = match (rest.first(), publications.last()) {
        (Some(_), Some(last)) => last.offset,
        _ => top.offset,
    };
    let result = SubscribeResult {
        recoverable,
        positioned,
        epoch: if positioned { top.epoch } else { "".into() },
        offset: if positioned { offset } else { 0 },
        publications,
        recovered,
        was_recovering: request.recover,
        ..SubscribeResult::default()
    };
    Entered { subscription, result, rest, after: top.offset, expires_at: None }
}

fn page_len(publications: &[Publication]) -> usize {
    let mut bytes = 0;
    let fits = |publication: &&Publication| {
        bytes += publication.data.len() + ENVELOPE_BYTES;
        bytes <= PAGE_BYTES_MAX
    };
    publications.iter().take(PAGE_PUBLICATIONS_MAX).take_while(fits).count()
}
