use std::time::Duration;

use super::*;
use crate::disk::{Faults, PowerCut};
use crate::server::Code;

const SECOND: Duration = Duration::from_secs(1);

fn plan(seed: u64) -> Plan {
    Plan::new(seed)
        .with_scripted("a", SECOND)
        .with_scripted("b", SECOND)
        .with_store(StorePlan::default())
}

#[test]
fn while_the_gateway_is_off_the_world_goes_on() {
    let mut cabinet = plan(1).build();
    cabinet.run_for(SECOND * 30);
    let (given, clients) = (cabinet.ledger().totals().given, cabinet.server().clients().len());
    assert!(given > 20 && clients == 3);
    cabinet.go_down(Down::PowerCut(PowerCut::DropAll));
    cabinet.run_for(SECOND * 30);
    assert!(!cabinet.is_on());
    assert_eq!(cabinet.ledger().totals().given, given, "nobody heard the devices");
    assert_eq!(
        cabinet.server().clients().len(),
        clients,
        "the server does not know"
    );
    cabinet.power_on().unwrap();
    cabinet.run_for(SECOND * 30);
    assert_eq!(cabinet.starts(), 2);
    assert!(cabinet.ledger().totals().given > given + 20);
}

#[test]
fn the_gateway_goes_down_between_two_outputs() {
    let mut outputs = Vec::new();
    for after in 0..20 {
        let mut cabinet = plan(1).build();
        cabinet.run_for(SECOND * 10);
        let before = cabinet.trace().outputs;
        cabinet.plan_down(Moment::AfterOutputs(after), Down::Kill);
        assert!(cabinet.run_until(SECOND * 60, |cabinet| !cabinet.is_on()));
        outputs.push(cabinet.trace().outputs - before);
    }
    assert!(outputs.is_sorted() && outputs[0] < outputs[19], "{outputs:?}");
}

#[test]
fn an_endpoint_or_a_send_can_be_refused_alone() {
    let mut cabinet = plan(1).build();
    let manners = cabinet.server_mut().manners_mut();
    manners
        .refuse_register_of
        .insert("cab-17-a".to_owned(), Code::FORBIDDEN);
    manners.refuse_next_sends.push_back(Code::SERVICE_UNAVAILABLE);
    cabinet.run_for(SECOND * 60);
    let clients = cabinet.server().clients();
    let names: Vec<&str> = clients.iter().map(|client| client.endpoint.as_str()).collect();
    assert_eq!(names, ["cab-17", "cab-17-b"]);
    let refused = cabinet.server_events().iter().filter(|(_, event)| {
        matches!(
            event,
            ServerEvent::Refused {
                code: Code::SERVICE_UNAVAILABLE,
                ..
            }
        )
    });
    assert_eq!(refused.count(), 1);
    cabinet.server_mut().manners_mut().refuse_register_of.clear();
    cabinet.run_for(SECOND * 300);
    assert_eq!(cabinet.server().clients().len(), 3);
}

#[test]
fn a_disk_that_fails_is_known_to_the_books() {
    let mut cabinet = plan(1).build();
    let faults = Faults {
        writes: 1.0,
        ..Faults::default()
    };
    cabinet.network_mut().conditions_mut().loss = 1.0;
    cabinet.set_disk(faults, 1 << 20);
    cabinet.run_for(SECOND * 60);
    cabinet.go_down(Down::PowerCut(PowerCut::KeepAll));
    assert_eq!(cabinet.ledger().faults(), &[] as &[String]);
    assert!(cabinet.ledger().totals().lost > 20);
}

/// A cabinet of three protocols.
fn of_three(seed: u64) -> Cabinet {
    Plan::new(seed)
        .with_scripted("a", SECOND)
        .with_scripted_messages("b", SECOND)
        .with_scripted_node("c", SECOND * 10, true)
        .with_scripted_node("d", SECOND * 10, false)
        .with_store(StorePlan::default())
        .build()
}

/// Lets everything that is under way arrive, and closes the books.
fn close(cabinet: &mut Cabinet) -> (Vec<String>, crate::ledger::Totals) {
    cabinet.silence_scripted();
    cabinet.run_for(SECOND * 300);
    cabinet.ledger_mut().check_all_arrived();
    (cabinet.ledger().faults().to_vec(), cabinet.ledger().totals())
}

#[test]
fn what_a_broker_and_nodes_bring_arrives_and_is_acknowledged() {
    let mut cabinet = of_three(1);
    cabinet.run_for(SECOND * 300);
    let (faults, totals) = close(&mut cabinet);
    assert_eq!((faults, totals.lost, totals.heard_again), (vec![], 0, 0));
    assert_eq!(totals.arrived, totals.given);
    let (nodes, field) = (cabinet.node_counters().unwrap(), cabinet.field().unwrap());
    assert_eq!(nodes.joins, 2, "{nodes:?}");
    assert!(nodes.unacknowledged <= field.spoilt_uplinks(), "{nodes:?}");
    assert!(
        nodes.acknowledged > 15 && totals.confirmed > 300,
        "{nodes:?} {totals:?}"
    );
    assert_eq!(cabinet.broker().unwrap().out_of_order(), 0);
    assert_eq!(cabinet.field().unwrap().reused_counters(), 0);
}

#[test]
fn what_was_acknowledged_before_a_cut_arrives_and_what_was_not_comes_again() {
    let mut cabinet = of_three(2);
    cabinet.network_mut().conditions_mut().loss = 1.0;
    for _ in 0..10 {
        cabinet.run_for(SECOND * 30);
        cabinet.go_down(Down::PowerCut(PowerCut::DropAll));
        cabinet.run_for(SECOND * 3);
        cabinet.power_on().unwrap();
    }
    cabinet.network_mut().conditions_mut().loss = 0.0;
    cabinet.set_broker_reachable(false);
    cabinet.run_for(SECOND * 60);
    cabinet.set_broker_reachable(true);
    cabinet.run_for(SECOND * 60);
    let (faults, totals) = close(&mut cabinet);
    assert_eq!(faults, [] as [String; 0], "{totals:?}");
    assert!(totals.heard_again > 0 && totals.lost > 0, "{totals:?}");
    let nodes = cabinet.node_counters().unwrap();
    assert_eq!(nodes.joins, 2, "{nodes:?}");
    assert!(nodes.acknowledged > 10, "{nodes:?}");
    assert_eq!(cabinet.broker().unwrap().out_of_order(), 0);
    assert_eq!(cabinet.field().unwrap().reused_counters(), 0);
}

#[test]
fn what_is_durably_queued_for_a_device_is_told_by_a_later_start() {
    let mut cabinet = of_three(4);
    cabinet.run_for(SECOND * 60);
    for _ in 0..5 {
        cabinet.order("c").unwrap();
        cabinet.run_until(SECOND * 60, |cabinet| cabinet.untold_orders() > 0);
        cabinet.go_down(Down::PowerCut(PowerCut::DropAll));
        cabinet.power_on().unwrap();
        cabinet.run_for(SECOND * 60);
    }
    let orders = cabinet.order_counters();
    assert!(orders.told_after_restart > 2, "{orders:?}");
    assert_eq!(cabinet.untold_orders(), 0, "{orders:?}");
}

#[test]
fn a_clean_stop_leaves_nothing_in_doubt() {
    let mut cabinet = of_three(3);
    cabinet.run_for(SECOND * 60);
    assert!(cabinet.stop(SECOND * 30));
    assert!(
        cabinet
            .state()
            .unwrap()
            .load()
            .values
            .contains_key("lorawan/stopped")
    );
    cabinet.power_on().unwrap();
    cabinet.run_for(SECOND * 60);
    let statistics = cabinet.radio_statistics().unwrap();
    assert!(
        statistics.uplinks > 5 && statistics.uncertain == 0 && statistics.joins == 0,
        "{statistics:?}"
    );
    let (faults, totals) = close(&mut cabinet);
    assert_eq!((faults, totals.lost), (vec![], 0));
}

#[test]
fn the_same_seed_gives_the_same_outputs_over_three_protocols() {
    let run = |seed| {
        let mut cabinet = of_three(seed);
        cabinet.run_for(SECOND * 60);
        cabinet.go_down(Down::PowerCut(PowerCut::DropAll));
        cabinet.run_for(SECOND * 10);
        cabinet.power_on().unwrap();
        cabinet.run_for(SECOND * 60);
        *cabinet.trace()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
