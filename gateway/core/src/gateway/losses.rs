//! What servers will never get is reported to them: as data of the cabinet's event log, /20/0/4014.
//!
//! Losses are gathered for a while and reported in one line for each server and reason, so that a buffer that
//! overflows for days does not fill itself with reports. Which devices it was, in which class, is in the log and in
//! `status`; the line says how many readings of how many devices, and when they were measured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::{InstanceId, ObjectId, ResourceId, Timestamp, Value};

use crate::Now;
use crate::buffer::{self, Contents, Gap, GapReason, Owing};
use crate::device::Device;
use crate::gateway::Gateway;
use crate::limits;
use crate::output::DropReason;
use crate::state::KeptValue;
use crate::timer::Timer;
use crate::tree::Key;

/// The object that reports go to: Event Log.
pub(super) const EVENT_LOG: ObjectId = ObjectId(20);

/// LogClass: 3 is an event (OMA-TS-LWM2M_EventLog).
const LOG_CLASS: Key = in_log(4010);
const EVENT: i64 = 3;

/// LogData: here a line of text, as there is no LogDataFormat that says otherwise.
const LOG_DATA: Key = in_log(4014);

/// The place of the cabinet among the devices.
const CABINET: usize = 0;

/// Why readings are lost, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Bound,
    Age,
    DiskFull,
    Corrupt,
    Dropped,
    MemoryFull,
    Refused,
}

/// The losses that were not reported yet.
#[derive(Debug, Default)]
pub(super) struct Losses {
    waiting: BTreeMap<(usize, Reason), Loss>,
    /// When the last report was made.
    reported: Option<Instant>,
}

#[derive(Debug, Default)]
struct Loss {
    readings: u64,
    devices: BTreeSet<Arc<str>>,
    times: Option<RangeInclusive<Timestamp>>,
}

/// Has a cabinet show its event log again, with the report that was its last, where it did before a restart or still
/// owes a report to a server: a server refuses readings of an instance that it is not told of.
pub(super) fn restore_log(cabinet: &mut Device, kept: &[KeptValue], contents: &Contents) {
    let last = kept.iter().find(|kept| kept.key == LOG_DATA);
    let last = last.filter(|kept| matches!(kept.value, Value::Opaque(_)));
    let is_owing = |owing: &Owing| owing.count > 0 && *owing.debt.stream.device == *buffer::CABINET;
    if last.is_none() && !contents.debts.iter().any(is_owing) {
        return;
    }
    cabinet.tree.put_constant(LOG_CLASS, Value::Integer(EVENT));
    match last {
        Some(kept) => cabinet.tree.restore(kept.key, kept.value.clone(), kept.time),
        None => cabinet.tree.put_constant(LOG_DATA, Value::Opaque(Vec::new())),
    }
}

impl Gateway {
    /// Notes what the buffer had to let go of.
    pub(super) fn note_gap(&mut self, gap: &Gap, now: Now) {
        let account = self
            .accounts
            .iter()
            .position(|account| account.config.name == gap.debt.account);
        if let Some(account) = account {
            let device = Arc::clone(&gap.debt.stream.device);
            let loss = self.losses.of(account, gap.reason.into());
            loss.add(device, gap.count, gap.times.clone());
            self.report_losses_later(now);
        }
    }

    /// Notes what an endpoint had to let go of.
    pub(super) fn note_dropped(&mut self, index: usize, count: usize, reason: DropReason, now: Now) {
        let Some(reason) = reason_of(reason) else { return };
        let endpoint = &self.endpoints[index];
        let device = self.devices[endpoint.device].owner.stream();
        let loss = self.losses.of(endpoint.account, reason);
        loss.add(device, count as u64, None);
        self.report_losses_later(now);
    }

    /// Reports what was lost since the last report.
    pub(super) fn report_losses(&mut self, now: Now) {
        let losses = std::mem::take(&mut self.losses.waiting);
        if losses.is_empty() {
            return;
        }
        self.losses.reported = Some(now.instant);
        self.devices[CABINET]
            .tree
            .put_constant(LOG_CLASS, Value::Integer(EVENT));
        for ((account, reason), loss) in losses {
            let line = loss.line(&self.accounts[account].config.name, reason);
            let news = self.devices[CABINET].apply_event(LOG_DATA, Value::Opaque(line.into_bytes()), now);
            self.spread(CABINET, news, now);
        }
    }

    fn report_losses_later(&mut self, now: Now) {
        let settled = now.instant + limits::LOSSES_SETTLE;
        let allowed = self
            .losses
            .reported
            .map_or(settled, |reported| reported + limits::LOSS_REPORT_PAUSE);
        if !self.timers.is_set(Timer::Losses) {
            self.timers.set(Timer::Losses, Some(settled.max(allowed)));
        }
    }
}

impl Losses {
    fn of(&mut self, account: usize, reason: Reason) -> &mut Loss {
        self.waiting.entry((account, reason)).or_default()
    }
}

impl Loss {
    fn add(&mut self, device: Arc<str>, readings: u64, times: Option<RangeInclusive<Timestamp>>) {
        self.readings += readings;
        self.devices.insert(device);
        self.times = match (self.times.take(), times) {
            (Some(one), Some(other)) => Some(*one.start().min(other.start())..=*one.end().max(other.end())),
            (one, other) => one.or(other),
        };
    }

    fn line(&self, server: &str, reason: Reason) -> String {
        let (readings, devices) = (self.readings, self.devices.len());
        let mut line = format!("readings lost: server={server} readings={readings} devices={devices}");
        if let Some(times) = &self.times {
            write!(line, " from={} to={}", times.start(), times.end()).expect("a text takes any text");
        }
        write!(line, " reason={reason}").expect("a text takes any text");
        line
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bound => "buffer-full",
            Self::Age => "too-old",
            Self::DiskFull => "disk-full",
            Self::Corrupt => "corrupt",
            Self::Dropped => "dropped-by-command",
            Self::MemoryFull => "memory-full",
            Self::Refused => "refused-by-server",
        })
    }
}

impl From<GapReason> for Reason {
    fn from(reason: GapReason) -> Self {
        match reason {
            GapReason::Bound => Self::Bound,
            GapReason::Age => Self::Age,
            GapReason::DiskFull => Self::DiskFull,
            GapReason::Corrupt => Self::Corrupt,
            GapReason::Dropped => Self::Dropped,
        }
    }
}

/// Returns why readings are lost that the server should have; it never could have what its model has no place for.
const fn reason_of(reason: DropReason) -> Option<Reason> {
    match reason {
        DropReason::QueueFull => Some(Reason::MemoryFull),
        DropReason::Poison => Some(Reason::Refused),
        DropReason::Command => Some(Reason::Dropped),
        DropReason::NotInModel => None,
    }
}

const fn in_log(resource: u16) -> Key {
    (EVENT_LOG, InstanceId(0), ResourceId(resource), None)
}
