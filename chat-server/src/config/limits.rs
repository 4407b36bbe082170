//! Bounds on everything a client can make the server hold or do.
//!
//! The defaults are the protocol's and the guide's; what two of them bound together is said where
//! it is derived. Limits without a variable are part of the protocol and the same everywhere.

use chassis::config::kind::Unit;
use chassis::config::{Fallback, Kind, Reader, Section, Var};

const MB: u64 = 1 << 20;

/// The guide's memory limit, in MB.
const MEMORY_LIMIT_MB_DEFAULT: u64 = 8192;

/// What all backlogs together may hold, as a part of the memory limit: the log is the queue, and a
/// tenth leaves room for the connections themselves.
const OUTBOUND_PART: u64 = 10;

/// Per address in production. Offices and mobile carriers put thousands of people behind one
/// address, so this stops one machine and not one neighbourhood.
const PER_IP_DEFAULT: u32 = 1000;

/// New connections per address and second in production, for the same reason.
const RATE_PER_IP_DEFAULT: u32 = 100;

/// A frame, in either direction: the protocol's bound.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// What may wait for one connection: as many seconds of a busy channel as a phone is away while it
/// changes cells, and 6.5 GB if all 100,000 used it, which the budget over all prevents.
const BACKLOG_BYTES_MAX: usize = 64 * 1024;

macro_rules! count {
    ($name:ident, $min:literal..=$max:literal, $fallback:expr, $help:literal) => {
        #[doc = $help]
        pub static $name: Var =
            Var::new(stringify!($name), Kind::Count { min: $min, max: $max }, $fallback, $help);
    };
}

count!(
    MAX_CONNECTIONS,
    1..=10_000_000,
    Fallback::Value("100000"),
    "Connections over both ports; 64 more slots of PORT are kept for plain HTTP."
);
count!(
    MAX_CONNECTIONS_PER_IP,
    0..=10_000_000,
    Fallback::DerivedEach {
        development: "`0`",
        production: "`1000`; `0` with TLS_TERMINATED_UPSTREAM",
    },
    "Connections per client address; 0 is no limit."
);
count!(
    CONNECT_RATE_PER_IP,
    0..=1_000_000,
    Fallback::DerivedEach {
        development: "`0`",
        production: "`100`; `0` with TLS_TERMINATED_UPSTREAM",
    },
    "New connections per second and client address; 0 is no limit."
);
count!(
    MAX_CONNECTIONS_PER_USER,
    1..=100_000,
    Fallback::Value("10"),
    "Connections per user over all nodes, and on each node while Redis is away; anonymous ones are \
     not counted."
);
count!(
    MAX_CHANNELS_PER_CONNECTION,
    1..=10_000,
    Fallback::Value("128"),
    "Channels one connection can be subscribed to."
);
count!(
    MESSAGE_HISTORY_LIMIT,
    1..=10_000,
    Fallback::Value("1000"),
    "Publications in one page of history; a larger request gets this many."
);
count!(
    MAX_MESSAGE_RATE,
    1..=100_000,
    Fallback::Value("100"),
    "Publications per second and user on each node; per connection for anonymous ones."
);
count!(
    COMMAND_RATE,
    1..=100_000,
    Fallback::Value("50"),
    "Other commands per second and connection."
);
count!(
    RATE_LIMIT_PER_MINUTE,
    1..=10_000_000,
    Fallback::Value("1000"),
    "HTTP requests and connects per minute and client address over all nodes, and on each node \
     while Redis is away; a minute's quota as burst. Not applied when TLS_TERMINATED_UPSTREAM is \
     true: every client then has the proxy's address."
);
count!(
    DELIVERY_SHARDS,
    1..=1024,
    Fallback::Derived("1 for one or two cores, else cores / 2"),
    "Delivery tasks the connections are spread over."
);

/// Bytes of a message's body.
pub static MAX_MESSAGE_SIZE: Var = Var::new(
    "MAX_MESSAGE_SIZE",
    Kind::Amount { unit: Unit::Bytes, min: 1, max: 61_440 },
    Fallback::Value("8192"),
    "Bytes of a message's body; it has to fit a frame of 64 KiB with its envelope.",
);

/// Bytes all backlogs may hold together.
pub static OUTBOUND_BUDGET: Var = Var::new(
    "OUTBOUND_BUDGET",
    Kind::Amount { unit: Unit::Bytes, min: 1_048_576, max: 1 << 40 },
    Fallback::Derived("10 % of MEMORY_LIMIT_MB"),
    "What may be kept for all connections together, unfinished messages of clients included; \
     64 KiB for each of them.",
);

/// What the process may use.
pub static MEMORY_LIMIT_MB: Var = Var::new(
    "MEMORY_LIMIT_MB",
    Kind::Amount { unit: Unit::Megabytes, min: 64, max: 16_777_216 },
    Fallback::Derived("8192, or all the machine or container has when that is less"),
    "What the process may use: `memory_usage_percent` is measured against it. From 90 % on new \
     connections are refused and readiness is 503, until it is below 85 % again.",
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "Limits",
    variables: &[
        &MAX_CONNECTIONS,
        &MAX_CONNECTIONS_PER_IP,
        &CONNECT_RATE_PER_IP,
        &MAX_CONNECTIONS_PER_USER,
        &MAX_CHANNELS_PER_CONNECTION,
        &MAX_MESSAGE_SIZE,
        &MESSAGE_HISTORY_LIMIT,
        &MAX_MESSAGE_RATE,
        &COMMAND_RATE,
        &RATE_LIMIT_PER_MINUTE,
        &MEMORY_LIMIT_MB,
        &OUTBOUND_BUDGET,
        &DELIVERY_SHARDS,
    ],
};

/// Bounds on everything a client can make the server hold or do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections over both ports, `MAX_CONNECTIONS`.
    pub connections_max: usize,
    /// Bytes of a message's body, `MAX_MESSAGE_SIZE`.
    pub message_size_max: usize,
    /// Publications in one page of history, `MESSAGE_HISTORY_LIMIT`.
    pub history_limit_max: usize,
    /// Publications per second and user, `MAX_MESSAGE_RATE`.
    pub message_rate: u32,
    /// Other commands per second and connection, `COMMAND_RATE`.
    pub command_rate: u32,
    /// HTTP requests and connects per minute and client, `RATE_LIMIT_PER_MINUTE`.
    pub requests_per_minute: u32,
    /// Connections per address, `MAX_CONNECTIONS_PER_IP`; 0 is off.
    pub connections_per_ip: u32,
    /// New connections per second and address, `CONNECT_RATE_PER_IP`; 0 is off.
    pub connect_rate_per_ip: u32,
    /// Channels per connection, `MAX_CHANNELS_PER_CONNECTION`.
    pub channels_per_connection: usize,
    /// Connections per user, `MAX_CONNECTIONS_PER_USER`.
    pub connections_per_user: usize,
    /// Bytes that may wait for one connection.
    pub backlog_bytes_max: usize,
    /// Bytes that may wait for all connections together, `OUTBOUND_BUDGET`.
    pub outbound_budget_bytes: usize,
    /// Bytes the process may use, `MEMORY_LIMIT_MB`.
    pub memory_limit_bytes: u64,
    /// Bytes of one frame.
    pub frame_bytes_max: usize,
    /// Delivery tasks, `DELIVERY_SHARDS`.
    pub shards: usize,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader<'_>, tls_terminated_upstream: bool) -> Self {
        let machine = reader.machine();
        let memory = machine.memory_bytes.unwrap_or(u64::MAX).min(MEMORY_LIMIT_MB_DEFAULT * MB);
        let memory_limit_bytes: u64 = reader.get_or(&MEMORY_LIMIT_MB, memory);
        let budget = usize::try_from(memory_limit_bytes / OUTBOUND_PART).unwrap_or(usize::MAX);
        // Behind a proxy every connection comes from the proxy's address.
        let by_address = reader.environment().is_production() && !tls_terminated_upstream;
        let per_ip = |limit: u32| if by_address { limit } else { 0 };
        let shards = if machine.cores <= 2 { 1 } else { machine.cores / 2 };
        Self {
            connections_max: reader.get(&MAX_CONNECTIONS),
            message_size_max: reader.get(&MAX_MESSAGE_SIZE),
            history_limit_max: reader.get(&MESSAGE_HISTORY_LIMIT),
            message_rate: reader.get(&MAX_MESSAGE_RATE),
            command_rate: reader.get(&COMMAND_RATE),
            requests_per_minute: reader.get(&RATE_LIMIT_PER_MINUTE),
            connections_per_ip: reader.get_or(&MAX_CONNECTIONS_PER_IP, per_ip(PER_IP_DEFAULT)),
            connect_rate_per_ip: reader.get_or(&CONNECT_RATE_PER_IP, per_ip(RATE_PER_IP_DEFAULT)),
            channels_per_connection: reader.get(&MAX_CHANNELS_PER_CONNECTION),
            connections_per_user: reader.get(&MAX_CONNECTIONS_PER_USER),
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            outbound_budget_bytes: reader.get_or(&OUTBOUND_BUDGET, budget),
            memory_limit_bytes,
            frame_bytes_max: FRAME_BYTES_MAX,
            shards: reader.get_or(&DELIVERY_SHARDS, shards),
        }
    }
}
