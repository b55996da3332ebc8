//! Read, Write, Execute, Create and Delete: formats, checks, and every response code.

use super::device::instance_of;
use super::peer::{Ask, Bench, code, number, payload};
use crate::client::{Event, Failure, FailureCode, Operation, Response, WriteMode, limits};
use crate::format::Entry;
use crate::{InstanceId, ObjectId, Path, Value};

const TEXT: u16 = 0;
const OPAQUE: u16 = 42;
const JSON: u16 = 110;
const CBOR: u16 = 112;
const TLV: u16 = 11542;

#[test]
fn a_refused_read_has_its_code_and_changes_nothing() {
    check_refusals(&[
        (Ask::get("/"), "4.05"),
        (Ask::get("/0"), "4.01"),
        (Ask::get("/0/0/5"), "4.01"),
        (Ask::get("/21/0"), "4.01"),
        (Ask::get("/23/0"), "4.01"),
        (Ask::get("/4"), "4.04"),
        (Ask::get("/3/1"), "4.04"),
        (Ask::get("/3/0/99"), "4.04"),
        (Ask::get("/3/0/14"), "4.04"),
        (Ask::get("/3/0/7/9"), "4.04"),
        (Ask::get("/3/0/9/0"), "4.04"),
        (Ask::get("/3/0/4"), "4.05"),
        (Ask::get("/3311/0/33"), "4.05"),
        (Ask::get("/3/0/9").accept(60), "4.06"),
        (Ask::get("/3/0").accept(11543), "4.06"),
        (Ask::get("/3/0").accept(TEXT), "4.06"),
        (Ask::get("/3/0/7").accept(TEXT), "4.06"),
        (Ask::get("/3/0/9").accept(OPAQUE), "4.06"),
        (Ask::get("/d01/3/0"), "4.04"),
        (Ask::get("/.well-known/core"), "4.04"),
        (Ask::get("/bs"), "4.04"),
        (Ask::get("/3/0/7/0/0"), "4.05"),
        (Ask::get("/3/x"), "4.05"),
        (Ask::get("/65535"), "4.05"),
        (Ask::get("/03"), "4.05"),
    ]);
}

#[test]
fn a_refused_discover_has_its_code_and_changes_nothing() {
    check_refusals(&[
        (Ask::get("/").accept(40), "4.05"),
        (Ask::get("/0").accept(40), "4.01"),
        (Ask::get("/4").accept(40), "4.04"),
        (Ask::get("/3/0/99").accept(40), "4.04"),
        (Ask::get("/3/0/7/0").accept(40), "4.05"),
    ]);
}

#[test]
fn a_refused_write_has_its_code_and_changes_nothing() {
    let on = r#"[{"n":"/3311/0/5850","vb":true}]"#;
    check_refusals(&[
        (Ask::put("/").body(JSON, on), "4.05"),
        (Ask::put("/3311").body(JSON, on), "4.05"),
        (Ask::put("/0/0/0").body(TEXT, "coap://x"), "4.01"),
        (Ask::put("/4/0/1").body(TEXT, "1"), "4.04"),
        (Ask::put("/3311/7/5850").body(TEXT, "1"), "4.04"),
        (Ask::put("/3311/0/99").body(TEXT, "1"), "4.04"),
        (Ask::put("/3311/0/5850/0").body(TEXT, "1"), "4.04"),
        (Ask::put("/3/0/9").body(TEXT, "1"), "4.05"),
        (Ask::put("/3/0/4").body(TEXT, "1"), "4.05"),
        (Ask::put("/3311/0/5852").body(TEXT, "1"), "4.05"),
        (Ask::put("/3311/0/5850").body(TEXT, "maybe"), "4.00"),
        (Ask::put("/3311/0/5851").body(TEXT, "bright"), "4.00"),
        (Ask::put("/3311/0/5851").body(TEXT, "101"), "4.00"),
        (Ask::put("/3311/0/5851").body(TEXT, "-1"), "4.00"),
        (Ask::put("/3311/0/31").body(TEXT, "77:0"), "4.00"),
        (Ask::put("/3311/0/5850").body(TLV, b"\xE1\x16"), "4.00"),
        (Ask::put("/3311/0/5850").body(JSON, "{"), "4.00"),
        (Ask::put("/3311/0/5850").body(CBOR, b"\x9F"), "4.00"),
        (Ask::put("/3311/0/5851").body(JSON, on), "4.00"),
        (Ask::put("/3311/1").body(JSON, on), "4.00"),
        (Ask::put("/3311/0/5850").body(60, b"\xF5"), "4.15"),
        (Ask::put("/3311/0/5850").body(40, "</3>"), "4.15"),
        (Ask::put("/3311/0/5850").bare_body("1"), "4.15"),
        (Ask::put("/3311/0").body(TEXT, "1"), "4.15"),
        (Ask::post("/3311/0").body(JSON, "[]"), "4.00"),
        (
            Ask::post("/3311/0").body(
                JSON,
                r#"[{"n":"/3311/0/5850","vb":true},{"n":"/3311/0/5852","v":1}]"#,
            ),
            "4.05",
        ),
        (
            Ask::post("/3311/0").body(
                JSON,
                r#"[{"n":"/3311/0/5850","vb":true},{"n":"/3311/0/5851","v":101}]"#,
            ),
            "4.00",
        ),
        (
            Ask::post("/3311/0").body(
                JSON,
                r#"[{"n":"/3311/0/5850","vb":true},{"n":"/3311/0/99","v":1}]"#,
            ),
            "4.04",
        ),
    ]);
}

#[test]
fn a_refused_execute_has_its_code_and_changes_nothing() {
    check_refusals(&[
        (Ask::post("/3/0/99"), "4.04"),
        (Ask::post("/3/1/4"), "4.04"),
        (Ask::post("/3/0/9"), "4.05"),
        (Ask::post("/3311/0/5850"), "4.05"),
        (Ask::post("/3311/0/5850").body(TEXT, "1"), "4.05"),
        (Ask::post("/3/0/4/0"), "4.05"),
        (Ask::post("/3/0/4").body(TEXT, "reboot"), "4.00"),
        (Ask::post("/3/0/4").body(TEXT, "0='a"), "4.00"),
        (Ask::post("/3/0/4").body(TEXT, "0,,1"), "4.00"),
        (Ask::post("/3/0/4").body(TEXT, "0='a',"), "4.00"),
        (Ask::post("/3/0/4").body(TEXT, b"\xFF"), "4.00"),
        (Ask::post("/3/0/4").body(CBOR, b"\x80"), "4.15"),
        (
            Ask::post("/3/0/4").body(TEXT, "0,".repeat(limits::ARGUMENTS)),
            "4.13",
        ),
    ]);
}

#[test]
fn a_refused_create_has_its_code_and_changes_nothing() {
    check_refusals(&[
        (Ask::post("/"), "4.05"),
        (Ask::post("/4"), "4.04"),
        (Ask::post("/3"), "4.05"),
        (Ask::post("/0"), "4.01"),
        (Ask::post("/1"), "4.05"),
        (
            Ask::post("/3311").body(JSON, r#"[{"n":"/3311/0/5850","vb":true}]"#),
            "4.00",
        ),
        (
            Ask::post("/3311").body(
                JSON,
                r#"[{"n":"/3311/5/5850","vb":true},{"n":"/3311/6/5850","vb":true}]"#,
            ),
            "4.00",
        ),
        (
            Ask::post("/3311").body(JSON, r#"[{"n":"/3311/5/5851","v":1}]"#),
            "4.00",
        ),
        (
            Ask::post("/3311").body(
                JSON,
                r#"[{"n":"/3311/5/5850","vb":true},{"n":"/3311/5/5851","v":200}]"#,
            ),
            "4.00",
        ),
        (Ask::post("/3311").body(60, b"\xA0"), "4.15"),
        (Ask::post("/3311"), "4.00"),
    ]);
}

#[test]
fn a_refused_delete_has_its_code_and_changes_nothing() {
    check_refusals(&[
        (Ask::delete("/"), "4.05"),
        (Ask::delete("/3"), "4.05"),
        (Ask::delete("/3/0"), "4.05"),
        (Ask::delete("/3/0/9"), "4.05"),
        (Ask::delete("/1/0"), "4.05"),
        (Ask::delete("/0/0"), "4.01"),
        (Ask::delete("/3311/9"), "4.04"),
        (Ask::delete("/3311/0"), "4.05"),
    ]);
}

#[test]
fn a_composite_operation_is_not_allowed() {
    check_refusals(&[
        (Ask::method("0.05", "/").body(JSON, "[]"), "4.05"),
        (Ask::method("0.07", "/").body(JSON, "[]"), "4.05"),
        (Ask::method("0.06", "/3/0").body(JSON, "[]"), "4.05"),
    ]);
}

fn check_refusals(rows: &[(Ask, &str)]) {
    let mut bench = Bench::default();
    for (ask, expected) in rows {
        let before = bench.device.clone();
        let answer = bench.ask(ask);
        assert_eq!(
            code(&answer),
            *expected,
            "{ask:?}: {}",
            String::from_utf8_lossy(&answer.payload)
        );
        let events = std::mem::take(&mut bench.events);
        let refused = matches!(&events[..], [Event::Refused { code, .. }] if code.to_string() == *expected);
        assert!(refused, "{ask:?}: {events:?}");
        assert_eq!(bench.device, before);
        assert!(!answer.payload.is_empty(), "{ask:?} is refused without a reason");
    }
}

#[test]
fn a_write_leaves_as_an_operation_and_is_answered_as_told() {
    let on = entry(Path::resource(3311, 0, 5850), Value::Boolean(true));
    let link = entry(
        Path::resource(3311, 0, 31),
        Value::Objlnk(ObjectId(3311), InstanceId(1)),
    );
    let no_link = entry(
        Path::resource(3311, 0, 31),
        Value::Objlnk(ObjectId(u16::MAX), InstanceId(u16::MAX)),
    );
    check_write(
        &Ask::put("/3311/0/5850").body(TEXT, "1"),
        WriteMode::Replace,
        on.path,
        std::slice::from_ref(&on),
    );
    // A one byte resource 5850 in TLV.
    let tlv = Ask::put("/3311/0/5850").body(TLV, b"\xE1\x16\xDA\x01");
    check_write(&tlv, WriteMode::Replace, on.path, &[on]);
    check_write(
        &Ask::put("/3311/0/31").body(TEXT, "3311:1"),
        WriteMode::Replace,
        link.path,
        &[link],
    );
    check_write(
        &Ask::put("/3311/0/31").body(TEXT, "65535:65535"),
        WriteMode::Replace,
        no_link.path,
        &[no_link],
    );
}

#[test]
fn a_write_on_an_instance_replaces_by_put_and_updates_by_post() {
    let lamp = Path::instance(3311, 0);
    let both = r#"[{"bn":"/3311/0/","n":"5850","vb":true},{"n":"5851","v":50}]"#;
    let entries = [
        entry(Path::resource(3311, 0, 5850), Value::Boolean(true)),
        entry(Path::resource(3311, 0, 5851), Value::Integer(50)),
    ];
    check_write(
        &Ask::put("/3311/0").body(JSON, both),
        WriteMode::Replace,
        lamp,
        &entries,
    );
    check_write(
        &Ask::post("/3311/0").body(JSON, both),
        WriteMode::Update,
        lamp,
        &entries,
    );
}

#[test]
fn resource_instances_are_written_one_by_one_or_all_at_once() {
    let names = r#"[{"n":"/3311/0/32/2","vs":"b"}]"#;
    let name = entry(instance_of(3311, 0, 32, 2), Value::String("b".to_owned()));
    let all = Path::resource(3311, 0, 32);
    let one = name.path;
    let name = [name];
    check_write(
        &Ask::put("/3311/0/32").body(JSON, names),
        WriteMode::Replace,
        all,
        &name,
    );
    check_write(
        &Ask::post("/3311/0/32").body(JSON, names),
        WriteMode::Update,
        all,
        &name,
    );
    check_write(
        &Ask::put("/3311/0/32/2").body(TEXT, "b"),
        WriteMode::Replace,
        one,
        &name,
    );
    check_write(
        &Ask::post("/3311/0/32/2").body(TEXT, "b"),
        WriteMode::Update,
        one,
        &name,
    );
    check_write(
        &Ask::put("/3311/0/32").body(JSON, "[]"),
        WriteMode::Replace,
        all,
        &[],
    );
}

fn check_write(ask: &Ask, mode: WriteMode, target: Path, entries: &[Entry]) {
    let mut bench = Bench::default();
    bench.send(ask);
    assert_eq!(bench.sent, [], "{ask:?}");
    let (id, operation) = bench.operation();
    let entries = entries.to_vec();
    assert_eq!(
        operation,
        Operation::Write {
            mode,
            target,
            entries
        },
        "{ask:?}"
    );
    bench.respond(id, Response::Changed);
    assert_eq!(code(&bench.take_sent()), "2.04");
}

const fn entry(path: Path, value: Value) -> Entry {
    Entry { path, value }
}

#[test]
fn an_execute_leaves_with_its_arguments() {
    for arguments in ["", "0", "0,1", "0='on'", "2='10.3',7='0',9"] {
        let mut bench = Bench::default();
        let ask = Ask::post("/3/0/4");
        bench.send(&if arguments.is_empty() {
            ask
        } else {
            ask.body(TEXT, arguments)
        });
        let path = Path::resource(3, 0, 4);
        let (id, operation) = bench.operation();
        assert_eq!(
            operation,
            Operation::Execute {
                path,
                arguments: arguments.to_owned()
            }
        );
        bench.respond(id, Response::Changed);
        assert_eq!(code(&bench.take_sent()), "2.04");
    }
}

#[test]
fn a_create_may_leave_the_number_to_the_client() {
    // TLV of one boolean resource 5850, once bare and once within instance 5.
    let rows: [(&[u8], Option<u16>, u16); 2] = [
        (b"\xE1\x16\xDA\x01", None, 65535),
        (b"\x04\x05\xE1\x16\xDA\x01", Some(5), 5),
    ];
    for (tlv, instance, in_paths) in rows {
        let mut bench = Bench::default();
        bench.send(&Ask::post("/3311").body(TLV, tlv));
        let (id, operation) = bench.operation();
        let entries = vec![Entry {
            path: Path::resource(3311, in_paths, 5850),
            value: Value::Boolean(true),
        }];
        let object = ObjectId(3311);
        assert_eq!(
            operation,
            Operation::Create {
                object,
                instance: instance.map(InstanceId),
                entries
            }
        );
        bench.respond(id, Response::Created(InstanceId(5)));
        assert_eq!(code(&bench.sent[0]), "2.01");
    }
}

#[test]
fn an_operation_that_fails_is_answered_with_its_code_and_reason() {
    let mut bench = Bench::default();
    bench.send(&Ask::put("/3311/0/5850").body(TEXT, "1"));
    let (id, _) = bench.operation();
    let failure = Failure {
        code: FailureCode::ServiceUnavailable,
        retry_after_secs: Some(30),
        diagnostic: "the lamp does not answer".to_owned(),
    };
    bench.respond(id, Response::Failed(failure.clone()));
    let answer = bench.take_sent();
    assert_eq!(
        (code(&answer).as_str(), payload(&answer).as_str()),
        ("5.03", "the lamp does not answer")
    );
    assert_eq!(number(&answer, coap_lite::CoapOption::MaxAge), Some(30));
    // A second answer is dropped.
    bench.respond(id, Response::Failed(failure));
    assert_eq!(bench.sent, []);
}

#[test]
fn an_operation_that_nobody_answers_ends_with_5_04() {
    let mut bench = Bench::default();
    bench.send(&Ask::put("/3311/0/5850").body(TEXT, "1"));
    let (id, _) = bench.operation();
    bench.pass_secs(248);
    assert!(bench.sent.iter().any(|p| code(p) == "5.04"), "{:?}", bench.sent);
    bench.sent.clear();
    bench.respond(id, Response::Changed);
    assert_eq!(bench.sent, []);
}

#[test]
fn the_operations_under_way_are_bounded() {
    let mut bench = Bench::default();
    for i in 0..limits::OPERATIONS {
        bench.send(
            &Ask::put("/3311/0/5850")
                .token(&[9, u8::try_from(i).unwrap()])
                .body(TEXT, "1"),
        );
    }
    assert_eq!(bench.sent, []);
    let answer = bench.ask(&Ask::put("/3311/0/5850").token(&[8]).body(TEXT, "1"));
    assert_eq!(code(&answer), "5.03");
    let (id, _) = bench.operation();
    bench.respond(id, Response::Changed);
    bench.sent.clear();
    bench.send(&Ask::put("/3311/0/5850").token(&[10]).body(TEXT, "1"));
    assert_eq!(bench.sent, []);
}

#[test]
fn complaints_are_bounded_and_leave_room_for_what_matters() {
    let mut bench = Bench::default();
    for _ in 0..10 * limits::COMPLAINTS {
        bench.client.handle_datagram(&[0xFF], &bench.device, bench.now);
    }
    let update = Ask::put("/3311/0/5850").body(TEXT, "1").to_packet(1);
    bench
        .client
        .handle_datagram(&update.to_bytes().unwrap(), &bench.device, bench.now);
    bench.collect();
    assert_eq!(bench.events.len(), limits::COMPLAINTS + 1);
    assert!(matches!(bench.events.last(), Some(Event::Operation { .. })));
}

#[test]
fn a_repeated_execute_is_one_operation_however_much_is_read_in_between() {
    let mut bench = Bench::default();
    let execute = Ask::post("/3303/0/5605").to_packet(1);
    bench.receive(&execute);
    let (id, _) = bench.operation();
    bench.respond(id, Response::Changed);
    let answer = bench.take_sent();
    for _ in 0..520 {
        assert_eq!(code(&bench.ask(&Ask::get("/3303/0/5700"))), "2.05");
    }
    bench.receive(&execute);
    assert_eq!(bench.take_sent(), answer);
    assert!(!bench.events.iter().any(|e| matches!(e, Event::Operation { .. })));
}
