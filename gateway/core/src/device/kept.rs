//! What a device has to find again after a restart, and finds.

use std::time::{Duration, Instant};

use lwm2m_client::object::ObjectTable;
use lwm2m_client::{InstanceId, ObjectId, Path, Timestamp, Value};

use super::{Device, bridge, canonical, misfit, radio};
use crate::Now;
use crate::field::Link;
use crate::state::KeptValue;
use crate::tree::{self, Key};

impl Device {
    /// Returns the values of an instance as they are to be saved; with what servers were told of them, where that is
    /// going to be right when it is read: at the end of a run, but not while it goes on.
    pub(crate) fn kept_values(
        &self,
        object: ObjectId,
        instance: InstanceId,
        told_at: Option<Now>,
    ) -> impl Iterator<Item = KeptValue> {
        self.tree
            .instance(object, instance)
            .map(move |(key, held)| KeptValue {
                key,
                value: held.value.clone(),
                time: held.time,
                told: told_at.and_then(|now| self.told(key, now)),
            })
    }

    /// Takes over values from before a restart, those that the profile can still give; with `is_told`, also what
    /// servers know of them.
    pub(crate) fn restore(&mut self, values: Vec<KeptValue>, is_told: bool, table: &ObjectTable, now: Now) {
        for kept in values {
            if !self.gives(kept.key) || !fits(kept.key, &kept.value, table) {
                continue;
            }
            if let Some((value, time)) = kept.told.filter(|_| is_told) {
                self.restore_told(kept.key, &value, time, now);
            }
            self.tree.restore(kept.key, kept.value, kept.time);
        }
        self.tree.take_touched();
    }

    /// Takes over all values of a device that has no profile any more.
    pub(crate) fn restore_all(&mut self, values: Vec<KeptValue>, table: &ObjectTable) {
        for kept in values {
            if fits(kept.key, &kept.value, table) {
                self.tree.restore(kept.key, kept.value, kept.time);
            }
        }
    }

    fn gives(&self, key: Key) -> bool {
        let (o, i, r, _) = key;
        let is_on_radio = matches!(self.link, Some(Link::LoRaWan { .. }));
        self.points.iter().any(|point| point.key == key)
            || is_on_radio && radio::is_fact(key)
            || bridge::object(self.link.as_ref()).is_some() && bridge::is_bridged(key)
            || self.derivations.iter().any(|derived| derived.target == key)
            || self.profile.commands(Path::Resource(o, i, r))
            || self.profile.commands(tree::path(key))
    }

    fn told(&self, key: Key, now: Now) -> Option<(Value, Option<Timestamp>)> {
        let derived = self.derivations.iter().find(|derived| derived.target == key);
        if let Some(told) = derived.and_then(|derived| derived.told.clone()) {
            return Some((told, None));
        }
        let point = self.points.iter().find(|point| point.key == key)?;
        let (value, since) = point.news()?;
        let age = now.instant.saturating_duration_since(*since).as_millis();
        let time = now
            .wall
            .zip(i64::try_from(age).ok())
            .map(|(wall, age)| Timestamp::from_unix_ms(wall.unix_ms().saturating_sub(age)));
        Some((value.clone(), time))
    }

    fn restore_told(&mut self, key: Key, value: &Value, time: Option<Timestamp>, now: Now) {
        for derived in self
            .derivations
            .iter_mut()
            .filter(|derived| derived.target == key)
        {
            derived.told = Some(value.clone());
        }
        // Where the clock of the machine does not reach back so far, the next value is news.
        let Some(since) = since(time, now) else { return };
        for point in self.points.iter_mut().filter(|point| point.key == key) {
            point.restore(value.clone(), since);
        }
    }
}

/// Returns when a moment of an earlier run was, on the clock of this one; now where that is not known.
fn since(time: Option<Timestamp>, now: Now) -> Option<Instant> {
    let Some((time, wall)) = time.zip(now.wall) else {
        return Some(now.instant);
    };
    let age = wall.unix_ms().saturating_sub(time.unix_ms());
    now.instant
        .checked_sub(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
}

/// Says whether a saved value can stand where it stood, as the registry has it by now.
fn fits(key: Key, value: &Value, table: &ObjectTable) -> bool {
    canonical(table, tree::path(key)).is_some_and(|(canonical, definition)| {
        let fits = |value_type| misfit(value, value_type).is_none();
        canonical == key && definition.value_type.is_some_and(fits)
    })
}
