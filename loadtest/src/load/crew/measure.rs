//! The whole course of a measurement, with what processes used in its window.
//!
//! Memory is read before anybody comes and once everyone is there and idle; the processor exactly
//! at both ends of the window. A run in which connections did not come in goes on, and the outcome
//! says so: whoever judges it finds that in the faults of its tally.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Crew, Hire, until};
use crate::load::clock::nanos;
use crate::load::dialect::{Speech, veza};
use crate::load::meter::{Meter, Reading, Usage};
use crate::load::plan::{Load, Plan};
use crate::load::scenario::{Asked, Moment, Outcome, Used};

/// How long everyone is idle before a load, so that what the entry left to do is done.
const SETTLE: Duration = Duration::from_secs(1);

/// A measurement that is about to be made.
#[derive(Debug)]
pub struct Measurement {
    /// What is done.
    pub plan: Plan,
    /// How workers are started.
    pub hire: Hire,
    /// The processes of the target.
    pub servers: Vec<u32>,
    /// Its stores and buses.
    pub services: Vec<u32>,
    /// How long everyone is idle before the load.
    pub settle: Duration,
}

/// Makes a measurement of a server with these processes, and tells nobody how it goes.
///
/// # Errors
/// As for [`Measurement::make`].
pub async fn measure(plan: Plan, servers: Vec<u32>) -> Result<Outcome> {
    Measurement::new(plan, servers, Vec::new())?.make(&mut |_| {}).await
}

/// What was read in the course of a measurement.
struct Readings {
    before: Reading,
    idle: Reading,
    from: Reading,
    to: Reading,
}

impl Measurement {
    /// One that is made with processes of this program.
    ///
    /// # Errors
    /// When nobody knows where that is.
    pub fn new(plan: Plan, servers: Vec<u32>, services: Vec<u32>) -> Result<Self> {
        Ok(Self { plan, hire: Hire::own()?, servers, services, settle: SETTLE })
    }

    /// Makes it, and tells `tell` about once a second how it stands.
    ///
    /// # Errors
    /// When a worker or a server is gone, or something takes too long. Losses are none: they are
    /// in the outcome.
    pub async fn make(self, tell: &mut (dyn FnMut(&Moment) + Send)) -> Result<Outcome> {
        let mut outcome = Outcome { asked: asked(&self.plan), ..Outcome::default() };
        outcome.asked.servers = self.servers.len();
        let meter = |workers| Meter {
            servers: self.servers.clone(),
            services: self.services.clone(),
            workers,
        };
        let before = meter(Vec::new()).read()?;
        let begun = Instant::now();
        let mut crew = Crew::hire(&self.hire, self.plan.clone()).await?;
        let connections = crew.ready(tell).await?;
        let took = begun.elapsed();
        ensure!(connections.entered > 0, "no connection was made: {}", why(crew).await);
        crew.rest(self.settle).await?;
        let meter = meter(crew.processes());
        let idle = meter.read()?;
        let at = crew.begin().await?;
        outcome.began_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let window = at + nanos(self.plan.warm);
        let edges = async {
            until(window).await;
            let from = meter.read()?;
            until(window + nanos(self.plan.measure)).await;
            Ok::<_, anyhow::Error>((from, meter.read()?))
        };
        let (moments, (from, to)) = tokio::try_join!(crew.play(tell), edges)?;
        outcome.moments = moments;
        outcome.tally = crew.finish().await?;
        let seconds = took.as_secs_f64();
        let rate = connections.entered as f64 / seconds;
        outcome.figures.insert("entry_seconds".to_owned(), seconds);
        outcome.figures.insert("handshakes_per_second".to_owned(), rate);
        Readings { before, idle, from, to }.tell(&mut outcome, &self);
        Ok(outcome)
    }
}

impl Readings {
    fn tell(&self, outcome: &mut Outcome, of: &Measurement) {
        let spent = self.to.since(&self.from);
        outcome.window_seconds = spent.wall.as_secs_f64();
        let used = |processes: usize, of: fn(&Reading) -> &Usage| Used {
            processes,
            cpu_seconds: of(&self.to).cpu.saturating_sub(of(&self.from).cpu).as_secs_f64(),
            rss_before: of(&self.before).resident_bytes,
            rss_idle: of(&self.idle).resident_bytes,
            rss_after: of(&self.to).resident_bytes,
            threads: of(&self.idle).threads,
            files: of(&self.idle).files,
        };
        outcome.server = used(of.servers.len(), |reading| &reading.servers);
        outcome.workers = used(of.plan.workers, |reading| &reading.workers);
        outcome.services = used(of.services.len(), |reading| &reading.services);
        outcome.taken_by_others = spent.taken_by_others();
        let tcp_bytes = |reading: &Reading| reading.host.tcp_bytes;
        outcome.tcp_bytes_idle = tcp_bytes(&self.idle).saturating_sub(tcp_bytes(&self.before));
        let entry = self.idle.servers.cpu.saturating_sub(self.before.servers.cpu).as_secs_f64();
        let each = entry / (outcome.tally.connections.entered as f64).max(1.0);
        outcome.figures.insert("server_cpu_per_handshake_us".to_owned(), each * 1e6);
        let own = spent.cores(spent.workers) / of.plan.workers as f64;
        outcome.figures.insert("worker_busy_ratio".to_owned(), own);
    }
}

/// What workers complained of that have nobody to begin with.
async fn why(crew: Crew) -> String {
    let tally = crew.finish().await.unwrap_or_default();
    tally.complaints.into_keys().next().unwrap_or_default()
}

fn asked(plan: &Plan) -> Asked {
    let (rate, window) = match plan.load {
        Load::Nothing => (None, None),
        Load::Rate(rate) => (Some(rate), None),
        Load::Window(size) => (None, Some(format!("{size} a room"))),
        Load::Turns(size) => (None, Some(format!("{size} in all"))),
    };
    let durable = match &plan.speech {
        Speech::Veza(settings) => settings.kind == veza::Kind::Room,
        _ => false,
    };
    Asked {
        servers: plan.doors.len(),
        workers: plan.workers,
        rooms: plan.channels.len(),
        members: plan.members,
        size: plan.size,
        rate,
        window,
        durable,
        tls: plan.tls.is_some(),
        measure: plan.measure,
    }
}
