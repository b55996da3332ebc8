//! One device: its frames become values with time and quality, and it is known which of them are news.

mod bridge;
mod derivations;
mod frames;
mod kept;
mod radio;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use derivations::{Derived, derivations};
use lwm2m_client::object::{ObjectTable, ResourceDefinition};
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceInstanceId, Timestamp, Value, ValueType};

use crate::Now;
use crate::cabinet::Cabinet;
use crate::derive::derive;
use crate::field::{Frame, Link, PointId, Reachability};
use crate::output::Event;
use crate::point::PointState;
use crate::profile::{PointClass, Profile};
use crate::reading::Quality;
use crate::state::Owner;
use crate::tree::{Held, Key, Tree};

/// A device of the gateway, or the cabinet itself.
pub(crate) struct Device {
    /// Its name in the configuration.
    pub(crate) id: Arc<str>,
    /// Under which name what belongs to it is saved.
    pub(crate) owner: Owner,
    /// Its endpoint name.
    pub(crate) endpoint: Arc<str>,
    /// Its endpoints, by their places in the gateway, server by server.
    pub(crate) endpoints: Vec<usize>,
    /// What people call it.
    pub(crate) label: Arc<str>,
    /// What kind of device it is.
    pub(crate) profile: Arc<dyn Profile>,
    /// How it is reached; none for the cabinet.
    pub(crate) link: Option<Link>,
    /// Its values.
    pub(crate) tree: Tree,
    /// Its points, as [`PointId`] counts them.
    pub(crate) points: Vec<PointState>,
    /// Whether it answers, and if not, why.
    pub(crate) reachability: Option<Reachability>,
    /// What it has sent.
    pub(crate) traffic: Traffic,
    derivations: Vec<Derived>,
    /// When to look for values that are too old; a value that was measured again only makes this too early.
    stale_due: Option<Instant>,
    /// When servers were last told how it is heard.
    radio_told: Option<radio::Told>,
}

/// What a device has sent so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// When its last frame came.
    pub(crate) last_frame: Option<Instant>,
    /// How many frames.
    pub(crate) frames: u64,
    /// How many of them were kept by somebody who does not know since when it is so.
    pub(crate) retained: u64,
    /// How many of them its profile knows nothing of.
    pub(crate) refused: u64,
    /// How many values that cannot be.
    pub(crate) faults: u64,
}

/// What a frame, a time-out or a command changed in a device.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Values worth telling.
    pub(crate) values: Vec<NewValue>,
    /// Object instances whose quality is another than before.
    pub(crate) requalified: BTreeSet<(ObjectId, InstanceId)>,
    /// Resources with another value that is to be seen and owed to nobody.
    pub(crate) unowed: BTreeSet<Key>,
    /// Resources of which a frame says again what was worth telling before.
    pub(crate) said_again: BTreeSet<Key>,
    /// What a person should know.
    pub(crate) events: Vec<Event>,
}

/// A value worth telling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewValue {
    /// The resource.
    pub(crate) key: Key,
    /// Its value.
    pub(crate) value: Value,
    /// When it was measured.
    pub(crate) time: Option<Timestamp>,
    /// How it is hurried.
    pub(crate) class: PointClass,
}

/// A path that a profile fills and the registry does not know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownResource(pub(crate) Path);

/// Returns the key under which a resource is held, and its newest definition: a multiple resource always has a
/// resource instance, a single one never.
pub(crate) fn canonical(table: &ObjectTable, path: Path) -> Option<(Key, &ResourceDefinition)> {
    let (o, i, r, ri) = crate::tree::key(path)?;
    let definition = table.latest(o)?.resources.get(&r)?;
    let ri = definition.multiple.then(|| ri.unwrap_or(ResourceInstanceId(0)));
    Some(((o, i, r, ri), definition))
}

impl News {
    /// Says whether there is nothing to tell a server.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.requalified.is_empty() && self.unowed.is_empty()
    }
}

impl Device {
    /// Returns a device that has said nothing yet; `intervals` overrides how often its points are measured.
    pub(crate) fn new(
        id: Arc<str>,
        label: Arc<str>,
        profile: Arc<dyn Profile>,
        link: Option<Link>,
        intervals: &BTreeMap<PointId, u64>,
        table: &ObjectTable,
    ) -> Result<Self, UnknownResource> {
        let points = points(&*profile, intervals, table)?;
        let derivations = derivations(&*profile, table)?;
        let mut device = Self {
            owner: Owner::Device(Arc::clone(&id)),
            endpoint: Arc::clone(&id),
            endpoints: Vec::new(),
            id,
            label,
            profile: Arc::clone(&profile),
            link,
            tree: Tree::default(),
            points,
            reachability: None,
            traffic: Traffic::default(),
            derivations,
            stale_due: None,
            radio_told: None,
        };
        for (path, value) in profile.constants() {
            let (key, _) = canonical(table, *path).ok_or(UnknownResource(*path))?;
            device.tree.put_constant(key, value.clone());
        }
        if let Some(Link::LoRaWan { dev_eui }) = device.link {
            for (key, value) in radio::constants(dev_eui) {
                device.tree.put_constant(key, value);
            }
        }
        Ok(device)
    }

    /// Returns a device that is configured no more, with the values that it has from elsewhere.
    pub(crate) fn removed(id: Arc<str>, table: &ObjectTable) -> Self {
        let (profile, intervals) = (Arc::new(Cabinet::removed()), BTreeMap::new());
        Self::new(id, "".into(), profile, None, &intervals, table)
            .expect("a profile without points fills nothing that is not known")
    }

    /// Returns the objects that this device can have a value of, beside those that it has from the start.
    pub(crate) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        let derived = self.derivations.iter().map(|derived| derived.target.0);
        let bridge = bridge::object(self.link.as_ref());
        self.points
            .iter()
            .map(|point| point.key.0)
            .chain(derived)
            .chain(bridge)
    }

    /// Returns how much the readings of a resource matter.
    pub(crate) fn class(&self, key: Key) -> PointClass {
        let point = self.points.iter().find(|point| point.key == key);
        match point {
            Some(point) => point.class,
            None if radio::is_fact(key) || bridge::is_bridged(key) => PointClass::Diagnostic,
            None => PointClass::Measurement,
        }
    }

    /// Takes what was read back after a command; where that does not show the value `written`, it is held as it was
    /// commanded, because the read-back has confirmed it.
    pub(crate) fn apply_read_back(
        &mut self,
        frame: Option<&Frame>,
        written: Option<(Key, Value)>,
        at: Now,
    ) -> News {
        let mut news = News::default();
        // A profile need not understand what it reads back: the adapter has already compared it.
        if let Some(Ok(meaning)) = frame.map(|frame| self.profile.decode(frame)) {
            self.apply(meaning.samples, Quality::Good, at, &mut news);
        }
        let is_seen = |key| {
            self.tree
                .get(key)
                .is_some_and(|held| held.received == Some(at.instant))
        };
        if let Some((key, value)) = written.filter(|(key, _)| !is_seen(*key)) {
            let commanded = self.apply_written(key, value, Quality::Good, at);
            news.values.extend(commanded.values);
            news.requalified.extend(commanded.requalified);
        }
        news
    }

    /// Takes a value that was written to a resource that no point fills, so that it can be read.
    pub(crate) fn apply_written(&mut self, key: Key, value: Value, quality: Quality, at: Now) -> News {
        let mut news = News::default();
        let before = self.qualities([key].into_iter());
        let changed = self.tree.get(key).is_none_or(|held| held.value != value);
        self.hold(key, value.clone(), quality, at.wall, at);
        if changed {
            news.values.push(NewValue {
                key,
                value,
                time: at.wall,
                class: PointClass::Measurement,
            });
        }
        self.requalify(BTreeSet::from([key]), &before, at, &mut news);
        news
    }

    /// Takes something that happened, which whoever is owed readings is to be told at once.
    pub(crate) fn apply_event(&mut self, key: Key, value: Value, at: Now) -> News {
        self.hold(key, value.clone(), Quality::Good, at.wall, at);
        let (time, class) = (at.wall, PointClass::Alarm);
        let mut news = News::default();
        news.values.push(NewValue {
            key,
            value,
            time,
            class,
        });
        news
    }

    /// Takes what the link says of the device; says whether it answers now and did not before, or the other way round.
    pub(crate) fn handle_reachability(&mut self, reachability: Reachability, at: Now) -> (bool, News) {
        let answers = |reachability: &Reachability| *reachability == Reachability::Reachable;
        let changed = self.reachability.as_ref().map(answers) != Some(answers(&reachability));
        let mut news = match &reachability {
            Reachability::Reachable => News::default(),
            // Nothing is measured any more: a silent device is as good as stale at once.
            Reachability::Unreachable(_) => self.mark_stale(|_, _| true, at),
        };
        if changed {
            self.note_failure(!answers(&reachability), at, &mut news);
        }
        self.reachability = Some(reachability);
        (changed, news)
    }

    /// Lowers the quality of what is too old.
    pub(crate) fn handle_timeout(&mut self, at: Now) -> News {
        let stale_at = |point: &PointState, held: &Held| point.stale_at(held.received?);
        let is_due =
            |point: &PointState, held: &Held| stale_at(point, held).is_some_and(|due| due <= at.instant);
        let news = self.mark_stale(is_due, at);
        let fresh = |point: &PointState| {
            let held = self
                .tree
                .get(point.key)
                .filter(|held| held.quality > Quality::Stale)?;
            stale_at(point, held)
        };
        self.stale_due = self.points.iter().filter_map(fresh).min();
        news
    }

    /// Returns when to look for values that are too old: not after the first of them is.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.stale_due
    }

    fn hold(&mut self, key: Key, value: Value, quality: Quality, time: Option<Timestamp>, at: Now) {
        let received = Some(at.instant);
        self.tree.put(
            key,
            Held {
                value,
                time,
                received,
                quality,
                is_kept: false,
            },
        );
    }

    fn mark_stale(&mut self, is_due: impl Fn(&PointState, &Held) -> bool, at: Now) -> News {
        let mut news = News::default();
        let stale: BTreeSet<Key> = self
            .points
            .iter()
            .filter(|point| {
                let held = self.tree.get(point.key);
                held.is_some_and(|held| held.quality > Quality::Stale && is_due(point, held))
            })
            .map(|point| point.key)
            .collect();
        let before = self.qualities(self.derived_from(&stale).into_iter());
        for key in &stale {
            self.tree.set_quality(*key, Quality::Stale);
        }
        self.requalify(stale, &before, at, &mut news);
        news
    }

    /// Runs the derivations that depend on what was touched, and finds the instances whose quality differs.
    fn requalify(
        &mut self,
        mut touched: BTreeSet<Key>,
        before: &BTreeMap<(ObjectId, InstanceId), Option<Quality>>,
        at: Now,
        news: &mut News,
    ) {
        for index in 0..self.derivations.len() {
            self.derive(index, &mut touched, at, news);
        }
        for (&(object, instance), quality) in before {
            if self.tree.worst(object, instance) != *quality {
                news.requalified.insert((object, instance));
            }
        }
    }

    fn derive(&mut self, index: usize, touched: &mut BTreeSet<Key>, at: Now, news: &mut News) {
        let derived = &self.derivations[index];
        if !derived.sources.iter().any(|source| touched.contains(source)) {
            return;
        }
        let held: Option<Vec<&Held>> = derived.sources.iter().map(|key| self.tree.get(*key)).collect();
        let Some(held) = held else { return };
        let sources: Vec<&Value> = held.iter().map(|held| &held.value).collect();
        let Some(value) = derive(derived.rule, &sources, derived.value_type) else {
            return;
        };
        let quality = held
            .iter()
            .map(|held| held.quality)
            .fold(derived.quality, Quality::min);
        let time = held.iter().filter_map(|held| held.time).max();
        let received = held.iter().filter_map(|held| held.received).max();
        let key = derived.target;
        // It is told with its sources, by their deadband and heartbeat, and compared with what was told, not with what
        // is held: that has moved meanwhile, by steps that were too small to be news.
        let is_news = news.values.iter().any(|news| derived.sources.contains(&news.key))
            && derived.told.as_ref() != Some(&value);
        if is_news {
            self.derivations[index].told = Some(value.clone());
            let (value, class) = (value.clone(), PointClass::Measurement);
            let time = time.or(at.wall);
            news.values.push(NewValue {
                key,
                value,
                time,
                class,
            });
        }
        let is_kept = received.is_none();
        self.tree.put(
            key,
            Held {
                value,
                time,
                received,
                quality,
                is_kept,
            },
        );
        touched.insert(key);
    }

    /// Returns these keys and all that is derived from them, directly or not.
    fn derived_from(&self, keys: &BTreeSet<Key>) -> BTreeSet<Key> {
        let mut all = keys.clone();
        for derived in &self.derivations {
            if derived.sources.iter().any(|source| all.contains(source)) {
                all.insert(derived.target);
            }
        }
        all
    }

    fn qualities(
        &self,
        keys: impl Iterator<Item = Key>,
    ) -> BTreeMap<(ObjectId, InstanceId), Option<Quality>> {
        let instances: BTreeSet<_> = keys.map(|(o, i, ..)| (o, i)).collect();
        instances
            .into_iter()
            .map(|(o, i)| ((o, i), self.tree.worst(o, i)))
            .collect()
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

/// Says why a decoded value cannot stand in a resource of this type.
fn misfit(value: &Value, value_type: ValueType) -> Option<String> {
    if value.value_type() != value_type {
        return Some(format!("{value} is a {}, not a {value_type}", value.value_type()));
    }
    value
        .as_f64()
        .is_some_and(|number| !number.is_finite())
        .then(|| format!("{value} is no measured value"))
}

fn points(
    profile: &dyn Profile,
    intervals: &BTreeMap<PointId, u64>,
    table: &ObjectTable,
) -> Result<Vec<PointState>, UnknownResource> {
    let state = |(id, point): (u16, &crate::profile::Point)| {
        let typed = canonical(table, point.path).and_then(|(key, d)| Some((key, d.value_type?)));
        let (key, value_type) = typed.ok_or(UnknownResource(point.path))?;
        let every_ms = intervals.get(&PointId(id)).copied().unwrap_or(point.every_ms);
        Ok(PointState::new(point, key, value_type, every_ms))
    };
    (0..).zip(profile.points()).map(state).collect()
}

#[cfg(test)]
mod tests;
