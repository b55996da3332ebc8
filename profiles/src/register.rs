//! Numbers in registers: types and word orders, both ways.

use crate::ratio::Linear;

/// How a value stands in its registers or bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A coil or discrete input.
    Bool,
    /// One bit of a register, 0 the lowest.
    Bit(u8),
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Encoding {
    pub(crate) const WORDS: [(&'static str, Self); 9] = [
        ("bool", Self::Bool),
        ("u16", Self::U16),
        ("i16", Self::I16),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("u64", Self::U64),
        ("i64", Self::I64),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];

    /// Returns how many registers (or bits, for a [`Self::Bool`]) it takes.
    pub(crate) const fn count(self) -> u16 {
        match self {
            Self::Bool | Self::Bit(_) | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }

    pub(crate) const fn is_boolean(self) -> bool {
        matches!(self, Self::Bool | Self::Bit(_))
    }
}

/// Where the bytes of a number of several registers stand; A is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Big-endian, as the Modbus standard has it.
    Abcd,
    /// The lower register first.
    Cdab,
    /// The bytes of each register swapped.
    Badc,
    /// Both.
    Dcba,
}

impl Order {
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("ABCD", Self::Abcd),
        ("CDAB", Self::Cdab),
        ("BADC", Self::Badc),
        ("DCBA", Self::Dcba),
    ];

    /// Puts words into big-endian order, or back: doing it twice changes nothing.
    fn arrange(self, words: &mut [u16]) {
        if matches!(self, Self::Cdab | Self::Dcba) {
            words.reverse();
        }
        if matches!(self, Self::Badc | Self::Dcba) {
            for word in words {
                *word = word.swap_bytes();
            }
        }
    }
}

/// A number as it stands in registers, before any scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raw {
    Integer(i128),
    Float(f64),
    /// A number that came as decimal text, and is reckoned with as such: 0.1 is a tenth.
    Decimal(f64),
}

impl Raw {
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) | Self::Decimal(value) => value,
        }
    }

    /// Returns the number scaled, rounded once where it is exact.
    pub(crate) fn scaled(self, scale: Linear) -> f64 {
        match self {
            Self::Integer(value) => scale.apply_integer(value),
            Self::Float(value) => scale.apply(value),
            Self::Decimal(value) => scale.apply_decimal(value),
        }
    }
}

/// Reads a number out of as many words as its encoding takes; none for another number of words.
pub(crate) fn decode(encoding: Encoding, order: Order, words: &[u16]) -> Option<Raw> {
    let mut words = words.to_vec();
    order.arrange(&mut words);
    Some(match (encoding, words.as_slice()) {
        (Encoding::Bit(index), &[word]) => Raw::Integer(i128::from((word >> index) & 1)),
        (Encoding::U16, &[word]) => Raw::Integer(word.into()),
        (Encoding::I16, &[word]) => Raw::Integer(word.cast_signed().into()),
        (Encoding::U32, &[high, low]) => Raw::Integer(double(high, low).into()),
        (Encoding::I32, &[high, low]) => Raw::Integer(double(high, low).cast_signed().into()),
        (Encoding::F32, &[high, low]) => Raw::Float(f32::from_bits(double(high, low)).into()),
        (Encoding::U64, &[a, b, c, d]) => Raw::Integer(quadruple([a, b, c, d]).into()),
        (Encoding::I64, &[a, b, c, d]) => Raw::Integer(quadruple([a, b, c, d]).cast_signed().into()),
        (Encoding::F64, &[a, b, c, d]) => Raw::Float(f64::from_bits(quadruple([a, b, c, d]))),
        (
            Encoding::Bool
            | Encoding::Bit(_)
            | Encoding::U16
            | Encoding::I16
            | Encoding::U32
            | Encoding::I32
            | Encoding::F32
            | Encoding::U64
            | Encoding::I64
            | Encoding::F64,
            _,
        ) => return None,
    })
}

/// Writes a number, integers rounded to the nearest; none where it does not fit.
pub(crate) fn encode(encoding: Encoding, order: Order, value: f64) -> Option<Vec<u16>> {
    let mut words = match encoding {
        Encoding::Bool | Encoding::Bit(_) => return None,
        Encoding::U16 => split(integer::<u16>(value)?.into(), 1),
        Encoding::I16 => split(integer::<i16>(value)?.cast_unsigned().into(), 1),
        Encoding::U32 => split(integer::<u32>(value)?.into(), 2),
        Encoding::I32 => split(integer::<i32>(value)?.cast_unsigned().into(), 2),
        Encoding::U64 => split(integer::<u64>(value)?, 4),
        Encoding::I64 => split(integer::<i64>(value)?.cast_unsigned(), 4),
        Encoding::F32 => split(single(value)?.to_bits().into(), 2),
        Encoding::F64 => split(value.to_bits(), 4),
    };
    order.arrange(&mut words);
    Some(words)
}

pub(crate) fn integer<T: TryFrom<i128>>(value: f64) -> Option<T> {
    // Beyond 2^100 the cast would saturate; nothing that large fits a register anyway.
    (value.is_finite() && value.abs() < 2_f64.powi(100))
        .then(|| value.round() as i128)
        .and_then(|v| T::try_from(v).ok())
}

pub(crate) fn single(value: f64) -> Option<f32> {
    let single = value as f32;
    single.is_finite().then_some(single)
}

fn double(high: u16, low: u16) -> u32 {
    (u32::from(high) << 16) | u32::from(low)
}

fn quadruple(words: [u16; 4]) -> u64 {
    words
        .iter()
        .fold(0, |value, word| (value << 16) | u64::from(*word))
}

fn split(value: u64, count: u32) -> Vec<u16> {
    let word = |index: u32| ((value >> (16 * index)) & 0xFFFF) as u16;
    (0..count).rev().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_orders_read_the_same_number() {
        // 31.2615 as in the SDM630 capture of mbmd issue 89: 41 fa 17 7c.
        for (order, words) in [
            (Order::Abcd, [0x41FA, 0x177C]),
            (Order::Cdab, [0x177C, 0x41FA]),
            (Order::Badc, [0xFA41, 0x7C17]),
            (Order::Dcba, [0x7C17, 0xFA41]),
        ] {
            let raw = decode(Encoding::F32, order, &words).unwrap();
            assert_eq!(raw, Raw::Float(31.261_466_979_980_47), "{order:?}");
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_not_written() {
        for (encoding, value) in [
            (Encoding::U16, -1.0),
            (Encoding::U16, 65_536.0),
            (Encoding::I16, 32_768.0),
            (Encoding::U64, 2_f64.powi(64)),
            (Encoding::I64, f64::NAN),
            (Encoding::F32, 1e39),
        ] {
            assert_eq!(encode(encoding, Order::Abcd, value), None, "{encoding:?} {value}");
        }
    }

    #[test]
    fn a_wrong_number_of_words_is_no_number() {
        for (_, encoding) in Encoding::WORDS {
            for count in [0, 3, 5] {
                assert_eq!(decode(encoding, Order::Abcd, &vec![0; count]), None);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_is_read_back_in_every_order(bits: u64) {
            let value = bits.cast_signed();
            for (_, order) in Order::WORDS {
                for (encoding, number) in [
                    (Encoding::U16, f64::from(value as u16)),
                    (Encoding::I16, f64::from(value as i16)),
                    (Encoding::U32, f64::from(value as u32)),
                    (Encoding::I32, f64::from(value as i32)),
                    (Encoding::U64, (bits >> 11) as f64),
                    (Encoding::I64, (value >> 11) as f64),
                    (Encoding::F32, f64::from(f32::from_bits(value as u32))),
                    (Encoding::F64, f64::from_bits(bits)),
                ] {
                    if number.is_finite() {
                        let words = encode(encoding, order, number).unwrap();
                        let read = decode(encoding, order, &words).unwrap();
                        proptest::prop_assert_eq!(read.as_f64(), number, "{:?} {:?}", encoding, order);
                    }
                }
            }
        }
    }
}
