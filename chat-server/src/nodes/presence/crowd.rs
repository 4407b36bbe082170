//! The numbers of channels that are too large to tell each move, at most once a second.
//!
//! Who wrote a change says so on the bus, at most once a second for each channel; everyone asks
//! Redis after that, so the numbers told last are those of the last change, whatever came first.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{MissedTickBehavior, interval};

use super::{AT_ONCE, Presence};
use crate::channel::Crowded;
use crate::fanout::bus::{Crowd, Message, Topic};

/// Between two tellings.
const INTERVAL: Duration = Duration::from_secs(1);

impl Presence {
    /// Tells of crowds, for ever.
    pub(super) async fn tell_crowds(&self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let crowds = stream::iter(self.hub.moves().crowds());
            crowds.for_each_concurrent(AT_ONCE, |crowded| self.tell_crowd(crowded)).await;
        }
    }

    async fn tell_crowd(&self, crowded: Crowded) {
        let channel = &crowded.channel;
        if channel.is_deserted() && !crowded.here {
            return;
        }
        let table = self.table.as_ref().filter(|table| table.nodes().has_lease());
        let numbers = match table {
            Some(table) => table.count(channel.name()).await,
            None => Ok(channel.presence_stats()),
        };
        let Ok(numbers) = numbers else {
            // It is asked for again in a second.
            return self.hub.moves().crowd(crowded);
        };
        if table.is_some() {
            // While it is a crowd it is asked for again in a second: what was not heard is seen.
            channel.counted(usize::try_from(numbers.num_clients).unwrap_or(usize::MAX));
        }
        channel.tell_crowd(numbers);
        if crowded.here {
            let crowd = Crowd { clients: numbers.num_clients, users: numbers.num_users };
            self.bus.say(Topic::Channel(channel.name()), &Message::Crowd(crowd));
        }
    }
}
