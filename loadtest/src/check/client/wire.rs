//! What the server says, as far as a client of this program listens; borrowed from the frame.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One message of the server: a reply when it has an id, else a push.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reply<'a> {
    /// Of the command that is answered.
    pub id: u64,
    /// Instead of a result.
    #[serde(borrow)]
    pub error: Option<Refusal<'a>>,
    /// The connection is made.
    pub connect: Option<Connected>,
    /// A subscription is made.
    #[serde(borrow)]
    pub subscribe: Option<Subscribed<'a>>,
    /// A message is taken.
    pub publish: Option<Published>,
    /// Nobody asked for it.
    #[serde(borrow)]
    pub push: Option<Push<'a>>,
}

/// Why a command was refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refusal<'a> {
    /// The protocol's number.
    pub code: u32,
    /// For people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// A stable word.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// The same may succeed later,
    pub temporary: bool,
    /// after so long.
    pub retry_after_ms: u64,
}

/// The result of `connect`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Connected {
    /// The id of the connection.
    pub client: String,
    /// Seconds between two pings.
    pub ping: u64,
}

/// The result of `subscribe`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Subscribed<'a> {
    /// The life of the offsets.
    pub epoch: String,
    /// Where the client stands now.
    pub offset: u64,
    /// What was missed is in `publications`, or follows.
    pub recovered: bool,
    /// What was missed.
    #[serde(borrow)]
    pub publications: Vec<Publication<'a>>,
}

/// The result of `publish`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Published {
    /// Where it stands.
    pub offset: u64,
    /// In which life of the channel.
    pub epoch: String,
    /// Its id, in rooms.
    pub id: String,
    /// It was there already.
    pub duplicate: bool,
}

/// What the server says unasked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Push<'a> {
    /// What it concerns.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// An event.
    #[serde(borrow, rename = "pub")]
    pub publication: Option<Publication<'a>>,
    /// The end of a subscription.
    pub unsubscribe: Option<Ended>,
    /// The end of the connection.
    pub disconnect: Option<Ended>,
}

/// An event.
#[derive(Debug, Deserialize)]
pub struct Publication<'a> {
    /// Its place, if it has one.
    #[serde(default)]
    pub offset: u64,
    /// The whole of it.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// Why something ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// The protocol's number.
    pub code: u16,
}
