//! Who is in a channel.

use std::sync::Arc;

use super::{Caller, Refusal, Services};
use crate::channel::Channel;
use crate::protocol::{ClientInfo, ErrorCode, ErrorReply, PresenceStatsResult};

/// Everyone who is subscribed, by client.
///
/// # Errors
/// 102, 103, 107, and 108 where presence is not kept.
pub fn presence(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<Vec<(Arc<str>, ClientInfo)>, Refusal> {
    Ok(present(services, caller, channel)?.map_or_else(Vec::new, |channel| channel.presence()))
}

/// How many clients and how many distinct users are subscribed.
///
/// # Errors
/// As for [`presence`].
pub fn presence_stats(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<PresenceStatsResult, Refusal> {
    let channel = present(services, caller, channel)?;
    Ok(channel.map_or_else(PresenceStatsResult::default, |channel| channel.presence_stats()))
}

fn present(
    services: &Services,
    caller: Caller<'_>,
    channel: &str,
) -> Result<Option<Arc<Channel>>, Refusal> {
    let (name, options) = services.channel(channel)?;
    caller.may(&name, options, options.allow_presence)?;
    if !options.presence {
        return Err(ErrorReply::new(ErrorCode::NotAvailable).with_reason("no_presence").into());
    }
    Ok(services.hub.find(&name))
}
