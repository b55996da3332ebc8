//! Segment headers and frames: what makes bytes in a file a commit of this segment and of no other.
//!
//! The layout is in the documentation of [`super`]. This module knows nothing of what a payload means.

use std::ops::Range;

use crc::{CRC_32_ISCSI, Crc, Table};

/// The length of a segment header.
pub(super) const HEADER_BYTES: usize = 24;
/// The length of what stands before the payload of a frame.
pub(super) const FRAME_HEAD_BYTES: usize = 12;
/// The format that this gateway writes and reads.
pub(super) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"uCIFIlog";
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The segment with this number.
    Segment(u64),
    /// Zeros: made, and never used.
    Blank,
    /// A segment of another format.
    Version(u32),
    /// Nothing that can be told.
    Broken,
}

/// Reads the header of a file.
pub(super) fn header(bytes: &[u8]) -> Header {
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Header::Broken;
    };
    if header.iter().all(|byte| *byte == 0) {
        return Header::Blank;
    }
    let magic = header.get(..8) == Some(MAGIC.as_slice());
    let check = word(header, 20) == Some(CRC.checksum(header.get(..20).unwrap_or_default()));
    match (magic && check, word(header, 8), long(header, 12)) {
        (true, Some(VERSION), Some(id)) => Header::Segment(id),
        (true, Some(version), _) => Header::Version(version),
        (_, _, _) => Header::Broken,
    }
}

/// Returns the header of a segment.
pub(super) fn put_header(id: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(id.to_le_bytes());
    header.extend(CRC.checksum(&header).to_le_bytes());
    header
}

/// Appends a frame that stands at `offset` of the segment.
pub(super) fn put_frame(out: &mut Vec<u8>, segment: u64, offset: u64, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a payload fits a segment, whose length has 32 bits");
    let check = payload_check(segment, offset, payload);
    out.extend(len.to_le_bytes());
    out.extend(check.to_le_bytes());
    out.extend(head_check(segment, offset, len, check).to_le_bytes());
    out.extend(payload);
}

/// Returns a check of a block's head, which stands even where the frame round it is damaged.
pub(super) fn block_check(segment: u64, head: &[u8]) -> u16 {
    let mut digest = CRC.digest();
    digest.update(&segment.to_le_bytes());
    digest.update(head);
    digest.finalize() as u16
}

/// A stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A frame as it was written.
    Whole {
        /// Where its payload is.
        payload: Range<usize>,
    },
    /// A frame whose head stands and whose payload does not.
    Damaged {
        /// Where its payload is.
        payload: Range<usize>,
    },
    /// Bytes before a frame that are none.
    Lost,
}

/// What a segment is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The pieces in their order; the last one is whole unless the end was known.
    pub(super) pieces: Vec<Piece>,
    /// Where the last whole frame ends.
    pub(super) end: usize,
    /// Whether something stood behind it that was not finished.
    pub(super) torn: bool,
}

/// Returns where the payload of a segment's first frame is, if that is whole.
pub(super) fn first(segment: u64, bytes: &[u8]) -> Option<Range<usize>> {
    let (payload, check) = head_at(segment, bytes, HEADER_BYTES)?;
    let content = bytes.get(payload.clone())?;
    (payload_check(segment, HEADER_BYTES as u64, content) == check).then_some(payload)
}

impl Scan {
    /// Says whether all of it is as it was written.
    pub(super) fn is_whole(&self) -> bool {
        self.pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Whole { .. }))
    }
}

/// Takes a segment apart. Where its end is known, damage before it is damage; where it is not, what stands behind the
/// last whole frame is a commit that never finished, or left from an earlier use of the file.
pub(super) fn scan(segment: u64, bytes: &[u8], known_end: Option<usize>) -> Scan {
    let bytes = known_end.and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    let mut scan = Scan {
        end: HEADER_BYTES,
        ..Scan::default()
    };
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let Some((found, payload, check)) = next_head(segment, bytes, at) else {
            break;
        };
        if found > at {
            scan.pieces.push(Piece::Lost);
        }
        at = payload.end;
        let content = bytes.get(payload.clone()).unwrap_or_default();
        if payload_check(segment, found as u64, content) == check {
            scan.pieces.push(Piece::Whole { payload });
            scan.end = at;
        } else {
            scan.pieces.push(Piece::Damaged { payload });
        }
    }
    finish(scan, bytes.len(), known_end)
}

fn finish(mut scan: Scan, len: usize, known_end: Option<usize>) -> Scan {
    if known_end.is_some() {
        let told = scan
            .pieces
            .last()
            .is_some_and(|piece| matches!(piece, Piece::Damaged { .. }));
        if scan.end < len && !told {
            scan.pieces.push(Piece::Lost);
        }
        return scan;
    }
    while scan
        .pieces
        .last()
        .is_some_and(|piece| !matches!(piece, Piece::Whole { .. }))
    {
        scan.pieces.pop();
        scan.torn = true;
    }
    scan
}

/// Finds the next frame head from an offset on: where it stands, where its payload is and what that must check to.
fn next_head(segment: u64, bytes: &[u8], from: usize) -> Option<(usize, Range<usize>, u32)> {
    let last = bytes.len().checked_sub(FRAME_HEAD_BYTES)?;
    (from..=last).find_map(|at| {
        let (payload, check) = head_at(segment, bytes, at)?;
        Some((at, payload, check))
    })
}

fn head_at(segment: u64, bytes: &[u8], at: usize) -> Option<(Range<usize>, u32)> {
    let len = word(bytes, at)?;
    let start = at + FRAME_HEAD_BYTES;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    if len == 0 || end > bytes.len() {
        return None;
    }
    let check = word(bytes, at + 4)?;
    (word(bytes, at + 8)? == head_check(segment, at as u64, len, check)).then_some((start..end, check))
}

fn head_check(segment: u64, offset: u64, len: u32, check: u32) -> u32 {
    let mut head = [0; 24];
    let (numbers, rest) = head.split_at_mut(16);
    numbers.copy_from_slice(&(u128::from(segment) | u128::from(offset) << 64).to_le_bytes());
    rest.copy_from_slice(&(u64::from(len) | u64::from(check) << 32).to_le_bytes());
    CRC.checksum(&head)
}

fn payload_check(segment: u64, offset: u64, payload: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&segment.to_le_bytes());
    digest.update(&offset.to_le_bytes());
    digest.update(payload);
    digest.finalize()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let (word, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let (long, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u64::from_le_bytes(*long))
}
