//! Delay, loss, duplication and reordering on the way to the server.

use std::collections::BTreeSet;
use std::time::Duration;

use ucifi_sim::cabinet::{Cabinet, Plan, endpoint_of};
use ucifi_sim::network::Conditions;
use ucifi_sim::server::Origin;

use crate::meter;

const SECOND: Duration = Duration::from_secs(1);

/// Five minutes of a bad network, then two of a good one.
fn run(seed: u64, conditions: Conditions) -> Cabinet {
    let mut plan = Plan::new(seed).with_meter("meter-1", 3).with_relays("relays", 4);
    plan.conditions = conditions;
    let mut cabinet = plan.build();
    cabinet.run_for(SECOND * 300);
    *cabinet.network_mut().conditions_mut() = Conditions::good();
    cabinet.run_for(SECOND * 120);
    cabinet
}

/// Checks that each reading that a device owed has arrived, or waits for its turn.
fn check_accounts(cabinet: &Cabinet, device: &str) {
    let endpoint = endpoint_of(device);
    let endpoints = cabinet.gateway().endpoints();
    let status = endpoints
        .iter()
        .find(|status| status.name == endpoint)
        .expect("the device is an endpoint");
    let arrivals = cabinet.arrivals(&endpoint);
    let sent = arrivals.iter().filter(|arrival| arrival.origin == Origin::Send);
    let distinct: BTreeSet<_> = sent
        .map(|arrival| (arrival.received.path, arrival.received.time))
        .collect();
    assert_eq!(status.dropped, 0, "{device}");
    assert!(
        status.queued <= 8,
        "{device}: {} wait although the network is good",
        status.queued
    );
    let (delivered, arrived) = (status.delivered, distinct.len() as u64);
    assert!(
        arrived >= delivered,
        "{device}: {delivered} count as delivered, {arrived} arrived"
    );
    assert!(
        arrived - delivered <= status.queued as u64,
        "{device}: {arrived} arrived of {delivered}"
    );
    assert!(arrived > 10, "{device}: only {arrived} arrived");
}

#[test]
fn every_reading_arrives_and_is_true_whatever_the_network_does() {
    for seed in 1..=5 {
        let cabinet = run(seed, Conditions::poor());
        check_accounts(&cabinet, "meter-1");
        check_accounts(&cabinet, "relays");
        assert!(meter::check_arrivals(&cabinet, "meter-1", 3) > 200, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_outputs_and_another_seed_others() {
    let mut traces = Vec::new();
    for seed in 1..=5 {
        let trace = *run(seed, Conditions::poor()).trace();
        assert_eq!(trace, *run(seed, Conditions::poor()).trace(), "seed {seed}");
        assert!(!traces.contains(&trace), "seed {seed}");
        traces.push(trace);
    }
}

#[test]
fn each_trouble_alone_is_borne() {
    let troubles = [
        Conditions {
            delay: SECOND * 3,
            ..Conditions::good()
        },
        Conditions {
            loss: 0.3,
            ..Conditions::good()
        },
        Conditions {
            duplication: 1.0,
            ..Conditions::good()
        },
        Conditions {
            reordering: 0.5,
            ..Conditions::good()
        },
        Conditions {
            partitions: vec![SECOND * 60..SECOND * 150],
            ..Conditions::good()
        },
    ];
    for conditions in troubles {
        let cabinet = run(7, conditions);
        check_accounts(&cabinet, "meter-1");
    }
}
