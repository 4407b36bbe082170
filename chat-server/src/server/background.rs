//! Tasks that run beside the sessions: delivery's sweeps, measurements, what is heard of others.
//!
//! A server in which one of them has died looks alive and is not: nobody sweeps, repairs or hears
//! any more. So one that panics ends the server, and whoever runs it starts another.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chassis::shutdown::Shutdown;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Server;
use crate::command::{self, Services, read_marks};
use crate::fanout::Over;
use crate::protocol::DisconnectCode;
use crate::session::registry::{Directive, Handle, Registry};
use crate::store;
use crate::upkeep::{self, Upkeep};

/// Between two counts of the active users.
const USERS_INTERVAL: Duration = Duration::from_secs(1);

/// Between two times that everybody looks for channels which have ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where tasks are spawned without which a server is none.
#[derive(Debug, Clone)]
pub(super) struct Vital {
    tasks: TaskTracker,
    shutdown: Shutdown,
}

impl Vital {
    pub(super) fn new(tasks: &TaskTracker, shutdown: &Shutdown) -> Self {
        Self { tasks: tasks.clone(), shutdown: shutdown.clone() }
    }

    /// Runs a task to its end; a panic of it begins the shutdown.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            // Nothing of the task is looked at after it has panicked.
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let reason = reason(&*panic);
                tracing::error!(task = name, reason, "a task has panicked: the server ends");
                shutdown.trigger();
            }
        });
    }
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("unknown")
}

/// Starts everything that needs nothing but the services, until `over`.
pub(super) fn start(server: &Server, vital: &Vital, over: &CancellationToken) {
    let Server { services, telemetry, admission, .. } = server;
    let (pressure, admission) = (server.pressure.clone(), admission.clone());
    let short = move |memory| admission.follow(memory);
    vital.spawn("pressure", pressure.run(over.clone(), short));
    vital.spawn("sweep", services.hub.clone().sweep(over.clone()));
    vital.spawn("telemetry", telemetry.clone().run(over.clone()));
    let (metrics, until) = (services.metrics.clone(), over.clone());
    vital.spawn("metrics", async move { metrics.run(until).await });
    vital.spawn("users", count_users(services.clone(), over.clone()));
    vital.spawn("read_marks", read_marks::tell(services.clone(), over.clone()));
    if let Some(seats) = &services.seats {
        vital.spawn("seats", seats.clone().run(over.clone()));
    }
    vital.spawn("follow", command::follow(services.clone(), over.clone()));
    let upkeep = Upkeep::new(services.store.clone(), server.config.upkeep, trimmed(services));
    vital.spawn("upkeep", upkeep.run(over.clone()));
    vital.spawn("presence", services.presence.clone().run(over.clone()));
    vital.spawn("store", services.store.clone().watch(over.clone()));
    vital.spawn("store_state", tell_store_state(services.clone(), over.clone()));
    if let Some(tls) = &server.tls {
        vital.spawn("certificates", tls.clone().watch(over.clone()));
    }
}

/// Tells sessions that positions count no more: who has them comes again and learns where they are.
#[derive(Debug, Clone)]
pub(super) struct Again {
    sessions: Arc<Registry>,
    /// Everybody is to look.
    everybody: Arc<Notify>,
}

impl Again {
    pub(super) fn new(sessions: Arc<Registry>) -> Self {
        Self { sessions, everybody: Arc::default() }
    }

    /// Tells those who may be concerned.
    pub(super) fn begin(&self, over: Over) {
        match over {
            Over::Logs => {
                let code = DisconnectCode::InsufficientState;
                tell(self.sessions.all(), &Directive::Disconnect(code));
            }
            Over::Feed(user) => tell(self.sessions.of_user(&user), &Directive::Revisit),
            // Who is in a channel is known to the sessions alone.
            Over::Channels => self.everybody.notify_one(),
        }
    }

    /// Has everybody look through their channels, now and then, until `over`: channels may end one
    /// after the other, and a client can see to it.
    pub(super) async fn run(self, over: CancellationToken) {
        let look = async {
            loop {
                self.everybody.notified().await;
                tell(self.sessions.all(), &Directive::Revisit);
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        over.run_until_cancelled(look).await;
    }
}

fn tell(sessions: Vec<Arc<Handle>>, directive: &Directive) {
    for session in sessions {
        // What ends or changes a session always gets into its mailbox.
        if session.tell(directive.clone()).is_err() {
            tracing::debug!("a session could not be told");
        }
    }
}

/// What this process keeps of a room in memory goes when its log was trimmed; feeds, whose channel
/// their log does not tell, are found when heads are compared.
fn trimmed(services: &Services) -> upkeep::Told {
    let hub = services.hub.clone();
    Box::new(move |trimmed| {
        if let Some(channel) = hub.find_by_text(&format!("room:{}", trimmed.log)) {
            channel.revise(trimmed.revision);
        }
    })
}

async fn count_users(services: Arc<Services>, over: CancellationToken) {
    let mut ticks = tokio::time::interval(USERS_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = ticks.tick() => {
                services.metrics.set_active_users(services.registry.active_users());
            }
        }
    }
}

/// The state of the store becomes a metric.
async fn tell_store_state(services: Arc<Services>, over: CancellationToken) {
    let mut state = services.store.monitor().subscribe();
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            Ok(()) = state.changed() => {
                let up = *state.borrow_and_update() == store::State::Up;
                services.metrics.set_store_up(up);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use chassis::testing::deadline;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_ends_the_server() {
        let (tasks, shutdown) = (TaskTracker::new(), Shutdown::new());
        let vital = Vital::new(&tasks, &shutdown);
        vital.spawn("short", async {});
        tasks.close();
        deadline(tasks.wait()).await;
        assert!(!shutdown.is_draining(), "one that is done is no harm");
        vital.spawn("broken", async { panic!("it cannot be so") });
        deadline(shutdown.draining().cancelled()).await;
        deadline(tasks.wait()).await;
    }

    /// How often a session was told to look since this was asked last.
    fn told(handle: &Handle) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let told = std::iter::from_fn(|| match handle.poll_directive(&mut cx) {
            Poll::Ready(directive) => Some(directive),
            Poll::Pending => None,
        });
        told.filter(|directive| matches!(directive, Directive::Revisit)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_may_be_in_a_channel_that_ended_is_told_and_everybody_not_for_each() {
        let registry = Arc::new(Registry::default());
        let (mut ann, mut bob) = (registry.enter(), registry.enter());
        ann.identify(&"ann".into(), 1).unwrap();
        bob.identify(&"bob".into(), 1).unwrap();
        let (again, over) = (Again::new(registry), CancellationToken::new());
        again.begin(Over::Feed("ann".into()));
        assert_eq!((told(ann.handle()), told(bob.handle())), (1, 0));

        let running = TaskTracker::new().spawn(again.clone().run(over.clone()));
        let step = LOOK_INTERVAL / 10;
        let mut counts = Vec::new();
        for _ in 0..30 {
            again.begin(Over::Channels);
            tokio::time::sleep(step).await;
            counts.push((told(ann.handle()), told(bob.handle())));
        }
        assert_eq!(counts[0], (1, 1), "the first is told at once");
        let all = counts.iter().map(|count| count.1).sum::<usize>();
        assert!((3..=4).contains(&all), "{counts:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
        assert_eq!(told(bob.handle()), 1, "the last is not forgotten");
        over.cancel();
        deadline(running).await.unwrap();
    }

    #[test]
    fn what_a_panic_says_is_logged() {
        assert_eq!(reason(&"it cannot be so"), "it cannot be so");
        assert_eq!(reason(&"seven".to_owned()), "seven");
        assert_eq!(reason(&7), "unknown");
    }
}
