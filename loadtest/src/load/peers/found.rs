//! A peer that is there: which version, and by which programs it is started.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::running::{Running, Start};
use super::{Peer, bun, nats, nchan, ws};

/// A peer that can be started.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub peer: Peer,
    /// As it says itself.
    pub version: String,
    /// Its program or, for `ws`, where its package is.
    pub(super) program: String,
}

impl Peer {
    /// Finds it, or not. `home` is where `ops/dev/peers.sh` puts what comes from npm.
    ///
    /// It is found when it runs: a program for another processor is not there.
    #[must_use]
    pub fn find(self, home: &Path) -> Option<Found> {
        let (program, version) = match self {
            Self::Bun => bun::find(home),
            Self::Nats => nats::find(),
            Self::Nchan => nchan::find(),
            Self::Ws => ws::find(home),
        }?;
        Some(Found { peer: self, version, program })
    }
}

impl Found {
    /// What it is called in a table.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.peer.name(), self.version)
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not start or does not answer.
    pub async fn start(&self) -> Result<Running> {
        let folder = tempfile::Builder::new().prefix("veza-peer-").tempdir()?;
        let start = self.recipe(&folder).with_context(|| self.label())?;
        Running::start(start, folder).await.with_context(|| self.label())
    }

    fn recipe(&self, folder: &TempDir) -> Result<Start> {
        match self.peer {
            Peer::Bun => bun::start(&self.program, folder.path()),
            Peer::Nats => nats::start(&self.program, folder.path()),
            Peer::Nchan => nchan::start(&self.program, folder.path()),
            Peer::Ws => ws::start(&self.program, folder.path()),
        }
    }
}

/// What a program says of itself, on either stream; `None` where it does not run.
pub(super) fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    // Absent, or not for this machine: either way not there.
    let output = output.ok().filter(|output| output.status.success())?;
    let bytes = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The last word of that, which is where programs put their version.
pub(super) fn version(program: &str, argument: &str) -> Option<String> {
    let said = said(program, &[argument])?;
    let word = said.split(|sign: char| sign.is_whitespace() || sign == '/').next_back()?;
    Some(word.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_run_is_not_there() {
        assert_eq!(said("/nonexistent/program", &[]), None);
        assert_eq!(said("false", &[]), None);
        assert_eq!(
            said("echo", &["nginx version: nginx/1.2"]).as_deref(),
            Some("nginx version: nginx/1.2")
        );
        assert_eq!(version("echo", "nats-server: v2.9.10").as_deref(), Some("2.9.10"));
        assert_eq!(version("echo", "nginx version: nginx/1.22.1").as_deref(), Some("1.22.1"));
    }

    #[test]
    fn without_its_package_nothing_from_npm_is_found() {
        let empty = tempfile::tempdir().unwrap();
        assert!(Peer::Bun.find(empty.path()).is_none());
        assert!(Peer::Ws.find(empty.path()).is_none());
    }
}
