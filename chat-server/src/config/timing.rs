//! Intervals and timeouts.
//!
//! Refused here: waiting for a pong at least as long as until the next ping, and goodbyes spread
//! over more time than a shutdown has.

use std::time::Duration;

use chassis::config::kind::Unit;
use chassis::config::{Fallback, Kind, Problem, Reader, Section, Var};

/// The head of an HTTP request must be complete by then, which ends a slow-loris.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A TLS handshake takes two round trips; ten seconds is a very bad line.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

macro_rules! millis {
    ($name:ident, $min:literal..=$max:literal, $default:literal, $help:literal) => {
        #[doc = $help]
        pub static $name: Var = Var::new(
            stringify!($name),
            Kind::Amount { unit: Unit::Millis, min: $min, max: $max },
            Fallback::Value($default),
            $help,
        );
    };
}

millis!(
    PING_INTERVAL_MS,
    100..=3_600_000,
    "25000",
    "How often a connection is pinged; below the 30 s many proxies close silent connections after."
);
millis!(
    PONG_TIMEOUT_MS,
    50..=3_600_000,
    "8000",
    "How long a pong may take before the connection is closed with 3012; less than \
     PING_INTERVAL_MS."
);
millis!(
    AUTH_TIMEOUT_MS,
    50..=600_000,
    "10000",
    "How long a new connection has to send a valid connect command before it is closed with 3502."
);
millis!(
    SHUTDOWN_GRACE_MS,
    0..=3_600_000,
    "30000",
    "How long a shutdown may take before the remaining connections are cut."
);
millis!(
    SHUTDOWN_SPREAD_MS,
    0..=3_600_000,
    "20000",
    "The time goodbyes are spread over, so that clients do not all return at once; at most \
     SHUTDOWN_GRACE_MS."
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "Timing",
    variables: &[
        &PING_INTERVAL_MS,
        &PONG_TIMEOUT_MS,
        &AUTH_TIMEOUT_MS,
        &SHUTDOWN_GRACE_MS,
        &SHUTDOWN_SPREAD_MS,
    ],
};

/// Intervals and timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings, `PING_INTERVAL_MS`.
    pub ping_interval: Duration,
    /// For a pong, `PONG_TIMEOUT_MS`.
    pub pong_timeout: Duration,
    /// For a valid connect command, `AUTH_TIMEOUT_MS`.
    pub auth_timeout: Duration,
    /// For the head of an HTTP request.
    pub header_timeout: Duration,
    /// For a TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// For a whole shutdown, `SHUTDOWN_GRACE_MS`.
    pub drain_grace: Duration,
    /// Goodbyes are spread over this, `SHUTDOWN_SPREAD_MS`.
    pub goodbye_spread: Duration,
}

impl Timing {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let timing = Self {
            ping_interval: reader.get(&PING_INTERVAL_MS),
            pong_timeout: reader.get(&PONG_TIMEOUT_MS),
            auth_timeout: reader.get(&AUTH_TIMEOUT_MS),
            header_timeout: HEADER_TIMEOUT,
            tls_handshake_timeout: TLS_HANDSHAKE_TIMEOUT,
            drain_grace: reader.get(&SHUTDOWN_GRACE_MS),
            goodbye_spread: reader.get(&SHUTDOWN_SPREAD_MS),
        };
        if timing.pong_timeout >= timing.ping_interval {
            let takes = "less than PING_INTERVAL_MS".to_owned();
            refuse(reader, &PONG_TIMEOUT_MS, timing.pong_timeout, takes);
        }
        if timing.goodbye_spread > timing.drain_grace {
            let takes = "at most SHUTDOWN_GRACE_MS".to_owned();
            refuse(reader, &SHUTDOWN_SPREAD_MS, timing.goodbye_spread, takes);
        }
        timing
    }
}

fn refuse(reader: &mut Reader<'_>, var: &Var, got: Duration, takes: String) {
    let got = var.shown(&got.as_millis().to_string());
    reader.refuse(var, Problem::Invalid { got, takes });
}
