//! A server that has muted Send, goes away and comes back gets what it observes by notification.

use std::collections::BTreeSet;
use std::time::Duration;

use lwm2m_client::client::WriteMode;
use lwm2m_client::format::Entry;
use lwm2m_client::{Path, Timestamp, Value};
use ucifi_sim::cabinet::{Cabinet, Down, Plan, StorePlan, path_of};
use ucifi_sim::server::{Code, Origin, ServerRequest, content_format};

const SECOND: Duration = Duration::from_secs(1);
const SCRIPTED: &str = "cab-17-a";
const MUTE_SEND: Path = Path::resource(1, 0, 23);
const POINTS: usize = 4;

/// A cabinet whose server has muted Send and observes every point of a device, again after each registration.
fn muted(seed: u64) -> Cabinet {
    let mut cabinet = Plan::new(seed)
        .with_scripted("a", SECOND)
        .with_store(StorePlan::default())
        .build();
    let manners = cabinet.server_mut().manners_mut();
    manners.observe = (0..POINTS).map(path_of).collect();
    manners.observe_format = Some(content_format::SENML_JSON);
    cabinet.run_for(SECOND * 30);
    mute(&mut cabinet, true);
    cabinet
}

fn mute(cabinet: &mut Cabinet, is_muted: bool) {
    let entry = Entry {
        path: MUTE_SEND,
        value: Value::Boolean(is_muted),
    };
    let request = ServerRequest::Write {
        mode: WriteMode::Replace,
        path: MUTE_SEND,
        entries: vec![entry],
        format: content_format::SENML_JSON,
    };
    let answer = cabinet.ask(SCRIPTED, request).expect("the client answers");
    assert_eq!(answer.code, Code::CHANGED);
}

/// Returns what arrived by Send since then, and of each point what arrived by acknowledged notifications.
fn arrived(cabinet: &Cabinet, since: Duration) -> (usize, Vec<Vec<(Timestamp, u64)>>) {
    let (mut sent, mut notified) = (0, vec![Vec::new(); POINTS]);
    for arrival in cabinet.arrivals(SCRIPTED) {
        let received = &arrival.received;
        let Some(point) = (0..POINTS).find(|point| path_of(*point) == received.path) else {
            continue;
        };
        match arrival.origin {
            Origin::Send if arrival.at > since => sent += 1,
            Origin::Notification {
                confirmable: true, ..
            } => {
                let Value::Float(number) = received.value else {
                    panic!("no number: {received:?}");
                };
                let time = received.time.expect("it carries its time");
                assert_eq!(cabinet.ledger().time_of(&received.value), Some(time));
                notified[point].push((time, number as u64));
            }
            Origin::Read | Origin::Observe { .. } | Origin::Notification { .. } | Origin::Send => {}
        }
    }
    (sent, notified)
}

/// Checks that everything arrived in its order, and only the newest again; returns how many readings that were.
fn check(notified: &[Vec<(Timestamp, u64)>]) -> usize {
    let mut count = 0;
    for of_point in notified {
        let mut told = of_point.clone();
        told.dedup();
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
        count += told.len();
    }
    count
}

#[test]
fn through_an_outage_everything_observed_arrives_once_and_in_order() {
    let mut cabinet = muted(1);
    let (since, before) = (cabinet.elapsed(), cabinet.ledger().totals());
    cabinet.run_for(SECOND * 60);
    cabinet.server_mut().manners_mut().silent = true;
    cabinet.run_for(SECOND * 300);
    cabinet.server_mut().manners_mut().silent = false;
    cabinet.run_for(SECOND * 300);
    cabinet.silence_scripted();
    cabinet.run_for(SECOND * 30);
    let (sent, notified) = arrived(&cabinet, since);
    let given = cabinet.ledger().totals().given - before.given;
    assert_eq!((sent, check(&notified) as u64), (0, given));
    let repeated: usize = notified.iter().map(Vec::len).sum::<usize>() - given as usize;
    assert_eq!(repeated, 0, "of {given}");
    mute(&mut cabinet, false);
    cabinet.run_for(SECOND * 30);
    assert_eq!(arrived(&cabinet, since).0, 0, "nothing is left to send");
}

#[test]
fn after_a_kill_in_the_outage_what_was_stored_arrives_by_notification_or_send_but_not_by_both() {
    let mut cabinet = muted(2);
    let (since, before) = (cabinet.elapsed(), cabinet.ledger().totals());
    cabinet.run_for(SECOND * 30);
    cabinet.server_mut().manners_mut().silent = true;
    cabinet.run_for(SECOND * 120);
    cabinet.go_down(Down::Kill);
    cabinet.power_on().unwrap();
    cabinet.run_for(SECOND * 120);
    cabinet.server_mut().manners_mut().silent = false;
    cabinet.run_for(SECOND * 300);
    cabinet.silence_scripted();
    cabinet.run_for(SECOND * 30);
    let (sent, notified) = arrived(&cabinet, since);
    check(&notified);
    let numbers: BTreeSet<u64> = notified.iter().flatten().map(|(_, number)| *number).collect();
    let totals = cabinet.ledger().totals();
    let given = totals.given - before.given;
    assert!(numbers.len() as u64 + sent as u64 <= given);
    // What was in memory for less than the hold and the commit, of four points a second.
    assert!(
        numbers.len() as u64 + sent as u64 + 4 * 8 >= given,
        "{sent} of {given}"
    );
}
