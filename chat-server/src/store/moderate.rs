//! What those with more rights do to the people of a room: roles, mutes, kicks, bans.
//!
//! Repeating what is so already changes nothing and writes nothing. A mute and a ban outlive the
//! membership: leaving and coming back gets around neither.

use crate::room::happening::MemberChange;
use crate::room::{Act, Membership, Role};

use super::{Change, Deed, Error, Missing, Settled, Store};

impl Store {
    /// Gives a member another role.
    ///
    /// # Errors
    /// Not allowed to, no such member, the last owner; or when the store cannot be written.
    pub async fn set_role(&self, deed: Deed, role: Role) -> Result<Change<Settled>, Error> {
        let mut case = self.case(deed).await?;
        // Whoever may not rank anybody is not told who is in the room.
        let before = case.subject.role;
        case.authorize(Act::Promote(before.unwrap_or(Role::Guest), role))?;
        let before = before.ok_or(Error::Missing(Missing::Member))?;
        if before == role {
            return case.unchanged().await;
        }
        case.keep_an_owner().await?;
        let after = Membership { role: Some(role), ..case.subject };
        case.settle(MemberChange::Role, after).await
    }

    /// Forbids a member to write until then (Unix milliseconds, or for ever).
    ///
    /// # Errors
    /// Not allowed to, no such member; or when the store cannot be written.
    pub async fn mute(&self, deed: Deed, until: u64) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Moderate(case.subject.role))?;
        if case.subject.role.is_none() {
            return Err(Error::Missing(Missing::Member));
        }
        if case.subject.muted_until == until {
            return case.unchanged().await;
        }
        let after = Membership { muted_until: until, ..case.subject };
        case.settle(MemberChange::Muted, after).await
    }

    /// Ends a mute, also of somebody who has left.
    ///
    /// # Errors
    /// Not allowed to; or when the store cannot be written.
    pub async fn unmute(&self, deed: Deed) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Moderate(case.subject.role))?;
        if case.subject.muted_until <= case.now {
            return case.unchanged().await;
        }
        let after = Membership { muted_until: 0, ..case.subject };
        case.settle(MemberChange::Unmuted, after).await
    }

    /// Puts a member out.
    ///
    /// # Errors
    /// Not allowed to, no such member; or when the store cannot be written.
    pub async fn kick(&self, deed: Deed) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Moderate(case.subject.role))?;
        if case.subject.role.is_none() {
            return Err(Error::Missing(Missing::Member));
        }
        let after = Membership { role: None, ..case.subject };
        case.settle(MemberChange::Kicked, after).await
    }

    /// Puts anybody out, member or not, and keeps them out until then (Unix milliseconds, or for
    /// ever).
    ///
    /// # Errors
    /// Not allowed to; or when the store cannot be written.
    pub async fn ban(&self, deed: Deed, until: u64) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Moderate(case.subject.role))?;
        let after = Membership { role: None, banned_until: until, ..case.subject };
        if after == case.subject {
            return case.unchanged().await;
        }
        case.settle(MemberChange::Banned, after).await
    }

    /// Ends a ban.
    ///
    /// # Errors
    /// Not allowed to; or when the store cannot be written.
    pub async fn unban(&self, deed: Deed) -> Result<Change<Settled>, Error> {
        let case = self.case(deed).await?;
        case.authorize(Act::Moderate(case.subject.role))?;
        if case.subject.banned_until <= case.now {
            return case.unchanged().await;
        }
        let after = Membership { banned_until: 0, ..case.subject };
        case.settle(MemberChange::Unbanned, after).await
    }
}
