use lwm2m_client::Timestamp;
use lwm2m_client::object::Model;

use super::{CABINET, meter_and_relay};
use crate::buffer::{Debt, Gap, GapReason, PointClass, Reply, Stream};
use crate::testing::{StateStore, TestCabinet, words};

fn gap(device: &str, count: u64, first_ms: i64) -> Reply {
    let stream = Stream {
        device: device.into(),
        class: PointClass::Measurement,
    };
    let time = |ms| Timestamp::from_unix_ms(first_ms + ms);
    Reply::Gap(Gap {
        debt: Debt {
            account: "city".into(),
            stream,
        },
        count,
        seqs: 1..=count,
        times: Some(time(0)..=time(500)),
        reason: GapReason::Bound,
    })
}

fn lose(cabinet: &mut TestCabinet, device: &str, count: u64, first_ms: i64) {
    let now = cabinet.now;
    cabinet.gateway.handle_buffer(gap(device, count, first_ms), now);
    cabinet.run_ms(1);
}

/// Returns what was sent of the event log, as text.
fn reports(cabinet: &mut TestCabinet) -> Vec<String> {
    let of_log = |record: String| Some(record.strip_prefix("/20/0/4014 ")?.to_owned());
    cabinet.sent().into_iter().flatten().filter_map(of_log).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_lost_is_reported_to_the_server_in_the_event_log_of_the_cabinet() {
    let mut cabinet = TestCabinet::kept(meter_and_relay(Model::Y2026), StateStore::default());
    cabinet.run_ms(2_000);
    lose(&mut cabinet, "meter-1", 7, 2_000);
    lose(&mut cabinet, "relay-1", 3, 1_000);
    cabinet.run_ms(15_000);
    let line = "readings lost: server=city readings=10 devices=2 from=1.000 to=2.500 reason=buffer-full";
    assert_eq!(reports(&mut cabinet), [hex(line)]);
    assert_eq!(
        cabinet.read(CABINET, "/20/0/4010").1,
        "3",
        "the class of an event"
    );
}

#[test]
fn losses_without_end_are_reported_every_ten_minutes() {
    let mut cabinet = TestCabinet::kept(meter_and_relay(Model::Y2026), StateStore::default());
    for _ in 0..60 {
        lose(&mut cabinet, "meter-1", 1, 0);
        cabinet.run_ms(30_000);
    }
    let reports = reports(&mut cabinet);
    assert!(
        (3..=4).contains(&reports.len()),
        "{} in half an hour",
        reports.len()
    );
}

#[test]
fn a_report_that_a_server_has_not_got_goes_after_a_restart_behind_the_list_that_names_the_event_log() {
    for is_stopped in [true, false] {
        let mut cabinet = TestCabinet::kept(meter_and_relay(Model::Y2026), StateStore::default());
        cabinet.run_ms(2_000);
        cabinet.is_connected = false;
        cabinet.uplink(1, words(0, &[2000, 15, 340, 9, 123, 12_345]));
        cabinet.run_ms(10_000);
        let (now, later) = (cabinet.now, cabinet.now.wall.unwrap());
        cabinet.gateway.drop_older(later, None, now);
        cabinet.run_ms(30_000);
        if is_stopped {
            cabinet.stop();
        }
        cabinet.server.got.clear();
        cabinet.is_connected = true;
        cabinet.restart(meter_and_relay(Model::Y2026));
        cabinet.run_ms(60_000);
        let reported = reports(&mut cabinet).len();
        let lists = cabinet.object_lists(CABINET);
        let is_named = |list: &String| list.contains("</20/0>");
        assert!(lists.first().is_some_and(is_named), "{lists:?}");
        assert_eq!(reported, 1, "one line");
    }
}

#[test]
fn the_event_log_is_there_after_a_restart_though_its_last_report_was_delivered() {
    let mut cabinet = TestCabinet::kept(meter_and_relay(Model::Y2026), StateStore::default());
    cabinet.run_ms(2_000);
    lose(&mut cabinet, "meter-1", 7, 2_000);
    cabinet.run_ms(15_000);
    let line = cabinet.read(CABINET, "/20/0/4014");
    cabinet.server.got.clear();
    cabinet.restart(meter_and_relay(Model::Y2026));
    cabinet.run_ms(60_000);
    assert_eq!(
        cabinet.object_lists(CABINET),
        [""],
        "the list of objects is the same"
    );
    assert_eq!(cabinet.read(CABINET, "/20/0/4014").1, line.1);
    assert_eq!(reports(&mut cabinet).len(), 0, "it is told once");
}
