//! Frames whose senders repeat them until they are told that they were taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;
use proptest::prelude::*;

use crate::buffer::{DiskError, Moment};
use crate::field::{DeviceClass, Freshness, Receipt, ReceiptId};
use crate::testing::{Got, Node, TestCabinet, Way, broker, data, lamp, message, one_server, presence, radio};
use crate::{AccountConfig, Config, Uplink, limits};

const LAMP: u32 = 1;

fn config() -> Config {
    one_server(
        Model::Y2026,
        vec![
            lamp("lamp-1", Node::new(Way::Broker)),
            lamp("lamp-2", Node::new(Way::Broker)),
        ],
    )
}

fn running(config: Config) -> TestCabinet {
    let mut cabinet = TestCabinet::keeping(config);
    cabinet.run_ms(2_000);
    for device in ["lamp-1", "lamp-2"] {
        cabinet.hear(Uplink::new(
            broker(device),
            message(&[(0, 1, None), (1, 20, None), (2, 0, None)]),
            cabinet.now,
        ));
    }
    cabinet.run_ms(20_000);
    cabinet.server.got.clear();
    cabinet.buffer.commits.clear();
    cabinet
}

/// Lets a lamp say a level in a frame that wants a receipt, maybe within so many milliseconds.
fn say(cabinet: &mut TestCabinet, device: &str, (id, level): (u64, u8), within_ms: Option<u64>) {
    let uplink = Uplink::new(broker(device), message(&[(0, level, None)]), cabinet.now);
    hear(cabinet, uplink, id, within_ms);
}

fn hear(cabinet: &mut TestCabinet, uplink: Uplink, id: u64, within_ms: Option<u64>) {
    let settle_by = within_ms.map(|ms| cabinet.now.instant + Duration::from_millis(ms));
    let id = ReceiptId(id);
    cabinet.hear(Uplink {
        receipt: Some(Box::new(Receipt {
            id,
            settle_by,
            repetition: None,
        })),
        ..uplink
    });
}

#[test]
fn a_frame_is_settled_by_the_servers_answer_and_nothing_is_written() {
    let mut cabinet = running(config());
    for id in 1..=50 {
        say(&mut cabinet, "lamp-1", (id, id as u8 + 1), Some(1_000));
        assert_eq!(cabinet.receipts(), [id]);
        cabinet.run_ms(2_000);
    }
    assert_eq!(cabinet.buffer.written(), 0);
    assert_eq!(cabinet.receipts(), [0; 0], "each once");
}

#[test]
fn a_frame_waits_for_every_server_that_is_owed_it() {
    let mut config = config();
    config
        .accounts
        .push(AccountConfig::new("test", "coap://192.0.2.2:5683"));
    let mut cabinet = running(config);
    cabinet.away.insert(4);
    say(&mut cabinet, "lamp-1", (1, 2), None);
    assert_eq!(cabinet.sent().len(), 1, "one server has it");
    assert_eq!(cabinet.receipts(), [0; 0]);
    cabinet.run_ms(10_000);
    assert_eq!(cabinet.receipts(), [1], "it is durable for the other one");
    assert_eq!(cabinet.buffer.stored.len(), 1);
}

#[test]
fn without_a_server_a_frame_is_settled_only_when_it_is_durable() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    cabinet.buffer.is_slow = true;
    say(&mut cabinet, "lamp-1", (1, 2), None);
    cabinet.run_ms(20_000);
    assert_eq!(cabinet.receipts(), [0; 0], "asked for, and not done");
    cabinet.catch_up();
    assert_eq!(cabinet.receipts(), [1]);
    assert_eq!(cabinet.buffer.stored.len(), 1);
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    assert_eq!(cabinet.receipts(), [0; 0], "each once");
}

#[test]
fn a_frame_that_says_again_what_is_not_safe_yet_is_not_settled_before_it() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    say(&mut cabinet, "lamp-1", (1, 2), None);
    cabinet.run_ms(100);
    // Its broker has lost the connection and sends what was not acknowledged again.
    say(&mut cabinet, "lamp-1", (2, 2), None);
    say(&mut cabinet, "lamp-1", (3, 2), Some(2_000));
    assert_eq!(cabinet.receipts(), [0; 0]);
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.receipts(), [1, 2, 3], "the most hurried has its way");
    assert_eq!(cabinet.buffer.stored.len(), 1);
    say(&mut cabinet, "lamp-1", (4, 2), None);
    assert_eq!(cabinet.receipts(), [4], "it is durable already");
}

#[test]
fn a_power_cut_before_the_commit_leaves_a_frame_to_be_repeated() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    cabinet.buffer.is_slow = true;
    say(&mut cabinet, "lamp-1", (1, 2), Some(1_000));
    cabinet.run_ms(5_000);
    cabinet.buffer.is_slow = false;
    cabinet.restart(config());
    cabinet.run_ms(100_000);
    assert_eq!(cabinet.receipts(), [0; 0]);
    assert!(cabinet.buffer.stored.is_empty());
}

#[test]
fn a_commit_comes_early_where_the_acknowledgement_is_wanted_soon() {
    let node = Node::new(Way::Radio(DeviceClass::A));
    let mut cabinet = TestCabinet::keeping(one_server(Model::Y2026, vec![lamp("lamp-1", node)]));
    cabinet.run_ms(2_000);
    let new = |level, now| Uplink::new(radio(), data(&[(0, level, None)]), now);
    let now = cabinet.now;
    cabinet.hear(new(1, now));
    cabinet.run_ms(20_000);
    cabinet.is_connected = false;
    let now = cabinet.now;
    hear(&mut cabinet, new(2, now), 1, Some(1_000));
    cabinet.run_ms(849);
    assert_eq!(cabinet.receipts(), [0; 0], "the server may still take it");
    cabinet.run_ms(1);
    assert_eq!(cabinet.receipts(), [1]);
    assert_eq!(cabinet.buffer.written(), 1);
}

#[test]
fn early_commits_are_not_made_faster_than_a_disk_should() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    cabinet.run_ms(400_000);
    cabinet.buffer.commits.clear();
    for id in 0..500 {
        say(&mut cabinet, "lamp-1", (id, (id % 2) as u8), Some(0));
        cabinet.run_ms(2);
    }
    cabinet.run_ms(100);
    assert_eq!(cabinet.receipts(), (0..500).collect::<Vec<_>>(), "in their order");
    let commits = cabinet.buffer.commits.len();
    assert!((15..=24).contains(&commits), "{commits} commits in 1.1 s");
}

#[test]
fn what_came_before_on_the_same_connection_is_made_durable_with_it() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    cabinet.server.got.clear();
    say(&mut cabinet, "lamp-1", (1, 2), None);
    say(&mut cabinet, "lamp-2", (2, 2), Some(200));
    say(&mut cabinet, "lamp-1", (3, 4), None);
    cabinet.run_ms(60);
    assert_eq!(cabinet.receipts(), [1, 2]);
    cabinet.run_ms(20_000);
    assert_eq!(cabinet.receipts(), [3]);
}

#[test]
fn what_owes_nothing_is_settled_at_once() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    cabinet.buffer.is_slow = true;
    let now = cabinet.now;
    let new = |frame| Uplink::new(broker("lamp-1"), frame, now);
    hear(&mut cabinet, new(message(&[(0, 1, None)])), 1, None);
    hear(&mut cabinet, new(presence(true)), 2, None);
    let retained = Uplink {
        freshness: Freshness::Retained,
        ..new(message(&[(0, 77, None)]))
    };
    hear(&mut cabinet, retained, 3, None);
    hear(
        &mut cabinet,
        Uplink::new(broker("stranger"), presence(true), now),
        4,
        None,
    );
    assert_eq!(cabinet.receipts(), [1, 2, 3, 4]);
}

#[test]
fn a_disk_that_fails_leaves_the_receipts_open() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    cabinet.buffer.failure = Some(DiskError::Full);
    say(&mut cabinet, "lamp-1", (1, 2), Some(1_000));
    cabinet.run_ms(60_000);
    assert_eq!(cabinet.receipts(), [0; 0]);
    cabinet.buffer.failure = None;
    cabinet.run_ms(10_000);
    assert_eq!(cabinet.receipts(), [1]);
}

#[test]
fn a_gateway_that_stops_settles_what_it_has_made_durable() {
    let mut cabinet = running(config());
    cabinet.is_connected = false;
    say(&mut cabinet, "lamp-1", (1, 2), None);
    say(&mut cabinet, "lamp-2", (2, 2), None);
    cabinet.stop();
    assert_eq!(cabinet.receipts(), [1, 2]);
    assert_eq!(cabinet.buffer.stored.len(), 2);
}

#[test]
fn no_more_receipts_are_open_than_there_is_room_for_readings() {
    let mut cabinet = TestCabinet::new(config());
    cabinet.run_ms(2_000);
    cabinet.hear(Uplink::new(
        broker("lamp-1"),
        message(&[(0, 1, None)]),
        cabinet.now,
    ));
    cabinet.run_ms(5_000);
    cabinet.away.insert(LAMP);
    let more = 100;
    for id in 0..(limits::MAX_OPEN_RECEIPTS + more) as u64 {
        say(&mut cabinet, "lamp-1", (id, (id % 2) as u8 + 5), None);
    }
    let settled = cabinet.receipts();
    assert!(
        settled.len() >= more && settled.len() <= more + 100,
        "{}",
        settled.len()
    );
    assert!(settled.is_sorted());
}

#[test]
fn of_the_frames_that_say_the_same_no_more_wait_than_there_is_room_for() {
    let mut cabinet = running(config());
    cabinet.buffer.failure = Some(DiskError::Full);
    cabinet.is_connected = false;
    let (room, more) = (limits::MAX_RECEIPTS_PER_READING as u64, 10);
    for id in 0..room + more {
        say(&mut cabinet, "lamp-1", (id, 2), None);
    }
    cabinet.buffer.failure = None;
    cabinet.run_ms(200_000);
    assert_eq!(cabinet.receipts(), (more..room + more).collect::<Vec<_>>());
}

/// One thing that happens to a gateway whose senders wait.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Say(bool, Option<u64>),
    Server(bool),
    Disk(bool),
    Slow(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u64..8_000).prop_map(Step::Wait),
        4 => (any::<bool>(), proptest::option::of(0u64..2_000)).prop_map(|(first, within)| Step::Say(first, within)),
        1 => any::<bool>().prop_map(Step::Server),
        1 => any::<bool>().prop_map(Step::Disk),
        1 => any::<bool>().prop_map(Step::Slow),
    ]
}

/// Lets a lamp say two values of one moment that no other frame has; returns it.
fn say_two(cabinet: &mut TestCabinet, is_first: bool, id: u32, within_ms: Option<u64>) -> i64 {
    let at = 1_760_000_100 + id;
    let device = if is_first { "lamp-1" } else { "lamp-2" };
    let frame = message(&[(1, (id * 3 + 25) as u8, Some(at)), (0, id as u8 + 2, Some(at))]);
    let uplink = Uplink::new(broker(device), frame, cabinet.now);
    hear(cabinet, uplink, id.into(), within_ms);
    i64::from(at) * 1_000
}

/// Returns the moments of the values that the server has got, or that are durable.
fn safe(cabinet: &TestCabinet) -> BTreeSet<(String, i64)> {
    let got = cabinet.server.got.iter().flat_map(|(_, got)| match got {
        Got::Send(records) => records.clone(),
        Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Answer(_) => Vec::new(),
    });
    let sent = got.filter_map(|record| match record.time {
        Some(RecordTime::Absolute(time)) => Some((record.entry.path.to_string(), time.unix_ms())),
        Some(RecordTime::RelativeMs(_)) | None => None,
    });
    let batches = cabinet.buffer.commits.iter().flat_map(|commit| &commit.batches);
    let stored = batches.flat_map(|batch| &batch.records);
    let stored = stored.filter_map(|record| match record.moment {
        Moment::Wall(time) => Some((record.path.to_string(), time.unix_ms())),
        Moment::Boot { .. } => None,
    });
    sent.chain(stored).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_a_receipt_is_given_once_and_never_before_its_readings_are_safe(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut cabinet = running(config());
        let (mut moments, mut settled) = (BTreeMap::new(), Vec::new());
        let end = [Step::Server(true), Step::Disk(true), Step::Slow(false), Step::Wait(1_200_000)];
        for step in steps.into_iter().chain(end) {
            match step {
                Step::Wait(ms) => cabinet.run_ms(ms),
                Step::Say(is_first, within_ms) => {
                    let id = moments.len() as u32;
                    moments.insert(u64::from(id), say_two(&mut cabinet, is_first, id, within_ms));
                }
                Step::Server(is_there) => cabinet.is_connected = is_there,
                Step::Disk(works) => cabinet.buffer.failure = (!works).then_some(DiskError::Full),
                Step::Slow(true) => cabinet.buffer.is_slow = true,
                Step::Slow(false) => cabinet.catch_up(),
            }
            let given = cabinet.receipts();
            let safe = safe(&cabinet);
            for id in &given {
                for path in ["/3303/0/5700", "/3416/0/3"] {
                    let value = (path.to_owned(), moments[id]);
                    prop_assert!(safe.contains(&value), "{value:?} of {id} is not safe");
                }
            }
            settled.extend(given);
        }
        settled.sort_unstable();
        prop_assert_eq!(settled, moments.into_keys().collect::<Vec<_>>());
    }
}
