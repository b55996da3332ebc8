//! Random walks: whatever is acknowledged, lost and told late, nothing is forgotten and the newest value is the last.

use std::time::Duration;

use coap_lite::{CoapOption, Packet};
use proptest::prelude::*;

use super::{JSON, NOTHING, acknowledge, late, measure, notifications, observed, owed};
use crate::client::RegistrationState;
use crate::client::tests::peer::{Bench, texts};

/// Delivers everything, late ones too, and returns the value that the server has got last; before it was `last`.
fn settle(bench: &mut Bench, unanswered: Vec<(Packet, u16)>, all_owed: &[u16], mut last: u16) -> u16 {
    let mut get = |bench: &mut Bench, packet: &Packet, value: u16| {
        last = value;
        acknowledge(bench, packet);
    };
    for (packet, value) in &unanswered {
        get(bench, packet, *value);
    }
    let mut left = all_owed.to_vec();
    for round in 0..1_000 {
        if let Some(value) = left.first().copied()
            && late(bench, 1_000 + round, &[value]).is_ok()
        {
            left.remove(0);
        }
        for update in bench
            .sent
            .iter()
            .filter(|p| texts(p, CoapOption::UriPath) == ["rd", "5a3f"])
            .cloned()
            .collect::<Vec<_>>()
        {
            bench.answer(&update, "2.04", &[]);
        }
        for (packet, value) in notifications(bench) {
            get(bench, &packet, value);
        }
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!(left, NOTHING);
    last
}

#[derive(Clone, Debug)]
enum Step {
    Measure,
    Pass(u64),
    Acknowledge,
    /// The server answers Updates from here on, or does not.
    Away(bool),
    Late,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Measure),
        2 => (0u64..8_000).prop_map(Step::Pass),
        3 => Just(Step::Acknowledge),
        1 => any::<bool>().prop_map(Step::Away),
        1 => Just(Step::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Registers are never answered, so one observation lives throughout.
    #[test]
    fn every_notification_is_delivered_or_owed_once_and_in_order(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = observed(JSON);
        let (mut measured, mut away, mut late_id) = (0u16, false, 0);
        let (mut told, mut all_owed): (Vec<u16>, Vec<u16>) = (Vec::new(), Vec::new());
        let mut unanswered: Vec<(Packet, u16)> = Vec::new();
        for step in steps {
            match step {
                Step::Measure => {
                    measured += 1;
                    measure(&mut bench, measured);
                }
                Step::Pass(ms) => bench.pass(Duration::from_millis(ms)),
                Step::Acknowledge if !unanswered.is_empty() => {
                    let (packet, value) = unanswered.remove(0);
                    acknowledge(&mut bench, &packet);
                    told.push(value);
                }
                Step::Away(now_away) => away = now_away,
                // Whether it is taken does not matter here.
                Step::Late => if let Some(value) = all_owed.first() {
                    late_id += 1;
                    drop(late(&mut bench, late_id, &[*value]));
                },
                Step::Acknowledge => {}
            }
            let updates: Vec<_> = bench.sent.iter().filter(|p| texts(p, CoapOption::UriPath) == ["rd", "5a3f"]).cloned().collect();
            unanswered.extend(notifications(&mut bench));
            if !away {
                updates.iter().for_each(|update| bench.answer(update, "2.04", &[]));
                unanswered.extend(notifications(&mut bench));
            }
            all_owed.extend(owed(&mut bench));
        }
        bench.client.owe_notifications();
        bench.collect();
        all_owed.extend(owed(&mut bench));
        if bench.client.state() == RegistrationState::Registered {
            let last = told.last().copied().unwrap_or_default();
            prop_assert_eq!(settle(&mut bench, unanswered, &all_owed, last), measured);
        }
        prop_assert!(all_owed.is_sorted_by(|a, b| a < b), "{:?}", all_owed);
        for value in 1..=measured {
            prop_assert!(told.contains(&value) || all_owed.contains(&value), "{} is forgotten", value);
        }
    }
}
