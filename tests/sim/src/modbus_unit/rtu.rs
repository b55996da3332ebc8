//! RTU framing on the unit's side: address, PDU, CRC (Modbus over Serial Line 1.02, section 2.5.1).

const CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS);

/// Puts address and CRC around a PDU.
pub fn frame(address: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(address);
    frame.extend_from_slice(pdu);
    let crc = CRC.checksum(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// Returns address and PDU of a frame, none where it is too short or its CRC is wrong.
pub fn open(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (body, crc) = frame.split_last_chunk::<2>()?;
    let (address, pdu) = body.split_first()?;
    (!pdu.is_empty() && CRC.checksum(body) == u16::from_le_bytes(*crc)).then_some((*address, pdu))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Captured from an Eastron SDM630, volkszaehler/mbmd issue 89.
    const REQUEST: [u8; 8] = [0x01, 0x04, 0x00, 0x0c, 0x00, 0x02, 0xb1, 0xc8];

    #[test]
    fn a_captured_request_opens_and_is_framed_again_to_the_same_bytes() {
        let (address, pdu) = open(&REQUEST).unwrap();
        assert_eq!((address, pdu), (1, &REQUEST[1..6]));
        assert_eq!(frame(address, pdu), REQUEST);
    }

    #[test]
    fn a_frame_with_any_bit_flipped_does_not_open() {
        for bit in 0..REQUEST.len() * 8 {
            let mut frame = REQUEST;
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&frame), None, "bit {bit}");
        }
    }
}
