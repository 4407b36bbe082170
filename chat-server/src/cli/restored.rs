//! `restored`: the database is a restored one, and clients are to learn it.
//!
//! A backup ends before the moment it is restored at, so offsets that clients know are given to
//! other events. A new epoch says that: whoever comes back with a position of the old one loads
//! the state anew, and is never given a part as if it were the rest.

use super::database;
use crate::config::Config;

/// Begins a new life of all offsets, and says which.
pub(super) fn run(config: &Config) -> Result<String, String> {
    database::with(config, async |store| {
        let before = store.epoch().await.map_err(|error| error.to_string())?;
        store.begin_epoch().await.map_err(|error| error.to_string())?;
        let now = store.epoch().await.map_err(|error| error.to_string())?;
        Ok(format!("the epoch was {before} and is {now}\n"))
    })
}
