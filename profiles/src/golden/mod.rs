//! Golden frames: what a device really said, and what it must mean.
//!
//! Those of Modbus are RTU as it was on the wire, unit address and CRC included; those of LoRaWAN are decrypted
//! payloads with their port, those of MQTT payloads with their topic.

mod rtu;
mod sent;

use lwm2m_client::{Path, Value};
use ucifi_core::Profile;
use ucifi_core::field::Frame;
use ucifi_core::profile::{Decoded, Encoded, Sample};

pub(crate) use rtu::check_crc;
pub use rtu::open_exchange;
use rtu::{read_pdu, with_crc, write_pdu};
pub(crate) use sent::{Former, Said, Sent};

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
    /// What a device sent by itself, and what it says.
    Said(Said),
    /// What a device sent by itself, which the profile does not know.
    Foreign(Frame),
    /// A value for a resource, and what is sent to set it.
    Sent { path: Path, value: Value, sent: Sent },
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
        Case::Said(said) => said.differences(profile),
        Case::Foreign(frame) => match profile.decode(frame) {
            Ok(_) => vec!["the profile knows this frame".to_owned()],
            Err(_) => Vec::new(),
        },
        Case::Sent { path, value, sent } => match profile.encode(*path, value) {
            Ok(encoded) => sent.differences(&encoded),
            Err(error) => vec![error.to_string()],
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
    compare(profile, &samples, expect)
}

/// Holds what a frame says against what it must say, both ways.
fn compare(profile: &CompiledProfile, samples: &[Sample], expect: &[(String, Expected)]) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, expected) in expect {
        let found = samples
            .iter()
            .find(|sample| name_of(profile, sample.point.0) == name);
        match found {
            None => differences.push(format!("{name} is not in the frame")),
            Some(found) if !expected.matches(&found.decoded) => {
                differences.push(format!(
                    "{name} is {}, expected {expected}",
                    shown(&found.decoded)
                ));
            }
            Some(_) => {}
        }
    }
    for found in samples {
        let name = name_of(profile, found.point.0);
        if !expect.iter().any(|(known, _)| known == name) {
            differences.push(format!(
                "the frame also says {name} = {}: expect it too",
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
