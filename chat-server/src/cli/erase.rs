//! `erase`: a person's content and identity are taken out of every room.
//!
//! What it cannot do is said in its help: it does not end their tokens, and what others wrote about
//! them stays.

use chassis::auth::UserId;

use super::database;
use crate::config::Config;
use crate::room::LogId;

/// Arguments of `erase`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything they said becomes a tombstone, their name a placeholder; offsets stay without a hole. \
Their memberships, reactions and read marks go, their own feed is emptied. A room whose last owner \
they were belongs to the member of the highest role and longest standing. What others wrote about \
them stays as it is.

End their tokens and connections first. It can be interrupted: doing it again does the rest. Old \
versions of rows leave the disk when the database has cleaned up (VACUUM), and backups when they \
are deleted.")]
pub(super) struct Args {
    /// The person
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// Do it; without this it is only said where something of them is
    #[arg(long)]
    yes: bool,
}

/// Erases, and says what was done.
pub(super) fn run(config: &Config, args: &Args) -> Result<String, String> {
    let user = args.user.as_str();
    database::with(config, async |store| {
        if !args.yes {
            let traces = store.traces(user).await.map_err(|error| error.to_string())?;
            let logs = traces.iter().map(LogId::to_string).collect::<Vec<_>>().join("\n");
            return Err(format!(
                "nothing was erased: --yes does it.\n{} logs have something of {user}:\n{logs}",
                traces.len()
            ));
        }
        let erased = store.erase(user).await.map_err(|error| {
            format!("{error}. What was erased stays so; doing it again does the rest")
        })?;
        let erased = erased.value;
        Ok(format!(
            "{} events in {} logs, {} rooms with another owner\n",
            erased.events,
            erased.revised.len(),
            erased.inherited
        ))
    })
}
