//! Where key sets come from: a file or an HTTP URL.
//!
//! Responsible for: one bounded, timed read of the source. Not for: when to read and what to do
//! about failures (`cache`). HTTPS, or plain HTTP to this machine only; redirects and proxies are
//! not followed, so what the configuration names is what answers. Invariant: a fetch ends within
//! `FETCH_TIMEOUT` and holds at most `SET_BYTES_MAX`.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::cache::Timing;
use crate::auth::JwksSource;
use crate::auth::key::{KeyRing, KeySetError};
use crate::stamp::Stamp;
use crate::tls;

/// Longest a fetch may take: a healthy issuer answers within 200 ms, five seconds is where a
/// client gives up on its connect command.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest key set in bytes: 64 keys with their certificate chains take at most 4 KiB each.
const SET_BYTES_MAX: usize = 256 * 1024;

/// A URL is asked again every five minutes, as issuers' cache headers commonly say.
const URL_TIMING: Timing = Timing {
    refresh_after: Duration::from_secs(5 * 60),
    wait_after: Duration::from_secs(10 * 60),
    retry_after: Duration::from_secs(10),
    stale_max: STALE_MAX,
};

/// A file costs one `stat`: it is looked at every second in use.
const FILE_TIMING: Timing = Timing {
    refresh_after: Duration::from_secs(1),
    wait_after: Duration::from_secs(1),
    retry_after: Duration::from_secs(1),
    stale_max: STALE_MAX,
};

/// One day: long enough for any outage of an issuer that has people working on it, and tokens
/// are rarely valid for longer.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A configured and checked source.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url { url: Url, client: Client },
}

/// A key set as read.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) ring: KeyRing,
    pub(super) stamp: Option<Stamp>,
}

/// Why a key set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The configured text is no URL.
    #[error("not a URL")]
    Url(#[source] <Url as FromStr>::Err),
    /// Neither `https` nor `http` to a loopback address, or with a password inside.
    #[error("a key set comes by https, or by http from this machine, without credentials")]
    Insecure,
    /// The HTTP client cannot be built, for example without any trusted root certificates.
    #[error("the HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
    /// The file cannot be read.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
    /// No answer, or one cut short.
    #[error("no answer")]
    Http(#[source] reqwest::Error),
    /// An answer other than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// Longer than 256 KiB.
    #[error("longer than {SET_BYTES_MAX} bytes")]
    TooLong,
    /// Not a usable key set.
    #[error("not usable")]
    Set(#[from] KeySetError),
    /// No complete answer within five seconds.
    #[error("no complete answer within {} s", FETCH_TIMEOUT.as_secs())]
    Timeout,
    /// The task was stopped or panicked.
    #[error("interrupted")]
    Aborted,
}

impl Source {
    pub(super) fn new(source: &JwksSource) -> Result<Self, SourceError> {
        match source {
            JwksSource::File(path) => Ok(Self::File(path.clone())),
            JwksSource::Url(text) => {
                let url = Url::from_str(text).map_err(SourceError::Url)?;
                let client = client_for(&url)?;
                Ok(Self::Url { url, client })
            }
        }
    }

    pub(super) fn timing(&self) -> Timing {
        match self {
            Self::File(_) => FILE_TIMING,
            Self::Url { .. } => URL_TIMING,
        }
    }

    /// Reads a file source at start. A URL has nothing yet.
    pub(super) fn first(&self) -> Result<Option<Fetched>, SourceError> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let stamp = Stamp::of(path)?;
        if stamp.bytes() > SET_BYTES_MAX as u64 {
            return Err(SourceError::TooLong);
        }
        let ring = KeyRing::parse(&std::fs::read(path)?)?;
        Ok(Some(Fetched { ring, stamp: Some(stamp) }))
    }

    /// Reads the source; `None` if it still is the version `known`.
    pub(super) async fn fetch(&self, known: Option<Stamp>) -> Result<Option<Fetched>, SourceError> {
        let fetched = async {
            match self {
                Self::File(path) => fetch_file(path, known).await,
                Self::Url { url, client } => fetch_url(client, url).await.map(Some),
            }
        };
        timeout(FETCH_TIMEOUT, fetched).await.unwrap_or(Err(SourceError::Timeout))
    }
}

/// For logs: what it is called, without what may open it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url { url, .. } => {
                // A query may hold an access key.
                let mut shown = url.clone();
                shown.set_query(None);
                shown.set_fragment(None);
                shown.fmt(f)
            }
        }
    }
}

fn client_for(url: &Url) -> Result<Client, SourceError> {
    let plain = match url.scheme() {
        "https" => false,
        "http" if is_loopback(url) => true,
        _ => return Err(SourceError::Insecure),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::Insecure);
    }
    tls::install_provider();
    let builder = Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .https_only(!plain)
        .user_agent(concat!("veza-core/", env!("CARGO_PKG_VERSION")));
    // Plain HTTP needs no trusted roots, and an image without any must still start.
    let builder = if plain { builder.tls_certs_only([]) } else { builder };
    builder.build().map_err(SourceError::Client)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

async fn fetch_file(path: &Path, known: Option<Stamp>) -> Result<Option<Fetched>, SourceError> {
    let file = tokio::fs::File::open(path).await?;
    let stamp = Stamp::from(&file.metadata().await?);
    if known == Some(stamp) {
        return Ok(None);
    }
    let mut json = Vec::new();
    file.take(SET_BYTES_MAX as u64 + 1).read_to_end(&mut json).await?;
    if json.len() > SET_BYTES_MAX {
        return Err(SourceError::TooLong);
    }
    let ring = KeyRing::parse(&json)?;
    Ok(Some(Fetched { ring, stamp: Some(stamp) }))
}

async fn fetch_url(client: &Client, url: &Url) -> Result<Fetched, SourceError> {
    let mut response = client.get(url.clone()).send().await.map_err(no_answer)?;
    if response.status() != http::StatusCode::OK {
        return Err(SourceError::Status(response.status().as_u16()));
    }
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if json.len() + chunk.len() > SET_BYTES_MAX {
            return Err(SourceError::TooLong);
        }
        json.extend_from_slice(&chunk);
    }
    Ok(Fetched { ring: KeyRing::parse(&json)?, stamp: None })
}

/// The client's errors name the whole URL, and they are logged.
fn no_answer(error: reqwest::Error) -> SourceError {
    SourceError::Http(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_plain_http_to_this_machine_are_taken() {
        let check = |url: &str| Source::new(&JwksSource::Url(url.to_owned())).map(|_| ());
        for good in ["http://localhost:1/k", "http://127.0.0.1/k", "http://[::1]:9/k"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.org/keys",
            "http://localhost.example.org/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "http://user:pass@localhost/",
        ] {
            assert!(matches!(check(bad), Err(SourceError::Insecure)), "{bad}");
        }
        assert!(matches!(check("keys.json"), Err(SourceError::Url(_))));
    }

    #[tokio::test]
    async fn what_is_logged_of_a_failed_fetch_lacks_the_query() {
        use std::error::Error as _;

        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        drop(taken);
        let url = format!("http://{address}/keys?key=hunter2#hunter2");
        let source = Source::new(&JwksSource::Url(url)).unwrap();
        assert_eq!(source.to_string(), format!("http://{address}/keys"));

        let error = source.fetch(None).await.unwrap_err();
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            said.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(matches!(error, SourceError::Http(_)), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
