//! What a variable takes, and the value made of it.
//!
//! A [`Kind`] knows three things about its values: how to read one, how to say what it takes, and
//! examples of what it refuses; the last are what a test gives to every variable of a program.
//! Reading is total: any text gives a [`Value`] or `None`. Only [`Kind::Path`] looks at the file
//! system, so that a wrong path is found at start and not at the first use.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

/// The kinds of value a variable can take.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text a function accepts.
    Text(Rule),
    /// A list of texts separated by commas, each accepted by a function.
    List(Rule),
    /// Yes or no.
    Flag,
    /// A TCP port; 0 is any free one.
    Port,
    /// A whole number within bounds, both included.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A whole number of a unit within bounds, both included.
    Amount {
        /// What is counted.
        unit: Unit,
        /// The smallest, in the unit.
        min: u64,
        /// The largest, in the unit.
        max: u64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// An IP address to bind.
    Host,
    /// A URL with one of these schemes and a host.
    Url(&'static [&'static str]),
    /// A path.
    Path(PathIs),
}

/// What makes a text acceptable.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What is taken, to complete "takes ...".
    pub takes: &'static str,
    /// Whether a text is taken.
    pub accepts: fn(&str) -> bool,
    /// A text that is refused.
    pub bad: &'static str,
}

/// Units of time and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Millis,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// 2^20 bytes.
    Megabytes,
}

/// What must be found at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathIs {
    /// A file that exists and can be read.
    File,
    /// A directory, or nothing yet.
    Directory,
}

/// A value that was read and found acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Text`], [`Kind::Choice`] and [`Kind::Url`].
    Text(String),
    /// Of [`Kind::List`], trimmed, without empty items.
    List(Vec<String>),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Port`].
    Port(u16),
    /// Of [`Kind::Count`], and sizes in bytes of [`Kind::Amount`].
    Count(u64),
    /// Times of [`Kind::Amount`].
    Duration(Duration),
    /// Of [`Kind::Host`].
    Host(IpAddr),
    /// Of [`Kind::Path`].
    Path(PathBuf),
}

/// Text for people: a name, a version; any characters but control characters.
pub const TEXT: Kind = Kind::Text(Rule {
    takes: "1 to 128 characters, no control characters",
    accepts: |text| text.chars().count() <= 128 && !text.chars().any(char::is_control),
    bad: "two\nlines",
});

/// Key material: any characters but control characters, so that a stray newline is found.
pub const KEY_MATERIAL: Kind = Kind::Text(Rule {
    takes: "text without control characters, in production at least 32 bytes and no placeholder",
    accepts: |text| !text.chars().any(char::is_control),
    bad: "two\nlines",
});

impl Unit {
    const fn word(self) -> &'static str {
        match self {
            Self::Millis => "milliseconds",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Megabytes => "MB (2^20 bytes)",
        }
    }

    fn value(self, amount: u64) -> Value {
        match self {
            Self::Millis => Value::Duration(Duration::from_millis(amount)),
            Self::Seconds => Value::Duration(Duration::from_secs(amount)),
            Self::Bytes => Value::Count(amount),
            Self::Megabytes => Value::Count(amount.saturating_mul(1 << 20)),
        }
    }
}

impl PathIs {
    fn holds(self, path: &Path) -> bool {
        match self {
            Self::File => path.is_file() && File::open(path).is_ok(),
            Self::Directory => path.is_dir() || !path.exists(),
        }
    }
}

impl Kind {
    /// Reads a value; `None` when it is not one this kind takes.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Value> {
        match *self {
            Self::Text(rule) => (rule.accepts)(text).then(|| Value::Text(text.to_owned())),
            Self::List(rule) => {
                let items: Vec<String> = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect();
                items.iter().all(|item| (rule.accepts)(item)).then_some(Value::List(items))
            }
            Self::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(Value::Flag(true)),
                "false" | "0" | "no" | "off" => Some(Value::Flag(false)),
                _ => None,
            },
            Self::Port => number(text, 0, u64::from(u16::MAX))
                .and_then(|port| u16::try_from(port).ok())
                .map(Value::Port),
            Self::Count { min, max } => number(text, min, max).map(Value::Count),
            Self::Amount { unit, min, max } => number(text, min, max).map(|n| unit.value(n)),
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Host => text.parse().ok().map(Value::Host),
            Self::Url(schemes) => is_url(text, schemes).then(|| Value::Text(text.to_owned())),
            Self::Path(is) => {
                let path = PathBuf::from(text);
                is.holds(&path).then_some(Value::Path(path))
            }
        }
    }

    /// What it takes, to complete "takes ...".
    #[must_use]
    pub fn takes(&self) -> String {
        match *self {
            Self::Text(rule) => rule.takes.to_owned(),
            Self::List(rule) => format!("a list separated by commas, each {}", rule.takes),
            Self::Flag => "true or false".to_owned(),
            Self::Port => "a port, 0 to 65535 (0 = any free one)".to_owned(),
            Self::Count { min, max } => format!("a whole number, {min} to {max}"),
            Self::Amount { unit, min, max } => format!("{}, {min} to {max}", unit.word()),
            Self::Choice(words) => words.join(" or "),
            Self::Host => "an IP address".to_owned(),
            Self::Url(schemes) => {
                let schemes: Vec<_> = schemes.iter().map(|s| format!("{s}://")).collect();
                format!("a URL with a host, {}", schemes.join(" or "))
            }
            Self::Path(PathIs::File) => "the path of a readable file".to_owned(),
            Self::Path(PathIs::Directory) => {
                "the path of a directory, made when it is missing".to_owned()
            }
        }
    }

    /// A derived value as an operator would write it: sizes are held in bytes, whatever the unit.
    pub(super) fn spelled(&self, derived: &str) -> String {
        match (self, derived.parse::<u64>()) {
            (Self::Amount { unit: Unit::Megabytes, .. }, Ok(bytes)) => (bytes >> 20).to_string(),
            _ => derived.to_owned(),
        }
    }

    /// Values this kind refuses; tests give each of them to every variable of the kind.
    #[must_use]
    pub fn bad_examples(&self) -> Vec<String> {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        match *self {
            Self::Text(rule) | Self::List(rule) => words(&[rule.bad]),
            Self::Flag => words(&["maybe", "2"]),
            Self::Port => words(&["http", "65536", "-1", "80.5"]),
            Self::Count { min, max } | Self::Amount { min, max, .. } => {
                let mut bad: Vec<String> = words(&["many", "-1", "1.5", "10k", "0x10"]);
                bad.extend(max.checked_add(1).map(|n| n.to_string()));
                bad.extend(min.checked_sub(1).map(|n| n.to_string()));
                bad
            }
            Self::Choice(_) => words(&["something-else"]),
            Self::Host => words(&["localhost", "256.0.0.1", "0.0.0.0:80"]),
            Self::Url(_) => words(&["not a url", "gopher://host/", "/only/a/path"]),
            Self::Path(PathIs::File) => words(&["/nonexistent/file", "/"]),
            Self::Path(PathIs::Directory) => words(&["/dev/null"]),
        }
    }
}

fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    // `u64::from_str` takes a leading plus sign; a count is digits alone.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten()?;
    (min..=max).contains(&number).then_some(number)
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let known = uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    known && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[Kind] = &[
        TEXT,
        KEY_MATERIAL,
        Kind::List(Rule { takes: "a", accepts: |item| item == "a", bad: "a,b" }),
        Kind::Flag,
        Kind::Port,
        Kind::Count { min: 1, max: 10 },
        Kind::Amount { unit: Unit::Millis, min: 0, max: u64::MAX },
        Kind::Choice(&["one", "two"]),
        Kind::Host,
        Kind::Url(&["http", "https"]),
        Kind::Path(PathIs::File),
        Kind::Path(PathIs::Directory),
    ];

    #[test]
    fn every_bad_example_is_refused_and_every_kind_says_what_it_takes() {
        for kind in KINDS {
            assert!(!kind.takes().is_empty());
            assert!(!kind.bad_examples().is_empty());
            for bad in kind.bad_examples() {
                assert_eq!(kind.parse(&bad), None, "{kind:?} took {bad:?}");
            }
        }
    }

    #[test]
    fn amounts_become_durations_and_bytes() {
        let time = Kind::Amount { unit: Unit::Seconds, min: 1, max: 60 };
        assert_eq!(time.parse("10"), Some(Value::Duration(Duration::from_secs(10))));
        let size = Kind::Amount { unit: Unit::Megabytes, min: 1, max: 60 };
        assert_eq!(size.parse("2"), Some(Value::Count(2 << 20)));
    }

    #[test]
    fn lists_are_trimmed_and_empty_items_dropped() {
        let list = Kind::List(Rule { takes: "x", accepts: |_| true, bad: "" });
        assert_eq!(list.parse(" a, b ,,"), Some(Value::List(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn urls_need_a_known_scheme_and_a_host() {
        let kind = Kind::Url(&["postgres", "postgresql"]);
        assert!(kind.parse("postgresql://veza:pass@db:5432/veza").is_some());
        assert!(kind.parse("mysql://db/veza").is_none());
        assert!(kind.parse("postgres:///veza").is_none());
    }
}
