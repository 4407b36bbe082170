//! What a person sees when the server has started in a terminal.
//!
//! Says what this server is made of, where it listens and what to paste into another terminal to
//! talk to it. The commands use curl and a streamed HTTP response, for that is on every machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, Environment};

/// What was bound, and what else the banner says.
#[derive(Debug, Clone)]
pub struct BoundAddrs {
    /// Everything over HTTP.
    pub http: SocketAddr,
    /// Connections alone.
    pub connections: SocketAddr,
    /// Metrics and profiles, when they are served.
    pub metrics: Option<SocketAddr>,
    /// Whether the listeners speak TLS.
    pub tls: bool,
    /// Whether one may connect without a token.
    pub anonymous: bool,
    /// Where rooms are kept.
    pub store: String,
    /// Where the nodes meet, without secrets; `None` for a node alone.
    pub bus: Option<String>,
    /// Where it runs.
    pub environment: Environment,
    /// The service's version.
    pub version: String,
    /// What to type for this program, quoted for a shell.
    pub program: String,
}

impl BoundAddrs {
    /// Addresses as they were bound, the rest as configured.
    #[must_use]
    pub fn new(
        config: &Config,
        http: SocketAddr,
        connections: SocketAddr,
        metrics: Option<SocketAddr>,
    ) -> Self {
        Self {
            http,
            connections,
            metrics,
            tls: config.tls.is_some(),
            anonymous: config.auth.anonymous,
            store: config.store.target.to_string(),
            bus: config.nodes.as_ref().map(|nodes| nodes.redis.location.to_string()),
            environment: config.environment,
            version: config.version.clone(),
            program: program(),
        }
    }
}

/// The banner, lines ended.
#[must_use]
pub fn render(bound: &BoundAddrs) -> String {
    let (http, ws) = if bound.tls { ("https", "wss") } else { ("http", "ws") };
    let door = reachable(bound.http);
    let connections = reachable(bound.connections);
    let metrics = match bound.metrics {
        Some(address) => format!("{http}://{}/metrics", reachable(address)),
        None => "off".to_owned(),
    };
    // A certificate is made out for a name, not for this address.
    let curl = if bound.tls { "curl -sNk" } else { "curl -sN" };
    let connect = if bound.anonymous {
        "{\"id\":1,\"connect\":{}}".to_owned()
    } else {
        let token = format!("{} token --user me", bound.program);
        format!("{{\"id\":1,\"connect\":{{\"token\":\"'$({token})$'\"}}}}")
    };
    let stream = format!("{http}://{door}/connection/http_stream");
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("\n  chat-server {} · {}\n", bound.version, bound.environment));
    line(format!("  store        {}", bound.store));
    line(format!("  bus          {}", bound.bus.as_deref().unwrap_or("in-process: one node")));
    line(format!("  http         {http}://{door}"));
    line(format!("  websocket    {ws}://{connections}/connection/websocket"));
    line(format!("  health       {http}://{door}/health"));
    line(format!("  metrics      {metrics}\n"));
    line("  Listen, in a second terminal:".to_owned());
    line(format!(
        "    {curl} {stream} \\\n      \
         -d $'{connect}\\n{{\"id\":2,\"subscribe\":{{\"channel\":\"hello\"}}}}'\n"
    ));
    line("  Say something, in a third:".to_owned());
    line(format!(
        "    {curl} -m 1 {stream} \\\n      \
         -d $'{connect}\\n{{\"id\":2,\"publish\":{{\"channel\":\"hello\",\"data\":\"hi\"}}}}'\n"
    ));
    line("  Stop with ctrl-c.".to_owned());
    text
}

/// Where this program lies: it is rarely in the path of those who build it.
fn program() -> String {
    match std::env::current_exe() {
        Ok(path) => quoted(&path.to_string_lossy()),
        Err(_unknown) => "chat-server".to_owned(),
    }
}

/// One word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// An address one can connect to: the unspecified one is a place to listen only.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> BoundAddrs {
        BoundAddrs {
            http: "0.0.0.0:8080".parse().unwrap(),
            connections: "0.0.0.0:8081".parse().unwrap(),
            metrics: Some("127.0.0.1:9090".parse().unwrap()),
            tls: false,
            anonymous: true,
            store: "SQLite ./data/veza.db".to_owned(),
            bus: None,
            environment: Environment::Development,
            version: "1.2.3".to_owned(),
            program: quoted("/srv/veza/chat-server"),
        }
    }

    #[test]
    fn it_says_what_runs_where_and_what_to_paste() {
        let text = render(&bound());
        for part in [
            "chat-server 1.2.3 · development",
            "store        SQLite ./data/veza.db",
            "in-process",
            "http://127.0.0.1:8080/health",
            "ws://127.0.0.1:8081/connection/websocket",
            "http://127.0.0.1:9090/metrics",
            r#"-d $'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"hello"}}'"#,
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120));
    }

    #[test]
    fn where_a_token_is_needed_the_line_makes_one() {
        let text = render(&BoundAddrs { anonymous: false, tls: true, metrics: None, ..bound() });
        assert!(text.contains("$(/srv/veza/chat-server token --user me)"), "{text}");
        assert!(text.contains("curl -sNk https://127.0.0.1:8080/"), "{text}");
        assert!(text.contains("metrics      off"), "{text}");
    }

    #[test]
    fn a_node_among_others_says_where_they_meet_and_no_secret() {
        let url = "redis://veza:hunter2@cache:6380/3".to_owned().into();
        let redis = chassis::redis::Location::parse(&url).unwrap();
        let text = render(&BoundAddrs { bus: Some(redis.to_string()), ..bound() });
        assert!(text.contains("  bus          redis://cache:6380/3\n"), "{text}");
        assert!(!text.contains("in-process") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn the_path_of_the_program_is_one_word() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert!(program().ends_with(|c: char| c.is_ascii_alphanumeric() || c == '\''));
    }
}
