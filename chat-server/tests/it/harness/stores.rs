//! One test on both stores.
//!
//! ```text
//! on_both_stores! {
//!     async fn a_room_is_created(stage: Stage) { .. }      a server that runs already
//!     async fn it_survives(backend: Backend) { .. }        or the choice, for a stage of one's own
//! }
//! ```
//! Each becomes a module of that name with the tests `sqlite` and `postgres`; the second one has
//! Redis for its bus too, the first one has none. With
//! `flavor = "multi_thread";` in front of all of them they run on several threads.

use super::Stage;

/// Where rooms are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file in the data directory of the server.
    Sqlite,
    /// A schema of its own in the PostgreSQL that `DATABASE_URL` names.
    Postgres,
}

/// What a test on both stores may begin with.
pub trait Begin {
    /// Makes it for one store.
    async fn on(backend: Backend) -> Self;
}

impl Begin for Stage {
    async fn on(backend: Backend) -> Self {
        Self::on(backend).await
    }
}

impl Begin for Backend {
    async fn on(backend: Backend) -> Self {
        backend
    }
}

/// Runs a test on one store.
pub async fn run_on<B: Begin>(backend: Backend, test: impl AsyncFnOnce(B)) {
    test(B::on(backend).await).await;
}

/// Runs each test on SQLite and on PostgreSQL; see the head of this file.
macro_rules! on_both_stores {
    (flavor = $flavor:tt; $(async fn $name:ident($($given:tt)*) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn test($($given)*) $body

            #[tokio::test(flavor = $flavor)]
            async fn sqlite() {
                use $crate::harness::{Backend, run_on};
                run_on(Backend::Sqlite, test).await;
            }

            #[tokio::test(flavor = $flavor)]
            async fn postgres() {
                use $crate::harness::{Backend, run_on};
                run_on(Backend::Postgres, test).await;
            }
        }
    )+};
    ($($tests:tt)+) => {
        $crate::harness::on_both_stores! { flavor = "current_thread"; $($tests)+ }
    };
}
pub(crate) use on_both_stores;
