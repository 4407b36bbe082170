//! What there is at the end: each room's log by two ways, each plain channel as each node has it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use super::cast::Cast;
use crate::check::client::Link;
use crate::check::stage::Stage;
use crate::check::world::World;
use crate::check::{Glimpse, Name, plain, print, rooms};

/// Publications in one page of history, at most.
const PAGE: u64 = 1000;

/// The end of a run.
#[derive(Debug, Default)]
pub struct Ending {
    /// Each room's log as the store has it.
    pub logs: BTreeMap<Name, rooms::Log>,
    /// The same as history shows it, by room and node.
    pub read: BTreeMap<(Name, usize), Vec<Glimpse>>,
    /// Epoch and head of each room, by node.
    pub positions: BTreeMap<Name, Vec<(String, u64)>>,
    /// Each plain channel, by node.
    pub plain: BTreeMap<Name, Vec<plain::End>>,
}

#[derive(Debug, Default)]
struct Page {
    epoch: String,
    head: u64,
    events: Vec<(u64, String)>,
}

/// A line of `chat-server export`.
#[derive(Deserialize)]
struct Exported<'a> {
    offset: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Ending {
    /// Reads everything.
    pub(super) async fn read(stage: &Stage, world: &World, cast: &Cast) -> Result<Self> {
        let mut ending = Self::default();
        for node in &stage.nodes {
            let mut link = Link::enter(node.address, &world.token("owner")).await?;
            for (number, room) in cast.rooms.iter().enumerate() {
                let head = page(&mut link, room, json!({ "limit": 0 })).await?;
                let position = (head.epoch, head.head);
                ending.positions.entry(room.clone()).or_default().push(position);
                // Each room is read through one node; the others only say where it ends.
                if number % stage.nodes.len() == node.number {
                    let seen = history(&mut link, room).await?;
                    ending.read.insert((room.clone(), node.number), seen);
                }
            }
            for channel in &cast.plain {
                let page = page(&mut link, channel, json!({ "limit": -1 })).await?;
                let kept = page.events.iter().map(glimpse).collect();
                let end = plain::End { epoch: page.epoch, head: page.head, kept };
                ending.plain.entry(channel.clone()).or_default().push(end);
            }
        }
        for room in &cast.rooms {
            let log = match &stage.postgres {
                Some(postgres) => log_of(&postgres.url(), room).await?,
                None => export(stage, room)?,
            };
            ending.logs.insert(room.clone(), log);
        }
        Ok(ending)
    }

    /// Where each channel ends, as the clients have to see it.
    #[must_use]
    pub fn heads(&self) -> HashMap<Name, (String, u64)> {
        let rooms = self.positions.iter().map(|(room, nodes)| {
            let epoch = nodes.first().map(|(epoch, _)| epoch.clone()).unwrap_or_default();
            (room.clone(), (epoch, self.logs[room].head))
        });
        let plain = self.plain.iter().filter_map(|(channel, nodes)| {
            let end = nodes.first()?;
            Some((channel.clone(), (end.epoch.clone(), end.head)))
        });
        rooms.chain(plain).collect()
    }
}

/// All of a room, page by page.
async fn history(link: &mut Link, room: &Name) -> Result<Vec<Glimpse>> {
    let mut seen: Vec<Glimpse> = Vec::new();
    let mut epoch = String::new();
    loop {
        let offset = seen.last().map_or(0, |glimpse| glimpse.offset);
        let mut request = json!({ "limit": PAGE });
        if offset > 0 {
            request["since"] = json!({ "offset": offset, "epoch": epoch });
        }
        let page = page(link, room, request).await?;
        if page.events.is_empty() {
            return Ok(seen);
        }
        epoch = page.epoch;
        seen.extend(page.events.iter().map(glimpse));
    }
}

async fn page(link: &mut Link, channel: &Name, mut request: Value) -> Result<Page> {
    request["channel"] = json!(&**channel);
    let reply = link.ask_raw(&json!({ "history": request })).await?;
    let reply: HistoryReply<'_> = serde_json::from_str(&reply).context("a page of history")?;
    let events = reply.history.publications.into_iter();
    Ok(Page {
        epoch: reply.history.epoch,
        head: reply.history.offset,
        events: events.map(|event| (event.offset, event.data.get().to_owned())).collect(),
    })
}

#[derive(Deserialize)]
struct HistoryReply<'a> {
    #[serde(borrow)]
    history: History<'a>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct History<'a> {
    epoch: String,
    offset: u64,
    #[serde(borrow)]
    publications: Vec<crate::check::client::wire::Publication<'a>>,
}

fn glimpse((offset, data): &(u64, String)) -> Glimpse {
    Glimpse { offset: *offset, print: print(data) }
}

/// A room's log, asked of PostgreSQL itself.
async fn log_of(url: &str, room: &Name) -> Result<rooms::Log> {
    let mut connection = PgConnection::connect(url).await?;
    let id: Uuid = room.strip_prefix("room:").context("a room")?.parse()?;
    let head = sqlx::query("SELECT head FROM rooms WHERE id = $1").bind(id);
    let head: i64 = head.fetch_one(&mut connection).await?.try_get(0)?;
    let rows = sqlx::query("SELECT off, payload FROM messages WHERE room_id = $1 ORDER BY off");
    let mut events = Vec::new();
    for row in rows.bind(id).fetch_all(&mut connection).await? {
        let (offset, payload): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        events.push(event(u64::try_from(offset)?, &String::from_utf8(payload)?)?);
    }
    connection.close().await?;
    Ok(rooms::Log { head: u64::try_from(head)?, events })
}

/// A room's log as the program prints it, which reads the store beside the server.
fn export(stage: &Stage, room: &Name) -> Result<rooms::Log> {
    let id = room.strip_prefix("room:").context("a room")?;
    let node = stage.nodes.first().context("a node")?;
    let output = node.process.command(&["export", "--room", id]).output()?;
    if !output.status.success() {
        bail!("export: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut events = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let Exported { offset, data } = serde_json::from_str(line)?;
        if let (Some(offset), Some(data)) = (offset, data) {
            events.push(event(offset, data.get())?);
        }
    }
    Ok(rooms::Log { head: events.last().map_or(0, |event| event.offset), events })
}

fn event(offset: u64, content: &str) -> Result<rooms::Event> {
    let data: Value = serde_json::from_str(content)?;
    let id = data["id"].as_str().unwrap_or_default().to_owned();
    let idem = data["idem"].as_str().map(str::to_owned);
    Ok(rooms::Event { offset, id, idem, content: content.to_owned() })
}
