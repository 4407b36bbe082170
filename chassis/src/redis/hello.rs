//! What a server says of itself: `HELLO`, which anybody may ask who may connect.

use std::collections::HashMap;
use std::fmt;

use deadpool_redis::redis::{FromRedisValue, RedisError, Value, from_redis_value};

use super::failure::Fault;
use super::location::Topology;

/// The oldest Redis that has sharded topics, and scripts that may be trusted to be whole or not at
/// all on a cluster.
pub const OLDEST: Version = Version { major: 7, minor: 0 };

/// A version of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

/// How a server works with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does not.
    Standalone,
    /// It has a part of the keys.
    Cluster,
    /// It knows which server has them.
    Sentinel,
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Its version.
    pub version: Version,
    /// How it works with others.
    pub mode: Mode,
    /// False for a copy of another one.
    pub is_master: bool,
}

/// A Redis that answers, and cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its version is too old.
    #[error("Redis {found} is older than {OLDEST}, the oldest that can be used")]
    TooOld {
        /// What it says it is.
        found: Version,
    },
    /// It is a copy of another.
    #[error("this Redis is a replica: what is said there reaches nobody else; name its master")]
    Replica,
    /// One server of a cluster, by the URL of one server.
    #[error("this Redis is part of a cluster: name it by redis+cluster://host:port,host:port")]
    IsCluster,
    /// One server, by the URL of a cluster.
    #[error("this Redis is one server and no cluster: name it by redis://host:port")]
    IsNoCluster,
    /// A Sentinel, by the URL of a server.
    #[error(
        "this is a Sentinel: name the servers it watches by redis+sentinel://host:port/<master>"
    )]
    IsSentinel,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::parse);
        Some(Self { major: parts.next()?.ok()?, minor: parts.next()?.ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "one server",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        })
    }
}

impl Unfit {
    /// What is wrong, in one word.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::TooOld { .. } => Fault::TooOld,
            Self::Replica => Fault::ReadOnly,
            Self::IsCluster | Self::IsNoCluster | Self::IsSentinel => Fault::OtherMode,
        }
    }
}

impl Hello {
    /// Reads the answer; the error says that it is none.
    pub(super) fn read(answer: Value) -> Result<Self, RedisError> {
        let said: HashMap<String, Value> = from_redis_value(answer)?;
        let text = |field: &str| {
            let value = said.get(field).cloned().unwrap_or(Value::Nil);
            String::from_redis_value(value)
        };
        let version = text("version")?;
        let version = Version::parse(&version).ok_or_else(|| strange("version"))?;
        let mode = match text("mode")?.as_str() {
            "standalone" => Mode::Standalone,
            "cluster" => Mode::Cluster,
            "sentinel" => Mode::Sentinel,
            _ => return Err(strange("mode")),
        };
        // A Sentinel has no role.
        let is_master = mode == Mode::Sentinel || text("role")? == "master";
        Ok(Self { version, mode, is_master })
    }

    /// Whether it is what a URL of this topology promises.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, topology: &Topology) -> Result<(), Unfit> {
        match (self.mode, topology) {
            (Mode::Sentinel, _) => return Err(Unfit::IsSentinel),
            (Mode::Cluster, Topology::One | Topology::Sentinel { .. }) => {
                return Err(Unfit::IsCluster);
            }
            (Mode::Standalone, Topology::Cluster) => return Err(Unfit::IsNoCluster),
            (Mode::Cluster, Topology::Cluster) | (Mode::Standalone, _) => {}
        }
        if self.version < OLDEST {
            return Err(Unfit::TooOld { found: self.version });
        }
        if self.is_master { Ok(()) } else { Err(Unfit::Replica) }
    }
}

fn strange(field: &'static str) -> RedisError {
    (deadpool_redis::redis::ErrorKind::Parse, "a HELLO without", field.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: &str, mode: &str, role: &str) -> Hello {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pairs = [("server", "redis"), ("version", version), ("mode", mode), ("role", role)];
        let flat = pairs.iter().flat_map(|(name, value)| [text(name), text(value)]).collect();
        Hello::read(Value::Array(flat)).unwrap()
    }

    #[test]
    fn a_server_is_judged_by_its_version_its_role_and_its_mode() {
        let one = Topology::One;
        assert_eq!(hello("7.0.15", "standalone", "master").check(&one), Ok(()));
        assert_eq!(hello("8.2.1", "standalone", "master").check(&one), Ok(()));
        let old = hello("6.2.14", "standalone", "master").check(&one).unwrap_err();
        assert_eq!(old.to_string(), "Redis 6.2 is older than 7.0, the oldest that can be used");
        assert_eq!(hello("7.2.4", "standalone", "replica").check(&one), Err(Unfit::Replica));
        assert_eq!(hello("7.2.4", "cluster", "master").check(&one), Err(Unfit::IsCluster));
        assert_eq!(hello("7.2.4", "sentinel", "").check(&one), Err(Unfit::IsSentinel));
        let cluster = Topology::Cluster;
        assert_eq!(hello("7.2.4", "cluster", "master").check(&cluster), Ok(()));
        let alone = hello("7.2.4", "standalone", "master");
        assert_eq!(alone.check(&cluster), Err(Unfit::IsNoCluster));
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        for answer in [Value::Okay, Value::Int(3), Value::Array(vec![]), Value::Nil] {
            assert!(Hello::read(answer).is_err());
        }
    }
}
