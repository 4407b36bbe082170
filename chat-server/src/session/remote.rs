//! Sessions that live on other nodes: commands that came here for them go over the bus.
//!
//! ```text
//! /emulation here -> Remote::hand -> bus: Commands -> the node of the session: Remote::take
//!        answer   <- Remote::heard <- bus: Taken   <- its mailbox took them, or why not
//! ```
//! Whoever hands something over waits for the answer, and not for long: what is not known then is
//! said to be unknown. Questions that are open are few and bounded. The secret of a session and
//! the commands travel to the one node they are for, and never into a log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use moka::future::Cache;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::registry::{Directive, Registry};
use crate::fanout::bus::{Bus, Message, Outcome, Topic};

/// How long a node may take to answer: together with the wait for the bus well below the four
/// seconds in which a command is answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Questions that are open at once: 2,000 requests a second to a node that says nothing. Each is
/// less than 100 bytes.
const QUESTIONS_MAX: usize = 4096;

/// Sessions of other nodes that are known to be there: about 100 bytes each.
const KNOWN_MAX: u64 = 100_000;

/// How long a session that says nothing here is known to be there.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// The way to the sessions of other nodes.
pub struct Remote {
    bus: Bus,
    /// The sessions of this node, which others ask for.
    sessions: Arc<Registry>,
    frame_bytes_max: usize,
    /// Held for one look at a time.
    questions: Mutex<Questions>,
    /// Sessions that took commands from here, and where they live.
    known: Cache<u128, Uuid>,
}

#[derive(Debug, Default)]
struct Questions {
    last: u64,
    open: HashMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    /// Who alone may answer.
    node: Uuid,
    answer: oneshot::Sender<Outcome>,
}

/// An open question; dropping it forgets it.
#[derive(Debug)]
struct Asked<'a> {
    remote: &'a Remote,
    number: u64,
}

/// Commands for a session of another node than the one they came to.
pub struct Commands {
    /// The secret of the session.
    pub session: u128,
    /// The commands, a frame.
    pub frame: Bytes,
}

/// Why it is not known what became of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// No node listens by that name.
    #[error("there is no such node")]
    UnknownNode,
    /// Nodes do not hear each other at the moment.
    #[error("the other nodes cannot be reached")]
    Away,
    /// The node says nothing: it may have taken the commands.
    #[error("the node does not answer")]
    Late,
    /// Too many wait for answers already.
    #[error("too many requests wait for other nodes")]
    Busy,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("bytes", &self.frame.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets of sessions are in it.
        f.debug_struct("Remote").field("bus", &self.bus).finish_non_exhaustive()
    }
}

impl Remote {
    /// A way over this bus to the sessions of others, and for them to those of this node.
    #[must_use]
    pub fn new(bus: Bus, sessions: Arc<Registry>, frame_bytes_max: usize) -> Self {
        let known = Cache::builder().max_capacity(KNOWN_MAX).time_to_idle(KNOWN_FOR).build();
        Self { bus, sessions, frame_bytes_max, questions: Mutex::default(), known }
    }

    /// True for a session that took commands from here a while ago: whoever names it guesses not.
    pub async fn knows(&self, node: Uuid, session: u128) -> bool {
        self.known.get(&session).await == Some(node)
    }

    /// Hands commands to the node of their session; what it says became of them.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn hand(&self, node: Uuid, commands: Commands) -> Result<Outcome, Unanswered> {
        let Commands { session, frame } = commands;
        if matches!(self.bus, Bus::Local) {
            return Err(Unanswered::UnknownNode);
        }
        let topic = node.to_string();
        if !self.bus.reaches(Topic::Node(&topic)) {
            return Err(Unanswered::Away);
        }
        let (asked, answer) = self.ask(node)?;
        let commands = Message::Commands { question: asked.number, session, frame };
        match self.bus.tell(Topic::Node(&topic), &commands).await {
            None => return Err(Unanswered::Away),
            Some(0) => return Err(Unanswered::UnknownNode),
            Some(_) => {}
        }
        // The sender is dropped with the question alone, which is held until here.
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => {
                match outcome {
                    Outcome::UnknownSession => self.known.invalidate(&session).await,
                    Outcome::Taken | Outcome::MailboxFull => self.known.insert(session, node).await,
                }
                Ok(outcome)
            }
            Ok(Err(_)) | Err(_) => Err(Unanswered::Late),
        }
    }

    /// A node has answered.
    pub fn heard(&self, from: Uuid, number: u64, outcome: Outcome) {
        let mut questions = self.questions.lock();
        // Only who was asked is believed; what comes too late is nobody's.
        if questions.open.get(&number).is_some_and(|question| question.node == from)
            && let Some(question) = questions.open.remove(&number)
            && question.answer.send(outcome).is_err()
        {
            tracing::debug!("whoever asked has gone");
        }
    }

    /// Commands of a client whose request came to another node, which is told what became of them.
    pub fn take(&self, from: Uuid, question: u64, commands: Commands) {
        let outcome = self.deliver(commands);
        self.bus.say(Topic::Node(&from.to_string()), &Message::Taken { question, outcome });
    }

    fn deliver(&self, Commands { session, frame }: Commands) -> Outcome {
        let Some(mailbox) = self.sessions.emulated(session) else {
            return Outcome::UnknownSession;
        };
        // The door of the other node has measured it; what is on the bus may not be from a door.
        if frame.len() > self.frame_bytes_max {
            return Outcome::MailboxFull;
        }
        match mailbox.tell(Directive::Frame(frame)) {
            Ok(()) => Outcome::Taken,
            Err(_full) => Outcome::MailboxFull,
        }
    }

    fn ask(&self, node: Uuid) -> Result<(Asked<'_>, oneshot::Receiver<Outcome>), Unanswered> {
        let (sender, answer) = oneshot::channel();
        let mut questions = self.questions.lock();
        if questions.open.len() >= QUESTIONS_MAX {
            return Err(Unanswered::Busy);
        }
        questions.last += 1;
        let number = questions.last;
        questions.open.insert(number, Question { node, answer: sender });
        Ok((Asked { remote: self, number }, answer))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.remote.questions.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> Remote {
        Remote::new(Bus::Local, Arc::default(), 4)
    }

    fn commands(session: u128, frame: &'static str) -> Commands {
        Commands { session, frame: Bytes::from_static(frame.as_bytes()) }
    }

    #[tokio::test]
    async fn an_answer_is_believed_from_the_node_that_was_asked_alone() {
        let remote = remote();
        let (node, another) = (Uuid::new_v4(), Uuid::new_v4());
        let (asked, mut answer) = remote.ask(node).unwrap();
        remote.heard(another, asked.number, Outcome::Taken);
        remote.heard(node, asked.number + 1, Outcome::Taken);
        assert!(answer.try_recv().is_err());
        remote.heard(node, asked.number, Outcome::UnknownSession);
        assert_eq!(answer.await, Ok(Outcome::UnknownSession));
        drop(asked);
        assert!(remote.questions.lock().open.is_empty());
    }

    #[tokio::test]
    async fn open_questions_are_bounded_and_forgotten_with_who_asked() {
        let remote = remote();
        let node = Uuid::new_v4();
        let open: Vec<_> = (0..QUESTIONS_MAX).map(|_| remote.ask(node).unwrap()).collect();
        assert_eq!(remote.ask(node).unwrap_err(), Unanswered::Busy);
        drop(open);
        assert!(remote.ask(node).is_ok());
    }

    #[tokio::test]
    async fn a_node_alone_knows_no_other() {
        let remote = remote();
        let handed = remote.hand(Uuid::new_v4(), commands(1, "{}")).await;
        assert_eq!(handed, Err(Unanswered::UnknownNode));
    }

    #[test]
    fn what_others_hand_over_is_checked_as_at_a_door() {
        let remote = remote();
        let mut session = remote.sessions.enter();
        let secret = session.emulate();
        assert_eq!(remote.deliver(commands(secret, "{}")), Outcome::Taken);
        assert_eq!(remote.deliver(commands(!secret, "{}")), Outcome::UnknownSession);
        assert_eq!(remote.deliver(commands(secret, "{ \"\" }")), Outcome::MailboxFull);
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", commands(1234, "{\"token\":\"abc\"}"));
        assert!(!shown.contains("1234") && !shown.contains("abc"), "{shown}");
    }
}
