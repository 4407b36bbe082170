//! What is measured: servers that are started for it, or one that somebody names.
//!
//! ```text
//! own        servers of ours with their store, bus and certificate, on loopback
//! named      a server that is there already; on this machine, or said to be one's own
//! ask        what a server tells of itself: readiness, figures
//! rooms      made before anything is measured
//! capacity   whether the machine can hold what is asked, found out before anything starts
//! ```
//!
//! A [`Target`] says where clients connect, whom they trust, what signs their tokens, and which
//! processes are to be watched. Addresses are looked up once: what was found to be loopback is what
//! is connected to. Own servers end with the value.

mod ask;
mod capacity;
mod named;
mod own;
mod rooms;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

pub use self::ask::Figure;
pub use self::capacity::{Load, Machine, WORKER_CONNECTIONS_MAX};
pub use self::named::{Consent, Named};
use self::own::Own;
pub use self::own::{Door, Wanted};
use crate::process::Process;

/// The path of the WebSocket of a chat-server.
pub const PATH: &str = "/connection/websocket";

/// A namespace of plain channels that keep nothing: a publication is heard or it is gone.
pub const EPHEMERAL: &str = "live";

/// A namespace of plain channels with a short history, positions and presence.
pub const RECOVERABLE: &str = "kept";

/// Whom clients trust, over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The name in the servers' certificate.
    pub name: String,
    /// A file of certificates in PEM, one of which has to stand behind it.
    pub file: PathBuf,
    /// What is in there.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// What is measured.
#[derive(Debug)]
pub struct Target {
    /// Where clients connect, one for each server.
    pub doors: Vec<SocketAddr>,
    /// Whom they trust; none over plain TCP.
    pub trust: Option<Trust>,
    /// What signs tokens, if clients have some.
    pub secret: Option<String>,
    servers: Vec<u32>,
    own: Option<Own>,
}

/// Where the figures of a run are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// The servers.
    pub servers: Vec<u32>,
    /// What they keep things in and hear each other over, each with the processes it starts.
    pub services: Vec<u32>,
}

impl Target {
    /// Starts servers, and waits until they are ready.
    ///
    /// # Errors
    /// When one does not start; it says where the logs are.
    pub async fn start(wanted: &Wanted) -> Result<Self> {
        let own = Own::start(wanted).await?;
        Ok(Self {
            doors: own.nodes().map(Process::address).collect(),
            trust: own.trust(),
            secret: Some(own::SECRET.to_owned()),
            servers: Vec::new(),
            own: Some(own),
        })
    }

    /// Looks up a server that runs already.
    ///
    /// # Errors
    /// When the URL is none, leads nowhere, or leads to somebody else.
    pub async fn find(named: &Named) -> Result<Self> {
        let found = named.find().await?;
        Ok(Self {
            doors: vec![found.door],
            trust: found.trust,
            secret: named.secret.clone(),
            servers: named.servers.clone(),
            own: None,
        })
    }

    /// Whom to watch: at this moment, for a server that was started again is another process.
    #[must_use]
    pub fn processes(&self) -> Processes {
        match &self.own {
            Some(own) => own.processes(),
            None => Processes { servers: self.servers.clone(), services: Vec::new() },
        }
    }

    /// The servers that were started here.
    pub fn nodes(&self) -> impl Iterator<Item = &Process> {
        self.own.iter().flat_map(Own::nodes)
    }

    /// A figure of all servers together, as `/metrics` tells it; none for a server that is only
    /// named, whose figures are elsewhere.
    ///
    /// # Errors
    /// When a server does not tell.
    pub async fn figure(&self, name: &str) -> Result<Option<Figure>> {
        match &self.own {
            Some(own) => own.figure(name).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes a public room for each of these users, who may speak there; gives their channels.
    ///
    /// # Errors
    /// When there is nothing to sign a token with, or the server does not make them.
    pub async fn make_rooms(&self, speakers: impl Iterator<Item = String>) -> Result<Vec<String>> {
        let secret = self.secret.as_deref().context("rooms need a secret that signs tokens")?;
        let door = *self.doors.first().context("there is no server")?;
        rooms::make(door, self.trust.as_ref(), secret, speakers).await
    }

    /// Waits until a server that was started again is ready.
    ///
    /// # Errors
    /// When it is not in time, or was not started here.
    pub async fn until_ready(&self, node: usize) -> Result<()> {
        self.own.as_ref().context("the server was not started here")?.until_ready(node).await
    }

    /// What the servers complained of so loudly that no figure of theirs counts.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.nodes().flat_map(Process::complaints).collect()
    }

    /// Ends own servers and leaves their logs where they are.
    #[must_use]
    pub fn keep(self) -> Option<PathBuf> {
        self.own.map(Own::keep)
    }
}

impl Trust {
    /// Reads a file of certificates.
    fn read(name: String, file: &Path) -> Result<Self> {
        let shown = file.display();
        let pem = fs::read(file).with_context(|| format!("{shown}"))?;
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates =
            certificates.map_err(|error| anyhow!("{shown} is no file of certificates: {error}"))?;
        ensure!(!certificates.is_empty(), "{shown} holds no certificate");
        Ok(Self { name, file: file.to_owned(), certificates })
    }
}
