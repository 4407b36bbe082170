//! Where Redis is, out of its URL.

use std::fmt;

use deadpool_redis::redis::io::tcp::TcpSettings;
use deadpool_redis::redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
};
use secrecy::{ExposeSecret, SecretString};

/// What a URL of Redis looks like, to complete "takes ...".
pub const TAKES: &str = "redis://user:password@host:port/database, \
    redis+cluster://user:password@host:port,host:port or \
    redis+sentinel://user:password@host:port,host:port/<master>/database; with rediss for TLS";

/// The port of Redis where a URL names none.
const PORT: u16 = 6379;

/// The port of a Sentinel where a URL names none.
const SENTINEL_PORT: u16 = 26379;

/// A URL that names no Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the URL of a Redis: {0}")]
pub struct Malformed(&'static str);

/// A server on the network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How the servers of a Redis work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// There is one.
    One,
    /// Each has a part of the keys.
    Cluster,
    /// One has the keys; Sentinels know which.
    Sentinel {
        /// The name by which they know it.
        master: String,
    },
}

/// A Redis; shown without user and password.
#[derive(Clone)]
pub struct Location {
    topology: Topology,
    addresses: Vec<Address>,
    is_encrypted: bool,
    user: Option<String>,
    password: Option<SecretString>,
    database: i64,
}

/// As whom a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// Who the URL says.
    Given,
    /// Nobody.
    Nobody,
}

impl Location {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &SecretString) -> Result<Self, Malformed> {
        let url = url.expose_secret();
        let (scheme, rest) = url.split_once("://").ok_or(Malformed("it has no scheme"))?;
        let (transport, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let is_encrypted = match transport {
            "redis" => false,
            "rediss" => true,
            _ => return Err(Malformed("it begins with neither redis nor rediss")),
        };
        if rest.contains(['?', '#']) {
            return Err(Malformed("it has a `?` or a `#`, which mean nothing here"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (access, hosts) = match authority.rsplit_once('@') {
            Some((access, hosts)) => (Some(access), hosts),
            None => (None, authority),
        };
        let (user, password) = access.map_or(Ok((None, None)), credentials)?;
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (topology, database, port) = match (kind, &path[..]) {
            ("", []) => (Topology::One, 0, PORT),
            ("", [number]) => (Topology::One, database(number)?, PORT),
            ("cluster", [] | ["0"]) => (Topology::Cluster, 0, PORT),
            ("cluster", _) => return Err(Malformed("a cluster has no databases")),
            ("sentinel", [master, number @ ..]) if number.len() < 2 => {
                let number = number.first().map_or(Ok(0), |number| database(number))?;
                (Topology::Sentinel { master: decoded(master)? }, number, SENTINEL_PORT)
            }
            ("sentinel", []) => return Err(Malformed("it does not say which master")),
            ("" | "sentinel", _) => return Err(Malformed("its path is too long")),
            _ => return Err(Malformed("it is neither +cluster nor +sentinel")),
        };
        let addresses: Vec<Address> =
            hosts.split(',').map(|host| address(host, port)).collect::<Result<_, _>>()?;
        if topology == Topology::One && addresses.len() > 1 {
            return Err(Malformed("several hosts are a +cluster or a +sentinel"));
        }
        Ok(Self { topology, addresses, is_encrypted, user, password, database })
    }

    /// How its servers work together.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The servers that the URL names, at least one.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// How to connect to a server of it.
    pub(super) fn connection(&self, address: &Address, whom: As) -> ConnectionInfo {
        let mut redis =
            RedisConnectionInfo::default().set_skip_set_lib_name().set_db(self.database);
        if let (As::Given, Some(password)) = (whom, &self.password) {
            redis = redis.set_password(password.expose_secret());
            if let Some(user) = &self.user {
                redis = redis.set_username(user);
            }
        }
        let Address { host, port } = address.clone();
        let address = match self.is_encrypted {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        let info = address.into_connection_info().expect("an address is how to connect to it");
        // Small answers must not wait for the acknowledgement of earlier ones.
        info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true))
    }

    /// How to connect to a Sentinel of it.
    pub(super) fn sentinel(&self, address: &Address, whom: As) -> ConnectionInfo {
        let info = self.connection(address, whom);
        // A Sentinel has no databases.
        let redis = info.redis_settings().clone().set_db(0);
        info.set_redis_settings(redis)
    }
}

fn credentials(access: &str) -> Result<(Option<String>, Option<SecretString>), Malformed> {
    let Some((user, password)) = access.split_once(':') else {
        return Err(Malformed("it has a user without a password"));
    };
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    Ok((user, Some(decoded(password)?.into()).filter(|_| !password.is_empty())))
}

fn database(number: &str) -> Result<i64, Malformed> {
    let number: u16 =
        number.parse().map_err(|_not_one| Malformed("its database is not a number"))?;
    Ok(number.into())
}

fn address(text: &str, port: u16) -> Result<Address, Malformed> {
    let (host, given) = match text.strip_prefix('[') {
        // An IPv6 address has colons of its own.
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(Malformed("a bracket is left open"))?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match given {
        Some("") if !text.ends_with(':') => Some(port),
        Some(given) => given.parse().ok().filter(|&port| port > 0),
        None => None,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err(Malformed("a host is missing or has characters that no host has"));
    }
    Ok(Address { host: host.to_owned(), port: port.ok_or(Malformed("a port is not a port"))? })
}

/// Text with `%xx` for bytes that mean something in a URL.
fn decoded(text: &str) -> Result<String, Malformed> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().and_then(|high| Some(high * 16 + digit()?));
                let value = value.and_then(|value| u8::try_from(value).ok());
                value.ok_or(Malformed("a `%` is not followed by two hexadecimal digits"))?
            }
            other => other,
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_bytes| Malformed("it is not UTF-8"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_encrypted { "rediss" } else { "redis" })?;
        match &self.topology {
            Topology::One => f.write_str("://")?,
            Topology::Cluster => f.write_str("+cluster://")?,
            Topology::Sentinel { .. } => f.write_str("+sentinel://")?,
        }
        for (place, address) in self.addresses.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        match &self.topology {
            Topology::Sentinel { master } => write!(f, "/{master}/{}", self.database),
            Topology::One => write!(f, "/{}", self.database),
            Topology::Cluster => Ok(()),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Location, Malformed> {
        Location::parse(&url.into())
    }

    #[test]
    fn every_topology_has_its_url() {
        for (url, shown) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("rediss://cache:7000/3", "rediss://cache:7000/3"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("redis+cluster://a:1,b", "redis+cluster://a:1,b:6379"),
            (
                "rediss+cluster://u:p@10.0.0.1:1,[fe80::1]",
                "rediss+cluster://10.0.0.1:1,[fe80::1]:6379",
            ),
            ("redis+sentinel://a,b:5/main", "redis+sentinel://a:26379,b:5/main/0"),
            ("redis+sentinel://:p@a/main/2", "redis+sentinel://a:26379/main/2"),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused() {
        for url in [
            "",
            "redis",
            "redis://",
            "redis:///0",
            "http://a",
            "redis://a,b",
            "redis://a:b",
            "redis://a:0",
            "redis://a:",
            "redis://a:70000",
            "redis://a/x",
            "redis://a/1/2",
            "redis://user@a",
            "redis://a?db=1",
            "redis://a#insecure",
            "redis+x://a",
            "redis+cluster://a/1",
            "redis+cluster://a,,b",
            "redis+sentinel://a",
            "redis+sentinel://a/main/0/1",
            "redis://[::1",
            "redis://[::1]x",
            "redis://a b",
            "redis://u:%zz@a",
            "redis://u:%ff@a",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let location = parse("redis://ann%3A:hunter%402@cache").unwrap();
        let info = location.connection(&location.addresses()[0], As::Given);
        assert_eq!(info.redis_settings().username(), Some("ann:"));
        assert_eq!(info.redis_settings().password(), Some("hunter@2"));
        let info = location.connection(&location.addresses()[0], As::Nobody);
        assert_eq!(info.redis_settings().password(), None);
        let shown = format!("{location} {location:?}");
        assert!(!shown.contains("hunter") && !shown.contains("ann"), "{shown}");
        let refused = parse("redis://ann:hunter2@a?x").unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
