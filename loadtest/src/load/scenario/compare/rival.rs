//! The contestants: our server with everything on, the floor, and whoever else is there.
//!
//! All of them run from the start of a repeat to its end, as servers do: what a program compiles
//! while it runs, it has compiled when it matters. While one is measured, the others have nobody and
//! nothing to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::cell::Shape;
use super::table::FLOOR;
use crate::check::options::{RedisKind, StoreKind};
use crate::load::dialect::{Speech, veza};
use crate::load::peers::{Found, Running, raw};
use crate::load::target::{Door, EPHEMERAL, Target, Wanted};

/// Who takes part.
#[derive(Debug, Clone)]
pub(super) enum Entrant {
    /// Our server, by its program.
    Ours(PathBuf),
    /// The raw loop, writing so many frames with a call as a column says.
    Floor,
    /// Somebody else's.
    Peer(Found),
}

/// One that runs.
#[derive(Debug)]
pub(super) enum Rival {
    Ours(Box<Target>),
    Floor(Vec<(u32, Running)>),
    Peer(Running),
}

/// Where and how one is spoken to for a run.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) door: SocketAddr,
    pub(super) speech: Speech,
    pub(super) channels: Vec<String>,
    pub(super) pids: Vec<u32>,
}

impl Entrant {
    /// What it is called in a table.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Ours(_) => "chat-server".to_owned(),
            Self::Floor => FLOOR.to_owned(),
            Self::Peer(found) => found.label(),
        }
    }

    /// Starts it.
    pub(super) async fn start(&self, shapes: &[Shape]) -> Result<Rival> {
        match self {
            Self::Ours(server) => {
                let wanted = Wanted {
                    server: server.clone(),
                    nodes: 1,
                    // Plain channels are not stored: what is there for rooms has nothing to do.
                    store: StoreKind::Sqlite,
                    bus: RedisKind::None,
                    door: Door::Plain,
                    log: "warn".to_owned(),
                    variables: Vec::new(),
                };
                Ok(Rival::Ours(Box::new(Target::start(&wanted).await?)))
            }
            Self::Floor => {
                let mut floors: Vec<(u32, Running)> = Vec::new();
                for shape in shapes {
                    if !floors.iter().any(|(frames, _)| *frames == shape.frames) {
                        floors.push((shape.frames, raw::start(shape.frames).await?));
                    }
                }
                Ok(Rival::Floor(floors))
            }
            Self::Peer(found) => found.start().await.map(Rival::Peer),
        }
    }
}

impl Rival {
    /// Where and how it is spoken to in the run with this number.
    pub(super) fn place(&self, shape: &Shape, run: u32) -> Result<Place> {
        let rooms = |prefix: &str| (0..shape.rooms).map(|room| format!("{prefix}{room}")).collect();
        // Each run has rooms of its own: no server still tells of the one before.
        let own = format!("r{run}-");
        let of = |running: &Running| {
            Ok(Place {
                door: running.address,
                speech: running.speech.clone(),
                channels: rooms(&own),
                pids: running.pids()?,
            })
        };
        match self {
            Self::Ours(target) => {
                let secret = target.secret.clone().context("own servers have a secret")?;
                Ok(Place {
                    door: *target.doors.first().context("a server has a door")?,
                    speech: Speech::Veza(veza::Settings { secret, kind: veza::Kind::Plain, run }),
                    channels: rooms(&format!("{EPHEMERAL}:{own}")),
                    pids: target.processes().servers,
                })
            }
            Self::Floor(floors) => {
                let floor = floors.iter().find(|(frames, _)| *frames == shape.frames);
                of(&floor.context("there is a floor for every column")?.1)
            }
            Self::Peer(running) => of(running),
        }
    }
}
