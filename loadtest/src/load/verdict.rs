//! Target, figure, verdict: whether what the project promises holds, by the files of runs.
//!
//! ```text
//! evidence   reports, comparisons and benches, as files
//! claims     the eight targets of the chat server, and what in the evidence speaks for each
//! ```
//!
//! A target holds, does not, or is not measured; nothing in between, and nothing from memory: every
//! figure names the file it is from. Where several files speak for a target the worst one counts. A
//! run that was smaller than the target asks for is no proof: it is shown, and the target is not
//! measured.

mod claims;
mod evidence;

use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::Result;

pub use self::evidence::Evidence;

/// Whether a target is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is not.
    Fails,
    /// Nothing speaks for it or against it.
    NotMeasured,
    /// It is.
    Holds,
}

/// What is to be said of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub target: u8,
    /// What it is about.
    pub what: &'static str,
    /// What it has to be, with the unit.
    pub wanted: String,
    /// What it is; none when nothing speaks for it.
    pub figure: Option<String>,
    /// Whether it is reached.
    pub verdict: Verdict,
    /// The file that says so.
    pub source: String,
}

/// What is to be said of all targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// By the numbers of the targets.
    pub rows: Vec<Row>,
}

impl Table {
    /// Judges what the files of a folder say.
    ///
    /// # Errors
    /// When one of them is not what its ending says.
    pub fn of(folder: &Path) -> Result<Self> {
        Ok(Self { rows: claims::rows(&Evidence::read(folder)?) })
    }

    /// Whether nothing that was measured fails.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Fails)
    }

    /// For documents.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text =
            "| | target | wanted | figure | verdict | from |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for Row { target, what, wanted, figure, verdict, source } in &self.rows {
            let figure = figure.as_deref().unwrap_or_default();
            let line = writeln!(
                text,
                "| {target} | {what} | {wanted} | {figure} | {verdict} | {source} |"
            );
            line.expect("a String takes everything");
        }
        text
    }
}

/// For a terminal.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |row: &Row| {
            let figure = row.figure.clone().unwrap_or_else(|| "-".to_owned());
            [row.what.to_owned(), row.wanted.clone(), figure, row.verdict.to_string()]
        };
        let mut table: Vec<(String, [String; 4])> =
            self.rows.iter().map(|row| (row.target.to_string(), cells(row))).collect();
        let heads = ["target", "wanted", "figure", "verdict"].map(str::to_owned);
        table.insert(0, (String::new(), heads));
        let width = |column: usize| {
            table.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        for (number, [what, wanted, figure, verdict]) in &table {
            let [first, second, third] = widths;
            let line =
                format!("{number:>2}  {what:first$}  {wanted:second$}  {figure:third$}  {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        let of = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let [holds, fails, open] = [Verdict::Holds, Verdict::Fails, Verdict::NotMeasured].map(of);
        writeln!(f, "\n    {holds} hold, {fails} do not, {open} are not measured")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Fails => "DOES NOT HOLD",
            Self::NotMeasured => "not measured",
        })
    }
}

#[cfg(test)]
mod tests;
