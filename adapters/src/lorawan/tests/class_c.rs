//! Commands for devices that always listen.

use std::time::Duration;

use ucifi_core::field::{Delivery, DeviceClass, Refusal};

use super::cabinet::{Cabinet, rates};
use super::lamp::{Lamp, Says};
use crate::lorawan::{DataRate, Purpose, Sent, TxError, When, limits};

#[test]
fn a_command_goes_out_at_once() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let id = cabinet.tells(&lamp, 1, b"on");
    let sent = &cabinet.transmissions[0];
    assert_eq!((sent.purpose, sent.windows.len()), (Purpose::Command, 1));
    assert_eq!(
        (sent.windows[0].at, sent.windows[0].frequency_hz),
        (When::Soonest, 869_525_000)
    );
    assert_eq!(rates(sent), [DataRate::Dr3]);
    assert_eq!(lamp.hears(&sent.phy).unwrap().data, Some((60, b"on".to_vec())));
    assert_eq!(cabinet.deliveries, [(id, Delivery::Sent)]);
}

#[test]
fn a_command_keeps_out_of_the_windows_of_the_device() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    cabinet.advance(2_200);
    cabinet.tells(&lamp, 1, b"on");
    assert_eq!(cabinet.transmissions, []);
    cabinet.advance(900);
    assert_eq!(cabinet.transmissions[0].purpose, Purpose::Command);
}

#[test]
fn a_command_just_after_an_uplink_rides_in_its_windows() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    cabinet.tells(&lamp, 1, b"on");
    assert_eq!(cabinet.transmissions[0].purpose, Purpose::Answer);
}

#[test]
fn commands_go_out_one_at_a_time() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.sent = None;
    cabinet.tells(&lamp, 1, b"on");
    cabinet.tells(&lamp, 2, b"off");
    assert_eq!(cabinet.transmissions.len(), 1);
    let first = cabinet.transmissions[0].id;
    cabinet.server.handle_sent(first, &Sent::OnAir, cabinet.now);
    cabinet.advance(900);
    assert_eq!(cabinet.transmissions.len(), 1);
    cabinet.advance(100);
    assert_eq!(cabinet.transmissions.len(), 2);
}

#[test]
fn a_confirmed_command_ends_with_the_acknowledgement() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let id = cabinet.tells_with(&lamp, 1, b"on", true);
    assert_eq!(cabinet.deliveries, []);
    let ack = lamp.says(&Says {
        control: 0x20,
        ..Says::default()
    });
    cabinet.hears(&ack);
    assert_eq!(cabinet.deliveries, [(id, Delivery::Confirmed(None))]);
}

#[test]
fn a_confirmed_command_that_is_not_acknowledged_is_repeated_and_ends() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let id = cabinet.tells_with(&lamp, 1, b"on", true);
    cabinet.advance(120_000);
    let counters: Vec<u32> = cabinet
        .transmissions
        .iter()
        .map(|t| lamp.hears(&t.phy).unwrap().f_cnt)
        .collect();
    assert_eq!(counters.len(), usize::from(limits::COMMAND_ATTEMPTS));
    assert!(counters.is_sorted_by(|a, b| a < b));
    let text = "the device did not acknowledge it, 4 times".to_owned();
    assert_eq!(
        cabinet.deliveries,
        [(id, Delivery::Queued), (id, Delivery::Unconfirmed(text))]
    );
}

#[test]
fn a_command_whose_acknowledgement_takes_long_is_durably_queued() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let id = cabinet.tells_with(&lamp, 1, b"on", true);
    cabinet.advance(2_900);
    assert_eq!(cabinet.deliveries, []);
    cabinet.advance(200);
    assert_eq!(cabinet.deliveries, [(id, Delivery::Queued)]);
    let ack = lamp.says(&Says {
        control: 0x20,
        ..Says::default()
    });
    cabinet.hears(&ack);
    assert_eq!(cabinet.deliveries[1..], [(id, Delivery::Confirmed(None))]);
}

#[test]
fn a_command_that_waits_for_airtime_is_durably_queued() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    let retry_after = Duration::from_secs(30);
    cabinet.sent = Some(Sent::NoAirtime { retry_after });
    let id = cabinet.tells(&lamp, 1, b"on");
    assert_eq!(cabinet.deliveries, [(id, Delivery::Queued)]);
    cabinet.sent = Some(Sent::OnAir);
    cabinet.advance(29_000);
    assert_eq!(cabinet.transmissions.len(), 1);
    cabinet.advance(1_000);
    assert_eq!(cabinet.deliveries[1..], [(id, Delivery::Sent)]);
}

#[test]
fn a_command_that_no_forwarder_speaks_of_ends() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.sent = None;
    let id = cabinet.tells(&lamp, 1, b"on");
    cabinet.advance(3_600_000);
    assert_eq!(cabinet.transmissions.len(), usize::from(limits::COMMAND_ATTEMPTS));
    assert_eq!(cabinet.deliveries[0], (id, Delivery::Queued));
    assert!(matches!(&cabinet.deliveries[1..], [(of, Delivery::Unconfirmed(_))] if *of == id));
}

#[test]
fn a_command_while_no_forwarder_is_connected_is_tried_again() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.sent = Some(Sent::NoForwarder);
    let id = cabinet.tells(&lamp, 1, b"on");
    cabinet.sent = Some(Sent::OnAir);
    assert_eq!(cabinet.deliveries, [(id, Delivery::Queued)]);
    cabinet.advance(6_000);
    assert_eq!(cabinet.deliveries[1..], [(id, Delivery::Sent)]);
}

#[test]
fn a_command_that_the_forwarder_cannot_send_just_now_is_durably_queued() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.sent = Some(Sent::Refused(
        TxError::CollisionPacket,
        "COLLISION_PACKET".to_owned(),
    ));
    let id = cabinet.tells(&lamp, 1, b"on");
    assert_eq!(cabinet.deliveries, [(id, Delivery::Queued)]);
    cabinet.sent = Some(Sent::OnAir);
    cabinet.advance(6_000);
    assert_eq!(cabinet.deliveries[1..], [(id, Delivery::Sent)]);
}

#[test]
fn a_command_that_waits_for_another_is_durably_queued() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.sent = None;
    let first = cabinet.tells(&lamp, 1, b"on");
    cabinet.advance(1_000);
    let second = cabinet.tells(&lamp, 2, b"off");
    cabinet.advance(2_100);
    assert_eq!(cabinet.deliveries, [(first, Delivery::Queued)]);
    cabinet.advance(1_000);
    assert_eq!(cabinet.deliveries[1..], [(second, Delivery::Queued)]);
}

#[test]
fn a_command_that_the_forwarder_can_never_send_is_refused() {
    for error in [TxError::TxFreq, TxError::TxPower] {
        let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
        cabinet.sent = Some(Sent::Refused(error, "TX_FREQ".to_owned()));
        let id = cabinet.tells(&lamp, 1, b"on");
        cabinet.advance(60_000);
        assert_eq!(cabinet.transmissions.len(), 1);
        let text = "the forwarder refuses it: TX_FREQ".to_owned();
        let refused = Delivery::Refused(Refusal { code: 0, text });
        assert_eq!(cabinet.deliveries, [(id, refused)]);
    }
}

#[test]
fn a_device_that_was_never_heard_cannot_be_told_anything() {
    let lamp = Lamp::new(1);
    let mut cabinet = Cabinet::new(vec![lamp.config(DeviceClass::C)]);
    let id = cabinet.tells(&lamp, 1, b"on");
    let unreachable = Delivery::Unreachable {
        retry_after_secs: 900,
    };
    assert_eq!(cabinet.deliveries, [(id, unreachable)]);
}

#[test]
fn a_device_can_be_told_something_right_after_a_restart() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.restart(false);
    cabinet.tells(&lamp, 1, b"on");
    assert!(lamp.hears(&cabinet.transmissions[0].phy).is_some());
}

#[test]
fn a_command_that_is_too_long_for_its_window_is_refused() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.tells(&lamp, 1, &[0; 116]);
    assert!(matches!(&cabinet.deliveries[..], [(_, Delivery::Refused(_))]));
}
