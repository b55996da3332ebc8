//! From a Write of the server over the gateway and the bus to a coil, and the honest answer.

use std::time::Duration;

use lwm2m_client::client::WriteMode;
use lwm2m_client::format::Entry;
use lwm2m_client::{Path, Value};
use ucifi_adapters::modbus::Writes;
use ucifi_core::field::Table;
use ucifi_core::{CommandOutcome, Event};
use ucifi_sim::cabinet::{Cabinet, Plan};
use ucifi_sim::serial_line::{Fault, Faults, Foreign};
use ucifi_sim::server::{Answer, Code, ServerRequest, content_format};

const SECOND: Duration = Duration::from_secs(1);
const RELAYS: &str = "cab-17-relays";
const UNIT: u8 = 4;

fn cabinet(writes: Writes) -> Cabinet {
    let mut plan = Plan::new(1).with_meter("meter-1", 3).with_relays("relays", UNIT);
    plan.writes = writes;
    let mut cabinet = plan.build();
    cabinet.run_for(SECOND * 10);
    cabinet
}

const fn command(channel: u16) -> Path {
    Path::resource(3413, channel, 3)
}

fn write(cabinet: &mut Cabinet, path: Path, value: Value, format: u16) -> Answer {
    let entries = vec![Entry { path, value }];
    let request = ServerRequest::Write {
        mode: WriteMode::Replace,
        path,
        entries,
        format,
    };
    cabinet
        .ask(RELAYS, request)
        .expect("the board's endpoint answers")
}

fn switch(cabinet: &mut Cabinet, channel: u16, percent: i64) -> Answer {
    write(
        cabinet,
        command(channel),
        Value::Integer(percent),
        content_format::TLV,
    )
}

fn coil(cabinet: &Cabinet, channel: u16) -> bool {
    let board = cabinet.line().unit(UNIT).expect("the board is on the line");
    board
        .registers()
        .bit(Table::Coils, channel)
        .expect("it has this coil")
}

fn outcomes(cabinet: &Cabinet) -> Vec<CommandOutcome> {
    let finished = cabinet.events().iter().filter_map(|(_, event)| {
        if let Event::CommandFinished(record) = event {
            Some(record.outcome.clone())
        } else {
            None
        }
    });
    finished.collect()
}

#[test]
fn a_write_in_each_format_is_answered_once_the_coil_was_read_back() {
    let mut cabinet = cabinet(Writes::Allow);
    let formats = [
        content_format::TEXT,
        content_format::TLV,
        content_format::SENML_JSON,
        content_format::SENML_CBOR,
    ];
    for (channel, format) in (0..).zip(formats) {
        let before = cabinet.elapsed();
        let answer = write(&mut cabinet, command(channel), Value::Integer(100), format);
        assert_eq!(answer.code, Code::CHANGED, "format {format}: {}", answer.text());
        assert!(coil(&cabinet, channel));
        assert!(cabinet.elapsed() - before < SECOND * 2);
        let level = cabinet.value("relays", Path::resource(3413, channel, 4));
        assert_eq!(level.map(|(value, _)| value.as_f64()), Some(Some(100.0)));
    }
    assert_eq!(outcomes(&cabinet), vec![CommandOutcome::Confirmed; 4]);
}

#[test]
fn a_relay_is_switched_off_again() {
    let mut cabinet = cabinet(Writes::Allow);
    assert_eq!(switch(&mut cabinet, 2, 100).code, Code::CHANGED);
    assert_eq!(switch(&mut cabinet, 2, 0).code, Code::CHANGED);
    assert!(!coil(&cabinet, 2));
}

#[test]
fn a_person_at_the_cabinet_switches_a_relay_too() {
    let mut cabinet = cabinet(Writes::Allow);
    cabinet
        .command("relays", command(5), Value::Integer(100))
        .unwrap();
    assert!(cabinet.run_until(SECOND * 5, |cabinet| outcomes(cabinet)
        == [CommandOutcome::Confirmed]));
    assert!(coil(&cabinet, 5));
}

#[test]
fn what_cannot_be_written_is_refused_and_reaches_no_coil() {
    let mut cabinet = cabinet(Writes::Allow);
    let cases = [
        (command(0), Value::Integer(50), Code::BAD_REQUEST),
        (command(0), Value::String("on".to_owned()), Code::BAD_REQUEST),
        (command(8), Value::Integer(100), Code::NOT_FOUND),
        (
            Path::resource(3413, 0, 2),
            Value::Integer(100),
            Code::METHOD_NOT_ALLOWED,
        ),
    ];
    let requests = cabinet.line().counters().requests;
    for (path, value, code) in cases {
        let answer = write(&mut cabinet, path, value, content_format::SENML_JSON);
        assert_eq!(answer.code, code, "{path}: {}", answer.text());
    }
    assert!((0..8).all(|channel| !coil(&cabinet, channel)));
    assert!(cabinet.line().counters().requests - requests < 10);
}

#[test]
fn a_bus_that_forbids_writes_gets_none() {
    let mut cabinet = cabinet(Writes::Deny);
    let answer = switch(&mut cabinet, 0, 100);
    assert_eq!(answer.code, Code::METHOD_NOT_ALLOWED, "{}", answer.text());
    assert!(!coil(&cabinet, 0));
}

#[test]
fn a_refusal_of_the_device_is_an_internal_error() {
    let mut cabinet = cabinet(Writes::Allow);
    cabinet
        .line_mut()
        .set_faults(UNIT, Faults::always(Fault::Exception(4)));
    let answer = switch(&mut cabinet, 0, 100);
    assert_eq!(answer.code, Code::new(5, 0), "{}", answer.text());
    assert!(!coil(&cabinet, 0));
}

#[test]
fn a_relay_that_does_not_move_is_a_gateway_timeout() {
    let mut cabinet = cabinet(Writes::Allow);
    cabinet
        .line_mut()
        .unit_mut(UNIT)
        .unwrap()
        .registers_mut()
        .stick(Table::Coils, 3);
    let answer = switch(&mut cabinet, 3, 100);
    assert_eq!(answer.code, Code::new(5, 4), "{}", answer.text());
}

#[test]
fn a_board_that_does_but_cannot_say_so_is_no_success() {
    let mut cabinet = cabinet(Writes::Allow);
    cabinet.line_mut().set_faults(UNIT, Faults::always(Fault::Mute));
    let answer = switch(&mut cabinet, 3, 100);
    assert_eq!(answer.code, Code::new(5, 4), "{}", answer.text());
    assert!(coil(&cabinet, 3));
}

#[test]
fn a_board_that_is_away_is_unavailable_and_the_server_is_told_for_how_long() {
    let mut cabinet = cabinet(Writes::Allow);
    cabinet.line_mut().set_faults(UNIT, Faults::always(Fault::Silent));
    cabinet.run_for(SECOND * 30);
    let answer = switch(&mut cabinet, 0, 100);
    assert_eq!(answer.code, Code::new(5, 3), "{}", answer.text());
    assert!(
        answer.max_age_secs.is_some_and(|secs| (1..=60).contains(&secs)),
        "{answer:?}"
    );
    cabinet.line_mut().set_faults(UNIT, Faults::none());
    cabinet.run_for(SECOND * 90);
    assert_eq!(switch(&mut cabinet, 0, 100).code, Code::CHANGED);
}

#[test]
fn over_a_bad_line_a_success_is_never_claimed_that_is_none() {
    let faults = vec![
        (0.03, Fault::Silent),
        (0.03, Fault::Mute),
        (0.03, Fault::Late(Duration::from_millis(700))),
        (0.03, Fault::Foreign(Foreign::OtherFunction)),
        (0.03, Fault::Corrupt),
        (0.03, Fault::Truncated),
        (0.03, Fault::Duplicated),
    ];
    let mut done = 0;
    for seed in 1..=4 {
        let mut cabinet = Plan::new(seed).with_relays("relays", UNIT).build();
        cabinet.run_for(SECOND * 10);
        cabinet
            .line_mut()
            .set_faults(UNIT, Faults::random(faults.clone()));
        for round in 0..40 {
            let (channel, on) = (round % 8, round / 8 % 2 == 0);
            let answer = switch(&mut cabinet, channel, if on { 100 } else { 0 });
            if answer.code == Code::CHANGED {
                done += 1;
                assert_eq!(coil(&cabinet, channel), on, "seed {seed}, round {round}");
            } else {
                assert_eq!(
                    answer.code.class,
                    5,
                    "seed {seed}, round {round}: {}",
                    answer.text()
                );
            }
            cabinet.run_for(SECOND * 3);
        }
    }
    assert!(done > 80, "only {done} of 160 were done");
}
