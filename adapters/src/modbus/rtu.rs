//! Frames on a serial line (Modbus over Serial Line 1.02, section 2.5.1): CRC, timing, and finding a frame in what
//! was received.
//!
//! A frame ends where its length says and is believed for its CRC, not for a silence after it: USB adapters hand
//! bytes over in lumps, and no silence of 1.5 characters survives that. Silence is asked for only where a frame is
//! found behind bytes that are none.

use std::time::Duration;

use crc::{CRC_16_MODBUS, Crc, Table};

use super::limits;
use super::pdu::{Stated, stated_len};

const CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_MODBUS);

/// The times of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTiming {
    /// The time of one character.
    pub character: Duration,
    /// The silence between two frames: 3.5 characters, and 1.75 ms above 19200 baud (section 2.5.1.1).
    pub gap: Duration,
}

impl LineTiming {
    /// Computes the times of a line with so many bits a second, each character having so many.
    pub fn new(baud: u32, bits_per_char: u8) -> Self {
        let nanos = u64::from(bits_per_char) * 1_000_000_000 / u64::from(baud.max(1));
        let character = Duration::from_nanos(nanos);
        let gap = if baud > 19_200 {
            Duration::from_micros(1_750)
        } else {
            Duration::from_nanos(nanos * 7 / 2)
        };
        Self { character, gap }
    }

    /// Returns how long so many bytes are on the line.
    pub fn bytes(&self, count: usize) -> Duration {
        self.character * u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Returns the frame of a PDU for a unit.
pub fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(unit);
    frame.extend_from_slice(pdu);
    let crc = CRC.checksum(&frame);
    frame.extend(crc.to_le_bytes());
    frame
}

/// Returns the unit and the PDU of a frame, if its CRC is right.
pub fn decode(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (checked, crc) = frame.split_last_chunk::<2>()?;
    let (&unit, pdu) = checked.split_first()?;
    (!pdu.is_empty() && CRC.checksum(checked) == u16::from_le_bytes(*crc)).then_some((unit, pdu))
}

/// Bytes from the line in which frames are looked for.
#[derive(Debug, Default)]
pub struct Receiver {
    bytes: Vec<u8>,
    astray: bool,
    garbage: u64,
}

/// A frame that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who sent it.
    pub unit: u8,
    /// What it carries.
    pub pdu: Vec<u8>,
}

impl Receiver {
    /// Takes received bytes; beyond the bound the oldest are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        let keep = bytes.len().min(limits::RECEIVE_BYTES);
        let (dropped, kept) = bytes.split_at(bytes.len() - keep);
        let excess = (self.bytes.len() + keep).saturating_sub(limits::RECEIVE_BYTES);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.astray = true;
        }
        self.garbage += (excess + dropped.len()) as u64;
        self.bytes.extend_from_slice(kept);
    }

    /// Returns the next whole frame that stands at the very begin of what was received.
    ///
    /// Behind bytes that were no frame it finds nothing: such a frame could be the inside of another one, and is
    /// only taken by [`Receiver::settled`].
    pub fn next_frame(&mut self) -> Option<Found> {
        if self.astray {
            return None;
        }
        let (_, pdu) = self.bytes.split_first()?;
        let length = match stated_len(pdu) {
            Stated::Bytes(length) => length + 3,
            Stated::More => return None,
            Stated::Nothing => {
                self.astray = true;
                return None;
            }
        };
        let (frame, _) = self.bytes.split_at_checked(length)?;
        let Some((unit, pdu)) = decode(frame) else {
            self.astray = true;
            return None;
        };
        let found = Found {
            unit,
            pdu: pdu.to_vec(),
        };
        self.bytes.drain(..length);
        Some(found)
    }

    /// Returns the frame that ends with the last byte before the line fell silent, whatever is in front of it.
    pub fn settled(&mut self) -> Option<Found> {
        let places = 1..self.bytes.len();
        let found = places
            .into_iter()
            .find_map(|place| frame_to_end(self.bytes.get(place..)?).map(|f| (place, f)));
        let (place, found) = found?;
        self.garbage += place as u64;
        self.bytes.clear();
        self.astray = false;
        Some(found)
    }

    /// Says whether something is here that is no frame yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Says whether bytes came that are the begin of no frame.
    pub fn is_astray(&self) -> bool {
        self.astray
    }

    /// Forgets what was received, and returns how many bytes were no frame since the last call.
    pub fn clear(&mut self) -> u64 {
        let garbage = std::mem::take(&mut self.garbage) + self.bytes.len() as u64;
        self.bytes.clear();
        self.astray = false;
        garbage
    }
}

fn frame_to_end(bytes: &[u8]) -> Option<Found> {
    let (_, pdu) = bytes.split_first()?;
    if stated_len(pdu) != Stated::Bytes(bytes.len().checked_sub(3)?) {
        return None;
    }
    let (unit, pdu) = decode(bytes)?;
    Some(Found {
        unit,
        pdu: pdu.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_gap_is_three_and_a_half_characters_up_to_19200_and_1750_us_above() {
        assert_eq!(LineTiming::new(9_600, 10).gap, Duration::from_nanos(3_645_831));
        assert_eq!(LineTiming::new(19_200, 11).gap, Duration::from_nanos(2_005_206));
        assert_eq!(LineTiming::new(38_400, 11).gap, Duration::from_micros(1_750));
    }

    #[test]
    fn a_frame_dribbled_in_single_bytes_is_found_at_its_last_byte() {
        let frame = encode(3, &[0x03, 0x02, 0x12, 0x34]);
        let mut receiver = Receiver::default();
        for (place, byte) in frame.iter().enumerate() {
            receiver.push(&[*byte]);
            let found = receiver.next_frame();
            assert_eq!(found.is_some(), place + 1 == frame.len());
        }
    }

    #[test]
    fn two_merged_frames_are_told_apart() {
        let mut receiver = Receiver::default();
        let mut bytes = encode(3, &[0x03, 0x02, 0x12, 0x34]);
        bytes.extend(encode(4, &[0x83, 0x02]));
        receiver.push(&bytes);
        assert_eq!(receiver.next_frame().unwrap().unit, 3);
        assert_eq!(receiver.next_frame().unwrap().unit, 4);
        assert!(receiver.is_empty());
    }

    #[test]
    fn a_frame_behind_noise_is_taken_only_once_the_line_is_silent() {
        let mut receiver = Receiver::default();
        receiver.push(&[0x00, 0xFF]);
        receiver.push(&encode(3, &[0x03, 0x02, 0x12, 0x34]));
        assert_eq!(receiver.next_frame(), None);
        assert_eq!(receiver.settled().unwrap().pdu, [0x03, 0x02, 0x12, 0x34]);
        assert_eq!(receiver.clear(), 2);
    }

    #[test]
    fn a_frame_inside_the_content_of_another_one_is_none() {
        let inner = encode(3, &[0x03, 0x02, 0x12, 0x34]);
        let mut pdu = vec![0x03, u8::try_from(inner.len()).unwrap() + 1, 0x00];
        pdu.extend(&inner);
        let mut outer = encode(9, &pdu);
        *outer.last_mut().unwrap() ^= 1;
        let mut receiver = Receiver::default();
        receiver.push(&outer);
        assert_eq!(receiver.next_frame(), None);
        assert_eq!(receiver.settled(), None);
    }

    #[test]
    fn a_babbling_line_fills_no_more_than_the_bound() {
        let mut receiver = Receiver::default();
        for _ in 0..100 {
            receiver.push(&[0x55; 100]);
            assert!(receiver.bytes.len() <= limits::RECEIVE_BYTES);
        }
        receiver.push(&[0x55; 10_000]);
        assert!(receiver.bytes.len() <= limits::RECEIVE_BYTES);
        assert_eq!(receiver.clear(), 20_000);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_borne(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40)) {
            let mut receiver = Receiver::default();
            for piece in pieces {
                receiver.push(&piece);
                while receiver.next_frame().is_some() {}
                receiver.settled();
            }
        }

        #[test]
        fn one_flipped_bit_is_always_seen(words in prop::collection::vec(any::<u16>(), 1..60), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut pdu = vec![0x03, u8::try_from(words.len() * 2).unwrap()];
            pdu.extend(words.iter().flat_map(|w| w.to_be_bytes()));
            let mut frame = encode(17, &pdu);
            prop_assert_eq!(decode(&frame), Some((17, &*pdu)));
            let place = at.index(frame.len());
            frame[place] ^= 1u8 << bit;
            prop_assert_eq!(decode(&frame), None);
        }
    }
}
