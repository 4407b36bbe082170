//! The clock of a session: one timer for the nearest of four deadlines.
//!
//! The first ping comes after a random part of the interval, so that the pings of many clients
//! that came at once spread; afterwards they keep the beat whatever else is sent, for clients take
//! a missing ping for a dead server.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, Sleep};

use crate::command::unix_millis;
use crate::config::Timing;

/// Clients ask for a new token when the old one ends; this is the time they have.
pub(super) const EXPIRY_GRACE: Duration = Duration::from_secs(25);

/// What the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The client did not say who it is.
    Authentication,
    /// Time to ask whether it is there.
    Ping,
    /// It did not answer.
    Pong,
    /// A token or a permission may be over.
    Expiry,
}

#[derive(Debug)]
pub(super) struct Deadlines {
    timer: Pin<Box<Sleep>>,
    authentication: Option<Instant>,
    ping: Instant,
    pong: Option<Instant>,
    expiry: Option<Instant>,
}

impl Deadlines {
    pub(super) fn new(timing: &Timing, now: Instant) -> Self {
        let first_ping = timing.ping_interval.mul_f64(rand::rng().random_range(0.5..1.0));
        let authentication = now + timing.auth_timeout;
        Self {
            timer: Box::pin(tokio::time::sleep_until(authentication)),
            authentication: Some(authentication),
            ping: now + first_ping,
            pong: None,
            expiry: None,
        }
    }

    pub(super) fn authenticated(&mut self) {
        self.authentication = None;
        self.rearm();
    }

    pub(super) fn ponged(&mut self) {
        // The timer may fire for nothing once; that is cheaper than moving it for each pong.
        self.pong = None;
    }

    /// The token and the permissions hold until then, and for the grace behind it, of which some
    /// may be over: clocks differ, so a token is taken for a while after its end.
    pub(super) fn expire_at(&mut self, unix: Option<u64>) {
        self.expiry = unix.map(|unix| {
            let end = Duration::from_secs(unix).saturating_add(EXPIRY_GRACE);
            let left = end.saturating_sub(Duration::from_millis(unix_millis()));
            // A token that is good for a century must not overflow the clock.
            Instant::now() + left.min(Duration::from_secs(365 * 24 * 3600))
        });
        self.rearm();
    }

    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>, timing: &Timing) -> Poll<Due> {
        loop {
            let Poll::Ready(()) = self.timer.as_mut().poll(cx) else { return Poll::Pending };
            let due = self.due(Instant::now(), timing);
            self.rearm();
            if let Some(due) = due {
                return Poll::Ready(due);
            }
        }
    }

    fn due(&mut self, now: Instant, timing: &Timing) -> Option<Due> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.authentication) {
            self.authentication = None;
            return Some(Due::Authentication);
        }
        if passed(self.pong) {
            self.pong = None;
            return Some(Due::Pong);
        }
        if passed(self.expiry) {
            self.expiry = None;
            return Some(Due::Expiry);
        }
        if self.ping > now {
            return None;
        }
        self.ping = now + timing.ping_interval;
        // Before authentication there is nobody to ask.
        (self.authentication.is_none()).then(|| {
            self.pong = Some(now + timing.pong_timeout);
            Due::Ping
        })
    }

    fn rearm(&mut self) {
        let rest = [self.authentication, self.pong, self.expiry];
        let nearest = rest.into_iter().flatten().min().map_or(self.ping, |at| at.min(self.ping));
        self.timer.as_mut().reset(nearest);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::command::unix_seconds;

    fn timing() -> Timing {
        Timing {
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            auth_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(10),
            drain_grace: Duration::from_secs(30),
            goodbye_spread: Duration::from_secs(20),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_stale_after_ten_seconds() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&timing(), start);
        let due = poll_fn(|cx| deadlines.poll_due(cx, &timing())).await;
        assert_eq!((due, start.elapsed().as_secs()), (Due::Authentication, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_keep_the_beat_and_a_missing_pong_is_noticed() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&timing(), start);
        deadlines.authenticated();
        assert_eq!(poll_fn(|cx| deadlines.poll_due(cx, &timing())).await, Due::Ping);
        let first = Instant::now();
        assert!((12..=25).contains(&(first - start).as_secs()));
        deadlines.ponged();
        assert_eq!(poll_fn(|cx| deadlines.poll_due(cx, &timing())).await, Due::Ping);
        assert_eq!((Instant::now() - first).as_secs(), 25);
        assert_eq!(poll_fn(|cx| deadlines.poll_due(cx, &timing())).await, Due::Pong);
        assert_eq!((Instant::now() - first).as_secs(), 33);
    }

    #[tokio::test(start_paused = true)]
    async fn expiry_comes_after_its_grace() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(&timing(), start);
        deadlines.authenticated();
        deadlines.expire_at(Some(unix_seconds()));
        let mut due = poll_fn(|cx| deadlines.poll_due(cx, &timing())).await;
        if due == Due::Ping {
            deadlines.ponged();
            due = poll_fn(|cx| deadlines.poll_due(cx, &timing())).await;
        }
        assert_eq!(due, Due::Expiry);
        assert!((24..=25).contains(&start.elapsed().as_secs()));
    }
}
