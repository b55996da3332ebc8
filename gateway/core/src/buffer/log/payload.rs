//! The payload of a frame: its head and its items, as bytes and as values.
//!
//! The layout is in the documentation of [`super`]. Everything here takes any bytes; what a payload says is believed
//! only where the frame's checksum holds, or, for the head of a block, its own.

use std::ops::Range;

use lwm2m_client::Timestamp;

use super::clock::BootTimes;
use super::frame::block_check;
use super::losses::Loss;
use super::positions::Position;
use super::repeatable::Change;
use super::wire::{Reader, put, put_signed};
use crate::buffer::{Anchor, Fingerprint, GapReason, PointClass, Repeatable};

const NAME: u8 = 1;
const BLOCK: u8 = 2;
const POSITION: u8 = 3;
const BOOT: u8 = 4;
const LIVE: u8 = 5;
const FREED: u8 = 6;
const LOSS: u8 = 7;
const FRAMES: u8 = 8;

/// A stream by the number of its device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    /// How much the readings matter; first, so that streams of one class stand together.
    pub(super) class: PointClass,
    /// The number of the device's name.
    pub(super) device: u32,
}

/// What every payload begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The number that the next reading gets.
    pub(super) next_seq: u64,
    /// The number of the start that wrote it.
    pub(super) boot: u32,
    /// The time.
    pub(super) wall: Option<Timestamp>,
}

/// What a payload says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item<'a> {
    /// A number stands for this name.
    Name(u32, &'a str),
    /// Readings.
    Block(BlockHead),
    /// What of a stream is owed to an account no more; replaces what was said of it before.
    Position(StreamId, u32, Position),
    /// What is known of the times of a start; replaces what was said of it before.
    Boot(u32, BootTimes),
    /// The segments beside this one that hold something owed, and where they end.
    Live(Vec<(u64, u64)>),
    /// Segments in which nothing is owed any more.
    Freed(Vec<u64>),
    /// Readings that had to go, of which somebody may not know.
    Loss(Loss),
    /// What changes of the frames that may come again.
    Frames(Change),
}

/// What is said of a block of readings beside the readings themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    /// The stream.
    pub(super) stream: StreamId,
    /// The numbers of the names of the servers that they are owed to.
    pub(super) accounts: Vec<u32>,
    /// The lowest number.
    pub(super) first: u64,
    /// The highest number.
    pub(super) last: u64,
    /// How many.
    pub(super) count: u32,
    /// When they were stored, in seconds since 1970; none while the clock was not set.
    pub(super) stored_secs: Option<i64>,
    /// Where the readings are in the payload.
    pub(super) body: Range<usize>,
}

/// Appends the head of a payload.
pub(super) fn put_head(out: &mut Vec<u8>, head: &Head) {
    put(out, head.next_seq);
    put(out, u64::from(head.boot));
    put_time(out, head.wall.map(Timestamp::unix_ms));
}

/// Appends a name.
pub(super) fn put_name(out: &mut Vec<u8>, id: u32, name: &str) {
    out.push(NAME);
    put(out, u64::from(id));
    put(out, name.len() as u64);
    out.extend(name.as_bytes());
}

/// Appends a block; `head.body` is not looked at. A block that was stored with this very frame says no time of its own.
pub(super) fn put_block(out: &mut Vec<u8>, segment: u64, frame: &Head, head: &BlockHead, body: &[u8]) {
    let start = out.len();
    let own_time = head.stored_secs != stored_secs(frame);
    out.push(BLOCK);
    out.push(class_number(head.stream.class) | u8::from(own_time) << 2);
    put(out, u64::from(head.stream.device));
    put(out, head.accounts.len() as u64);
    for account in &head.accounts {
        put(out, u64::from(*account));
    }
    put(out, frame.next_seq.saturating_sub(head.first));
    put(out, head.last.saturating_sub(head.first));
    put(out, u64::from(head.count));
    if own_time {
        put_time(out, head.stored_secs);
    }
    put(out, body.len() as u64);
    let check = block_check(segment, out.get(start..).unwrap_or_default());
    out.extend(check.to_le_bytes());
    out.extend(body);
}

/// Appends a position.
pub(super) fn put_position(out: &mut Vec<u8>, stream: StreamId, account: u32, position: &Position) {
    out.push(POSITION);
    out.push(class_number(stream.class));
    put(out, u64::from(stream.device));
    put(out, u64::from(account));
    position.put(out);
}

/// Appends the times of a start.
pub(super) fn put_boot(out: &mut Vec<u8>, boot: u32, times: &BootTimes) {
    out.push(BOOT);
    put(out, u64::from(boot));
    put_time(out, times.before.map(Timestamp::unix_ms));
    put_time(out, times.anchor.map(|anchor| anchor.wall.unix_ms()));
    if let Some(anchor) = times.anchor {
        put(out, anchor.ms);
    }
    put(out, times.last_ms);
    put(out, times.end_seq);
}

/// Appends the segments that hold something.
pub(super) fn put_live(out: &mut Vec<u8>, live: &[(u64, u64)]) {
    out.push(LIVE);
    put(out, live.len() as u64);
    for (id, end) in live {
        put(out, *id);
        put(out, *end);
    }
}

/// Appends the segments that hold nothing any more.
pub(super) fn put_freed(out: &mut Vec<u8>, freed: &[u64]) {
    out.push(FREED);
    put(out, freed.len() as u64);
    for id in freed {
        put(out, *id);
    }
}

/// Appends a loss.
pub(super) fn put_loss(out: &mut Vec<u8>, loss: &Loss) {
    out.push(LOSS);
    out.push(class_number(loss.stream.class));
    put(out, u64::from(loss.stream.device));
    put(out, u64::from(loss.account));
    out.push(reason_number(loss.reason));
    put(out, loss.count);
    put(out, *loss.seqs.start());
    put(out, loss.seqs.end().saturating_sub(*loss.seqs.start()));
    put_time(out, loss.times.as_ref().map(|times| times.start().unix_ms()));
    put_time(out, loss.times.as_ref().map(|times| times.end().unix_ms()));
}

/// Appends what changes of the frames that may come again.
pub(super) fn put_frames(out: &mut Vec<u8>, frame: &Head, change: &Change) {
    out.push(FRAMES);
    put(out, change.before);
    put(out, change.gone.len() as u64);
    let mut next = 0;
    for place in &change.gone {
        put(out, place - next);
        next = place + 1;
    }
    put(out, change.new.len() as u64);
    for new in &change.new {
        out.extend(new.fingerprint.0.to_le_bytes());
        let ages = frame.wall.zip(new.received);
        let age = ages.map(|(wall, received)| wall.unix_ms().saturating_sub(received.unix_ms()));
        let age = age.and_then(|age| u64::try_from(age).ok()?.checked_add(1));
        put(out, age.unwrap_or(0));
    }
}

/// Returns when what a frame brings was stored.
pub(super) fn stored_secs(head: &Head) -> Option<i64> {
    head.wall.map(Timestamp::unix_secs)
}

/// The items of a payload, one after the other; ends where something cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    /// The head of the payload.
    pub(super) head: Head,
    /// Whether everything so far could be read.
    pub(super) is_sound: bool,
    segment: u64,
    len: usize,
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    /// Begins to read the payload of a frame of this segment.
    pub(super) fn new(segment: u64, payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let head = Head {
            next_seq: reader.number()?,
            boot: reader.short()?,
            wall: time(&mut reader)?.map(Timestamp::from_unix_ms),
        };
        Some(Self {
            head,
            is_sound: true,
            segment,
            len: payload.len(),
            reader,
        })
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let before = self.reader.clone();
        let reader = &mut self.reader;
        match reader.byte()? {
            NAME => {
                let id = reader.short()?;
                let len = reader.number()?;
                Some(Item::Name(id, std::str::from_utf8(reader.take(len)?).ok()?))
            }
            BLOCK => self.block(&before).map(Item::Block),
            POSITION => {
                let class = class(reader.byte()?)?;
                let device = reader.short()?;
                let account = reader.short()?;
                let position = Position::read(reader)?;
                Some(Item::Position(StreamId { class, device }, account, position))
            }
            BOOT => boot(reader).map(|(boot, times)| Item::Boot(boot, times)),
            LIVE => list(reader, |reader| Some((reader.number()?, reader.number()?))).map(Item::Live),
            FREED => list(reader, Reader::number).map(Item::Freed),
            LOSS => loss(reader).map(Item::Loss),
            FRAMES => frames(reader, self.head.wall).map(Item::Frames),
            _ => None,
        }
    }

    fn block(&mut self, before: &Reader<'a>) -> Option<BlockHead> {
        let reader = &mut self.reader;
        let flags = reader.byte()?;
        let device = reader.short()?;
        let accounts = list(reader, Reader::short)?;
        let first = self.head.next_seq.checked_sub(reader.number()?)?;
        let last = first.checked_add(reader.number()?)?;
        let count = reader.short()?;
        let stored_secs = if flags & 4 == 0 {
            stored_secs(&self.head)
        } else {
            time(reader)?
        };
        let len = reader.number()?;
        let read = before.rest().len() - reader.rest().len();
        let check = block_check(self.segment, before.rest().get(..read)?);
        if reader.take(2)? != check.to_le_bytes().as_slice() || last >= self.head.next_seq {
            return None;
        }
        let start = self.len - reader.rest().len();
        reader.take(len)?;
        Some(BlockHead {
            stream: StreamId {
                class: class(flags & !4)?,
                device,
            },
            accounts,
            first,
            last,
            count,
            stored_secs,
            body: start..start + usize::try_from(len).ok()?,
        })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if !self.is_sound || self.reader.rest().is_empty() {
            return None;
        }
        let item = self.item();
        self.is_sound = item.is_some();
        item
    }
}

fn boot(reader: &mut Reader<'_>) -> Option<(u32, BootTimes)> {
    let boot = reader.short()?;
    let before = time(reader)?.map(Timestamp::from_unix_ms);
    let anchor = match time(reader)?.map(Timestamp::from_unix_ms) {
        Some(wall) => Some(Anchor {
            ms: reader.number()?,
            wall,
        }),
        None => None,
    };
    let times = BootTimes {
        before,
        anchor,
        last_ms: reader.number()?,
        end_seq: reader.number()?,
    };
    Some((boot, times))
}

fn loss(reader: &mut Reader<'_>) -> Option<Loss> {
    let class = class(reader.byte()?)?;
    let device = reader.short()?;
    let account = reader.short()?;
    let reason = reason(reader.byte()?)?;
    let count = reader.number()?;
    let first = reader.number()?;
    let last = first.checked_add(reader.number()?)?;
    let from = time(reader)?.map(Timestamp::from_unix_ms);
    let to = time(reader)?.map(Timestamp::from_unix_ms);
    Some(Loss {
        stream: StreamId { class, device },
        account,
        count,
        seqs: first..=last,
        times: from.zip(to).map(|(from, to)| from..=to),
        reason,
    })
}

fn frames(reader: &mut Reader<'_>, wall: Option<Timestamp>) -> Option<Change> {
    let before = reader.number()?;
    let mut next = Some(0u64);
    let gone = list(reader, |reader| {
        let place = next?.checked_add(reader.number()?)?;
        next = place.checked_add(1);
        Some(place)
    })?;
    let new = list(reader, |reader| {
        let fingerprint = u64::from_le_bytes(reader.take(8)?.try_into().ok()?);
        let age = reader.number()?.checked_sub(1);
        let received = wall.zip(age).map(|(wall, age)| {
            let age = i64::try_from(age).unwrap_or(i64::MAX);
            Timestamp::from_unix_ms(wall.unix_ms().saturating_sub(age))
        });
        Some(Repeatable {
            fingerprint: Fingerprint(fingerprint),
            received,
        })
    })?;
    Some(Change { before, gone, new })
}

/// Reads a list; its length is never believed further than the bytes that are there.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = reader.number()?;
    if count > reader.rest().len() as u64 {
        return None;
    }
    (0..count).map(|_| read(reader)).collect()
}

fn put_time(out: &mut Vec<u8>, time: Option<i64>) {
    match time {
        Some(time) => {
            out.push(1);
            put_signed(out, time);
        }
        None => out.push(0),
    }
}

fn time(reader: &mut Reader<'_>) -> Option<Option<i64>> {
    match reader.byte()? {
        0 => Some(None),
        1 => Some(Some(reader.signed()?)),
        _ => None,
    }
}

const fn class_number(class: PointClass) -> u8 {
    match class {
        PointClass::Alarm => 0,
        PointClass::Billing => 1,
        PointClass::Measurement => 2,
        PointClass::Diagnostic => 3,
    }
}

const fn class(number: u8) -> Option<PointClass> {
    match number {
        0 => Some(PointClass::Alarm),
        1 => Some(PointClass::Billing),
        2 => Some(PointClass::Measurement),
        3 => Some(PointClass::Diagnostic),
        _ => None,
    }
}

const fn reason_number(reason: GapReason) -> u8 {
    match reason {
        GapReason::Bound => 0,
        GapReason::Age => 1,
        GapReason::DiskFull => 2,
        GapReason::Corrupt => 3,
        GapReason::Dropped => 4,
    }
}

const fn reason(number: u8) -> Option<GapReason> {
    match number {
        0 => Some(GapReason::Bound),
        1 => Some(GapReason::Age),
        2 => Some(GapReason::DiskFull),
        3 => Some(GapReason::Corrupt),
        4 => Some(GapReason::Dropped),
        _ => None,
    }
}
