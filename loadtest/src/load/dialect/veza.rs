//! Our own protocol, in JSON: a token, one channel, `{}` for ping and pong.
//!
//! What comes is looked at line by line, and only the few lines that say who is where are parsed
//! as JSON. A line is known by how it begins, for the server writes `id` or `push` first.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::auth::{NewToken, mint};
use memchr::memmem::{self, Finder};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Builder;

use super::frame::{self, Opcode};
use super::plain::write_upgrade;
use super::stamp::Form;
use super::{Dialect, Heard, Position, Seat, Sighting, Stamp};

/// Tokens outlive every run.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Ids of commands. The server does not compare them, so each kind has one.
const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;
const PUBLISH: u64 = 3;

/// What the dialect has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What the server verifies tokens with. It is made for a run and gone with it.
    pub secret: String,
    /// What is published in.
    pub kind: Kind,
    /// Of the run: no two runs on one server send the same message.
    pub run: u32,
}

/// What is published in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Rooms: every message is stored before it is acknowledged.
    Room,
    /// Channels of a namespace.
    Plain,
}

/// The dialect.
#[derive(Debug)]
pub struct Veza {
    settings: Settings,
    secret: SecretString,
    form: Form,
    offset: Finder<'static>,
}

/// An answer that is read as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    error: Option<Refusal>,
    subscribe: Option<Subscribed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subscribed {
    epoch: String,
    offset: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u32,
    message: String,
    reason: String,
}

impl Veza {
    /// A dialect for our servers.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let form = match settings.kind {
            Kind::Room => Form::text(),
            Kind::Plain => Form::json(),
        };
        let secret = settings.secret.clone().into();
        Self { settings: settings.clone(), secret, form, offset: Finder::new(br#""offset":"#) }
    }

    /// The name of a user, as tokens have it.
    #[must_use]
    pub fn user(number: u32) -> String {
        format!("u{number}")
    }

    /// A token for a user.
    #[must_use]
    pub fn token(&self, user: u32) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let user = Self::user(user).parse().expect("a letter and digits are the id of a user");
        let ttl = Some(TOKEN_LIFE);
        let issued_at = now.as_secs();
        mint(&self.secret, &NewToken { user: Some(user), issued_at, ttl, ..NewToken::default() })
    }

    fn line(&self, line: &[u8], heard: &mut Heard) {
        if line.starts_with(br#"{"push":"#) {
            if !self.sightings(line, heard) {
                ending(line, heard);
            }
        } else if let Some(rest) = line.strip_prefix(br#"{"id":"#) {
            match id(rest) {
                PUBLISH if memmem::find(line, br#""error":"#).is_none() => heard.accepted += 1,
                number => self.answer(number, line, heard),
            }
        } else if line == b"{}" {
            frame::write(Opcode::Text, &mut heard.answer, |out| out.extend_from_slice(b"{}"));
        }
    }

    /// Finds our messages in a line and whether there are any.
    fn sightings(&self, line: &[u8], heard: &mut Heard) -> bool {
        let (before, mut from) = (heard.sightings.len(), 0);
        while let Some((stamp, end)) = self.form.find(line, from) {
            // It stands behind the data; a channel that keeps nothing has none.
            let behind = &line[end..];
            let offset = self.offset.find(behind).map_or(0, |at| id(&behind[at + 9..]));
            heard.sightings.push(Sighting { stamp, offset });
            from = end;
        }
        heard.sightings.len() > before
    }

    fn answer(&self, number: u64, line: &[u8], heard: &mut Heard) {
        let answer: Answer = match serde_json::from_slice(line) {
            Ok(answer) => answer,
            Err(error) => {
                heard.over = Some(format!("an answer that cannot be read: {error}"));
                return;
            }
        };
        match (number, answer.error, answer.subscribe) {
            (PUBLISH, Some(error), _) => {
                heard.refused += 1;
                heard.complaint = Some(error.text());
            }
            (_, Some(error), _) => heard.over = Some(error.text()),
            (SUBSCRIBE, None, Some(subscribed)) => {
                let Subscribed { epoch, offset } = subscribed;
                heard.entered = Some(Position { epoch, offset });
                // Whoever returns is told here what was missed.
                self.sightings(line, heard);
            }
            _ => {}
        }
    }
}

impl Dialect for Veza {
    fn request(&self, host: &str, _seat: &Seat<'_>, out: &mut Vec<u8>) {
        write_upgrade(host, format_args!("/connection/websocket"), out);
    }

    fn greet(&self, seat: &Seat<'_>, since: Option<&Position>, out: &mut Vec<u8>) {
        let token = self.token(seat.user);
        let channel = seat.channel;
        frame::write(Opcode::Text, out, |out| {
            let written = write!(
                out,
                "{{\"id\":{CONNECT},\"connect\":{{\"token\":\"{token}\"}}}}\n\
                 {{\"id\":{SUBSCRIBE},\"subscribe\":{{\"channel\":\"{channel}\""
            );
            written.expect("a Vec takes everything");
            if let Some(Position { epoch, offset }) = since {
                let written =
                    write!(out, ",\"recover\":true,\"offset\":{offset},\"epoch\":\"{epoch}\"");
                written.expect("a Vec takes everything");
            }
            out.extend_from_slice(b"}}");
        });
    }

    fn hear(&self, message: &[u8], heard: &mut Heard) {
        let mut rest = message;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line(&rest[..end], heard);
            rest = &rest[end + 1..];
        }
        self.line(rest, heard);
    }

    fn publish(&self, seat: &Seat<'_>, stamp: Stamp, size: usize, out: &mut Vec<u8>) {
        frame::write(Opcode::Text, out, |out| {
            let channel = seat.channel;
            let written =
                write!(out, "{{\"id\":{PUBLISH},\"publish\":{{\"channel\":\"{channel}\",\"data\":");
            written.expect("a Vec takes everything");
            if self.settings.kind == Kind::Plain {
                self.form.write(stamp, size, out);
            } else {
                out.extend_from_slice(br#"{"type":"message","body":""#);
                self.form.write(stamp, size, out);
                out.extend_from_slice(br#"","idem":""#);
                out.extend_from_slice(idem(self.settings.run, seat.room, stamp.number).as_bytes());
                out.extend_from_slice(br#""}"#);
            }
            out.extend_from_slice(b"}}");
        });
    }

    fn acknowledges(&self) -> bool {
        true
    }
}

impl Refusal {
    fn text(&self) -> String {
        format!("{} {} {}", self.code, self.message, self.reason)
    }
}

/// The number that `bytes` begin with; 0 if with none.
fn id(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u64, |id, digit| id.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// The server ended a subscription, or the connection.
fn ending(line: &[u8], heard: &mut Heard) {
    let ends = |what: &[u8]| memmem::find(line, what).is_some();
    if ends(br#""disconnect":"#) || ends(br#""unsubscribe":"#) {
        heard.over = Some(String::from_utf8_lossy(line).into_owned());
    }
}

/// What makes a message itself: the run, the room and the number, in the form of a UUID.
fn idem(run: u32, room: u32, number: u32) -> String {
    let ([a, b, c, d], [e, f, g, h]) = (room.to_be_bytes(), number.to_be_bytes());
    let [i, j, k, l] = run.to_be_bytes();
    // The bytes of zero have bits that say which kind of UUID it is.
    let bytes = [a, b, c, d, i, j, 0, 0, 0, 0, k, l, e, f, g, h];
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests;
