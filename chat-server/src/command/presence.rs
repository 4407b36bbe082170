//! Who is in a channel, on all nodes.

use std::sync::Arc;

use super::{Caller, Refusal, Services};
use crate::channel::{CROWD, ChannelName};
use crate::protocol::{ClientInfo, ErrorCode, ErrorReply, PresenceStatsResult};

/// Everyone who is subscribed, by client.
///
/// # Errors
/// 102, 103, 107, 108 where presence is not kept, and 106 for more than 1000 clients.
pub async fn presence(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<Vec<(Arc<str>, ClientInfo)>, Refusal> {
    let name = present(services, caller, channel).await?;
    let present = services.presence.list(&name, CROWD).await.map_err(|count| {
        ErrorReply::new(ErrorCode::LimitExceeded)
            .with_reason("presence_too_large")
            .with_limit(CROWD as u64, count as u64)
    })?;
    Ok(present.into_iter().map(|info| (info.client.clone(), info)).collect())
}

/// How many clients and how many distinct users are subscribed.
///
/// # Errors
/// As for [`presence`], but for the bound.
pub async fn presence_stats(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<PresenceStatsResult, Refusal> {
    let name = present(services, caller, channel).await?;
    Ok(services.presence.count(&name).await)
}

/// The channel, if the caller may ask who is there.
async fn present(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<ChannelName, Refusal> {
    let (name, options) = services.channel(channel)?;
    services.may_read(caller, &name, options, options.allow_presence).await?;
    if !options.presence {
        return Err(ErrorReply::new(ErrorCode::NotAvailable).with_reason("no_presence").into());
    }
    Ok(name)
}
