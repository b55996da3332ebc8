//! Commands on their way to the broker: a few under way, the others wait for their turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use ucifi_core::field::{Delivery, DownlinkId, MqttPublish, Refusal};

use super::broker::Action;
use super::limits;

/// A downlink and what became of it.
pub(super) type Ended = (DownlinkId, Delivery);

#[derive(Debug, Default)]
pub(super) struct Commands {
    waiting: VecDeque<Command>,
    /// Until when each may be acknowledged.
    under_way: BTreeMap<DownlinkId, Instant>,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) id: DownlinkId,
    /// The place of the device in the configuration.
    pub(super) device: usize,
    pub(super) path: Path,
    pub(super) topic: String,
    pub(super) publish: MqttPublish,
    pub(super) expires: Instant,
}

impl Commands {
    /// Takes a command; returns the one whose place it takes, or itself where there is no room.
    pub(super) fn push(&mut self, command: Command) -> Result<Option<Ended>, Ended> {
        let mut same = self.waiting.iter();
        let replaced = same.position(|w| w.device == command.device && w.path == command.path);
        if let Some(old) = replaced.and_then(|place| self.waiting.remove(place)) {
            self.waiting.push_back(command);
            return Ok(Some((old.id, Delivery::Superseded)));
        }
        if self.waiting.len() >= limits::COMMANDS {
            return Err((command.id, Delivery::Expired));
        }
        self.waiting.push_back(command);
        Ok(None)
    }

    /// Returns the next publish to send, while few enough are under way.
    pub(super) fn next(&mut self, now: Instant) -> Option<Action> {
        if self.under_way.len() >= limits::PUBLISHES {
            return None;
        }
        let command = self.waiting.pop_front()?;
        let until = now + Duration::from_millis(limits::PUBACK_MS);
        self.under_way.insert(command.id, until);
        Some(Action::Publish {
            id: command.id,
            topic: command.topic,
            payload: command.publish.payload,
            qos: command.publish.qos,
            retain: command.publish.retain,
        })
    }

    /// Takes the broker's word on a publish; none where it came too late.
    pub(super) fn finish(&mut self, id: DownlinkId, outcome: Result<(), Refusal>) -> Option<Ended> {
        self.under_way.remove(&id)?;
        Some(match outcome {
            Ok(()) => (id, Delivery::Sent),
            Err(refusal) => (id, Delivery::Refused(refusal)),
        })
    }

    /// Ends what waited too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.waiting.retain(|command| {
            let is_over = command.expires <= now;
            if is_over {
                ended.push((command.id, Delivery::Expired));
            }
            !is_over
        });
        self.under_way.retain(|id, until| {
            let is_over = *until <= now;
            if is_over {
                ended.push((
                    *id,
                    unconfirmed("the broker has not acknowledged the publish in time"),
                ));
            }
            !is_over
        });
        ended
    }

    /// Ends all: the connection is gone.
    pub(super) fn end_all(&mut self, retry_after_secs: u32) -> Vec<Ended> {
        let under_way = std::mem::take(&mut self.under_way).into_keys();
        let lost = under_way.map(|id| {
            (
                id,
                unconfirmed("the connection to the broker was lost before it acknowledged the publish"),
            )
        });
        let waiting = self.waiting.drain(..);
        let unsent = waiting.map(|command| (command.id, Delivery::Unreachable { retry_after_secs }));
        lost.chain(unsent).collect()
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|command| command.expires);
        waiting.chain(self.under_way.values().copied()).min()
    }
}

fn unconfirmed(why: &str) -> Delivery {
    Delivery::Unconfirmed(why.to_owned())
}
