//! A store that does not answer while it is told not to.
//!
//! A lock on the table of rooms, held by somebody else, lets every question wait: the server gives
//! up on each after its own time, as with a database that is too slow.

use chassis::testing::Schema;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::sync::Mutex;

const HOLD: &str = "BEGIN; LOCK TABLE rooms IN ACCESS EXCLUSIVE MODE";

/// The database of a server, and who holds it.
#[derive(Debug)]
pub(super) struct Outage {
    schema: Schema,
    holder: Mutex<Option<PgConnection>>,
}

impl Outage {
    /// A database in which nothing is held.
    pub(super) async fn prepare() -> Self {
        Self { schema: Schema::create().await, holder: Mutex::new(None) }
    }

    /// What the server is given as `DATABASE_URL`.
    pub(super) fn url(&self) -> &str {
        self.schema.url()
    }

    /// From now on nothing is answered.
    pub(super) async fn begin(&self) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(self.url()).await?;
        connection.execute(HOLD).await?;
        *self.holder.lock().await = Some(connection);
        Ok(())
    }

    /// Everything is answered again.
    pub(super) async fn end(&self) -> Result<(), sqlx::Error> {
        match self.holder.lock().await.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }
}
