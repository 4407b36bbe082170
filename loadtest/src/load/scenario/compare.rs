//! The same fan-out by our server, by the raw loop and by servers of others, in one run.
//!
//! ```text
//! cell    the columns: what everyone is asked to do
//! rival   the contestants, and how each is spoken to
//! table   what came out: medians, blanks for who is absent
//! ```
//!
//! A repeat starts everyone anew and goes through the columns; in each, one contestant after the
//! other is measured, so that whatever else happens on the machine happens to all of them. Who
//! begins changes with every repeat. A contestant that fails has a blank and a note; only ours has
//! to be there.

mod cell;
mod rival;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

pub use self::cell::{Cell, Shape};
use self::rival::{Entrant, Rival};
pub use self::table::{Comparison, Figures, Row};
use crate::load::crew::Measurement;
use crate::load::peers::Peer;
use crate::load::plan::{Entry, Plan};
use crate::load::scenario::Outcome;

/// Longest wait for what is still under way when a window has closed: the slowest of all servers
/// is behind by less than a second at these loads.
const DRAIN: Duration = Duration::from_secs(5);

/// How long everyone is idle before a load: memory is not looked at here, and what an entry left to
/// do is done in the load before the window.
const SETTLE: Duration = Duration::from_millis(100);

/// What is compared.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program of our server.
    pub server: PathBuf,
    /// Where `ops/dev/peers.sh` puts what comes from npm.
    pub home: PathBuf,
    /// Who else.
    pub peers: Vec<Peer>,
    /// The columns.
    pub cells: Vec<Cell>,
    /// How often each is measured.
    pub repeats: usize,
    /// The window of each measurement.
    pub measure: Duration,
    /// Load before the window.
    pub warm: Duration,
    /// Bytes of a message.
    pub size: usize,
    /// Processes that make the load.
    pub workers: usize,
}

/// One measurement is over.
#[derive(Debug)]
pub struct Step<'a> {
    /// So many are,
    pub done: usize,
    /// of so many.
    pub of: usize,
    /// Whose it was.
    pub name: &'a str,
    /// Which column.
    pub cell: Cell,
    /// What came out, or why nothing did.
    pub figures: Result<Figures, String>,
}

/// The course of a comparison.
struct Course<'a> {
    options: &'a Options,
    entrants: Vec<Entrant>,
    comparison: Comparison,
    run: u32,
}

/// Compares, and calls `tell` after each measurement.
///
/// # Errors
/// When our own server or the floor does not start.
pub async fn run(options: &Options, mut tell: impl FnMut(Step<'_>)) -> Result<Comparison> {
    let mut course = Course::new(options);
    for repeat in 0..options.repeats {
        course.repeat(repeat, &mut tell).await?;
    }
    Ok(course.comparison)
}

impl<'a> Course<'a> {
    fn new(options: &'a Options) -> Self {
        let mut entrants = vec![Entrant::Ours(options.server.clone()), Entrant::Floor];
        let mut rows: Vec<Row> =
            entrants.iter().map(|entrant| Row::blank(entrant.name())).collect();
        let mut absent = Vec::new();
        for peer in &options.peers {
            if let Some(found) = peer.find(&options.home) {
                rows.push(Row::blank(found.label()));
                entrants.push(Entrant::Peer(found));
            } else {
                absent.push(Row::blank(peer.name().to_owned()));
            }
        }
        let note = |row: &Row| format!("{} is not there: ops/dev/peers.sh installs it", row.name);
        let notes = absent.iter().map(note).collect();
        rows.extend(absent);
        let (repeats, seconds) = (options.repeats, options.measure.as_secs_f64());
        let outcomes = Vec::new();
        let comparison = Comparison { repeats, seconds, rows, notes, outcomes };
        Self { options, entrants, comparison, run: 0 }
    }

    async fn repeat(&mut self, repeat: usize, tell: &mut impl FnMut(Step<'_>)) -> Result<()> {
        let rivals = self.start().await?;
        for cell in &self.options.cells {
            let first = self.comparison.outcomes.len();
            for at in 0..rivals.len() {
                let row = (at + repeat) % rivals.len();
                if let Some(rival) = &rivals[row] {
                    self.measure(*cell, row, rival, tell).await;
                }
            }
            self.comparison.tell_floor(first);
        }
        Ok(())
    }

    /// Starts everyone; `None` for a peer that does not start.
    async fn start(&mut self) -> Result<Vec<Option<Rival>>> {
        let shapes: Vec<Shape> = self.options.cells.iter().map(|cell| cell.shape()).collect();
        let mut rivals = Vec::new();
        for entrant in &self.entrants {
            rivals.push(match (entrant, entrant.start(&shapes).await) {
                (_, Ok(rival)) => Some(rival),
                (Entrant::Peer(_), Err(error)) => {
                    self.comparison.notes.push(format!("{error:#}"));
                    None
                }
                (_, Err(error)) => return Err(error.context(entrant.name())),
            });
        }
        Ok(rivals)
    }

    async fn measure(
        &mut self,
        cell: Cell,
        row: usize,
        rival: &Rival,
        tell: &mut impl FnMut(Step<'_>),
    ) {
        self.run += 1;
        let measured = self.one(cell, rival).await.map_err(|error| format!("{error:#}"));
        let Comparison { rows, notes, repeats, outcomes, .. } = &mut self.comparison;
        let row = &mut rows[row];
        let figures = match measured {
            Ok(mut outcome) => {
                let figures = Figures::of(&outcome);
                row.add(cell, figures);
                "compare".clone_into(&mut outcome.scenario);
                outcome.target.clone_from(&row.name);
                // It had others before, and has their memory: what these added cannot be told.
                outcome.server.rss_before = outcome.server.rss_idle;
                outcomes.push(outcome);
                Ok(figures)
            }
            Err(error) => {
                notes.push(format!("{}, {}: {error}", row.name, cell.title()));
                Err(error)
            }
        };
        let of = *repeats * self.options.cells.len() * self.entrants.len();
        tell(Step { done: self.run as usize, of, name: &row.name, cell, figures });
    }

    async fn one(&self, cell: Cell, rival: &Rival) -> Result<Outcome> {
        let shape = cell.shape();
        let place = rival.place(&shape, self.run)?;
        let Options { measure, warm, size, workers, .. } = *self.options;
        let plan = Plan {
            doors: vec![place.door],
            speech: place.speech,
            tls: None,
            channels: place.channels,
            members: shape.members,
            size,
            workers,
            entry: Entry::default(),
            load: shape.load,
            warm,
            measure,
            drain: DRAIN,
            storm: None,
        };
        let mut measurement = Measurement::new(plan, place.pids, Vec::new())?;
        measurement.settle = SETTLE;
        measurement.make(&mut |_| {}).await
    }
}
