//! Readings that go by notification: where there is no Send, and where it is muted.
//!
//! Where there is none, the client says which notifications did not arrive, and those are owed; where Send is muted, what
//! it has to tell goes this way as far as it is observed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use lwm2m_client::client::NotifyRefused;
use lwm2m_client::format::{Entry, Record, RecordTime};
use lwm2m_client::{Path, Value};

use super::entries::{records, shown_entry};
use super::{Endpoint, Way};
use crate::Now;
use crate::buffer::Moment;
use crate::device::Device;
use crate::limits;
use crate::model::Shown;
use crate::outbox::{Clock, Ledger, New, Verdict};
use crate::output::DropReason;
use crate::tree::{self, Held, Key};

/// What was owed lately, of each path: several observations may tell the same.
#[derive(Debug, Default)]
pub(super) struct OwedLately(BTreeMap<Path, VecDeque<(Moment, Value)>>);

impl OwedLately {
    /// Notes a value from before a restart. Whatever was owed of it then is in the buffer.
    pub(super) fn handle_kept(&mut self, key: Key, held: &Held) {
        if let Some(time) = held.time {
            self.insert(tree::path(key), Moment::Wall(time), &held.value);
        }
    }

    /// Notes what is owed; says whether it is not owed already.
    fn insert(&mut self, path: Path, moment: Moment, value: &Value) -> bool {
        let lately = self.0.entry(path).or_default();
        if lately.iter().any(|(at, owed)| (*at, owed) == (moment, value)) {
            return false;
        }
        lately.push_back((moment, value.clone()));
        if lately.len() > limits::MAX_OWED_LATELY {
            lately.pop_front();
        }
        true
    }
}

impl Endpoint {
    /// Returns what the server is owed of a notification that did not arrive: what it is owed already is not said
    /// again, and what the client says of itself is never late.
    pub(crate) fn owe_notified(
        &mut self,
        notified: Vec<Record>,
        device: &Device,
        shown: &Shown,
        clock: &Clock,
        now: Now,
    ) -> Vec<New> {
        let mut owed = Vec::new();
        for record in notified {
            let Some((key, value)) = newest_entry(device, shown, record.entry) else {
                continue;
            };
            let path = tree::path(key);
            let moment = moment(device, (key, &value), record.time, clock, now);
            if !self.owed_lately.insert(path, moment, &value) {
                continue;
            }
            owed.push(New {
                device: self.device,
                class: device.class(key),
                path,
                value,
                moment,
            });
        }
        owed
    }

    /// Notes that the server observes other paths, or otherwise.
    pub(crate) fn handle_observations_changed(&mut self) {
        self.untimely.clear();
        if self.way() != Some(Way::Send) {
            self.outbox.backlog.unload();
        }
    }

    /// Notes whether the server takes no Send for now; once it does again, nothing waits any more.
    pub(crate) fn handle_send_muted(&mut self, is_muted: bool) {
        if !is_muted {
            self.outbox.resume();
        }
        self.outbox.backlog.unload();
    }

    /// Offers the next readings to the client as a late notification; says how many had to be dropped, and why.
    pub(super) fn flush_late(
        &mut self,
        device: &Device,
        shown: &Shown,
        clock: &Clock,
        ledger: &mut Ledger<'_>,
        now: Instant,
    ) -> Option<(usize, DropReason)> {
        let mut poison = 0;
        while let Some(Way::Notification(observed)) = self.way() {
            let Some((path, id, items)) = self.outbox.take_late(ledger, &observed, now) else {
                break;
            };
            let mut records = records(items, device, shown, clock, now);
            records.retain(|record| path.contains(&record.entry.path));
            match self.client.notify_late(id, records, now) {
                Ok(()) => break,
                Err(NotifyRefused::NotRegistered | NotifyRefused::Busy) => {
                    self.outbox.return_flight(id, ledger);
                    break;
                }
                // They wait until it is observed otherwise; another observation may take them now.
                Err(NotifyRefused::NotObserved | NotifyRefused::NoTime) => {
                    self.outbox.return_flight(id, ledger);
                    self.untimely.insert(path);
                }
                // Smaller and smaller until it fits, or one reading alone does not and is set aside.
                Err(NotifyRefused::Invalid(_)) => match self.outbox.split(ledger, now) {
                    Verdict::Poison => poison += 1,
                    Verdict::Paid | Verdict::Again => {}
                },
            }
        }
        Some((poison, DropReason::Poison))
    }
}

/// Returns a value of the server's model as one of the tree; none where it is no reading of the device.
fn newest_entry(device: &Device, shown: &Shown, entry: Entry) -> Option<(Key, Value)> {
    let (o, i, r, ri) = tree::key(entry.path)?;
    let value = shown.unshow(o, r, entry.value).ok()?;
    let first = || {
        device
            .tree
            .iter()
            .find(|((to, ti, tr, _), _)| (*to, *ti, *tr) == (o, i, r))
    };
    // Where the server's version has room for one value, that is the first.
    let ri = ri.or_else(|| first().and_then(|((.., ri), _)| ri));
    let key = (o, i, r, ri);
    shown_entry(device, shown, key, &value).map(|_| (key, value))
}

/// Returns when a value was measured. What was measured before the clock was set has the time of its reception.
fn moment(
    device: &Device,
    (key, value): (Key, &Value),
    time: Option<RecordTime>,
    clock: &Clock,
    now: Now,
) -> Moment {
    match time {
        Some(RecordTime::Absolute(time)) => Moment::Wall(time),
        Some(RecordTime::RelativeMs(_)) | None => {
            let held = device
                .tree
                .get(key)
                .filter(|held| held.value == *value && held.time.is_none());
            match held.and_then(|held| held.received) {
                Some(received) => clock.moment(None, received),
                None => clock.moment(now.wall, now.instant),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::Timestamp;

    use super::*;

    #[test]
    fn no_more_is_known_of_what_was_owed_than_the_bound_allows() {
        let mut lately = OwedLately::default();
        let path = Path::resource(3421, 0, 1);
        let mut owe = |ms| {
            lately.insert(
                path,
                Moment::Wall(Timestamp::from_unix_ms(ms)),
                &Value::Integer(ms),
            )
        };
        let last = limits::MAX_OWED_LATELY as i64;
        assert!((0..=last).all(&mut owe));
        assert!(!owe(1) && !owe(last));
        assert!(owe(0), "it is forgotten");
    }
}
