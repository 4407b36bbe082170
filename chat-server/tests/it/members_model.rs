//! Whatever people do to each other in a room, its log, their feeds, the rows and the count agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat_server::protocol::Json;
use chat_server::room::{FOR_EVER, Kind, LogId, Membership, Role, RoomId, RoomName};
use chat_server::store::{Change, Deed, Error, NewRoom, Range, Settled, Store};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::harness::on_both_stores;
use crate::harness::vault::Vault;

const PEOPLE: [&str; 5] = ["ann", "bob", "cid", "dan", "eve"];

/// Far enough in the future for every test, and not for ever.
const LATER: u64 = 9_000_000_000_000;

/// Somebody does something to somebody.
async fn act(store: &Store, room: RoomId, random: &mut StdRng) -> Result<Change<Settled>, Error> {
    let someone = |random: &mut StdRng| Arc::from(*PEOPLE.choose(random).unwrap());
    let (by, user): (Arc<str>, Arc<str>) = (someone(random), someone(random));
    let (deed, own) = {
        let deed = Deed { room, by, user, reason: None };
        (deed.clone(), Deed { user: deed.by.clone(), ..deed })
    };
    let until = if random.random() { LATER } else { FOR_EVER };
    match random.random_range(0..12) {
        0..=2 => store.join(own).await,
        3 => store.leave(own).await,
        4 | 5 => store.invite(deed).await,
        6 => store.set_role(deed, *Role::ALL.choose(random).unwrap()).await,
        7 => store.mute(deed, until).await,
        8 => store.unmute(deed).await,
        9 => store.kick(deed).await,
        10 => store.ban(deed, until).await,
        _ => store.unban(deed).await,
    }
}

/// What people are, by nothing but the events of the log.
fn replay(events: &[Value]) -> BTreeMap<String, Membership> {
    let mut people: BTreeMap<String, Membership> = BTreeMap::new();
    for event in events {
        let person = people.entry(event["user"].as_str().unwrap().to_owned()).or_default();
        let role = event["role"].as_str().map(|role| role.parse().unwrap());
        let until = event["until"].as_u64().unwrap_or(FOR_EVER);
        match event["change"].as_str().unwrap() {
            "joined" | "role" => person.role = Some(role.expect("it says what they are")),
            "left" | "kicked" => person.role = None,
            "muted" => person.muted_until = until,
            "unmuted" => person.muted_until = 0,
            "banned" => (person.role, person.banned_until) = (None, until),
            "unbanned" => person.banned_until = 0,
            other => panic!("{other} is no change"),
        }
        let owners = people.values().filter(|person| person.role == Some(Role::Owner));
        assert!(owners.count() > 0, "a room is never without an owner: {event}");
    }
    people
}

async fn events(store: &Store, log: LogId) -> Vec<Value> {
    let read = |data: &Json| serde_json::from_slice(data.as_bytes()).unwrap();
    let page = store.page(log, Range::After(0), 10_000).await.unwrap();
    page.iter().map(|event| read(&event.data)).collect()
}

async fn agree(store: &Store, room: RoomId) {
    let log = events(store, room.log()).await;
    let people = replay(&log);
    for user in PEOPLE {
        let standing = store.standing(room, &user.into()).await.unwrap().membership;
        assert_eq!(standing, people.get(user).copied().unwrap_or_default(), "{user}");
        let own = log.iter().filter(|event| event["user"] == *user).cloned();
        let told = own.map(|mut event| {
            event["room"] = room.to_string().into();
            event
        });
        let mut feed = events(store, LogId::of_feed(user)).await;
        feed.retain(|event| event["room"] == *room.to_string());
        assert_eq!(feed, told.collect::<Vec<_>>(), "{user}");
    }
    let inside: Vec<_> = people.iter().filter(|(_, person)| person.role.is_some()).collect();
    let listed = store.members(room, "", 100).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|member| (&member.user, Some(member.role))).collect();
    let expected: Vec<_> = inside.iter().map(|(user, person)| (*user, person.role)).collect();
    assert_eq!(listed, expected);
    assert_eq!(store.view(room, "ann").await.unwrap().members, inside.len() as u64);
    let with_rights = ["role", "muted", "unmuted", "banned", "unbanned", "kicked"];
    let audited =
        log.iter().filter(|event| with_rights.contains(&event["change"].as_str().unwrap()));
    assert_eq!(store.audited(room, None, 10_000).await.unwrap().len(), audited.count());
}

/// A room of ann's with two more owners.
async fn lobby(store: &Store) -> RoomId {
    let name = RoomName::parse("Lobby").unwrap();
    let members = vec!["bob".into(), "cid".into()];
    let new = NewRoom { by: "ann".into(), name, topic: None, kind: Kind::Public, members };
    let room = store.create_room(new).await.unwrap().value.id;
    for user in ["bob", "cid"] {
        let deed = Deed { room, by: "ann".into(), user: user.into(), reason: None };
        store.set_role(deed, Role::Owner).await.unwrap();
    }
    room
}

on_both_stores! {
    async fn whatever_happens_everything_agrees(vault: Vault) {
        for seed in 0..3 {
            let mut random = StdRng::seed_from_u64(seed);
            let room = lobby(&vault.store).await;
            let (mut done, mut refused) = (0, 0);
            for _ in 0..200 {
                match act(&vault.store, room, &mut random).await {
                    Ok(change) => done += usize::from(!change.published.is_empty()),
                    Err(Error::Denied(_) | Error::Conflict(_) | Error::Missing(_)) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(done > 20 && refused > 20, "{done} done, {refused} refused by seed {seed}");
            agree(&vault.store, room).await;
        }
    }
}
