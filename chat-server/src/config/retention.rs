//! How long events are kept.

use std::time::Duration;

use chassis::config::{Fallback, Kind, Reader, Section, Var};

use crate::store::Keep;
use crate::upkeep;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// A person's own feed tells their devices what concerned them: one that was off for longer asks
/// for the state instead.
const FEED_DAYS: u64 = 30;

/// Between two looks for what is too old: days are counted, so minutes do not matter.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long rooms keep their events.
pub static MESSAGE_RETENTION_DAYS: Var = Var::new(
    "MESSAGE_RETENTION_DAYS",
    Kind::Count { min: 0, max: 36_500 },
    Fallback::Value("0"),
    "How many days a room keeps its events, unless the room has a number of its own; 0 keeps them \
     for ever. What is older is removed, oldest first.",
);

/// The variables of this file.
pub const SECTION: Section = Section { title: "Retention", variables: &[&MESSAGE_RETENTION_DAYS] };

pub(super) fn read(reader: &mut Reader<'_>) -> upkeep::Config {
    let days: u64 = reader.get(&MESSAGE_RETENTION_DAYS);
    upkeep::Config {
        keep: Keep {
            rooms: (days > 0).then(|| Duration::from_secs(days * DAY)),
            feeds: Duration::from_secs(FEED_DAYS * DAY),
        },
        interval: INTERVAL,
    }
}

#[cfg(test)]
mod tests {
    use chassis::config::Source;

    use crate::config::Config;

    use super::*;

    #[test]
    fn days_are_days_and_none_is_for_ever() {
        for (days, keep) in [("0", None), ("3", Some(Duration::from_secs(3 * 86_400)))] {
            let pairs = [("MESSAGE_RETENTION_DAYS", days)];
            let config = Config::from_source(&Source::from_pairs(pairs)).unwrap();
            assert_eq!(config.upkeep.keep.rooms, keep);
        }
    }
}
