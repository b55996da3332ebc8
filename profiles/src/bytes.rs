//! Numbers in strings of bytes, both ways: what LoRaWAN payloads and raw MQTT payloads are made of.

use crate::layout::{Absent, Meaning};
use crate::register::{self, Raw};
use ucifi_core::profile::Decoded;

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    pub(crate) const WORDS: [(&'static str, Self); 2] = [("little", Self::Little), ("big", Self::Big)];
}

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An integer of so many bytes, without a sign.
    Unsigned(u8),
    /// An integer of so many bytes, in two's complement.
    Signed(u8),
    F32,
    F64,
}

impl Shape {
    pub(crate) const WORDS: [(&'static str, Self); 12] = [
        ("u8", Self::Unsigned(1)),
        ("i8", Self::Signed(1)),
        ("u16", Self::Unsigned(2)),
        ("i16", Self::Signed(2)),
        ("u24", Self::Unsigned(3)),
        ("i24", Self::Signed(3)),
        ("u32", Self::Unsigned(4)),
        ("i32", Self::Signed(4)),
        ("u64", Self::Unsigned(8)),
        ("i64", Self::Signed(8)),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];

    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) => bytes as usize,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Some bits of an integer, 0 the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    pub(crate) lowest: u8,
    pub(crate) count: u8,
}

/// How a number stands in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteNumber {
    pub(crate) shape: Shape,
    pub(crate) endian: Endian,
    /// Only these bits of it.
    pub(crate) bits: Option<Bits>,
}

impl ByteNumber {
    pub(crate) const BYTE: Self = Self {
        shape: Shape::Unsigned(1),
        endian: Endian::Big,
        bits: None,
    };

    pub(crate) fn is_single_bit(self) -> bool {
        self.bits.is_some_and(|bits| bits.count == 1)
    }

    /// Reads the number that begins at an offset; none where the bytes end before it does.
    pub(crate) fn read(self, bytes: &[u8], at: usize) -> Option<Raw> {
        let end = at.checked_add(self.shape.bytes())?;
        let bytes = bytes.get(at..end)?;
        let unsigned = match self.endian {
            Endian::Big => bytes.iter().fold(0_u64, |value, byte| shifted_in(value, *byte)),
            Endian::Little => bytes.iter().rev().fold(0, |value, byte| shifted_in(value, *byte)),
        };
        if let Some(bits) = self.bits {
            let mask = (1_u64 << bits.count.min(63)) - 1;
            return Some(Raw::Integer((unsigned >> bits.lowest.min(63) & mask).into()));
        }
        Some(match self.shape {
            Shape::Unsigned(_) => Raw::Integer(unsigned.into()),
            Shape::Signed(bytes) => {
                let unused = 64 - 8 * u32::from(bytes);
                Raw::Integer((unsigned << unused).cast_signed().wrapping_shr(unused).into())
            }
            Shape::F32 => Raw::Float(f32::from_bits(unsigned as u32).into()),
            Shape::F64 => Raw::Float(f64::from_bits(unsigned)),
        })
    }

    /// Writes a number, integers rounded to the nearest; none where it does not fit.
    pub(crate) fn write(self, value: f64) -> Option<Vec<u8>> {
        let count = self.shape.bytes();
        let bits = match self.shape {
            Shape::F64 => value.is_finite().then(|| value.to_bits())?,
            Shape::F32 => register::single(value)?.to_bits().into(),
            Shape::Unsigned(bytes) => {
                let whole = register::integer::<i128>(value)?;
                let limit = 1_i128 << (8 * u32::from(bytes));
                (0..limit).contains(&whole).then_some(whole as u64)?
            }
            Shape::Signed(bytes) => {
                let whole = register::integer::<i128>(value)?;
                let limit = 1_i128 << (8 * u32::from(bytes) - 1);
                (-limit..limit).contains(&whole).then_some(whole as u64)?
            }
        };
        let little = bits.to_le_bytes();
        let mut bytes = little.get(..count)?.to_vec();
        if self.endian == Endian::Big {
            bytes.reverse();
        }
        Some(bytes)
    }
}

fn shifted_in(value: u64, byte: u8) -> u64 {
    (value << 8) | u64::from(byte)
}

/// How some bytes become a value of a resource.
#[derive(Clone, Debug)]
pub(crate) struct ByteValue {
    pub(crate) number: ByteNumber,
    pub(crate) absent: Absent,
    pub(crate) meaning: Meaning,
}

impl ByteValue {
    pub(crate) fn decode(&self, bytes: &[u8], at: usize) -> Option<Decoded> {
        let raw = self.number.read(bytes, at)?;
        Some(self.of(raw))
    }

    pub(crate) fn of(&self, raw: Raw) -> Decoded {
        if self.absent.holds(raw) {
            return Decoded::Absent;
        }
        self.meaning.of(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(shape: Shape, endian: Endian) -> ByteNumber {
        ByteNumber {
            shape,
            endian,
            bits: None,
        }
    }

    #[test]
    fn numbers_are_read_from_either_end() {
        let bytes = [0x82, 0x44, 0x01, 0xFE];
        for (shape, endian, expected) in [
            (Shape::Unsigned(2), Endian::Little, 0x4482),
            (Shape::Unsigned(2), Endian::Big, 0x8244),
            (Shape::Signed(2), Endian::Big, 0x8244 - 0x1_0000),
            (Shape::Unsigned(3), Endian::Little, 0x01_4482),
            (Shape::Signed(3), Endian::Big, 0x82_4401 - 0x100_0000),
            (Shape::Signed(4), Endian::Little, -0x01FE_BB7E),
        ] {
            let raw = number(shape, endian).read(&bytes, 0);
            assert_eq!(raw, Some(Raw::Integer(expected)), "{shape:?} {endian:?}");
        }
        assert_eq!(number(Shape::Unsigned(2), Endian::Big).read(&bytes, 3), None);
        assert_eq!(
            number(Shape::Unsigned(2), Endian::Big).read(&bytes, usize::MAX),
            None
        );
    }

    #[test]
    fn some_bits_of_a_number_are_a_number() {
        let bits = |lowest, count| ByteNumber {
            bits: Some(Bits { lowest, count }),
            ..ByteNumber::BYTE
        };
        assert_eq!(bits(5, 3).read(&[0b1010_0110], 0), Some(Raw::Integer(0b101)));
        assert_eq!(bits(0, 1).read(&[0b1010_0110], 0), Some(Raw::Integer(0)));
        assert!(bits(7, 1).is_single_bit() && !bits(0, 8).is_single_bit());
    }

    #[test]
    fn a_number_that_does_not_fit_is_not_written() {
        for (shape, value) in [
            (Shape::Unsigned(1), 256.0),
            (Shape::Unsigned(1), -1.0),
            (Shape::Signed(3), 8_388_608.0),
            (Shape::Unsigned(8), f64::INFINITY),
            (Shape::F32, 1e39),
        ] {
            assert_eq!(
                number(shape, Endian::Little).write(value),
                None,
                "{shape:?} {value}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_is_read_back(bits: u64, at in 0..4_usize) {
            for (_, shape) in Shape::WORDS {
                for endian in [Endian::Little, Endian::Big] {
                    let number = number(shape, endian);
                    let all = bits.to_be_bytes();
                    let Some(raw) = number.read(&all, at) else { continue };
                    if raw.as_f64().is_finite() && raw.as_f64().abs() < 2_f64.powi(53) {
                        let written = number.write(raw.as_f64()).unwrap();
                        proptest::prop_assert_eq!(Some(written.as_slice()), all.get(at..at + shape.bytes()), "{:?}", shape);
                    }
                }
            }
        }
    }
}
