//! What the database is asked, counted by purpose where it is asked.

use std::fmt;
use std::sync::{Arc, OnceLock};

use chassis::metric_label;

use super::Store;

metric_label! {
    /// What the database is asked for.
    pub enum Query: "kind" {
        /// Where logs stand, for somebody who comes.
        Head = "head",
        /// The same every few seconds, whoever comes.
        Compare = "compare",
        /// A page of a log.
        Page = "page",
        /// What people are in rooms.
        Standing = "standing",
        /// A room with everybody in it.
        Room = "room",
        /// A transaction of messages.
        Append = "append",
        /// Any other transaction.
        Change = "change",
        /// Anything else that is read.
        Other = "other",
    }
}

/// Who counts.
pub type Count = Arc<dyn Fn(Query) + Send + Sync>;

/// The one who counts, once there is one.
#[derive(Default)]
pub(super) struct Counted(OnceLock<Count>);

impl Store {
    /// Has every query counted from now on; only the first one who counts is kept.
    pub fn count_with(&self, count: Count) {
        self.counted.0.get_or_init(|| count);
    }

    pub(super) fn count(&self, query: Query) {
        if let Some(count) = self.counted.0.get() {
            count(query);
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}
