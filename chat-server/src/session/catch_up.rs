//! Sending a log to a client that was away for long: page by page, as fast as it reads, between its
//! commands.
//!
//! It is not on hold meanwhile: what would be held grows with the time it takes, the log does not.
//! When little is left it enters on hold, gets the rest, and is let in.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::end::End;
use super::{MadeBy, Session, UNREAD_REPLIES_MAX};
use crate::channel::{Channel, Recovery};
use crate::command::{PAGE_PUBLICATIONS_MAX, between};
use crate::outbound::Batch;
use crate::protocol::{DisconnectCode, Position, UnsubscribeCode};

/// So much behind the log, a client is let in: what comes meanwhile is held.
const LEFT_MAX: u64 = 64;

/// What a step came to.
enum Step {
    /// It goes on behind this offset.
    On(u64),
    /// It has everything up to this offset and was let in.
    In,
    /// Some of it is gone, or cannot be read.
    Lost,
}

impl Session {
    /// Ready when a client that is behind has read what it was sent.
    pub(super) fn poll_catch_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.subs.is_behind() {
            true => pin!(self.member.drained(UNREAD_REPLIES_MAX)).poll(cx),
            false => Poll::Pending,
        }
    }

    /// Sends the next page.
    pub(super) async fn catch_up(&mut self) -> Option<End> {
        let sub = self.subs.behind()?;
        let (after, made_by) = (sub.catch_up.take()?, sub.made_by);
        let channel = sub.subscription.channel().clone();
        let step = self.send_page(&channel, after).await;
        match step {
            Step::On(after) => self.continue_behind(&channel, Some(after)),
            Step::In => {}
            // It comes back with the position it has reached.
            Step::Lost if made_by == MadeBy::Client => {
                self.unsubscribe(channel.name(), UnsubscribeCode::InsufficientState);
            }
            // What the server subscribed a client to comes back with its connection alone.
            Step::Lost => return Some(End::Disconnect(DisconnectCode::InsufficientState)),
        }
        None
    }

    fn continue_behind(&mut self, channel: &Channel, after: Option<u64>) {
        if let Some(sub) = self.subs.get_mut(channel.name()) {
            sub.catch_up = after;
        }
    }

    async fn send_page(&mut self, channel: &Arc<Channel>, after: u64) -> Step {
        let mut batch = Batch::new(self.format);
        if channel.top().offset.saturating_sub(after) > LEFT_MAX {
            let page = self.services.fanout.after(channel, after, PAGE_PUBLICATIONS_MAX);
            let Ok(page) = page.await else { return Step::Lost };
            let whole = page.iter().zip(after + 1..).all(|(found, next)| found.offset == next);
            let Some(last) = page.last().filter(|_| whole) else { return Step::Lost };
            self.send_missed(channel.name(), &page, &mut batch);
            return Step::On(last.offset);
        }
        let Some(sub) = self.subs.get_mut(channel.name()) else { return Step::In };
        sub.subscription.attach(&self.member);
        let top = channel.top().offset.max(after);
        let (offset, epoch) = (after, channel.epoch());
        // From memory if it can be: what is held meanwhile is little.
        let left = match channel.recover(Some(&Position { offset, epoch })) {
            (_, Recovery::Recovered(mut left)) => {
                left.retain(|publication| publication.offset <= top);
                Ok(Some(left))
            }
            _ => between(&self.services, channel, after, top).await,
        };
        match left {
            Ok(Some(publications)) => {
                self.send_missed(channel.name(), &publications, &mut batch);
                if let Some(sub) = self.subs.get_mut(channel.name()) {
                    sub.subscription.release(&self.member, top);
                }
                Step::In
            }
            Ok(None) | Err(_) => Step::Lost,
        }
    }
}
