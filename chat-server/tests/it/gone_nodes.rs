//! Who may no longer read a room is put out of it on every node, however the others hear of it.

use std::time::Duration;

use chassis::testing::{FaultProxy, Postgres, Redis, deadline, redis_url};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::rooms::Room;
use crate::harness::{Backend, Client, Stage, on_both_stores};

/// How long it may take while nodes hear each other.
const SOON: Duration = Duration::from_secs(1);

/// The same while they do not: heads are compared every second.
const LATER: Duration = Duration::from_millis(2500);

/// Waits until a client is put out of a room for good.
async fn put_out(client: &mut Client, room: &Room, since: Instant, within: Duration) {
    let push = client.push("unsubscribe").await;
    assert_eq!(push["channel"], room.channel);
    assert_eq!(push["unsubscribe"]["code"], 2000);
    assert!(since.elapsed() < within, "{:?}", since.elapsed());
}

async fn refused(client: &mut Client, room: &Room) -> Value {
    client.refused("subscribe", json!({ "channel": room.channel })).await["reason"].clone()
}

on_both_stores! {
    async fn a_ban_reaches_every_connection_on_every_node(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let mut ann = first.connect("ann").await;
        let room = ann.create("public", &["bob"]).await;
        let (mut phone, mut laptop) = (first.connect("bob").await, second.connect("bob").await);
        let mut guest = second.connect("eve").await;
        for client in [&mut phone, &mut laptop, &mut guest] {
            client.subscribe(&room.channel).await;
        }
        let since = Instant::now();
        ann.call("member.ban", room.with("bob")).await;
        for device in [&mut phone, &mut laptop] {
            put_out(device, &room, since, SOON).await;
            assert_eq!(refused(device, &room).await, "banned");
        }
        ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
        assert_eq!(guest.hears(&room.channel).await["change"], "banned");
        assert_eq!(guest.hears(&room.channel).await["body"], "hi");
        let of_room = |message: &Value| message["push"]["pub"]["data"]["body"] == "hi";
        laptop.expect_none("who is banned hears nothing", of_room).await;
        // Who may come back does, on either node.
        ann.call("member.unban", room.with("bob")).await;
        guest.hears(&room.channel).await;
        laptop.subscribe(&room.channel).await;
    }

    async fn who_is_kicked_or_goes_leaves_a_private_room_on_every_node(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let mut ann = first.connect("ann").await;
        let room = ann.create("private", &["bob", "eve"]).await;
        let (mut bob, mut eve) = (second.connect("bob").await, second.connect("eve").await);
        for client in [&mut bob, &mut eve] {
            client.subscribe(&room.channel).await;
        }
        let since = Instant::now();
        ann.call("member.kick", room.with("bob")).await;
        put_out(&mut bob, &room, since, SOON).await;
        assert_eq!(refused(&mut bob, &room).await, "not_a_member");
        // From another connection than the one that is in it.
        let since = Instant::now();
        first.connect("eve").await.call("room.leave", room.alone()).await;
        put_out(&mut eve, &room, since, SOON).await;
        assert_eq!(refused(&mut eve, &room).await, "not_a_member");
    }

    async fn who_is_kicked_out_of_a_public_room_reads_on_as_a_guest(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        bob.subscribe(&room.channel).await;
        ann.call("member.kick", room.with("bob")).await;
        assert_eq!(bob.hears(&room.channel).await["change"], "kicked");
        ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
        assert_eq!(bob.hears(&room.channel).await["body"], "hi");
        bob.expect_none("guests stay", |message| message["push"]["unsubscribe"].is_object()).await;
    }

    async fn strangers_on_every_node_leave_a_room_that_is_closed(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        let (mut eve, mut nobody) = (second.connect("eve").await, second.anonymous().await);
        let room = ann.create("public", &["bob"]).await;
        for client in [&mut bob, &mut eve, &mut nobody] {
            client.subscribe(&room.channel).await;
        }
        let since = Instant::now();
        ann.call("room.update", json!({ "room": room.id, "visibility": "private" })).await;
        for guest in [&mut eve, &mut nobody] {
            put_out(guest, &room, since, SOON).await;
            assert_eq!(refused(guest, &room).await, "not_a_member");
        }
        let event = json!({ "type": "room", "visibility": "private" });
        assert_eq!(bob.hears(&room.channel).await, event);
        bob.expect_none("members stay", |message| message["push"]["unsubscribe"].is_object()).await;
    }

    async fn a_ban_is_found_in_the_store_while_nodes_do_not_hear_each_other(backend: Backend) {
        let redis = Redis::start().await;
        let variables = [("REDIS_URL", &*redis.url()), ("REDIS_PREFIX", "gone")];
        let first = Stage::on_with(backend, &variables).await;
        let second = first.twin().await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        bob.subscribe(&room.channel).await;
        redis.kill();
        let since = Instant::now();
        ann.call("member.ban", room.with("bob")).await;
        put_out(&mut bob, &room, since, LATER).await;
        assert_eq!(refused(&mut bob, &room).await, "banned");
    }
}

/// Makes commits of what is audited take a while.
async fn slow_commits(postgres: &Postgres) -> sqlx::PgConnection {
    let mut operator = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    for statement in [
        "CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS \
            $$ BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER rests AFTER INSERT ON audit \
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rest()",
    ] {
        operator.execute(statement).await.unwrap();
    }
    operator
}

#[tokio::test]
async fn a_ban_whose_commit_was_never_answered_puts_out_all_the_same() {
    let postgres = Postgres::start().await;
    let proxy = FaultProxy::start(postgres.address()).await;
    let (store, redis) = (postgres.url_at(proxy.address()), redis_url());
    let prefix = format!("test-{}", Uuid::new_v4().simple());
    let variables = [("DATABASE_URL", &*store), ("REDIS_URL", &*redis), ("REDIS_PREFIX", &*prefix)];
    let stage = Stage::with(&variables).await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let room = ann.create("public", &["bob"]).await;
    bob.subscribe(&room.channel).await;
    let mut operator = slow_commits(&postgres).await;
    let ban = json!({ "method": "member.ban", "data": room.with("bob") });
    let asked = ann.send("rpc", ban).await;
    let commits =
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'";
    deadline(async {
        while sqlx::query_scalar::<_, i64>(commits).fetch_one(&mut operator).await.unwrap() == 0 {}
    })
    .await;
    // The commit goes on, and nobody hears what came of it.
    proxy.cut();
    let cut = Instant::now();
    let reply = ann.expect(|message| message["id"] == asked).await;
    assert_eq!(reply["error"]["code"], 503, "{reply}");
    put_out(&mut bob, &room, cut, LATER).await;
    assert_eq!(refused(&mut bob, &room).await, "banned");
    assert_eq!(bob.hears(&room.channel).await["change"], "banned");
}
