use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::limits;
use super::*;

#[test]
fn what_nobody_fetches_stops_the_reading_and_costs_only_messages_of_qos_0() {
    let mut rig = Rig::connected();
    for packet_id in (1..).take(limits::EVENTS) {
        assert!(!rig.client.is_clogged());
        rig.say(sensor("a", packet_id));
    }
    assert!(rig.client.is_clogged());
    rig.say(message("tele/a/SENSOR", Qos::AtMostOnce, 0));
    rig.say(sensor("a", 60_000));
    assert_eq!(rig.client.statistics().broker.dropped, 1);
    assert_eq!(rig.receipts().len(), limits::EVENTS + 1);
    assert!(!rig.client.is_clogged());
}

#[test]
fn long_payloads_stop_the_reading_sooner() {
    let mut rig = Rig::connected();
    for packet_id in (1..).take(limits::EVENT_BYTES / limits::PAYLOAD_BYTES) {
        rig.say(Message {
            payload: vec![b' '; limits::PAYLOAD_BYTES],
            ..sensor("a", packet_id)
        });
    }
    assert!(rig.client.is_clogged());
    rig.events();
    assert!(!rig.client.is_clogged());
}

#[test]
fn a_broker_with_too_many_messages_under_way_is_left() {
    let mut rig = Rig::connected();
    for packet_id in (1..).take(limits::RECEIPTS) {
        rig.say(sensor("a", packet_id));
        rig.events();
    }
    assert!(rig.client.is_clogged());
    assert_eq!(rig.actions(), []);
    rig.say(sensor("a", 60_000));
    assert!(matches!(rig.actions().as_slice(), [Action::Disconnect { .. }]));
    rig.say(sensor("a", 60_001));
    rig.disconnect();
    assert!(rig.receipts().is_empty());
    assert_eq!(rig.client.statistics().broker.unsettled, 0);
}

#[test]
fn as_many_unknown_devices_are_remembered_as_a_person_reads() {
    let mut rig = Rig::connected();
    for n in 0..=limits::UNKNOWN {
        rig.say(message(&format!("tele/new-{n}/LWT"), Qos::AtMostOnce, 0));
        rig.events();
    }
    assert_eq!(rig.client.unknown_devices().count(), limits::UNKNOWN);
}

#[test]
fn more_devices_or_discovery_topics_than_can_be_served_are_an_error() {
    let bare = |n: usize| DeviceConfig {
        device: n.to_string().into(),
        topics: Vec::new(),
    };
    let many = config((0..=limits::DEVICES).map(bare).collect());
    let error = Client::new(many, 1, start()).unwrap_err();
    assert!(error.to_string().contains("10001 devices"), "{error}");
    let searched = BrokerConfig {
        discovery: vec![template("{device}"); limits::DISCOVERIES + 1],
        ..config(vec![])
    };
    let error = Client::new(searched, 1, start()).unwrap_err();
    assert!(error.to_string().contains("17 discovery topics"), "{error}");
}

#[derive(Clone, Debug)]
enum Step {
    Message {
        topic: String,
        qos: Qos,
        retain: bool,
        dup: bool,
    },
    Settle(usize),
    Reconnect,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = prop_oneof![
        Just("tele/a/SENSOR".to_owned()),
        Just("tele/b/c/LWT".to_owned()),
        "[a-c/+#$ \\PC]{0,12}",
    ];
    let qos = prop_oneof![
        Just(Qos::AtMostOnce),
        Just(Qos::AtLeastOnce),
        Just(Qos::ExactlyOnce)
    ];
    let message =
        (topic, qos, any::<bool>(), any::<bool>()).prop_map(|(topic, qos, retain, dup)| Step::Message {
            topic,
            qos,
            retain,
            dup,
        });
    let step = prop_oneof![
        8 => message,
        8 => (0..100_usize).prop_map(Step::Settle),
        1 => Just(Step::Reconnect),
        2 => (0..20_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever comes and is settled in whatever order: each connection acknowledges a beginning of what it brought,
    /// in order, and nothing before it was settled.
    #[test]
    fn acknowledgements_are_in_order_and_never_early(steps in steps()) {
        let mut rig = Rig::connected();
        let mut due: VecDeque<(u16, Option<ReceiptId>)> = VecDeque::new();
        let mut open: Vec<ReceiptId> = Vec::new();
        let mut settled: Vec<ReceiptId> = Vec::new();
        for (packet_id, step) in (1..).zip(steps) {
            match step {
                Step::Message { topic, qos, retain, dup } => {
                    rig.say(Message { retain, dup, ..message(&topic, qos, packet_id) });
                    let receipt = rig.receipts().pop();
                    prop_assert!(receipt.is_none() || qos != Qos::AtMostOnce);
                    if qos != Qos::AtMostOnce {
                        due.push_back((packet_id, receipt));
                    }
                    open.extend(receipt);
                }
                Step::Settle(at) if !open.is_empty() => {
                    let receipt = open.swap_remove(at % open.len());
                    settled.push(receipt);
                    rig.settle(receipt);
                }
                Step::Settle(_) => {}
                Step::Reconnect => {
                    due.clear();
                    rig.disconnect();
                    rig.connect();
                }
                Step::Pass(time) => rig.pass(ms(time)),
            }
            for packet_id in rig.acknowledged() {
                let (expected, receipt) = due.pop_front().unwrap();
                prop_assert_eq!(packet_id, expected);
                prop_assert!(receipt.is_none_or(|receipt| settled.contains(&receipt)));
            }
            // And nothing is held back.
            let first = due.front();
            prop_assert!(first.is_none_or(|(_, receipt)| receipt.is_some_and(|r| !settled.contains(&r))));
        }
    }
}
