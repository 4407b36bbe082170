//! The database for commands that work on it: opened as the server opens it, for one call.

use std::sync::Arc;

use chassis::tls::install_provider;
use tokio::runtime::Builder;

use crate::config::Config;
use crate::store::{Store, Target};

/// Does something with the database that the configuration names; blocks.
pub(super) fn with<T>(
    config: &Config,
    work: impl AsyncFnOnce(Arc<Store>) -> Result<T, String>,
) -> Result<T, String> {
    if let Target::Sqlite(path) = &config.store.target
        && !path.exists()
    {
        // Opening would make one, empty, where somebody only mistook the folder.
        return Err(format!("there is no database at {}", path.display()));
    }
    install_provider();
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let store = Store::open(&config.store).await.map_err(|error| error.to_string())?;
        work(store).await
    })
}
