//! What came out of a comparison: for each contestant and column the medians of the repeats.
//!
//! A contestant that is absent has a row of blanks, and so has a column in which one failed: no
//! figure here is from another run.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::cell::Cell;
use crate::load::scenario::Outcome;

/// The row in whose units costs are told.
pub(super) const FLOOR: &str = "raw send";

/// What a second has of milliseconds, and of microseconds.
const MILLIS: f64 = 1e3;
const MICROS: f64 = 1e6;

/// Everything that came out.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Comparison {
    /// How often each was measured.
    pub repeats: usize,
    /// The measuring window of each.
    pub seconds: f64,
    /// The contestants, ours first.
    pub rows: Vec<Row>,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// Everything that was measured, in its order. It is kept as a report, apart from this.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
}

/// One contestant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name and version.
    pub name: String,
    /// What it did in each column.
    pub cells: Vec<(Cell, Vec<Figures>)>,
}

/// What one did in one run of a column.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// The server's CPU time for a delivery.
    pub cpu_us: f64,
    /// Deliveries a second.
    pub per_second: f64,
    /// Deliveries that one read of a client gave: how far messages were written together.
    pub per_read: f64,
    /// Half of all deliveries came within this of when they were due.
    pub p50_ms: f64,
    /// 99 of 100 came within this.
    pub p99_ms: f64,
    /// Deliveries that never came.
    pub lost: f64,
    /// Deliveries that came twice or in a wrong order.
    pub wrong: f64,
}

impl Figures {
    /// The figures of one run.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let (tally, window) = (&outcome.tally, &outcome.tally.window);
        Self {
            cpu_us: outcome.cpu_per_delivery() * MICROS,
            per_second: outcome.deliveries_per_second(),
            per_read: window.delivered as f64 / window.reads.max(1) as f64,
            p50_ms: tally.latency.at(0.5).as_secs_f64() * MILLIS,
            p99_ms: tally.latency.at(0.99).as_secs_f64() * MILLIS,
            lost: tally.lost() as f64,
            wrong: (tally.received.doubled + tally.received.swapped) as f64,
        }
    }

    /// The median of each figure; of losses and wrongs the sum, for one is one too many.
    #[must_use]
    pub fn median(repeats: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| {
            let mut all: Vec<f64> = repeats.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            let (low, high) = (all.get(all.len().checked_sub(1)? / 2)?, all.get(all.len() / 2)?);
            Some(f64::midpoint(*low, *high))
        };
        Some(Self {
            cpu_us: of(|figures| figures.cpu_us)?,
            per_second: of(|figures| figures.per_second)?,
            per_read: of(|figures| figures.per_read)?,
            p50_ms: of(|figures| figures.p50_ms)?,
            p99_ms: of(|figures| figures.p99_ms)?,
            lost: repeats.iter().map(|figures| figures.lost).sum(),
            wrong: repeats.iter().map(|figures| figures.wrong).sum(),
        })
    }
}

impl Comparison {
    /// The medians of one contestant in one column, if it was measured there.
    #[must_use]
    pub fn median(&self, row: &str, cell: Cell) -> Option<Figures> {
        let row = self.rows.iter().find(|candidate| candidate.name.starts_with(row))?;
        row.median(cell)
    }

    /// Deliveries that were lost, doubled or out of order, by anybody in any run.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for row in &self.rows {
            for (cell, repeats) in &row.cells {
                let Some(all) = Figures::median(repeats) else { continue };
                if all.lost + all.wrong > 0.0 {
                    let (name, title) = (&row.name, cell.title());
                    let Figures { lost, wrong, .. } = all;
                    faults
                        .push(format!("{name}, {title}: {lost} lost, {wrong} doubled or swapped"));
                }
            }
        }
        faults
    }

    /// Tells the outcomes from `first` on, which are one column of one repeat, what the floor cost
    /// there.
    pub(super) fn tell_floor(&mut self, first: usize) {
        let column = self.outcomes.get_mut(first..).unwrap_or_default();
        let floor = column.iter().find(|outcome| outcome.target == FLOOR);
        let floor = floor.map(Outcome::cpu_per_delivery);
        column.iter_mut().for_each(|outcome| outcome.floor = floor);
    }

    /// As Markdown: a table of costs and speeds, and one of delays.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let costs = Cell::ALL.into_iter().filter(|cell| !cell.is_open());
        writeln!(out, "CPU per delivery in us (deliveries per second, of them per read):\n")?;
        self.grid(out, costs.collect(), |figures, floor| {
            let Figures { cpu_us, per_second, per_read, .. } = figures;
            let (rate, ratio) = (rate(*per_second), cpu_us / floor);
            format!("{cpu_us:.2} = {ratio:.2} raw ({rate}, {per_read:.1})")
        })?;
        writeln!(out, "\nDelay from when a message was due, P50 / P99 in ms (CPU in us):\n")?;
        let delays = Cell::ALL.into_iter().filter(|cell| cell.is_open());
        self.grid(out, delays.collect(), |figures, floor| {
            let Figures { p50_ms, p99_ms, cpu_us, .. } = figures;
            format!("{p50_ms:.2} / {p99_ms:.2} ({cpu_us:.2} = {:.2} raw)", cpu_us / floor)
        })?;
        let (repeats, seconds) = (self.repeats, self.seconds);
        writeln!(out, "\nMedians of {repeats} interleaved runs of {seconds} s each.")?;
        for line in self.faults().iter().chain(&self.notes) {
            writeln!(out, "- {line}")?;
        }
        Ok(())
    }

    fn grid(
        &self,
        out: &mut String,
        cells: Vec<Cell>,
        show: impl Fn(&Figures, f64) -> String,
    ) -> fmt::Result {
        let floor = |cell| self.median(FLOOR, cell).map_or(f64::NAN, |figures| figures.cpu_us);
        let titles: Vec<&str> = cells.iter().map(|cell| cell.title()).collect();
        writeln!(out, "| server | {} |", titles.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(cells.len()))?;
        for row in &self.rows {
            let shown = cells.iter().map(|cell| {
                let figures = row.median(*cell);
                figures.map(|figures| show(&figures, floor(*cell))).unwrap_or_default()
            });
            let shown: Vec<String> = shown.collect();
            writeln!(out, "| {} | {} |", row.name, shown.join(" | "))?;
        }
        Ok(())
    }
}

impl Row {
    /// One that has not been measured yet.
    #[must_use]
    pub fn blank(name: String) -> Self {
        Self { name, cells: Cell::ALL.into_iter().map(|cell| (cell, Vec::new())).collect() }
    }

    /// Adds what it did in a run.
    pub fn add(&mut self, cell: Cell, figures: Figures) {
        let known = self.cells.iter_mut().filter(|(known, _)| *known == cell);
        known.for_each(|(_, repeats)| repeats.push(figures));
    }

    fn median(&self, cell: Cell) -> Option<Figures> {
        let (_, repeats) = self.cells.iter().find(|(known, _)| *known == cell)?;
        Figures::median(repeats)
    }
}

/// A number of deliveries a second, as people say it.
fn rate(value: f64) -> String {
    if value >= 1e6 { format!("{:.2}M", value / 1e6) } else { format!("{:.0}k", value / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu_us: f64, lost: f64) -> Figures {
        Figures { cpu_us, lost, per_second: cpu_us * 1e6, ..Figures::default() }
    }

    fn comparison() -> Comparison {
        let (mut ours, absent) = (Row::blank("chat-server".into()), Row::blank("Bun".into()));
        let mut floor = Row::blank(FLOOR.into());
        floor.add(Cell::SmallCalm, figures(3.2, 0.0));
        for (cpu_us, lost) in [(9.0, 0.0), (1.0, 2.0), (4.0, 1.0)] {
            ours.add(Cell::SmallCalm, figures(cpu_us, lost));
        }
        Comparison { repeats: 3, rows: vec![ours, absent, floor], ..Comparison::default() }
    }

    #[test]
    fn a_figure_is_the_median_and_a_loss_is_never_hidden_by_it() {
        let median = comparison().median("chat", Cell::SmallCalm).unwrap();
        assert_eq!(median, Figures { lost: 3.0, ..figures(4.0, 0.0) });
        let even = Figures::median(&[figures(1.0, 0.0), figures(2.0, 0.0)]).unwrap();
        assert!((even.cpu_us - 1.5).abs() < 1e-9);
        assert_eq!(
            comparison().faults(),
            ["chat-server, rooms of 100, unbatched: 3 lost, 0 doubled or swapped"]
        );
    }

    #[test]
    fn what_is_kept_names_columns_and_figures() {
        let kept = serde_json::to_value(comparison()).unwrap();
        assert_eq!(kept["rows"][0]["name"], "chat-server");
        let (column, repeats) = (&kept["rows"][0]["cells"][0][0], &kept["rows"][0]["cells"][0][1]);
        assert_eq!((column.as_str(), &repeats[1]["cpu_us"]), (Some("small_calm"), &1.0.into()));
        assert!(kept.get("outcomes").is_none());
    }

    #[test]
    fn who_is_absent_or_was_not_measured_has_blanks() {
        assert_eq!(comparison().median("Bun", Cell::SmallCalm), None);
        let text = comparison().markdown();
        assert!(text.contains("| chat-server | 4.00 = 1.25 raw (4.00M, 0.0) |  |  |  |"), "{text}");
        assert!(text.contains("| Bun |  |  |  |  |") && text.contains("| Bun |  |  |\n"), "{text}");
        assert!(text.contains("| server | rooms of 100, unbatched | rooms of 100, batched |"));
    }
}
