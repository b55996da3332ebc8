//! Finding room: what goes where, what is copied forward, and what has to go.
//!
//! Of the files that may be there, one is always free after a segment was begun; where no more can be made, what is
//! owed in some other segment is copied into the new one with the very frame that begins it, so that this one is free
//! then. So that this is never much, no more than three quarters of the space is filled with what is owed.

use std::collections::BTreeSet;

use super::Log;
use super::append::Content;
use super::carry::Parcel;
use super::frame::{FRAME_HEAD_BYTES, HEADER_BYTES};
use super::payload::StreamId;
use super::segments::Segment;
use crate::buffer::{Disk, DiskError, GapReason, PointClass};

/// The classes, the least urgent first.
const CLASSES: [PointClass; 4] = [
    PointClass::Diagnostic,
    PointClass::Measurement,
    PointClass::Billing,
    PointClass::Alarm,
];

impl<D: Disk> Log<D> {
    /// Evicts what must go so that new blocks stay within the bounds.
    pub(super) fn make_room(&mut self, content: &Content) {
        let Some(class) = content.class() else {
            return;
        };
        for (account, bound) in self.account_bounds(content) {
            self.evict(class, Some(account), bound, GapReason::Bound);
        }
        let new: u64 = content.new.iter().map(Parcel::bytes).sum();
        let (bound, reason) = self.total_bound();
        self.evict(class, None, bound.saturating_sub(new), reason);
    }

    /// Takes a file for a segment that begins with these blocks, and adds blocks to be copied forward where the file
    /// is the last free one.
    pub(super) fn find_place(&mut self, content: &mut Content) -> Result<(String, u64), DiskError> {
        let needed = self.first_frame_bytes(content);
        let usual = self.options.segment_bytes;
        // A checkpoint that fills much of a segment would be written again too soon.
        let wanted = needed + 2 * self.first_frame_bytes(&Content::default());
        let len = wanted.next_multiple_of(usual);
        let (mut spares, failure) = self.provide_spares(len);
        let mut wanted = len;
        if spares == 0 {
            // A shorter one will do.
            wanted = needed;
            spares = self
                .files
                .spare
                .iter()
                .filter(|(_, have)| *have >= needed)
                .count();
        }
        if spares < 2 && self.files.head.is_some() {
            let spare = self.files.spare.iter().find(|(_, have)| *have >= wanted);
            let Some((_, room)) = spare.cloned() else {
                return Err(failure.unwrap_or(DiskError::Full));
            };
            // A disk that fails is no reason to give anything up; one that is full is.
            let may_evict = matches!(failure, None | Some(DiskError::Full));
            self.empty_another(content, room, may_evict)?;
        }
        let place = self
            .take_spare(wanted)
            .ok_or(failure.unwrap_or(DiskError::Full))?;
        self.statistics.recycled_files += 1;
        Ok(place)
    }

    /// Adds to the content of a new segment what is owed in the segment where that is least, evicting from it what
    /// does not fit.
    fn empty_another(&mut self, content: &mut Content, room: u64, may_evict: bool) -> Result<(), DiskError> {
        let mut segments: Vec<u64> = self.files.segments.keys().copied().collect();
        segments.retain(|id| !content.emptied.contains(id) && self.files.is_read(*id));
        segments.sort_by_key(|id| (self.index.segment(*id).live_bytes, *id));
        let class = content.class().filter(|_| may_evict);
        let (_, reason) = self.total_bound();
        let mut failure = DiskError::Full;
        for victim in segments {
            match self.try_to_empty(content, room, victim, class, reason) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn try_to_empty(
        &mut self,
        content: &mut Content,
        room: u64,
        victim: u64,
        class: Option<PointClass>,
        reason: GapReason,
    ) -> Result<bool, DiskError> {
        let kept = self.carry(victim)?;
        let Some(class) = class else {
            return Ok(self.carry_into(content, room, victim, kept) == 0);
        };
        let mut least = kept.clone();
        least.retain(|parcel| parcel.head.stream.class < class);
        let before = content.carried.len();
        let helps = self.carry_into(content, room, victim, least) == 0;
        if helps {
            content.carried.truncate(before);
            content.emptied.pop();
        } else {
            // Nothing goes where that would not do.
            return Ok(false);
        }
        let mut excess = self.carry_into(content, room, victim, kept);
        for evicted in CLASSES.into_iter().filter(|evicted| *evicted >= class) {
            while excess > 0 && self.evict_oldest_of(victim, evicted, excess, reason) {
                let kept = self.carry(victim)?;
                excess = self.carry_into(content, room, victim, kept);
            }
        }
        Ok(excess == 0)
    }

    /// Adds what is carried of a segment to the content of a new one where that fits; says how many bytes are too many.
    fn carry_into(&self, content: &mut Content, room: u64, victim: u64, carried: Vec<Parcel>) -> u64 {
        let before = content.carried.len();
        content.carried.extend(carried);
        content.emptied.push(victim);
        let excess = self.first_frame_bytes(content).saturating_sub(room);
        if excess > 0 {
            content.carried.truncate(before);
            content.emptied.pop();
        }
        excess
    }

    /// Evicts the oldest blocks of a class from a segment until so many bytes are gone; says whether any are.
    fn evict_oldest_of(&mut self, segment: u64, class: PointClass, excess: u64, reason: GapReason) -> bool {
        let before = self.index.segment(segment).live_bytes;
        let streams = self.index.streams().filter(|(id, _)| id.class == class);
        let runs = streams.flat_map(|(id, stream)| stream.runs.iter().map(|run| (*id, run)));
        let runs = runs.filter(|(_, run)| run.segment == segment && run.is_owed());
        let mut oldest: Vec<(u64, StreamId)> = runs.map(|(id, run)| (run.first, id)).collect();
        oldest.sort_unstable();
        for (_, stream) in oldest {
            let gone = before.saturating_sub(self.index.segment(segment).live_bytes);
            if gone >= excess {
                break;
            }
            for account in self.accounts_of(stream, segment) {
                self.evict_run(stream, segment, account, excess - gone, reason);
            }
        }
        self.index.segment(segment).live_bytes < before
    }

    /// Copies what is owed in a segment forward where it is little and the log is much larger than it need be.
    pub(super) fn copy_forward(&mut self, content: &mut Content) {
        let usual = self.options.segment_bytes;
        let needed = 2 + 2 * self.index.live_bytes().div_ceil(usual.max(1));
        if self.files.segments.len() as u64 <= needed {
            return;
        }
        let head = self.files.head;
        let others = self.files.segments.keys().copied();
        let others = others.filter(|id| Some(*id) != head && self.files.is_read(*id));
        let Some(victim) = others.min_by_key(|id| (self.index.segment(*id).live_bytes, *id)) else {
            return;
        };
        let live = self.index.segment(victim).live_bytes;
        let space = head
            .and_then(|id| self.files.segments.get(&id))
            .map_or(0, |file| file.len - file.end);
        let new: u64 = content.new.iter().map(Parcel::bytes).sum();
        if live > usual / 4 || live * 2 + new + usual / 16 > space {
            return;
        }
        if let Ok(carried) = self.carry(victim) {
            content.carried.extend(carried);
            content.emptied.push(victim);
        }
    }

    /// Returns the length of a new segment with this content.
    fn first_frame_bytes(&self, content: &Content) -> u64 {
        let live = self.files.live(&content.emptied);
        let (payload, _) = self.payload(self.files.next_id, &BTreeSet::new(), Some(&live), content);
        (HEADER_BYTES + FRAME_HEAD_BYTES + payload.len()) as u64
    }

    /// Returns how much may be owed altogether, and what bounds it.
    fn total_bound(&self) -> (u64, GapReason) {
        let usual = self.options.segment_bytes;
        let allowed = (self.options.max_bytes.max(2 * usual)) / usual.max(1);
        let there = self.files.segments.len() + self.files.spare.len();
        let (files, reason) = if self.files.is_disk_full && (there as u64) < allowed {
            (there as u64, GapReason::DiskFull)
        } else {
            (allowed, GapReason::Bound)
        };
        ((files.max(2) - 1) * usual / 4 * 3, reason)
    }

    /// Returns what may be owed to each of the accounts of new blocks beside those.
    fn account_bounds(&self, content: &Content) -> Vec<(u32, u64)> {
        let mut new = std::collections::BTreeMap::<u32, u64>::new();
        for parcel in &content.new {
            for account in &parcel.head.accounts {
                *new.entry(*account).or_default() += parcel.body.len() as u64;
            }
        }
        let bound = |account: u32| {
            let name = self.names.name(account)?;
            let bound = self.options.accounts.get(name).copied().unwrap_or_default();
            Some(bound.max_bytes)
        };
        new.into_iter()
            .filter_map(|(account, bytes)| Some((account, bound(account)?.saturating_sub(bytes))))
            .collect()
    }

    /// Evicts the oldest of the least urgent classes until no more than `bound` bytes are owed, to one account or
    /// to all; nothing that is more urgent than `class`.
    fn evict(&mut self, class: PointClass, account: Option<u32>, bound: u64, reason: GapReason) {
        // What cannot be read now is not given up unread: something else goes.
        let mut unreadable = BTreeSet::new();
        for evicted in CLASSES.into_iter().filter(|evicted| *evicted >= class) {
            while self.owed_bytes(account) > bound {
                let Some((stream, segment)) = self.oldest_run(evicted, account, &unreadable) else {
                    break;
                };
                if self.fetch(segment).is_err() {
                    unreadable.insert(segment);
                    continue;
                }
                let excess = self.owed_bytes(account) - bound;
                let accounts = match account {
                    Some(account) => vec![account],
                    None => self.accounts_of(stream, segment),
                };
                for account in accounts {
                    self.evict_run(stream, segment, account, excess, reason);
                }
            }
        }
    }

    fn owed_bytes(&self, account: Option<u32>) -> u64 {
        match account {
            None => self.index.live_bytes(),
            Some(account) => {
                let mut accounts = self.index.accounts();
                accounts
                    .find(|(id, _)| *id == account)
                    .map_or(0, |(_, bytes)| bytes)
            }
        }
    }

    fn oldest_run(
        &self,
        class: PointClass,
        account: Option<u32>,
        without: &BTreeSet<u64>,
    ) -> Option<(StreamId, u64)> {
        let streams = self.index.streams().filter(|(id, _)| id.class == class);
        let runs = streams.flat_map(|(id, stream)| stream.runs.iter().map(|run| (*id, run)));
        let runs = runs.filter(|(_, run)| !without.contains(&run.segment));
        let owed = runs.filter(|(_, run)| match account {
            Some(account) => run.owed_to(account) > 0,
            None => run.is_owed(),
        });
        let oldest = owed.min_by_key(|(_, run)| run.first);
        oldest.map(|(id, run)| (id, run.segment))
    }

    fn accounts_of(&self, stream: StreamId, segment: u64) -> Vec<u32> {
        let runs = self
            .index
            .stream(stream)
            .into_iter()
            .flat_map(|stream| &stream.runs);
        let run = runs.into_iter().find(|run| run.segment == segment);
        run.map_or(Vec::new(), |run| {
            run.owed.iter().map(|(account, _)| *account).collect()
        })
    }

    /// Evicts blocks of a run, the oldest first, until enough bytes are gone; at least one.
    fn evict_run(&mut self, stream: StreamId, segment: u64, account: u32, excess: u64, reason: GapReason) {
        if self.fetch(segment).is_err() {
            return;
        }
        let none = Segment::default();
        let held = self.cache.get(segment).unwrap_or(&none);
        let blocks: Vec<_> = held
            .blocks(stream)
            .iter()
            .filter(|block| held.accounts(block).contains(&account))
            .copied()
            .collect();
        let before = self.owed_here(stream, segment, account);
        let mut gone = 0;
        for block in blocks {
            let owed = self.owed_here(stream, segment, account);
            self.give_up(stream, segment, account, block, reason);
            if self.owed_here(stream, segment, account) < owed {
                gone += u64::from(block.len);
            }
            if gone >= excess {
                break;
            }
        }
        let left = self.owed_here(stream, segment, account);
        self.statistics.evicted_records += u64::from(before - left.min(before));
        if left == before && self.fetch(segment).is_ok() {
            self.give_up_run(stream, segment, account, reason);
        }
    }

    fn owed_here(&self, stream: StreamId, segment: u64, account: u32) -> u32 {
        let runs = self
            .index
            .stream(stream)
            .into_iter()
            .flat_map(|stream| &stream.runs);
        let run = runs.into_iter().find(|run| run.segment == segment);
        run.map_or(0, |run| run.owed_to(account))
    }
}
