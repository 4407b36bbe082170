//! What is measured on a chat-server: `connect`, `fanout`, `saturate`.
//!
//! Each says who meets where and what is said there; what it is measured on and where the report
//! goes is the same for all.

#![expect(clippy::print_stdout, reason = "the report is what the program is for")]

use std::time::Duration;

use anyhow::Result;

use super::count;
use super::target::{TargetArguments, Usual};
use crate::check::options::StoreKind;
use crate::load::meter::Meter;
use crate::load::plan::Load;
use crate::load::report::screen::Screen;
use crate::load::report::{Output, Report};
use crate::load::scenario::connect::Connect as ConnectScenario;
use crate::load::scenario::fanout::Fanout as FanoutScenario;
use crate::load::scenario::gathering::{Gathering, Keep};
use crate::load::scenario::saturate::Saturate as SaturateScenario;
use crate::load::scenario::{Moment, Outcome};
use crate::load::target::Target;

/// What rooms need a store for; without them a file does, and nothing is written to it.
const STORED: Usual = Usual { nodes: 1, store: StoreKind::Postgres };
const UNSTORED: Usual = Usual { nodes: 1, store: StoreKind::Sqlite };

/// What all of them share.
#[derive(Debug, clap::Args)]
struct Course {
    #[command(flatten)]
    target: TargetArguments,
    /// Worker processes, of 19,000 connections at most each.
    #[arg(long, default_value_t = 2, value_parser = count(1, 64))]
    workers: u64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10, value_parser = count(1, 3_600))]
    seconds: u64,
    #[command(flatten)]
    output: Output,
}

/// What is said, besides how often.
#[derive(Debug, clap::Args)]
struct Talk {
    /// Rooms.
    #[arg(long, default_value_t = 100, value_parser = count(1, 1_000_000))]
    rooms: u64,
    /// Connections in each.
    #[arg(long, default_value_t = 100, value_parser = count(1, 1_000_000))]
    members: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 200, value_parser = count(47, 8_000))]
    size: u64,
    /// Rooms whose messages are stored before they are acknowledged, instead of channels that keep
    /// nothing.
    #[arg(long)]
    durable: bool,
    /// Seconds of load before the measured ones.
    #[arg(long, default_value_t = 2, value_parser = count(0, 600))]
    warm: u64,
}

/// Connections that come in and are idle: handshakes a second, memory and CPU of each.
#[derive(Debug, clap::Args)]
pub(super) struct Connect {
    #[command(flatten)]
    course: Course,
    /// Connections in all.
    #[arg(long, default_value_t = 10_000, value_parser = count(1, 1_000_000))]
    connections: u64,
    /// Handshakes that a worker has under way at a time.
    #[arg(long, default_value_t = 256, value_parser = count(1, 4_096))]
    at_once: u64,
}

/// Rooms in which somebody speaks at a fixed rate: the open load.
#[derive(Debug, clap::Args)]
pub(super) struct Fanout {
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    talk: Talk,
    /// Messages a second over all rooms; each is delivered to everybody in its room.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
}

/// As much as goes: a fixed number of messages is always under way.
#[derive(Debug, clap::Args)]
pub(super) struct Saturate {
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    talk: Talk,
    /// Messages under way in each room [default: 1].
    #[arg(long, value_name = "COUNT", value_parser = count(1, 1_000), conflicts_with = "in_all")]
    per_room: Option<u64>,
    /// Messages under way over all rooms, in turn.
    #[arg(long, value_name = "COUNT", value_parser = count(1, 100_000))]
    in_all: Option<u64>,
}

impl Course {
    fn gathering(&self, talk: &Talk, load: Load) -> Result<Gathering> {
        Ok(Gathering {
            rooms: usize::try_from(talk.rooms)?,
            members: usize::try_from(talk.members)?,
            size: usize::try_from(talk.size)?,
            keep: if talk.durable { Keep::All } else { Keep::Nothing },
            load,
            workers: usize::try_from(self.workers)?,
            warm: Duration::from_secs(talk.warm),
            measure: Duration::from_secs(self.seconds),
            ..Gathering::default()
        })
    }

    /// Starts what is measured and lets `run` measure it; whether nothing was wrong.
    async fn measured(
        &self,
        title: &str,
        usual: Usual,
        gathering: &Gathering,
        run: impl AsyncFnOnce(&Target, &mut (dyn FnMut(&Moment) + Send)) -> Result<Outcome>,
    ) -> Result<bool> {
        let connections = gathering.rooms * gathering.members;
        let mut screen = Screen::new(title, connections, gathering.warm + gathering.measure);
        screen.step("what is measured starts");
        let target = self.target.target(usual).await?;
        let servers = target.processes().servers;
        screen.watch(Meter { servers, ..Meter::default() });
        let measured = run(&target, &mut |moment| screen.moment(moment)).await;
        drop(screen);
        ended(Report::new(vec![measured?], target.complaints()), &self.output)
    }
}

impl Connect {
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        // Rooms of a hundred, the last one full as well: who is idle costs the same in any room.
        let members = self.connections.min(100);
        let talk = Talk {
            rooms: self.connections.div_ceil(members),
            members,
            size: 200,
            durable: false,
            warm: 0,
        };
        let gathering = self.course.gathering(&talk, Load::Nothing)?;
        let gathering = Gathering { at_once: usize::try_from(self.at_once)?, ..gathering };
        let scenario = ConnectScenario { gathering };
        let run = async |target: &Target, tell: &mut (dyn FnMut(&Moment) + Send)| {
            scenario.run(target, tell).await
        };
        Box::pin(self.course.measured("connect", UNSTORED, &gathering, run)).await
    }
}

impl Fanout {
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let gathering = self.course.gathering(&self.talk, Load::Rate(self.rate))?;
        let scenario = FanoutScenario { gathering };
        let run = async |target: &Target, tell: &mut (dyn FnMut(&Moment) + Send)| {
            scenario.run(target, tell).await
        };
        Box::pin(self.course.measured("fanout", self.talk.usual(), &gathering, run)).await
    }
}

impl Saturate {
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let load = match (self.per_room, self.in_all) {
            (_, Some(all)) => Load::Turns(u32::try_from(all)?),
            (each, None) => Load::Window(u32::try_from(each.unwrap_or(1))?),
        };
        let gathering = self.course.gathering(&self.talk, load)?;
        let scenario = SaturateScenario { gathering };
        let run = async |target: &Target, tell: &mut (dyn FnMut(&Moment) + Send)| {
            scenario.run(target, tell).await
        };
        Box::pin(self.course.measured("saturate", self.talk.usual(), &gathering, run)).await
    }
}

impl Talk {
    const fn usual(&self) -> Usual {
        if self.durable { STORED } else { UNSTORED }
    }
}

/// Tells what came out and keeps it where it was asked to be kept; whether nothing was wrong.
pub(super) fn ended(report: Report, output: &Output) -> Result<bool> {
    print!("{}", report.to_text());
    if let Some(path) = &output.report {
        for file in report.keep(path)? {
            println!("{}", file.display());
        }
    }
    Ok(report.is_good())
}
