//! Whatever people do and whatever befalls Redis and the leases, in the end every node says the
//! same, and that is the truth.
//!
//! The steps come from a seed that is printed, and taken from `PRESENCE_SEED` to try one again.

use std::collections::BTreeMap;

use chassis::redis::commands::aio::MultiplexedConnection;
use chassis::redis::commands::{Client as RedisClient, cmd};
use chassis::testing::Redis;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::{comes_to, node, unkept};
use crate::harness::{Client, Stage};

const STEPS: usize = 300;

const PEOPLE: usize = 12;

const CHANNELS: [&str; 3] = ["lobby", "kitchen", "with{braces}"];

/// Of the deployment; the tests' own is not known to them.
const PREFIX: &str = "model";

/// One connection, and where it is by the model.
struct Connected {
    client: Client,
    user: String,
    channels: Vec<&'static str>,
}

struct World {
    nodes: Vec<Stage>,
    redis: MultiplexedConnection,
    random: StdRng,
    people: Vec<Connected>,
}

impl World {
    fn below(&mut self, bound: usize) -> usize {
        self.random.random_range(0..bound)
    }

    async fn step(&mut self) {
        match self.below(100) {
            0..35 => self.come().await,
            35..60 => self.enter().await,
            60..80 => self.leave().await,
            80..88 => self.close().await,
            88..94 => self.break_off(),
            94..97 => self.lose_lease().await,
            97..99 => self.redis("FLUSHALL", &[]).await,
            _ => self.restart().await,
        }
    }

    async fn come(&mut self) {
        if self.people.len() >= PEOPLE {
            return;
        }
        let (at, user) = (self.below(self.nodes.len()), format!("person{}", self.below(6)));
        let client = self.nodes[at].connect(&user).await;
        self.people.push(Connected { client, user, channels: Vec::new() });
    }

    async fn enter(&mut self) {
        let Some(who) = self.anybody() else { return };
        let channel = CHANNELS[self.below(CHANNELS.len())];
        let person = &mut self.people[who];
        if !person.channels.contains(&channel) {
            person.client.subscribe(channel).await;
            person.channels.push(channel);
        }
    }

    async fn leave(&mut self) {
        let Some(who) = self.anybody() else { return };
        let person = &mut self.people[who];
        if let Some(channel) = person.channels.pop() {
            person.client.ask("unsubscribe", json!({ "channel": channel })).await;
        }
    }

    async fn close(&mut self) {
        let Some(who) = self.anybody() else { return };
        let mut person = self.people.swap_remove(who);
        person.client.socket.close(None).await.unwrap();
    }

    fn break_off(&mut self) {
        let Some(who) = self.anybody() else { return };
        drop(self.people.swap_remove(who));
    }

    /// A node is taken for dead that lives, as after a long pause of its process.
    async fn lose_lease(&mut self) {
        let key = |name: &str| format!("{PREFIX}:{{nodes}}:{name}");
        let mut command = cmd("ZRANGE");
        command.arg(key("alive")).arg(0).arg(-1);
        let alive: Vec<String> = command.query_async(&mut self.redis).await.unwrap();
        if alive.is_empty() {
            return;
        }
        let victim = alive[self.below(alive.len())].clone();
        self.redis("ZREM", &[&key("alive"), &victim]).await;
        let now = chat_server::command::unix_millis().to_string();
        self.redis("ZADD", &[&key("dead"), &now, &victim]).await;
        self.redis("HSET", &[&key("died"), &victim, &now]).await;
    }

    /// A node goes, with everyone on it, and another comes in its place.
    async fn restart(&mut self) {
        let at = self.below(self.nodes.len());
        let fresh = self.nodes[at].twin().await;
        let gone = std::mem::replace(&mut self.nodes[at], fresh);
        let port = gone.addresses.connections.port();
        self.people.retain(|person| {
            person.client.socket.get_ref().peer_addr().is_ok_and(|peer| peer.port() != port)
        });
        gone.stop().await;
    }

    async fn redis(&mut self, name: &str, arguments: &[&str]) {
        let mut command = cmd(name);
        command.arg(arguments);
        let () = command.exec_async(&mut self.redis).await.unwrap();
    }

    fn anybody(&mut self) -> Option<usize> {
        (!self.people.is_empty()).then(|| self.below(self.people.len()))
    }

    /// Every node says what the model says.
    async fn check(&mut self) {
        let mut truth: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for person in &self.people {
            for channel in &person.channels {
                truth.entry(channel).or_default().push(&person.user);
            }
        }
        for stage in &self.nodes {
            let mut watcher = stage.connect("watcher").await;
            for channel in CHANNELS {
                let mut users = truth.get(channel).cloned().unwrap_or_default();
                users.sort_unstable();
                comes_to(&mut watcher, channel, &users).await;
            }
        }
    }
}

fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a failed run is tried again by hand")]
    let given = std::env::var("PRESENCE_SEED");
    given.map_or_else(|_| rand::random(), |seed| seed.parse().unwrap())
}

#[tokio::test]
async fn in_the_end_every_node_knows_who_is_there() {
    let seed = seed();
    println!("PRESENCE_SEED={seed}");
    let redis = Redis::start().await;
    let url = redis.url();
    let channels = unkept();
    let path = channels.path().to_str().unwrap();
    let variables = [("REDIS_URL", &*url), ("REDIS_PREFIX", PREFIX), ("CHANNELS_FILE", path)];
    let first = node(&variables).await;
    let nodes = vec![first.twin().await, first.twin().await, first];
    let client = RedisClient::open(url).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let random = StdRng::seed_from_u64(seed);
    let mut world = World { nodes, redis: connection, random, people: Vec::new() };
    for _ in 0..STEPS {
        world.step().await;
    }
    world.check().await;
}
