//! `rest`: what the server's HTTP doors take, and for how much of a core.
//!
//! ```text
//! http      HTTP/1.1 from the client's side, sans IO
//! session   one client: a stream that flows down, requests one after the other, what it asked for
//! drive     all clients in one thread, at a rate
//! ```
//!
//! Each client opens an HTTP stream and sends its commands to `/emulation` over a connection that
//! stays open, as a client behind a network without WebSocket does. Six of ten requests publish in
//! the client's own channel, which keeps a history; three read the last publications of it, one
//! asks who is there. A request counts from when it was due. It is answered twice: by 204 once the
//! server has taken it, and down the stream with what came of it. Both times are reported, and the
//! second one is what the target is held against, for only then was anything done.

mod drive;
mod http;
mod session;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use chassis::auth::{NewToken, mint};
use tokio::sync::mpsc;

use self::drive::{Drive, Driven};
use super::{Asked, Moment, Outcome, Used};
use crate::load::meter::{Meter, Reading, Usage};
use crate::load::target::{RECOVERABLE, Target};

/// The most clients: two open files each, of 20,000.
const CLIENTS_MAX: usize = 5_000;

/// The most requests of a run.
const REQUESTS_MAX: f64 = 10_000_000.0;

/// Moments that may wait to be shown.
const MOMENTS_MAX: usize = 8;

/// Tokens outlive every run.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Where requests go, and how.
#[derive(Debug, Clone)]
struct Site {
    address: SocketAddr,
    /// The name it goes by.
    host: String,
    /// What signs tokens; without it clients are anonymous.
    secret: Option<String>,
    /// In the names of channels: no two runs share one.
    run: u32,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Clients.
    pub clients: usize,
    /// Requests a second, over all of them in turn.
    pub rate: f64,
    /// Bytes of a publication.
    pub size: usize,
    /// Before the measuring window.
    pub warm: Duration,
    /// The measuring window.
    pub measure: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clients: 500,
            rate: 10_000.0,
            size: 200,
            warm: Duration::from_secs(2),
            measure: Duration::from_secs(20),
        }
    }
}

impl Options {
    /// Refuses what cannot be, or would not end.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<()> {
        let clients = self.clients;
        ensure!((1..=CLIENTS_MAX).contains(&clients), "1 to {CLIENTS_MAX} clients, not {clients}");
        ensure!(self.rate.is_finite() && self.rate > 0.0, "a rate is above 0");
        let requests = self.rate * (self.warm + self.measure).as_secs_f64();
        ensure!(requests <= REQUESTS_MAX, "{requests} requests: at most {REQUESTS_MAX} a run");
        ensure!((1..=8_000).contains(&self.size), "a publication has 1 to 8000 bytes");
        Ok(())
    }
}

impl Site {
    fn of(target: &Target) -> Result<Self> {
        ensure!(target.trust.is_none(), "requests go over plain TCP: no --tls and no wss://");
        let [address] = target.doors[..] else { bail!("requests go to one server") };
        let (host, secret) = (address.to_string(), target.secret.clone());
        Ok(Self { address, host, secret, run: rand::random() })
    }

    /// The channel of a client.
    fn channel(&self, client: usize) -> String {
        format!("{RECOVERABLE}:rest-{:08x}-{client}", self.run)
    }

    /// A token for a client, or none.
    fn token(&self, client: usize) -> Option<String> {
        let secret = self.secret.as_ref()?.clone().into();
        let user = format!("rest-{client}").parse().expect("letters and digits are a user's id");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (issued_at, ttl) = (now.as_secs(), Some(TOKEN_LIFE));
        Some(mint(&secret, &NewToken { user: Some(user), issued_at, ttl, ..NewToken::default() }))
    }
}

/// Measures a target, and tells `tell` about once a second how it stands.
///
/// # Errors
/// When clients cannot come in, or the server goes away.
pub async fn run(
    target: &Target,
    options: Options,
    tell: &mut (dyn FnMut(&Moment) + Send),
) -> Result<Outcome> {
    options.check()?;
    let (site, processes) = (Site::of(target)?, target.processes());
    let workers = vec![std::process::id()];
    let meter = Meter { servers: processes.servers, services: processes.services, workers };
    let (say, mut moments) = mpsc::channel(MOMENTS_MAX);
    // The loop waits for sockets and for nothing else: it has a thread of its own.
    let driving = tokio::task::spawn_blocking(move || {
        let before = meter.read()?;
        // Whoever shows moments may miss some: they are in the outcome as well.
        let mut watch = |moment: &Moment| drop(say.try_send(moment.clone()));
        let driven = Drive::new(&site, options)?.run(&meter, &mut watch)?;
        anyhow::Ok(outcome(&options, &before, driven))
    });
    while let Some(moment) = moments.recv().await {
        tell(&moment);
    }
    driving.await.context("the load broke off")?
}

/// The figures as those of every scenario: a request is what is sent, a reply what is delivered.
fn outcome(options: &Options, before: &Reading, driven: Driven) -> Outcome {
    let Driven { ledger, moments, idle, from, to, began_at } = driven;
    let spent = to.since(&from);
    let used = |of: fn(&Reading) -> &Usage, cpu: Duration| Used {
        // One process each: a server, this program, and PostgreSQL if there is one.
        processes: usize::from(of(&to).threads > 0),
        cpu_seconds: cpu.as_secs_f64(),
        rss_before: of(before).resident_bytes,
        rss_idle: of(&idle).resident_bytes,
        rss_after: of(&to).resident_bytes,
        threads: of(&to).threads,
        files: of(&to).files,
    };
    let server = used(|reading| &reading.servers, spent.servers);
    let workers = used(|reading| &reading.workers, spent.workers);
    let services = used(|reading| &reading.services, spent.services);
    let window_seconds = spent.wall.as_secs_f64();
    let mut outcome = Outcome {
        scenario: "rest".to_owned(),
        target: "chat-server".to_owned(),
        asked: Asked {
            servers: 1,
            workers: 1,
            rooms: options.clients,
            members: 1,
            size: options.size,
            rate: Some(options.rate),
            measure: options.measure,
            ..Asked::default()
        },
        tally: ledger.tally,
        server,
        workers,
        services,
        taken_by_others: spent.taken_by_others(),
        tcp_bytes_idle: idle.host.tcp_bytes,
        moments,
        began_at,
        window_seconds,
        ..Outcome::default()
    };
    let requests = outcome.tally.window.sent as f64;
    outcome.figures.extend([
        ("requests_per_second".to_owned(), requests / window_seconds.max(f64::MIN_POSITIVE)),
        ("publications_pushed_count".to_owned(), ledger.pushed as f64),
    ]);
    if requests > 0.0 {
        let micros = spent.servers.as_secs_f64() * 1e6 / requests;
        outcome.figures.insert("server_cpu_per_request_us".to_owned(), micros);
    }
    let note = "a message is an HTTP request here, acknowledged by 204 and delivered by its reply \
                down the stream: 6 of 10 publish, 3 read history, 1 asks for presence";
    outcome.notes.push(note.to_owned());
    outcome
}

#[cfg(test)]
mod tests;
