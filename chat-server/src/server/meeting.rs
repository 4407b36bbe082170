//! How this node meets the others: the bus, and what it says of itself.

use std::sync::Arc;

use chassis::accept::Admission;
use chassis::redis;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::config::{AuthConfig, Config, JwksSource};
use crate::fanout::bus::{self, Bus, Transport};
use crate::metrics::Metrics;
use crate::nodes::{About, Fingerprints, Heart, Nodes, Settings};
use crate::store::Store;

/// The words nodes use on the bus and in Redis; another number when those of before are not
/// understood any more.
const WORDS: u32 = 1;

/// What a node has of the others; alone it has nothing.
pub(super) struct Met {
    pub(super) nodes: Option<Arc<Nodes>>,
    pub(super) bus: Bus,
    pub(super) bus_tasks: Option<bus::Tasks>,
}

/// The way to the other nodes, and the tasks that keep it.
pub(super) async fn meet(
    settings: Option<&Settings>,
    id: Uuid,
    meters: bus::Meters,
) -> Result<Met, redis::Error> {
    let Some(settings) = settings else {
        // A node alone is always heard.
        meters.up.set(1.0);
        return Ok(Met { nodes: None, bus: Bus::Local, bus_tasks: None });
    };
    let nodes = Nodes::new(settings, id);
    greet(&nodes).await?;
    let redis = nodes.redis().clone();
    let (transport, tasks) = Transport::new(redis, nodes.prefix(), id, meters);
    Ok(Met { nodes: Some(nodes), bus: Bus::Redis(transport), bus_tasks: Some(tasks) })
}

/// Looks whether the Redis of the nodes can be used. One that is away, loads, is full or is a
/// replica for now is found when it is well: running nodes bear that too. One that answers and is
/// wrong is for whoever starts this to put right.
async fn greet(nodes: &Nodes) -> Result<(), redis::Error> {
    let redis = nodes.redis();
    let greeted = match redis.survey().await {
        Ok(_) => redis.try_out(nodes.prefix()).await,
        Err(error) => Err(error),
    };
    let location = redis.location();
    match greeted {
        Err(error) if error.fault().is_lasting() => return Err(error),
        Err(error) => {
            let reason = error.fault().word();
            tracing::warn!(%location, reason, %error, "this node starts without the others");
        }
        Ok(()) => tracing::debug!(%location, "the nodes meet"),
    }
    Ok(())
}

/// The heart of a node among others.
pub(super) fn heart(
    nodes: Option<&Arc<Nodes>>,
    config: &Config,
    store: &Store,
    admission: &Arc<Admission>,
    metrics: &Arc<Metrics>,
) -> Option<Heart> {
    let (nodes, settings) = (nodes?, config.nodes.as_ref()?);
    let admission = admission.clone();
    let about = About::new(
        &config.version,
        fingerprints(config, store),
        settings.clock,
        move || admission.open(),
        metrics.clone(),
    );
    Some(Heart::new(nodes.clone(), about))
}

/// Of everything that must be the same on all nodes.
fn fingerprints(config: &Config, store: &Store) -> Fingerprints {
    fn bytes(secret: &SecretString) -> &[u8] {
        secret.expose_secret().as_bytes()
    }
    fn text(text: Option<&String>) -> Option<&[u8]> {
        text.map(String::as_bytes)
    }
    let AuthConfig { secret, secret_previous, jwks, issuer, audience, .. } = &config.auth;
    let anonymous = [u8::from(config.auth.anonymous)];
    // The keys of a file, but the place of those behind a URL: they change there for all at once.
    let (jwks_file, jwks_url) = match jwks {
        Some(JwksSource::File(path)) => (std::fs::read(path).ok(), None),
        Some(JwksSource::Url(url)) => (None, Some(url.to_string())),
        None => (None, None),
    };
    let channels = match &config.channels_file {
        Some(path) => std::fs::read(path).ok(),
        // Without a file, what there is depends on this.
        None => Some(format!("{:?}", config.environment).into_bytes()),
    };
    Fingerprints::default()
        .with("JWT_SECRET", Some(bytes(secret)))
        .with("JWT_SECRET_PREVIOUS", secret_previous.as_ref().map(bytes))
        .with("JWKS_FILE", jwks_file.as_deref())
        .with("JWKS_URL", text(jwks_url.as_ref()))
        .with("JWT_ISSUER", text(issuer.as_ref()))
        .with("JWT_AUDIENCE", text(audience.as_ref()))
        .with("ALLOW_ANONYMOUS", Some(&anonymous))
        .with("ENCRYPTION_KEY", config.encryption_key.as_ref().map(bytes))
        .with("CHANNELS_FILE", channels.as_deref())
        .with("DATABASE_URL", Some(store.identity()))
        .with("the version", Some(&WORDS.to_be_bytes()))
}
