//! The bytes of a saved client: golden, at their bounds, damaged.

use coap_lite::CoapOption;
use proptest::prelude::*;

use super::{TEMPERATURE, config, observe, registered, send, start};
use crate::Value;
use crate::client::tests::peer::{Ask, Bench, code, number, payload, texts};
use crate::client::{Saved, SavedError, limits};

/// A client at its bounds.
fn crowded() -> Bench {
    let mut bench = registered();
    for i in 0..u16::try_from(limits::ATTRIBUTED_PATHS).unwrap() {
        bench.device.set(&format!("/3311/{i}/5851"), Value::Integer(1));
        let path = format!("/3311/{i}/5851");
        let query = "pmin=4000000000&pmax=4000000001&gt=1.5&lt=-1e0".replace("e0", "");
        assert_eq!(code(&bench.ask(&Ask::put(&path).query(&query))), "2.04");
    }
    bench.device.set("/3/0/14", Value::String("x".repeat(400)));
    for i in 0..u8::try_from(limits::OBSERVATIONS).unwrap() {
        bench.ask(&Ask::get("/3/0/14").observe(0).token(&[i, 1, 2, 3, 4, 5, 6, 7]));
    }
    bench
}

#[test]
fn a_client_at_its_bounds_is_saved_in_parts_of_a_bounded_size() {
    let mut bench = crowded();
    let saved = bench.save();
    let parts = saved.parts();
    assert!(parts.len() <= limits::SAVED_PARTS, "{}", parts.len());
    assert!(
        parts
            .iter()
            .all(|(_, bytes)| bytes.len() <= limits::SAVED_PART_BYTES)
    );
    let mut names: Vec<_> = parts.iter().map(|(name, _)| name.clone()).collect();
    names.dedup();
    assert_eq!(names.len(), parts.len());
    let read = Saved::from_parts(parts.iter().rev().map(|(_, bytes)| bytes.as_slice())).unwrap();
    let bench = bench.restarted(config(), &read);
    assert_eq!(bench.client.observed().len(), limits::OBSERVATIONS);
    let again = bench.client.save().parts();
    let lengths = |parts: &[(String, Vec<u8>)]| parts.iter().map(|(_, b)| b.len()).sum::<usize>();
    assert!(
        lengths(&again).abs_diff(lengths(&parts)) < 64,
        "all of it is there again"
    );
}

#[test]
fn more_parts_than_a_client_has_are_refused() {
    let bench = registered();
    let parts = bench.client.save().parts();
    let some = parts[0].1.as_slice();
    let many = Saved::from_parts(std::iter::repeat_n(some, limits::SAVED_PARTS + 1));
    assert!(matches!(many, Err(SavedError::TooMany(_))), "{many:?}");
    let long = vec![0; limits::SAVED_PART_BYTES + 1];
    assert!(Saved::from_parts([long.as_slice()]).is_err());
    assert_eq!(Saved::from_parts([]), Err(SavedError::Counters));
}

/// Written by hand from the table in `saved`: version 1; counters with ids up to 3172 of which 2048 are recent and
/// sequence numbers up to 65537.
const COUNTERS: &[u8] =
    b"\xA2\x00\x01\x01\xA4\x00\x19\x0C\x64\x01\x19\x08\x00\x02\xF4\x03\x1A\x00\x01\x00\x01";

#[test]
fn a_saved_client_is_read_by_hand_written_bytes() {
    let saved = Saved::from_parts([COUNTERS]).unwrap();
    let bench = registered();
    let now = bench.now;
    let mut bench = bench.restarted(config(), &saved);
    let register = start(&mut bench);
    assert_eq!(register.header.message_id, 3172);
    assert_eq!(now, bench.now);
    // A field 99 that is not known here.
    let mut newer = COUNTERS.to_vec();
    newer[0] = 0xA3;
    newer.extend(b"\x18\x63\x82\x01\x02");
    assert_eq!(Saved::from_parts([newer.as_slice()]), Ok(saved));
    let mut later = COUNTERS.to_vec();
    later[2] = 2;
    assert_eq!(Saved::from_parts([later.as_slice()]), Err(SavedError::Version(2)));
}

/// A registered client with one observation and one attribute, written by a CBOR encoder of another language from the
/// table in `saved`: registered as `rd/5a3f` with the list of objects of these tests, default pmin 5 written, Sends in
/// JSON; token ABCD at /3303/0/5700 as text, told 21.5; pmin 2 and gt 30.5 there.
const GOLDEN: [(&str, &str); 4] = [
    ("counters", "a2000101a40018e401188002f4031a00010001"),
    (
        "registration",
        "a40001021be232e76936127a8c03a5008262726464356133660101021a00015180031beeb3acf84e5d4a0f041bd0d6602e23\
     120a6304a300a5001a000151800105031a0001518004f505f401a4001a00015180031a0001518004f505f402f5",
    ),
    (
        "observations.0",
        "a200010581a40042abcd0183190ce70019164402000381a20083190ce70019164401820381fb4035800000000000",
    ),
    (
        "attributes.0",
        "a200010681a30083190ce700191644010205fb403e800000000000",
    ),
];

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn a_client_saved_by_an_earlier_version_goes_on() {
    let parts: Vec<_> = GOLDEN
        .iter()
        .map(|(name, hex)| ((*name).to_owned(), bytes_of(hex)))
        .collect();
    let saved = Saved::from_parts(parts.iter().map(|(_, bytes)| bytes.as_slice())).unwrap();
    assert_eq!(saved.parts(), parts);
    let mut bench = Bench::idle(config()).restarted(config(), &saved);
    let update = start(&mut bench);
    assert_eq!((update.header.message_id, update.payload.len()), (228, 0));
    assert_eq!(texts(&update, CoapOption::UriPath), ["rd", "5a3f"]);
    assert_eq!(texts(&update, CoapOption::UriQuery), Vec::<String>::new());
    bench.answer(&update, "2.04", &[]);
    assert_eq!(payload(&bench.ask(&Ask::get("/1/0/2"))), "5");
    bench.pass_secs(3);
    bench.change(TEMPERATURE, Value::Float(31.5));
    let notification = bench.take_sent();
    assert_eq!(
        (notification.get_token(), payload(&notification).as_str()),
        (&[0xAB, 0xCD][..], "31.5")
    );
    assert_eq!(number(&notification, CoapOption::Observe), Some(65_537));
    send(&mut bench, 1).unwrap();
    assert_eq!(number(&bench.take_sent(), CoapOption::ContentFormat), Some(110));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_bytes_are_refused_or_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<bool>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bench = registered();
        observe(&mut bench, TEMPERATURE, &[1]);
        observe(&mut bench, "/3311", &[2]);
        bench.ask(&Ask::put("/3303/0").query("pmin=10&pmax=60"));
        let mut parts: Vec<_> = bench.save().parts().into_iter().map(|(_, bytes)| bytes).collect();
        for (part, at, value) in damage {
            let part = part.get_mut(&mut parts);
            let at = at.index(part.len());
            if cut { part.truncate(at.max(1)) } else { part[at] = value }
        }
        prop_assert!(Saved::from_parts([noise.as_slice()]).is_err());
        if let Ok(saved) = Saved::from_parts(parts.iter().map(Vec::as_slice)) {
            let mut bench = bench.restarted(config(), &saved);
            bench.client.start(&bench.device, bench.now);
            bench.save();
            bench.change(TEMPERATURE, Value::Float(1.0));
            bench.pass_secs(300);
            let _ = bench.client.save().after_loss().parts();
        }
    }
}
