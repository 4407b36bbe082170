//! Where the server listens, over what, and which web pages may call it.
//!
//! Refused here: two listeners on one port, half of a certificate pair, and production without TLS
//! unless a proxy in front ends it.

use std::net::IpAddr;
use std::path::PathBuf;

use chassis::config::kind::{Kind, PathIs, Rule};
use chassis::config::{Fallback, Problem, Reader, Section, Var};
use http::Uri;

/// The address the public listeners are bound on.
pub static HOST: Var = Var::new(
    "HOST",
    Kind::Host,
    Fallback::Each { development: "127.0.0.1", production: "0.0.0.0" },
    "The address PORT and WS_PORT are bound on.",
);

/// Everything over HTTP.
pub static PORT: Var = Var::new(
    "PORT",
    Kind::Port,
    Fallback::Value("8080"),
    "Everything over HTTP: health, and the connection endpoints too.",
);

/// Connections alone.
pub static WS_PORT: Var = Var::new(
    "WS_PORT",
    Kind::Port,
    Fallback::Value("8081"),
    "The connection endpoints alone, with their own admission, so that a flood of sockets \
     cannot starve PORT.",
);

/// Metrics and profiles.
pub static PROMETHEUS_PORT: Var = Var::new(
    "PROMETHEUS_PORT",
    Kind::Port,
    Fallback::Value("9090"),
    "`/metrics` and `/debug/pprof/*`; never to be reachable from outside.",
);

/// The address of the metrics listener.
pub static METRICS_HOST: Var = Var::new(
    "METRICS_HOST",
    Kind::Host,
    Fallback::Value("127.0.0.1"),
    "The address PROMETHEUS_PORT is bound on.",
);

/// Whether metrics are served.
pub static METRICS_ENABLED: Var = Var::new(
    "METRICS_ENABLED",
    Kind::Flag,
    Fallback::Value("true"),
    "Whether PROMETHEUS_PORT is opened.",
);

/// The certificate chain.
pub static TLS_CERT_FILE: Var = Var::new(
    "TLS_CERT_FILE",
    Kind::Path(PathIs::File),
    Fallback::Unset,
    "Certificate chain in PEM, for TLS 1.3 on every listener; reread when it changes. In \
     production required, with TLS_KEY_FILE, unless TLS_TERMINATED_UPSTREAM is true.",
);

/// The certificate's key.
pub static TLS_KEY_FILE: Var = Var::new(
    "TLS_KEY_FILE",
    Kind::Path(PathIs::File),
    Fallback::Unset,
    "Private key in PEM that belongs to TLS_CERT_FILE.",
);

/// TLS ends before this server.
pub static TLS_TERMINATED_UPSTREAM: Var = Var::new(
    "TLS_TERMINATED_UPSTREAM",
    Kind::Flag,
    Fallback::Value("false"),
    "A proxy in front ends TLS, so that production may start without a certificate here.",
);

/// Whether web pages of other origins may call.
pub static ENABLE_CORS: Var = Var::new(
    "ENABLE_CORS",
    Kind::Flag,
    Fallback::Value("true"),
    "Whether web pages of the ALLOWED_ORIGINS may call; otherwise none of another origin may.",
);

/// The web pages that may call.
pub static ALLOWED_ORIGINS: Var = Var::new(
    "ALLOWED_ORIGINS",
    Kind::List(Rule {
        takes: "an origin such as https://veza.live, or * for any",
        accepts: is_origin,
        bad: "https://veza.live/path",
    }),
    Fallback::Each { development: "*", production: "" },
    "Origins of the web pages that may call over HTTP and open connections.",
);

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "Network",
    variables: &[
        &HOST,
        &PORT,
        &WS_PORT,
        &PROMETHEUS_PORT,
        &METRICS_HOST,
        &METRICS_ENABLED,
        &TLS_CERT_FILE,
        &TLS_KEY_FILE,
        &TLS_TERMINATED_UPSTREAM,
        &ENABLE_CORS,
        &ALLOWED_ORIGINS,
    ],
};

/// Certificate and key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, `TLS_CERT_FILE`.
    pub cert: PathBuf,
    /// Its private key, `TLS_KEY_FILE`.
    pub key: PathBuf,
}

/// Which web pages may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whether pages of other origins may call at all, `ENABLE_CORS`.
    pub enabled: bool,
    /// Which ones, `ALLOWED_ORIGINS`.
    pub allowed_origins: Origins,
}

/// A set of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every one.
    Any,
    /// These, as `scheme://host[:port]` in lower case.
    Only(Vec<String>),
}

/// What this file reads, to be spread over the configuration.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) host: IpAddr,
    pub(super) port: u16,
    pub(super) ws_port: u16,
    pub(super) prometheus_port: u16,
    pub(super) metrics_host: IpAddr,
    pub(super) metrics_enabled: bool,
    pub(super) tls: Option<TlsFiles>,
    pub(super) tls_terminated_upstream: bool,
    pub(super) cors: Cors,
}

impl From<&TlsFiles> for chassis::tls::Config {
    fn from(files: &TlsFiles) -> Self {
        Self { cert: files.cert.clone(), key: files.key.clone() }
    }
}

impl Cors {
    /// Whether a page of this origin, as its browser names it, may call.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.enabled
            && match &self.allowed_origins {
                Origins::Any => true,
                Origins::Only(list) => list.iter().any(|one| one.eq_ignore_ascii_case(origin)),
            }
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.get(&ENABLE_CORS);
        let list: Vec<String> = reader.find(&ALLOWED_ORIGINS).unwrap_or_default();
        if !list.iter().any(|origin| origin == "*") {
            let list = list.iter().map(|origin| origin.to_ascii_lowercase()).collect();
            return Self { enabled, allowed_origins: Origins::Only(list) };
        }
        if enabled && reader.environment().is_production() {
            reader.warn("ALLOWED_ORIGINS is *: any web page may call this server");
        }
        Self { enabled, allowed_origins: Origins::Any }
    }
}

impl Network {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let tls_terminated_upstream = reader.get(&TLS_TERMINATED_UPSTREAM);
        let network = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            ws_port: reader.get(&WS_PORT),
            prometheus_port: reader.get(&PROMETHEUS_PORT),
            metrics_host: reader.get(&METRICS_HOST),
            metrics_enabled: reader.get(&METRICS_ENABLED),
            tls: read_tls(reader, tls_terminated_upstream),
            tls_terminated_upstream,
            cors: Cors::read(reader),
        };
        network.refuse_shared_ports(reader);
        network
    }

    fn refuse_shared_ports(&self, reader: &mut Reader<'_>) {
        let mut taken = vec![(self.host, self.port, &PORT)];
        let mut others = vec![(self.host, self.ws_port, &WS_PORT)];
        if self.metrics_enabled {
            others.push((self.metrics_host, self.prometheus_port, &PROMETHEUS_PORT));
        }
        for (host, port, var) in others {
            let clash = taken.iter().find(|(other, number, _)| {
                let same_host = *other == host || other.is_unspecified() || host.is_unspecified();
                port != 0 && *number == port && same_host
            });
            if let Some((_, _, other)) = clash {
                let takes = format!("another port than {}", other.name);
                reader.refuse(var, Problem::Invalid { got: var.shown(&port.to_string()), takes });
            }
            taken.push((host, port, var));
        }
    }
}

fn read_tls(reader: &mut Reader<'_>, terminated_upstream: bool) -> Option<TlsFiles> {
    let cert: Option<PathBuf> = reader.find(&TLS_CERT_FILE);
    let key: Option<PathBuf> = reader.find(&TLS_KEY_FILE);
    let set = (reader.is_set(&TLS_CERT_FILE), reader.is_set(&TLS_KEY_FILE));
    match set {
        (true, false) => {
            let other = TLS_KEY_FILE.name.to_owned();
            reader.refuse(&TLS_CERT_FILE, Problem::Alone { other });
        }
        (false, true) => {
            let other = TLS_CERT_FILE.name.to_owned();
            reader.refuse(&TLS_KEY_FILE, Problem::Alone { other });
        }
        (false, false) if reader.environment().is_production() && !terminated_upstream => {
            let takes = "a certificate in production, with TLS_KEY_FILE, unless \
                         TLS_TERMINATED_UPSTREAM=true"
                .to_owned();
            reader.refuse(&TLS_CERT_FILE, Problem::Missing { takes });
        }
        _ => {}
    }
    Some(TlsFiles { cert: cert?, key: key? })
}

/// `*`, or a scheme and an authority with nothing behind them (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    // A parsed URI has at least the path `/`, also where the text has none.
    text.eq_ignore_ascii_case(&format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_else() {
        for good in ["*", "https://veza.live", "http://localhost:5173", "HTTPS://Veza.Live"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["veza.live", "https://veza.live/", "https://veza.live/a", "https://", "null"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn cors_allows_the_listed_origins_in_any_case_and_none_when_off() {
        let listed = Origins::Only(vec!["https://veza.live".to_owned()]);
        let mut cors = Cors { enabled: true, allowed_origins: listed };
        assert!(cors.allows("https://VEZA.live"));
        assert!(!cors.allows("https://veza.live.evil.example"));
        cors.enabled = false;
        assert!(!cors.allows("https://veza.live"));
    }
}
