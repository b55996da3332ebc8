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
const POST: Code = Code(2);
const PUT: Code = Code(3);
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

/// LwM2M messages as aiocoap 0.4.17 writes them: a Register and its answer, an observing read, a Write in TLV and the
/// first block of a Send.
fn aiocoap() -> Vec<Golden> {
    use Kind::{Acknowledgement, Confirmable};
    let path = |segments: &'static [&str]| segments.iter().map(|s| (option::URI_PATH, s.as_bytes()));
    let query = ["ep=cab-17", "lt=300", "lwm2m=1.1", "b=U"].map(|q| (option::URI_QUERY, q.as_bytes()));
    let format = |number: u16, value: &'static [u8]| (number, value);
    let token: &[u8] = &[0xa1, 0xb2, 0xc3, 0xd4];
    let register: Vec<_> = path(&["rd"])
        .chain([format(option::CONTENT_FORMAT, &[40])])
        .chain(query)
        .collect();
    let location: [(u16, &[u8]); 2] = [(option::LOCATION_PATH, b"rd"), (option::LOCATION_PATH, b"5a3f")];
    let observe: Vec<_> = [format(option::OBSERVE, b"")]
        .into_iter()
        .chain(path(&["3421", "0", "1"]))
        .chain([format(option::ACCEPT, &[112])])
        .collect();
    let write: Vec<_> = path(&["3413", "0", "3"])
        .chain([format(option::CONTENT_FORMAT, &[0x2d, 0x16])])
        .collect();
    let send: Vec<_> = path(&["dp"])
        .chain([
            format(option::CONTENT_FORMAT, &[112]),
            format(option::BLOCK1, &[0x1d]),
        ])
        .collect();
    let list: &[u8] = b"</3/0>,</3413/0>";
    vec![
        golden(
            &[
                0x44, 0x02, 0x01, 0x02, 0xa1, 0xb2, 0xc3, 0xd4, 0xb2, 0x72, 0x64, 0x11, 0x28,
            ],
            &[b"\x39ep=cab-17\x06lt=300\x09lwm2m=1.1\x03b=U\xff", list],
            message(Confirmable, POST, 0x0102, token, &register, list),
        ),
        golden(
            &[0x64, 0x41, 0x01, 0x02, 0xa1, 0xb2, 0xc3, 0xd4],
            &[b"\x82rd\x045a3f"],
            message(Acknowledgement, Code::CREATED, 0x0102, token, &location, b""),
        ),
        golden(
            &[0x41, 0x01, 0x03, 0x04, 0x77, 0x60, 0x54],
            &[b"3421\x010\x011\x61\x70"],
            message(Confirmable, GET, 0x0304, &[0x77], &observe, b""),
        ),
        golden(
            &[0x42, 0x03, 0x47, 0x11, 0x01, 0x02, 0xb4],
            &[b"3413\x010\x013\x12\x2d\x16\xff\xc1\x03\x64"],
            message(Confirmable, PUT, 0x4711, &[1, 2], &write, &[0xc1, 3, 0x64]),
        ),
        golden(
            &[
                0x41, 0x02, 0x02, 0x03, 0x09, 0xb2, 0x64, 0x70, 0x11, 0x70, 0xd1, 0x02, 0x1d, 0xff,
            ],
            &[&[b'x'; 16]],
            message(Confirmable, POST, 0x0203, &[9], &send, &[b'x'; 16]),
        ),
    ]
}

#[test]
fn the_messages_of_the_standards_and_of_another_stack_are_read_and_written() {
    for Golden { bytes, message } in rfc_7252()
        .into_iter()
        .chain(rfc_7641())
        .chain(rfc_7959())
        .chain(aiocoap())
    {
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
