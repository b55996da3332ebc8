use coap_lite::RequestType;
use lwm2m_client::object::Model;
use lwm2m_client::{Path, Value};

use super::{CABINET, METER, RELAY, meter_and_relay};
use crate::command::Origin;
use crate::field::{Refusal, WriteFunction};
use crate::gateway::commands::Wish;
use crate::testing::{Relay, TestCabinet, coils, confirmed, device, one_server};
use crate::{CommandError, CommandOrigin, CommandOutcome, Delivery, Frame, limits};

const ON: &str = "/3311/0/5850";
const LEVEL: &str = "/3311/0/5851";

fn relay() -> TestCabinet {
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2026));
    cabinet.uplink(2, coils(0, &[false, false]));
    cabinet.run_ms(1_000);
    cabinet.events.clear();
    cabinet
}

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn addresses(cabinet: &TestCabinet) -> Vec<(WriteFunction, u16)> {
    let address = |frame: &Frame| match frame {
        Frame::ModbusWrite(write) => (write.function, write.address),
        Frame::ModbusBlock(_)
        | Frame::LoRaWanData(_)
        | Frame::LoRaWanCommand(_)
        | Frame::MqttMessage(_)
        | Frame::MqttPublish(_) => panic!("a command is a write"),
    };
    cabinet
        .downlinks
        .iter()
        .map(|downlink| address(&downlink.frame))
        .collect()
}

#[test]
fn a_write_is_answered_after_the_read_back_and_can_be_read() {
    let mut cabinet = relay();
    cabinet.write(RELAY, ON, "1");
    assert_eq!(addresses(&cabinet), [(WriteFunction::SingleCoil, 0)]);
    cabinet.run_ms(300);
    assert_eq!(cabinet.answers(), [], "nobody knows yet");
    cabinet.deliver(confirmed(0, true));
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(cabinet.read(RELAY, ON), ("2.05".to_owned(), "1".to_owned()));
    let record = cabinet.outcomes().remove(0);
    assert_eq!(record.outcome, CommandOutcome::Confirmed);
    assert_eq!(
        record.origin,
        CommandOrigin::Server {
            account: "city".into()
        }
    );
    assert_eq!(
        (&*record.device, record.writes),
        ("relay-1", vec![(path(ON), Value::Boolean(true))])
    );
}

#[test]
fn what_no_point_measures_stays_readable_as_it_was_commanded() {
    let mut cabinet = relay();
    assert_eq!(cabinet.read(RELAY, LEVEL).0, "4.04");
    cabinet.write(RELAY, LEVEL, "40");
    cabinet.deliver(Delivery::Sent);
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(cabinet.read(RELAY, LEVEL).1, "40");
    cabinet.write(RELAY, LEVEL, "55");
    cabinet.deliver(Delivery::Expired);
    assert_eq!(
        cabinet.read(RELAY, LEVEL).1,
        "40",
        "what was not done is not shown"
    );
}

#[test]
fn each_delivery_has_its_own_honest_answer() {
    let refusal = Refusal {
        code: 2,
        text: "illegal data address".to_owned(),
    };
    for (delivery, code, diagnostic) in [
        (Delivery::Sent, "2.04", ""),
        (confirmed(0, true), "2.04", ""),
        (Delivery::Refused(refusal), "5.00", "illegal data address"),
        (
            Delivery::Unconfirmed("the read-back differs".to_owned()),
            "5.04",
            "the read-back differs",
        ),
        (
            Delivery::Unreachable { retry_after_secs: 30 },
            "5.03",
            "does not answer",
        ),
        (Delivery::Denied, "4.05", "writes are denied"),
        (Delivery::Expired, "5.03", "waited too long"),
        (
            Delivery::Superseded,
            "5.00",
            "replaced by a later write to the same resource",
        ),
    ] {
        let mut cabinet = relay();
        cabinet.write(RELAY, ON, "1");
        cabinet.deliver(delivery.clone());
        let answer = cabinet.answer();
        assert_eq!(answer.code, code, "{delivery:?}");
        assert!(answer.text.contains(diagnostic), "{delivery:?}: {}", answer.text);
        let expected = match delivery {
            Delivery::Unreachable { retry_after_secs } => Some(retry_after_secs),
            Delivery::Expired => Some(limits::BUSY_RETRY_SECS),
            Delivery::Sent
            | Delivery::Confirmed(_)
            | Delivery::Queued
            | Delivery::Refused(_)
            | Delivery::Unconfirmed(_)
            | Delivery::Denied
            | Delivery::Superseded => None,
        };
        assert_eq!(answer.max_age, expected, "{delivery:?}");
        assert_eq!(cabinet.outcomes().len(), 1);
    }
}

#[test]
fn a_command_without_result_is_answered_in_time_and_its_late_result_still_counts() {
    let mut cabinet = relay();
    cabinet.write(RELAY, ON, "1");
    cabinet.run_ms(3_999);
    assert_eq!(cabinet.answers().len(), 0);
    cabinet.run_ms(1);
    let answer = cabinet.answer();
    assert_eq!(
        (answer.code.as_str(), answer.text.contains("4000 ms")),
        ("5.04", true)
    );
    cabinet.run_ms(2_000);
    cabinet.deliver(confirmed(0, true));
    assert_eq!(cabinet.answers(), [], "one request, one answer");
    assert_eq!(cabinet.read(RELAY, ON).1, "1");
    let outcomes: Vec<CommandOutcome> = cabinet
        .outcomes()
        .into_iter()
        .map(|record| record.outcome)
        .collect();
    assert!(
        matches!(
            outcomes[..],
            [CommandOutcome::Unconfirmed(_), CommandOutcome::Confirmed]
        ),
        "{outcomes:?}"
    );
}

#[test]
fn a_result_that_comes_far_too_late_is_forgotten() {
    let mut cabinet = relay();
    cabinet.write(RELAY, ON, "1");
    cabinet.run_ms(4_000 + 60_000);
    cabinet.answers();
    cabinet.deliver(confirmed(0, true));
    assert_eq!(cabinet.outcomes().len(), 1);
    assert_eq!(cabinet.read(RELAY, ON).1, "0");
}

#[test]
fn what_the_profile_does_not_map_is_not_allowed_and_nothing_is_sent() {
    let mut cabinet = relay();
    for (endpoint, what) in [(RELAY, "/3/0/13"), (METER, "/3410/0/3"), (CABINET, "/3/0/13")] {
        let text = if what == "/3/0/13" {
            "1760000000"
        } else {
            "another label"
        };
        cabinet.write(endpoint, what, text);
        assert_eq!(cabinet.answer().code, "4.05", "{what}");
    }
    let reboot = cabinet.server.request(RequestType::Post, "/3/0/4", "");
    cabinet.datagram(RELAY, &reboot);
    assert_eq!(cabinet.answer().code, "4.05", "mandatory, there, and not mapped");
    assert_eq!(cabinet.downlinks.len(), 0);
}

#[test]
fn wrong_values_paths_and_types_get_their_codes_and_change_nothing() {
    let mut cabinet = relay();
    for (what, text, code) in [
        (LEVEL, "101", "4.00"),
        (LEVEL, "bright", "4.00"),
        ("/3311/0/5805", "1", "4.05"),
        ("/3311/1/5850", "1", "4.04"),
        ("/3200/0/5500", "1", "4.05"),
        ("/3342/0/5500", "1", "4.04"),
    ] {
        cabinet.write(RELAY, what, text);
        let answer = cabinet.answer();
        assert_eq!(answer.code, code, "{what} {text}: {}", answer.text);
    }
    assert_eq!(cabinet.downlinks.len(), 0);
}

#[test]
fn an_execute_is_a_command_like_any_other() {
    let mut cabinet = relay();
    let reset = cabinet.server.request(RequestType::Post, "/3200/0/5505", "");
    cabinet.datagram(RELAY, &reset);
    assert_eq!(addresses(&cabinet), [(WriteFunction::SingleRegister, 11)]);
    cabinet.deliver(Delivery::Sent);
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(
        cabinet.outcomes()[0].writes,
        [(path("/3200/0/5505"), Value::String(String::new()))]
    );
    assert_eq!(cabinet.read(RELAY, "/3200/0/5505").0, "4.05");
}

/// Writes the relay and its level in one Update of the instance, in TLV (LwM2M Core 1.2, section 7.4.3).
fn write_both(cabinet: &mut TestCabinet, level: u8) {
    let tlv = [0xe1, 0x16, 0xda, 1, 0xe1, 0x16, 0xdb, level];
    let request = cabinet
        .server
        .request_with(RequestType::Post, "/3311/0", 11542, &tlv);
    cabinet.datagram(RELAY, &request);
}

#[test]
fn several_values_are_sent_in_order_and_the_first_failure_is_told_honestly() {
    let mut cabinet = relay();
    write_both(&mut cabinet, 40);
    assert_eq!(
        addresses(&cabinet),
        [(WriteFunction::SingleCoil, 0)],
        "one after the other"
    );
    cabinet.deliver(confirmed(0, true));
    assert_eq!(cabinet.answers(), []);
    assert_eq!(addresses(&cabinet), [(WriteFunction::SingleRegister, 10)]);
    cabinet.deliver(Delivery::Unreachable { retry_after_secs: 9 });
    let answer = cabinet.answer();
    assert_eq!((answer.code.as_str(), answer.max_age), ("5.03", Some(9)));
    assert!(
        answer.text.contains("done /3311/0/5850, not /3311/0/5851"),
        "{}",
        answer.text
    );
}

#[test]
fn nothing_is_sent_unless_everything_can_be() {
    let mut cabinet = relay();
    write_both(&mut cabinet, 120);
    assert_eq!(cabinet.answer().code, "4.00");
    assert_eq!(cabinet.downlinks.len(), 0);
}

#[test]
fn the_rest_of_a_write_is_not_sent_after_its_sender_was_told_that_it_failed() {
    let mut cabinet = relay();
    write_both(&mut cabinet, 40);
    cabinet.run_ms(4_000);
    assert_eq!(cabinet.answer().code, "5.04");
    cabinet.deliver(confirmed(0, true));
    assert_eq!(cabinet.downlinks.len(), 0);
    let last = cabinet.outcomes().pop().unwrap();
    assert_eq!(
        (last.writes.len(), last.done, last.outcome),
        (2, 1, CommandOutcome::Expired)
    );
}

#[test]
fn instances_are_neither_created_nor_deleted() {
    let mut cabinet = relay();
    let delete = cabinet.server.request(RequestType::Delete, "/3311/0", "");
    cabinet.datagram(RELAY, &delete);
    assert_eq!(cabinet.answer().code, "4.05");
    let create = cabinet.server.request_with(
        RequestType::Post,
        "/3311",
        11542,
        &[0x08, 0x07, 0x04, 0xe1, 0x16, 0xda, 1],
    );
    cabinet.datagram(RELAY, &create);
    assert_eq!(cabinet.answer().code, "4.05");
    assert_eq!(cabinet.read(RELAY, ON).1, "0");
}

#[test]
fn a_person_at_the_cabinet_commands_in_the_newest_model() {
    let mut cabinet = relay();
    let id = cabinet
        .gateway
        .command("relay-1", path(ON), Value::Boolean(true), cabinet.now)
        .unwrap();
    cabinet.run_ms(0);
    cabinet.uplink(1, crate::testing::words(0, &[]));
    cabinet.deliver(confirmed(0, true));
    let record = cabinet.outcomes().remove(0);
    assert_eq!(
        (record.id, record.origin, record.outcome),
        (id, CommandOrigin::Local, CommandOutcome::Confirmed)
    );
    cabinet
        .gateway
        .execute("relay-1", path("/3200/0/5505"), "", cabinet.now)
        .unwrap();
}

#[test]
fn a_person_is_told_what_cannot_be_and_the_audit_log_too() {
    let mut cabinet = relay();
    let now = cabinet.now;
    let mut error = |device: &str, at: &str, value: Value| {
        cabinet.gateway.command(device, path(at), value, now).unwrap_err()
    };
    let on = Value::Boolean(true);
    assert_eq!(
        error("relay-9", ON, on.clone()),
        CommandError::UnknownDevice("relay-9".to_owned())
    );
    assert_eq!(
        error("relay-1", "/3311/0", on.clone()),
        CommandError::UnknownResource(path("/3311/0"))
    );
    let refused = |error: CommandError| {
        let CommandError::Refused(outcome) = error else {
            panic!("{error}")
        };
        outcome
    };
    assert!(matches!(
        refused(error("relay-1", "/3200/0/5500", on)),
        CommandOutcome::NotAllowed(_)
    ));
    assert!(matches!(
        refused(error("relay-1", LEVEL, Value::Integer(500))),
        CommandOutcome::Unfit(_)
    ));
    assert!(matches!(
        refused(error("relay-1", LEVEL, Value::Float(5.0))),
        CommandOutcome::Unfit(_)
    ));
    cabinet.run_ms(0);
    cabinet.uplink(2, coils(0, &[]));
    assert_eq!(
        cabinet.outcomes().len(),
        3,
        "those that named a resource are in the audit log"
    );
}

#[test]
fn no_more_commands_are_open_than_the_table_holds() {
    let mut cabinet = relay();
    let now = cabinet.now;
    for _ in 0..limits::MAX_COMMANDS_PER_DEVICE {
        cabinet
            .gateway
            .command("relay-1", path(LEVEL), Value::Integer(1), now)
            .unwrap();
    }
    let error = cabinet
        .gateway
        .command("relay-1", path(LEVEL), Value::Integer(1), now)
        .unwrap_err();
    assert_eq!(error, CommandError::Refused(CommandOutcome::Busy));
    cabinet.write(RELAY, ON, "1");
    let answer = cabinet.answer();
    assert_eq!(
        (answer.code.as_str(), answer.max_age),
        ("5.03", Some(limits::BUSY_RETRY_SECS))
    );
    cabinet.run_ms(70_000);
    cabinet
        .gateway
        .command("relay-1", path(LEVEL), Value::Integer(1), cabinet.now)
        .unwrap();
}

#[test]
fn a_write_in_an_older_model_is_turned_into_the_newest_and_shown_back() {
    // Color temperature (3416/39) is a text in 1.0 and a number since 2.0.
    let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2020));
    cabinet.run_ms(1_000);
    let temperature = "/3416/0/39";
    cabinet.write(RELAY, temperature, "warm");
    assert_eq!(cabinet.answer().code, "4.00");
    assert_eq!(cabinet.downlinks.len(), 0);
    cabinet.write(RELAY, temperature, "3000");
    assert_eq!(addresses(&cabinet), [(WriteFunction::SingleRegister, 12)]);
    cabinet.deliver(Delivery::Sent);
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(
        cabinet.read(RELAY, temperature),
        ("2.05".to_owned(), "3000".to_owned())
    );
    let writes = cabinet.outcomes().pop().unwrap().writes;
    assert_eq!(
        writes,
        [(path(temperature), Value::Integer(3000))],
        "the audit log speaks the newest model"
    );
}

#[test]
fn a_command_of_too_many_values_is_refused() {
    let mut cabinet = relay();
    let (id, now) = (cabinet.gateway.commands.next_id(), cabinet.now);
    let writes = vec![(path(LEVEL), Value::Integer(1)); limits::MAX_WRITES_PER_COMMAND + 1];
    let outcome = cabinet
        .gateway
        .send_command(id, Origin::Local, RELAY as usize, &writes, Wish::Write, now);
    assert!(matches!(outcome, Err(CommandOutcome::Unfit(_))));
}

#[test]
fn no_more_commands_are_open_than_all_devices_together_may_have() {
    let units = limits::MAX_COMMANDS / limits::MAX_COMMANDS_PER_DEVICE;
    let devices =
        (0..=units).map(|n| device(&format!("relay-{n}"), u8::try_from(n + 1).unwrap(), Relay::new()));
    let mut cabinet = TestCabinet::new(one_server(Model::Y2026, devices.collect()));
    let now = cabinet.now;
    let mut command = |n: usize| {
        cabinet
            .gateway
            .command(&format!("relay-{n}"), path(LEVEL), Value::Integer(1), now)
            .is_ok()
    };
    for n in 0..limits::MAX_COMMANDS {
        assert!(command(n % units));
    }
    assert!(!command(units), "a device without commands has to wait, too");
}
