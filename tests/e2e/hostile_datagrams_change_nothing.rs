//! What no server says, and what a server may say but not get.

use std::time::Duration;

use lwm2m_client::{Path, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::field::Table;
use ucifi_core::{EndpointId, EndpointState, Quality};
use ucifi_sim::cabinet::{Cabinet, Plan};
use ucifi_sim::server::{Code, RawRequest, ServerRequest, content_format};

const SECOND: Duration = Duration::from_secs(1);
const RELAYS: &str = "cab-17-relays";

fn cabinet() -> Cabinet {
    let mut cabinet = Plan::new(1)
        .with_meter("meter-1", 3)
        .with_relays("relays", 4)
        .build();
    cabinet.run_for(SECOND * 20);
    cabinet
}

fn is_unharmed(cabinet: &mut Cabinet) {
    cabinet.run_for(SECOND * 30);
    let endpoints = cabinet.gateway().endpoints();
    assert!(
        endpoints
            .iter()
            .all(|endpoint| endpoint.state == EndpointState::Registered),
        "{endpoints:?}"
    );
    assert_eq!(cabinet.server().clients().len(), 3);
    let coils = cabinet
        .line()
        .unit(4)
        .expect("the board is on the line")
        .registers();
    assert!((0..8).all(|channel| coils.bit(Table::Coils, channel) == Some(false)));
    let voltage = cabinet.value("meter-1", Path::resource(3421, 0, 1));
    assert!(
        matches!(voltage, Some((Value::Float(_), Quality::Good))),
        "{voltage:?}"
    );
    let path = Path::resource(3413, 0, 3);
    let entries = vec![lwm2m_client::format::Entry {
        path,
        value: Value::Integer(100),
    }];
    let mode = lwm2m_client::client::WriteMode::Replace;
    let write = ServerRequest::Write {
        mode,
        path,
        entries,
        format: content_format::TLV,
    };
    assert_eq!(
        cabinet.ask(RELAYS, write).map(|answer| answer.code),
        Ok(Code::CHANGED)
    );
}

#[test]
fn random_bytes_change_nothing() {
    let mut cabinet = cabinet();
    let mut randomness = StdRng::seed_from_u64(1);
    for _ in 0..5_000 {
        let length = randomness.random_range(0..200);
        let mut datagram: Vec<u8> = (0..length).map(|_| randomness.random()).collect();
        // A Write of a random body is no hostile datagram but a server's right: no PUT, POST or iPATCH.
        if let Some(code) = datagram.get_mut(1) {
            *code = if matches!(*code, 2 | 3 | 7) { 1 } else { *code };
        }
        cabinet.inject(EndpointId(randomness.random_range(0..3)), &datagram);
    }
    is_unharmed(&mut cabinet);
}

#[test]
fn datagrams_for_endpoints_that_are_none_change_nothing() {
    let mut cabinet = cabinet();
    for endpoint in [3, 4, u32::MAX] {
        cabinet.inject(EndpointId(endpoint), &[0x40, 0x01, 0x00, 0x01]);
    }
    is_unharmed(&mut cabinet);
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut cabinet = cabinet();
    for id in 0..=u16::MAX {
        let [high, low] = id.to_be_bytes();
        for (kind, code) in [(0x60, 0x44), (0x70, 0x00), (0x60, 0x84)] {
            if id % 16 == 0 {
                cabinet.inject(EndpointId(2), &[kind, code, high, low]);
            }
        }
    }
    is_unharmed(&mut cabinet);
}

fn raw(method: u8, path: &[&str]) -> RawRequest {
    let path = path.iter().map(|segment| (*segment).to_owned()).collect();
    RawRequest {
        method,
        path,
        ..RawRequest::default()
    }
}

fn wrong_reads() -> Vec<(RawRequest, Code)> {
    let (get, fetch) = (1, 5);
    let with_unknown_accept = RawRequest {
        accept: Some(60_000),
        ..raw(get, &["3", "0", "0"])
    };
    // Option 9 is critical and unknown here.
    let with_unknown_option = RawRequest {
        options: vec![(9, vec![1])],
        ..raw(get, &["3", "0"])
    };
    vec![
        (raw(get, &["9999"]), Code::NOT_FOUND),
        (raw(get, &["lamp"]), Code::NOT_FOUND),
        (raw(get, &["3413", "0", "3", "0", "0"]), Code::METHOD_NOT_ALLOWED),
        (raw(get, &["65535"]), Code::METHOD_NOT_ALLOWED),
        (raw(get, &["0"]), Code::new(4, 1)),
        (raw(fetch, &[]), Code::METHOD_NOT_ALLOWED),
        (with_unknown_accept, Code::new(4, 6)),
        (with_unknown_option, Code::BAD_OPTION),
    ]
}

fn wrong_changes() -> Vec<(RawRequest, Code)> {
    let (post, put, delete) = (2, 3, 4);
    let relay = ["3413", "0", "3"];
    let body = |format, payload: &[u8]| RawRequest {
        content_format: Some(format),
        payload: payload.to_vec(),
        ..raw(put, &relay)
    };
    let attribute = |text: &str| RawRequest {
        query: vec![text.to_owned()],
        ..raw(put, &relay)
    };
    vec![
        (body(content_format::TLV, &[0xff; 40]), Code::BAD_REQUEST),
        (
            body(content_format::SENML_CBOR, &[0x9f; 2_000]),
            Code::BAD_REQUEST,
        ),
        (body(content_format::SENML_JSON, b"{["), Code::BAD_REQUEST),
        (body(content_format::TEXT, b"loud"), Code::BAD_REQUEST),
        (body(61_000, b"1"), Code::UNSUPPORTED_CONTENT_FORMAT),
        (
            body(content_format::TEXT, &[b'1'; 200_000]),
            Code::REQUEST_ENTITY_TOO_LARGE,
        ),
        (attribute("pmin=-1"), Code::BAD_REQUEST),
        (attribute("loud=1"), Code::BAD_REQUEST),
        (raw(post, &["3413", "0", "2"]), Code::METHOD_NOT_ALLOWED),
        (raw(delete, &["3413", "0"]), Code::METHOD_NOT_ALLOWED),
        (raw(delete, &["3413"]), Code::METHOD_NOT_ALLOWED),
    ]
}

#[test]
fn wrong_requests_get_the_code_that_says_so() {
    let mut cabinet = cabinet();
    let mut wrong = Vec::new();
    for (request, code) in wrong_reads().into_iter().chain(wrong_changes()) {
        let shown = format!(
            "{} {:?} {:?}",
            request.method, request.path, request.content_format
        );
        let answer = cabinet.ask(RELAYS, ServerRequest::Raw(request));
        if answer.as_ref().map(|answer| answer.code) != Ok(code) {
            let got = answer.map(|answer| format!("{} {}", answer.code, answer.text()));
            wrong.push(format!("{shown}: {got:?} instead of {code}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    is_unharmed(&mut cabinet);
}
