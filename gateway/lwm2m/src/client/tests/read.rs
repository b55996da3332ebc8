//! Read at every level and in every format.

use coap_lite::MessageType;

use super::peer::{Ask, Bench, code, format_of, payload};
use crate::Value;

const TEXT: u16 = 0;
const OPAQUE: u16 = 42;
const JSON: u16 = 110;
const CBOR: u16 = 112;
const TLV: u16 = 11542;

#[test]
fn a_read_is_answered_in_the_format_that_the_server_accepts() {
    // TLV: LwM2M Core 1.1, section 7.4.3, tables of /3/0 (resource 9 and 7 of it). SenML: section 7.4.4 and RFC 8428.
    let rows: &[(&str, Option<u16>, u16, &[u8])] = &[
        ("/3/0/0", Some(TEXT), TEXT, b"Open Mobile Alliance"),
        ("/3/0/0", None, TEXT, b"Open Mobile Alliance"),
        ("/3303/0/5700", None, TEXT, b"21.5"),
        ("/3311/0/30", None, OPAQUE, b"\xCA\xFE"),
        ("/3311/0/30", Some(OPAQUE), OPAQUE, b"\xCA\xFE"),
        ("/3311/0/30", Some(TEXT), TEXT, b"yv4="),
        ("/3/0/7/1", None, TEXT, b"5000"),
        ("/3/0/9", Some(TLV), TLV, b"\xC1\x09\x64"),
        (
            "/3/0/7",
            Some(TLV),
            TLV,
            b"\x88\x07\x08\x42\x00\x0E\xD8\x42\x01\x13\x88",
        ),
        ("/3/0/9", Some(JSON), JSON, br#"[{"bn":"/3/0/9","v":100}]"#),
        ("/3/0/9", Some(CBOR), CBOR, b"\x81\xA2\x21\x66/3/0/9\x02\x18\x64"),
        ("/3340", Some(TLV), TLV, b""),
        ("/3340", Some(JSON), JSON, b"[]"),
    ];
    let mut bench = Bench::default();
    for (path, accept, format, expected) in rows {
        let mut ask = Ask::get(path);
        if let Some(accept) = accept {
            ask = ask.accept(*accept);
        }
        let answer = bench.ask(&ask);
        assert_eq!(code(&answer), "2.05", "{path} {accept:?} {}", payload(&answer));
        assert_eq!(format_of(&answer), Some((*format).into()), "{path} {accept:?}");
        assert_eq!(
            answer.payload,
            *expected,
            "{path} {accept:?} {:?}",
            String::from_utf8_lossy(&answer.payload)
        );
        assert_eq!(answer.header.get_type(), MessageType::Acknowledgement);
    }
}

#[test]
fn several_values_go_as_senml_cbor_when_the_server_names_no_format() {
    let mut bench = Bench::default();
    for path in ["/3", "/3/0", "/3/0/7", "/1/0"] {
        assert_eq!(format_of(&bench.ask(&Ask::get(path))), Some(112), "{path}");
    }
}

#[test]
fn a_read_of_more_than_a_value_leaves_out_what_cannot_be_read() {
    let mut bench = Bench::default();
    bench.device.set("/3311/0/33", Value::String("secret".to_owned()));
    let answer = bench.ask(&Ask::get("/3311").accept(JSON));
    assert!(!payload(&answer).contains("secret"));
    for name in ["0/5850", "0/5851", "1/5850", "1/5851"] {
        assert!(payload(&answer).contains(name), "{name} in {}", payload(&answer));
    }
}
