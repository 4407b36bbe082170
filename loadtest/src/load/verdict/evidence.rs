//! What runs left in a folder: files of JSON, each of one of three kinds.
//!
//! Known by what is in them and not by their names: a report of a scenario, a comparison with
//! peers, the figures of a bench. A file that is none of them is an error, for a verdict that overlooks a
//! file is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::load::report::Report;
use crate::load::report::summary::middle;
use crate::load::scenario::Outcome;

/// All there is.
#[derive(Debug, Default)]
pub struct Evidence {
    pub(super) outcomes: Vec<Sourced<Outcome>>,
    pub(super) comparisons: Vec<Sourced<Comparison>>,
    pub(super) benches: Vec<Sourced<Bench>>,
}

/// Something, and the name of its file.
#[derive(Debug, Clone)]
pub(super) struct Sourced<T> {
    pub(super) source: String,
    pub(super) what: T,
}

/// The same load on our server, on the raw loop and on peers, in one run.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Comparison {
    rows: Vec<Compared>,
}

#[derive(Debug, Clone, Deserialize)]
struct Compared {
    name: String,
    /// By column, each repeat.
    cells: Vec<(String, Vec<BTreeMap<String, f64>>)>,
}

/// Figures of a bench by name with the unit last.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Bench {
    pub(super) bench: String,
    pub(super) figures: BTreeMap<String, f64>,
}

impl Evidence {
    /// Reads all files of a folder that end in `.json`, in the order of their names.
    ///
    /// # Errors
    /// When there is no such folder, or a file of none of the kinds.
    pub fn read(folder: &Path) -> Result<Self> {
        let name = || folder.display().to_string();
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).with_context(name)? {
            let path = entry.with_context(name)?.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut evidence = Self::default();
        for path in paths {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let source = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            evidence.add(&source, &text).with_context(|| path.display().to_string())?;
        }
        Ok(evidence)
    }

    /// Adds what is in a file.
    pub(super) fn add(&mut self, source: &str, text: &str) -> Result<()> {
        let json: serde_json::Value = serde_json::from_str(text)?;
        let source = source.to_owned();
        if json.get("runs").is_some() {
            let report = Report::of_json(text)?;
            let outcomes = report.outcomes.into_iter();
            self.outcomes.extend(outcomes.map(|what| Sourced { source: source.clone(), what }));
        } else if json.get("rows").is_some() {
            self.comparisons.push(Sourced { source, what: serde_json::from_value(json)? });
        } else if json.get("bench").is_some() {
            self.benches.push(Sourced { source, what: serde_json::from_value(json)? });
        } else {
            bail!("neither a report nor a comparison nor a bench");
        }
        Ok(())
    }
}

impl Comparison {
    /// A figure of a contestant whose name begins so, in a column: the middle of all repeats.
    pub(super) fn middle(&self, name: &str, column: &str, figure: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.name.starts_with(name))?;
        let (_, repeats) = row.cells.iter().find(|(cell, _)| cell == column)?;
        middle(repeats.iter().filter_map(|repeat| repeat.get(figure).copied()).collect())
    }
}
