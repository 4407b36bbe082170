//! Whether the Redis of several nodes is there, and fits.

use std::time::Duration;

use chassis::redis::{Error, Redis, Survey};
use chassis::tls::install_provider;
use tokio::runtime::Builder;

use super::{Finding, Outcome, with_sources};
use crate::config::Config;
use crate::nodes::Settings;

/// A Redis that takes longer stands too far away: every message between nodes waits for it.
const LATENCY_WARNING: Duration = Duration::from_millis(10);

/// What a Redis does at its limit that takes nothing away from the nodes.
const KEEPS: &str = "noeviction";

/// Looks at Redis; what is tried there goes by itself.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let Some(settings) = &config.nodes else {
        return vec![Finding::new(Outcome::Ok, "redis", "no REDIS_URL, one node alone")];
    };
    match look(settings) {
        Ok(survey) => judge(settings, &survey),
        Err(error) => vec![Finding::new(Outcome::Fail, "redis", refusal(settings, &error))],
    }
}

fn look(settings: &Settings) -> Result<Survey, Error> {
    install_provider();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Redis(error.into()))?;
    runtime.block_on(async {
        let redis = Redis::new(&settings.redis);
        let survey = redis.survey().await?;
        redis.try_out(&settings.prefix).await?;
        Ok(survey)
    })
}

fn refusal(settings: &Settings, error: &Error) -> String {
    let (location, word) = (&settings.redis.location, error.fault());
    format!("REDIS_URL: {location}: {word}: {}", with_sources(error))
}

/// What there is, and what speaks against it.
fn judge(settings: &Settings, survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |text| findings.push(Finding::new(Outcome::Warn, "redis", text));
    if !survey.is_whole {
        warn("a part of the cluster is away".to_owned());
    }
    for member in &survey.members {
        let address = &member.address;
        if member.latency > LATENCY_WARNING {
            warn(format!("{address} takes {} ms to answer", member.latency.as_millis()));
        }
        if let Some(memory) = &member.memory
            && memory.max_bytes > 0
            && memory.policy != KEEPS
        {
            let (policy, limit) = (&memory.policy, memory.max_bytes >> 20);
            warn(format!(
                "{address} evicts what nodes share when {limit} MB are full (maxmemory-policy \
                 {policy}): set {KEEPS}"
            ));
        }
    }
    let mut members = survey.members.iter();
    if let Some(first) = members.next() {
        let count = survey.members.len();
        let slowest = members.fold(first.latency, |slowest, member| slowest.max(member.latency));
        let text = format!(
            "{}: Redis {}, {}, {count} to write to, answers within {:.1} ms",
            settings.redis.location,
            first.version,
            first.mode,
            slowest.as_secs_f64() * 1e3,
        );
        findings.insert(0, Finding::new(Outcome::Ok, "redis", text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use chassis::config::Source;
    use chassis::testing::Redis as Server;

    use super::*;

    fn found(url: &str) -> Vec<(Outcome, String)> {
        let config = Config::from_source(&Source::from_pairs([("REDIS_URL", url)])).unwrap();
        findings(&config).into_iter().map(|finding| (finding.outcome, finding.text)).collect()
    }

    fn server(settings: &[&str]) -> Server {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Server::with(settings))
    }

    #[test]
    fn a_redis_that_fits_passes() {
        let found = found(&server(&[]).url());
        let [(Outcome::Ok, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.contains("Redis 7.") && text.contains("one server, 1 to write to"), "{text}");
    }

    #[test]
    fn one_that_evicts_is_warned_of() {
        let found = found(&server(&["maxmemory 64mb", "maxmemory-policy allkeys-lru"]).url());
        let [(Outcome::Ok, _), (Outcome::Warn, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.contains("64 MB") && text.contains("allkeys-lru"), "{text}");
    }

    #[test]
    fn one_that_is_away_or_wrong_fails_without_the_password() {
        let locked = server(&["requirepass right"]);
        let url = format!("redis://:hunter2@{}", locked.address());
        let found_wrong = found(&url);
        let [(Outcome::Fail, text)] = &found_wrong[..] else { panic!("{found_wrong:?}") };
        assert!(text.contains("wrong_password") && !text.contains("hunter2"), "{text}");
        locked.kill();
        let found_away = found(&url);
        let [(Outcome::Fail, text)] = &found_away[..] else { panic!("{found_away:?}") };
        assert!(text.contains("unreachable") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn one_that_forbids_what_nodes_do_fails() {
        let user = "user ann on >pw ~* &other:* +@all";
        let strict = server(&[user]);
        let found = found(&format!("redis://ann:pw@{}", strict.address()));
        let [(Outcome::Fail, text)] = &found[..] else { panic!("{found:?}") };
        assert!(text.contains("permission"), "{text}");
    }
}
