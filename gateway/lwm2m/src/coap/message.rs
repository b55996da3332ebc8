//! One CoAP message as a value, and its bytes.
//!
//! coap-lite reads and writes the bytes; what it lets pass and RFC 7252 calls a message format error is found
//! here. What a message means, and what to do about a wrong one, is the endpoint's to say.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};

use super::code::{Code, Method};
use super::limits::{DATAGRAM_MAX_BYTES, DATAGRAM_SENT_MAX_BYTES};
use super::option;

/// How a message is delivered (RFC 7252, section 4.2 and 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CON: repeated until acknowledged.
    Confirmable,
    /// NON: sent once.
    NonConfirmable,
    /// ACK: a confirmable message arrived.
    Acknowledgement,
    /// RST: a message arrived that nothing can be done with.
    Reset,
}

/// Why a datagram is not a message, or not one that belongs to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Less than a header.
    #[error("datagram is shorter than the header of 4 bytes")]
    Short,
    /// More than [`DATAGRAM_MAX_BYTES`].
    #[error("datagram is longer than {DATAGRAM_MAX_BYTES} bytes")]
    Long,
    /// Not version 1.
    #[error("version is not 1")]
    Version,
    /// A token length over 8, or one that the datagram does not hold.
    #[error("token length is over 8 or beyond the end")]
    Token,
    /// Options that run over the end or use a reserved length.
    #[error("options run over the end or use a reserved length")]
    Options,
    /// A payload marker and nothing behind it.
    #[error("payload marker without a payload")]
    EmptyPayload,
    /// Code 0.00 with a token, options or a payload.
    #[error("empty message with content")]
    EmptyWithContent,
    /// A code of class 1, 3, 6 or 7.
    #[error("code of a reserved class")]
    ReservedCode,
    /// A message type that this code cannot have, such as a request in an acknowledgement.
    #[error("message type does not fit the code")]
    Type,
    /// A piggybacked response whose token is not the request's.
    #[error("token of a piggybacked response is not that of the request")]
    ForeignToken,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How it is delivered.
    pub kind: Kind,
    /// Method, response code, or empty.
    pub code: Code,
    /// The message id.
    pub id: u16,
    /// The token, 0 to 8 bytes.
    pub token: Vec<u8>,
    /// Option numbers and values; those of one number in their order.
    pub options: Vec<(u16, Vec<u8>)>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// Returns a message without options and payload.
    pub const fn new(kind: Kind, code: Code, id: u16, token: Vec<u8>) -> Self {
        Self {
            kind,
            code,
            id,
            token,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Returns an empty message: an acknowledgement, a reset, or a ping.
    pub const fn empty(kind: Kind, id: u16) -> Self {
        Self::new(kind, Code::EMPTY, id, Vec::new())
    }

    /// Reads a message.
    pub fn parse(datagram: &[u8]) -> Result<Self, MessageError> {
        check_header(datagram)?;
        let packet = Packet::from_bytes(datagram).map_err(parse_error)?;
        let message = Self::from_packet(packet);
        message.check(datagram.len())?;
        Ok(message)
    }

    /// Writes the message, none where it is longer than [`DATAGRAM_SENT_MAX_BYTES`].
    pub fn emit(&self) -> Option<Vec<u8>> {
        let mut packet = Packet::new();
        packet.header.set_type(match self.kind {
            Kind::Confirmable => MessageType::Confirmable,
            Kind::NonConfirmable => MessageType::NonConfirmable,
            Kind::Acknowledgement => MessageType::Acknowledgement,
            Kind::Reset => MessageType::Reset,
        });
        packet.header.code = MessageClass::from(self.code.0);
        packet.header.message_id = self.id;
        // Eight is the most a token can have; coap-lite panics from sixteen on.
        packet.set_token(self.token.iter().copied().take(8).collect());
        for (number, value) in &self.options {
            packet.add_option(CoapOption::from(*number), value.clone());
        }
        packet.payload.clone_from(&self.payload);
        packet.to_bytes_with_limit(DATAGRAM_SENT_MAX_BYTES).ok()
    }

    /// Returns the message id of a confirmable message as far as a broken one still shows it: it gets a reset.
    pub fn confirmable_id(datagram: &[u8]) -> Option<u16> {
        let (header, _) = datagram.split_first_chunk::<4>()?;
        let [first, _, high, low] = *header;
        (first >> 4 == 0b0100).then(|| u16::from_be_bytes([high, low]))
    }

    /// Adds an option.
    pub fn add(&mut self, number: u16, value: Vec<u8>) {
        self.options.push((number, value));
    }

    /// Adds an option with an integer value.
    pub fn add_uint(&mut self, number: u16, value: u32) {
        self.add(number, option::encode_uint(value));
    }

    /// Returns the values of an option.
    pub fn values(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        self.options
            .iter()
            .filter(move |(n, _)| *n == number)
            .map(|(_, value)| value.as_slice())
    }

    /// Returns the integer of an option that comes at most once; a value of a wrong length is as none at all.
    pub fn uint(&self, number: u16) -> Option<u32> {
        let value = self.values(number).next()?;
        option::is_understood(number, 0, value.len())
            .then(|| option::decode_uint(value))
            .flatten()
    }

    /// Returns the text of a repeated option, empty parts left out; none where one is not UTF-8.
    pub fn texts(&self, number: u16) -> Option<Vec<String>> {
        self.values(number)
            .filter(|value| !value.is_empty())
            .map(|value| String::from_utf8(value.to_vec()).ok())
            .collect()
    }

    /// Returns the first critical option that is not understood (RFC 7252, section 5.4.1 and 5.4.5).
    pub fn unknown_critical(&self) -> Option<u16> {
        let mut previous = None;
        let mut occurrences = 0;
        self.options.iter().find_map(|(number, value)| {
            occurrences = if previous == Some(*number) {
                occurrences + 1
            } else {
                0
            };
            previous = Some(*number);
            let understood = option::is_understood(*number, occurrences, value.len());
            (option::is_critical(*number) && !understood).then_some(*number)
        })
    }

    /// Returns the method, none for a response and for a method that is not known.
    pub const fn method(&self) -> Option<Method> {
        Method::from_code(self.code)
    }

    fn from_packet(packet: Packet) -> Self {
        let kind = match packet.header.get_type() {
            MessageType::Confirmable => Kind::Confirmable,
            MessageType::NonConfirmable => Kind::NonConfirmable,
            MessageType::Acknowledgement => Kind::Acknowledgement,
            MessageType::Reset => Kind::Reset,
        };
        let options = packet
            .options()
            .flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone())))
            .collect();
        Self {
            kind,
            code: Code(u8::from(packet.header.code)),
            id: packet.header.message_id,
            token: packet.get_token().to_vec(),
            options,
            payload: packet.payload,
        }
    }

    fn check(&self, length: usize) -> Result<(), MessageError> {
        if self.code == Code::EMPTY {
            return if length == 4 {
                Ok(())
            } else {
                Err(MessageError::EmptyWithContent)
            };
        }
        if !self.code.is_request() && !self.code.is_response() {
            return Err(MessageError::ReservedCode);
        }
        // Options have one encoding only, so a byte more than they take is a marker without payload.
        if self.payload.is_empty() && self.encoded_options_len() + 4 + self.token.len() != length {
            return Err(MessageError::EmptyPayload);
        }
        let fits = match self.kind {
            Kind::Confirmable | Kind::NonConfirmable => true,
            Kind::Acknowledgement => self.code.is_response(),
            Kind::Reset => false,
        };
        if fits { Ok(()) } else { Err(MessageError::Type) }
    }

    fn encoded_options_len(&self) -> usize {
        let extended = |value: usize| match value {
            0..=12 => 0,
            13..=268 => 1,
            _ => 2,
        };
        let mut previous = 0;
        let mut total = 0;
        for (number, value) in &self.options {
            total += 1 + extended(usize::from(number - previous)) + extended(value.len()) + value.len();
            previous = *number;
        }
        total
    }
}

fn check_header(datagram: &[u8]) -> Result<(), MessageError> {
    if datagram.len() > DATAGRAM_MAX_BYTES {
        return Err(MessageError::Long);
    }
    let (header, _) = datagram.split_first_chunk::<4>().ok_or(MessageError::Short)?;
    if header[0] >> 6 == 1 {
        Ok(())
    } else {
        Err(MessageError::Version)
    }
}

fn parse_error(error: coap_lite::error::MessageError) -> MessageError {
    use coap_lite::error::MessageError as Error;
    match error {
        Error::InvalidHeader | Error::InvalidPacketLength => MessageError::Short,
        Error::InvalidTokenLength => MessageError::Token,
        Error::InvalidOptionDelta | Error::InvalidOptionLength => MessageError::Options,
    }
}
