//! Just enough of Modbus RTU to open golden frames; talking to devices is the business of the adapters.

use ucifi_core::field::{BlockContent, ReadBack, RegisterBlock, RegisterWrite, Table, WriteFunction};

use super::hex;

/// Opens the answer to a read request: both as they were on the wire, unit address and CRC included.
///
/// # Errors
/// Why the two are no read and its answer, in words.
pub fn open_exchange(request: &[u8], response: &[u8]) -> Result<RegisterBlock, String> {
    check_crc(request)
        .map_err(|right| format!("CRC of the request is wrong, {} would be right", hex(&right)))?;
    check_crc(response)
        .map_err(|right| format!("CRC of the response is wrong, {} would be right", hex(&right)))?;
    let &[unit, function, a, b, c, d, _, _] = request else {
        return Err("the request is no read: 8 bytes expected".to_owned());
    };
    let table = match function {
        1 => Table::Coils,
        2 => Table::DiscreteInputs,
        3 => Table::HoldingRegisters,
        4 => Table::InputRegisters,
        other => return Err(format!("function code {other} of the request is no read")),
    };
    let (head, data) = response.split_at_checked(3).ok_or("the response is too short")?;
    let data = data.get(..data.len().saturating_sub(2)).unwrap_or(&[]);
    let (address, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let expected = match table.is_bits() {
        true => usize::from(count).div_ceil(8),
        false => usize::from(count) * 2,
    };
    if data.len() != expected || head != [unit, function, expected as u8] {
        return Err(format!(
            "the response has {} data bytes behind {}, expected {expected}",
            data.len(),
            hex(head)
        ));
    }
    Ok(RegisterBlock {
        table,
        address,
        content: content(table, data, usize::from(count)),
    })
}

fn content(table: Table, data: &[u8], count: usize) -> BlockContent {
    if table.is_bits() {
        let bits = data
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        BlockContent::Bits(bits.take(count).collect())
    } else {
        let (words, _) = data.as_chunks::<2>();
        BlockContent::Words(words.iter().map(|word| u16::from_be_bytes(*word)).collect())
    }
}

pub(super) fn write_pdu(write: &RegisterWrite) -> Vec<u8> {
    let code = match write.function {
        WriteFunction::SingleCoil => 5,
        WriteFunction::SingleRegister => 6,
        WriteFunction::MultipleCoils => 15,
        WriteFunction::MultipleRegisters => 16,
    };
    let mut pdu = vec![code];
    pdu.extend(write.address.to_be_bytes());
    let data = match &write.content {
        BlockContent::Bits(bits) if write.function == WriteFunction::SingleCoil => bits
            .iter()
            .flat_map(|bit| [if *bit { 0xFF } else { 0 }, 0])
            .collect(),
        BlockContent::Bits(bits) => packed(bits),
        BlockContent::Words(words) => words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<u8>>(),
    };
    if matches!(
        write.function,
        WriteFunction::MultipleCoils | WriteFunction::MultipleRegisters
    ) {
        pdu.extend((write.content.len() as u16).to_be_bytes());
        pdu.push(data.len() as u8);
    }
    pdu.extend(data);
    pdu
}

fn packed(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8)
        .map(|chunk| chunk.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
        .collect()
}

pub(super) fn read_pdu(back: &ReadBack) -> Vec<u8> {
    let code = match back.table {
        Table::Coils => 1,
        Table::DiscreteInputs => 2,
        Table::HoldingRegisters => 3,
        Table::InputRegisters => 4,
    };
    let mut pdu = vec![code];
    pdu.extend(back.address.to_be_bytes());
    pdu.extend(back.count.to_be_bytes());
    pdu
}

pub(super) fn with_crc(unit: u8, pdu: Vec<u8>) -> Vec<u8> {
    let mut frame = vec![unit];
    frame.extend(pdu);
    let crc = crc(&frame);
    frame.extend(crc);
    frame
}

/// Checks the last two bytes of a frame; the right ones are the error.
pub(crate) fn check_crc(frame: &[u8]) -> Result<(), [u8; 2]> {
    let split = frame.len().saturating_sub(2);
    let (body, end) = frame.split_at_checked(split).unwrap_or((frame, &[]));
    let right = crc(body);
    if end == right { Ok(()) } else { Err(right) }
}

/// CRC-16 of Modbus over Serial Line 1.02, section 6.2.2, low byte first as on the wire.
fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}
