//! What may be done in which channels: the file `CHANNELS_FILE`.
//!
//! A table `[without_namespace]` and one `[namespaces.<name>]` each; an unknown key is an error
//! that names it. Without a file, development allows everything in channels without a namespace,
//! and production knows no channel but the server's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{ChannelName, Place};
use crate::config::Environment;

/// Publications a channel may keep; with bodies of 8 KiB this is 80 MiB in the worst case.
const HISTORY_SIZE_MAX: usize = 10_000;

/// What a channel with a log keeps in memory: what clients miss while they change networks. The
/// store has the rest.
const LOG_RING_SIZE: usize = 256;
const LOG_RING_TTL: Duration = Duration::from_secs(300);

/// Namespaces the server itself gives a meaning.
const RESERVED: [&str; 3] = ["room", "user", "stream"];

/// The options of the channels of one namespace; everything is off unless it is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the switches of a file")]
pub struct Options {
    /// Publications kept for recovery and history; 0 keeps none.
    pub history_size: usize,
    /// How long each is kept: seconds, or a text such as `"5m"`.
    #[serde(deserialize_with = "duration")]
    pub history_ttl: Duration,
    /// Every subscription is recoverable, whether the client asked for it or not.
    pub force_recovery: bool,
    /// Who is subscribed can be asked for.
    pub presence: bool,
    /// Joins and leaves are pushed to those who ask for them.
    pub join_leave: bool,
    /// Joins and leaves are pushed to every subscriber.
    pub force_push_join_leave: bool,
    /// Anyone connected may subscribe.
    pub allow_subscribe: bool,
    /// Clients may publish.
    pub allow_publish: bool,
    /// Clients may read history.
    pub allow_history: bool,
    /// Clients may read presence.
    pub allow_presence: bool,
    /// Publications are stored in a database.
    pub durable: bool,
    /// A subscription needs a token of its own; so do publishing, history and presence.
    pub subscribe_token_required: bool,
}

/// The options of every channel.
#[derive(Debug, Clone)]
pub struct Namespaces {
    without: Option<Arc<Options>>,
    named: BTreeMap<String, Arc<Options>>,
    feed: Arc<Options>,
    room: Arc<Options>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("CHANNELS_FILE {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no TOML, or a key or value is wrong.
    #[error("CHANNELS_FILE {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A table makes no sense.
    #[error("CHANNELS_FILE {}: [{table}] {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// What is wrong.
        problem: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    without_namespace: Option<Options>,
    #[serde(default)]
    namespaces: BTreeMap<String, Options>,
}

impl Namespaces {
    /// Reads the file, or takes the defaults of the environment.
    ///
    /// # Errors
    /// What is wrong with the file, with the table or key named.
    pub fn load(path: Option<&Path>, environment: Environment) -> Result<Self, LoadError> {
        let Some(path) = path else {
            let without = (environment == Environment::Development).then(Options::development);
            return Ok(Self::new(without, BTreeMap::new()));
        };
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let parse = |source| LoadError::Parse { path: path.to_owned(), source: Box::new(source) };
        let file: File = toml::from_str(&text).map_err(parse)?;
        let without = file.without_namespace.iter().map(|options| ("without_namespace", options));
        let named = file.namespaces.iter().map(|(name, options)| (name.as_str(), options));
        for (name, options) in without.chain(named) {
            if let Some(problem) = options.problem(name) {
                let table = match name {
                    "without_namespace" => name.to_owned(),
                    _ => format!("namespaces.{name}"),
                };
                return Err(LoadError::Table { path: path.to_owned(), table, problem });
            }
        }
        Ok(Self::new(file.without_namespace, file.namespaces))
    }

    fn new(without: Option<Options>, named: BTreeMap<String, Options>) -> Self {
        let named = named.into_iter().map(|(name, options)| (name, Arc::new(options))).collect();
        let (feed, room) = (Arc::new(Options::feed()), Arc::new(Options::room()));
        Self { without: without.map(Arc::new), named, feed, room }
    }

    /// The options of a channel; `None` = there is no such channel.
    #[must_use]
    pub fn options(&self, name: &ChannelName) -> Option<&Arc<Options>> {
        match name.place() {
            Place::Plain => self.without.as_ref(),
            Place::Namespace(namespace) => self.named.get(namespace),
            Place::User(_) => Some(&self.feed),
            Place::Room(Some(_)) => Some(&self.room),
            Place::Room(None) | Place::Stream => None,
        }
    }
}

impl Options {
    /// What a newcomer needs: everything is allowed and nothing is lost for five minutes.
    #[must_use]
    pub fn development() -> Self {
        Self {
            history_size: 100,
            history_ttl: Duration::from_secs(300),
            force_recovery: true,
            presence: true,
            join_leave: true,
            force_push_join_leave: true,
            allow_subscribe: true,
            allow_publish: true,
            allow_history: true,
            allow_presence: true,
            durable: false,
            subscribe_token_required: false,
        }
    }

    /// A person's feed: the server subscribes and publishes, the person reads.
    fn feed() -> Self {
        Self {
            history_size: LOG_RING_SIZE,
            history_ttl: LOG_RING_TTL,
            force_recovery: true,
            allow_history: true,
            ..Self::default()
        }
    }

    /// A room: what somebody may do is decided by what they are in it.
    fn room() -> Self {
        Self {
            presence: true,
            join_leave: true,
            allow_subscribe: true,
            allow_publish: true,
            allow_presence: true,
            ..Self::feed()
        }
    }

    fn problem(&self, name: &str) -> Option<&'static str> {
        if RESERVED.contains(&name) {
            return Some("is a namespace of the server itself");
        }
        if name.is_empty() || name.contains(':') {
            return Some("a namespace has a name without a colon");
        }
        if self.history_size > HISTORY_SIZE_MAX {
            return Some("history_size is over 10000");
        }
        if (self.history_size == 0) != self.history_ttl.is_zero() {
            return Some("history_size and history_ttl are set together");
        }
        if self.force_recovery && self.history_size == 0 {
            return Some("force_recovery needs history_size");
        }
        if self.durable {
            return Some("durable = true needs a store, which this version does not have");
        }
        None
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Seconds(u64),
        Words(String),
    }
    let expected = || serde::de::Error::custom("a time is seconds or a text such as \"5m\"");
    match Text::deserialize(deserializer).map_err(|_neither| expected())? {
        Text::Seconds(seconds) => Ok(Duration::from_secs(seconds)),
        Text::Words(words) => {
            let digits = words.trim_end_matches(|last: char| last.is_ascii_alphabetic());
            let unit = match words.strip_prefix(digits) {
                Some("s") => 1,
                Some("m") => 60,
                Some("h") => 3600,
                Some("d") => 24 * 3600,
                _ => return Err(expected()),
            };
            let count: u64 = digits.parse().map_err(|_no_number| expected())?;
            Ok(Duration::from_secs(count.saturating_mul(unit)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Namespaces, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("channels.toml");
        std::fs::write(&path, text).unwrap();
        Namespaces::load(Some(&path), Environment::Production).map_err(|error| error.to_string())
    }

    fn options(namespaces: &Namespaces, name: &str) -> Option<Options> {
        let name = ChannelName::parse(name).unwrap();
        namespaces.options(&name).map(|options| Options::clone(options))
    }

    #[test]
    fn a_file_gives_options_by_namespace() {
        let text = "[without_namespace]\nallow_subscribe = true\n\
            [namespaces.news]\nhistory_size = 10\nhistory_ttl = \"5m\"\n";
        let namespaces = load(text).unwrap();
        assert!(options(&namespaces, "lobby").unwrap().allow_subscribe);
        let news = options(&namespaces, "news:today").unwrap();
        assert_eq!((news.history_size, news.history_ttl.as_secs()), (10, 300));
        assert_eq!(options(&namespaces, "sport:today"), None);
    }

    #[test]
    fn errors_name_the_key_or_table() {
        for (text, named) in [
            ("[namespaces.news]\nhistroy_size = 1", "histroy_size"),
            ("[namespace.news]\npresence = true", "namespace"),
            ("[namespaces.room]\npresence = true", "namespaces.room"),
            ("[namespaces.news]\nhistory_size = 1", "history_ttl"),
            ("[namespaces.news]\nhistory_ttl = \"5 years\"", "a time is"),
            ("[without_namespace]\ndurable = true", "durable"),
            ("[without_namespace]\nforce_recovery = true", "force_recovery"),
            ("presence = yes", "expected"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(named), "{text:?} gave {error}");
        }
    }

    #[test]
    fn without_a_file_only_development_has_channels() {
        let load = |environment| Namespaces::load(None, environment).unwrap();
        assert!(options(&load(Environment::Development), "lobby").unwrap().allow_publish);
        assert_eq!(options(&load(Environment::Production), "lobby"), None);
    }
}
