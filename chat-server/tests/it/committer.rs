//! Group commit: many who write at once, on several nodes, and who goes away in between.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chassis::testing::deadline;
use chat_server::room::{LogId, MessageId, RoomId};
use chat_server::store::{
    Appended, Committer, Draft, Error, Meters, Published, Settings, Store, Wiring,
};
use parking_lot::Mutex;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::harness::vault::{Vault, draft};
use crate::harness::{Backend, Begin, Stage, on_both_stores};

const PEOPLE: [&str; 3] = ["ana", "bo", "cy"];

/// A committer, and what it has published.
#[derive(Debug, Clone)]
struct Node {
    committer: Arc<Committer>,
    published: Arc<Mutex<Vec<Published>>>,
}

/// A message, whatever id it was sent with: room, sender, idem.
type Key = (RoomId, &'static str, Uuid);

/// What was acknowledged: each message with all answers it got.
#[derive(Debug)]
struct Acks {
    answers: Mutex<HashMap<Key, Vec<Appended>>>,
    came: Semaphore,
}

impl Node {
    fn start(store: Arc<Store>) -> Self {
        let published: Arc<Mutex<Vec<Published>>> = Arc::default();
        let kept = published.clone();
        let publish = Arc::new(move |events: Vec<Published>| kept.lock().extend(events));
        let wiring = Wiring { store, publish, meters: Meters::default() };
        Self { committer: Committer::start(wiring, &TaskTracker::new()), published }
    }

    /// Sends it until it is known to be there.
    async fn insist(&self, draft: &Draft) -> Appended {
        loop {
            match self.committer.append(draft.clone()).await {
                Ok(appended) => return appended,
                // As a client does, only sooner.
                Err(Error::Unavailable { retry_after, .. }) => {
                    tokio::time::sleep(retry_after.mul_f64(0.01)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

on_both_stores! {
    flavor = "multi_thread";

    async fn nodes_that_write_the_same_rooms_leave_no_hole_and_no_double(vault: Vault) {
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.push(Node::start(vault.node().await));
        }
        let rooms = rooms(&vault).await;
        let keys = keys(&rooms, 25);
        let acks = Arc::new(Acks::new());
        deadline(everyone_sends(&nodes, &keys, &acks)).await;
        assert_consistent(&vault, &rooms, &keys, &acks).await;
        assert_published_once(&vault, &rooms, &nodes).await;
    }

    async fn an_event_is_published_before_its_sender_is_told(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let node = Node::start(vault.store.clone());
        for offset in 1..=20 {
            let draft = draft(room, "ana", Some(Uuid::new_v4()));
            let appended = node.committer.append(draft.clone()).await.unwrap();
            assert_eq!((appended.offset, appended.id), (offset, draft.id));
            let published = node.published.lock().last().cloned().unwrap();
            assert_eq!((published.log, published.channel), (room.log(), room.channel()));
            assert_eq!(published.event.offset, offset);
            assert_eq!(published.event.time_ms, appended.time_ms);
            assert_eq!(published.event.data, draft.data);
            // A repeat is told, and not published again.
            assert!(node.committer.append(draft).await.unwrap().duplicate);
        }
        assert_eq!(node.published.lock().len(), 20);
    }

    async fn who_goes_away_has_sent_all_the_same(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let node = Node::start(vault.store.clone());
        for _ in 0..50 {
            let mut sent = Box::pin(node.committer.append(draft(room, "ana", None)));
            let waiting = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(waiting.is_pending());
        }
        let last = node.committer.append(draft(room, "ana", None)).await.unwrap();
        assert_eq!(last.offset, 51);
        let published: Vec<u64> = node.published.lock().iter().map(|it| it.event.offset).collect();
        assert_eq!(published, (1..=51).collect::<Vec<_>>());
    }

    async fn what_was_taken_is_written_before_the_end(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let node = Node::start(vault.store.clone());
        let mut sent: Vec<_> = Vec::new();
        for _ in 0..600 {
            let mut append = Box::pin(node.committer.append(draft(room, "ana", None)));
            match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => sent.push(append),
                // The writer was quicker than this thread.
                Poll::Ready(written) => assert!(written.is_ok(), "{written:?}"),
            }
        }
        deadline(node.committer.close()).await;
        assert_eq!(node.published.lock().len(), 600);
        for append in sent {
            deadline(append).await.unwrap();
        }
        let late = node.committer.append(draft(room, "ana", None)).await;
        assert!(matches!(late, Err(Error::Unavailable { .. })), "{late:?}");
        assert_eq!(vault.offsets(room.log()).await, (1..=600).collect::<Vec<_>>());
    }

    async fn a_batch_that_takes_too_long_is_answered_and_may_come_again(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let timeout = Duration::from_secs(1);
        let settings = Settings { timeout, ..vault.settings.clone() };
        let node = Node::start(Store::open(&settings).await.unwrap());
        node.insist(&draft(room, "ana", None)).await;

        let held = vault.hold(room.log()).await;
        let stuck = draft(room, "ana", Some(Uuid::new_v4()));
        let outcome = deadline(node.committer.append(stuck.clone())).await;
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
        drop(held);
        let appended = deadline(node.insist(&stuck)).await;
        assert_eq!((appended.offset, appended.id), (2, stuck.id));
        assert_eq!(vault.offsets(room.log()).await, [1, 2]);
    }

    async fn commits_are_counted(stage: Stage) {
        let mut ana = stage.connect("ana").await;
        let room = ana.create("public", &[]).await;
        for number in 1..=3 {
            let message = json!({ "type": "message", "body": format!("{number}") });
            ana.publish(&room.channel, message).await;
        }
        // One after the other, each is a transaction of its own.
        let text = stage.telemetry.render();
        for line in [
            "chat_commit_batch_size_count 3",
            "chat_commit_batch_size_sum 3",
            "chat_commit_seconds_count 3",
            "chat_commit_queue 0",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
        }
    }

    async fn a_publisher_that_panics_stops_nobody(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let publish = Arc::new(|_: Vec<Published>| panic!("a fault"));
        let wiring = Wiring { store: vault.store.clone(), publish, meters: Meters::default() };
        let committer = Committer::start(wiring, &TaskTracker::new());
        for offset in 1..=3 {
            let appended = committer.append(draft(room, "ana", None)).await.unwrap();
            assert_eq!(appended.offset, offset);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_connections_are_cut_off() {
    let vault = Vault::on(Backend::Postgres).await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(Node::start(vault.node().await));
    }
    let rooms = rooms(&vault).await;
    let keys = keys(&rooms, 100);
    let acks = Arc::new(Acks::new());
    let cut = async {
        let mut cut = 0;
        while cut < 10 {
            acks.more(50).await;
            cut += vault.end_users().await;
        }
    };
    // Each key comes from each node: 2,000 answers at least, and after 50 of them a cut.
    deadline(async { tokio::join!(everyone_sends(&nodes, &keys, &acks), cut) }).await;
    assert_consistent(&vault, &rooms, &keys, &acks).await;
}

async fn rooms(vault: &Vault) -> Vec<RoomId> {
    let mut rooms = Vec::new();
    for _ in 0..5 {
        rooms.push(vault.room_of(&PEOPLE).await);
    }
    rooms
}

/// So many messages for each room.
fn keys(rooms: &[RoomId], each: usize) -> Vec<Draft> {
    let key = |&room: &RoomId| {
        let sender = PEOPLE.choose(&mut rand::rng()).unwrap();
        draft(room, sender, Some(Uuid::new_v4()))
    };
    rooms.iter().flat_map(|room| (0..each).map(move |_| key(room))).collect()
}

/// Every node sends every message, some twice, in an order of its own, several at once.
async fn everyone_sends(nodes: &[Node], keys: &[Draft], acks: &Arc<Acks>) {
    let mut senders = JoinSet::new();
    for node in nodes {
        let twice = keys.sample(&mut rand::rng(), keys.len() / 4);
        let mut all: Vec<Draft> = keys.iter().chain(twice).cloned().collect();
        all.shuffle(&mut rand::rng());
        for part in all.chunks(all.len().div_ceil(16)) {
            let (part, node, acks) = (part.to_vec(), node.clone(), acks.clone());
            senders.spawn(async move {
                for draft in part {
                    // What each node makes of it is another draft with the same key.
                    let draft = Draft { id: MessageId::new(), ..draft };
                    acks.add(&draft, node.insist(&draft).await);
                }
            });
        }
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap();
    }
}

/// Each key has one answer, each answer a row, and the rows no hole.
async fn assert_consistent(vault: &Vault, rooms: &[RoomId], keys: &[Draft], acks: &Acks) {
    let acks = acks.answers.lock().clone();
    assert_eq!(acks.len(), keys.len());
    let mut seen = HashSet::new();
    for ((room, ..), answers) in &acks {
        let (offset, id) = (answers[0].offset, answers[0].id);
        assert!(answers.iter().all(|it| (it.offset, it.id) == (offset, id)), "{answers:?}");
        assert!(answers.iter().filter(|it| !it.duplicate).count() <= 1, "{answers:?}");
        assert!(seen.insert((room.log(), offset)), "two messages at {offset}");
        let (room, id) = (vault.id(room.uuid()), vault.id(id.uuid()));
        let sql = format!("SELECT off FROM messages WHERE room_id = {room} AND id = {id}");
        assert_eq!(vault.numbers(sql).await, [offset.cast_signed()]);
    }
    for room in rooms {
        let count = keys.iter().filter(|key| key.log == room.log()).count();
        let offsets = vault.offsets(room.log()).await;
        assert_eq!(offsets, (1..=i64::try_from(count).unwrap()).collect::<Vec<_>>());
        assert_eq!(vault.head(room.log()).await, offsets.last().copied());
    }
}

/// Each row was published by the one node that wrote it, and by each node in order.
async fn assert_published_once(vault: &Vault, rooms: &[RoomId], nodes: &[Node]) {
    let mut offsets: HashMap<LogId, Vec<i64>> = HashMap::new();
    for node in nodes {
        let mut last: HashMap<LogId, u64> = HashMap::new();
        for Published { log, event, .. } in node.published.lock().iter() {
            let before = last.insert(*log, event.offset).unwrap_or(0);
            assert!(before < event.offset, "{before} and then {}", event.offset);
            offsets.entry(*log).or_default().push(event.offset.cast_signed());
        }
    }
    for room in rooms {
        let mut published = offsets.remove(&room.log()).unwrap();
        published.sort_unstable();
        assert_eq!(published, vault.offsets(room.log()).await);
    }
}

impl Acks {
    fn new() -> Self {
        Self { answers: Mutex::default(), came: Semaphore::new(0) }
    }

    /// Waits for so many more.
    async fn more(&self, count: u32) {
        self.came.acquire_many(count).await.unwrap().forget();
    }

    fn add(&self, draft: &Draft, appended: Appended) {
        let sender = PEOPLE.iter().find(|user| **user == &*draft.sender).unwrap();
        let room = RoomId::from_uuid(draft.log.uuid());
        let key = (room, *sender, draft.idem.unwrap());
        self.answers.lock().entry(key).or_default().push(appended);
        self.came.add_permits(1);
    }
}
