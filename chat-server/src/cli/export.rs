//! `export`: a room as lines of JSON.
//!
//! First the room, then its people, then its events in order, as they stand now:
//!
//! ```text
//! {"room":{"id":"..","kind":"public","name":"..","head":3,..}}
//! {"member":{"user":"ann","role":"owner","joined_at":1760000000000}}
//! {"offset":1,"time":1760000000000,"id":"..","kind":"message","data":{..}}
//! ```
//! All of it is of one moment. It may be asked of a database that a server uses: neither waits.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::database;
use crate::config::Config;
use crate::room::RoomId;
use crate::store::{Snapshot, Store};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The room, by its id
    #[arg(long, value_name = "ID")]
    room: RoomId,
    /// Write to a new file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Why an export ended before its end.
enum Stop {
    /// Whoever reads it has enough.
    Enough,
    /// It failed.
    Failed(String),
}

/// Writes the room.
pub(super) fn run(config: &Config, args: &Args) -> Result<(), String> {
    match &args.output {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            database::with(config, async |store| finish(write(&store, args.room, &mut out).await))
        }
        Some(path) => {
            // Made before anything is read: a file that is there is somebody's.
            let mut out = BufWriter::new(create(path)?);
            let written = database::with(config, async |store| {
                finish(write(&store, args.room, &mut out).await)
            });
            let written = written.and_then(|()| sync(out, path));
            if written.is_err() {
                // Half a room is not to be taken for one; the complaint says what happened.
                drop(std::fs::remove_file(path));
            }
            written
        }
    }
}

fn create(path: &Path) -> Result<File, String> {
    // What people said to each other is for whoever exports it.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{} is there already", path.display()),
        _ => format!("cannot write {}: {error}", path.display()),
    })
}

fn sync(out: BufWriter<File>, path: &Path) -> Result<(), String> {
    let synced = out.into_inner().map_err(io::IntoInnerError::into_error);
    let synced = synced.and_then(|file| file.sync_all());
    synced.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A pipe that is closed is how `head` says that it has enough.
fn finish(written: Result<(), Stop>) -> Result<(), String> {
    match written {
        Ok(()) | Err(Stop::Enough) => Ok(()),
        Err(Stop::Failed(why)) => Err(why),
    }
}

async fn write(store: &Store, room: RoomId, out: &mut impl Write) -> Result<(), Stop> {
    let mut snapshot = store.snapshot(room).await?;
    line(out, &json!({ "room": snapshot.room().await? }))?;
    write_members(&mut snapshot, out).await?;
    let mut last = 0;
    loop {
        let events = snapshot.events(last).await?;
        let Some(newest) = events.last() else { break };
        last = newest.offset;
        for event in &events {
            line(out, event)?;
        }
    }
    Ok(out.flush()?)
}

async fn write_members(snapshot: &mut Snapshot, out: &mut impl Write) -> Result<(), Stop> {
    let mut last = String::new();
    loop {
        let members = snapshot.members(&last).await?;
        let Some(newest) = members.last() else { return Ok(()) };
        last.clone_from(&newest.user);
        for member in &members {
            line(out, &json!({ "member": member }))?;
        }
    }
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Stop> {
    let mut line = serde_json::to_vec(value).map_err(|error| Stop::Failed(error.to_string()))?;
    line.push(b'\n');
    Ok(out.write_all(&line)?)
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Enough,
            _ => Self::Failed(format!("cannot write: {error}")),
        }
    }
}

impl From<crate::store::Error> for Stop {
    fn from(error: crate::store::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
