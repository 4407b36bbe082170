//! `loadtest compare`: beside whom, how often, how long.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tables and progress are for people"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{count, server};
use crate::load::peers::Peer;
use crate::load::report::Report;
use crate::load::scenario::compare::{Cell, Comparison, Options, Step, run};

/// How long a window and the load before it are, and how often all is measured: nine minutes, most
/// of them for thousands of connections that come and go.
const SECONDS: f64 = 2.0;
const WARM: Duration = Duration::from_millis(700);
const REPEATS: u64 = 3;

/// The same to see whether everything works: a minute and a half.
const SECONDS_QUICK: f64 = 1.0;

#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    /// The chat-server program [default: the one beside this one].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where ops/dev/peers.sh has put what comes from npm.
    #[arg(long, value_name = "PATH", default_value = ".local/peers")]
    home: PathBuf,
    /// Who else is measured; one that is not installed leaves a blank.
    #[arg(long, value_delimiter = ',', default_values = ["bun", "nats", "nchan", "ws"])]
    peers: Vec<Peer>,
    /// Columns of the table.
    #[arg(long, value_delimiter = ',', default_values = [
        "small-calm", "small-pressed", "large-calm", "large-pressed", "open-50k", "open-100k",
    ])]
    cells: Vec<Cell>,
    /// How often each is measured; medians are shown [default: 3].
    #[arg(long, value_parser = count(1, 100))]
    repeats: Option<u64>,
    /// How long each is measured [default: 2].
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 200, value_parser = count(60, 8_000))]
    size: u64,
    /// Processes that make the load.
    #[arg(long, default_value_t = 1, value_parser = count(1, 16))]
    workers: u64,
    /// Once, and for a second each.
    #[arg(long)]
    quick: bool,
    /// A file for the medians and what they are medians of, as JSON; beside it the tables in
    /// Markdown, and with `-runs` in their names a report of all measurements and its plots.
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

impl Compare {
    /// Compares; false when somebody lost a message or sent one twice.
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let options = self.options()?;
        let comparison = run(&options, progress).await?;
        println!("{}", comparison.markdown());
        let good = comparison.faults().is_empty();
        if let Some(path) = &self.report {
            keep(path, comparison)?;
        }
        Ok(good)
    }

    fn options(&self) -> Result<Options> {
        let (repeats, seconds) = if self.quick { (1, SECONDS_QUICK) } else { (REPEATS, SECONDS) };
        Ok(Options {
            server: server(self.server.as_deref())?,
            home: self.home.clone(),
            peers: self.peers.clone(),
            cells: self.cells.clone(),
            repeats: usize::try_from(self.repeats.unwrap_or(repeats))?,
            measure: Duration::from_secs_f64(self.seconds.unwrap_or(seconds)),
            warm: WARM,
            size: usize::try_from(self.size)?,
            workers: usize::try_from(self.workers)?,
        })
    }
}

/// A length between a tenth of a second and a minute.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let sound = (0.1..=60.0).contains(&seconds);
    sound.then_some(seconds).ok_or_else(|| "a window has 0.1 to 60 seconds".to_owned())
}

fn progress(step: Step<'_>) {
    let Step { done, of, name, cell, figures } = step;
    let title = cell.title();
    match figures {
        Ok(figures) => eprintln!(
            "{done}/{of} {name}, {title}: {:.2} us, {:.0}/s, P99 {:.2} ms, {} lost",
            figures.cpu_us, figures.per_second, figures.p99_ms, figures.lost
        ),
        Err(error) => eprintln!("{done}/{of} {name}, {title}: {error}"),
    }
}

/// Writes everything to files, and says which.
fn keep(path: &Path, comparison: Comparison) -> Result<()> {
    let base = path.with_extension("");
    let name = base.file_name().context("the report needs a name")?.to_string_lossy();
    if let Some(folder) = base.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let tables = [
        (base.with_file_name(format!("{name}.json")), serde_json::to_string_pretty(&comparison)?),
        (base.with_file_name(format!("{name}.md")), comparison.markdown()),
    ];
    for (path, text) in &tables {
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let runs = base.with_file_name(format!("{name}-runs"));
    let faults = comparison.faults();
    let report = Report::new(comparison.outcomes, faults);
    let files = report.keep(&runs)?;
    for path in tables.iter().map(|(path, _)| path).chain(&files) {
        eprintln!("{}", path.display());
    }
    Ok(())
}
