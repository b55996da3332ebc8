//! Commands that wait for a device, in order; a later one for the same resource takes the place of one that waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use ucifi_core::field::{Delivery, DownlinkId, LoRaWanCommand};

use super::air::TransmissionId;
use super::limits;
use super::record::SavedCommand;

/// The commands of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    next_number: u64,
}

/// A command that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name; none if it comes from an earlier run, whose names nobody knows.
    pub(super) id: Option<DownlinkId>,
    pub(super) path: Path,
    pub(super) command: LoRaWanCommand,
    /// How often it went out.
    pub(super) attempts: u8,
    pub(super) since: Instant,
    pub(super) not_before: Option<Instant>,
    /// Whether it is to outlive a restart.
    pub(super) keep: bool,
    pub(super) stage: Stage,
    number: u64,
    is_durable: bool,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits to go out.
    Waiting,
    /// It was handed over, and the forwarder's word is awaited until then.
    Handed(TransmissionId, Instant),
    /// It is out, and the device's acknowledgement is awaited since then.
    Unacknowledged(Instant),
}

/// A command that came to its end.
pub(super) type Ended = (Option<DownlinkId>, Delivery);

impl Queue {
    /// Puts a command at the end; returns the one whose place it takes. A full queue gives it back.
    pub(super) fn push(
        &mut self,
        id: Option<DownlinkId>,
        path: Path,
        command: LoRaWanCommand,
        keep: bool,
        now: Instant,
    ) -> Result<Option<Entry>, Full> {
        let same = |entry: &Entry| entry.path == path && entry.stage == Stage::Waiting;
        let superseded = self
            .entries
            .iter()
            .position(same)
            .and_then(|at| self.entries.remove(at));
        if self.entries.len() >= limits::COMMANDS {
            return Err(Full);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.entries.push_back(Entry {
            id,
            path,
            command,
            attempts: 0,
            since: now,
            not_before: None,
            keep,
            stage: Stage::Waiting,
            number,
            is_durable: false,
        });
        Ok(superseded)
    }

    /// Goes on with the commands of an earlier run.
    pub(super) fn restore(&mut self, commands: Vec<SavedCommand>, now: Instant) {
        for saved in commands {
            let number = self.next_number;
            self.next_number += 1;
            self.entries.push_back(Entry {
                id: None,
                path: saved.path,
                command: saved.command,
                attempts: saved.attempts,
                since: now,
                not_before: None,
                keep: true,
                stage: Stage::Waiting,
                number,
                is_durable: true,
            });
        }
    }

    /// Has those outlive a restart that have waited for long; says whether there are any.
    pub(super) fn keep_waiting(&mut self, now: Instant) -> bool {
        let long = self
            .entries
            .iter_mut()
            .filter(|entry| !entry.keep && keep_at(entry) <= now);
        long.map(|entry| entry.keep = true).count() > 0
    }

    /// Returns when [`Self::keep_waiting`] is due.
    pub(super) fn next_keep(&self) -> Option<Instant> {
        let others = self.entries.iter().filter(|entry| !entry.keep);
        others.map(keep_at).min()
    }

    pub(super) fn head(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(super) fn head_mut(&mut self) -> Option<&mut Entry> {
        self.entries.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the first command if it can go out.
    pub(super) fn due(&self, now: Instant) -> Option<&Entry> {
        self.head()
            .filter(|entry| entry.stage == Stage::Waiting && entry.not_before.is_none_or(|at| at <= now))
    }

    /// Returns the commands to save.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.keep)
    }

    /// Returns a number above that of every command so far.
    pub(super) fn through(&self) -> u64 {
        self.next_number
    }

    /// Takes note that the commands to save below a number are durable; returns those that newly are.
    pub(super) fn handle_saved(&mut self, through: u64) -> Vec<DownlinkId> {
        let newly = |entry: &&mut Entry| entry.keep && !entry.is_durable && entry.number < through;
        let durable = self.entries.iter_mut().filter(newly).filter_map(|entry| {
            entry.is_durable = true;
            entry.id
        });
        durable.collect()
    }

    /// Takes out the commands that wait only in memory although they should be durable.
    pub(super) fn take_volatile(&mut self) -> Vec<Entry> {
        self.take(|entry| entry.keep && !entry.is_durable)
    }

    /// Takes out what waited too long.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Entry> {
        self.take(|entry| entry.since + lifetime() <= now)
    }

    /// Returns when the next command will have waited too long.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let waiting = self.entries.iter().filter(|entry| entry.stage == Stage::Waiting);
        waiting.map(|entry| entry.since + lifetime()).min()
    }

    fn take(&mut self, matches: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let (taken, left): (VecDeque<Entry>, _) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| entry.stage == Stage::Waiting && matches(entry));
        self.entries = left;
        taken.into()
    }
}

/// There is no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

const fn lifetime() -> Duration {
    Duration::from_secs(limits::COMMAND_HOURS * 3_600)
}

fn keep_at(entry: &Entry) -> Instant {
    entry.since + Duration::from_millis(limits::WAITING_KEEP_MS)
}
