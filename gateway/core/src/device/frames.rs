//! What the frames of a device say: values with the time at which they were measured, and how far they can be trusted.

use std::collections::BTreeSet;
use std::sync::Arc;

use lwm2m_client::{Timestamp, Value};

use super::{Device, NewValue, News, earlier, misfit};
use crate::Now;
use crate::field::{Freshness, PointId, Uplink};
use crate::limits;
use crate::output::Event;
use crate::profile::{DecodeError, Decoded, Meaning, Sample};
use crate::reading::Quality;
use crate::tree::{Held, Key};

/// A value as a frame gives it.
struct Measured {
    point: PointId,
    value: Value,
    /// When it was measured; none where nobody knows.
    time: Option<Timestamp>,
    quality: Quality,
    /// Whether the device has said when it was.
    is_dated: bool,
    /// Whether the frame has others of the same point.
    is_one_of_several: bool,
}

impl Device {
    /// Counts a frame of the device and reads it.
    pub(crate) fn read_frame(&mut self, uplink: &Uplink) -> Result<Meaning, DecodeError> {
        self.traffic.frames += 1;
        match uplink.freshness {
            Freshness::Fresh => self.traffic.last_frame = Some(uplink.received.instant),
            Freshness::Retained => self.traffic.retained += 1,
        }
        self.profile.decode(&uplink.frame)
    }

    /// Takes the values of a frame.
    pub(crate) fn handle_samples(&mut self, samples: Vec<Sample>, uplink: &Uplink) -> News {
        let mut news = News::default();
        match uplink.freshness {
            Freshness::Fresh => self.apply(samples, uplink.quality, uplink.received, &mut news),
            Freshness::Retained => self.fill(samples, uplink, None, &mut news),
        }
        news
    }

    /// Takes a frame that was taken before, at this time where it is known: its values fill what nothing was measured of
    /// in this run. Returns whether its sender says that the device is online, where it says so.
    pub(crate) fn handle_repeat(
        &mut self,
        uplink: &Uplink,
        since: Option<Timestamp>,
    ) -> (Option<bool>, News) {
        self.traffic.frames += 1;
        let mut news = News::default();
        let is_online = match self.profile.decode(&uplink.frame) {
            Ok(meaning) => {
                self.fill(meaning.samples, uplink, since, &mut news);
                meaning.is_online
            }
            // Its bytes are owed as they are since it came first.
            Err(_) => None,
        };
        (is_online, news)
    }

    /// Takes values that tell of the present, or that the device has dated itself.
    pub(super) fn apply(&mut self, samples: Vec<Sample>, best: Quality, at: Now, news: &mut News) {
        let (mut points, mut several) = (BTreeSet::new(), BTreeSet::new());
        for sample in &samples {
            if !points.insert(sample.point) {
                several.insert(sample.point);
            }
        }
        let keys: BTreeSet<Key> = points
            .iter()
            .filter_map(|point| Some(self.points.get(usize::from(point.0))?.key))
            .collect();
        let before = self.qualities(self.derived_from(&keys).into_iter());
        let mut touched = BTreeSet::new();
        for Sample {
            point,
            decoded,
            measured,
        } in samples
        {
            let key = match decoded {
                Decoded::Value(value) => {
                    let (dated, quality) = dated(measured, best, at);
                    let measured = Measured {
                        point,
                        value,
                        time: dated.or(at.wall),
                        quality,
                        is_dated: dated.is_some(),
                        is_one_of_several: several.contains(&point),
                    };
                    self.apply_value(measured, at, news)
                }
                Decoded::Fault(reason) => self.apply_fault(point, reason, news),
                Decoded::Absent => None,
            };
            touched.extend(key);
        }
        news.said_again = self.derived_from(&news.said_again);
        self.requalify(touched, &before, at, news);
    }

    /// Takes a value; returns where it stands now, none where a newer one does.
    fn apply_value(&mut self, measured: Measured, at: Now, news: &mut News) -> Option<Key> {
        let id = measured.point;
        let point = self.points.get_mut(usize::from(id.0))?;
        if let Some(reason) = misfit(&measured.value, point.value_type) {
            return self.apply_fault(id, reason, news);
        }
        point.faulty = false;
        let is_of_a_log = measured.is_dated && measured.is_one_of_several;
        if let Some(time) = measured.time.filter(|_| is_of_a_log)
            && point.has_said(&measured.value, time)
        {
            news.said_again.insert(point.key);
            return None;
        }
        let (key, class) = (point.key, point.class);
        let Measured {
            value, time, quality, ..
        } = measured;
        // Whoever sends what it has gathered may send the newest first.
        let is_older = measured.is_dated && self.tree.get(key).and_then(|held| held.time) > time;
        let is_news = !is_older && point.is_news(&value, at.instant);
        if is_news || is_older || measured.is_one_of_several {
            let value = value.clone();
            news.values.push(NewValue {
                key,
                value,
                time,
                class,
            });
        } else {
            news.said_again.insert(key);
        }
        if is_older {
            return None;
        }
        self.stale_due = earlier(self.stale_due, point.stale_at(at.instant));
        self.hold(key, value, quality, time, at);
        Some(key)
    }

    fn apply_fault(&mut self, id: PointId, reason: String, news: &mut News) -> Option<Key> {
        let point = self.points.get_mut(usize::from(id.0))?;
        self.traffic.faults += 1;
        if !std::mem::replace(&mut point.faulty, true) {
            let name = self
                .profile
                .points()
                .get(usize::from(id.0))
                .map(|p| Arc::clone(&p.name));
            news.events.push(Event::PointFault {
                device: Arc::clone(&self.id),
                point: name.unwrap_or_default(),
                reason,
            });
        }
        self.tree
            .set_quality(point.key, Quality::Fault)
            .then_some(point.key)
    }

    /// Puts values that do not tell of the present where nothing was measured in this run; of those that are not dated
    /// themselves it may be known since when they are so.
    fn fill(&mut self, samples: Vec<Sample>, uplink: &Uplink, since: Option<Timestamp>, news: &mut News) {
        let (at, best) = (uplink.received, uplink.quality.min(Quality::Stale));
        for sample in samples {
            let Decoded::Value(value) = sample.decoded else {
                continue;
            };
            let Some(point) = self.points.get(usize::from(sample.point.0)) else {
                continue;
            };
            let key = point.key;
            let is_measured = self.tree.get(key).is_some_and(|held| held.received.is_some());
            if is_measured || misfit(&value, point.value_type).is_some() {
                continue;
            }
            let (time, quality) = dated(sample.measured, best, at);
            let time = time.or(since);
            let (received, is_kept) = (None, true);
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
            news.unowed.insert(key);
        }
        let mut filled = std::mem::take(&mut news.unowed);
        for index in 0..self.derivations.len() {
            self.derive(index, &mut filled, at, news);
        }
        news.unowed = filled;
    }
}

/// Returns when the device has measured a value by its own clock, and how good the value is at best: a clock that
/// cannot be right tells nothing, and makes it a little worse.
fn dated(measured: Option<Timestamp>, best: Quality, at: Now) -> (Option<Timestamp>, Quality) {
    let is_early = |ms: i64| ms < limits::EARLIEST_MEASURED_MS;
    let is_late = |ms: i64| {
        at.wall
            .is_some_and(|wall| ms.saturating_sub(wall.unix_ms()) > limits::MAX_DEVICE_CLOCK_LEAD_MS)
    };
    match measured.map(Timestamp::unix_ms) {
        Some(ms) if is_early(ms) || is_late(ms) => (None, best.min(Quality::Derived)),
        Some(_) | None => (measured, best),
    }
}
