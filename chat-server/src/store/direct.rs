//! Direct conversations: the same people have one room, whoever opens it and wherever.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use crate::room::{Kind, Role, RoomId};

use super::found::Founding;
use super::sql::args;
use super::{Change, Error, Store};

const BY_PEOPLE: &str = "SELECT id FROM rooms WHERE people = $1";

impl Store {
    /// The conversation of these people, made when there is none. `people` has each of them once,
    /// `by` too.
    ///
    /// # Errors
    /// When the store cannot be asked or written.
    pub async fn open_direct(
        &self,
        by: Arc<str>,
        people: Vec<Arc<str>>,
    ) -> Result<Change<RoomId>, Error> {
        let hash = people_hash(&people);
        let id = |row: super::sql::Row| row.get(0).map(RoomId::from_uuid);
        if let Some(row) = self.read_one(BY_PEOPLE, args![hash.clone()]).await? {
            return id(row).map(Change::nothing);
        }
        let members = people.iter().map(|user| (&**user, Role::Member)).collect();
        let founding = Founding {
            kind: Kind::Direct,
            name: "",
            topic: "",
            people: Some(hash.clone()),
            by: &by,
            members,
        };
        let mut tx = self.begin().await?;
        if let Some((value, published)) = tx.found(&founding).await? {
            tx.commit().await?;
            return Ok(Change { value, published });
        }
        // Another was first, and is committed: the statement above waited for that.
        let row = tx.row(BY_PEOPLE, args![hash]).await?;
        id(row.ok_or_else(|| Error::Broken("no conversation".to_owned()))?).map(Change::nothing)
    }
}

/// One value for the same people in any order. The lengths keep `ab, c` and `a, bc` apart.
fn people_hash(people: &[Arc<str>]) -> Vec<u8> {
    let mut people: Vec<&str> = people.iter().map(|user| &**user).collect();
    people.sort_unstable();
    let mut hash = Context::new(&SHA256);
    for user in people {
        hash.update(&(user.len() as u64).to_be_bytes());
        hash.update(user.as_bytes());
    }
    hash.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(people: &[&str]) -> Vec<u8> {
        let people: Vec<Arc<str>> = people.iter().map(|user| Arc::from(*user)).collect();
        people_hash(&people)
    }

    #[test]
    fn the_order_of_people_does_not_matter_and_everything_else_does() {
        assert_eq!(hash(&["ann", "bob", "eve"]), hash(&["eve", "ann", "bob"]));
        assert_ne!(hash(&["ann", "bob"]), hash(&["ann", "bob", "eve"]));
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["abc"]), hash(&["ab", "c"]));
        assert_eq!(hash(&["ann", "bob"]).len(), 32);
    }
}
