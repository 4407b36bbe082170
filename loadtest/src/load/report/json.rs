//! Reports for programs: a file of JSON with all there is, histograms included, and with the
//! figures in plain numbers beside it.
//!
//! Reading takes the outcomes and leaves the plain numbers: they are derived anew, so that a file
//! cannot say one thing in two ways.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::summary::Summary;
use super::{FORMAT, Report};
use crate::load::meter::Machine;
use crate::load::scenario::Outcome;

/// A report in a file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    command: String,
    machine: Machine,
    runs: Vec<Run>,
    faults: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Run {
    outcome: Outcome,
    #[serde(skip_deserializing)]
    summary: Value,
    #[serde(skip_deserializing)]
    faults: Vec<String>,
}

impl Report {
    /// The report as JSON.
    ///
    /// # Errors
    /// When a histogram cannot be written, which none of ours does.
    pub fn to_json(&self) -> Result<String> {
        let runs = self.outcomes.iter().map(|outcome| {
            let (summary, faults) = (json!(Summary::of(outcome)), outcome.tally.faults());
            Run { outcome: outcome.clone(), summary, faults }
        });
        let kept = Kept {
            format: FORMAT,
            command: self.command.clone(),
            machine: self.machine.clone(),
            runs: runs.collect(),
            faults: self.faults.clone(),
        };
        Ok(serde_json::to_string_pretty(&kept)? + "\n")
    }

    /// Reads a report of this program.
    ///
    /// # Errors
    /// When it is none, or one that another version wrote.
    pub fn of_json(text: &str) -> Result<Self> {
        let kept: Kept = serde_json::from_str(text).context("no report of this program")?;
        let format = kept.format;
        ensure!(format == FORMAT, "a report of format {format}, and {FORMAT} is what is read here");

        let Kept { command, machine, runs, faults, .. } = kept;
        let outcomes = runs.into_iter().map(|run| run.outcome).collect();
        Ok(Self { command, machine, outcomes, faults })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Report::of_json`], or when there is no such file.
    pub fn read(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(name)?;
        Self::of_json(&text).with_context(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_report_is_the_same_after_it_was_kept() {
        let report = report();
        assert_eq!(Report::of_json(&report.to_json().unwrap()).unwrap(), report);
    }

    #[test]
    fn figures_stand_in_the_file_as_plain_numbers_with_their_units() {
        let json: Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        let summary = &json["runs"][0]["summary"];
        assert_eq!(summary["deliveries_per_second"], 50_000.0);
        assert_eq!(summary["server_cpu_per_delivery_us"], 5.0);
        let ratio = summary["floor_ratio"].as_f64().unwrap();
        assert!((ratio - 1.25).abs() < 1e-9, "{ratio}");
        assert_eq!(summary["lost_count"], 0);
        let p99 = summary["latency"]["p99_ms"].as_f64().unwrap();
        assert!((p99 - 0.99).abs() < 0.01, "{p99}");
        assert_eq!(json["machine"]["cores"], 2);
        assert_eq!(json["command"], "loadtest fanout --rooms 100");
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        let newer = report().to_json().unwrap().replace("\"format\": 1", "\"format\": 2");
        let error = format!("{:#}", Report::of_json(&newer).unwrap_err());
        assert!(error.contains("format 2"), "{error}");
        assert!(Report::of_json("{}").is_err());
    }
}
