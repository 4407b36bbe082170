//! What a run is told as, for people, for documents and for programs.
//!
//! ```text
//! screen     while it runs: a bar on a terminal, plain lines elsewhere
//! summary    the figures of an outcome that are told, wherever it is
//! turns      outcomes in order: what was asked, of whom, and each turn
//! words      numbers as people read them
//! text       the table at the end of a run
//! markdown   the same for documents
//! json       everything, for programs and for the verdict
//! plot       what figures look like
//! drawn      which plots a report has
//! ```
//!
//! A report holds what it was measured on and the command that measures it again, for a figure
//! without them means nothing. All but [`screen`] are pure; only [`Report::keep`] writes files.

mod drawn;
mod json;
mod markdown;
pub mod plot;
pub mod screen;
pub mod summary;
mod text;
mod turns;
pub mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::meter::Machine;
use super::scenario::{Asked, Outcome};

/// Of the JSON: the next one when something in it means something else than before.
pub const FORMAT: u32 = 1;

/// How the names of figures of single minutes begin: the number follows, then the figure.
const MINUTE: &str = "minute_";

/// What came out of one run of the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The line that repeats it.
    pub command: String,
    /// What it was measured on.
    pub machine: Machine,
    /// Of each target and turn, in the order of measuring.
    pub outcomes: Vec<Outcome>,
    /// What a scenario found wrong besides losses and the like: sentences.
    pub faults: Vec<String>,
}

/// Where a report goes besides the terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Output {
    /// A file for the report as JSON; a table in Markdown and plots in SVG are put beside it.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
}

impl Report {
    /// What this run of the program measured, on this machine.
    #[must_use]
    pub fn new(outcomes: Vec<Outcome>, faults: Vec<String>) -> Self {
        Self { command: command(std::env::args()), machine: Machine::read(), outcomes, faults }
    }

    /// Whether nothing was lost, doubled, out of order or refused, or else wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let clean = |outcome: &Outcome| outcome.tally.faults().is_empty();
        self.faults.is_empty() && self.outcomes.iter().all(clean)
    }

    /// Writes everything: `base.json`, `base.md` and `base-<plot>.svg`. Gives what was written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep(&self, base: &Path) -> Result<Vec<PathBuf>> {
        let base = base.with_extension("");
        let name = base.file_name().context("the report needs a name")?.to_string_lossy();
        let beside = |ending: &str| base.with_file_name(format!("{name}{ending}"));
        let plots = self.plots();
        let linked = plots.iter().map(|(plot, _)| format!("{name}-{plot}.svg"));
        let mut files = vec![
            (beside(".json"), self.to_json()?),
            (beside(".md"), self.to_markdown(&linked.collect::<Vec<_>>())),
        ];
        files.extend(plots.into_iter().map(|(plot, svg)| (beside(&format!("-{plot}.svg")), svg)));
        if let Some(folder) = base.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        for (path, text) in &files {
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }
}

impl Output {
    /// Tells what was measured on stdout, keeps it where that was asked for, and says whether all
    /// was good. `faults` is what the scenario found wrong besides losses and the like.
    ///
    /// # Errors
    /// When a file cannot be written.
    #[expect(clippy::print_stdout, reason = "the report is what a run is made for")]
    pub fn tell(&self, outcomes: Vec<Outcome>, faults: Vec<String>) -> Result<bool> {
        let report = Report::new(outcomes, faults);
        println!("{}", report.to_text());
        if let Some(path) = &self.report {
            for file in report.keep(path)? {
                println!("  {}", file.display());
            }
        }
        Ok(report.is_good())
    }
}

/// What was asked, as a line.
fn asked(outcome: &Outcome) -> String {
    let Asked { rooms, members, size, rate, window, durable, tls, .. } = &outcome.asked;
    let mut parts = Vec::new();
    if *members > 0 {
        let (rooms, members) = (words::count(*rooms as u64), words::count(*members as u64));
        parts.push(match outcome.asked.members {
            1 => format!("{rooms} clients"),
            _ => format!("{rooms} rooms of {members}"),
        });
    }
    match (rate, window) {
        (Some(rate), _) => parts.push(format!("{} messages/s", words::number(*rate))),
        (None, Some(window)) => parts.push(format!("{window} under way")),
        (None, None) => {}
    }
    if *size > 0 && (rate.is_some() || window.is_some()) {
        parts.push(format!("{size} bytes each"));
        parts.push(if *durable { "durable" } else { "ephemeral" }.to_owned());
    }
    parts.push(if *tls { "TLS" } else { "plain TCP" }.to_owned());
    parts.push(format!("{:.0} s", outcome.window_seconds));
    parts.join(", ")
}

/// The figures of a scenario that are told to people; those of single minutes are in plots.
fn told(outcome: &Outcome) -> impl Iterator<Item = (&str, f64)> {
    let all = outcome.figures.iter().map(|(name, value)| (name.as_str(), *value));
    all.filter(|(name, _)| !name.starts_with(MINUTE))
}

/// A command as it is typed.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let quoted = arguments.enumerate().map(|(place, argument)| {
        let argument = match place {
            0 => Path::new(&argument)
                .file_name()
                .map_or(argument.clone(), |name| name.to_string_lossy().into_owned()),
            _ => argument,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
        match !argument.is_empty() && argument.chars().all(plain) {
            true => argument,
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
