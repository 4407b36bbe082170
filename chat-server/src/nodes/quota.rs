//! A rate that all nodes enforce together: so many requests of one client, whichever node they
//! come to.
//!
//! The bucket of this node is asked first and bites alone, so with Redis away each node still
//! holds its own limit, and all of them together at most as many times the quota as there are
//! nodes. Then Redis is asked, briefly. When it does not answer, or refuses to write, the local
//! bucket has decided; it is left alone for a moment then, so that a Redis that is slow costs one
//! request in a while that moment, not every one. Whom Redis has turned away is turned away here
//! until the time it said, without asking again: hammering spends nothing anywhere.
//!
//! Addresses leave this process as a keyed hash only.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use chassis::rate_limit::{Keyed, Quota, RetryAfter};
use chassis::redis::Script;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::Nodes;

/// How long a request waits for Redis: fifty times what an answer takes.
const ASK_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a Redis that did not answer, or could not write, is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Clients of which it is remembered that they were turned away, 32 bytes each. Of others Redis is
/// asked again.
const REFUSED_MAX: usize = 16 * 1024;

/// Between two looks for those whose time is over, when there are that many: one takes less than a
/// millisecond, and nobody else is turned away meanwhile.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a hash in a key: two clients do not share one by chance.
const HASH_BYTES: usize = 16;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("quota.lua")));

/// Requests of each client, over all nodes.
#[derive(Debug)]
pub struct ClientRate {
    local: Keyed<IpAddr>,
    shared: Option<Shared>,
}

/// The part that all nodes have together.
#[derive(Debug)]
struct Shared {
    nodes: Arc<Nodes>,
    quota: Quota,
    secret: hmac::Key,
    state: Mutex<State>,
}

/// Held for one look at a time.
#[derive(Debug, Default)]
struct State {
    /// Redis is not asked before.
    paused_until: Option<Instant>,
    /// Who was turned away, until when.
    refused: HashMap<IpAddr, Instant>,
    /// When it was last looked through.
    swept: Option<Instant>,
}

impl ClientRate {
    /// The limit of a node alone.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { local: Keyed::new(quota), shared: None }
    }

    /// A limit that all nodes have together which know the same secret.
    #[must_use]
    pub fn shared(quota: Quota, nodes: Arc<Nodes>, secret: &[u8]) -> Self {
        // Its own key, for the secret has other uses.
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&root, b"veza client addresses");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        let shared = Shared { nodes, quota, secret, state: Mutex::default() };
        Self { local: Keyed::new(quota), shared: Some(shared) }
    }

    /// One more request of a client.
    ///
    /// # Errors
    /// In what time one passes, if nothing else is spent.
    pub async fn check(&self, client: IpAddr) -> Result<(), RetryAfter> {
        let Some(shared) = &self.shared else { return self.local.check(&client) };
        shared.remembered(client)?;
        self.local.check(&client)?;
        shared.check(client).await
    }
}

impl Shared {
    /// Redis has turned the client away a moment ago.
    fn remembered(&self, client: IpAddr) -> Result<(), RetryAfter> {
        let now = Instant::now();
        let until = self.state.lock().refused.get(&client).copied();
        match until.map(|until| until.saturating_duration_since(now)) {
            Some(wait) if !wait.is_zero() => Err(RetryAfter(wait)),
            _ => Ok(()),
        }
    }

    async fn check(&self, client: IpAddr) -> Result<(), RetryAfter> {
        let paused = self.state.lock().paused_until.is_some_and(|until| until > Instant::now());
        if paused || !self.nodes.has_lease() {
            return Ok(());
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let interval = self.quota.interval();
        let tolerance = interval * (self.quota.burst().get() - 1);
        let mut script = SCRIPT.prepare_invoke();
        script.key(self.key(client)).arg(micros(interval)).arg(micros(tolerance));
        let answer = timeout(ASK_TIMEOUT, self.nodes.redis().invoke::<u64>(&script)).await;
        match answer {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(wait)) => {
                let wait = Duration::from_micros(wait);
                self.remember(client, wait);
                Err(RetryAfter(wait))
            }
            // Late, gone, full or read-only: it cannot count now.
            Ok(Err(_)) | Err(_) => {
                tracing::debug!("requests are counted by this node alone for a moment");
                self.state.lock().paused_until = Some(Instant::now() + PAUSE);
                Ok(())
            }
        }
    }

    fn remember(&self, client: IpAddr, wait: Duration) {
        self.state.lock().remember(client, wait, Instant::now());
    }

    fn key(&self, client: IpAddr) -> String {
        let address = match client {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let hash = hmac::sign(&self.secret, &address.octets());
        let hash = hash.as_ref().iter().take(HASH_BYTES);
        let hash: String = hash.map(|byte| format!("{byte:02x}")).collect();
        format!("{}:q:{hash}", self.nodes.prefix())
    }
}

impl State {
    fn remember(&mut self, client: IpAddr, wait: Duration, now: Instant) {
        let is_full = self.refused.len() >= REFUSED_MAX;
        if is_full && self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_INTERVAL) {
            self.swept = Some(now);
            self.refused.retain(|_, until| *until > now);
        }
        if self.refused.len() < REFUSED_MAX || self.refused.contains_key(&client) {
            self.refused.insert(client, now + wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn those_turned_away_are_bounded_and_looked_through_once_in_a_while() {
        let (mut state, start) = (State::default(), Instant::now());
        let client =
            |number: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()));
        let wait = Duration::from_millis(100);
        (0..REFUSED_MAX).for_each(|number| state.remember(client(number), wait, start));
        // All are turned away still: one look finds nobody to forget.
        state.remember(client(REFUSED_MAX), wait, start);
        assert_eq!((state.refused.len(), state.swept), (REFUSED_MAX, Some(start)));
        // Their time is over, but it was looked a moment ago.
        let soon = start + wait * 2;
        state.remember(client(REFUSED_MAX), wait, soon);
        assert_eq!((state.refused.len(), state.swept), (REFUSED_MAX, Some(start)));
        state.remember(client(7), wait, soon);
        assert_eq!(state.refused[&client(7)], soon + wait, "whoever is known is kept up to date");
        let later = start + SWEEP_INTERVAL;
        state.remember(client(REFUSED_MAX), wait, later);
        assert_eq!((state.refused.len(), state.swept), (1, Some(later)));
    }
}
