//! LwM2M TLV, content format 11542 (LwM2M Core 1.2, section 7.5.5).
//!
//! ```text
//!  7 6   5      4 3         2 1 0     then
//! +-----+------+-----------+--------+ +---------+-------------+-------+
//! | kind| id   | bytes of  | length | | id, 1-2 | length, 0-3 | value |
//! |     | 16bit| length    | if 0   | |         |             |       |
//! +-----+------+-----------+--------+ +---------+-------------+-------+
//! ```

mod decode;
mod encode;

pub(super) use decode::decode;
pub(super) use encode::encode;

/// What an item is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ObjectInstance,
    ResourceInstance,
    MultipleResource,
    Resource,
}

impl Kind {
    const fn bits(self) -> u8 {
        match self {
            Self::ObjectInstance => 0b00 << 6,
            Self::ResourceInstance => 0b01 << 6,
            Self::MultipleResource => 0b10 << 6,
            Self::Resource => 0b11 << 6,
        }
    }

    const fn of(first: u8) -> Self {
        match first >> 6 {
            0b00 => Self::ObjectInstance,
            0b01 => Self::ResourceInstance,
            0b10 => Self::MultipleResource,
            _ => Self::Resource,
        }
    }
}

/// Says that the identifier has 16 bits.
const WIDE_ID: u8 = 1 << 5;

/// One item: header fields and the bytes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item<'a> {
    kind: Kind,
    id: u16,
    value: &'a [u8],
}

impl<'a> Item<'a> {
    /// Takes the first item from some bytes, none where they end too early.
    fn take(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (first, rest) = bytes.split_first()?;
        let (id, rest) = number(rest, if first & WIDE_ID == 0 { 1 } else { 2 })?;
        let (length, rest) = match (first >> 3) & 0b11 {
            0 => (u32::from(first & 0b111), rest),
            width => number(rest, usize::from(width))?,
        };
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let item = Self {
            kind: Kind::of(*first),
            id: u16::try_from(id).ok()?,
            value,
        };
        Some((item, rest))
    }

    /// Appends this item; none where the value is longer than a length of 24 bits says.
    fn put(&self, out: &mut Vec<u8>) -> Option<()> {
        let length = u32::try_from(self.value.len()).ok()?.to_be_bytes();
        let (width, short) = match length {
            [0, 0, 0, n @ 0..=7] => (0, n),
            [0, 0, 0, _] => (1, 0),
            [0, 0, _, _] => (2, 0),
            [0, _, _, _] => (3, 0),
            _ => return None,
        };
        let [high, low] = self.id.to_be_bytes();
        let wide = if high == 0 { 0 } else { WIDE_ID };
        out.push(self.kind.bits() | wide | (width << 3) | short);
        if high != 0 {
            out.push(high);
        }
        out.push(low);
        out.extend_from_slice(length.get(4 - usize::from(width)..)?);
        out.extend_from_slice(self.value);
        Some(())
    }
}

/// Takes a big-endian number of up to three bytes.
fn number(bytes: &[u8], width: usize) -> Option<(u32, &[u8])> {
    let (own, rest) = bytes.split_at_checked(width)?;
    let number = own.iter().fold(0u32, |n, b| (n << 8) | u32::from(*b));
    Some((number, rest))
}

#[cfg(test)]
mod tests;
