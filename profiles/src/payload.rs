//! What the bytes of a payload mean: numbers at fixed places, lists of tagged values, groups that repeat, and series
//! of former values.
//!
//! Decoding is total: whatever the bytes, each section ends at the latest where they end, and what is not wholly there
//! says nothing.

use std::ops::RangeInclusive;

use lwm2m_client::Value;
use ucifi_core::field::PointId;
use ucifi_core::profile::{Decoded, Sample};

use crate::bytes::{ByteNumber, ByteValue};
use crate::instant;
use crate::limits::MAX_SAMPLES;
use crate::register::Raw;

/// How one kind of payload is laid out.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// What it must begin with to be of this kind.
    pub(crate) when: Option<Condition>,
    /// A shorter or longer one is of another kind.
    pub(crate) bytes: RangeInclusive<usize>,
    /// Where the time of measurement stands, seconds since 1970.
    pub(crate) time: Option<Place>,
    pub(crate) fields: Vec<Field>,
    /// What has no fixed place, one after the other.
    pub(crate) sections: Vec<Section>,
    pub(crate) histories: Vec<History>,
}

/// A number at a place that is counted from the beginning of the payload, or of the group it stands in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) number: ByteNumber,
}

/// A number that must be one of those listed.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) place: Place,
    pub(crate) among: Vec<i128>,
}

/// A point at a fixed place.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) point: PointId,
    pub(crate) at: usize,
    pub(crate) value: ByteValue,
    pub(crate) when: Option<Condition>,
}

/// A part of the payload whose length only the payload itself tells.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Where it begins; none is behind the section before it.
    pub(crate) at: Option<usize>,
    /// Where one byte says how long it is; none goes on to the end.
    pub(crate) length_at: Option<usize>,
    pub(crate) content: Content,
}

/// What stands in a section.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A tag, then the bytes that belong to it, until a tag is unknown.
    Tagged { tag_bytes: usize, entries: Vec<Entry> },
    /// Groups of one layout.
    Repeated(Group),
}

/// What follows a tag.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) tag: Vec<u8>,
    pub(crate) bytes: usize,
    pub(crate) fields: Vec<Field>,
}

/// A group that repeats: always the same bytes, then those that a mask announces.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) bytes: usize,
    pub(crate) fields: Vec<Field>,
    /// Where the mask stands, and how many bytes each of its bits announces, from the lowest on.
    pub(crate) mask_at: usize,
    pub(crate) optional: Vec<usize>,
    /// Fields at the bit of the mask that announces them; their places count from there.
    pub(crate) announced: Vec<(usize, Field)>,
}

/// Former values of a point: one of a certain time, and how much it grew in each interval since.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) point: PointId,
    pub(crate) value: ByteValue,
    pub(crate) time: Place,
    pub(crate) base: Place,
    /// Where the first increase stands; the others follow it.
    pub(crate) deltas: Place,
    pub(crate) count: usize,
    pub(crate) every_secs: u32,
    /// Increases that stand for "not recorded": the series ends there.
    pub(crate) absent: Vec<Raw>,
}

impl Place {
    fn read(&self, bytes: &[u8]) -> Option<Raw> {
        self.number.read(bytes, self.at)
    }

    pub(crate) fn integer(&self, bytes: &[u8]) -> Option<i128> {
        match self.read(bytes)? {
            Raw::Integer(value) => Some(value),
            Raw::Float(_) | Raw::Decimal(_) => None,
        }
    }
}

impl Condition {
    fn holds(&self, bytes: &[u8]) -> bool {
        self.place
            .integer(bytes)
            .is_some_and(|value| self.among.contains(&value))
    }
}

impl Field {
    fn read(&self, bytes: &[u8], found: &mut Found) {
        if self.when.as_ref().is_none_or(|when| when.holds(bytes))
            && let Some(decoded) = self.value.decode(bytes, self.at)
        {
            found.note(self.point, decoded);
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<(PointId, Decoded)>);

impl Found {
    /// A point keeps what was found first; a truth value is true if it is so anywhere.
    fn note(&mut self, point: PointId, decoded: Decoded) {
        match self.0.iter_mut().find(|(known, _)| *known == point) {
            None => self.0.push((point, decoded)),
            Some((_, known)) => {
                if decoded == Decoded::Value(Value::Boolean(true)) || *known == Decoded::Absent {
                    *known = decoded;
                }
            }
        }
    }
}

impl Payload {
    /// Says whether a payload is of this kind.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes.contains(&bytes.len()) && self.when.as_ref().is_none_or(|when| when.holds(bytes))
    }

    /// Says whether a payload of this kind can say anything.
    pub(crate) fn says_something(&self) -> bool {
        !self.fields.is_empty() || !self.sections.is_empty() || !self.histories.is_empty()
    }

    /// Returns every value that is wholly there, former ones first.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Vec<Sample> {
        let mut found = Found::default();
        self.fields.iter().for_each(|field| field.read(bytes, &mut found));
        let mut at = 0;
        for section in &self.sections {
            at = section.read(bytes, at, &mut found);
        }
        let secs = self.time.and_then(|place| place.read(bytes));
        let measured = secs.and_then(|raw| instant::from_unix_secs(raw.as_f64()));
        let mut samples: Vec<Sample> = self
            .histories
            .iter()
            .flat_map(|history| history.samples(bytes))
            .filter(|sample| measured.is_none() || sample.measured < measured)
            .take(MAX_SAMPLES)
            .collect();
        samples.extend(found.0.into_iter().map(|(point, decoded)| Sample {
            point,
            decoded,
            measured,
        }));
        samples
    }
}

impl Section {
    /// Reads the section; returns where it ends.
    fn read(&self, bytes: &[u8], at: usize, found: &mut Found) -> usize {
        let start = self.at.unwrap_or(at).min(bytes.len());
        let end = match self.length_at {
            None => bytes.len(),
            Some(length_at) => match bytes.get(length_at) {
                Some(length) => (start + usize::from(*length)).min(bytes.len()),
                None => return bytes.len(),
            },
        };
        let content = bytes.get(start..end).unwrap_or(&[]);
        match &self.content {
            Content::Tagged { tag_bytes, entries } => tagged(content, *tag_bytes, entries, found),
            Content::Repeated(group) => group.read_all(content, found),
        }
        end
    }
}

fn tagged(mut rest: &[u8], tag_bytes: usize, entries: &[Entry], found: &mut Found) {
    // A tag has at least one byte, so the rest shrinks.
    while let Some((tag, after)) = rest.split_at_checked(tag_bytes) {
        let Some(entry) = entries.iter().find(|entry| entry.tag == tag) else {
            return;
        };
        let Some((content, after)) = after.split_at_checked(entry.bytes) else {
            return;
        };
        entry.fields.iter().for_each(|field| field.read(content, found));
        rest = after;
    }
}

impl Group {
    fn read_all(&self, mut rest: &[u8], found: &mut Found) {
        // A group has at least one byte, so the rest shrinks.
        while let Some((fixed, after)) = rest.split_at_checked(self.bytes) {
            self.fields.iter().for_each(|field| field.read(fixed, found));
            let Some(after) = self.read_announced(fixed, after, found) else {
                return;
            };
            rest = after;
        }
    }

    /// Reads what the mask announces; returns what is behind it, none where the bytes end before.
    fn read_announced<'b>(&self, fixed: &[u8], mut rest: &'b [u8], found: &mut Found) -> Option<&'b [u8]> {
        if self.optional.is_empty() {
            return Some(rest);
        }
        let mask = *fixed.get(self.mask_at)?;
        for (bit, bytes) in self.optional.iter().enumerate() {
            if mask >> bit & 1 == 0 {
                continue;
            }
            let (content, after) = rest.split_at_checked(*bytes)?;
            let here = self.announced.iter().filter(|(announced, _)| *announced == bit);
            here.for_each(|(_, field)| field.read(content, found));
            rest = after;
        }
        Some(rest)
    }
}

impl History {
    fn samples(&self, bytes: &[u8]) -> Vec<Sample> {
        let mut samples = Vec::new();
        let start = self.time.read(bytes).map(Raw::as_f64);
        let (Some(start), Some(mut value)) = (start, self.base.integer(bytes)) else {
            return samples;
        };
        for index in 0..=self.count {
            if index > 0 {
                match self.increase(bytes, index - 1) {
                    Some(increase) => value += increase,
                    None => break,
                }
            }
            let secs = start + f64::from(self.every_secs) * index as f64;
            if let Some(measured) = instant::from_unix_secs(secs) {
                samples.push(Sample {
                    point: self.point,
                    decoded: self.value.of(Raw::Integer(value)),
                    measured: Some(measured),
                });
            }
        }
        samples
    }

    fn increase(&self, bytes: &[u8], index: usize) -> Option<i128> {
        let place = Place {
            at: self.deltas.at + index * self.deltas.number.shape.bytes(),
            ..self.deltas
        };
        let increase = place.integer(bytes)?;
        (!self.absent.contains(&Raw::Integer(increase))).then_some(increase)
    }
}
