//! Golden frames: what a device really said, and what it must mean.
//!
//! The frames are Modbus RTU as they were on the wire, unit address and CRC included. This module knows just enough of
//! RTU to open them; talking to devices is the business of the adapters.

use lwm2m_client::{Path, Value};
use ucifi_core::Profile;
use ucifi_core::field::{BlockContent, Frame, ReadBack, RegisterBlock, RegisterWrite, Table, WriteFunction};
use ucifi_core::profile::{Decoded, Encoded};

use crate::document::Place;
use crate::profile::CompiledProfile;

/// What became of one golden test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// The name of the test.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Everything that was not as expected; none where the test passed.
    pub differences: Vec<String>,
}

impl TestOutcome {
    /// Says whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// A golden test as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) case: Case,
}

/// What a golden test shows.
#[derive(Clone, Debug)]
pub(crate) enum Case {
    /// An answer, and each point in it.
    Read {
        request: Vec<u8>,
        response: Vec<u8>,
        expect: Vec<(String, Expected)>,
    },
    /// An answer that is none to the request.
    Broken { request: Vec<u8>, response: Vec<u8> },
    /// A value for a resource, the frame that sets it and the one that reads it back.
    Write {
        path: Path,
        value: Value,
        request: Vec<u8>,
        read_back: Option<Vec<u8>>,
    },
    /// A value for a resource that the profile refuses.
    Refused { path: Path, value: Value },
}

/// What a point must show.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    /// A number of the registry's unit, as exactly as it was written.
    Number {
        value: f64,
        tolerance: f64,
    },
    Value(Value),
    Absent,
    Fault,
}

/// Runs one test.
pub(crate) fn run(profile: &CompiledProfile, test: &Test) -> TestOutcome {
    let differences = match &test.case {
        Case::Read {
            request,
            response,
            expect,
        } => read(profile, request, response, expect),
        Case::Broken { request, response } => match open_exchange(request, response) {
            Ok(_) => vec!["the response is a good answer to the request".to_owned()],
            Err(_) => Vec::new(),
        },
        Case::Write {
            path,
            value,
            request,
            read_back,
        } => write(profile, *path, value, request, read_back.as_deref()),
        Case::Refused { path, value } => match profile.encode(*path, value) {
            Ok(_) => vec![format!("{value} for {path} is not refused")],
            Err(_) => Vec::new(),
        },
    };
    TestOutcome {
        name: test.name.clone(),
        place: test.place.clone(),
        differences,
    }
}

fn read(
    profile: &CompiledProfile,
    request: &[u8],
    response: &[u8],
    expect: &[(String, Expected)],
) -> Vec<String> {
    let block = match open_exchange(request, response) {
        Ok(block) => block,
        Err(reason) => return vec![reason],
    };
    let samples = match profile.decode(&Frame::ModbusBlock(block)) {
        Ok(meaning) => meaning.samples,
        Err(error) => return vec![error.to_string()],
    };
    let mut differences = Vec::new();
    for (name, expected) in expect {
        let found = samples
            .iter()
            .find(|sample| name_of(profile, sample.point.0) == name);
        match found {
            None => differences.push(format!("{name} is not in the response")),
            Some(found) if !expected.matches(&found.decoded) => {
                differences.push(format!(
                    "{name} is {}, expected {expected}",
                    shown(&found.decoded)
                ));
            }
            Some(_) => {}
        }
    }
    for found in &samples {
        let name = name_of(profile, found.point.0);
        if !expect.iter().any(|(known, _)| known == name) {
            differences.push(format!(
                "the response also says {name} = {}: expect it too",
                shown(&found.decoded)
            ));
        }
    }
    differences
}

fn name_of(profile: &CompiledProfile, index: u16) -> &str {
    profile
        .points
        .get(usize::from(index))
        .map_or("", |point| &point.name)
}

fn shown(decoded: &Decoded) -> String {
    match decoded {
        Decoded::Value(value) => value.to_string(),
        Decoded::Absent => "absent".to_owned(),
        Decoded::Fault(reason) => format!("a fault ({reason})"),
    }
}

impl Expected {
    fn matches(&self, found: &Decoded) -> bool {
        match (self, found) {
            (Self::Number { value, tolerance }, Decoded::Value(found)) => found
                .as_f64()
                .is_some_and(|found| (found - value).abs() <= *tolerance),
            (Self::Value(value), Decoded::Value(found)) => value == found,
            (Self::Absent, Decoded::Absent) | (Self::Fault, Decoded::Fault(_)) => true,
            (Self::Number { .. } | Self::Value(_) | Self::Absent | Self::Fault, _) => false,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number { value, .. } => write!(f, "{value}"),
            Self::Value(value) => write!(f, "{value}"),
            Self::Absent => f.write_str("absent"),
            Self::Fault => f.write_str("a fault"),
        }
    }
}

fn write(
    profile: &CompiledProfile,
    path: Path,
    value: &Value,
    request: &[u8],
    read_back: Option<&[u8]>,
) -> Vec<String> {
    let write = match profile.encode(path, value) {
        Ok(Encoded {
            frame: Frame::ModbusWrite(write),
            ..
        }) => write,
        Ok(_) => return vec!["the command is no write".to_owned()],
        Err(error) => return vec![error.to_string()],
    };
    let unit = request.first().copied().unwrap_or_default();
    let mut differences = Vec::new();
    let sent = with_crc(unit, write_pdu(&write));
    if sent != request {
        differences.push(format!(
            "the request is {}, expected {}",
            hex(&sent),
            hex(request)
        ));
    }
    if let Some(expected) = read_back {
        match write
            .read_back
            .as_ref()
            .map(|back| with_crc(unit, read_pdu(back)))
        {
            Some(sent) if sent == expected => {}
            Some(sent) => differences.push(format!(
                "the read-back is {}, expected {}",
                hex(&sent),
                hex(expected)
            )),
            None => differences.push("nothing is read back".to_owned()),
        }
    }
    differences
}

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

fn write_pdu(write: &RegisterWrite) -> Vec<u8> {
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

fn read_pdu(back: &ReadBack) -> Vec<u8> {
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

fn with_crc(unit: u8, pdu: Vec<u8>) -> Vec<u8> {
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

/// Reads hex bytes, with or without blanks between them.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
