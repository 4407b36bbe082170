//! What it cost that everybody came back at once.
//!
//! Pure: it is given what the workers counted and what the servers say they asked their store, from
//! before everyone went until all were back. Of the queries only those count that somebody's return
//! can be the reason of; messages that are written meanwhile and the regular comparison of heads go
//! on with or without a storm, and are told apart. The aim is for servers that stay: one that starts
//! anew has to read each room once, whoever returns.

use std::collections::BTreeMap;

use crate::load::tally::Tally;
use crate::load::target::Figure;

/// Queries that a return can be the reason of, by the servers' names for them.
const OF_RETURNS: [&str; 5] = ["head", "page", "standing", "room", "other"];

/// The aim: fewer than one query for so many who resume.
pub const RESUMPTIONS_PER_QUERY: f64 = 50.0;

/// What a storm cost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Returns {
    /// Clients that were to come back.
    pub due: u64,
    /// That did.
    pub back: u64,
    /// Deliveries that were made up for.
    pub recovered: u64,
    /// Queries by kind, where the servers tell.
    pub queries: Option<BTreeMap<String, f64>>,
    /// The servers stayed and had everything in memory that they need.
    pub servers_stayed: bool,
}

impl Returns {
    /// From the counts of the workers, and of the servers before and after; a server that was
    /// started again counts from 0, so that there is no before.
    #[must_use]
    pub fn of(due: u64, tally: &Tally, before: Option<&Figure>, after: Option<&Figure>) -> Self {
        let queries = after.map(|after| {
            let asked = after.iter().map(|(labels, count)| {
                let was = before.and_then(|before| before.get(labels)).copied().unwrap_or(0.0);
                (kind(labels).to_owned(), (count - was).max(0.0))
            });
            asked.collect()
        });
        let (back, recovered) = (tally.connections.returned, tally.received.recovered);
        Self { due, back, recovered, queries, servers_stayed: before.is_some() }
    }

    /// Queries that returns can be the reason of.
    #[must_use]
    pub fn queries_of_returns(&self) -> Option<f64> {
        let queries = self.queries.as_ref()?;
        Some(OF_RETURNS.iter().filter_map(|kind| queries.get(*kind)).sum())
    }

    /// Queries for each so many who resumed; the aim is less than one.
    #[must_use]
    pub fn queries_per_50(&self) -> Option<f64> {
        let resumptions = (self.back > 0).then_some(self.back as f64)?;
        Some(self.queries_of_returns()? * RESUMPTIONS_PER_QUERY / resumptions)
    }

    /// What is wrong with it, as sentences; empty when nothing is.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.back < self.due {
            faults.push(format!("{} of {} did not come back", self.due - self.back, self.due));
        }
        if self.servers_stayed && self.queries_per_50().is_some_and(|queries| queries >= 1.0) {
            let queries = self.queries_of_returns().unwrap_or_default();
            faults.push(format!("{queries} queries of the store for {} who resumed", self.back));
        }
        faults
    }

    /// The figures of a report.
    #[must_use]
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let count = |count: u64| count as f64;
        let mut figures = BTreeMap::from([
            ("storm_resumptions_due".to_owned(), count(self.due)),
            ("storm_resumptions".to_owned(), count(self.back)),
            ("storm_recovered_count".to_owned(), count(self.recovered)),
        ]);
        for (kind, count) in self.queries.iter().flatten().filter(|(_, count)| **count > 0.0) {
            figures.insert(format!("storm_queries_{kind}_count"), *count);
        }
        // Under another name where the aim is not meant.
        let name = match self.servers_stayed {
            true => "storm_store_queries_per_50_resumptions",
            false => "storm_new_servers_queries_per_50_resumptions",
        };
        if let Some(queries) = self.queries_per_50() {
            figures.insert(name.to_owned(), queries);
        }
        figures
    }
}

/// The kind in `kind="head"`.
fn kind(labels: &str) -> &str {
    labels.trim_start_matches("kind=").trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(counts: &[(&str, f64)]) -> Figure {
        counts.iter().map(|(kind, count)| (format!("kind=\"{kind}\""), *count)).collect()
    }

    fn tally(back: u64) -> Tally {
        let mut tally = Tally::default();
        tally.connections.returned = back;
        tally.received.recovered = 3 * back;
        tally
    }

    #[test]
    fn only_queries_that_a_return_can_be_the_reason_of_are_held_against_it() {
        let before = figure(&[("head", 10.0), ("append", 1_000.0)]);
        let after = figure(&[
            ("head", 110.0),
            ("page", 30.0),
            ("append", 9_000.0),
            ("compare", 40.0),
            ("change", 7.0),
        ]);
        let returns = Returns::of(15_000, &tally(15_000), Some(&before), Some(&after));
        assert_eq!(returns.queries_of_returns(), Some(130.0));
        assert!((returns.queries_per_50().unwrap() - 130.0 * 50.0 / 15_000.0).abs() < 1e-9);
        assert_eq!(returns.faults(), [""; 0]);
        let figures = returns.figures();
        assert_eq!(figures["storm_queries_append_count"], 8_000.0);
        assert_eq!(figures["storm_recovered_count"], 45_000.0);
    }

    #[test]
    fn who_is_not_back_is_missed_and_a_query_each_is_too_many() {
        let (before, after) = (Figure::new(), figure(&[("head", 100.0)]));
        let returns = Returns::of(100, &tally(99), Some(&before), Some(&after));
        let faults = returns.faults();
        assert_eq!(faults[0], "1 of 100 did not come back");
        assert_eq!(faults[1], "100 queries of the store for 99 who resumed");
        // One that was started anew has to ask.
        let anew = Returns::of(99, &tally(99), None, Some(&after));
        assert_eq!((anew.faults().len(), anew.queries_of_returns()), (0, Some(100.0)));
        assert!(!anew.figures().contains_key("storm_store_queries_per_50_resumptions"));
        assert!(returns.figures().contains_key("storm_store_queries_per_50_resumptions"));
    }

    #[test]
    fn a_server_that_counts_from_the_start_again_never_asked_less_than_nothing() {
        let (before, after) = (figure(&[("head", 10.0)]), figure(&[("head", 4.0)]));
        let returns = Returns::of(10, &tally(10), Some(&before), Some(&after));
        assert_eq!(returns.queries_of_returns(), Some(0.0));
        let silent = Returns::of(10, &tally(10), None, None);
        assert_eq!((silent.queries_per_50(), silent.faults().len()), (None, 0));
        assert_eq!(Returns::of(0, &tally(0), None, Some(&after)).queries_per_50(), None);
    }
}
