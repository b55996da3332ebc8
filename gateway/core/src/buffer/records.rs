//! The body of one block of the buffer: readings of one stream in few bytes, without loss.
//!
//! A body needs nothing outside it. It says neither whose readings these are nor who is owed them, and it has no
//! checksum: the block round it has.
//!
//! # The bytes
//!
//! ```text
//! body    = version (1 byte, 1)  count (varint, at most 4096)  record × count
//! record  = tag (1 byte)  [skipped]  [path]  [moment]  [value]
//! tag       bit 0  skipped is there: a varint, how many numbers lie between the expected one and this record's
//!           bit 1  path is there; else it is the predicted one
//!           bit 2  moment is there; else it is that of the record before
//!           bits 3 to 7  the form of the value
//! path    = near (1 byte below 0x80) | far
//! near      the record before has a resource path, and this one has the same object:
//!           bits 3 to 6  resource minus that resource, plus 8;  bits 0 to 2  instance minus that instance, plus 4
//! far     = 0x80 + depth (0 is the root, 4 a resource instance), then for each number of the path
//!           a difference to the number in this place of the path before, or to 0 where that one is shorter
//! moment  = later | absolute
//! later     a difference, not 0, in milliseconds to the record before; the kind, and the boot, stay the same
//! absolute= 0x00, then 0x00 and the difference of the milliseconds since 1970 to 0: wall time
//!                  or 0x01, boot (varint), milliseconds (varint): time since a start of the process
//! ```
//! A *varint* is an unsigned LEB128 number of at most 64 bits: seven bits a byte, the lowest first, the top bit set in
//! all bytes but the last. A *difference* of d is the varint of 2d for d ≥ 0 and of −2d − 1 for d < 0 (zigzag), where d
//! is new minus old in 64 bits that wrap round.
//!
//! # What a record is told against
//!
//! Before the first record, the expected number is 0, the path is the root, and the moment is 1970 by the wall clock.
//! After a record, the expected number is one more than its own; so numbers always rise.
//!
//! The *elder* of a path that is new in this body is the path with the same object and the same resource that was new
//! most lately; there may be none.
//!
//! The *predicted* path is the one that came after the path of the record before when that path was last seen in this
//! body. Where the path of the record before is new, it is the one that came after its elder last, with as much added
//! to its instance as the path's own is above the elder's; but the path of the record before itself where there is no
//! elder, where what came after that is no resource path, and where the instance leaves its 16 bits. A device that is
//! polled goes through its points in a cycle, and often through one instance like through the one before.
//!
//! The *base* of a value is the last value of the same path in this body, or where the path is new, the base that its
//! elder has then: the first phase speaks for the second. Texts and opaque values are no base, and leave the base as
//! it was. There may be none.
//!
//! # The forms of values
//!
//! ```text
//!  0        the base itself
//!  1, 2     Boolean false, true
//!  3, 4, 5  Integer, Unsigned, Time: a difference to the base where that is of the same type, else to 0
//!  6        Objlnk: object, instance (varints)
//!  7, 8, 9  String, Corelnk, Opaque: length in bytes (varint), the bytes
//! 10        Float, any: its 64 bits XOR those of the base: a byte whose upper half says how many of the eight bytes
//!           are 0 at the front and whose lower half how many follow, these bytes, the highest first; the rest are 0
//! 11 to 13  Float, f, 1000 f, f / 1000 of a 32-bit f: the bits of f, four bytes, the lowest first
//! 14 to 16  the same, f told against the base: a difference of orders
//! 17 to 23  Float, n / 10^k, k from 0 to 6: a difference of n to the n of the base
//! 24 to 28  Float, n / 10^k rounded to 32 bits, k from 1 to 5: the same
//! ```
//! Floats are computed as written here, in 64 bits, rounded to nearest once at each operation; n becomes a float
//! before it is divided. Where a float is told against a base that is no Float, or not a number, the base counts as 0.
//! Its f is itself, divided by 1000 or times 1000, rounded to 32 bits; its n is itself times 10^k, rounded to a whole
//! number, halves away from 0, and cut to the range of a signed 64-bit number. The *order* of a 32-bit float is its
//! bits as a signed number, the lower 31 inverted where it is negative, so that neighbors differ by 1.
//!
//! Only what gives back the same 64 bits is written in a short form: −0, infinities and each NaN survive.

mod bytes;
mod context;
mod float;
mod path;
#[cfg(test)]
mod tests;
mod value;

use super::{Moment, Record};
use crate::limits::MAX_RECORDS_PER_BLOCK;
use bytes::{Reader, put_difference, put_varint};
use context::Context;
use lwm2m_client::Timestamp;

const VERSION: u8 = 1;

const SKIPPED: u8 = 1;
const PATH: u8 = 2;
const MOMENT: u8 = 4;
const FORM_SHIFT: u32 = 3;

const ABSOLUTE: u8 = 0;
const WALL: u8 = 0;
const BOOT: u8 = 1;

/// Why bytes are no readings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// A later program wrote them.
    #[error("version {0} of the readings, this program knows {VERSION}")]
    Version(u8),
    /// More readings than a block may hold.
    #[error("a block of {0} readings, at most {MAX_RECORDS_PER_BLOCK} are allowed")]
    TooMany(u64),
    /// They end too early.
    #[error("the readings are cut short")]
    Truncated,
    /// A number of more than 64 bits, or a sum that leaves the range.
    #[error("a number is out of range")]
    Range,
    /// No path, or one that is told against none.
    #[error("a path cannot be")]
    Path,
    /// No moment of a known kind.
    #[error("unknown kind {0} of moment")]
    Moment(u8),
    /// No value of a known form, or one that is told against none.
    #[error("unknown form {0} of a value")]
    Form(u8),
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// Bytes behind the last reading.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// Writes the readings of one block.
///
/// # Panics
/// When there are more than [`MAX_RECORDS_PER_BLOCK`] or their numbers do not rise: such a block could not be read.
pub fn encode(records: &[Record]) -> Vec<u8> {
    assert!(
        records.len() <= MAX_RECORDS_PER_BLOCK,
        "a block of {} readings",
        records.len()
    );
    let mut out = vec![VERSION];
    put_varint(&mut out, records.len() as u64);
    let mut context = Context::new();
    for record in records {
        put_record(&mut out, record, &mut context);
    }
    out
}

fn put_record(out: &mut Vec<u8>, record: &Record, context: &mut Context) {
    let skipped = context
        .expected
        .and_then(|expected| record.seq.checked_sub(expected))
        .expect("the numbers of a block rise");
    let path_is_predicted = context.predicted() == record.path;
    let moment_is_same = context.moment == record.moment;
    let before = context.path();
    context.go_to(record.path);
    let (form, payload) = value::forms(&record.value, context.base());
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    let flags = flag(skipped > 0, SKIPPED) | flag(!path_is_predicted, PATH) | flag(!moment_is_same, MOMENT);
    out.push(flags | (form << FORM_SHIFT));
    if skipped > 0 {
        put_varint(out, skipped);
    }
    if !path_is_predicted {
        path::put(out, record.path, before);
    }
    if !moment_is_same {
        put_moment(out, record.moment, context.moment);
    }
    payload.put(out);
    context.remember(record.seq, record.moment, &record.value);
}

fn put_moment(out: &mut Vec<u8>, moment: Moment, before: Moment) {
    match (moment, before) {
        (Moment::Wall(new), Moment::Wall(old)) => put_difference(out, new.unix_ms(), old.unix_ms()),
        (Moment::Boot { boot, ms }, Moment::Boot { boot: same, ms: old }) if boot == same => {
            put_difference(out, ms.cast_signed(), old.cast_signed());
        }
        (Moment::Wall(new), Moment::Boot { .. }) => {
            out.extend([ABSOLUTE, WALL]);
            put_difference(out, new.unix_ms(), 0);
        }
        (Moment::Boot { boot, ms }, Moment::Wall(_) | Moment::Boot { .. }) => {
            out.extend([ABSOLUTE, BOOT]);
            put_varint(out, boot.into());
            put_varint(out, ms);
        }
    }
}

/// Reads the readings of one block.
///
/// # Errors
/// When the bytes were not written by [`encode`]; not every change of them is found, that takes a checksum.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, RecordsError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if version != VERSION {
        return Err(RecordsError::Version(version));
    }
    let count = reader.varint()?;
    let many = usize::try_from(count)
        .ok()
        .filter(|n| *n <= MAX_RECORDS_PER_BLOCK);
    let count = many.ok_or(RecordsError::TooMany(count))?;
    // A record takes a byte at least.
    if count > reader.len() {
        return Err(RecordsError::Truncated);
    }
    let mut records = Vec::with_capacity(count);
    let mut context = Context::new();
    for _ in 0..count {
        records.push(take_record(&mut reader, &mut context)?);
    }
    match reader.len() {
        0 => Ok(records),
        rest => Err(RecordsError::Trailing(rest)),
    }
}

fn take_record(reader: &mut Reader<'_>, context: &mut Context) -> Result<Record, RecordsError> {
    let tag = reader.byte()?;
    let skipped = if tag & SKIPPED == 0 { 0 } else { reader.varint()? };
    let seq = context
        .expected
        .and_then(|expected| expected.checked_add(skipped))
        .ok_or(RecordsError::Range)?;
    let path = if tag & PATH == 0 {
        context.predicted()
    } else {
        path::take(reader, context.path())?
    };
    let moment = if tag & MOMENT == 0 {
        context.moment
    } else {
        take_moment(reader, context.moment)?
    };
    context.go_to(path);
    let value = value::take(reader, tag >> FORM_SHIFT, context.base())?;
    context.remember(seq, moment, &value);
    Ok(Record {
        seq,
        path,
        value,
        moment,
    })
}

fn take_moment(reader: &mut Reader<'_>, before: Moment) -> Result<Moment, RecordsError> {
    let difference = reader.difference()?;
    if difference != 0 {
        return Ok(match before {
            Moment::Wall(old) => {
                Moment::Wall(Timestamp::from_unix_ms(old.unix_ms().wrapping_add(difference)))
            }
            Moment::Boot { boot, ms } => Moment::Boot {
                boot,
                ms: ms.wrapping_add_signed(difference),
            },
        });
    }
    match reader.byte()? {
        WALL => Ok(Moment::Wall(Timestamp::from_unix_ms(reader.difference()?))),
        BOOT => {
            let boot = u32::try_from(reader.varint()?).map_err(|_| RecordsError::Range)?;
            let ms = reader.varint()?;
            Ok(Moment::Boot { boot, ms })
        }
        kind => Err(RecordsError::Moment(kind)),
    }
}
