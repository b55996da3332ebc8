use std::collections::BTreeSet;

use lwm2m_client::object::Model;
use proptest::prelude::*;

use super::{METER, RELAY, meter_and_relay};
use crate::field::{Reachability, Refusal};
use crate::testing::{Got, TestCabinet, coils, confirmed, words};
use crate::{Delivery, Frame, limits};

/// One thing that happens to a gateway.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Uplink(u8, Frame),
    Datagram(u32, Vec<u8>),
    Write(bool, u8),
    Observe(u8),
    Deliver(Delivery),
    Reachability(u8, bool),
    Link(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let delivery = prop_oneof![
        Just(Delivery::Sent),
        any::<bool>().prop_map(|bit| confirmed(0, bit)),
        Just(Delivery::Refused(Refusal {
            code: 4,
            text: "device failure".to_owned()
        })),
        Just(Delivery::Unconfirmed("no answer".to_owned())),
        Just(Delivery::Unreachable { retry_after_secs: 5 }),
        Just(Delivery::Expired),
        Just(Delivery::Queued),
        Just(Delivery::Confirmed(None)),
        Just(Delivery::Superseded),
    ];
    prop_oneof![
        4 => (0u64..30_000).prop_map(Step::Wait),
        4 => (1u8..4, 0u16..8, proptest::collection::vec(any::<u16>(), 0..8))
            .prop_map(|(unit, at, block)| Step::Uplink(unit, words(at, &block))),
        2 => (1u8..4, 0u16..3, proptest::collection::vec(any::<bool>(), 0..4))
            .prop_map(|(unit, at, block)| Step::Uplink(unit, coils(at, &block))),
        1 => (0u32..5, proptest::collection::vec(any::<u8>(), 0..64)).prop_map(|(at, d)| Step::Datagram(at, d)),
        2 => (any::<bool>(), any::<u8>()).prop_map(|(relay, value)| Step::Write(relay, value)),
        1 => (0u8..3).prop_map(Step::Observe),
        3 => delivery.prop_map(Step::Deliver),
        1 => (1u8..4, any::<bool>()).prop_map(|(unit, on)| Step::Reachability(unit, on)),
        1 => any::<bool>().prop_map(Step::Link),
    ]
}

fn take(cabinet: &mut TestCabinet, step: Step) {
    match step {
        Step::Wait(ms) => cabinet.run_ms(ms),
        Step::Uplink(unit, frame) => cabinet.uplink(unit, frame),
        Step::Datagram(endpoint, datagram) => cabinet.datagram(endpoint, &datagram),
        Step::Write(true, value) => cabinet.write(RELAY, "/3311/0/5850", &(value % 2).to_string()),
        Step::Write(false, value) => cabinet.write(RELAY, "/3311/0/5851", &value.to_string()),
        Step::Observe(which) => {
            let path = ["/3421/0", "/3421/0/1", "/3"][usize::from(which)];
            let request = cabinet.server.observe(path);
            cabinet.datagram(METER, &request);
        }
        Step::Deliver(delivery) => {
            if !cabinet.downlinks.is_empty() {
                cabinet.deliver(delivery);
            }
        }
        Step::Reachability(unit, true) => cabinet.reachability(unit, Reachability::Reachable),
        Step::Reachability(unit, false) => {
            cabinet.reachability(unit, Reachability::Unreachable("silence".to_owned()));
        }
        Step::Link(is_connected) => cabinet.is_connected = is_connected,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_gateway_stays_within_its_bounds_and_answers_each_command_once(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut cabinet = TestCabinet::new(meter_and_relay(Model::Y2023));
        for step in steps {
            take(&mut cabinet, step);
            let endpoints = cabinet.gateway.endpoints();
            prop_assert!(endpoints.iter().all(|e| e.queued <= limits::MAX_QUEUED_READINGS));
        }
        // Whatever it was, with the server back everything is told and nothing is left.
        cabinet.is_connected = true;
        cabinet.run_ms(1_200_000);
        prop_assert!(cabinet.gateway.endpoints().iter().all(|e| e.queued == 0));
        let answers = cabinet.server.got.iter().filter_map(|(_, got)| {
            let Got::Answer(answer) = got else { return None };
            (!answer.code.starts_with("2.05")).then(|| answer.token.clone())
        });
        let answers: Vec<Vec<u8>> = answers.collect();
        let requests: BTreeSet<&Vec<u8>> = answers.iter().collect();
        prop_assert_eq!(requests.len(), answers.len(), "no request is answered twice");
    }
}
