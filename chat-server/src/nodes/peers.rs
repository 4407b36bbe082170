//! The other nodes: who lives, what they say of themselves, and whether they agree with this one.
//!
//! Nodes that do not agree on a secret refuse each other's clients now and then, which nobody
//! finds by looking at one of them. So each says a fingerprint of every setting that must be the
//! same everywhere, and compares. A clock that is wrong makes tokens end early or late: each node
//! compares its own with that of Redis, which is the same for all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::hmac;
use chassis::ops::{Check, Status};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metrics::Metrics;

/// By how much a clock may differ from that of Redis, in milliseconds: tokens count in seconds.
const SKEW_MAX_MS: i64 = 2_000;

/// An answer of Redis that took longer says too little about the time.
const ROUND_TRIP_MAX_MS: u64 = 500;

/// Of nodes in one answer: what other deployments or hands put there costs no more than this.
const PEERS_MAX: usize = 1_000;

/// Who lives, as of one beat.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    alive: Vec<Peer>,
    /// Whose leases have run out; in the order of Redis.
    over: Vec<Uuid>,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The name under which it writes.
    pub incarnation: Uuid,
    /// What it says of itself; `None` when this version does not understand it.
    pub info: Option<Info>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The version of the program.
    pub version: String,
    /// When it began, by its own clock, in Unix milliseconds.
    pub started_ms: u64,
    /// What its clock says.
    pub clock_ms: u64,
    /// Connections it has.
    pub connections: usize,
    /// Fingerprints of its settings by the names of the variables.
    pub settings: BTreeMap<String, String>,
}

/// What this node says of itself, and what it finds when it compares; clones share it.
#[derive(Clone)]
pub struct About {
    shared: Arc<Shared>,
}

struct Shared {
    version: String,
    started_ms: u64,
    settings: Fingerprints,
    clock: fn() -> u64,
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    metrics: Arc<Metrics>,
    /// Held for a comparison, and while readiness is told.
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    differing: BTreeSet<String>,
    skew_ms: i64,
}

/// What is said of the settings that must be the same on all nodes.
#[derive(Debug, Clone, Default)]
pub struct Fingerprints(BTreeMap<String, String>);

impl Peers {
    /// From pairs of names and infos, and names. What is no name was put there by others.
    pub(super) fn read(alive: &[String], over: &[String]) -> Self {
        let name = |text: &String| Uuid::parse_str(text).ok();
        let alive = alive.chunks_exact(2).take(PEERS_MAX).filter_map(|pair| {
            let info = serde_json::from_str(&pair[1]).ok();
            Some(Peer { incarnation: name(&pair[0])?, info })
        });
        let over = over.iter().take(PEERS_MAX).filter_map(name).collect();
        Self { alive: alive.collect(), over }
    }

    /// Everyone who has a lease.
    #[must_use]
    pub fn alive(&self) -> &[Peer] {
        &self.alive
    }

    /// Whose lease has run out.
    #[must_use]
    pub fn over(&self) -> &[Uuid] {
        &self.over
    }
}

impl Fingerprints {
    /// Adds one setting. A secret is the key of what is told, not its content, and 32 bits of the
    /// result are: they tell whether two nodes have the same, and nothing about a key of good
    /// strength, for every one of 2^32 guesses fits as well as the right one. A word that can be
    /// guessed would be no secret here or elsewhere; `check` refuses those in production.
    #[must_use]
    pub fn with(mut self, variable: &str, value: Option<&[u8]>) -> Self {
        let told = value.map_or_else(String::new, |value| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, value);
            let tag = hmac::sign(&key, format!("veza node setting {variable}").as_bytes());
            tag.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
        });
        self.0.insert(variable.to_owned(), told);
        self
    }

    /// The names of those that another node has otherwise. What only one of them knows, because
    /// it is of another version, is not compared.
    fn differing<'a>(
        &'a self,
        others: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a str> {
        let differs = |(name, told): &(&String, &String)| {
            others.get(*name).is_some_and(|other| other != *told)
        };
        self.0.iter().filter(differs).map(|(name, _)| name.as_str())
    }
}

impl About {
    /// What a node of this version says, with fingerprints of its settings.
    pub fn new(
        version: &str,
        settings: Fingerprints,
        clock: fn() -> u64,
        connections: impl Fn() -> usize + Send + Sync + 'static,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = Shared {
            version: version.to_owned(),
            started_ms: clock(),
            settings,
            clock,
            connections: Box::new(connections),
            metrics,
            found: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Degraded while nodes disagree, or the clock of this one is wrong.
    #[must_use]
    pub fn health(&self) -> Check {
        let this = self.clone();
        Check::new("nodes", move || this.status())
    }

    fn status(&self) -> Status {
        let found = self.shared.found.lock();
        let mut reasons = Vec::new();
        if !found.differing.is_empty() {
            let names: Vec<_> = found.differing.iter().map(String::as_str).collect();
            reasons.push(format!("nodes disagree on {}", names.join(", ")));
        }
        if found.skew_ms.abs() > SKEW_MAX_MS {
            reasons.push(format!(
                "the clock of this node differs from that of Redis by {} ms",
                found.skew_ms
            ));
        }
        match reasons.is_empty() {
            true => Status::Ok,
            false => Status::Degraded(reasons.join("; ")),
        }
    }

    pub(super) fn clock(&self) -> u64 {
        (self.shared.clock)()
    }

    pub(super) fn info(&self, clock_ms: u64) -> String {
        let Shared { version, started_ms, settings, connections, .. } = &*self.shared;
        let info = Info {
            version: version.clone(),
            started_ms: *started_ms,
            clock_ms,
            connections: connections(),
            settings: settings.0.clone(),
        };
        serde_json::to_string(&info).expect("texts and numbers are JSON")
    }

    /// Compares this node's clock, read before and after, with that of Redis between.
    pub(super) fn clocks(&self, before_ms: u64, after_ms: u64, redis_ms: u64) {
        if after_ms.saturating_sub(before_ms) > ROUND_TRIP_MAX_MS {
            return;
        }
        let middle = before_ms.midpoint(after_ms);
        let skew_ms = i64::try_from(middle).unwrap_or(i64::MAX).saturating_sub_unsigned(redis_ms);
        self.shared.metrics.series.clock_skew_seconds.set(skew_ms as f64 / 1000.0);
        let mut found = self.shared.found.lock();
        let was_wrong = found.skew_ms.abs() > SKEW_MAX_MS;
        found.skew_ms = skew_ms;
        drop(found);
        match (was_wrong, skew_ms.abs() > SKEW_MAX_MS) {
            (false, true) => tracing::warn!(skew_ms, "the clock differs from that of Redis"),
            (true, false) => tracing::info!(skew_ms, "the clock agrees with that of Redis again"),
            _ => {}
        }
    }

    /// Compares what the others say of their settings with those of this node.
    pub(super) fn compare(&self, peers: &Peers) {
        let infos = peers.alive().iter().filter_map(|peer| peer.info.as_ref());
        let differing: BTreeSet<String> = infos
            .flat_map(|info| self.shared.settings.differing(&info.settings))
            .map(str::to_owned)
            .collect();
        let series = &self.shared.metrics.series;
        series.nodes_alive.set(peers.alive().len() as f64);
        series.nodes_disagree.set(differing.len() as f64);
        let mut found = self.shared.found.lock();
        let before = std::mem::replace(&mut found.differing, differing.clone());
        drop(found);
        for variable in differing.difference(&before) {
            tracing::warn!(variable, "another node has another value: clients meet both");
        }
    }

    /// Nobody is known to live but this node.
    pub(super) fn unheard(&self) {
        self.shared.metrics.series.nodes_alive.set(1.0);
    }
}

impl std::fmt::Debug for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("About").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(secret: &str) -> Fingerprints {
        let fingerprints = Fingerprints::default().with("JWT_SECRET", Some(secret.as_bytes()));
        fingerprints.with("ENCRYPTION_KEY", None)
    }

    #[test]
    fn a_fingerprint_tells_same_from_other_and_nothing_else() {
        let (one, same, other) = (settings("a secret"), settings("a secret"), settings("another"));
        assert_eq!(one.differing(&same.0).count(), 0);
        assert_eq!(one.differing(&other.0).collect::<Vec<_>>(), ["JWT_SECRET"]);
        assert_eq!((one.0["JWT_SECRET"].len(), one.0["ENCRYPTION_KEY"].len()), (8, 0));
        let set = settings("a secret").with("ENCRYPTION_KEY", Some(b"key"));
        assert_eq!(one.differing(&set.0).collect::<Vec<_>>(), ["ENCRYPTION_KEY"]);
    }

    #[test]
    fn what_a_node_of_another_version_does_not_say_is_not_compared() {
        let newer = settings("a secret").with("LATER", Some(b"x"));
        assert_eq!(newer.differing(&settings("a secret").0).count(), 0);
        assert_eq!(settings("a secret").differing(&newer.0).count(), 0);
    }

    #[test]
    fn what_no_node_has_written_is_passed_over() {
        let (ann, text) = (Uuid::new_v4().to_string(), str::to_owned);
        let alive = [ann.clone(), text("{\"version\":7}"), text("no name"), text("{}")];
        let peers = Peers::read(&alive, &[text("no name"), ann.clone()]);
        assert_eq!((peers.alive().len(), peers.over().len()), (1, 1));
        assert_eq!(peers.alive()[0].info, None);
        let peers = Peers::read(&[ann, text("{\"connections\":3,\"new\":1}")], &[]);
        assert_eq!(peers.alive()[0].info.as_ref().unwrap().connections, 3);
    }
}
