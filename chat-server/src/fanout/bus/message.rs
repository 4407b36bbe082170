//! What nodes tell each other, and its bytes on the bus. Sans IO.
//!
//! Whatever comes from the bus was perhaps not said by a node of ours: it is checked like anything
//! from outside, and what is wrong is an error, never a panic.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chassis::delivery::Class;
use prost::Message as _;
use proto::bus::v1 as wire;
use uuid::Uuid;

use super::stamp;
use crate::protocol::{ClientInfo, DisconnectCode, Json, NotJson, Publication, UnsubscribeCode};
use crate::store::{Amend, Event};

/// The most bytes of a message: sixty-four of the largest frames that clients send. Nobody of ours
/// says more at once, and nothing larger is looked at.
const BYTES_MAX: usize = 4 << 20;

/// What one node tells others.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// An event was committed to the log of the topic's channel.
    Event(LogEvent),
    /// A publication in a channel without a log; with an offset where history is kept.
    Publication {
        /// The life of its offset; empty where no history is kept.
        epoch: Arc<str>,
        /// What was published.
        publication: Publication,
    },
    /// What nobody can ask for later.
    Ephemeral {
        /// How soon it is shed.
        class: Class,
        /// What it is.
        publication: Publication,
    },
    /// Somebody came into the topic's channel.
    Joined(ClientInfo),
    /// Somebody left it.
    Left(ClientInfo),
    /// How many are in it.
    Crowd(Crowd),
    /// What the sessions of a person are to do.
    Order(Order),
    /// Commands of an emulated connection that lives on the topic's node.
    Commands {
        /// By which the answer is told from others.
        question: u64,
        /// The secret of the session.
        session: u128,
        /// The commands.
        frame: Bytes,
    },
    /// What became of commands.
    Taken {
        /// Which ones.
        question: u64,
        /// What became of them.
        outcome: Outcome,
    },
}

/// An event of a log as it was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEvent {
    /// The life of the offsets.
    pub epoch: Arc<str>,
    /// What happened.
    pub event: Event,
    /// What it changed in earlier events.
    pub amends: Vec<Amend>,
}

/// How many are in a channel that is too large to name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    /// Connections.
    pub clients: u32,
    /// Distinct people.
    pub users: u32,
}

/// What the sessions of a person are to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Whose.
    pub user: Arc<str>,
    /// What.
    pub what: What,
}

/// What a session is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// End.
    Disconnect(DisconnectCode),
    /// Leave a channel.
    Unsubscribe(Arc<str>, UnsubscribeCode),
    /// Enter a channel.
    Subscribe(Arc<str>),
    /// Be good until then (Unix seconds), or for ever.
    Refresh(Option<u64>),
    /// Pass a message on.
    Message(Json),
}

/// What became of commands that were forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The session has them.
    Taken,
    /// There is no such session.
    UnknownSession,
    /// It has as many as it takes.
    MailboxFull,
}

/// A message that no node of ours has said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than any node says at once.
    #[error("{0} bytes are more than {BYTES_MAX}")]
    Large(usize),
    /// Not the bytes of an envelope.
    #[error("no envelope: {0}")]
    Envelope(#[from] prost::DecodeError),
    /// What must be JSON is not.
    #[error(transparent)]
    Json(#[from] NotJson),
    /// A field that must be there is missing or has no meaning.
    #[error("field {0} is missing or means nothing")]
    Field(&'static str),
}

/// The bytes of a message of this node.
#[must_use]
pub fn encode(node: Uuid, message: &Message) -> Bytes {
    let node = Bytes::copy_from_slice(node.as_bytes());
    wire::Envelope { node, body: Some(message.into()) }.encode_to_vec().into()
}

/// Whether a node said this, as far as the first bytes tell: its id is the first field of what it
/// encodes.
#[must_use]
pub fn is_said_by(node: Uuid, bytes: &[u8]) -> bool {
    const FIELD: [u8; 2] = [0x0a, 16];
    bytes.strip_prefix(&FIELD).is_some_and(|rest| rest.starts_with(node.as_bytes()))
}

/// Who said it, and what; `None` for what a newer node says and this one does not know.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: Bytes) -> Result<(Uuid, Option<Message>), Malformed> {
    if bytes.len() > BYTES_MAX {
        return Err(Malformed::Large(bytes.len()));
    }
    let (stamp, envelope) = stamp::split(bytes)?;
    let envelope = wire::Envelope::decode(envelope)?;
    let node = Uuid::from_slice(&envelope.node).map_err(|_length| Malformed::Field("node"))?;
    let mut message = envelope.body.map(Message::try_from).transpose()?;
    match (stamp, &mut message) {
        (None, _) => {}
        (Some(stamp), Some(Message::Publication { epoch, publication })) => {
            (*epoch, publication.offset) = (stamp.epoch, stamp.offset);
        }
        (Some(_), _) => return Err(Malformed::Field("stamp")),
    }
    Ok((node, message))
}

impl From<&Message> for wire::envelope::Body {
    fn from(message: &Message) -> Self {
        match message {
            Message::Event(LogEvent { epoch, event, amends }) => Self::Event(wire::Event {
                epoch: epoch.as_ref().to_owned(),
                offset: event.offset,
                time_ms: event.time_ms,
                data: event.data.bytes().clone(),
                amends: amends.iter().map(amend).collect(),
            }),
            Message::Publication { epoch, publication } => Self::Publication(wire::Publication {
                epoch: epoch.as_ref().to_owned(),
                offset: publication.offset,
                time_ms: publication.time_ms,
                data: publication.data.bytes().clone(),
                info: publication.info.as_ref().map(info),
                tags: publication.tags.clone(),
            }),
            Message::Ephemeral { class, publication } => Self::Ephemeral(wire::Ephemeral {
                class: match class {
                    Class::Typing => wire::Class::Typing,
                    Class::Presence => wire::Class::Presence,
                    // An event is never ephemeral.
                    Class::Event => wire::Class::Unspecified,
                }
                .into(),
                data: publication.data.bytes().clone(),
                info: publication.info.as_ref().map(info),
            }),
            Message::Joined(who) => Self::Joined(wire::Presence { info: Some(info(who)) }),
            Message::Left(who) => Self::Left(wire::Presence { info: Some(info(who)) }),
            Message::Crowd(Crowd { clients, users }) => {
                Self::Crowd(wire::Crowd { clients: *clients, users: *users })
            }
            Message::Order(order) => Self::Order(order.into()),
            Message::Commands { question, session, frame } => Self::Commands(wire::Commands {
                question: *question,
                session: Bytes::copy_from_slice(&session.to_be_bytes()),
                frame: frame.clone(),
            }),
            Message::Taken { question, outcome } => Self::Taken(wire::Taken {
                question: *question,
                outcome: match outcome {
                    Outcome::Taken => wire::Outcome::Taken,
                    Outcome::UnknownSession => wire::Outcome::UnknownSession,
                    Outcome::MailboxFull => wire::Outcome::MailboxFull,
                }
                .into(),
            }),
        }
    }
}

impl TryFrom<wire::envelope::Body> for Message {
    type Error = Malformed;

    fn try_from(body: wire::envelope::Body) -> Result<Self, Malformed> {
        use wire::envelope::Body;
        Ok(match body {
            Body::Event(wire::Event { epoch, offset, time_ms, data, amends }) => {
                let amends = amends.into_iter().map(|amend| {
                    Ok(Amend { offset: amend.offset, data: Json::parse(&amend.data)? })
                });
                let amends = amends.collect::<Result<_, Malformed>>()?;
                let event = Event { offset: known(offset, "offset")?, time_ms, data: json(&data)? };
                Self::Event(LogEvent { epoch: epoch.into(), event, amends })
            }
            Body::Publication(said) => Self::Publication {
                epoch: said.epoch.as_str().into(),
                publication: Publication {
                    offset: said.offset,
                    time_ms: said.time_ms,
                    info: said.info.map(who).transpose()?,
                    tags: BTreeMap::from_iter(said.tags),
                    ..Publication::new(json(&said.data)?)
                },
            },
            Body::Ephemeral(said) => Self::Ephemeral {
                class: match said.class() {
                    wire::Class::Typing => Class::Typing,
                    wire::Class::Presence => Class::Presence,
                    wire::Class::Unspecified => return Err(Malformed::Field("class")),
                },
                publication: Publication {
                    info: said.info.map(who).transpose()?,
                    ..Publication::new(json(&said.data)?)
                },
            },
            Body::Joined(said) => Self::Joined(who(said.info.ok_or(Malformed::Field("info"))?)?),
            Body::Left(said) => Self::Left(who(said.info.ok_or(Malformed::Field("info"))?)?),
            Body::Crowd(wire::Crowd { clients, users }) => Self::Crowd(Crowd { clients, users }),
            Body::Order(order) => Self::Order(order.try_into()?),
            Body::Commands(wire::Commands { question, session, frame }) => {
                let session = session.as_ref().try_into().ok().map(u128::from_be_bytes);
                let session = session.ok_or(Malformed::Field("session"))?;
                Self::Commands { question, session, frame }
            }
            Body::Taken(taken) => Self::Taken {
                question: taken.question,
                outcome: match taken.outcome() {
                    wire::Outcome::Taken => Outcome::Taken,
                    wire::Outcome::UnknownSession => Outcome::UnknownSession,
                    wire::Outcome::MailboxFull => Outcome::MailboxFull,
                    wire::Outcome::Unspecified => return Err(Malformed::Field("outcome")),
                },
            },
        })
    }
}

impl From<&Order> for wire::Order {
    fn from(order: &Order) -> Self {
        use wire::order::What as Said;
        let what = match &order.what {
            What::Disconnect(code) => Said::Disconnect(code.code()),
            What::Unsubscribe(channel, code) => {
                let channel = channel.as_ref().to_owned();
                Said::Unsubscribe(wire::Unsubscribe { channel, code: code.code() })
            }
            What::Subscribe(channel) => Said::Subscribe(channel.as_ref().to_owned()),
            What::Refresh(expires_at) => {
                Said::Refresh(wire::Refresh { expires_at: expires_at.unwrap_or_default() })
            }
            What::Message(data) => Said::Message(data.bytes().clone()),
        };
        Self { user: order.user.as_ref().to_owned(), what: Some(what) }
    }
}

impl TryFrom<wire::Order> for Order {
    type Error = Malformed;

    fn try_from(order: wire::Order) -> Result<Self, Malformed> {
        use wire::order::What as Said;
        let what = match order.what.ok_or(Malformed::Field("what"))? {
            Said::Disconnect(number) => {
                let mut codes = DisconnectCode::ALL.iter().copied();
                let code = codes.find(|code| code.code() == number);
                What::Disconnect(code.ok_or(Malformed::Field("disconnect"))?)
            }
            Said::Unsubscribe(wire::Unsubscribe { channel, code: number }) => {
                let mut codes = UnsubscribeCode::ALL.iter().copied();
                let code = codes.find(|code| code.code() == number);
                What::Unsubscribe(channel.into(), code.ok_or(Malformed::Field("code"))?)
            }
            Said::Subscribe(channel) => What::Subscribe(channel.into()),
            Said::Refresh(wire::Refresh { expires_at }) => {
                What::Refresh((expires_at > 0).then_some(expires_at))
            }
            Said::Message(data) => What::Message(json(&data)?),
        };
        match order.user.as_str() {
            "" => Err(Malformed::Field("user")),
            user => Ok(Self { user: user.into(), what }),
        }
    }
}

fn amend(amend: &Amend) -> wire::Amend {
    wire::Amend { offset: amend.offset, data: amend.data.bytes().clone() }
}

fn info(info: &ClientInfo) -> wire::ClientInfo {
    let bytes = |json: &Option<Json>| json.as_ref().map(|json| json.bytes().clone());
    wire::ClientInfo {
        user: info.user.as_ref().to_owned(),
        client: info.client.as_ref().to_owned(),
        conn_info: bytes(&info.conn_info).unwrap_or_default(),
        chan_info: bytes(&info.chan_info).unwrap_or_default(),
    }
}

fn who(info: wire::ClientInfo) -> Result<ClientInfo, Malformed> {
    let value = |bytes: &Bytes| match bytes.is_empty() {
        true => Ok(None),
        false => json(bytes).map(Some),
    };
    Ok(ClientInfo {
        user: info.user.into(),
        client: info.client.into(),
        conn_info: value(&info.conn_info)?,
        chan_info: value(&info.chan_info)?,
    })
}

fn json(bytes: &Bytes) -> Result<Json, Malformed> {
    Ok(Json::parse(bytes)?)
}

pub(super) fn known(offset: u64, field: &'static str) -> Result<u64, Malformed> {
    // Positions are numbers of JSON.
    if offset == 0 || offset > (1 << 53) {
        return Err(Malformed::Field(field));
    }
    Ok(offset)
}

#[cfg(test)]
mod tests;
