//! The goodbye: everyone is told, evenly, and nobody is lost in the rush.
//!
//! Clients come back within half a second of their goodbye, so the goodbyes are spread: at most
//! [`PER_SECOND`] while that fits into the spread of the configuration, evenly over all of it
//! otherwise. Clients that asked for it are told at once when their turn comes. Sessions get
//! what they were owed before their goodbye; whoever is left at the end of the grace is cut.

use std::time::Duration;

use chassis::shutdown::Shutdown;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::Services;
use crate::config::Timing;
use crate::session::registry::Directive;

/// Goodbyes a second that another node takes in without noticing.
const PER_SECOND: u32 = 250;

/// Timers are a millisecond coarse: goodbyes that are due together go together.
const TURN: Duration = Duration::from_millis(10);

/// For what comes after the sessions: forcing those that are left, delivery, telemetry, runtime.
const TAIL: Duration = Duration::from_secs(2);

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Sessions that were told.
    pub told: usize,
    /// Tasks that had to be forced.
    pub forced: usize,
    /// How long it took.
    pub took: Duration,
}

pub(super) async fn say(
    timing: &Timing,
    services: &Services,
    shutdown: &Shutdown,
    told: &CancellationToken,
) -> Report {
    let start = Instant::now();
    let sessions = services.registry.all();
    let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
    let spread = timing.goodbye_spread.min(Duration::from_secs(1) * count / PER_SECOND);
    let due = |index: usize| {
        let share = index as f64 / f64::from(count.max(1));
        spread.mul_f64(share)
    };
    tracing::info!(sessions = count, ?spread, "going away");
    for (index, session) in sessions.iter().enumerate() {
        let after_ms = u64::try_from(due(index).as_millis()).unwrap_or(u64::MAX);
        tell(session, Directive::Announce { after_ms });
    }
    for (index, session) in sessions.iter().enumerate() {
        let at = start + due(index);
        if at > Instant::now() + TURN {
            tokio::time::sleep_until(at).await;
        }
        tell(session, Directive::Goodbye);
    }
    // Connections that were on their way in when the doors closed.
    let late = services.registry.all();
    for session in &late {
        tell(session, Directive::Goodbye);
    }
    told.cancel();
    let rest = timing.drain_grace.saturating_sub(start.elapsed() + TAIL);
    let drained = shutdown.drain(rest).await;
    Report { told: sessions.len(), forced: drained.forced, took: start.elapsed() }
}

fn tell(session: &crate::session::registry::Handle, directive: Directive) {
    // What ends a session always gets into its mailbox.
    if session.tell(directive).is_err() {
        tracing::debug!("a session could not be told");
    }
}
