//! What is measured: the arguments that all scenarios share.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{count, server, variables};
use crate::check::options::{RedisKind, StoreKind};
use crate::load::target::{Consent, Door, Named, Target, Wanted};

/// What is measured: servers started for it, or the one that `--url` names.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What is measured")]
pub(super) struct TargetArguments {
    /// The chat-server program [default: the one beside this one].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Servers to start [default: 6 for cluster, else 1].
    #[arg(long, value_parser = count(1, 16))]
    nodes: Option<u64>,
    /// Where the servers keep rooms [default: postgres].
    #[arg(long, value_enum)]
    store: Option<StoreKind>,
    /// What they hear each other over [default: none for one server, else single].
    #[arg(long, value_enum)]
    redis: Option<RedisKind>,
    /// Have clients come over TLS 1.3.
    #[arg(long)]
    tls: bool,
    /// A variable of the servers' environment, as NAME=VALUE. May be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// What the servers log, as `RUST_LOG`.
    #[arg(long, default_value = "warn")]
    log: String,
    /// A server that runs already, as ws://HOST:PORT or wss://HOST:PORT, on this machine.
    #[arg(long, value_name = "URL",
          conflicts_with_all = ["server", "nodes", "store", "redis", "tls", "variables"])]
    url: Option<String>,
    /// Let --url name another machine. Whoever measures a server that is not theirs attacks it.
    #[arg(long, requires = "url")]
    i_own_this_target: bool,
    /// For wss://: the certificates of whom to trust, in PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// The `JWT_SECRET` of that server, in a file.
    #[arg(long, value_name = "FILE", requires = "url")]
    secret_file: Option<PathBuf>,
    /// Its processes, if they run on this machine: their CPU time and memory are reported.
    #[arg(long, value_name = "PID,..", value_delimiter = ',', requires = "url")]
    pids: Vec<u32>,
}

/// What a scenario is measured on unless something else is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    /// Servers.
    pub(super) nodes: usize,
    /// Where they keep rooms.
    pub(super) store: StoreKind,
}

impl TargetArguments {
    /// How many servers there will be.
    pub(super) fn nodes(&self, usual: Usual) -> Result<usize> {
        match (&self.url, self.nodes) {
            (Some(_), _) => Ok(1),
            (None, Some(nodes)) => Ok(usize::try_from(nodes)?),
            (None, None) => Ok(usual.nodes),
        }
    }

    /// Whether clients come over TLS.
    pub(super) fn tls(&self) -> bool {
        self.tls || self.url.as_ref().is_some_and(|url| url.starts_with("wss:"))
    }

    /// Sets a variable of the servers unless it is given by whoever runs this.
    pub(super) fn set_first(&mut self, name: &str, value: &str) {
        self.variables.insert(0, format!("{name}={value}"));
    }

    /// Starts it, or looks it up.
    pub(super) async fn target(&self, usual: Usual) -> Result<Target> {
        match &self.url {
            Some(url) => Target::find(&self.named(url)?).await,
            None => Target::start(&self.wanted(usual)?).await,
        }
    }

    fn named(&self, url: &str) -> Result<Named> {
        let own = self.i_own_this_target;
        let secret = self.secret_file.as_ref().map(|file| {
            let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()));
            text.map(|text| text.trim_end().to_owned())
        });
        Ok(Named {
            url: url.to_owned(),
            consent: if own { Consent::OwnsTarget } else { Consent::Loopback },
            authority: self.ca.clone(),
            secret: secret.transpose()?,
            servers: self.pids.clone(),
        })
    }

    fn wanted(&self, usual: Usual) -> Result<Wanted> {
        let nodes = self.nodes(usual)?;
        let bus = if nodes > 1 { RedisKind::Single } else { RedisKind::None };
        Ok(Wanted {
            server: server(self.server.as_deref())?,
            nodes,
            store: self.store.unwrap_or(usual.store),
            bus: self.redis.unwrap_or(bus),
            door: if self.tls { Door::Tls } else { Door::Plain },
            log: self.log.clone(),
            variables: variables(&self.variables)?,
        })
    }
}
