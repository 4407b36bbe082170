//! Redis behind Sentinels: the nodes follow the master.

use std::time::Duration;

use chassis::testing::RedisSentinel;
use tokio::time::Instant;

use super::{count, in_a_room, says, shows, two_nodes};

#[tokio::test]
async fn nodes_follow_the_master_that_a_sentinel_names() {
    let redis = RedisSentinel::start().await;
    let (first, second) = two_nodes(&[("REDIS_URL", &redis.url())]).await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    says(&mut ann, &mut bob, &room, "before").await;
    redis.server(0).kill();
    shows(&first, "bus_up 0").await;
    says(&mut ann, &mut bob, &room, "meanwhile").await;
    // The old master stays away: the replica has taken over.
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    let heard = "bus_messages_total{direction=\"received\"}";
    let known = count(&second, heard);
    let sent = Instant::now();
    says(&mut ann, &mut bob, &room, "after").await;
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    assert!(count(&second, heard) > known, "it came by the bus");
}
