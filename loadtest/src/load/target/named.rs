//! A server that is there already.
//!
//! Load is for one's own servers: a URL is refused unless everything its name stands for is this
//! machine, or whoever runs this says that the server is theirs. What was looked up is what is
//! connected to, so that a name cannot mean something else a moment later.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Url;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{PATH, Trust};

/// Longest a name may take to be looked up.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// Whether load may go to other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// To this one only.
    Loopback,
    /// Whoever runs this said that the server is theirs.
    OwnsTarget,
}

/// A server by its URL.
#[derive(Debug, Clone)]
pub struct Named {
    /// `ws://` or `wss://`, a host, and a port unless it is the usual one.
    pub url: String,
    /// Where it may be.
    pub consent: Consent,
    /// For `wss://`: a file with the certificates of whom to trust, in PEM.
    pub authority: Option<PathBuf>,
    /// What signs tokens there; clients come without one when there is none.
    pub secret: Option<String>,
    /// Its processes, if they run on this machine and are to be watched.
    pub servers: Vec<u32>,
}

/// What it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) door: SocketAddr,
    pub(super) trust: Option<Trust>,
}

impl Named {
    /// Looks it up.
    pub(super) async fn find(&self) -> Result<Found> {
        let url = Url::parse(&self.url).with_context(|| format!("{} is no URL", self.url))?;
        let host = url.host_str().with_context(|| format!("{} has no host", self.url))?;
        // An IPv6 address stands in brackets in a URL, and without them everywhere else.
        let name = host.trim_matches(['[', ']']);
        let trust = match (url.scheme(), &self.authority) {
            ("ws", _) => None,
            ("wss", Some(file)) => Some(Trust::read(name.to_owned(), file)?),
            ("wss", None) => bail!("wss:// needs --ca with the certificates of whom to trust"),
            (scheme, _) => bail!("{scheme}:// is not spoken here: a URL begins with ws or wss"),
        };
        ensure!(
            ["/", PATH].contains(&url.path()) && url.query().is_none(),
            "a chat-server has its WebSocket at {PATH}: leave the path out"
        );
        let port = url.port_or_known_default().context("a URL of ws has a port")?;
        let looked_up = timeout(LOOKUP_MAX, lookup_host((name, port))).await;
        let looked_up = looked_up.with_context(|| format!("{name}: no answer"))?;
        let mut addresses: Vec<_> = looked_up.with_context(|| name.to_owned())?.collect();
        // A chat-server listens on IPv4 unless it is told otherwise.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(Found { door: choose(name, &addresses, self.consent)?, trust })
    }
}

/// The address that is connected to, if all of them may be.
fn choose(name: &str, addresses: &[SocketAddr], consent: Consent) -> Result<SocketAddr> {
    let first = *addresses.first().with_context(|| format!("{name} stands for no address"))?;
    let unspecified = addresses.iter().any(|address| address.ip().is_unspecified());
    ensure!(
        !unspecified,
        "{name} is no address to connect to: name 127.0.0.1, or the server's own"
    );
    let other = addresses.iter().map(SocketAddr::ip).find(|address| !is_loopback(*address));
    match (other, consent) {
        (None, _) | (Some(_), Consent::OwnsTarget) => Ok(first),
        (Some(other), Consent::Loopback) if other.to_string() == name => {
            bail!("{name} is not this machine: load goes there with --i-own-this-target only")
        }
        (Some(other), Consent::Loopback) => bail!(
            "{name} stands for {other}, which is not this machine: \
             load goes there with --i-own-this-target only"
        ),
    }
}

/// Whether it never leaves this machine; IPv4 in IPv6 clothes is undressed.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str, consent: Consent) -> Named {
        Named { url: url.to_owned(), consent, authority: None, secret: None, servers: Vec::new() }
    }

    async fn refusal(url: &str) -> String {
        format!("{:#}", named(url, Consent::Loopback).find().await.unwrap_err())
    }

    #[tokio::test]
    async fn this_machine_is_let_in_by_whatever_name_it_goes() {
        let cases = [
            ("ws://127.0.0.1:9000", "127.0.0.1:9000"),
            ("ws://127.8.9.10", "127.8.9.10:80"),
            ("ws://[::1]:9000/connection/websocket", "[::1]:9000"),
            ("ws://[::ffff:127.0.0.1]:9000/", "[::ffff:127.0.0.1]:9000"),
        ];
        for (url, door) in cases {
            let found = named(url, Consent::Loopback).find().await.unwrap();
            assert_eq!((found.door.to_string(), found.trust), (door.to_owned(), None), "{url}");
        }
        let found = named("ws://localhost:9000/", Consent::Loopback).find().await.unwrap();
        assert!(found.door.ip().is_loopback(), "{found:?}");
    }

    #[tokio::test]
    async fn another_machine_is_refused_until_somebody_says_that_it_is_theirs() {
        for url in [
            "ws://203.0.113.7:8081",
            "ws://10.0.0.5:8081",
            "ws://192.168.1.1",
            "ws://[2001:db8::1]:8081",
            "ws://[fe80::1]:8081",
            "ws://[::ffff:203.0.113.7]:8081",
            "ws://3405803783:80",
        ] {
            let refusal = refusal(url).await;
            assert!(refusal.contains("--i-own-this-target"), "{url}: {refusal}");
            let found = named(url, Consent::OwnsTarget).find().await.unwrap();
            assert!(!is_loopback(found.door.ip()));
        }
    }

    #[test]
    fn one_address_of_a_name_that_is_elsewhere_is_enough_to_refuse_it() {
        let (here, there) = ("127.0.0.1:80".parse().unwrap(), "203.0.113.7:80".parse().unwrap());
        for addresses in [[here, there], [there, here]] {
            let refusal = choose("twofold.example", &addresses, Consent::Loopback).unwrap_err();
            assert!(refusal.to_string().contains("stands for 203.0.113.7"), "{refusal}");
        }
        assert_eq!(choose("twofold.example", &[there, here], Consent::OwnsTarget).unwrap(), there);
        assert!(choose("nobody.example", &[], Consent::OwnsTarget).is_err());
    }

    #[tokio::test]
    async fn an_address_that_means_all_is_refused_whoever_owns_what() {
        for url in ["ws://0.0.0.0:8081", "ws://[::]:8081", "ws://0:8081"] {
            for consent in [Consent::Loopback, Consent::OwnsTarget] {
                let refusal = named(url, consent).find().await.unwrap_err().to_string();
                assert!(refusal.contains("no address to connect to"), "{url}: {refusal}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_url_of_a_websocket_is_told_so() {
        assert!(refusal("127.0.0.1:9000").await.contains("no URL"));
        assert!(refusal("http://127.0.0.1:9000").await.contains("begins with ws or wss"));
        assert!(refusal("ws://127.0.0.1/other").await.contains("leave the path out"));
        assert!(refusal("wss://127.0.0.1:9000").await.contains("--ca"));
        let mut named = named("wss://127.0.0.1:9000", Consent::Loopback);
        named.authority = Some("/dev/null".into());
        assert!(named.find().await.unwrap_err().to_string().contains("no certificate"));
        let folder = tempfile::tempdir().unwrap();
        let made = chassis::testing::self_signed(folder.path());
        named.authority = Some(made.cert.clone());
        let trust = named.find().await.unwrap().trust.unwrap();
        assert_eq!((trust.name.as_str(), trust.file), ("127.0.0.1", made.cert));
        assert_eq!(trust.certificates, [made.der]);
    }
}
