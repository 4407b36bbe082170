//! Does each node say who is there? Its answers against the connections that the clients have.

use std::collections::BTreeSet;
use std::fmt;

use super::Name;

/// One node's answer about one channel, and the truth when it was asked.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The channel.
    pub channel: Name,
    /// Who was asked.
    pub node: usize,
    /// What it said to `presence`: connections.
    pub listed: BTreeSet<Name>,
    /// What it said to `presence_stats`: connections and users.
    pub counted: (u64, u64),
    /// Which connections there were.
    pub truth: BTreeSet<Name>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub channel: Name,
    /// Who said so.
    pub node: usize,
    /// What.
    pub what: What,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Connections that are there are not listed: how many, and one of them.
    Missing { count: usize, one: String },
    /// Connections are listed that are not there.
    Ghosts { count: usize, one: String },
    /// The counts are others than the truth; each connection here is a user of its own.
    Counts { clients: u64, users: u64, truth: usize },
    /// It did not answer.
    Silent { why: String },
}

impl Answer {
    /// Everything that is wrong with it, with what is known of a connection that makes it wrong;
    /// empty when it is the truth.
    #[must_use]
    pub fn faults(&self, trace: impl Fn(&Name) -> String) -> Vec<Fault> {
        let mut found = Vec::new();
        let mut missing = self.truth.difference(&self.listed);
        if let Some(one) = missing.next() {
            found.push(What::Missing { count: missing.count() + 1, one: trace(one) });
        }
        let mut ghosts = self.listed.difference(&self.truth);
        if let Some(one) = ghosts.next() {
            found.push(What::Ghosts { count: ghosts.count() + 1, one: trace(one) });
        }
        let (clients, users) = self.counted;
        let truth = self.truth.len();
        if (clients, users) != (truth as u64, truth as u64) {
            found.push(What::Counts { clients, users, truth });
        }
        let (channel, node) = (&self.channel, self.node);
        found.into_iter().map(|what| Fault { channel: channel.clone(), node, what }).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "presence of channel {} at node {}: {}", self.channel, self.node, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { count, one } => {
                write!(f, "{count} who are there are not listed, among them {one}")
            }
            Self::Ghosts { count, one } => {
                write!(f, "{count} are listed who are not there, among them {one}")
            }
            Self::Counts { clients, users, truth } => {
                write!(f, "{clients} connections and {users} users are counted, there are {truth}")
            }
            Self::Silent { why } => write!(f, "no answer: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn report(listed: &[&str], counted: (u64, u64)) -> Vec<String> {
        let (channel, truth) = ("room:r".into(), set(&["a", "b"]));
        let answer = Answer { channel, node: 1, listed: set(listed), counted, truth };
        answer.faults(ToString::to_string).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_truth_passes() {
        assert_eq!(report(&["b", "a"], (2, 2)), Vec::<String>::new());
    }

    #[test]
    fn who_is_missing_who_is_a_ghost_and_what_is_counted_wrong_is_named() {
        let of = |what: &str| format!("presence of channel room:r at node 1: {what}");
        let missing = of("1 who are there are not listed, among them b");
        let ghost = of("1 are listed who are not there, among them c");
        assert_eq!(report(&["a", "c"], (2, 2)), [missing, ghost]);
        let counts = of("3 connections and 2 users are counted, there are 2");
        assert_eq!(report(&["a", "b"], (3, 2)), [counts]);
    }
}
