//! Who is in a channel.

use std::sync::Arc;

use super::{Caller, Refusal, Services};
use crate::channel::Channel;
use crate::protocol::{ClientInfo, ErrorCode, ErrorReply, PresenceStatsResult};

/// Clients of a channel that are listed; larger ones are counted by [`presence_stats`].
const CLIENTS_MAX: usize = 1000;

/// Everyone who is subscribed, by client.
///
/// # Errors
/// 102, 103, 107, 108 where presence is not kept, and 106 for more than 1000 clients.
pub async fn presence(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<Vec<(Arc<str>, ClientInfo)>, Refusal> {
    let Some(channel) = present(services, caller, channel).await? else { return Ok(Vec::new()) };
    let present = channel.presence(CLIENTS_MAX).map_err(|count| {
        ErrorReply::new(ErrorCode::LimitExceeded)
            .with_reason("presence_too_large")
            .with_limit(CLIENTS_MAX as u64, count as u64)
    })?;
    Ok(present.into_iter().map(|info| (info.client.clone(), ClientInfo::clone(&info))).collect())
}

/// How many clients and how many distinct users are subscribed.
///
/// # Errors
/// As for [`presence`].
pub async fn presence_stats(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<PresenceStatsResult, Refusal> {
    let channel = present(services, caller, channel).await?;
    Ok(channel.map_or_else(PresenceStatsResult::default, |channel| channel.presence_stats()))
}

async fn present(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<Option<Arc<Channel>>, Refusal> {
    let (name, options) = services.channel(channel)?;
    services.may_read(caller, &name, options, options.allow_presence).await?;
    if !options.presence {
        return Err(ErrorReply::new(ErrorCode::NotAvailable).with_reason("no_presence").into());
    }
    Ok(services.hub.find(&name))
}
