//! Commands to devices that say for themselves what they have done, some of them only when they listen.

use coap_lite::RequestType;
use lwm2m_client::Value;
use lwm2m_client::object::Model;

use crate::field::{DeviceClass, Freshness, Link, Refusal};
use crate::testing::{Node, TestCabinet, VERIFY_MS, Way, broker, data, lamp, message, one_server, radio};
use crate::{CommandOutcome, Delivery, Frame, Uplink, limits};

const LAMP: u32 = 1;
const COMMAND: &str = "/3416/0/1";
const LEVEL: &str = "/3416/0/3";

fn on(way: Way, node: Node) -> TestCabinet {
    let mut cabinet = TestCabinet::new(one_server(Model::Y2026, vec![lamp("lamp-1", node)]));
    say(&mut cabinet, way, 0);
    cabinet.run_ms(2_000);
    cabinet.events.clear();
    cabinet
}

fn verifying(way: Way) -> TestCabinet {
    on(way, Node::new(way).verifying())
}

fn spoken(way: Way, level: u8) -> (Link, Frame) {
    match way {
        Way::Radio(_) => (radio(), data(&[(0, level, None)])),
        Way::Broker => (broker("lamp-1"), message(&[(0, level, None)])),
    }
}

/// Lets the lamp say how bright it is.
fn say(cabinet: &mut TestCabinet, way: Way, level: u8) {
    let (link, frame) = spoken(way, level);
    cabinet.hear(Uplink::new(link, frame, cabinet.now));
}

fn outcomes(cabinet: &mut TestCabinet) -> Vec<CommandOutcome> {
    let records = cabinet.outcomes();
    records.into_iter().map(|record| record.outcome).collect()
}

fn unseen() -> CommandOutcome {
    CommandOutcome::Unconfirmed(format!("no message showed the new value within {VERIFY_MS} ms"))
}

#[test]
fn a_write_that_is_queued_is_answered_at_once_and_its_end_is_told_however_late_it_comes() {
    let mut cabinet = on(Way::Radio(DeviceClass::A), Node::new(Way::Radio(DeviceClass::A)));
    cabinet.write(LAMP, COMMAND, "40");
    let id = cabinet.downlinks[0].id;
    cabinet.deliver(Delivery::Queued);
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Queued]);
    assert_eq!(cabinet.read(LAMP, COMMAND).1, "0", "it is not sent yet");
    cabinet.run_ms(3 * 24 * 3_600_000);
    assert_eq!(cabinet.answers(), [], "one request, one answer");
    cabinet.gateway.handle_delivery(id, Delivery::Sent, cabinet.now);
    cabinet.run_ms(0);
    assert_eq!(cabinet.read(LAMP, COMMAND).1, "40");
    assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Sent]);
    cabinet.gateway.handle_delivery(id, Delivery::Sent, cabinet.now);
    cabinet.run_ms(0);
    assert_eq!(outcomes(&mut cabinet), [], "an end is told once");
}

#[test]
fn a_later_write_takes_the_place_of_one_that_is_queued() {
    let way = Way::Radio(DeviceClass::A);
    let mut cabinet = on(way, Node::new(way));
    let mut ids = Vec::new();
    for level in ["40", "50"] {
        cabinet.write(LAMP, COMMAND, level);
        ids.push(cabinet.downlinks[0].id);
        assert_eq!(cabinet.downlinks[0].path, COMMAND.parse().unwrap());
        cabinet.deliver(Delivery::Queued);
        assert_eq!(cabinet.answer().code, "2.04");
    }
    let now = cabinet.now;
    cabinet.gateway.handle_delivery(ids[0], Delivery::Superseded, now);
    cabinet.gateway.handle_delivery(ids[1], Delivery::Sent, now);
    cabinet.run_ms(0);
    use CommandOutcome::{Queued, Sent, Superseded};
    assert_eq!(outcomes(&mut cabinet), [Queued, Queued, Superseded, Sent]);
    assert_eq!(cabinet.answers(), []);
}

/// Writes level and color in one Update of the instance, in TLV (LwM2M Core 1.2, section 7.4.3).
fn write_both(cabinet: &mut TestCabinet) {
    let tlv = [0xc1, 1, 40, 0xc1, 39, 27];
    let request = cabinet
        .server
        .request_with(RequestType::Post, "/3416/0", 11542, &tlv);
    cabinet.datagram(LAMP, &request);
}

#[test]
fn several_values_are_queued_one_after_the_other_before_the_answer() {
    let way = Way::Radio(DeviceClass::A);
    let mut cabinet = verifying(way);
    write_both(&mut cabinet);
    let mut ids = vec![cabinet.downlinks[0].id];
    cabinet.deliver(Delivery::Queued);
    assert_eq!(cabinet.answers(), [], "half of it is not queued yet");
    ids.push(cabinet.downlinks[0].id);
    cabinet.deliver(Delivery::Queued);
    assert_eq!(cabinet.answer().code, "2.04");
    for id in ids {
        cabinet.gateway.handle_delivery(id, Delivery::Sent, cabinet.now);
    }
    cabinet.run_ms(0);
    let queued = cabinet.outcomes();
    assert_eq!(queued.len(), 1, "the light was not seen yet");
    assert_eq!((queued[0].done, &queued[0].outcome), (0, &CommandOutcome::Queued));
    say(&mut cabinet, way, 40);
    let seen = cabinet.outcomes();
    assert_eq!((seen[0].done, &seen[0].outcome), (2, &CommandOutcome::Sent));
}

#[test]
fn of_several_values_the_first_that_cannot_be_sent_ends_it() {
    let mut cabinet = on(Way::Radio(DeviceClass::A), Node::new(Way::Radio(DeviceClass::A)));
    write_both(&mut cabinet);
    cabinet.deliver(Delivery::Queued);
    cabinet.deliver(Delivery::Unreachable { retry_after_secs: 9 });
    let answer = cabinet.answer();
    assert_eq!(answer.code, "5.03");
    assert!(
        answer.text.contains("done or queued /3416/0/1, not /3416/0/39"),
        "{}",
        answer.text
    );
}

#[test]
fn a_lamp_that_always_listens_is_answered_when_the_forwarder_has_sent_and_its_light_is_told_later() {
    let way = Way::Radio(DeviceClass::C);
    for (level, end) in [(40, CommandOutcome::Confirmed), (0, unseen())] {
        let mut cabinet = verifying(way);
        cabinet.write(LAMP, COMMAND, "40");
        cabinet.run_ms(200);
        assert_eq!(cabinet.answers(), []);
        cabinet.deliver(Delivery::Sent);
        assert_eq!(cabinet.answer().code, "2.04");
        assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Sent]);
        assert_eq!(
            cabinet.read(LAMP, COMMAND).1,
            "40",
            "what was answered can be read"
        );
        say(&mut cabinet, way, level);
        cabinet.run_ms(VERIFY_MS);
        assert_eq!(outcomes(&mut cabinet), [end]);
        assert_eq!(cabinet.answers(), []);
    }
}

#[test]
fn a_write_over_a_broker_is_answered_by_what_the_device_says_next() {
    let mut cabinet = verifying(Way::Broker);
    cabinet.write(LAMP, COMMAND, "40");
    cabinet.deliver(Delivery::Sent);
    for level in [0, 38, 42] {
        say(&mut cabinet, Way::Broker, level);
    }
    assert_eq!(cabinet.answers(), [], "that is not what was wanted");
    assert_eq!(cabinet.read(LAMP, COMMAND).1, "0");
    say(&mut cabinet, Way::Broker, 41);
    assert_eq!(cabinet.answer().code, "2.04", "within the tolerance");
    assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Confirmed]);
    assert_eq!(cabinet.read(LAMP, COMMAND).1, "40");
    assert_eq!(cabinet.read(LAMP, LEVEL).1, "41");
}

#[test]
fn a_device_may_be_faster_than_the_acknowledgement_of_its_broker() {
    let mut cabinet = verifying(Way::Broker);
    cabinet.write(LAMP, COMMAND, "40");
    say(&mut cabinet, Way::Broker, 40);
    assert_eq!(cabinet.answers(), []);
    cabinet.deliver(Delivery::Sent);
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Confirmed]);
}

#[test]
fn what_nobody_knows_the_age_of_shows_nothing() {
    let mut cabinet = verifying(Way::Broker);
    cabinet.write(LAMP, COMMAND, "40");
    cabinet.deliver(Delivery::Sent);
    let (link, frame) = spoken(Way::Broker, 40);
    let uplink = Uplink::new(link, frame, cabinet.now);
    cabinet.hear(Uplink {
        freshness: Freshness::Retained,
        ..uplink
    });
    cabinet.run_ms(4_000);
    assert_eq!(cabinet.answer().code, "5.04");
}

#[test]
fn a_write_that_no_message_shows_is_answered_as_unconfirmed_and_may_still_come_true() {
    for (level, end) in [(40, CommandOutcome::Confirmed), (0, unseen())] {
        let mut cabinet = verifying(Way::Broker);
        cabinet.write(LAMP, COMMAND, "40");
        cabinet.deliver(Delivery::Sent);
        cabinet.run_ms(4_000);
        let answer = cabinet.answer();
        assert_eq!(answer.code, "5.04");
        assert_eq!(
            cabinet.read(LAMP, COMMAND).1,
            "0",
            "what was not done is not shown"
        );
        say(&mut cabinet, Way::Broker, level);
        cabinet.run_ms(VERIFY_MS);
        let outcomes = outcomes(&mut cabinet);
        assert!(
            matches!(&outcomes[..], [CommandOutcome::Unconfirmed(_), last] if *last == end),
            "{outcomes:?}"
        );
        assert_eq!(cabinet.answers(), []);
    }
}

#[test]
fn without_anything_to_see_the_brokers_acknowledgement_will_do() {
    let mut cabinet = on(Way::Broker, Node::new(Way::Broker));
    cabinet.write(LAMP, COMMAND, "40");
    cabinet.deliver(Delivery::Sent);
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Sent]);
}

#[test]
fn a_device_that_acknowledges_is_believed_where_nothing_is_to_be_seen() {
    let way = Way::Radio(DeviceClass::C);
    let mut cabinet = on(way, Node::new(way));
    cabinet.write(LAMP, COMMAND, "40");
    cabinet.deliver(Delivery::Confirmed(None));
    assert_eq!(cabinet.answer().code, "2.04");
    assert_eq!(outcomes(&mut cabinet), [CommandOutcome::Confirmed]);
}

#[test]
fn what_cannot_be_sent_is_said_whatever_the_way() {
    for way in [Way::Radio(DeviceClass::C), Way::Broker] {
        for (delivery, code) in [
            (
                Delivery::Refused(Refusal {
                    code: 0,
                    text: "too long for the data rate".to_owned(),
                }),
                "5.00",
            ),
            (Delivery::Unreachable { retry_after_secs: 9 }, "5.03"),
            (Delivery::Expired, "5.03"),
        ] {
            let mut cabinet = verifying(way);
            cabinet.write(LAMP, COMMAND, "40");
            cabinet.deliver(delivery);
            assert_eq!(cabinet.answer().code, code);
            assert_eq!(outcomes(&mut cabinet).len(), 1);
        }
    }
}

#[test]
fn nothing_heard_of_a_downlink_is_a_time_out_on_the_radio_too() {
    let mut cabinet = verifying(Way::Radio(DeviceClass::C));
    cabinet.write(LAMP, COMMAND, "40");
    let id = cabinet.downlinks[0].id;
    cabinet.run_ms(4_000);
    assert_eq!(cabinet.answer().code, "5.04");
    cabinet.gateway.handle_delivery(id, Delivery::Queued, cabinet.now);
    cabinet.run_ms(600_000);
    cabinet
        .gateway
        .handle_delivery(id, Delivery::Expired, cabinet.now);
    cabinet.run_ms(0);
    let outcomes = outcomes(&mut cabinet);
    assert!(
        matches!(
            outcomes[..],
            [CommandOutcome::Unconfirmed(_), CommandOutcome::Expired]
        ),
        "{outcomes:?}"
    );
}

#[test]
fn commands_that_are_queued_leave_room_for_others_and_the_oldest_are_forgotten() {
    let way = Way::Radio(DeviceClass::A);
    let mut cabinet = on(way, Node::new(way));
    let mut ids = Vec::new();
    for _ in 0..=limits::MAX_LASTING_COMMANDS {
        let level = Value::Integer(5);
        cabinet
            .gateway
            .command("lamp-1", COMMAND.parse().unwrap(), level, cabinet.now)
            .unwrap();
        cabinet.run_ms(0);
        ids.push(cabinet.downlinks[0].id);
        cabinet.deliver(Delivery::Queued);
    }
    assert_eq!(outcomes(&mut cabinet).len(), limits::MAX_LASTING_COMMANDS + 1);
    for id in ids {
        cabinet.gateway.handle_delivery(id, Delivery::Sent, cabinet.now);
    }
    cabinet.run_ms(0);
    assert_eq!(
        outcomes(&mut cabinet).len(),
        limits::MAX_LASTING_COMMANDS,
        "the first was forgotten"
    );
}
