//! Messages as the standards print them, read and written.

use crate::coap::message::{Kind, Message, MessageError};
use crate::coap::{Code, option};

struct Golden {
    bytes: Vec<u8>,
    message: Message,
}

fn golden(head: &[u8], rest: &[&[u8]], message: Message) -> Golden {
    Golden {
        bytes: [head, &rest.concat()].concat(),
        message,
    }
}

fn message(
    kind: Kind,
    code: Code,
    id: u16,
    token: &[u8],
    options: &[(u16, &[u8])],
    payload: &[u8],
) -> Message {
    let options = options
        .iter()
        .map(|(number, value)| (*number, value.to_vec()))
        .collect();
    Message {
        kind,
        code,
        id,
        token: token.to_vec(),
        options,
        payload: payload.to_vec(),
    }
}

const GET: Code = Code(1);
const TEMPERATURE: (u16, &[u8]) = (option::URI_PATH, b"temperature");

/// RFC 7252, Appendix A: figures 16 and 17 print the bytes, 20 (separate response) and 22 (NON) the header fields.
fn rfc_7252() -> Vec<Golden> {
    use Kind::{Acknowledgement, Confirmable, NonConfirmable};
    let path: &[u8] = b"\xbbtemperature";
    let value: &[u8] = b"\xff22.3 C";
    let plain = |kind, code, id, token: &[u8], payload: &[u8]| message(kind, code, id, token, &[], payload);
    let get = |kind, id, token: &[u8]| message(kind, GET, id, token, &[TEMPERATURE], b"");
    vec![
        golden(&[0x40, 0x01, 0x7d, 0x34], &[path], get(Confirmable, 0x7d34, &[])),
        golden(
            &[0x60, 0x45, 0x7d, 0x34],
            &[value],
            plain(Acknowledgement, Code::CONTENT, 0x7d34, &[], b"22.3 C"),
        ),
        golden(
            &[0x41, 0x01, 0x7d, 0x35, 0x20],
            &[path],
            get(Confirmable, 0x7d35, &[0x20]),
        ),
        golden(
            &[0x61, 0x45, 0x7d, 0x35, 0x20],
            &[value],
            plain(Acknowledgement, Code::CONTENT, 0x7d35, &[0x20], b"22.3 C"),
        ),
        golden(
            &[0x60, 0x00, 0x7d, 0x38],
            &[],
            Message::empty(Acknowledgement, 0x7d38),
        ),
        golden(
            &[0x41, 0x45, 0xad, 0x7b, 0x53],
            &[value],
            plain(Confirmable, Code::CONTENT, 0xad7b, &[0x53], b"22.3 C"),
        ),
        golden(
            &[0x51, 0x01, 0x7d, 0x40, 0x75],
            &[path],
            get(NonConfirmable, 0x7d40, &[0x75]),
        ),
    ]
}

/// RFC 7641, Appendix A: registration, first response and a notification, the header fields as printed.
fn rfc_7641() -> Vec<Golden> {
    let observed = |kind, id, observe: u8, payload| {
        let options: [(u16, &[u8]); 2] = [(option::OBSERVE, &[observe]), (option::MAX_AGE, &[15])];
        message(kind, Code::CONTENT, id, &[0x4a], &options, payload)
    };
    let register = message(
        Kind::Confirmable,
        GET,
        0x1633,
        &[0x4a],
        &[(option::OBSERVE, b""), TEMPERATURE],
        b"",
    );
    vec![
        golden(
            &[0x41, 0x01, 0x16, 0x33, 0x4a, 0x60],
            &[b"\x5btemperature"],
            register,
        ),
        golden(
            &[0x61, 0x45, 0x16, 0x33, 0x4a, 0x61, 9, 0x81, 15],
            &[b"\xff18.5 Cel"],
            observed(Kind::Acknowledgement, 0x1633, 9, b"18.5 Cel"),
        ),
        golden(
            &[0x51, 0x45, 0x7b, 0x50, 0x4a, 0x61, 16, 0x81, 15],
            &[b"\xff19.2 Cel"],
            observed(Kind::NonConfirmable, 0x7b50, 16, b"19.2 Cel"),
        ),
    ]
}

/// RFC 7959, section 3: "a Block2 Option value of 33 would be shown as 2:2/0/32 and a Block1 Option value of 59 as
/// 1:3/1/128"; the messages around them are those of figures 3 and 7.
fn rfc_7959() -> Vec<Golden> {
    let get = message(
        Kind::Confirmable,
        GET,
        1234,
        &[],
        &[(option::URI_PATH, b"status"), (option::BLOCK2, &[33])],
        b"",
    );
    let more = message(
        Kind::Acknowledgement,
        Code::CONTINUE,
        1237,
        &[],
        &[(option::BLOCK1, &[59])],
        b"",
    );
    vec![
        golden(&[0x40, 0x01, 0x04, 0xd2], &[b"\xb6status", &[0xc1, 33]], get),
        golden(&[0x60, 0x5f, 0x04, 0xd5, 0xd1, 27 - 13, 59], &[], more),
    ]
}

#[test]
fn the_messages_of_the_standards_are_read_and_written() {
    for Golden { bytes, message } in rfc_7252().into_iter().chain(rfc_7641()).chain(rfc_7959()) {
        assert_eq!(Message::parse(&bytes).as_ref(), Ok(&message));
        assert_eq!(message.emit(), Some(bytes));
    }
}

#[test]
fn what_is_no_message_says_why() {
    let rows: [(&[u8], MessageError); 13] = [
        (&[], MessageError::Short),
        (&[0x40, 1, 0], MessageError::Short),
        (&[0x00, 1, 0, 1], MessageError::Version),
        (&[0x49, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], MessageError::Token),
        (&[0x44, 1, 0, 1, 1, 2, 3], MessageError::Token),
        (&[0x40, 1, 0, 1, 0xf0], MessageError::Options),
        (&[0x40, 1, 0, 1, 0x0f], MessageError::Options),
        (&[0x40, 1, 0, 1, 0xb3, b'a'], MessageError::Options),
        (&[0x40, 1, 0, 1, 0xb1, 0xff, 0xff], MessageError::EmptyPayload),
        (&[0x41, 0, 0, 1, 7], MessageError::EmptyWithContent),
        (&[0x40, 0x21, 0, 1], MessageError::ReservedCode),
        (&[0x60, 1, 0, 1], MessageError::Type),
        (&[0x70, 0x45, 0, 1], MessageError::Type),
    ];
    for (bytes, error) in rows {
        assert_eq!(Message::parse(bytes), Err(error), "{bytes:02x?}");
    }
    let option_that_ends_in_ff: &[u8] = &[0x40, 1, 0, 1, 0xb1, 0xff];
    assert!(Message::parse(option_that_ends_in_ff).is_ok());
    assert_eq!(Message::parse(&[0x40; 4097]), Err(MessageError::Long));
}
