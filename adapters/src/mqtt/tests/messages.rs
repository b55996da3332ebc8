use ucifi_core::field::{Frame, Freshness, MqttMessage, Qos, Reachability, TopicId};

use super::*;

#[test]
fn a_message_is_a_frame_of_its_device_under_the_topic_of_the_profile() {
    let mut rig = Rig::connected();
    rig.say(message("tele/b/c/LWT", Qos::AtMostOnce, 0));
    let events = rig.events();
    let [Event::Reachability { reachability, .. }, Event::Uplink(uplink)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(*reachability, Reachability::Reachable);
    assert_eq!(uplink.link, link("b/c"));
    assert_eq!(uplink.freshness, Freshness::Fresh);
    assert_eq!(uplink.receipt, None);
    let said = MqttMessage {
        topic: TopicId(1),
        payload: b"{}".to_vec(),
    };
    assert_eq!(uplink.frame, Frame::MqttMessage(said));
}

#[test]
fn a_message_is_acknowledged_only_when_it_is_settled() {
    let mut rig = Rig::connected();
    let receipt = rig.owe(7);
    assert_eq!(super::super::place_of(receipt), 3);
    rig.pass(ms(600_000));
    assert!(rig.acknowledged().is_empty());
    rig.settle(receipt);
    assert_eq!(
        rig.actions(),
        [Action::Acknowledge {
            packet_id: 7,
            qos: Qos::AtLeastOnce
        }]
    );
}

#[test]
fn acknowledgements_go_out_in_the_order_of_receipt_whatever_is_settled_first() {
    let mut rig = Rig::connected();
    let receipts = [rig.owe(5), rig.owe(4), rig.owe(9)];
    rig.settle(receipts[2]);
    rig.settle(receipts[1]);
    assert!(rig.acknowledged().is_empty());
    rig.settle(receipts[0]);
    assert_eq!(rig.acknowledged(), [5, 4, 9]);
}

#[test]
fn what_owes_nothing_is_acknowledged_in_its_turn_and_counted() {
    let mut rig = Rig::connected();
    let receipt = rig.owe(1);
    rig.say(Message {
        retain: true,
        ..sensor("a", 2)
    });
    rig.say(sensor("stranger", 3));
    rig.say(Message {
        payload: vec![0; super::super::limits::PAYLOAD_BYTES + 1],
        ..sensor("a", 4)
    });
    assert!(rig.acknowledged().is_empty());
    rig.settle(receipt);
    assert_eq!(rig.acknowledged(), [1, 2, 3, 4]);
    let counted = rig.client.statistics().broker;
    assert_eq!((counted.retained, counted.unmatched, counted.too_big), (1, 1, 1));
}

#[test]
fn a_retained_message_is_told_but_says_nothing_of_the_present() {
    let mut rig = Rig::connected();
    rig.say(Message {
        retain: true,
        ..sensor("a", 2)
    });
    let events = rig.events();
    let [Event::Uplink(uplink)] = events.as_slice() else {
        panic!("a retained message makes nobody reachable: {events:?}");
    };
    assert_eq!(uplink.freshness, Freshness::Retained);
    assert_eq!(uplink.receipt, None);
}

#[test]
fn a_receipt_of_an_earlier_connection_acknowledges_nothing() {
    let mut rig = Rig::connected();
    let (old, older) = (rig.owe(1), rig.owe(2));
    rig.settle(older);
    rig.disconnect();
    rig.connect();
    // The broker sends both again, with their identifiers.
    rig.say(Message {
        dup: true,
        ..sensor("a", 1)
    });
    rig.say(Message {
        dup: true,
        ..sensor("a", 2)
    });
    rig.settle(old);
    assert!(rig.acknowledged().is_empty());
    let again = rig.receipts();
    assert_eq!(again.len(), 2);
    for receipt in again {
        assert!(receipt != old && receipt != older);
        rig.settle(receipt);
    }
    assert_eq!(rig.acknowledged(), [1, 2]);
    let counted = rig.client.statistics().broker;
    assert_eq!((counted.repeated, counted.settled_late), (2, 1));
}

#[test]
fn a_message_repeated_while_it_is_under_way_is_acknowledged_once() {
    let mut rig = Rig::connected();
    let receipt = rig.owe(1);
    rig.say(Message {
        dup: true,
        ..sensor("a", 1)
    });
    assert!(rig.receipts().is_empty());
    rig.settle(receipt);
    assert_eq!(rig.acknowledged(), [1]);
}

#[test]
fn the_newest_message_is_in_a_hurry_when_the_window_is_full() {
    for (receive_window, calm) in [(100, 9), (4, 3), (1, 0)] {
        let mut rig = Rig::with(BrokerConfig {
            receive_window,
            ..config(vec![plug("a")])
        });
        rig.connect();
        for packet_id in 1..=calm {
            rig.say(sensor("a", packet_id));
        }
        assert!(settle_by(&mut rig).iter().all(Option::is_none));
        rig.say(sensor("a", calm + 1));
        assert_eq!(
            settle_by(&mut rig),
            [Some(rig.now + ms(crate::mqtt::limits::PRESSURE_MS))]
        );
    }
}

fn settle_by(rig: &mut Rig) -> Vec<Option<Instant>> {
    let events = rig.events().into_iter();
    events
        .filter_map(|event| {
            let Event::Uplink(uplink) = event else {
                return None;
            };
            uplink.receipt.map(|receipt| receipt.settle_by)
        })
        .collect()
}

#[test]
fn a_device_that_is_not_configured_is_told_once_and_remembered() {
    let mut rig = Rig::connected();
    for _ in 0..3 {
        rig.say(message("tele/new/LWT", Qos::AtMostOnce, 0));
    }
    let told = Event::Unknown {
        device: "new".into(),
        topic: "tele/new/LWT".to_owned(),
    };
    assert_eq!(rig.events(), [told]);
    let known: Vec<_> = rig.client.unknown_devices().collect();
    assert_eq!((&*known[0].device, known[0].messages), ("new", 3));
    // The wildcard takes one level.
    rig.say(message("tele/x/y/LWT", Qos::AtMostOnce, 0));
    assert_eq!(rig.events(), []);
}
