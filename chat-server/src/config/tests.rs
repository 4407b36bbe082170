//! The whole configuration: defaults, refusals, and every variable given a bad value.

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::config::kind::Kind;
use secrecy::ExposeSecret;

use super::*;
use crate::store::Target;

const STRONG: &str = "q8Zr2Xw0Lk4Vn6Bt1Ys9Hd3Gf7Jc5Mp0Ae";

fn development() -> Source {
    Source::from_pairs([("JWT_SECRET", STRONG)])
}

fn production() -> Source {
    development().with("ENVIRONMENT", "production").with("TLS_TERMINATED_UPSTREAM", "true")
}

fn variables() -> impl Iterator<Item = &'static Var> {
    TABLE.iter().flat_map(|section| section.variables).copied()
}

fn refusal(source: &Source) -> String {
    Config::from_source(source).expect_err("refused").to_string()
}

#[test]
fn development_needs_no_variable_at_all() {
    let config = Config::from_source(&Source::from_pairs([("", ""); 0])).unwrap();
    assert_eq!((config.port, config.ws_port, config.prometheus_port), (8080, 8081, 9090));
    assert!(config.host.is_loopback() && config.metrics_host.is_loopback());
    assert!(config.auth.anonymous && !config.auth.exp_required);
    assert_eq!(config.limits.connections_max, 100_000);
    assert_eq!(config.limits.message_size_max, 8192);
    assert_eq!(config.limits.memory_limit_bytes, 8192 << 20);
    assert_eq!(config.limits.outbound_budget_bytes, (8192 << 20) / 10);
    assert_eq!((config.limits.connections_per_ip, config.limits.shards), (0, 1));
    assert_eq!(config.timing.ping_interval, Duration::from_secs(25));
    assert_eq!(config.cors.allowed_origins, Origins::Any);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_guides_settings_start_once_its_placeholders_are_replaced() {
    let guide = production()
        .with("SERVICE_NAME", "veza-chat-server")
        .with("VERSION", "2.0.0")
        .with("HOST", "0.0.0.0")
        .with("DATABASE_URL", "postgresql://veza:secure_pass@postgres:5432/veza_prod")
        .with("REDIS_URL", "redis://redis:6379")
        .with("JAEGER_ENDPOINT", "http://jaeger:14268/api/traces")
        .with("TRACING_ENABLED", "true")
        .with("WORKER_THREADS", "16")
        .with("MEMORY_LIMIT_MB", "8192")
        .with("ENABLE_CORS", "true")
        .with("ALLOWED_ORIGINS", "https://veza.live,https://app.veza.live")
        .with("MODERATION_ENABLED", "true")
        .with("E2E_ENCRYPTION", "optional");
    let config = Config::from_source(&guide).unwrap();
    assert!(config.cors.allows("https://app.veza.live") && !config.cors.allows("https://x.live"));
    assert!(!config.auth.anonymous && config.auth.exp_required);
    assert!(matches!(config.store.target, Target::Postgres(_)));
    assert!(config.nodes.is_some_and(|nodes| nodes.prefix == "veza"));
    for name in ["TRACING_ENABLED", "MODERATION", "E2E_ENCRYPTION"] {
        assert!(config.warnings.iter().any(|warning| warning.starts_with(name)), "{name}");
    }
    assert!(!config.warnings.concat().contains("secure_pass"));

    let text = refusal(&guide.with("JWT_SECRET", "your_production_jwt_secret_here"));
    assert!(text.starts_with("JWT_SECRET: got a placeholder"), "{text}");
}

#[test]
fn every_variable_refuses_its_bad_values_by_name() {
    for var in variables() {
        for bad in var.kind.bad_examples() {
            let text = refusal(&development().with(var.name, &bad));
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{}: got ", var.name)))
                .unwrap_or_else(|| panic!("{} took {bad:?}: {text}", var.name));
            assert!(line.contains(", takes "), "{line}");
            let shown = line.contains(&var.shown(&bad));
            assert!(shown, "{line}");
            if var.secret {
                assert!(!line.contains(&bad), "{line}");
            }
        }
    }
}

#[test]
fn every_default_is_one_the_variable_takes() {
    for var in variables() {
        for environment in [Environment::Development, Environment::Production] {
            if let Some(text) = var.fallback.text(environment) {
                assert!(var.kind.parse(text).is_some(), "{} = {text}", var.name);
            }
        }
    }
}

#[test]
fn every_variable_stands_in_the_table_once_and_says_what_it_does() {
    let mut names = BTreeSet::new();
    for var in variables() {
        assert!(names.insert(var.name), "{} twice", var.name);
        assert!(var.help.ends_with('.') && var.help.len() > 10, "{}", var.name);
        if let Kind::Path(_) = var.kind {
            assert!(!var.secret, "{} is a path and cannot be a secret", var.name);
        }
    }
}

#[test]
fn production_refuses_what_is_unsafe_all_at_once() {
    let text = refusal(&Source::from_pairs([
        ("ENVIRONMENT", "production"),
        ("ALLOW_ANONYMOUS", "true"),
        ("ENCRYPTION_KEY", "your_32_byte_encryption_key_here"),
    ]));
    for name in ["JWT_SECRET: is not set", "ALLOW_ANONYMOUS: got", "ENCRYPTION_KEY: got a place"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.contains("TLS_CERT_FILE: is not set"), "{text}");
    assert!(text.contains("TLS_TERMINATED_UPSTREAM=true"), "{text}");
    for weak in ["tiny-key", "abababababababababababababababababab"] {
        let text = refusal(&production().with("JWT_SECRET", weak));
        assert!(text.starts_with("JWT_SECRET: got a value") && !text.contains(weak), "{text}");
        let text = refusal(&production().with("JWT_SECRET_PREVIOUS", weak));
        assert!(text.starts_with("JWT_SECRET_PREVIOUS: got a value"), "{text}");
    }
    assert!(Config::from_source(&production()).is_ok());
}

#[test]
fn variables_that_contradict_each_other_are_refused() {
    let cases = [
        ("WS_PORT", "8080", "WS_PORT: got \"8080\", takes another port than PORT"),
        ("PROMETHEUS_PORT", "8081", "PROMETHEUS_PORT: got \"8081\", takes another port"),
        ("PONG_TIMEOUT_MS", "25000", "PONG_TIMEOUT_MS: got \"25000\", takes less than PING"),
        ("SHUTDOWN_SPREAD_MS", "30001", "SHUTDOWN_SPREAD_MS: got \"30001\", takes at most"),
        ("TLS_CERT_FILE", "/proc/self/status", "TLS_CERT_FILE: is set without TLS_KEY_FILE"),
        ("TLS_KEY_FILE", "/proc/self/status", "TLS_KEY_FILE: is set without TLS_CERT_FILE"),
        ("E2E_ENCRYPTION", "required", "E2E_ENCRYPTION: got \"required\", takes off or optional"),
    ];
    for (name, value, expected) in cases {
        let text = refusal(&development().with(name, value));
        assert!(text.starts_with(expected), "{text}");
    }
    let both = development()
        .with("JWKS_FILE", "/proc/self/status")
        .with("JWKS_URL", "https://veza.live/jwks.json");
    assert!(refusal(&both).starts_with("JWKS_FILE: is set together with JWKS_URL"));
    let free = development().with("PORT", "0").with("WS_PORT", "0").with("PROMETHEUS_PORT", "0");
    assert!(Config::from_source(&free).is_ok());
}

#[test]
fn addresses_are_limited_in_production_unless_a_proxy_hides_them() {
    let behind_proxy = Config::from_source(&production()).unwrap();
    assert_eq!(behind_proxy.limits.connections_per_ip, 0);
    let direct = production()
        .with("TLS_TERMINATED_UPSTREAM", "false")
        .with("TLS_CERT_FILE", "/proc/self/status")
        .with("TLS_KEY_FILE", "/proc/self/status");
    let direct = Config::from_source(&direct).unwrap();
    assert_eq!((direct.limits.connections_per_ip, direct.limits.connect_rate_per_ip), (1000, 100));
}

#[test]
fn development_shares_one_generated_secret_and_a_weak_one_only_warns() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::from_pairs([("DATA_DIR", folder.path().to_str().unwrap())]);
    let read_only = Config::from_source(&source).unwrap();
    assert_eq!(read_only.auth.secret_origin, SecretOrigin::MadeUp);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "reading makes nothing");

    let first = Config::load(&source).unwrap();
    let second = Config::load(&source).unwrap();
    assert_eq!(first.auth.secret.expose_secret(), second.auth.secret.expose_secret());
    assert_eq!(first.auth.secret_origin, SecretOrigin::Shared);

    let weak = Config::load(&Source::from_pairs([("JWT_SECRET", "secret")])).unwrap();
    assert!(weak.warnings[0].starts_with("JWT_SECRET is a value shorter"), "{:?}", weak.warnings);
}

#[test]
fn rooms_are_in_a_file_unless_a_url_says_where() {
    let place = |source: &Source| {
        let config = Config::from_source(source).unwrap();
        (config.store.target.to_string(), config.warnings)
    };
    let (shown, warnings) = place(&development());
    assert_eq!(shown, "SQLite ./data/veza.db");
    assert_eq!(warnings, [""; 0]);
    let (shown, _) = place(&development().with("DATABASE_URL", "sqlite:/srv/rooms.db"));
    assert_eq!(shown, "SQLite /srv/rooms.db");
    let url = "postgres://veza:hunter2@db/veza?connect_timeout=10&sslpassword=hunter2";
    let (shown, warnings) = place(&development().with("DATABASE_URL", url));
    assert_eq!(shown, "PostgreSQL db:5432/veza");
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with("DATABASE_URL: its parameter connect_timeout"), "{warnings:?}");
    assert!(!warnings.concat().contains("hunter2"));
    let (_, warnings) = place(&production());
    assert!(
        warnings[0].starts_with("rooms are in SQLite (./data/veza.db), on one"),
        "{warnings:?}"
    );
    for bad in ["postgres://veza:hunter2@db:port/veza", "sqlite::memory:", "hunter2"] {
        let text = refusal(&development().with("DATABASE_URL", bad));
        assert!(text.starts_with("DATABASE_URL: got ") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn no_secret_is_shown_among_the_effective_values_or_in_debug_output() {
    let (config, effective) = Config::read(&development());
    assert!(effective.iter().all(|value| !value.shown.contains(STRONG)));
    assert!(!format!("{:?}", config.unwrap()).contains(STRONG));
}
