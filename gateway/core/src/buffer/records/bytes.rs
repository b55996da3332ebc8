//! Variable-length numbers, and a reader that ends where the bytes end.

use super::RecordsError;

/// Bytes that are left to read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes are left.
    pub(super) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, RecordsError> {
        let (first, rest) = self.rest.split_first().ok_or(RecordsError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordsError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordsError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, RecordsError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has one bit of the 64 left.
            if bits << shift >> shift != bits {
                return Err(RecordsError::Range);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(RecordsError::Range)
    }

    pub(super) fn difference(&mut self) -> Result<i64, RecordsError> {
        self.varint().map(from_zigzag)
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes by how much `new` is more than `old`.
pub(super) fn put_difference(out: &mut Vec<u8>, new: i64, old: i64) {
    put_varint(out, zigzag(new.wrapping_sub(old)));
}

/// Returns how many bytes a number takes.
pub(super) const fn varint_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

pub(super) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn from_zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_a_byte_for_every_seven_bits() {
        let cases: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (1 << 35, &[0x80, 0x80, 0x80, 0x80, 0x80, 1]),
            (
                u64::MAX,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            ),
        ];
        for (number, bytes) in cases {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, bytes);
            assert_eq!(varint_len(number), bytes.len());
            assert_eq!(Reader::new(bytes).varint(), Ok(number));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut bytes = [0xff; 11];
        assert_eq!(Reader::new(&bytes).varint(), Err(RecordsError::Range));
        bytes[9] = 2;
        assert_eq!(Reader::new(&bytes).varint(), Err(RecordsError::Range));
        assert_eq!(Reader::new(&bytes[..9]).varint(), Err(RecordsError::Truncated));
    }

    #[test]
    fn small_differences_of_either_sign_are_small_numbers() {
        for (difference, number) in [
            (0, 0),
            (-1, 1),
            (1, 2),
            (-2, 3),
            (i64::MAX, u64::MAX - 1),
            (i64::MIN, u64::MAX),
        ] {
            assert_eq!(zigzag(difference), number);
            assert_eq!(from_zigzag(number), difference);
        }
    }
}
