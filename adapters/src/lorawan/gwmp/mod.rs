//! The gateway message protocol: what packet forwarders and a network server say to each other over UDP (PROTOCOL.TXT of
//! Lora-net/packet_forwarder, protocol versions 1 and 2; PROTOCOL.md of Lora-net/sx1302_hal, revision 1.6).
//!
//! Decoding takes any bytes, and takes what forwarders in the field really send: numbers as text, missing and unknown
//! fields, base64 of either alphabet with or without padding. A frame that cannot be used costs the others in its
//! datagram nothing.

mod lenient;
mod push_data;
mod tx_ack;
mod txpk;

#[cfg(test)]
mod tests;

use super::ForwarderId;
use super::forwarders::limits;

pub use push_data::{PushData, Rxpk, Stat};
pub use tx_ack::TxAck;
pub use txpk::Txpk;

/// The identifiers of the datagrams (section 3.2 ff.).
mod identifier {
    pub(super) const PUSH_DATA: u8 = 0x00;
    pub(super) const PUSH_ACK: u8 = 0x01;
    pub(super) const PULL_DATA: u8 = 0x02;
    pub(super) const PULL_RESP: u8 = 0x03;
    pub(super) const PULL_ACK: u8 = 0x04;
    pub(super) const TX_ACK: u8 = 0x05;
}

/// The version of the protocol that a forwarder speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// It does not say what became of a frame that it was to send.
    V1,
    /// It does.
    V2,
}

impl Version {
    const fn byte(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Two bytes that an answer repeats, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub [u8; 2]);

/// A datagram from a forwarder.
#[derive(Clone, Debug, PartialEq)]
pub struct Datagram {
    /// The version that it speaks.
    pub version: Version,
    /// What the answer repeats, or, in a TX_ACK, what the request had.
    pub token: Token,
    /// Who it is.
    pub forwarder: ForwarderId,
    /// What it says.
    pub content: Content,
}

/// What a forwarder says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// What it has heard, and how it is.
    PushData(PushData),
    /// That it can be reached at the address it sends this from.
    PullData,
    /// What became of a frame that it was to send.
    TxAck(TxAck),
}

/// Why a datagram cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is too short or too long.
    #[error("datagram of {0} bytes, 12 to {max} expected", max = limits::DATAGRAM_BYTES)]
    Length(usize),
    /// The first byte is not a version that is spoken here.
    #[error("protocol version {0}, 1 or 2 expected")]
    Version(u8),
    /// The fourth byte is not the identifier of something that a forwarder sends.
    #[error("identifier {0:#04x} is not one of a forwarder's")]
    Identifier(u8),
    /// The rest is not the JSON object that belongs there.
    #[error("body is not the JSON object of its datagram")]
    Json,
}

/// Decodes a datagram from a forwarder.
///
/// # Errors
/// When it is not one.
pub fn decode(bytes: &[u8]) -> Result<Datagram, DecodeError> {
    let length = bytes.len();
    if length > limits::DATAGRAM_BYTES {
        return Err(DecodeError::Length(length));
    }
    let Some((&[version, first, second, identifier], rest)) = bytes.split_first_chunk() else {
        return Err(DecodeError::Length(length));
    };
    let version = match version {
        1 => Version::V1,
        2 => Version::V2,
        other => return Err(DecodeError::Version(other)),
    };
    let (forwarder, body) = rest.split_first_chunk().ok_or(DecodeError::Length(length))?;
    let content = match identifier {
        identifier::PUSH_DATA => Content::PushData(push_data::decode(body)?),
        identifier::PULL_DATA => Content::PullData,
        identifier::TX_ACK => Content::TxAck(tx_ack::decode(body)?),
        other => return Err(DecodeError::Identifier(other)),
    };
    Ok(Datagram {
        version,
        token: Token([first, second]),
        forwarder: ForwarderId(*forwarder),
        content,
    })
}

/// Encodes the acknowledgement of a PUSH_DATA.
pub const fn push_ack(version: Version, token: Token) -> [u8; 4] {
    header(version, token, identifier::PUSH_ACK)
}

/// Encodes the acknowledgement of a PULL_DATA.
pub const fn pull_ack(version: Version, token: Token) -> [u8; 4] {
    header(version, token, identifier::PULL_ACK)
}

/// Encodes a PULL_RESP: a frame to send.
pub fn pull_resp(version: Version, token: Token, txpk: &Txpk<'_>) -> Vec<u8> {
    let mut datagram = header(version, token, identifier::PULL_RESP).to_vec();
    datagram.extend(txpk.encode());
    datagram
}

const fn header(version: Version, token: Token, identifier: u8) -> [u8; 4] {
    [version.byte(), token.0[0], token.0[1], identifier]
}
