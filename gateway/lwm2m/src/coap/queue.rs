//! What is written but not sent yet: for want of a message id, or because NSTART messages are on the wire.

use std::collections::VecDeque;

use super::limits::{NOTIFICATIONS_MAX, SEPARATE_RESPONSES_MAX};
use super::message::{Kind, Message};
use super::transmission::Owner;

/// A message that gets its id when it goes out.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) owner: Owner,
    pub(super) message: Message,
}

/// The drafts, in lanes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Not confirmable: waits for a message id only.
    unconfirmed: VecDeque<Draft>,
    /// Separate responses: the peer waits for them.
    responses: VecDeque<Draft>,
    /// The next blocks of transfers that have begun.
    continuations: VecDeque<Draft>,
    /// First messages of requests, and notifications.
    others: VecDeque<Draft>,
}

impl Queue {
    /// Adds a draft; gives it back where there is no room.
    pub(super) fn push(&mut self, draft: Draft) -> Result<(), Draft> {
        let (lane, bound) = match (draft.message.kind, draft.owner) {
            (Kind::NonConfirmable, _) => (&mut self.unconfirmed, NOTIFICATIONS_MAX),
            (_, Owner::Response) => (&mut self.responses, SEPARATE_RESPONSES_MAX),
            // Requests are bounded where they are kept open; this lane holds at most one draft of each.
            (_, Owner::Request(_)) => (&mut self.others, usize::MAX),
            (_, Owner::Notification(_)) => {
                let waiting = self
                    .others
                    .iter()
                    .filter(|d| matches!(d.owner, Owner::Notification(_)))
                    .count();
                (
                    &mut self.others,
                    if waiting < NOTIFICATIONS_MAX {
                        usize::MAX
                    } else {
                        0
                    },
                )
            }
        };
        if lane.len() >= bound {
            return Err(draft);
        }
        lane.push_back(draft);
        Ok(())
    }

    /// Adds the next block of a transfer that has begun.
    pub(super) fn push_continuation(&mut self, draft: Draft) {
        self.continuations.push_back(draft);
    }

    /// Takes the next draft that may go: confirmable ones only where `slot_free`, a request's first message only
    /// where `may_start` allows it.
    pub(super) fn pop(&mut self, slot_free: bool, may_start: impl Fn(Owner) -> bool) -> Option<Draft> {
        if let Some(draft) = self.unconfirmed.pop_front() {
            return Some(draft);
        }
        if !slot_free {
            return None;
        }
        if let Some(draft) = self
            .responses
            .pop_front()
            .or_else(|| self.continuations.pop_front())
        {
            return Some(draft);
        }
        let index = self.others.iter().position(|draft| may_start(draft.owner))?;
        self.others.remove(index)
    }

    /// Says whether [`pop`](Self::pop) would return something.
    pub(super) fn is_ready(&self, slot_free: bool, may_start: impl Fn(Owner) -> bool) -> bool {
        let confirmable = !self.responses.is_empty()
            || !self.continuations.is_empty()
            || self.others.iter().any(|draft| may_start(draft.owner));
        !self.unconfirmed.is_empty() || (slot_free && confirmable)
    }

    /// Takes out all drafts of a request.
    pub(super) fn abandon(&mut self, owner: Owner) {
        self.continuations.retain(|draft| draft.owner != owner);
        self.others.retain(|draft| draft.owner != owner);
    }

    /// Takes out the notifications whose observation has a token that is meant, and returns what they belong to.
    pub(super) fn remove_notifications(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> Vec<Owner> {
        let mut removed = Vec::new();
        for lane in [&mut self.unconfirmed, &mut self.others] {
            lane.retain(|draft| {
                let goes = matches!(draft.owner, Owner::Notification(_)) && is_meant(&draft.message.token);
                if goes {
                    removed.push(draft.owner);
                }
                !goes
            });
        }
        removed
    }
}
