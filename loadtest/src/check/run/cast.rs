//! Who is in a run: rooms, channels, clients, and what each has to say.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::check::Name;
use crate::check::client::{Kind, Line, Link, Person};
use crate::check::options::Options;
use crate::check::stage::Stage;
use crate::check::world::World;

/// Rooms of each client.
const ROOMS_EACH: usize = 3;

/// Members that a room may begin with; more are brought in one by one.
const FOUNDERS_MAX: usize = 100;

/// The channels of a run.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) rooms: Vec<Name>,
    pub(super) plain: Vec<Name>,
}

impl Cast {
    /// Makes the rooms, with their members.
    pub(super) async fn make(options: &Options, stage: &Stage, world: &World) -> Result<Self> {
        let address = stage.nodes[0].address;
        let mut owner = Link::enter(address, &world.token("owner")).await?;
        let mut members = vec![Vec::new(); options.rooms];
        for number in 0..options.clients {
            rooms_of(number, options.rooms).for_each(|room| members[room].push(name(number)));
        }
        let mut rooms = Vec::new();
        for (number, members) in members.iter().enumerate() {
            let (founders, others) = members.split_at(members.len().min(FOUNDERS_MAX));
            let data = json!({ "name": format!("room {number}"), "visibility": "public",
                               "members": founders });
            let room = rpc(&mut owner, "room.create", data).await?;
            let id = room["id"].as_str().context("a room has an id")?;
            for user in others {
                rpc(&mut owner, "room.invite", json!({ "room": id, "user": user })).await?;
            }
            rooms.push(format!("room:{id}").into());
        }
        let plain = (0..options.plain).map(|number| format!("plain:{number}").into()).collect();
        Ok(Self { rooms, plain })
    }

    /// All channels.
    pub(super) fn channels(&self) -> Vec<Name> {
        self.rooms.iter().chain(&self.plain).cloned().collect()
    }

    /// Everyone, with how many channels they are in. Messages come evenly over the load.
    pub(super) fn people(
        &self,
        options: &Options,
        world: &Arc<World>,
        load: Duration,
    ) -> Vec<(Person, usize)> {
        let mut random = StdRng::seed_from_u64(options.seed);
        let person = |number: usize| {
            let channels = self.channels_of(number);
            let share = options.messages / options.clients;
            let count = share + usize::from(number < options.messages % options.clients);
            let lines = (0..count).map(|line| {
                let place = (line + number) % channels.len().max(1);
                let at = (line as f64 + random.random_range(0.0..1.0)) / count as f64;
                Line { place, due: load.mul_f64(at), idem: Uuid::new_v4(), begun: None }
            });
            let lines = lines.collect();
            (Person::new(Arc::clone(world), &name(number), &channels, lines), channels.len())
        };
        (0..options.clients).map(person).collect()
    }

    fn channels_of(&self, number: usize) -> Vec<(Name, Kind)> {
        let rooms = rooms_of(number, self.rooms.len());
        let rooms = rooms.map(|room| (self.rooms[room].clone(), Kind::Room));
        // By blocks, so that those who share a room are in different channels.
        let plain = (!self.plain.is_empty()).then(|| {
            let place = (number + number / self.plain.len()) % self.plain.len();
            (self.plain[place].clone(), Kind::Plain)
        });
        rooms.chain(plain).collect()
    }
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// The rooms of a client, as numbers; neighbours share some, nobody shares all with everybody.
fn rooms_of(number: usize, rooms: usize) -> impl Iterator<Item = usize> {
    let each = ROOMS_EACH.min(rooms);
    // So small that no multiple comes around to the first.
    let steps = (rooms.saturating_sub(1) / each.saturating_sub(1).max(1)).max(1);
    let step = 1 + number.checked_div(rooms).unwrap_or(0) % steps;
    (0..each).map(move |turn| (number + turn * step) % rooms)
}

async fn rpc(link: &mut Link, method: &str, data: Value) -> Result<Value> {
    let reply = link.ask(json!({ "rpc": { "method": method, "data": data } })).await?;
    Ok(reply["rpc"]["data"].clone())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_client_is_in_three_different_rooms_and_the_rooms_are_equally_full() {
        for rooms in [3, 4, 6, 30] {
            let mut members = vec![0; rooms];
            for number in 0..rooms * 10 {
                let own: HashSet<usize> = rooms_of(number, rooms).collect();
                assert_eq!(own.len(), 3, "{number} of {rooms}");
                own.into_iter().for_each(|room| members[room] += 1);
            }
            assert!(members.iter().all(|count| *count == 30), "{rooms}: {members:?}");
        }
        assert_eq!(rooms_of(5, 1).collect::<Vec<_>>(), [0]);
        assert_eq!(rooms_of(5, 0).count(), 0);
    }
}
