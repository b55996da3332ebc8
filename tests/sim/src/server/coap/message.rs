//! One CoAP message, on the codec of coap-lite.

use coap_lite::{CoapOption, MessageType, Packet};

use crate::server::request::Code;

/// Option numbers (RFC 7252, section 12.2; RFC 7641; RFC 7959).
pub(in crate::server) mod option {
    pub(in crate::server) const ETAG: u16 = 4;
    pub(in crate::server) const OBSERVE: u16 = 6;
    pub(in crate::server) const LOCATION_PATH: u16 = 8;
    pub(in crate::server) const URI_PATH: u16 = 11;
    pub(in crate::server) const CONTENT_FORMAT: u16 = 12;
    pub(in crate::server) const MAX_AGE: u16 = 14;
    pub(in crate::server) const URI_QUERY: u16 = 15;
    pub(in crate::server) const ACCEPT: u16 = 17;
    pub(in crate::server) const BLOCK2: u16 = 23;
    pub(in crate::server) const BLOCK1: u16 = 27;
}

/// The four types of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Kind {
    Confirmable,
    NonConfirmable,
    Acknowledgement,
    Reset,
}

/// A message as its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Message {
    pub(in crate::server) kind: Kind,
    pub(in crate::server) code: u8,
    pub(in crate::server) id: u16,
    pub(in crate::server) token: Vec<u8>,
    pub(in crate::server) options: Vec<(u16, Vec<u8>)>,
    pub(in crate::server) payload: Vec<u8>,
}

/// A Block1 or Block2 option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Block {
    pub(in crate::server) number: u32,
    pub(in crate::server) more: bool,
    pub(in crate::server) size: usize,
}

impl Message {
    pub(in crate::server) const fn new(kind: Kind, code: u8, id: u16) -> Self {
        Self {
            kind,
            code,
            id,
            token: Vec::new(),
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Reads a datagram; what RFC 7252 calls a message format error is refused.
    pub(in crate::server) fn parse(datagram: &[u8]) -> Result<Self, String> {
        let packet = Packet::from_bytes(datagram).map_err(|error| error.to_string())?;
        if packet.header.get_version() != 1 {
            return Err(format!("CoAP version {}", packet.header.get_version()));
        }
        let code = u8::from(packet.header.code);
        if code == 0 && datagram.len() != 4 {
            return Err("an empty message with content".to_owned());
        }
        let options = packet
            .options()
            .flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone())))
            .collect();
        Ok(Self {
            kind: kind(packet.header.get_type()),
            code,
            id: packet.header.message_id,
            token: packet.get_token().to_vec(),
            options,
            payload: packet.payload.clone(),
        })
    }

    pub(in crate::server) fn to_bytes(&self) -> Vec<u8> {
        let mut packet = Packet::new();
        packet.header.set_version(1);
        packet.header.set_type(message_type(self.kind));
        packet.header.code = self.code.into();
        packet.header.message_id = self.id;
        packet.set_token(self.token.clone());
        for (number, value) in &self.options {
            packet.add_option(CoapOption::from(*number), value.clone());
        }
        packet.payload.clone_from(&self.payload);
        packet
            .to_bytes_unlimited()
            .expect("a message without a size limit can be written")
    }

    pub(in crate::server) const fn is_request(&self) -> bool {
        self.code >= 1 && self.code < 32
    }

    pub(in crate::server) const fn is_response(&self) -> bool {
        self.code >= 64
    }

    pub(in crate::server) const fn response_code(&self) -> Code {
        Code::from_byte(self.code)
    }

    pub(in crate::server) fn texts(&self, number: u16) -> Vec<String> {
        let of_number = self.options.iter().filter(|(n, _)| *n == number);
        of_number
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    pub(in crate::server) fn bytes(&self, number: u16) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|(n, _)| *n == number)
            .map(|(_, value)| value.as_slice())
    }

    pub(in crate::server) fn uint(&self, number: u16) -> Option<u32> {
        let value = self.bytes(number)?;
        let fits = value.len() <= 4;
        fits.then(|| value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    pub(in crate::server) fn content_format(&self) -> Option<u16> {
        self.uint(option::CONTENT_FORMAT)
            .and_then(|number| u16::try_from(number).ok())
    }

    pub(in crate::server) fn block(&self, number: u16) -> Option<Block> {
        let value = self.uint(number)?;
        let size = 1 << ((value & 7) + 4);
        Some(Block {
            number: value >> 4,
            more: value & 8 != 0,
            size,
        })
    }

    pub(in crate::server) fn push_uint(&mut self, number: u16, value: u32) {
        let bytes = value.to_be_bytes();
        let leading = bytes.iter().take_while(|byte| **byte == 0).count();
        self.options.push((number, bytes[leading..].to_vec()));
    }

    pub(in crate::server) fn push_texts(&mut self, number: u16, texts: &[String]) {
        self.options
            .extend(texts.iter().map(|text| (number, text.clone().into_bytes())));
    }

    pub(in crate::server) fn push_block(&mut self, number: u16, block: Block) {
        let exponent = block.size.trailing_zeros().saturating_sub(4);
        self.push_uint(number, block.number << 4 | u32::from(block.more) << 3 | exponent);
    }
}

const fn kind(message_type: MessageType) -> Kind {
    match message_type {
        MessageType::Confirmable => Kind::Confirmable,
        MessageType::NonConfirmable => Kind::NonConfirmable,
        MessageType::Acknowledgement => Kind::Acknowledgement,
        MessageType::Reset => Kind::Reset,
    }
}

const fn message_type(kind: Kind) -> MessageType {
    match kind {
        Kind::Confirmable => MessageType::Confirmable,
        Kind::NonConfirmable => MessageType::NonConfirmable,
        Kind::Acknowledgement => MessageType::Acknowledgement,
        Kind::Reset => MessageType::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7252, appendix A, figure 16: a confirmable GET for /temperature with message id 0x7d34.
    #[test]
    fn the_request_of_the_rfc_is_read_and_written_as_it_stands_there() {
        let bytes = [&[0x40, 0x01, 0x7d, 0x34, 0xbb][..], b"temperature"].concat();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(
            (message.kind, message.code, message.id),
            (Kind::Confirmable, 1, 0x7d34)
        );
        assert_eq!(message.texts(option::URI_PATH), ["temperature"]);
        assert_eq!(message.to_bytes(), bytes);
    }

    // RFC 7959, section 3.1, figure 2: the option value of 2:0/1/128 is 0x0b, of 2:1/0/64 is 0x12.
    #[test]
    fn block_options_are_read_and_written_as_the_rfc_gives_them() {
        for (value, block) in [
            (
                0x0b,
                Block {
                    number: 0,
                    more: true,
                    size: 128,
                },
            ),
            (
                0x12,
                Block {
                    number: 1,
                    more: false,
                    size: 64,
                },
            ),
        ] {
            let mut message = Message::new(Kind::Acknowledgement, 69, 1);
            message.push_block(option::BLOCK2, block);
            assert_eq!(message.options, [(option::BLOCK2, vec![value])]);
            assert_eq!(message.block(option::BLOCK2), Some(block));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &b""[..],
            b"\x40",
            b"\x80\x01\x00\x01",
            b"\x40\x00\x00\x01\x01",
            b"\x4f\x01\x00\x01",
        ] {
            assert!(Message::parse(bytes).is_err(), "{bytes:02x?}");
        }
    }
}
