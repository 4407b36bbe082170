//! Whether the database is there, takes writes, and fits this program and its settings.

use chassis::tls::install_provider;
use tokio::runtime::Builder;

use super::{Finding, Outcome};
use crate::config::Config;
use crate::store::{OpenError, Server, Survey};

/// The oldest PostgreSQL that still gets fixes and has all that the statements use.
const VERSION_MIN: u32 = 14;

/// The connection that looks after the server, besides those of the pool.
const OWN_CONNECTIONS: u32 = 1;

/// Looks at the database; nothing is made or changed there.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let place = &config.store.target;
    match survey(config) {
        Ok(Survey { waiting, server }) => {
            let state = match waiting {
                0 => "migrated".to_owned(),
                1 => "the next start applies 1 migration".to_owned(),
                many => format!("the next start applies {many} migrations"),
            };
            let text = format!("{place}: can be written to, {state}");
            let mut findings = vec![Finding::new(Outcome::Ok, "store", text)];
            findings.extend(server.iter().flat_map(|server| judge(server, config.store.pool_size)));
            findings
        }
        Err(reason) => vec![Finding::new(Outcome::Fail, "store", reason)],
    }
}

/// What speaks against a server that can be used.
fn judge(server: &Server, pool_size: u32) -> Vec<Finding> {
    let mut findings = Vec::new();
    let version = server.version / 10_000;
    if version < VERSION_MIN {
        let text = format!("PostgreSQL {version} is older than {VERSION_MIN}");
        findings.push(Finding::new(Outcome::Fail, "store", text));
    }
    let (most, wanted) = (server.connections_max, pool_size.saturating_add(OWN_CONNECTIONS));
    if wanted > most {
        let text = format!(
            "DATABASE_POOL_SIZE {pool_size} takes up to {wanted} connections, the server has {most}"
        );
        findings.push(Finding::new(Outcome::Warn, "store", text));
    }
    findings
}

fn survey(config: &Config) -> Result<Survey, String> {
    install_provider();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(config.store.survey()).map_err(|error: OpenError| error.to_string())
}

#[cfg(test)]
mod tests {
    use chassis::config::Source;
    use chassis::testing::{Schema, free_port};

    use super::*;

    fn found(pairs: &[(&str, &str)]) -> Vec<(Outcome, String)> {
        let config = Config::from_source(&Source::from_pairs(pairs.iter().copied())).unwrap();
        findings(&config).into_iter().map(|finding| (finding.outcome, finding.text)).collect()
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_left_that_way() {
        let folder = tempfile::tempdir().unwrap();
        let found = found(&[("DATA_DIR", folder.path().to_str().unwrap())]);
        let [(Outcome::Ok, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.contains("veza.db: can be written to, the next start applies"), "{text}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_database_fails() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("veza.db"), "x".repeat(4096)).unwrap();
        let found = found(&[("DATA_DIR", folder.path().to_str().unwrap())]);
        let [(Outcome::Fail, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.contains("veza.db: file is not a database"), "{text}");
    }

    #[test]
    fn a_server_is_judged_by_its_version_and_its_connections() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let schema = runtime.block_on(Schema::create());
        let found = found(&[("DATABASE_URL", schema.url()), ("DATABASE_POOL_SIZE", "9999")]);
        let [(Outcome::Ok, first), (Outcome::Warn, second)] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(first.starts_with("PostgreSQL ") && first.contains("the next start applies"));
        assert!(second.contains("DATABASE_POOL_SIZE 9999 takes up to 10000"), "{second}");
        let old = Server { version: 130_004, connections_max: 97 };
        let judged = judge(&old, 96);
        assert_eq!(judged[0].text, "PostgreSQL 13 is older than 14");
        assert_eq!(judged.len(), 1);
    }

    #[test]
    fn a_server_that_is_not_there_fails_without_the_password() {
        let url = format!("postgres://veza:hunter2@127.0.0.1:{}/veza", free_port());
        let found = found(&[("DATABASE_URL", &url)]);
        let [(Outcome::Fail, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.starts_with("DATABASE_URL: PostgreSQL 127.0.0.1:"), "{text}");
        assert!(text.contains("refused") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_server_that_only_reads_fails() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let schema = runtime.block_on(Schema::create());
        let url = format!("{}%20-cdefault_transaction_read_only%3Don", schema.url());
        let found = found(&[("DATABASE_URL", &url)]);
        let [(Outcome::Fail, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.ends_with("it is read-only"), "{text}");
    }
}
