//! Frames whose senders repeat them until they are told that they were taken.

use std::time::Duration;

use lwm2m_client::object::Model;

use crate::buffer::DiskError;
use crate::field::{DeviceClass, Freshness, Receipt, ReceiptId};
use crate::testing::{Node, TestCabinet, Way, broker, data, lamp, message, one_server, presence, radio};
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
        receipt: Some(Receipt { id, settle_by }),
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
