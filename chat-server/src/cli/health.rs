//! `health`: asks the running server whether it is ready.
//!
//! Made for container health checks, where no curl may be at hand: exit code 0 when the server
//! answers 200, else 1 and the reasons.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chassis::tls::install_provider;
use tokio::runtime::Builder;

use crate::config::Config;

/// The guide's timeout for health checks.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to ask instead of this machine's `/health/ready` on PORT
    #[arg(long)]
    url: Option<String>,
}

/// The server's answer, when it is ready.
pub(super) fn ask(config: &Config, args: Args) -> Result<String, String> {
    let own = args.url.is_none();
    let url = match args.url {
        Some(url) => url,
        None => own_url(config, "/health/ready")?,
    };
    let (ready, body) = get(&url, own)?;
    if ready { Ok(format!("{body}\n")) } else { Err(format!("not ready: {body}")) }
}

/// Whether `url` answers with success, and what it answers; blocks.
///
/// `own` says that the URL is this machine's own address, for which no certificate is made out.
pub(super) fn get(url: &str, own: bool) -> Result<(bool, String), String> {
    install_provider();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .danger_accept_invalid_certs(own)
            .build()
            .map_err(|error| error.to_string())?;
        let response = client.get(url).send().await;
        let response = response.map_err(|error| format!("no answer from {url}: {error}"))?;
        let ready = response.status().is_success();
        let body = response.text().await.map_err(|error| error.to_string())?;
        Ok((ready, body))
    })
}

/// Where this machine's own server answers.
pub(super) fn own_url(config: &Config, path: &str) -> Result<String, String> {
    if config.port == 0 {
        return Err("PORT is 0, any free port: give --url".to_owned());
    }
    let host = match config.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}{path}", SocketAddr::new(host, config.port)))
}

#[cfg(test)]
mod tests {
    use chassis::config::Source;

    use super::*;

    fn url(pairs: &[(&str, &str)]) -> Result<String, String> {
        let config = Config::from_source(&Source::from_pairs(pairs.iter().copied())).unwrap();
        own_url(&config, "/health/ready")
    }

    #[test]
    fn an_address_that_means_all_is_asked_on_this_machine() {
        assert_eq!(url(&[]).unwrap(), "http://127.0.0.1:8080/health/ready");
        assert_eq!(url(&[("HOST", "0.0.0.0")]).unwrap(), "http://127.0.0.1:8080/health/ready");
        assert_eq!(url(&[("HOST", "::")]).unwrap(), "http://[::1]:8080/health/ready");
        assert_eq!(
            url(&[("HOST", "10.0.0.5"), ("PORT", "90")]).unwrap(),
            "http://10.0.0.5:90/health/ready"
        );
        let status = "/proc/self/status";
        let tls = [("TLS_CERT_FILE", status), ("TLS_KEY_FILE", status)];
        assert!(url(&tls).unwrap().starts_with("https://"));
        assert!(url(&[("PORT", "0")]).is_err());
    }

    #[test]
    fn nobody_there_is_not_ready() {
        let args = Args { url: Some("http://127.0.0.1:1/health/ready".to_owned()) };
        let config = Config::from_source(&Source::from_pairs([("PORT", "1")])).unwrap();
        assert!(ask(&config, args).unwrap_err().contains("no answer"));
    }
}
