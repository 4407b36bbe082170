//! Where rooms live: PostgreSQL, or SQLite in the data directory.
//!
//! ```text
//! sessions -> Committer -> append (one transaction for what gathered) -> outcomes
//! commands -> Store::edit, join, ban ..  (one transaction each)       -> Change
//! readers  -> heads, page, room, members ..
//! ```
//! SQL stands here and nowhere else; one method is one intent. Statements are the same for both
//! databases unless a file says otherwise. A method that changes a room locks it first, so it
//! decides on what is true, and returns what is to be published once it is committed. Nothing
//! here publishes.
//!
//! Invariant: the offsets of a log are 1, 2, 3 .. without a hole, assigned in the transaction that
//! writes the row.

mod alter;
mod append;
mod asked;
mod audit;
mod committer;
mod direct;
mod erasure;
mod error;
mod event;
mod export;
mod found;
mod heads;
mod keys;
mod log;
mod marks;
mod members;
mod messages;
mod migrate;
mod moderate;
mod monitor;
mod open;
mod page;
mod plan;
mod queries;
mod reactions;
mod retention;
mod rooms;
mod sql;
mod standings;
mod survey;

pub use alter::{Altered, RoomUpdate};
pub use audit::Audited;
pub use committer::{Committer, Meters, Publish, Wiring};
pub use erasure::Erased;
pub use error::{Conflict, Error, Missing};
pub use event::{Access, Amend, Appended, Change, Draft, Event, EventKind, Outcome, Published};
pub use export::{EventRow, MemberRow, RoomRow, Snapshot};
pub use found::{Founded, NewRoom};
pub use heads::Head;
pub use marks::{Mark, Marked, Reader, Tell, Unread};
pub use members::{Deed, Member, Settled};
pub use messages::{Deletion, Edit, Message};
pub use monitor::{Monitor, State};
pub use open::{Hazards, OpenError, Problem, Settings, Target};
pub use page::Range;
pub use plan::Plan;
pub use queries::{Count, Query};
pub use reactions::{Reacted, Reaction, Reactions};
pub use retention::{Keep, Overdue, Trimmed};
pub use rooms::{Listed, Standing, View};
pub use standings::Roster;
pub use survey::{Server, Survey};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The database of this process; shared by everything that needs it.
pub struct Store {
    database: sql::Database,
    monitor: Arc<Monitor>,
    /// The key of the hashes in `publish_keys`.
    secret: [u8; 32],
    /// How long a call may take.
    timeout: Duration,
    /// Who asks where logs stand, and
    heads_asked: asked::Asked<crate::room::LogId, Head>,
    /// what people are.
    standings_asked: asked::Asked<standings::Seat, Option<Standing>>,
    counted: queries::Counted,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("state", &self.state()).finish_non_exhaustive()
    }
}
