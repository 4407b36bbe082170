//! Where several nodes meet.

use std::time::Duration;

use chassis::config::kind::{Rule, Unit};
use chassis::config::{Fallback, Kind, Reader, Section, Var};
use chassis::redis::{Location, TAKES};

use crate::nodes::Settings;

/// How long a question to Redis may take: it answers in a millisecond, and whoever waits for more
/// goes by what this node knows.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Longest prefix of keys.
const PREFIX_BYTES_MAX: usize = 64;

/// Where nodes meet.
pub static REDIS_URL: Var = Var::new(
    "REDIS_URL",
    Kind::Text(Rule {
        takes: TAKES,
        accepts: |url| Location::parse(&url.into()).is_ok(),
        bad: "http://veza:hunter2@cache/0",
    }),
    Fallback::Unset,
    "The Redis, 7.0 or later, over which several nodes behave as one. Without it there is one node.",
)
.secret();

/// Redis connections.
pub static REDIS_POOL_SIZE: Var = Var::new(
    "REDIS_POOL_SIZE",
    Kind::Count { min: 1, max: 10_000 },
    Fallback::Value("50"),
    "Connections of this process to each Redis server for questions, at most; one more runs \
     scripts, one speaks and one listens.",
);

/// How long entries live.
pub static REDIS_TTL_DEFAULT: Var = Var::new(
    "REDIS_TTL_DEFAULT",
    Kind::Amount { unit: Unit::Seconds, min: 1, max: 31_536_000 },
    Fallback::Value("3600"),
    "How long Redis keeps the position of a channel that nobody uses, beyond its history.",
);

/// What belongs to one deployment.
pub static REDIS_PREFIX: Var = Var::new(
    "REDIS_PREFIX",
    Kind::Text(Rule {
        takes: "1 to 64 letters, digits, `-`, `_`, `.` or `:`",
        accepts: is_prefix,
        bad: "two words",
    }),
    Fallback::Value("veza"),
    "What the keys and topics of this deployment begin with: several may share one Redis.",
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "Several nodes",
    variables: &[&REDIS_URL, &REDIS_POOL_SIZE, &REDIS_TTL_DEFAULT, &REDIS_PREFIX],
};

/// Where nodes meet; `None` for one node alone.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Settings> {
    let size: u32 = reader.get(&REDIS_POOL_SIZE);
    let kept = reader.get(&REDIS_TTL_DEFAULT);
    let prefix: String = reader.get(&REDIS_PREFIX);
    // One that is refused is told by the reader.
    let location = Location::parse(&reader.secret(&REDIS_URL)?).ok()?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let redis = chassis::redis::Config { location, size, timeout: TIMEOUT };
    Some(Settings { redis, prefix, kept, clock: crate::command::unix_millis })
}

fn is_prefix(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=PREFIX_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}
