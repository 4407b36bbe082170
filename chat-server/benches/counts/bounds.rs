//! What was measured when `bounds.toml` was written, and whether it still holds.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::ensure;
use serde::Deserialize;

const FILE: &str = include_str!("bounds.toml");

/// What was counted now, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The committed figures.
#[derive(Debug, Deserialize)]
pub(crate) struct Bounds {
    counts: BTreeMap<String, Bound>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    measured: f64,
    /// How much more is let through, as a part of it.
    tolerance: f64,
    /// And as it is, for what is about zero.
    #[serde(default)]
    slack: f64,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) table: String,
    pub(crate) failed: usize,
}

impl Bounds {
    pub(crate) fn read() -> anyhow::Result<Self> {
        Ok(toml::from_str(FILE)?)
    }

    /// Compares every figure with its bound.
    pub(crate) fn judge(&self, figures: &Figures) -> anyhow::Result<Verdict> {
        let stale = self.counts.keys().find(|name| !figures.contains_key(*name));
        ensure!(stale.is_none(), "bounds.toml bounds what is not counted: {stale:?}");
        let head = "| what | measured | bound | got | verdict |\n|---|---|---|---|---|\n";
        let (mut table, mut failed) = (head.to_owned(), 0);
        for (name, got) in figures {
            let Some(bound) = self.counts.get(name) else {
                failed += 1;
                writeln!(table, "| {name} | | | {got:.3} | no bound in bounds.toml |")?;
                continue;
            };
            let (measured, most) = (bound.measured, bound.most());
            let verdict = if *got > most {
                failed += 1;
                "OVER"
            } else if *got < bound.least() {
                "less: the bound can be lowered"
            } else {
                "held"
            };
            writeln!(table, "| {name} | {measured:.3} | {most:.3} | {got:.3} | {verdict} |")?;
        }
        Ok(Verdict { table, failed })
    }
}

impl Bound {
    fn most(self) -> f64 {
        self.measured * (1.0 + self.tolerance) + self.slack
    }

    /// Below this the bound has become too generous to notice anything.
    fn least(self) -> f64 {
        self.measured * (1.0 - self.tolerance) - self.slack
    }
}
