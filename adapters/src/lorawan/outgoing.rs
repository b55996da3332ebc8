//! What waits to be fetched from the network server, and what counts it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ucifi_core::field::{Delivery, DevEui};

use super::air::{Purpose, Transmission, TransmissionId, Window};
use super::event::{Event, Sender, WhyRefused};
use super::limits;
use super::queue::Ended;
use super::saver::Saver;
use super::statistics::NetworkStatistics;

/// What waits to be fetched.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) events: VecDeque<Event>,
    pub(super) transmissions: VecDeque<Transmission>,
    pub(super) statistics: NetworkStatistics,
    pub(super) saver: Saver,
    /// Whose command a transmission carries: at most one of each device.
    pub(super) flights: BTreeMap<TransmissionId, DevEui>,
    notices: BTreeMap<(Sender, Option<WhyRefused>), Instant>,
    next_transmission: u64,
}

impl Outgoing {
    pub(super) fn new(saver: Saver) -> Self {
        Self {
            events: VecDeque::new(),
            transmissions: VecDeque::new(),
            statistics: NetworkStatistics::default(),
            saver,
            flights: BTreeMap::new(),
            notices: BTreeMap::new(),
            next_transmission: 1,
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Says whether nobody fetches what there is to tell.
    pub(super) fn is_clogged(&self) -> bool {
        self.events.len() >= limits::EVENTS
    }

    pub(super) fn transmit(
        &mut self,
        phy: Vec<u8>,
        windows: Vec<Window>,
        purpose: Purpose,
    ) -> TransmissionId {
        let id = TransmissionId(self.next_transmission);
        self.next_transmission += 1;
        match purpose {
            Purpose::Join | Purpose::Answer => self.statistics.answers += 1,
            Purpose::Command => self.statistics.commands += 1,
        }
        self.transmissions.push_back(Transmission {
            id,
            phy,
            windows,
            purpose,
        });
        id
    }

    /// Tells what became of commands; those of an earlier run have no name left.
    pub(super) fn end(&mut self, ended: impl IntoIterator<Item = Ended>) {
        for (id, delivery) in ended {
            if let Some(id) = id {
                self.events.push_back(Event::Delivery { id, delivery });
            }
        }
    }

    /// Tells that a command is durably queued.
    pub(super) fn queued(&mut self, ids: Vec<ucifi_core::DownlinkId>) {
        self.end(ids.into_iter().map(|id| (Some(id), Delivery::Queued)));
    }

    /// Counts a frame that was refused, and tells of it unless its sender was told of just before.
    pub(super) fn refuse(&mut self, sender: Option<Sender>, why: WhyRefused, now: Instant) {
        *self.statistics.refused.entry(why).or_default() += 1;
        if let Some(sender) = sender.filter(|sender| self.is_new(*sender, Some(why), now)) {
            self.push(Event::Refused { sender, why });
        }
    }

    /// Counts a frame of a device that is not configured, and tells of it the same way.
    pub(super) fn unknown(&mut self, sender: Sender, now: Instant) {
        self.statistics.unknown += 1;
        if self.is_new(sender, None, now) {
            self.push(Event::Unknown(sender));
        }
    }

    fn is_new(&mut self, sender: Sender, why: Option<WhyRefused>, now: Instant) -> bool {
        if self.notices.contains_key(&(sender, why)) || self.notices.len() >= limits::NOTICES {
            self.notices
                .retain(|_, told| *told + Duration::from_secs(limits::NOTICE_SECS) > now);
        }
        let is_known = self.notices.contains_key(&(sender, why));
        let is_full = self.notices.len() >= limits::NOTICES;
        if !is_known && !is_full {
            self.notices.insert((sender, why), now);
        }
        self.statistics.notices_dropped += u64::from(!is_known && is_full);
        !is_known && !is_full
    }
}
