//! Frames that come again although their readings are durable: the acknowledgement got lost, maybe with the gateway.

use lwm2m_client::format::RecordTime;
use lwm2m_client::object::Model;

use crate::buffer::DiskError;
use crate::field::{Fingerprint, Receipt, ReceiptId, Repetition};
use crate::testing::{Got, Node, TestCabinet, Way, broker, lamp, message, one_server};
use crate::{Config, Uplink, limits};

const LAMP: u32 = 1;

fn config() -> Config {
    one_server(Model::Y2026, vec![lamp("lamp-1", Node::new(Way::Broker))])
}

/// A cabinet whose server has everything and is away from now on.
fn alone() -> TestCabinet {
    let mut cabinet = TestCabinet::keeping(config());
    cabinet.run_ms(2_000);
    let said = message(&[(0, 1, None), (1, 20, None), (2, 0, None)]);
    cabinet.hear(Uplink::new(broker("lamp-1"), said, cabinet.now));
    cabinet.run_ms(20_000);
    cabinet.server.got.clear();
    cabinet.buffer.commits.clear();
    cabinet.is_connected = false;
    cabinet
}

/// A message under a packet identifier, as a broker that counts gives them.
#[derive(Clone, Copy)]
struct Said {
    packet_id: u8,
    level: u8,
    is_repeat: bool,
    none_before: Option<u64>,
}

fn said(packet_id: u8, level: u8) -> Said {
    Said {
        packet_id,
        level,
        is_repeat: false,
        none_before: None,
    }
}

fn again(packet_id: u8, level: u8) -> Said {
    Said {
        is_repeat: true,
        ..said(packet_id, level)
    }
}

fn receipt(said: Said, id: u64) -> Receipt {
    Receipt {
        id: ReceiptId(id),
        settle_by: None,
        repetition: Some(Repetition {
            fingerprint: Fingerprint::new("local", &[&[said.packet_id, said.level]]),
            is_unique: true,
            is_repeat: said.is_repeat,
            none_before: said.none_before.map(ReceiptId),
        }),
    }
}

fn say(cabinet: &mut TestCabinet, said: Said, id: u64) {
    let frame = message(&[(0, said.level, None)]);
    cabinet.hear(Uplink {
        receipt: Some(Box::new(receipt(said, id))),
        ..Uplink::new(broker("lamp-1"), frame, cabinet.now)
    });
}

/// Returns the levels that the server got, with their times.
fn levels(cabinet: &mut TestCabinet) -> Vec<(String, i64)> {
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    let got = cabinet.server.got.drain(..);
    let records = got.flat_map(|(_, got)| match got {
        Got::Send(records) => records,
        Got::Register { .. } | Got::Update { .. } | Got::Deregister | Got::Answer(_) => Vec::new(),
    });
    let levels = records.filter(|record| record.entry.path.to_string() == "/3416/0/3");
    let level = |record: lwm2m_client::format::Record| {
        let Some(RecordTime::Absolute(time)) = record.time else {
            panic!("the clock is set");
        };
        (record.entry.value.to_string(), time.unix_ms())
    };
    levels.map(level).collect()
}

fn now_ms(cabinet: &TestCabinet) -> i64 {
    cabinet.now.wall.unwrap().unix_ms()
}

/// A cabinet that was killed when a message was durable and before the broker heard so, and when the message came.
fn killed() -> (TestCabinet, i64) {
    let mut cabinet = alone();
    let first = now_ms(&cabinet);
    say(&mut cabinet, said(7, 2), 1);
    cabinet.run_ms(10_000);
    assert_eq!(cabinet.receipts(), [1], "it is durable");
    cabinet.restart(config());
    cabinet.run_ms(60_000);
    cabinet.buffer.commits.clear();
    (cabinet, first)
}

#[test]
fn a_durable_message_that_comes_again_after_a_restart_is_settled_at_once_and_owed_once_with_its_first_time() {
    let (mut cabinet, first) = killed();
    say(&mut cabinet, again(7, 2), 1);
    assert_eq!(cabinet.receipts(), [1]);
    cabinet.run_ms(60_000);
    assert_eq!(cabinet.buffer.written(), 0);
    assert_eq!(levels(&mut cabinet), [("2".to_owned(), first)]);
    assert_eq!(cabinet.read(LAMP, "/3416/0/3").1, "2", "it is shown");
}

#[test]
fn another_message_with_the_same_value_is_owed() {
    for other in [said(8, 2), again(8, 2), said(7, 2)] {
        let (mut cabinet, first) = killed();
        let second = now_ms(&cabinet);
        say(&mut cabinet, other, 1);
        assert_eq!(cabinet.receipts(), [0; 0]);
        cabinet.run_ms(60_000);
        assert_eq!(cabinet.receipts(), [1]);
        let owed = [first, second].map(|time| ("2".to_owned(), time));
        assert_eq!(levels(&mut cabinet), owed);
    }
}

#[test]
fn a_repeat_never_hides_a_later_value() {
    let (mut cabinet, first) = killed();
    let second = now_ms(&cabinet);
    say(&mut cabinet, said(8, 5), 1);
    say(&mut cabinet, again(7, 2), 2);
    assert_eq!(cabinet.receipts(), [2]);
    let owed = [("2".to_owned(), first), ("5".to_owned(), second)];
    assert_eq!(levels(&mut cabinet), owed);
    assert_eq!(cabinet.read(LAMP, "/3416/0/3").1, "5");
}

#[test]
fn an_alarm_that_is_stored_as_soon_as_it_comes_is_known_again() {
    let mut cabinet = alone();
    let open_door = |cabinet: &mut TestCabinet, said: Said| {
        let frame = message(&[(0, 9, None), (2, 1, None)]);
        cabinet.hear(Uplink {
            receipt: Some(Box::new(receipt(said, 1))),
            ..Uplink::new(broker("lamp-1"), frame, cabinet.now)
        });
    };
    // The server is known to be away.
    say(&mut cabinet, said(1, 2), 0);
    cabinet.run_ms(60_000);
    cabinet.receipts();
    open_door(&mut cabinet, said(7, 2));
    assert_eq!(cabinet.receipts(), [1], "durable at once");
    cabinet.restart(config());
    cabinet.run_ms(60_000);
    open_door(&mut cabinet, again(7, 2));
    assert_eq!(cabinet.receipts(), [1]);
    let levels = levels(&mut cabinet);
    assert_eq!(levels.iter().filter(|(level, _)| level == "9").count(), 1);
}

#[test]
fn a_message_that_was_delivered_and_never_durable_is_owed_again() {
    let mut cabinet = alone();
    cabinet.is_connected = true;
    cabinet.run_ms(400_000);
    say(&mut cabinet, said(7, 2), 1);
    assert_eq!(cabinet.receipts(), [1]);
    cabinet.restart(config());
    cabinet.run_ms(60_000);
    say(&mut cabinet, again(7, 2), 1);
    assert_eq!(levels(&mut cabinet).len(), 2);
}

#[test]
fn a_message_that_comes_again_on_another_connection_is_settled_under_its_new_receipt_only() {
    for wait_ms in [0, 10_000] {
        let mut cabinet = alone();
        let first = now_ms(&cabinet);
        say(&mut cabinet, said(7, 2), 1);
        cabinet.run_ms(wait_ms);
        let settled = cabinet.receipts();
        say(&mut cabinet, again(7, 2), 2);
        cabinet.run_ms(10_000);
        assert_eq!(cabinet.receipts(), [2]);
        assert_eq!(settled.len(), usize::from(wait_ms > 0), "in memory, then on disk");
        assert_eq!(levels(&mut cabinet), [("2".to_owned(), first)]);
    }
}

#[test]
fn what_its_source_does_not_repeat_is_forgotten_on_disk_too() {
    let (mut cabinet, _) = killed();
    say(&mut cabinet, said(8, 2), 1);
    cabinet.run_ms(60_000);
    assert_eq!(cabinet.buffer.repeatable.len(), 2);
    let over = Said {
        none_before: Some(1),
        ..again(8, 2)
    };
    say(&mut cabinet, over, 2);
    assert_eq!(cabinet.receipts(), [1, 2]);
    cabinet.run_ms(2_000);
    let known = cabinet.buffer.repeatable.iter().map(|frame| frame.fingerprint);
    let expected = receipt(said(8, 2), 1)
        .repetition
        .map(|repetition| repetition.fingerprint);
    assert_eq!(
        known.collect::<Vec<_>>(),
        Vec::from_iter(expected),
        "with a commit of its own"
    );
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    say(&mut cabinet, again(7, 2), 3);
    assert_eq!(cabinet.receipts(), [0; 0]);
}

#[test]
fn a_commit_that_fails_makes_no_message_known() {
    let mut cabinet = alone();
    cabinet.buffer.failure = Some(DiskError::Full);
    say(&mut cabinet, said(7, 2), 1);
    cabinet.run_ms(60_000);
    cabinet.restart(config());
    cabinet.buffer.failure = None;
    cabinet.run_ms(2_000);
    say(&mut cabinet, again(7, 2), 1);
    assert_eq!(cabinet.receipts(), [0; 0]);
    cabinet.run_ms(60_000);
    assert_eq!(cabinet.receipts(), [1]);
    assert_eq!(levels(&mut cabinet).len(), 1);
}

#[test]
fn one_that_fails_and_is_made_again_does() {
    let mut cabinet = alone();
    cabinet.buffer.failure = Some(DiskError::Full);
    say(&mut cabinet, said(7, 2), 1);
    cabinet.run_ms(60_000);
    cabinet.buffer.failure = None;
    cabinet.run_ms(10_000);
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    say(&mut cabinet, again(7, 2), 1);
    assert_eq!(cabinet.receipts(), [1, 1]);
    assert_eq!(levels(&mut cabinet).len(), 1);
}

#[test]
fn the_newest_messages_are_known_and_no_more_than_may_be() {
    let mut cabinet = alone();
    let count = limits::MAX_REPEATABLE + 10;
    for n in 0..count {
        let one = Said {
            packet_id: (n / 200) as u8,
            ..said(0, (n % 200) as u8)
        };
        say(&mut cabinet, one, n as u64);
        if n % 100 == 0 {
            cabinet.run_ms(10_000);
        }
    }
    cabinet.run_ms(10_000);
    assert_eq!(cabinet.receipts().len(), count);
    assert_eq!(cabinet.buffer.repeatable.len(), limits::MAX_REPEATABLE);
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    say(&mut cabinet, again(0, 9), 1);
    assert_eq!(cabinet.receipts(), [0; 0]);
    say(&mut cabinet, again(0, 10), 2);
    assert_eq!(cabinet.receipts(), [2]);
}
