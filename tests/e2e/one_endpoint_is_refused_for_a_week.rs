//! One of a hundred endpoints may not register for a week: it alone has to wait, and the buffer stays small.

use std::time::Duration;

use ucifi_core::buffer::Options;
use ucifi_sim::cabinet::{Cabinet, Plan, StorePlan};
use ucifi_sim::network::outages;
use ucifi_sim::server::Code;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const REFUSED: &str = "cab-17-d42";
const SEGMENT_BYTES: u64 = 16 << 10;

fn cabinet() -> Cabinet {
    let store = StorePlan {
        capacity: 8 << 20,
        options: Options {
            segment_bytes: SEGMENT_BYTES,
            max_bytes: 4 << 20,
            ..Options::default()
        },
        ..StorePlan::default()
    };
    let mut plan = Plan::new(1).with_store(store);
    plan.lifetime_secs = 24 * 3600;
    plan.conditions.partitions = outages(1, WEEK - HOUR * 6, &(SECOND * 10..=HOUR * 24), 0.3);
    for device in 0..100 {
        plan = plan.with_scripted(&format!("d{device}"), HOUR * 2);
    }
    let mut cabinet = plan.build();
    let refused = &mut cabinet.server_mut().manners_mut().refuse_register_of;
    refused.insert(REFUSED.to_owned(), Code::FORBIDDEN);
    cabinet
}

/// How much waits for the refused endpoint, and for all others.
fn waiting(cabinet: &Cabinet) -> (usize, usize) {
    let endpoints = cabinet.gateway().endpoints();
    let of = |refused: bool| {
        endpoints
            .iter()
            .filter(move |endpoint| (*endpoint.name == *REFUSED) == refused)
    };
    (
        of(true).map(|e| e.queued).sum(),
        of(false).map(|e| e.queued).sum(),
    )
}

#[test]
fn the_others_get_rid_of_everything_and_it_of_its_own_when_it_may() {
    let mut cabinet = cabinet();
    cabinet.run_for(WEEK);
    cabinet.silence_scripted();
    cabinet.run_for(HOUR);
    let (stuck, others) = waiting(&cabinet);
    assert_eq!(others, 0, "what waits for the others");
    assert!(stuck > 100, "a week of one device waits: {stuck}");
    let statistics = *cabinet.buffer_statistics().last().expect("there is a buffer");
    eprintln!("{statistics:?} {:?} {stuck}", cabinet.ledger().totals());
    assert!(statistics.segments <= 4, "{statistics:?}");

    cabinet.server_mut().manners_mut().refuse_register_of.clear();
    cabinet.run_for(HOUR * 26);
    assert_eq!(waiting(&cabinet), (0, 0));
    cabinet.ledger_mut().check_all_arrived();
    assert_eq!(cabinet.ledger().faults(), &[] as &[String]);
    let totals = cabinet.ledger().totals();
    assert_eq!((totals.arrived, totals.gone, totals.lost), (totals.given, 0, 0));
    assert_eq!(totals.repeated, 0, "readings that came twice");
}
