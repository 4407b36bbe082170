//! Assembly: what is built in which order, how it serves, and how it goes.
//!
//! Order: everything that can be refused is checked before a port is bound (namespaces, keys,
//! certificates, the database), then all ports are bound, then tasks start, so a server that starts half does
//! not exist. [`Server::run`] serves until the shutdown and ends when everyone is told.

mod background;
mod farewell;
mod incoming;
mod meeting;
mod ports;
mod routes;
mod watch;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use std::time::Duration;

use chassis::accept::{self, Admission, Listener, ServerConfig};
use chassis::auth::{self, Verifier};
use chassis::delivery::{self, Delivery};
use chassis::pressure::Pressure;
use chassis::rate_limit::{Keyed, Quota};
use chassis::shutdown::Shutdown;
use chassis::{redis, telemetry, tls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use background::{Again, Vital};
pub use farewell::Report;
use incoming::Incoming;
use meeting::{Met, heart, meet};
pub use ports::Addresses;
use ports::Ports;
use routes::Routes;
use watch::Watch;

use crate::channel::{self, Hub, Namespaces};
use crate::cli::banner::{self, BoundAddrs};
use crate::command::{Authority, ReadMarks, Services, SlowMode, at_least_one};
use crate::config::{Config, Limits};
use crate::control::Control;
use crate::fanout::bus;
use crate::fanout::{Fanout, Origins, Repair};
use crate::metrics::Metrics;
use crate::nodes::{Heart, Log, Presence, Seats};
use crate::session::registry::Registry;
use crate::session::remote::Remote;
use crate::store::{self, Committer, Store};

/// Connections to the metrics port: scrapers and people with a profiler.
const OPERATORS: accept::Limits =
    accept::Limits { connections_max: 64, connections_per_ip: 0, connect_rate_per_ip: 0 };

/// For background tasks to end: they only finish what they are at.
const BACKGROUND_GRACE: Duration = Duration::from_millis(500);

/// For the last messages to be written: as long as a batch may take.
const COMMIT_GRACE: Duration = Duration::from_secs(3);

/// The part of the memory limit that histories may take: a quarter.
const HISTORY_SHARE: u64 = 4;

/// A server with its ports bound, not serving yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    telemetry: telemetry::Handles,
    services: Arc<Services>,
    repair: Repair,
    bus_tasks: Option<bus::Tasks>,
    heart: Option<Heart>,
    admission: Arc<Admission>,
    pressure: Arc<Pressure>,
    ports: Ports,
    tls: Option<tls::Acceptor>,
    shutdown: Shutdown,
    /// Tasks that outlive the sessions: delivery, sweeps, measurements.
    background: TaskTracker,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The channels file.
    #[error(transparent)]
    Channels(#[from] channel::LoadError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The database, a moment later.
    #[error(transparent)]
    Ask(#[from] store::Error),
    /// Where the nodes meet.
    #[error("REDIS_URL: {0}")]
    Redis(#[from] redis::Error),
    /// The keys.
    #[error("tokens cannot be verified: {0}")]
    Auth(#[from] auth::Error),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A port.
    #[error("{variable}: cannot bind {address}: {source}")]
    Bind {
        /// The variable that names the port.
        variable: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Signals.
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
}

impl Server {
    /// Builds everything and binds the ports; nothing is accepted before [`Server::run`].
    ///
    /// # Errors
    /// What cannot be used, by its variable or file.
    pub async fn bind(config: Config, telemetry: telemetry::Handles) -> Result<Self, Error> {
        let namespaces = Namespaces::load(config.channels_file.as_deref(), config.environment)?;
        let verifier = Verifier::new((&config.auth).into())?;
        let tls = config.tls.as_ref().map(|files| tls::Acceptor::load(files.into())).transpose()?;
        let store = Store::open(&config.store).await?;
        let ports = Ports::bind(&config)?;
        let metrics = Arc::new(telemetry.register(Metrics::register));
        store.count_with(counting(metrics.clone()));
        let background = TaskTracker::new();
        let shutdown = Shutdown::new();
        let observer = Watch::observer(&metrics, &shutdown);
        let limits = &config.limits;
        let delivery = Delivery::start(sizes(limits), &observer, &background);
        let admission = admission(limits);
        let pressure = Pressure::new(&telemetry, limits.memory_limit_bytes);
        let share = limits.memory_limit_bytes / HISTORY_SHARE;
        let history_bytes_max = usize::try_from(share).unwrap_or(usize::MAX);
        let node = uuid::Uuid::new_v4();
        let met = Box::pin(meet(config.nodes.as_ref(), node, metrics.bus())).await?;
        let Met { nodes, bus, bus_tasks } = met;
        let heart = heart(nodes.as_ref(), &config, &store, &admission, &metrics);
        let hub = Hub::new(namespaces, delivery, bus.clone(), history_bytes_max);
        hub.begin_log_epoch(&store.epoch().await?.into());
        let origins = Origins { store: store.clone(), shared: nodes.as_ref().map(Log::new) };
        let (fanout, repair) = Fanout::new(hub.clone(), origins, bus.clone(), background.clone());
        let publish = fanout.clone();
        let publish = Arc::new(move |published| publish.publish(published));
        let wiring = store::Wiring { store: store.clone(), publish, meters: metrics.committer() };
        let registry = Arc::new(Registry::default());
        let services = Arc::new(Services {
            committer: Committer::start(wiring, &background),
            authority: Authority::new(store.clone(), hub.clone()),
            fanout,
            store,
            presence: Presence::new(hub.clone(), bus.clone(), nodes.clone()),
            hub,
            remote: Remote::new(bus.clone(), registry.clone(), limits.frame_bytes_max),
            registry,
            verifier,
            limits: limits.clone(),
            timing: config.timing.clone(),
            anonymous: config.auth.anonymous,
            bus,
            seats: nodes.clone().map(|nodes| Seats::new(nodes, limits.connections_per_user)),
            nodes,
            node: node.to_string().into(),
            version: config.version.as_str().into(),
            message_rate: Keyed::new(Quota::per_second(at_least_one(limits.message_rate))),
            slow_mode: SlowMode::new(),
            read_marks: ReadMarks::default(),
            metrics,
        });
        Ok(Self {
            config,
            telemetry,
            services,
            repair,
            bus_tasks,
            heart,
            admission,
            pressure,
            ports,
            tls,
            shutdown,
            background,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.ports.addresses
    }

    /// Orders to its sessions.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.services.clone())
    }

    /// Ends it.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Serves until the shutdown is triggered, then says goodbye to everyone.
    pub async fn run(self) -> Report {
        let (draining, shutdown) = (self.shutdown.draining().clone(), self.shutdown.clone());
        // Measurements and sweeps go on while clients are told, and end after them.
        let over = CancellationToken::new();
        let vital = Vital::new(&self.background, &self.shutdown);
        background::start(&self, &vital, &over);
        let routes = Routes::of(&self);
        // Until everyone was told, health answers, commands come in by `/emulation`, and who wants
        // to connect is told 503; then nobody listens any more.
        let told = CancellationToken::new();
        let Self { config, services, repair, bus_tasks, heart, admission, ports, .. } = self;
        let Self { tls, background, .. } = self;
        let again = Again::new(services.registry.clone());
        vital.spawn("again", again.clone().run(over.clone()));
        vital.spawn("repair", repair.run(over.clone(), move |over| again.begin(over)));
        if let Some(tasks) = bus_tasks {
            vital.spawn("bus", tasks.run(Arc::new(Incoming::new(&services)), over.clone()));
        }
        if let Some(heart) = heart {
            vital.spawn("heart", heart.run(over.clone()));
        }
        let serve = |listener: Listener, router, admission: &Arc<Admission>, stop: &_| {
            let server = accept::Server {
                config: ServerConfig {
                    header_timeout: config.timing.header_timeout,
                    tls_handshake_timeout: config.timing.tls_handshake_timeout,
                },
                admission: admission.clone(),
                tls: tls.as_ref().map(|tls| tls.server_config(&[tls::ALPN_H2, tls::ALPN_HTTP_1_1])),
                router,
                tracker: shutdown.tasks().clone(),
                stop: CancellationToken::clone(stop),
            };
            shutdown.tasks().spawn(server.run(listener));
        };
        serve(ports.http, routes.everything, &admission, &told);
        serve(ports.connections, routes.connections, &admission, &told);
        if let Some(listener) = ports.metrics {
            serve(listener, routes.metrics, &Admission::new(OPERATORS), &told);
        }
        draining.cancelled().await;
        let report = farewell::say(&config.timing, &services, &shutdown, &told).await;
        // What was accepted is written and published while there is somebody to deliver it.
        if tokio::time::timeout(COMMIT_GRACE, services.committer.close()).await.is_err() {
            tracing::warn!("messages are left that the store did not take in time");
        }
        services.hub.delivery().close();
        over.cancel();
        background.close();
        if tokio::time::timeout(BACKGROUND_GRACE, background.wait()).await.is_err() {
            tracing::warn!(tasks = background.len(), "background tasks did not end in time");
        }
        services.store.close().await;
        report
    }

    /// Tells a person where to look, and a log where it listens.
    fn introduce(&self) {
        let Addresses { http, connections, metrics, .. } = self.addresses();
        let metrics_at = metrics.map(tracing::field::display);
        let store = &self.config.store.target;
        tracing::info!(%http, %connections, metrics = metrics_at, %store, "listening");
        let mut terminal = std::io::stdout();
        if terminal.is_terminal() {
            let bound = BoundAddrs::new(&self.config, http, connections, metrics);
            if let Err(error) = terminal.write_all(banner::render(&bound).as_bytes()) {
                tracing::debug!(%error, "the terminal is gone");
            }
        }
    }
}

/// How many may come in, and how fast.
fn admission(limits: &Limits) -> Arc<Admission> {
    Admission::new(accept::Limits {
        connections_max: limits.connections_max,
        connections_per_ip: limits.connections_per_ip,
        connect_rate_per_ip: limits.connect_rate_per_ip,
    })
}

/// How much waits for sockets.
fn sizes(limits: &Limits) -> delivery::Config {
    delivery::Config {
        shards: limits.shards,
        backlog_bytes_max: limits.backlog_bytes_max,
        budget_bytes: limits.outbound_budget_bytes,
    }
}

/// What the database is asked becomes a metric.
fn counting(metrics: Arc<Metrics>) -> store::Count {
    Arc::new(move |query| metrics.series.store_queries.of(query).increment(1))
}

/// Serves until a signal; what `chat-server` without a subcommand does.
///
/// # Errors
/// Why it cannot start.
pub async fn run(config: Config, telemetry: telemetry::Handles) -> Result<(), Error> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let server = Server::bind(config, telemetry).await?;
    let _signals = server.shutdown.listen().map_err(Error::Signals)?;
    server.introduce();
    let report = server.run().await;
    tracing::info!(told = report.told, forced = report.forced, "stopped");
    Ok(())
}
