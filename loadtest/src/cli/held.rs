//! Storm, soak and cluster: who meets and what is said there, and how such a run is carried out.

use std::time::Duration;

use anyhow::Result;

use super::count;
use super::load::ended;
use super::target::{TargetArguments, Usual};
use crate::check::options::StoreKind;
use crate::load::meter::Meter;
use crate::load::plan::Load;
use crate::load::report::screen::Screen;
use crate::load::report::{Output, Report};
use crate::load::scenario::gathering::{Gathering, Keep};
use crate::load::scenario::{Moment, Outcome};
use crate::load::target::{self, Machine, Target, WORKER_CONNECTIONS_MAX};

/// One server with PostgreSQL, unless something else is asked for.
pub(super) const ONE: Usual = Usual { nodes: 1, store: StoreKind::Postgres };

/// Six of them on one PostgreSQL and one Redis.
pub(super) const SIX: Usual = Usual { nodes: 6, store: StoreKind::Postgres };

/// Handshakes that a worker has under way: of six workers together 768, which the queue of a single
/// listener (4096) holds. Fewer make an entry into rooms slow, for servers ask their store for all
/// who come at a time with one query.
const AT_ONCE: usize = 128;

/// Load before the measuring window.
const WARM: Duration = Duration::from_secs(5);

/// Longest wait for what is still on its way when nothing is said any more.
const DRAIN: Duration = Duration::from_secs(30);

/// What these scenarios share; how many connections there are, and for how long, is each one's own.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Held {
    /// Connections in a room.
    #[arg(long, default_value_t = 100, value_parser = count(1, 100_000))]
    members: u64,
    /// Messages a second, over all rooms; each is delivered to all members of its room.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 200, value_parser = count(47, 8_000))]
    size: u64,
    /// Speak in channels that keep nothing, instead of rooms whose messages are stored first.
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    pub(super) target: TargetArguments,
    #[command(flatten)]
    output: Output,
}

impl Held {
    /// So many connections, who hear what is said for so long. The last room is full too.
    pub(super) fn gathering(&self, connections: u64, measure: Duration) -> Result<Gathering> {
        let (rooms, members) = (connections.div_ceil(self.members), self.members);
        Ok(Gathering {
            rooms: usize::try_from(rooms)?,
            members: usize::try_from(members)?,
            size: usize::try_from(self.size)?,
            keep: if self.ephemeral { Keep::Nothing } else { Keep::All },
            load: Load::Rate(self.rate),
            workers: usize::try_from((rooms * members).div_ceil(WORKER_CONNECTIONS_MAX))?,
            at_once: AT_ONCE,
            warm: WARM,
            measure,
            drain: DRAIN,
            ..Gathering::default()
        })
    }

    /// Looks whether the machine can hold it, starts what is measured, and lets `run` measure it;
    /// whether nothing was wrong. Where it could not be carried out, the servers' logs stay.
    pub(super) async fn measured(
        &self,
        title: &str,
        usual: Usual,
        gathering: &Gathering,
        run: impl AsyncFnOnce(
            &Target,
            &mut (dyn FnMut(&Moment) + Send),
        ) -> Result<(Outcome, Vec<String>)>,
    ) -> Result<bool> {
        let connections = gathering.rooms * gathering.members;
        let load = target::Load {
            connections: connections as u64,
            nodes: self.target.nodes(usual)? as u64,
            services: true,
            tls: self.target.tls(),
        };
        Machine::read()?.check(&load)?;
        let mut screen = Screen::new(title, connections, gathering.warm + gathering.measure);
        screen.step("what is measured starts");
        let target = self.target.target(usual).await?;
        let servers = target.processes().servers;
        screen.watch(Meter { servers, ..Meter::default() });
        let ran = run(&target, &mut |moment| screen.moment(moment)).await;
        drop(screen);
        match ran {
            Ok((outcome, mut faults)) => {
                faults.extend(target.complaints());
                ended(Report::new(vec![outcome], faults), &self.output)
            }
            Err(error) => Err(match target.keep() {
                Some(folder) => error.context(format!("logs are in {}", folder.display())),
                None => error,
            }),
        }
    }
}
