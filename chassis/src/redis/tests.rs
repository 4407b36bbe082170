//! Questions to each topology, well and with a part of it away.

use std::time::Duration;

use deadpool_redis::redis::cmd;
use tokio::time::Instant;

use super::*;
use crate::testing::{Redis as Server, RedisCluster, deadline};

const TIMEOUT: Duration = Duration::from_millis(500);

fn redis(url: &str) -> Redis {
    let location = Location::parse(&url.into()).unwrap();
    Redis::new(&Config { location, size: 4, timeout: TIMEOUT })
}

async fn set(redis: &Redis, key: &str) -> Result<String, Error> {
    redis.query(cmd("SET").arg(key).arg(key)).await
}

async fn get(redis: &Redis, key: &str) -> Result<Option<String>, Error> {
    redis.query(cmd("GET").arg(key)).await
}

/// A key of each master.
async fn keys(cluster: &RedisCluster) -> Vec<String> {
    let mut keys = vec![None; 3];
    for number in 0.. {
        let key = format!("key{number}");
        let owner = cluster.owner(&key).await;
        keys[owner].get_or_insert(key);
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    keys.into_iter().flatten().collect()
}

#[tokio::test]
async fn questions_go_to_the_server_that_has_the_key() {
    let cluster = RedisCluster::start().await;
    let redis = redis(&cluster.url());
    let script = Script::new("return redis.call('GET', KEYS[1]) .. ARGV[1]");
    for key in keys(&cluster).await {
        set(&redis, &key).await.unwrap();
        // The script is loaded on each of them.
        let mut invocation = script.prepare_invoke();
        let answer: String = redis.invoke(invocation.key(&key).arg("!")).await.unwrap();
        assert_eq!(answer, format!("{key}!"));
    }
    let survey = redis.survey().await.unwrap();
    assert!(survey.is_whole && survey.members.len() == 3);
    assert!(survey.members.iter().all(|member| member.mode == Mode::Cluster));
}

#[tokio::test]
async fn a_key_that_moved_is_found_where_it_is() {
    let cluster = RedisCluster::start().await;
    let redis = redis(&cluster.url());
    let key = &keys(&cluster).await[0];
    assert_eq!(get(&redis, key).await.unwrap(), None);
    cluster.move_slot(key, 1).await;
    set(&redis, key).await.unwrap();
    let is_known = || {
        let known = redis.masters().borrow().of(key.as_bytes()).unwrap().port;
        known == cluster.server(1).address().port()
    };
    // Questions are answered before that is known, and make it known.
    deadline(async {
        while !is_known() {
            assert_eq!(get(&redis, key).await.unwrap().as_deref(), Some(key.as_str()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_master_that_is_away_takes_only_its_keys_with_it() {
    let cluster = RedisCluster::start().await;
    let redis = redis(&cluster.url());
    let keys = keys(&cluster).await;
    for key in &keys {
        set(&redis, key).await.unwrap();
    }
    cluster.server(2).pause();
    let asked = Instant::now();
    assert_eq!(get(&redis, &keys[2]).await.unwrap_err().fault(), Fault::Timeout);
    assert!(asked.elapsed() < 2 * TIMEOUT, "{:?}", asked.elapsed());
    for key in &keys[..2] {
        let asked = Instant::now();
        assert_eq!(get(&redis, key).await.unwrap().as_deref(), Some(key.as_str()));
        assert!(asked.elapsed() < TIMEOUT, "{:?}", asked.elapsed());
    }
    let survey = redis.survey().await.unwrap();
    assert!(!survey.is_whole && survey.members.len() == 2);
    cluster.server(2).resume();
    deadline(async { while get(&redis, &keys[2]).await.is_err() {} }).await;
    cluster.server(0).kill();
    deadline(async {
        while get(&redis, &keys[0]).await.unwrap_err().fault() != Fault::Unreachable {}
    })
    .await;
    assert!(get(&redis, &keys[1]).await.unwrap().is_some());
}

#[tokio::test]
async fn a_url_of_another_topology_is_told_from_one_that_fits() {
    let cluster = RedisCluster::start().await;
    let one = redis(&cluster.server(0).url()).survey().await.unwrap_err();
    assert_eq!(one.fault(), Fault::OtherMode);
    assert!(one.to_string().contains("redis+cluster://"), "{one}");
    let server = Server::start().await;
    let url = format!("redis+cluster://{}", server.address());
    let none = redis(&url).survey().await.unwrap_err();
    assert_eq!(none.fault(), Fault::OtherMode, "{none}");
    let none = get(&redis(&url), "a").await.unwrap_err();
    assert_eq!(none.fault(), Fault::OtherMode, "{none}");
}

#[tokio::test]
async fn a_short_answer_does_not_wait_behind_a_long_one() {
    let server = Server::start().await;
    let location = Location::parse(&server.url().into()).unwrap();
    let redis = Redis::new(&Config { location, size: 1, timeout: Duration::from_secs(10) });
    let script = Script::new("return string.rep('x', tonumber(ARGV[1]))");
    // Connected, and the script is loaded.
    let (mut short, mut long) = (script.prepare_invoke(), script.prepare_invoke());
    short.key("a").arg(1);
    let _: String = redis.invoke(&short).await.unwrap();
    let _: String = redis.fetch(&short).await.unwrap();
    long.key("a").arg(64 << 20);
    tokio::select! {
        biased;
        long = redis.fetch::<Vec<u8>>(&long) => panic!("{:?} first", long.map(|long| long.len())),
        short = redis.invoke::<String>(&short) => assert_eq!(short.unwrap(), "x"),
    }
}

#[tokio::test]
async fn what_a_server_says_of_itself_is_surveyed() {
    let server = Server::with(&["maxmemory 50mb", "maxmemory-policy allkeys-lru"]).await;
    let survey = redis(&server.url()).survey().await.unwrap();
    let [member] = &survey.members[..] else { panic!("{survey:?}") };
    assert!(member.version >= OLDEST && member.mode == Mode::Standalone);
    let memory = member.memory.as_ref().unwrap();
    assert_eq!((memory.max_bytes, memory.policy.as_str()), (50 << 20, "allkeys-lru"));
    server.kill();
    let away = redis(&server.url()).survey().await.unwrap_err();
    assert_eq!(away.fault(), Fault::Unreachable);
    assert!(!away.fault().is_lasting());
}
