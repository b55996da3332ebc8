//! Opening: from whatever bytes are on the disk to what is owed.
//!
//! The newest segment with a readable checkpoint says which older ones count and what is settled; what was written
//! later says what changed since. Then every segment that counts is taken apart, one at a time. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};

use lwm2m_client::Timestamp;

use super::files::File;
use super::frame::{HEADER_BYTES, Header, Piece, header, scan};
use super::index::NewBlock;
use super::losses::Loss;
use super::payload::{BlockHead, Head, Item, Items};
use super::segments::{Segment, resolve};
use super::{Log, OpenError};
use crate::buffer::{Disk, GapReason};

/// How far ahead numbers go where the newest checkpoint is lost: what was given out since the one before is unknown.
const JUMP: u64 = 1 << 32;
/// How far ahead the numbers of names and starts go where some file is not read: it may use the next ones.
const NUMBER_JUMP: u32 = 1 << 12;
/// How far ahead the ids of segments go where some file is not read: it may hold a newer one.
const ID_JUMP: u64 = 1 << 16;

/// What the checkpoint and all that follows it say.
#[derive(Default)]
struct Facts {
    /// The segments that count, and where they end if that is known.
    live: BTreeMap<u64, Option<u64>>,
    wall: Option<Timestamp>,
}

/// A block of which only the head is left.
struct Hole {
    segment: u64,
    head: BlockHead,
}

impl<D: Disk> Log<D> {
    /// Finds out what is on the disk.
    pub(super) fn recover(&mut self) -> Result<(), OpenError> {
        let candidates = self.candidates()?;
        let mut found = self.sort_out(candidates);
        self.files.next_id = found.keys().next_back().map_or(1, |id| id.saturating_add(1));
        if !self.files.unreadable.is_empty() {
            // What could not be read may be newer than what could.
            self.files.next_id = self.files.next_id.saturating_add(ID_JUMP);
        }
        let facts = self.facts(&mut found);
        for (id, file) in &found {
            if !facts.live.contains_key(id) {
                self.statistics.stale_segments += 1;
                self.files.spare(file.clone());
            }
        }
        found.retain(|id, _| facts.live.contains_key(id));
        self.statistics.missing_segments += (facts.live.len() - found.len()) as u64;
        let newest_listed = facts.live.keys().next_back().map_or(0, |id| id.saturating_add(1));
        self.files.next_id = self.files.next_id.max(newest_listed);
        self.files.head = found.keys().next_back().copied();
        let holes = self.take_in(found, &facts);
        self.drop_duplicates();
        for hole in holes {
            self.report(&hole);
        }
        let mut boot = self.boots.current.saturating_add(1);
        if !self.files.unreadable.is_empty() {
            boot = boot.saturating_add(NUMBER_JUMP);
            self.names.skip(NUMBER_JUMP);
        }
        self.boots.begin(boot, facts.wall);
        Ok(())
    }

    /// Reads what is true of the log: the newest checkpoint, and what was written behind it.
    fn facts(&mut self, found: &mut BTreeMap<u64, File>) -> Facts {
        let mut newer = Vec::new();
        let mut base = None;
        for (id, file) in found.iter().rev() {
            let (bytes, _) = self.read_through(&file.name, file.len);
            if let Some(live) = checkpoint(*id, &bytes) {
                base = Some((*id, live));
                newer.push((*id, bytes));
                break;
            }
            let is_unread = self.files.unreadable.contains(&file.name);
            if is_unread || scan(*id, &bytes, None).end > HEADER_BYTES {
                self.statistics.lost_checkpoints += 1;
                newer.push((*id, bytes));
            } else {
                self.statistics.torn_beginnings += 1;
            }
        }
        let mut facts = Facts::default();
        if let Some((_, live)) = &base {
            facts.live.extend(live.iter().map(|(id, end)| (*id, Some(*end))));
        }
        facts.live.extend(newer.iter().map(|(id, _)| (*id, None)));
        let is_whole = newer.len() == 1 || found.is_empty();
        let is_damaged = !is_whole || !self.files.unreadable.is_empty() || !self.files.set_aside.is_empty();
        for (id, bytes) in newer.into_iter().rev() {
            self.replay(id, &bytes, &mut facts);
        }
        if is_damaged && !found.is_empty() {
            self.frames.forget();
            self.next_seq = self
                .next_seq
                .saturating_add(JUMP)
                .min(u64::MAX / 2)
                .max(self.next_seq);
        }
        facts
    }

    fn replay(&mut self, segment: u64, bytes: &[u8], facts: &mut Facts) {
        let scan = scan(segment, bytes, None);
        for piece in &scan.pieces {
            let items = whole(piece).and_then(|payload| Items::new(segment, bytes.get(payload)?));
            let Some(items) = items else {
                // What is missing may have said that some of them do not come again.
                self.frames.forget();
                continue;
            };
            self.see(&items.head, facts);
            for item in items {
                self.take_fact(item, facts);
            }
        }
    }

    fn see(&mut self, head: &Head, facts: &mut Facts) {
        self.boots.see(head.boot, head.next_seq, facts.wall);
        self.next_seq = self.next_seq.max(head.next_seq);
        facts.wall = head.wall.or(facts.wall);
        self.losses.begin_frame();
    }

    fn take_fact(&mut self, item: Item<'_>, facts: &mut Facts) {
        match item {
            Item::Name(id, name) => self.names.learn(id, name),
            Item::Block(head) => {
                self.names.see(head.stream.device);
                head.accounts.iter().for_each(|id| self.names.see(*id));
            }
            Item::Position(mut stream, account, position) => {
                let ids = (self.names.resolve(stream.device), self.names.resolve(account));
                if let (Some(device), Some(account)) = ids {
                    stream.device = device;
                    *self.index.position_mut(stream, account) = position;
                }
            }
            Item::Boot(boot, times) => self.boots.learn(boot, times),
            Item::Loss(mut loss) => {
                let ids = (
                    self.names.resolve(loss.stream.device),
                    self.names.resolve(loss.account),
                );
                if let (Some(device), Some(account)) = ids {
                    (loss.stream.device, loss.account) = (device, account);
                    self.losses.restore(loss);
                }
            }
            Item::Frames(change) => self.frames.take(&change),
            Item::Live(_) => {}
            Item::Freed(freed) => facts.live.retain(|id, _| !freed.contains(id)),
        }
    }

    /// Takes every segment that counts apart, and returns the blocks of which only the heads are left.
    fn take_in(&mut self, found: BTreeMap<u64, File>, facts: &Facts) -> Vec<Hole> {
        let mut holes = Vec::new();
        let mut again = Vec::new();
        for (id, mut file) in found {
            let known_end = facts
                .live
                .get(&id)
                .copied()
                .flatten()
                .map(|end| end.min(file.len));
            let (bytes, is_readable) = self.read_through(&file.name, known_end.unwrap_or(file.len));
            let scan = scan(id, &bytes, known_end.map(|end| end as usize));
            self.statistics.recovered_segments += 1;
            self.statistics.torn_tails += u64::from(scan.torn);
            // Of what is not read now the next start may read more.
            let seen_end = if is_readable { scan.end as u64 } else { file.len };
            file.end = known_end.unwrap_or(seen_end);
            if self.files.head == Some(id) {
                let is_sound = header(&bytes) == Header::Segment(id) && is_readable;
                self.files.is_writable = is_sound && file.end < file.len;
                self.continue_head(id, &bytes, &scan.pieces);
            }
            self.learn_names(id, &bytes, &scan.pieces);
            self.count_damage(&scan.pieces);
            if is_readable {
                holes.extend(self.holes(id, &bytes, &scan.pieces));
            }
            let end = file.end;
            self.files.segments.insert(id, file);
            let segment = Segment::read(id, bytes, Some(end as usize), &self.names).0;
            if segment.unknown > 0 {
                again.push(id);
            } else {
                self.index_segment(id, segment);
            }
        }
        // Names that damage took from one segment may stand in another.
        for id in again {
            if self.fetch(id).is_ok()
                && let Some(segment) = self.cache.get(id).cloned()
            {
                self.statistics.unknown_blocks += segment.unknown;
                self.index_segment(id, segment);
            }
        }
        holes
    }

    fn count_damage(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            match piece {
                Piece::Whole { .. } => {}
                Piece::Lost => self.statistics.lost_stretches += 1,
                Piece::Damaged { .. } => self.statistics.damaged_frames += 1,
            }
        }
    }

    fn learn_names(&mut self, segment: u64, bytes: &[u8], pieces: &[Piece]) {
        for payload in pieces.iter().filter_map(whole) {
            for item in Items::new(segment, bytes.get(payload).unwrap_or_default())
                .into_iter()
                .flatten()
            {
                match item {
                    Item::Name(id, name) => self.names.learn(id, name),
                    Item::Block(head) => {
                        self.names.see(head.stream.device);
                        head.accounts.iter().for_each(|id| self.names.see(*id));
                    }
                    Item::Position(..)
                    | Item::Boot(..)
                    | Item::Live(_)
                    | Item::Freed(_)
                    | Item::Loss(_)
                    | Item::Frames(_) => {}
                }
            }
        }
    }

    fn continue_head(&mut self, id: u64, bytes: &[u8], pieces: &[Piece]) {
        let mut last = 0;
        for payload in pieces.iter().filter_map(whole) {
            for item in Items::new(id, bytes.get(payload.clone()).unwrap_or_default())
                .into_iter()
                .flatten()
            {
                if let Item::Name(name, _) = item {
                    self.files.explained.insert(name);
                }
            }
            last = payload.start - super::frame::FRAME_HEAD_BYTES;
        }
        let from = if last == HEADER_BYTES { 0 } else { last };
        self.files.doubtful_from = Some(from as u64);
    }

    fn index_segment(&mut self, id: u64, segment: Segment) {
        for (stream, block) in segment.all() {
            let mut seqs = None;
            let owed = segment.accounts(block).iter().map(|account| {
                let position = self.index.position(stream, *account);
                let Some(position) = position.filter(|position| position.touches(block.first, block.last))
                else {
                    return (*account, block.count);
                };
                if position.covers(block.first, block.last) {
                    return (*account, 0);
                }
                let records = seqs.get_or_insert_with(|| segment.records(block).unwrap_or_default());
                let owed = records.iter().filter(|record| !position.contains(record.seq));
                (*account, owed.count() as u32)
            });
            let new = NewBlock {
                first: block.first,
                last: block.last,
                count: block.count,
                bytes: block.len,
                stored_secs: block.stored_secs,
                owed: owed.collect(),
            };
            self.index.add(stream, id, &new);
            self.next_seq = self.next_seq.max(block.last.saturating_add(1));
        }
        self.cache.insert(id, segment, self.files.head);
    }

    fn holes(&self, segment: u64, bytes: &[u8], pieces: &[Piece]) -> Vec<Hole> {
        let damaged = pieces.iter().filter_map(|piece| match piece {
            Piece::Damaged { payload } => bytes.get(payload.clone()),
            Piece::Whole { .. } | Piece::Lost => None,
        });
        let items = damaged
            .filter_map(|payload| Items::new(segment, payload))
            .flatten();
        let heads = items.filter_map(|item| match item {
            Item::Block(head) => resolve(head, &self.names),
            Item::Name(..)
            | Item::Position(..)
            | Item::Boot(..)
            | Item::Live(_)
            | Item::Freed(_)
            | Item::Loss(_)
            | Item::Frames(_) => None,
        });
        heads.map(|head| Hole { segment, head }).collect()
    }

    /// Tells whoever was owed the readings of a lost block, once.
    fn report(&mut self, hole: &Hole) {
        let head = &hole.head;
        for account in &head.accounts {
            let position = self.index.position(head.stream, *account);
            let all = head.last - head.first + 1;
            let open = position.map_or(all, |position| position.count_open(head.first, head.last));
            if open == 0 {
                continue;
            }
            self.lose(Loss {
                stream: head.stream,
                account: *account,
                // Which of them were paid is not known; more than are open they are not.
                count: u64::from(head.count).min(open),
                seqs: head.first..=head.last,
                times: None,
                reason: GapReason::Corrupt,
            });
            // As long as the hole is there, what says that it was told has to be.
            self.index.add(head.stream, hole.segment, &nothing(head));
            self.settle_hole(head.stream, *account, head.first, head.last);
        }
    }

    /// Counts readings once that stand in two segments: only damage to a checkpoint brings that about, or that it was
    /// not read at an earlier start.
    fn drop_duplicates(&mut self) {
        let segments = Vec::from_iter(self.files.segments.keys());
        let jumped = segments.windows(2).any(|pair| pair[1] - pair[0] >= ID_JUMP);
        if self.statistics.lost_checkpoints == 0 && !jumped {
            return;
        }
        let streams = self.index.streams();
        let debts = streams.flat_map(|(id, stream)| {
            let runs = stream.runs.iter().flat_map(|run| &run.owed);
            runs.map(|(account, _)| (*id, *account))
        });
        let debts: BTreeSet<_> = debts.collect();
        for (stream, account) in debts {
            let mut seen = BTreeSet::new();
            let mut runs = self.owed_runs(stream, account, 0, u64::MAX);
            runs.reverse();
            for run in runs {
                let Ok(seqs) = self.owed_seqs(stream, run.segment, account, 0, u64::MAX, usize::MAX) else {
                    continue;
                };
                let all = seqs.len();
                let new = seqs.into_iter().filter(|seq| seen.insert(*seq)).count();
                if new < all {
                    self.statistics.duplicates += (all - new) as u64;
                    self.index.set_owed(stream, run.segment, account, new as u32);
                }
            }
        }
    }
}

/// Returns the live segments that a segment's checkpoint names; none where it cannot be read.
pub(super) fn checkpoint(segment: u64, bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let first = super::frame::first(segment, bytes)?;
    match Items::new(segment, bytes.get(first)?)?.next()? {
        Item::Live(live) => Some(live),
        Item::Name(..)
        | Item::Block(_)
        | Item::Position(..)
        | Item::Boot(..)
        | Item::Freed(_)
        | Item::Loss(_)
        | Item::Frames(_) => None,
    }
}

/// Returns what a lost block holds.
const fn nothing(head: &BlockHead) -> NewBlock {
    NewBlock {
        first: head.first,
        last: head.last,
        count: 0,
        bytes: 0,
        stored_secs: None,
        owed: Vec::new(),
    }
}

fn whole(piece: &Piece) -> Option<std::ops::Range<usize>> {
    match piece {
        Piece::Whole { payload } => Some(payload.clone()),
        Piece::Damaged { .. } | Piece::Lost => None,
    }
}
