//! Protocol data units: requests as bytes, and answers held against the request they are for (Modbus Application
//! Protocol Specification 1.1b3, sections 6 and 7).
//!
//! Function codes 01 to 06, 15 and 16. Which unit is meant and how a frame is told apart is the framing's business.

use std::fmt;

use ucifi_core::field::{BlockContent, RegisterWrite, Table, WriteFunction};

use super::limits;

/// Set in the function code of an exception.
const EXCEPTION: u8 = 0x80;
/// How a coil that is on is written by function code 05.
const COIL_ON: u16 = 0xFF00;

/// A request that a unit can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To read.
    Read(ReadRequest),
    /// To write.
    Write(WriteRequest),
}

/// A request to read consecutive words or bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The table.
    pub table: Table,
    /// The wire address of the first one.
    pub address: u16,
    /// How many.
    pub count: u16,
}

/// A request to write, known to fit a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRequest {
    function: WriteFunction,
    address: u16,
    content: BlockContent,
}

/// What a unit answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was read, as many as asked for.
    Content(BlockContent),
    /// The write was repeated faithfully.
    Written,
    /// No, and why.
    Exception(Exception),
}

/// The codes of section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exception {
    /// 01
    IllegalFunction,
    /// 02
    IllegalDataAddress,
    /// 03
    IllegalDataValue,
    /// 04
    ServerDeviceFailure,
    /// 05
    Acknowledge,
    /// 06
    ServerDeviceBusy,
    /// 08
    MemoryParityError,
    /// 0A
    GatewayPathUnavailable,
    /// 0B
    GatewayTargetDeviceFailedToRespond,
    /// Any other.
    Unknown(u8),
}

/// Why bytes are no answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// They are for another function.
    #[error("answer with function code {got:#04x}, {wanted:#04x} was asked")]
    Function {
        /// What they are for.
        got: u8,
        /// What was asked.
        wanted: u8,
    },
    /// They hold more or less than was asked for.
    #[error("answer of {got} bytes, {wanted} expected")]
    Length {
        /// How many bytes there are.
        got: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// The write that they repeat is another one.
    #[error("the answer repeats another write")]
    Echo,
}

/// Why a write cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Bits for a function that writes words, or the reverse.
    #[error("the function and the content are not of one kind")]
    Kind,
    /// More or fewer than the function can write.
    #[error("{count} to write, this function takes 1 to {max}")]
    Count {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: u16,
    },
    /// It runs over the last address.
    #[error("the write runs over address 65535")]
    Address,
}

impl Request {
    /// Returns the function code.
    pub fn function_code(&self) -> u8 {
        match self {
            Self::Read(read) => read_code(read.table),
            Self::Write(write) => write_code(write.function),
        }
    }

    /// Returns the bytes of the request.
    pub fn encode(&self) -> Vec<u8> {
        let mut pdu = vec![self.function_code()];
        match self {
            Self::Read(read) => {
                pdu.extend(read.address.to_be_bytes());
                pdu.extend(read.count.to_be_bytes());
            }
            Self::Write(write) => write.encode_into(&mut pdu),
        }
        pdu
    }

    /// Returns the length of the answer that is no exception.
    pub fn answer_len(&self) -> usize {
        match self {
            Self::Read(read) => 2 + read.content_len(),
            Self::Write(_) => 5,
        }
    }

    /// Reads an answer; whatever is not exactly one to this request is none.
    ///
    /// # Errors
    /// When the bytes answer another request, or nothing.
    pub fn answer(&self, pdu: &[u8]) -> Result<Answer, Mismatch> {
        let wanted = self.function_code();
        let (&got, body) = pdu.split_first().ok_or(Mismatch::Length {
            got: 0,
            wanted: self.answer_len(),
        })?;
        if got == wanted | EXCEPTION {
            return match *body {
                [code] => Ok(Answer::Exception(Exception::from(code))),
                _ => Err(Mismatch::Length {
                    got: pdu.len(),
                    wanted: 2,
                }),
            };
        }
        if got != wanted {
            return Err(Mismatch::Function { got, wanted });
        }
        if pdu.len() != self.answer_len() {
            return Err(Mismatch::Length {
                got: pdu.len(),
                wanted: self.answer_len(),
            });
        }
        match self {
            Self::Read(read) => read.content(body),
            Self::Write(write) => write.echo(body),
        }
    }
}

impl ReadRequest {
    /// Returns the address after the last one.
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }

    fn content_len(&self) -> usize {
        let count = usize::from(self.count);
        if self.table.is_bits() {
            count.div_ceil(8)
        } else {
            count * 2
        }
    }

    fn content(&self, body: &[u8]) -> Result<Answer, Mismatch> {
        let wanted = self.content_len();
        let (&stated, bytes) = body.split_first().ok_or(Mismatch::Length { got: 0, wanted })?;
        if usize::from(stated) != wanted || bytes.len() != wanted {
            return Err(Mismatch::Length {
                got: usize::from(stated),
                wanted,
            });
        }
        Ok(Answer::Content(if self.table.is_bits() {
            BlockContent::Bits(unpack(bytes).take(usize::from(self.count)).collect())
        } else {
            BlockContent::Words(words(bytes).collect())
        }))
    }
}

impl WriteRequest {
    /// Takes a write over from a profile.
    ///
    /// # Errors
    /// When no frame can carry it.
    pub fn new(write: &RegisterWrite) -> Result<Self, Unfit> {
        let count = write.content.len();
        let (bits, max) = match write.function {
            WriteFunction::SingleCoil => (true, 1),
            WriteFunction::SingleRegister => (false, 1),
            WriteFunction::MultipleCoils => (true, limits::WRITE_BITS),
            WriteFunction::MultipleRegisters => (false, limits::WRITE_REGISTERS),
        };
        if bits != matches!(write.content, BlockContent::Bits(_)) {
            return Err(Unfit::Kind);
        }
        if count == 0 || count > usize::from(max) {
            return Err(Unfit::Count { count, max });
        }
        if usize::from(write.address) + count > 0x1_0000 {
            return Err(Unfit::Address);
        }
        Ok(Self {
            function: write.function,
            address: write.address,
            content: write.content.clone(),
        })
    }

    /// Returns the wire address of the first one.
    pub fn address(&self) -> u16 {
        self.address
    }

    /// Returns what is written.
    pub fn content(&self) -> &BlockContent {
        &self.content
    }

    /// Returns the table that is written to.
    pub fn table(&self) -> Table {
        match self.function {
            WriteFunction::SingleCoil | WriteFunction::MultipleCoils => Table::Coils,
            WriteFunction::SingleRegister | WriteFunction::MultipleRegisters => Table::HoldingRegisters,
        }
    }

    /// Returns the address and the word that the echo repeats: the value, or how many.
    pub(super) fn echoed(&self) -> (u16, u16) {
        let many = u16::try_from(self.content.len()).expect("checked against the limits when it was made");
        let word = match (self.function, &self.content) {
            (WriteFunction::MultipleCoils | WriteFunction::MultipleRegisters, _) => many,
            (_, BlockContent::Bits(bits)) => bits.first().map_or(0, |&on| if on { COIL_ON } else { 0 }),
            (_, BlockContent::Words(words)) => words.first().copied().unwrap_or(0),
        };
        (self.address, word)
    }

    fn encode_into(&self, pdu: &mut Vec<u8>) {
        let (address, word) = self.echoed();
        pdu.extend(address.to_be_bytes());
        pdu.extend(word.to_be_bytes());
        if matches!(
            self.function,
            WriteFunction::SingleCoil | WriteFunction::SingleRegister
        ) {
            return;
        }
        let bytes = match &self.content {
            BlockContent::Bits(bits) => pack(bits),
            BlockContent::Words(words) => words.iter().flat_map(|w| w.to_be_bytes()).collect(),
        };
        pdu.push(u8::try_from(bytes.len()).expect("1968 bits or 123 words are 246 bytes"));
        pdu.extend(bytes);
    }

    fn echo(&self, body: &[u8]) -> Result<Answer, Mismatch> {
        let (address, word) = self.echoed();
        if words(body).eq([address, word]) {
            Ok(Answer::Written)
        } else {
            Err(Mismatch::Echo)
        }
    }
}

impl Exception {
    /// Returns the code.
    pub fn code(self) -> u8 {
        match self {
            Self::IllegalFunction => 0x01,
            Self::IllegalDataAddress => 0x02,
            Self::IllegalDataValue => 0x03,
            Self::ServerDeviceFailure => 0x04,
            Self::Acknowledge => 0x05,
            Self::ServerDeviceBusy => 0x06,
            Self::MemoryParityError => 0x08,
            Self::GatewayPathUnavailable => 0x0A,
            Self::GatewayTargetDeviceFailedToRespond => 0x0B,
            Self::Unknown(code) => code,
        }
    }
}

impl From<u8> for Exception {
    fn from(code: u8) -> Self {
        match code {
            0x01 => Self::IllegalFunction,
            0x02 => Self::IllegalDataAddress,
            0x03 => Self::IllegalDataValue,
            0x04 => Self::ServerDeviceFailure,
            0x05 => Self::Acknowledge,
            0x06 => Self::ServerDeviceBusy,
            0x08 => Self::MemoryParityError,
            0x0A => Self::GatewayPathUnavailable,
            0x0B => Self::GatewayTargetDeviceFailedToRespond,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for Exception {
    /// Writes the code in the standard's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IllegalFunction => "illegal function",
            Self::IllegalDataAddress => "illegal data address",
            Self::IllegalDataValue => "illegal data value",
            Self::ServerDeviceFailure => "server device failure",
            Self::Acknowledge => "acknowledge",
            Self::ServerDeviceBusy => "server device busy",
            Self::MemoryParityError => "memory parity error",
            Self::GatewayPathUnavailable => "gateway path unavailable",
            Self::GatewayTargetDeviceFailedToRespond => "gateway target device failed to respond",
            Self::Unknown(code) => return write!(f, "exception {code:#04x}"),
        })
    }
}

/// Returns how long an answer is by its first bytes, if they are those of an answer.
pub(super) fn stated_len(pdu: &[u8]) -> Stated {
    match *pdu {
        [] => Stated::More,
        [0x01..=0x04] => Stated::More,
        [0x01..=0x04, bytes, ..] if usize::from(bytes) + 2 <= limits::PDU_BYTES => {
            Stated::Bytes(usize::from(bytes) + 2)
        }
        [0x05 | 0x06 | 0x0F | 0x10, ..] => Stated::Bytes(5),
        [0x81..=0x86 | 0x8F | 0x90, ..] => Stated::Bytes(2),
        [_, ..] => Stated::Nothing,
    }
}

/// What the first bytes of an answer say about its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stated {
    /// It has so many bytes.
    Bytes(usize),
    /// More bytes are needed to tell.
    More,
    /// No answer of ours begins like that.
    Nothing,
}

/// Returns the function code that reads a table.
pub(super) fn read_code(table: Table) -> u8 {
    match table {
        Table::Coils => 0x01,
        Table::DiscreteInputs => 0x02,
        Table::HoldingRegisters => 0x03,
        Table::InputRegisters => 0x04,
    }
}

fn write_code(function: WriteFunction) -> u8 {
    match function {
        WriteFunction::SingleCoil => 0x05,
        WriteFunction::SingleRegister => 0x06,
        WriteFunction::MultipleCoils => 0x0F,
        WriteFunction::MultipleRegisters => 0x10,
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

fn unpack(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
}

fn pack(bits: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, &on| byte << 1 | u8::from(on));
    bits.chunks(8).map(byte).collect()
}
