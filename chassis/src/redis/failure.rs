//! Why Redis did not do what was asked, and the few words by which everybody else knows it.

use std::fmt;

use deadpool_redis::PoolError;
use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind, make_extension_error};

use super::hello::Unfit;

/// What is wrong with a Redis, for states, health and logs; [`Fault::word`] never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection can be had, or it broke.
    Unreachable,
    /// It does not answer in time.
    Timeout,
    /// Who asks is not who the URL says, or has to say who it is.
    WrongPassword,
    /// Who asks may not do that.
    Permission,
    /// A version before the oldest that can be used.
    TooOld,
    /// A copy of another one: what is written or said there reaches nobody else.
    ReadOnly,
    /// It has as much as it may have.
    OutOfMemory,
    /// It takes no writes: it cannot save them, or has too few replicas.
    WritesRefused,
    /// It reads what it knew before it was started.
    Loading,
    /// A script of somebody holds it.
    Busy,
    /// A part of a cluster is nobody's, or is not to be served.
    ClusterDown,
    /// What answers is not a Redis.
    NotRedis,
    /// A Redis, but not in the mode that the URL says: one server, a cluster, a Sentinel.
    OtherMode,
    /// The Sentinels know no master of that name.
    NoMaster,
    /// It answers with another error.
    Refused,
}

/// Why Redis did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No answer in time.
    #[error("redis did not answer in time")]
    Late,
    /// What Redis, or the way to it, says.
    #[error("{intro}{0}", intro = introduction(.0))]
    Redis(#[from] RedisError),
    /// It answers, and cannot be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl Fault {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::WrongPassword => "wrong_password",
            Self::Permission => "permission",
            Self::TooOld => "too_old",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::WritesRefused => "writes_refused",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::ClusterDown => "cluster_down",
            Self::NotRedis => "not_redis",
            Self::OtherMode => "other_mode",
            Self::NoMaster => "no_master",
            Self::Refused => "refused",
        }
    }

    /// True for what only somebody who changes a setting can cure: a Redis that answers, and is
    /// not one that can be used. Anything else passes: a replica may be a master in a moment.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::WrongPassword
                | Self::Permission
                | Self::TooOld
                | Self::NotRedis
                | Self::OtherMode
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Error {
    /// What is wrong, in one word.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Late => Fault::Timeout,
            Self::Redis(error) => fault(error),
            Self::Unfit(unfit) => unfit.fault(),
        }
    }
}

/// What an error of the client means.
pub(super) fn fault(error: &RedisError) -> Fault {
    // A script that fails names the reason in front of its own words, or behind them.
    let says = |word: &str| error.detail().is_some_and(|detail| detail.contains(word));
    match (error.code(), error.kind()) {
        (Some("WRONGPASS" | "NOAUTH"), _) | (_, ErrorKind::AuthenticationFailed) => {
            Fault::WrongPassword
        }
        (Some("NOPERM"), _) => Fault::Permission,
        (Some("READONLY" | "MASTERDOWN"), _) => Fault::ReadOnly,
        (Some("OOM"), _) => Fault::OutOfMemory,
        (Some("MISCONF" | "NOREPLICAS"), _) => Fault::WritesRefused,
        (Some("LOADING"), _) => Fault::Loading,
        (Some("BUSY"), _) => Fault::Busy,
        (Some("CLUSTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" | "CROSSSLOT"), _) => Fault::ClusterDown,
        (_, ErrorKind::RESP3NotSupported) => Fault::TooOld,
        (Some("ERR"), _) if says("NOPERM") => Fault::Permission,
        (Some("ERR"), _) if says("OOM command") => Fault::OutOfMemory,
        (Some("ERR"), _) if says("cluster support disabled") => Fault::OtherMode,
        (_, ErrorKind::Server(ServerErrorKind::ResponseError)) if says("max number of clients") => {
            Fault::Unreachable
        }
        (_, ErrorKind::Parse) => Fault::NotRedis,
        (_, ErrorKind::MasterNameNotFoundBySentinel) => Fault::NoMaster,
        (_, ErrorKind::Io) if error.is_timeout() => Fault::Timeout,
        (_, ErrorKind::Io) => Fault::Unreachable,
        _ => Fault::Refused,
    }
}

/// What stands in front of what the client says.
fn introduction(error: &RedisError) -> &'static str {
    match fault(error) {
        Fault::NotRedis => "what answers is not a Redis: ",
        Fault::TooOld => "this Redis is older than 7.0, the oldest that can be used: ",
        _ => "redis: ",
    }
}

/// What a server of a cluster would say.
pub(super) fn cluster_down(why: &str) -> RedisError {
    make_extension_error("CLUSTERDOWN".to_owned(), Some(why.to_owned()))
}

/// A pool that has no connection, as the client would say it.
pub(super) fn unpooled(error: PoolError) -> RedisError {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(_) => std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        other => std::io::Error::other(other.to_string()).into(),
    }
}
