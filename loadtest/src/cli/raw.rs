//! `loadtest raw`: the floor as a process, so that it is measured as servers are. Hidden, as nobody
//! but the load tester starts it.

use std::process::ExitCode;

use super::ended;
use crate::load::peers::raw;

#[derive(Debug, clap::Args)]
pub(super) struct Raw {
    /// Where it listens, on loopback.
    port: u16,
    /// Frames that it writes with a call.
    frames: u32,
}

impl Raw {
    /// Serves until standard input ends. It needs no runtime: it is one loop.
    pub(super) fn run(&self) -> ExitCode {
        ended(raw::serve(self.port, self.frames, &std::io::stdin()).map(|()| true))
    }
}
