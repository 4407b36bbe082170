//! Nodes are restarted one after the other under load: everyone is told to go with 3001 and nothing
//! else, comes back to another node, and misses nothing; and the store hardly notices.
//!
//! ```text
//! cargo nextest run -p chat-server --test it --run-ignored only -E 'test(six_thousand)' --no-capture
//! ```

mod person;
mod talker;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chassis::telemetry::Handles;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::person::Person;
use self::talker::Talker;
use crate::harness::rooms::Room;
use crate::harness::{Backend, Stage, on_both_stores};

/// Rooms of each person.
const ROOMS_EACH: usize = 2;

/// Who is on the way in at the same time, before the restarts.
const ENTERING_MAX: usize = 100;

/// How long each step may take on a busy machine.
const STEP_MAX: Duration = Duration::from_secs(180);

/// Members that a room can begin with.
const MEMBERS_MAX: usize = 100;

/// What is asked because somebody comes; heads are compared and messages written anyway.
const RETURNING: [&str; 4] = ["head", "page", "standing", "room"];

/// How much of it.
#[derive(Debug, Clone, Copy)]
struct Scale {
    people: usize,
    rooms: usize,
    /// Between two messages of all rooms together.
    pace: Duration,
    /// So many come back for one query of the store, or more.
    for_one_query: u64,
}

/// A room, and who has been a member of it from the start; everybody else is a guest.
#[derive(Debug)]
pub struct Place {
    room: Room,
    members: Vec<String>,
}

/// What everybody met.
#[derive(Debug, Default)]
pub struct Tally {
    /// Who is in all their places now.
    inside: AtomicUsize,
    /// How often somebody came back into all of theirs.
    returned: AtomicUsize,
    /// Connections that were refused on their way in, which a balancer tries elsewhere, and
    /// subscriptions that were refused for a moment.
    pub refused: AtomicU64,
    /// Ends of connections by code; `None` is an end without one.
    goodbyes: Mutex<BTreeMap<Option<u16>, u64>>,
    /// The first things that must not be.
    faults: Mutex<Vec<String>>,
}

/// The nodes as a balancer sees them, and what everybody has seen.
#[derive(Debug)]
pub struct Deployment {
    nodes: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
    connected: Mutex<HashMap<SocketAddr, usize>>,
    /// The newest offset by person and place.
    seen: Vec<AtomicU64>,
    pub tally: Tally,
}

/// A connection to a node, while this lives.
pub struct Here<'a>(&'a Deployment, SocketAddr);

/// Somebody in all their places, while this lives.
pub struct Inside<'a>(&'a Tally);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tally {
    pub fn enter(&self, again: bool) -> Inside<'_> {
        self.inside.fetch_add(1, Ordering::Relaxed);
        self.returned.fetch_add(usize::from(again), Ordering::Relaxed);
        Inside(self)
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    pub fn goodbye(&self, code: Option<u16>) {
        *self.goodbyes.lock().entry(code).or_default() += 1;
    }

    pub fn wrong(&self, message: &Value) {
        self.fault(message.to_string());
    }

    pub fn out_of_order(&self, channel: &str, next: u64, got: u64) {
        let what = if got < next { "doubled" } else { "lost" };
        self.fault(format!("{what} in {channel}: {got} instead of {next}"));
    }

    fn fault(&self, fault: String) {
        let mut faults = self.faults.lock();
        if faults.len() < 20 {
            faults.push(fault);
        }
    }
}

impl Deployment {
    fn new(nodes: &[Stage], people: usize) -> Arc<Self> {
        let places = people * (ROOMS_EACH + 1);
        Arc::new(Self {
            nodes: Mutex::new(nodes.iter().map(|node| node.addresses.connections).collect()),
            next: AtomicUsize::new(0),
            connected: Mutex::default(),
            seen: std::iter::repeat_with(AtomicU64::default).take(places).collect(),
            tally: Tally::default(),
        })
    }

    pub fn pick(&self) -> SocketAddr {
        let nodes = self.nodes.lock();
        nodes[self.next.fetch_add(1, Ordering::Relaxed) % nodes.len()]
    }

    pub fn enter(&self, node: SocketAddr) -> Here<'_> {
        *self.connected.lock().entry(node).or_default() += 1;
        Here(self, node)
    }

    pub fn saw(&self, person: usize, place: usize, offset: u64) {
        self.seen[person * (ROOMS_EACH + 1) + place].store(offset, Ordering::Relaxed);
    }

    fn seen(&self, person: usize, place: usize) -> u64 {
        self.seen[person * (ROOMS_EACH + 1) + place].load(Ordering::Relaxed)
    }

    fn connected(&self, node: SocketAddr) -> usize {
        self.connected.lock().get(&node).copied().unwrap_or_default()
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        *self.0.connected.lock().get_mut(&self.1).expect("it was entered") -= 1;
    }
}

/// Waits until something is so, without taking the processor from those who make it so.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !holds() {
            looks.tick().await;
        }
    };
    assert!(timeout(STEP_MAX, wait).await.is_ok(), "{what}");
}

/// The rooms of a person.
fn rooms_of(person: usize, rooms: usize) -> [usize; ROOMS_EACH] {
    let first = person % rooms;
    [first, (first + 1 + person / rooms % (rooms - 1)) % rooms]
}

/// What all nodes that ever were have asked of the store, by purpose.
fn queries(telemetry: &[Handles]) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for text in telemetry.iter().map(Handles::render) {
        for line in text.lines() {
            let counted = line.strip_prefix("store_queries_total{kind=\"");
            let Some((kind, count)) = counted.and_then(|rest| rest.split_once("\"} ")) else {
                continue;
            };
            *sum.entry(kind.to_owned()).or_default() += count.parse::<u64>().unwrap();
        }
    }
    sum
}

/// Restarts every node once; everybody has come back in between.
async fn roll(
    mut nodes: Vec<Stage>,
    people: usize,
    deployment: &Deployment,
    telemetry: &mut Vec<Handles>,
) -> Vec<Stage> {
    for _ in 0..nodes.len() {
        let node = nodes.remove(0);
        let address = node.addresses.connections;
        // A balancer hears of it from `/health/ready`, before the first goodbye.
        deployment.nodes.lock().retain(|&known| known != address);
        node.shutdown.trigger();
        until("everybody is told to go", || deployment.connected(address) == 0).await;
        node.stop().await;
        let fresh = nodes[0].twin().await;
        telemetry.push(fresh.telemetry.clone());
        deployment.nodes.lock().push(fresh.addresses.connections);
        nodes.push(fresh);
        until("everybody is back", || deployment.tally.inside() == people).await;
    }
    nodes
}

/// Makes the rooms, with as many members as a room can begin with.
async fn found(node: &Stage, scale: Scale) -> Vec<Place> {
    let mut ann = node.connect("ann").await;
    let mut members = vec![Vec::new(); scale.rooms];
    for person in 0..scale.people {
        let of = &mut members[rooms_of(person, scale.rooms)[0]];
        if of.len() < MEMBERS_MAX {
            of.push(format!("person-{person}"));
        }
    }
    let mut places = Vec::new();
    for members in members {
        let named: Vec<&str> = members.iter().map(String::as_str).collect();
        places.push(Place { room: ann.create("public", &named).await, members });
    }
    places
}

async fn rolling_restart(backend: Backend, scale: Scale) {
    let variables = [
        ("RATE_LIMIT_PER_MINUTE", "1000000"),
        ("DATABASE_POOL_SIZE", "20"),
        ("COMMAND_RATE", "100000"),
    ];
    let first = Stage::node(backend, &variables).await;
    let nodes = vec![first.twin().await, first.twin().await, first];
    let places = found(&nodes[0], scale).await;
    let deployment = Deployment::new(&nodes, scale.people);
    let over = CancellationToken::new();
    let mut people = JoinSet::new();
    for number in 0..scale.people {
        let rooms = rooms_of(number, scale.rooms);
        let rooms = rooms.map(|room| places[room].room.channel.clone()).to_vec();
        people.spawn(Person::new(number, rooms).live(deployment.clone(), over.clone()));
        until("people come in", || number < deployment.tally.inside() + ENTERING_MAX).await;
    }
    until("everybody is in", || deployment.tally.inside() == scale.people).await;

    let mut telemetry: Vec<_> = nodes.iter().map(|node| node.telemetry.clone()).collect();
    let (before, begun) = (queries(&telemetry), Instant::now());
    let (talker, stop) = (Talker::new(&deployment), CancellationToken::new());
    let mut talking = JoinSet::new();
    talking.spawn(talker.talk(places, scale.pace, stop.clone()));
    let nodes = roll(nodes, scale.people, &deployment, &mut telemetry).await;
    let (took, after) = (begun.elapsed(), queries(&telemetry));
    stop.cancel();
    let heads = talking.join_next().await.unwrap().unwrap();
    for person in 0..scale.people {
        for (at, room) in rooms_of(person, scale.rooms).into_iter().enumerate() {
            let seen = || deployment.seen(person, at + 1);
            until("everybody has seen everything", || seen() >= heads[room]).await;
        }
    }
    over.cancel();
    people.join_all().await;
    let for_one_query = report(&deployment.tally, took, &before, &after);
    assert!(for_one_query >= scale.for_one_query, "{for_one_query}");
    drop(nodes);
}

/// Says what it cost, how many came back for one query, and that nothing was lost, doubled or
/// answered otherwise.
#[expect(clippy::print_stdout, reason = "the figures are what the run is for")]
fn report(
    tally: &Tally,
    took: Duration,
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> u64 {
    let returned = tally.returned.load(Ordering::Relaxed) as u64;
    let refused = tally.refused.load(Ordering::Relaxed);
    println!("{returned} came back in {took:?}, {refused} tried once more");
    let mut asked = 0;
    for (kind, count) in after {
        let count = count - before.get(kind).copied().unwrap_or_default();
        println!("{kind:>10} {count:>6}  {:.4} for each", count as f64 / returned as f64);
        if RETURNING.contains(&kind.as_str()) {
            asked += count;
        }
    }
    println!("one query for {:.0} who came back", returned as f64 / asked.max(1) as f64);
    let goodbyes = tally.goodbyes.lock();
    println!("goodbyes: {goodbyes:?}");
    assert_eq!(*tally.faults.lock(), [""; 0]);
    assert!(goodbyes.keys().eq([&Some(3001)]), "{goodbyes:?}");
    returned / asked.max(1)
}

on_both_stores! {
    flavor = "multi_thread";

    async fn three_hundred_come_through_a_rolling_restart_and_miss_nothing(backend: Backend) {
        let pace = Duration::from_millis(20);
        // Each fresh node asks once for each room, so that a few people have a large share of it.
        let scale = Scale { people: 300, rooms: 3, pace, for_one_query: 5 };
        rolling_restart(backend, scale).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and 12,000 open files"]
async fn six_thousand_come_through_a_rolling_restart_and_miss_nothing() {
    let pace = Duration::from_millis(200);
    let scale = Scale { people: 6000, rooms: 30, pace, for_one_query: 50 };
    rolling_restart(Backend::Postgres, scale).await;
}
