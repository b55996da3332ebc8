//! Frames over TCP (Modbus Messaging on TCP/IP 1.0b, section 3.1.3): the header with the transaction identifier.

use super::limits;

/// Bytes of the header with the unit identifier.
const HEADER: usize = 7;

/// A frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adu {
    /// Which request it answers.
    pub transaction: u16,
    /// Who sent it.
    pub unit: u8,
    /// What it carries.
    pub pdu: Vec<u8>,
}

/// The stream is out of step: what should be a header is none, and nothing after it can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfStep {
    /// The protocol identifier is not that of Modbus.
    #[error("protocol identifier {0} in a Modbus/TCP header, 0 expected")]
    Protocol(u16),
    /// The length cannot be.
    #[error("length {0} in a Modbus/TCP header, 2 to 254 expected")]
    Length(u16),
}

/// Returns the frame of a PDU for a unit.
pub fn encode(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).expect("a PDU has at most 253 bytes");
    let mut frame = Vec::with_capacity(pdu.len() + HEADER);
    frame.extend(transaction.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(length.to_be_bytes());
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame
}

/// Bytes from the connection that are cut into frames.
#[derive(Debug, Default)]
pub struct Receiver {
    bytes: Vec<u8>,
}

impl Receiver {
    /// Takes received bytes. Whoever pushes takes out all frames before the next push, so that less than one stays.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next whole frame.
    ///
    /// # Errors
    /// When the stream is out of step.
    pub fn next_frame(&mut self) -> Result<Option<Adu>, OutOfStep> {
        let Some((&[t1, t0, p1, p0, l1, l0, unit], _)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let (protocol, length) = (u16::from_be_bytes([p1, p0]), u16::from_be_bytes([l1, l0]));
        if protocol != 0 {
            return Err(OutOfStep::Protocol(protocol));
        }
        if !(2..=limits::PDU_BYTES + 1).contains(&usize::from(length)) {
            return Err(OutOfStep::Length(length));
        }
        let end = HEADER - 1 + usize::from(length);
        let Some(pdu) = self.bytes.get(HEADER..end) else {
            return Ok(None);
        };
        let adu = Adu {
            transaction: u16::from_be_bytes([t1, t0]),
            unit,
            pdu: pdu.to_vec(),
        };
        self.bytes.drain(..end);
        Ok(Some(adu))
    }

    /// Forgets what was received.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Modbus Messaging on TCP/IP 1.0b, section 3.1.3, and the example of section 4.3.2: transaction 0x1501,
    // unit 0xFF, read one holding register at 4, answer 5.
    #[test]
    fn the_example_of_the_messaging_guide_is_read_and_written() {
        let request = encode(0x1501, 0xFF, &[0x03, 0x00, 0x04, 0x00, 0x01]);
        assert_eq!(
            request,
            [
                0x15, 0x01, 0x00, 0x00, 0x00, 0x06, 0xFF, 0x03, 0x00, 0x04, 0x00, 0x01
            ]
        );
        let mut receiver = Receiver::default();
        receiver.push(&[0x15, 0x01, 0x00, 0x00, 0x00, 0x05, 0xFF, 0x03, 0x02, 0x00, 0x05]);
        let adu = receiver.next_frame().unwrap().unwrap();
        assert_eq!(
            adu,
            Adu {
                transaction: 0x1501,
                unit: 0xFF,
                pdu: vec![0x03, 0x02, 0x00, 0x05]
            }
        );
    }

    #[test]
    fn a_header_that_is_none_says_so() {
        for (bytes, error) in [
            ([0, 1, 0, 9, 0, 6, 1], OutOfStep::Protocol(9)),
            ([0, 1, 0, 0, 0, 1, 1], OutOfStep::Length(1)),
            ([0, 1, 0, 0, 1, 0, 1], OutOfStep::Length(256)),
        ] {
            let mut receiver = Receiver::default();
            receiver.push(&bytes);
            assert_eq!(receiver.next_frame(), Err(error));
        }
    }

    proptest! {
        #[test]
        fn frames_in_any_pieces_come_out_as_they_went_in(
            pdus in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=253), 0..5),
            piece in 1usize..50,
        ) {
            let stream: Vec<u8> = pdus.iter().zip(7..).flat_map(|(pdu, t)| encode(t, 1, pdu)).collect();
            let mut receiver = Receiver::default();
            let mut seen = Vec::new();
            for bytes in stream.chunks(piece) {
                receiver.push(bytes);
                while let Some(adu) = receiver.next_frame().unwrap() {
                    seen.push(adu.pdu);
                }
            }
            prop_assert_eq!(seen, pdus);
        }

        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut receiver = Receiver::default();
            receiver.push(&bytes);
            while let Ok(Some(_)) = receiver.next_frame() {}
        }
    }
}
