//! A snapshot of where values come from: the process environment, or pairs in a test.
//!
//! Taken once at start, so that a value cannot differ between two readings of it. The facts about
//! the machine that defaults are derived from travel with it; pairs come with fixed ones, so that
//! a test gives the same result everywhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use crate::runtime::Machine;

/// Names and values, as they stood when the snapshot was taken.
///
/// Its debug form shows names only, for values may be secrets.
#[derive(Clone)]
pub struct Source {
    values: BTreeMap<String, OsString>,
    machine: Machine,
}

impl Source {
    /// Takes a snapshot of the process environment and looks at the machine.
    #[must_use]
    pub fn environment() -> Self {
        let values = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self { values, machine: Machine::detect() }
    }

    /// A source of these names and values alone, on a machine with two cores and no limits.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let values = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), OsString::from(value.into())))
            .collect();
        Self { values, machine: Machine { cores: 2, memory_bytes: None } }
    }

    /// The same source with one value set or replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// The value of a name; empty counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.values.get(name).filter(|value| !value.is_empty())
    }

    /// What defaults are derived from.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("names", &self.values.keys())
            .field("machine", &self.machine)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_an_unset_one() {
        let source = Source::from_pairs([("A", ""), ("B", "b")]);
        assert_eq!(source.get("A"), None);
        assert_eq!(source.get("B"), Some(&OsString::from("b")));
    }

    #[test]
    fn the_debug_form_shows_no_value() {
        let source = Source::from_pairs([("JWT_SECRET", "hunter2")]);
        assert!(!format!("{source:?}").contains("hunter2"));
    }
}
