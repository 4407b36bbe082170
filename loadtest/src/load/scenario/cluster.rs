//! Many connections over several servers that are joined by a store and a bus.
//!
//! Every room has members on all servers, so that each message goes over the bus to all others. Each
//! client checks that every message of its room comes once, in order and with the next offset. What
//! the servers use is read once a second: it is held for as long as asked, and has to stay level.

use std::collections::BTreeMap;

use anyhow::Result;

use super::gathering::Gathering;
use super::soak::Soaked;
use super::vitals::{Servers, Vital, Watched};
use super::{Moment, Outcome};
use crate::load::crew::Hire;
use crate::load::target::Target;

/// Holds a gathering on a target for as long as it is heard.
///
/// # Errors
/// When it cannot be carried out. Losses are none: they are in the outcome.
pub async fn run(
    target: &Target,
    gathering: &Gathering,
    tell: &mut (dyn FnMut(&Moment) + Send),
) -> Result<Outcome> {
    let (servers, hire) = (Servers::Stay, Hire::own()?);
    let watched = Watched { gathering, target, servers, hire };
    let (mut outcome, course) = watched.measure(tell).await?;
    outcome.scenario = "cluster".to_owned();
    let figures = figures(&outcome, &course);
    outcome.figures.extend(figures);
    outcome.figures.extend(Soaked::of(&outcome, &course).figures());
    Ok(outcome)
}

/// What a server takes before anybody comes is no connection's: it is taken off.
fn figures(outcome: &Outcome, course: &[Vital]) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    let connections = outcome.tally.connections.entered.max(1) as f64;
    let (Some(first), Some(last)) = (course.first(), course.last()) else { return figures };
    let most = |of: fn(&Vital) -> u64| course.iter().map(of).max().unwrap_or(0) as f64;
    let mut set = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    set("rss_bytes_before", first.rss as f64);
    set("rss_bytes_most", most(|vital| vital.rss));
    set("rss_bytes_last", last.rss as f64);
    set("rss_bytes_per_connection", last.rss.saturating_sub(first.rss) as f64 / connections);
    set("kernel_tcp_bytes_most", most(|vital| vital.tcp_bytes));
    set("files_count_most", most(|vital| vital.files));
    set("held_seconds", outcome.window_seconds);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_at_its_most_and_each_connection_without_what_was_there_before() {
        let vital = |rss, files| Vital { rss, files, ..Vital::default() };
        let mut outcome = Outcome { window_seconds: 60.0, ..Outcome::default() };
        outcome.tally.connections.entered = 100;
        let course = [vital(1_000, 10), vital(301_000, 110), vital(201_000, 110)];
        let figures = figures(&outcome, &course);
        assert!((figures["rss_bytes_most"] - 301_000.0).abs() < 1e-9);
        assert!((figures["rss_bytes_per_connection"] - 2_000.0).abs() < 1e-9);
        assert!((figures["files_count_most"] - 110.0).abs() < 1e-9);
        assert!(super::figures(&outcome, &[]).is_empty(), "nothing is known of a server elsewhere");
    }
}
