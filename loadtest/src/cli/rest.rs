//! `loadtest rest`: what goes over HTTP.

use std::time::Duration;

use anyhow::Result;

use super::count;
use super::target::{TargetArguments, Usual};
use crate::check::options::StoreKind;
use crate::load::meter::Meter;
use crate::load::report::Output;
use crate::load::report::screen::Screen;
use crate::load::scenario::rest::{self, Options};

/// Plain channels are not stored.
const USUAL: Usual = Usual { nodes: 1, store: StoreKind::Sqlite };

#[derive(Debug, clap::Args)]
pub(super) struct Rest {
    #[command(flatten)]
    target: TargetArguments,
    /// Clients, each with a stream and a connection for its requests.
    #[arg(long, default_value_t = 500, value_parser = count(1, 5_000))]
    clients: u64,
    /// Requests a second, over all of them in turn.
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// Bytes of a publication.
    #[arg(long, default_value_t = 200, value_parser = count(10, 8_000))]
    size: u64,
    /// Seconds of load before the measured ones.
    #[arg(long, default_value_t = 2, value_parser = count(0, 600))]
    warm: u64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 20, value_parser = count(1, 600))]
    seconds: u64,
    #[command(flatten)]
    output: Output,
}

impl Rest {
    /// Whether every request was answered.
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let options = Options {
            clients: usize::try_from(self.clients)?,
            rate: self.rate,
            size: usize::try_from(self.size)?,
            warm: Duration::from_secs(self.warm),
            measure: Duration::from_secs(self.seconds),
        };
        options.check()?;
        let mut screen = Screen::new("rest", options.clients, options.warm + options.measure);
        screen.step("the server starts");
        let target = self.target.target(USUAL).await?;
        let servers = target.processes().servers;
        screen.watch(Meter { servers, ..Meter::default() });
        let ran = rest::run(&target, options, &mut |moment| screen.moment(moment)).await;
        drop(screen);
        self.output.tell(vec![ran?], target.complaints())
    }
}
