//! Writing: a commit becomes one frame, written at once and made durable by one sync.
//!
//! Where the frame fits behind the last one of the head, it goes there. Else it begins the next segment, behind a
//! checkpoint in the same frame. After a failure the head is not written again: the frame begins another segment.

use std::collections::BTreeSet;

use super::Log;
use super::carry::{Parcel, numbers, pack, sound};
use super::files::File;
use super::frame::{FRAME_HEAD_BYTES, HEADER_BYTES, put_frame, put_header};
use super::payload::{
    Head, StreamId, put_boot, put_frames, put_freed, put_head, put_live, put_loss, put_name, put_position,
    stored_secs,
};
use super::positions::Position;
use super::repeatable::Change;
use super::segments::Segment;
use crate::buffer::{Commit, Disk, DiskError, PointClass, Settled};

/// How many files a frame is tried in when the disk fails, beside the head.
const ATTEMPTS: usize = 2;

/// What goes into a frame.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// New blocks.
    pub(super) new: Vec<Parcel>,
    /// Blocks that are copied forward.
    pub(super) carried: Vec<Parcel>,
    /// The segments that they come from, in which nothing is owed then.
    pub(super) emptied: Vec<u64>,
    /// The numbers of the new readings, rising, by stream and the names of the accounts.
    pub(super) seqs: Vec<(StreamId, Vec<u32>, Vec<u64>)>,
    /// What changes of the frames that may come again.
    pub(super) frames: Option<Change>,
}

impl Content {
    /// Returns the most urgent class that is new.
    pub(super) fn class(&self) -> Option<PointClass> {
        self.new.iter().map(|parcel| parcel.head.stream.class).min()
    }
}

impl<D: Disk> Log<D> {
    /// Makes a commit durable.
    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), DiskError> {
        self.losses.begin_commit();
        let batches = sound(commit.batches);
        let last = batches
            .iter()
            .filter_map(|batch| batch.records.last())
            .map(|record| record.seq + 1);
        let next_seq = last.fold(commit.next_seq, u64::max);
        self.next_seq = self.next_seq.max(next_seq);
        self.now = commit.wall;
        if let Some(anchor) = commit.anchor {
            self.boots.anchor(anchor);
        }
        for record in batches.iter().flat_map(|batch| &batch.records) {
            self.boots.note(record.moment);
        }
        self.settle_all(&commit.settled);
        self.evict_old();
        let now_secs = stored_secs(&self.frame_head());
        let content = Content {
            new: pack(&batches, &mut self.names, now_secs),
            seqs: numbers(&batches, &mut self.names),
            frames: commit.repeatable.and_then(|wanted| self.frames.change(&wanted)),
            ..Content::default()
        };
        self.make_room(&content);
        let is_news = !batches.is_empty() || content.frames.is_some() || self.has_news();
        let result = if is_news { self.write(content) } else { Ok(()) };
        if result.is_ok() {
            self.statistics.commits += 1;
            self.settle_all(&commit.settled);
        }
        self.count_again();
        self.release();
        result
    }

    /// Says whether something is to be written that no commit asked for.
    pub(super) fn has_news(&self) -> bool {
        self.next_seq > self.written_seq
            || !self.dirty.is_empty()
            || !self.files_freed.is_empty()
            || self.boots.changed().next().is_some()
            || self.losses.is_outdated()
    }

    fn settle_all(&mut self, settled: &[Settled]) {
        for settled in settled {
            let Some((stream, account)) = self.ids(&settled.debt.stream, &settled.debt.account) else {
                continue;
            };
            for seqs in &settled.seqs {
                self.settle(stream, account, *seqs.start(), *seqs.end());
            }
        }
    }

    /// Frees segments in which nothing is owed. Their files may be written at once: losing what is paid loses nothing.
    pub(super) fn release(&mut self) {
        let segments = self.files.segments.keys().copied();
        let empty: Vec<u64> = segments
            .filter(|id| Some(*id) != self.files.head && self.index.segment(*id).owed == 0)
            .filter(|id| self.files.is_read(*id))
            .collect();
        for id in empty {
            self.forget_segment(id);
            self.files_freed.push(id);
        }
    }

    /// Writes a frame, and takes over into memory what it says.
    pub(super) fn write(&mut self, mut content: Content) -> Result<(), DiskError> {
        self.release();
        self.copy_forward(&mut content);
        self.unsettle(&content);
        if self.files.is_writable && self.extend_head(&content) {
            self.remove_spares();
            return Ok(());
        }
        let mut result = Err(DiskError::Full);
        for _ in 0..ATTEMPTS {
            result = self.begin_segment(&mut content);
            if !matches!(result, Err(DiskError::Failed(_) | DiskError::Missing(_))) {
                break;
            }
        }
        if result.is_ok() {
            self.remove_spares();
        }
        result
    }

    /// Writes a frame behind the last one; false where it does not fit or the disk fails.
    fn extend_head(&mut self, content: &Content) -> bool {
        let Some((id, file)) = self
            .files
            .head
            .and_then(|id| Some((id, self.files.segments.get(&id)?.clone())))
        else {
            return false;
        };
        let (payload, names) = self.payload(id, &self.files.explained, None, content);
        let end = file.end + (FRAME_HEAD_BYTES + payload.len()) as u64;
        if end > file.len {
            return false;
        }
        let mut frame = Vec::new();
        put_frame(&mut frame, id, file.end, &payload);
        if self.put(&file, file.end, &frame).is_err() {
            self.files.is_writable = false;
            self.statistics.abandoned_segments += 1;
            return false;
        }
        self.files.explained.extend(names);
        self.take_over(id, File { end, ..file }, &frame, payload.len(), content);
        true
    }

    /// Writes bytes at an offset and syncs. Where the frame before may not be durable, it is written again with them.
    fn put(&mut self, file: &File, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let doubtful = self.files.doubtful_from.filter(|from| *from < offset);
        let mut written = Vec::new();
        if let Some(from) = doubtful {
            written = self.disk.read(&file.name, from, (offset - from) as usize)?;
        }
        written.extend(bytes);
        self.disk
            .write(
                &file.name,
                offset + bytes.len() as u64 - written.len() as u64,
                &written,
            )
            .inspect_err(|_| self.statistics.failed_writes += 1)?;
        self.statistics.written_bytes += written.len() as u64;
        self.disk
            .sync(&file.name)
            .inspect_err(|_| self.statistics.failed_syncs += 1)?;
        self.statistics.syncs += 1;
        self.files.doubtful_from = None;
        Ok(())
    }

    /// Begins the next segment with a checkpoint and a frame's content.
    fn begin_segment(&mut self, content: &mut Content) -> Result<(), DiskError> {
        self.confirm_head(content)?;
        self.prune(content);
        let (name, len) = self.find_place(content)?;
        // What had to go for it may have been settled together with numbers between that are new.
        self.unsettle(content);
        let id = self.files.next_id;
        let live = self.files.live(&content.emptied);
        let (payload, names) = self.payload(id, &BTreeSet::new(), Some(&live), content);
        let mut bytes = put_header(id);
        put_frame(&mut bytes, id, HEADER_BYTES as u64, &payload);
        let end = bytes.len() as u64;
        let file = File { name, len, end };
        // Whatever comes of it: what the segment says may be on disk from here on, so the one before is closed.
        self.files.next_id += 1;
        self.files.is_writable = false;
        if let Err(error) = self.put(&file, 0, &bytes) {
            self.files.spare.push((file.name, file.len));
            return Err(error);
        }
        self.statistics.begun_segments += 1;
        self.files.head = Some(id);
        self.files.is_writable = true;
        self.files.explained = names;
        self.files.segments.insert(id, file.clone());
        self.cache.insert(id, Segment::default(), Some(id));
        let header = bytes.len() - payload.len() - FRAME_HEAD_BYTES;
        let frame = bytes.split_off(header);
        self.take_over_at(id, file, &bytes, &frame, payload.len(), content);
        Ok(())
    }

    /// Makes the last frame of a head durable that another process left, before another segment relies on it. Where
    /// the disk does not take it there, all that is owed in the head goes to the new segment.
    fn confirm_head(&mut self, content: &mut Content) -> Result<(), DiskError> {
        let head = self.files.head.filter(|id| !content.emptied.contains(id));
        let file = head.and_then(|id| Some((id, self.files.segments.get(&id)?.clone())));
        let (Some((id, file)), Some(_)) = (file, self.files.doubtful_from) else {
            return Ok(());
        };
        if !self.files.is_read(id) {
            // It stays as it is: nothing of it can be copied, and the new segment names it.
            self.files.doubtful_from = None;
            return Ok(());
        }
        let Err(failure) = self.put(&file, file.end, &[]) else {
            return Ok(());
        };
        let carried = self.carry(id).map_err(|_| failure)?;
        content.carried.extend(carried);
        content.emptied.push(id);
        Ok(())
    }

    fn take_over(&mut self, id: u64, file: File, frame: &[u8], payload: usize, content: &Content) {
        self.take_over_at(id, file, &[], frame, payload, content);
    }

    /// Takes note that a frame is durable.
    fn take_over_at(
        &mut self,
        id: u64,
        file: File,
        before: &[u8],
        frame: &[u8],
        payload: usize,
        content: &Content,
    ) {
        let end = file.end as usize;
        let is_held = self.fetch(id).is_ok();
        self.files.segments.insert(id, file);
        if is_held && let Some(segment) = self.cache.touch(id) {
            let at = end - frame.len() - before.len();
            let bytes = [before, frame].concat();
            segment.append(id, at, &bytes, end - payload..end, &self.names);
        }
        // What is carried comes before what is emptied goes: a stream that has nothing else would lose its positions.
        for parcel in content.new.iter().chain(&content.carried) {
            self.index.add(parcel.head.stream, id, &parcel.block());
        }
        for emptied in &content.emptied {
            self.forget_segment(*emptied);
            self.statistics.emptied_segments += 1;
        }
        self.written_seq = self.next_seq;
        self.dirty.clear();
        self.files_freed.clear();
        content.frames.iter().for_each(|change| self.frames.take(change));
        self.boots.handle_written();
        self.losses.handle_written();
    }

    pub(super) fn forget_segment(&mut self, id: u64) {
        self.index.remove_segment(id);
        self.cache.remove(id);
        self.files.release(id);
        self.dirty
            .retain(|(stream, _)| self.index.stream(*stream).is_some());
    }

    /// Returns the head of the next frame.
    pub(super) fn frame_head(&self) -> Head {
        Head {
            next_seq: self.next_seq,
            boot: self.boots.current,
            wall: self.now,
        }
    }

    /// Builds a payload, and returns it with the names that it explains. With the live segments it is a checkpoint and
    /// says everything; without, only what changed.
    pub(super) fn payload(
        &self,
        segment: u64,
        explained: &BTreeSet<u32>,
        live: Option<&[(u64, u64)]>,
        content: &Content,
    ) -> (Vec<u8>, BTreeSet<u32>) {
        let head = self.frame_head();
        let mut out = Vec::new();
        put_head(&mut out, &head);
        if let Some(live) = live {
            put_live(&mut out, live);
        }
        let positions = self.positions_to_write(live.is_some(), content);
        let parcels = || content.carried.iter().chain(&content.new);
        let mut names = BTreeSet::new();
        names.extend(
            positions
                .iter()
                .flat_map(|((stream, account), _)| [stream.device, *account]),
        );
        for loss in self.losses.all() {
            names.extend([loss.stream.device, loss.account]);
        }
        for parcel in parcels() {
            names.insert(parcel.head.stream.device);
            names.extend(&parcel.head.accounts);
        }
        names.retain(|id| !explained.contains(id));
        for id in &names {
            put_name(&mut out, *id, self.names.name(*id).map_or("", |name| name));
        }
        let boots: Vec<_> = if live.is_some() {
            self.boots.all().collect()
        } else {
            self.boots.changed().collect()
        };
        for (boot, times) in boots {
            let mut times = *times;
            if boot == head.boot {
                times.end_seq = times.end_seq.max(head.next_seq);
            }
            put_boot(&mut out, boot, &times);
        }
        let freed: Vec<u64> = self.files_freed.iter().chain(&content.emptied).copied().collect();
        if live.is_none() && !freed.is_empty() {
            put_freed(&mut out, &freed);
        }
        for ((stream, account), position) in positions {
            put_position(&mut out, stream, account, position);
        }
        for loss in self.losses.all() {
            put_loss(&mut out, loss);
        }
        for parcel in parcels() {
            parcel.put(&mut out, segment, &head);
        }
        let anew = live.and_then(|_| self.frames.anew(content.frames.as_ref()));
        if let Some(change) = anew
            .as_ref()
            .or(content.frames.as_ref().filter(|_| live.is_none()))
        {
            put_frames(&mut out, &head, change);
        }
        (out, names)
    }

    fn positions_to_write(&self, all: bool, content: &Content) -> Vec<(super::Owner, &Position)> {
        if !all {
            let dirty = self.dirty.iter();
            return dirty
                .filter_map(|(stream, account)| {
                    Some(((*stream, *account), self.index.position(*stream, *account)?))
                })
                .collect();
        }
        let stays = |segment: u64| !content.emptied.contains(&segment);
        let carried: BTreeSet<_> = content.carried.iter().map(|parcel| parcel.head.stream).collect();
        let streams = self.index.streams().filter(|(id, stream)| {
            carried.contains(id) || stream.runs.is_empty() || stream.runs.iter().any(|run| stays(run.segment))
        });
        streams
            .flat_map(|(id, stream)| {
                stream
                    .positions
                    .iter()
                    .map(|(account, position)| ((*id, *account), position))
            })
            .collect()
    }

    /// Forgets names and starts of the process that nothing refers to.
    fn prune(&mut self, content: &Content) {
        self.boots
            .forget_before(self.index.first_owed().unwrap_or(self.next_seq));
        let mut used = BTreeSet::new();
        for (id, stream) in self.index.streams() {
            used.insert(id.device);
            used.extend(stream.positions.keys());
            used.extend(
                stream
                    .runs
                    .iter()
                    .flat_map(|run| run.owed.iter().map(|(account, _)| *account)),
            );
        }
        for loss in self.losses.all() {
            used.extend([loss.stream.device, loss.account]);
        }
        for parcel in &content.new {
            used.insert(parcel.head.stream.device);
            used.extend(&parcel.head.accounts);
        }
        self.names.retain(&used);
    }
}
