//! The server is killed in the middle of 20,000 messages, more than once: nothing that was
//! acknowledged is lost, nothing comes twice, and everyone sees what the log holds.
//!
//! The program runs as a process, as it does for people; only that process is killed. The moments
//! come from a seed that is printed, and taken from `KILL_SEED` to try one again.

#![expect(clippy::print_stdout, reason = "how a run went is read when it failed")]

mod link;
mod person;

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chassis::testing::{Schema, deadline, free_port};
use loadtest::check::rooms::{Event, Log, Name, Run};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::harness::{Backend, SECRET, token};
use link::Link;
use person::{Person, Record, World, event};

const CLIENTS: usize = 50;

const ROOMS: usize = 8;

/// Each client says as many, in its two rooms in turn.
const MESSAGES: usize = 20_000;

/// The last kill comes when about so many of a hundred messages are acknowledged.
const LAST_KILL: usize = 70;

/// How often it is killed.
const KILLS: usize = 3;

/// For everything: about five times what two slow cores need.
const TIME_MAX: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed_on_sqlite() {
    kill_and_check(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed_on_postgres() {
    kill_and_check(Backend::Postgres).await;
}

async fn kill_and_check(backend: Backend) {
    let seed = seed();
    println!("KILL_SEED={seed}");
    let mut stage = Stage::on(backend).await;
    stage.start().await;
    let rooms = stage.make_rooms().await;
    let (acknowledged, mut progress) = watch::channel(0);
    let (up, heads) = (watch::Sender::new(0), watch::Sender::new(None));
    let world = World {
        port: stage.port,
        up: up.subscribe(),
        acknowledged: Arc::new(acknowledged),
        heads: heads.subscribe(),
    };
    let mut people = JoinSet::new();
    for number in 0..CLIENTS {
        let rooms = rooms_of(number, &rooms);
        let messages = MESSAGES / CLIENTS;
        people.spawn(Person::new(&name(number), &rooms, messages, world.clone()).run());
    }
    let begun = Instant::now();
    let everything = async {
        for moment in moments(seed) {
            reach(&mut progress, moment).await;
            stage.kill();
            println!("killed at {moment} after {:?}", begun.elapsed());
            stage.start().await;
            up.send_modify(|generation| *generation += 1);
        }
        reach(&mut progress, MESSAGES).await;
        heads.send_replace(Some(Arc::new(stage.heads(&rooms).await)));
        let mut records = Vec::new();
        while let Some(record) = people.join_next().await {
            records.push(record.unwrap());
        }
        records
    };
    let records = timeout(TIME_MAX, everything).await;
    let records = records.unwrap_or_else(|_| {
        panic!("{} acknowledged after {TIME_MAX:?}, KILL_SEED={seed}", *world.acknowledged.borrow())
    });
    println!("said and seen after {:?}", begun.elapsed());
    check(&mut stage, &rooms, records, seed).await;
}

/// Waits until so many messages are acknowledged.
async fn reach(progress: &mut watch::Receiver<usize>, count: usize) {
    progress.wait_for(|acknowledged| *acknowledged >= count).await.unwrap();
}

/// After how many acknowledged messages it is killed.
fn moments(seed: u64) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(seed);
    let percent = MESSAGES / 100;
    let early = (1..KILLS).map(|_| random.random_range(5 * percent..(LAST_KILL - 5) * percent));
    let mut moments: Vec<_> = early.collect();
    moments.push(random.random_range((LAST_KILL - 5) * percent..(LAST_KILL + 5) * percent));
    moments.sort_unstable();
    moments
}

/// The report on everything, which must be empty.
async fn check(stage: &mut Stage, rooms: &[Name], records: Vec<Record>, seed: u64) {
    let mut run = Run::default();
    let (mut recoveries, mut duplicates) = (0, 0);
    for record in records {
        let client = record.client;
        recoveries += record.recoveries;
        duplicates += record.duplicates;
        run.sent.extend(record.sent);
        run.acks.extend(record.acks);
        let views = record.views.into_iter();
        run.views.extend(views.map(|(room, view)| ((room, client.clone()), view)));
    }
    let heads = stage.heads(rooms).await;
    for room in rooms {
        run.logs.insert(room.clone(), Log { head: heads[room], events: stage.export(room) });
    }
    println!("{recoveries} recoveries, {duplicates} repeats that were there already");
    let faults = run.faults();
    let some: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
    assert!(faults.is_empty(), "KILL_SEED={seed}: {} faults:\n{}", faults.len(), some.join("\n"));
    // What was to be shown was there to be seen.
    assert_eq!((run.sent.len(), run.acks.len()), (MESSAGES, MESSAGES));
    // Between two kills that are close not everyone is back; after the last one everyone is.
    assert!(recoveries >= CLIENTS, "{recoveries}");
    assert!(run.views.values().all(|view| view.seen.len() > MESSAGES / ROOMS / 2));
}

fn name(number: usize) -> String {
    format!("person{number}")
}

/// Two rooms each, in every combination.
fn rooms_of(number: usize, rooms: &[Name]) -> [Name; 2] {
    let first = number % ROOMS;
    let step = 1 + (number / ROOMS) % (ROOMS - 1);
    [rooms[first].clone(), rooms[(first + step) % ROOMS].clone()]
}

fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a failed run is tried again by hand")]
    let given = std::env::var("KILL_SEED");
    given.map_or_else(|_| rand::random(), |seed| seed.parse().unwrap())
}

/// The program, its port and its data.
#[derive(Debug)]
struct Stage {
    port: u16,
    server: Option<Child>,
    folder: tempfile::TempDir,
    schema: Option<Schema>,
}

impl Stage {
    async fn on(backend: Backend) -> Self {
        let schema = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(Schema::create().await),
        };
        let folder = tempfile::tempdir().unwrap();
        Self { port: free_port(), server: None, folder, schema }
    }

    /// The program with these arguments, on the data of this stage.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        command.current_dir(self.folder.path()).args(arguments).env_clear().stdin(Stdio::null());
        command.env("PORT", self.port.to_string()).env("JWT_SECRET", SECRET);
        command.envs([("WS_PORT", "0"), ("PROMETHEUS_PORT", "0"), ("RUST_LOG", "warn")]);
        command.envs([("MAX_MESSAGE_RATE", "100000"), ("COMMAND_RATE", "100000")]);
        command.env("RATE_LIMIT_PER_MINUTE", "1000000");
        if let Some(schema) = &self.schema {
            command.envs([("DATABASE_URL", schema.url()), ("DATABASE_POOL_SIZE", "8")]);
        }
        command
    }

    /// Starts the server and waits until it listens.
    async fn start(&mut self) {
        let child = self.program(&[]).stdout(Stdio::null()).spawn().unwrap();
        let server = self.server.insert(child);
        let mut ticks = interval(Duration::from_millis(20));
        deadline(async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                assert_eq!(server.try_wait().unwrap(), None, "the server does not start");
                ticks.tick().await;
            }
        })
        .await;
    }

    /// SIGKILL: it has no moment left.
    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Makes the rooms, and everyone a member of theirs.
    async fn make_rooms(&self) -> Vec<Name> {
        let mut owner = self.connect("owner").await;
        let mut rooms = Vec::new();
        for number in 0..ROOMS {
            let data = json!({ "name": format!("room {number}"), "visibility": "public" });
            let room = rpc(&mut owner, "room.create", data).await;
            rooms.push(Name::from(room["id"].as_str().unwrap()));
        }
        for number in 0..CLIENTS {
            let mut person = self.connect(&name(number)).await;
            for room in rooms_of(number, &rooms) {
                rpc(&mut person, "room.join", json!({ "room": &*room })).await;
            }
        }
        rooms
    }

    async fn connect(&self, user: &str) -> Link {
        let mut link = Link::open(self.port).await.unwrap();
        let reply = link.ask(json!({ "connect": { "token": token(user) } })).await.unwrap();
        assert!(reply["connect"].is_object(), "{reply}");
        link
    }

    /// Where each room ends, as a client is told.
    async fn heads(&self, rooms: &[Name]) -> HashMap<Name, u64> {
        let mut owner = self.connect("owner").await;
        let mut heads = HashMap::new();
        for room in rooms {
            let history = json!({ "history": { "channel": format!("room:{room}"), "limit": 0 } });
            let reply = owner.ask(history).await.unwrap();
            let head = reply["history"]["offset"].as_u64();
            heads.insert(room.clone(), head.unwrap_or_else(|| panic!("{reply}")));
        }
        heads
    }

    /// The log of a room as `export` prints it, while the server runs.
    fn export(&self, room: &str) -> Vec<Event> {
        let output = self.program(&["export", "--room", room]).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
        let lines = lines.map(|line| serde_json::from_str(line).unwrap());
        let events = lines.filter(|line: &Value| line["offset"].is_u64());
        events.map(|line| event(line["offset"].as_u64().unwrap(), &line["data"])).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself; then there is nothing to kill.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

async fn rpc(link: &mut Link, method: &str, data: Value) -> Value {
    let reply = link.ask(json!({ "rpc": { "method": method, "data": data } })).await.unwrap();
    assert!(reply["rpc"]["data"].is_object(), "{method}: {reply}");
    reply["rpc"]["data"].clone()
}
