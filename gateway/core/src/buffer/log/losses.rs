//! What was lost, and whether anybody knows: a loss stands in every frame until whoever must know it does.
//!
//! A loss is told with the next answer. Whoever asks for a commit has heard the answer to the one before, so a loss that
//! was told by then is known when the next commit begins, and not sooner: the power may go between a frame and its
//! answer. The first commit after opening may come of the opening itself, and proves nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use lwm2m_client::Timestamp;

use super::Log;
use super::payload::StreamId;
use crate::buffer::{Debt, Disk, Gap, GapReason, Stream};
use crate::limits;

/// Readings of one stream that one account will never get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// The stream.
    pub(super) stream: StreamId,
    /// The account.
    pub(super) account: u32,
    /// How many.
    pub(super) count: u64,
    /// The lowest and the highest number.
    pub(super) seqs: RangeInclusive<u64>,
    /// When the first and the last were measured.
    pub(super) times: Option<RangeInclusive<Timestamp>>,
    /// Why.
    pub(super) reason: GapReason,
}

impl Loss {
    fn kind(&self) -> Kind {
        (self.stream, self.account, self.reason)
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.seqs = widen(&self.seqs, &other.seqs);
        self.times = match (&self.times, &other.times) {
            (Some(times), Some(more)) => Some(widen(times, more)),
            (times, more) => times.clone().or_else(|| more.clone()),
        };
    }
}

/// Losses of one stream, account and reason are told as one.
type Kind = (StreamId, u32, GapReason);
type ByKind = BTreeMap<Kind, Loss>;

/// The losses that somebody may not know of.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    /// Not told.
    new: ByKind,
    /// Found in the last frame when the log was opened, and not told since.
    found: Vec<Loss>,
    /// Told, with no commit answered since.
    told: Vec<Loss>,
    /// Told at the latest with the answer to the last commit.
    answered: Vec<Loss>,
    /// Whether the last frame names any.
    is_written: bool,
}

impl Losses {
    /// Returns all that go into a frame.
    pub(super) fn all(&self) -> impl Iterator<Item = &Loss> {
        let told = self.answered.iter().chain(&self.told);
        told.chain(&self.found).chain(self.new.values())
    }

    /// Takes note that somebody asks for a commit, who knows what was told with the answer to the last one.
    pub(super) fn begin_commit(&mut self) {
        self.answered.clear();
    }

    /// Takes note that a commit is answered, and all that was lost is told by then.
    pub(super) fn end_commit(&mut self) {
        self.answered = std::mem::take(&mut self.told);
    }

    /// Says whether the last frame names losses that everybody knows of.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_written && !self.has_any()
    }

    /// Takes note that a frame is durable.
    pub(super) fn handle_written(&mut self) {
        self.is_written = self.has_any();
    }

    /// Forgets what an earlier frame said, at opening.
    pub(super) fn begin_frame(&mut self) {
        self.found.clear();
        self.is_written = false;
    }

    /// Takes what the last frame says, at opening.
    pub(super) fn restore(&mut self, loss: Loss) {
        self.is_written = true;
        self.found.push(loss);
    }

    fn has_any(&self) -> bool {
        self.all().next().is_some()
    }

    fn add(&mut self, loss: Loss) {
        let kind = loss.kind();
        match self.new.get_mut(&kind) {
            Some(known) => known.merge(&loss),
            None => {
                self.new.insert(kind, loss);
            }
        }
    }

    /// Returns what was not told yet.
    fn tell(&mut self) -> Vec<Loss> {
        let mut losses = std::mem::take(&mut self.found);
        losses.extend(std::mem::take(&mut self.new).into_values());
        for loss in &losses {
            let is_full = self.told.len() >= limits::MAX_UNKNOWN_LOSSES;
            let alike = |told: &&mut Loss| is_full && told.kind() == loss.kind();
            match self.told.iter_mut().find(alike) {
                Some(told) => told.merge(loss),
                None => self.told.push(loss.clone()),
            }
        }
        losses
    }
}

impl<D: Disk> Log<D> {
    /// Remembers a loss, for the caller and the statistics.
    pub(super) fn lose(&mut self, loss: Loss) {
        let names = (self.names.name(loss.stream.device), self.names.name(loss.account));
        if let (Some(_), Some(_)) = names {
            self.statistics.lost_records += loss.count;
            self.losses.add(loss);
        }
    }

    /// Returns the losses that were not told yet.
    pub(super) fn take_gaps(&mut self) -> Vec<Gap> {
        let losses = self.losses.tell();
        losses.into_iter().filter_map(|loss| self.gap(loss)).collect()
    }

    fn gap(&self, loss: Loss) -> Option<Gap> {
        let stream = Stream {
            device: self.names.name(loss.stream.device)?.clone(),
            class: loss.stream.class,
        };
        Some(Gap {
            debt: Debt {
                account: self.names.name(loss.account)?.clone(),
                stream,
            },
            count: loss.count,
            seqs: loss.seqs,
            times: loss.times,
            reason: loss.reason,
        })
    }
}

/// Returns the smallest range that has both in it.
pub(super) fn widen<T: Ord + Copy>(a: &RangeInclusive<T>, b: &RangeInclusive<T>) -> RangeInclusive<T> {
    *a.start().min(b.start())..=*a.end().max(b.end())
}
