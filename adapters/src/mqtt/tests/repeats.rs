//! What is told of messages that the broker may send again.

use ucifi_core::field::{Fingerprint, Repetition};

use super::*;

/// Returns what is told of a message, and has it acknowledged.
fn told(rig: &mut Rig, message: Message) -> Repetition {
    rig.say(message);
    let (id, repetition) = receipt(rig);
    rig.settle(id);
    repetition
}

fn receipt(rig: &mut Rig) -> (ReceiptId, Repetition) {
    let events = rig.events().into_iter();
    let mut receipts = events.filter_map(|event| {
        let Event::Uplink(uplink) = event else {
            return None;
        };
        uplink.receipt
    });
    let receipt = receipts.next().unwrap();
    (receipt.id, receipt.repetition.unwrap())
}

fn again(message: Message) -> Message {
    Message { dup: true, ..message }
}

/// Connects again; says whether the broker knows the session.
fn reconnect(rig: &mut Rig, is_session_present: bool) {
    rig.disconnect();
    while !rig.actions().contains(&Action::Connect) {
        rig.wait();
    }
    rig.client.handle_connected(is_session_present, rig.now);
    rig.subscribe();
}

fn fingerprint(message: Message) -> Fingerprint {
    told(&mut Rig::connected(), message).fingerprint
}

#[test]
fn a_message_is_known_by_its_identifier_topic_quality_and_payload_in_every_run() {
    let first = fingerprint(sensor("a", 7));
    assert_eq!(fingerprint(again(sensor("a", 7))), first);
    let others = [
        sensor("a", 8),
        sensor("b/c", 7),
        message("tele/a/SENSOR", Qos::ExactlyOnce, 7),
        Message {
            payload: b"{ }".to_vec(),
            ..sensor("a", 7)
        },
    ];
    for other in others {
        assert_ne!(fingerprint(other), first);
    }
}

#[test]
fn it_is_relied_upon_where_the_broker_counts() {
    let mut rig = Rig::connected();
    let mut relied = Vec::new();
    for packet_id in 1..=4 {
        relied.push(told(&mut rig, sensor("a", packet_id)).is_unique);
        rig.pass(ms(crate::mqtt::limits::ACKNOWLEDGED_MS));
    }
    assert_eq!(relied, [false, true, true, true]);
}

#[test]
fn it_is_not_where_identifiers_are_used_again_or_may_be() {
    let mut rig = Rig::connected();
    for packet_id in [1, 1, 1, 2, 3, 1] {
        assert!(!told(&mut rig, sensor("a", packet_id)).is_unique);
        rig.pass(ms(100_000));
    }
    // Nothing is acknowledged: whatever the broker does, it needs them all.
    let mut rig = Rig::connected();
    for packet_id in 1..=50 {
        rig.say(sensor("a", packet_id));
        assert!(!receipt(&mut rig).1.is_unique);
    }
}

#[test]
fn what_an_earlier_connection_brought_does_not_come_again_behind_something_new() {
    let mut rig = Rig::connected();
    let old = rig.owe(1);
    let older = rig.owe(2);
    rig.settle(old);
    reconnect(&mut rig, true);
    let repeated = told(&mut rig, again(sensor("a", 2)));
    assert!(repeated.is_repeat);
    assert_eq!(repeated.none_before, None, "there may be more of them");
    rig.say(sensor("a", 3));
    let (new, repetition) = receipt(&mut rig);
    let before = repetition.none_before.unwrap();
    assert!(!repetition.is_repeat && older < before && before < new);
    rig.settle(new);
    let mut later = |packet_id| {
        rig.pass(ms(crate::mqtt::limits::ACKNOWLEDGED_MS));
        told(&mut rig, sensor("a", packet_id)).none_before.unwrap()
    };
    assert!(later(4) <= new);
    assert!(later(5) > new, "the broker has long had the acknowledgement");
}

#[test]
fn another_session_repeats_nothing() {
    let mut rig = Rig::connected();
    let old = rig.owe(1);
    reconnect(&mut rig, false);
    let repeated = told(&mut rig, again(sensor("a", 1)));
    assert!(repeated.none_before.is_some_and(|before| old < before));
}
