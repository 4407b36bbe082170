//! The identifiers of rooms, logs and messages: UUIDs, each a type of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use uuid::Uuid;

/// The name space of the logs that have no id of their own: feeds of people.
const FEEDS: Uuid = Uuid::from_u128(0x5c0a_93d4_7e1f_4b60_9d2e_8a61_f0b7_34c2);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// From the store.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// For the store.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// For the store, as bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
    )+};
}

ids! {
    /// A room.
    RoomId;
    /// Anything with a log: a room, or a person's feed.
    LogId;
    /// A message, or any other event of a log.
    MessageId;
}

impl RoomId {
    /// A new one, in the order of time.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The channel of the room.
    #[must_use]
    pub fn channel(self) -> Arc<str> {
        format!("room:{self}").into()
    }

    /// Its log.
    #[must_use]
    pub const fn log(self) -> LogId {
        LogId(self.0)
    }
}

impl Default for RoomId {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageId {
    /// A new one, in the order of time.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for MessageId {
    fn default() -> Self {
        Self::new()
    }
}

impl LogId {
    /// The log of a person's feed; the same on every node.
    #[must_use]
    pub fn of_feed(user: &str) -> Self {
        Self(Uuid::new_v5(&FEEDS, user.as_bytes()))
    }
}
