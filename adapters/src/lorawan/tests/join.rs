//! Joining over the air, and sessions from the factory.

use ucifi_core::field::{DeviceClass, Reachability};

use super::cabinet::{Answers, Cabinet, FORWARDER, rates};
use super::lamp::{Lamp, Says};
use crate::lorawan::{DataRate, Event, JoinEui, Sender, WhyRefused, Window};
use crate::lorawan::{Purpose, When};

fn cabinet() -> (Cabinet, Lamp) {
    let lamp = Lamp::new(1);
    (Cabinet::new(vec![lamp.config(DeviceClass::A)]), lamp)
}

#[test]
fn a_device_joins_and_is_heard() {
    let (mut cabinet, mut lamp) = cabinet();
    let join_nonce = cabinet.join(&mut lamp);
    let uplink = lamp.reports(b"hello");
    cabinet.hears(&uplink);
    assert_eq!(join_nonce, 1);
    assert_eq!(cabinet.payloads(), [b"hello"]);
    assert!(matches!(
        cabinet.events[..],
        [Event::Joined { .. }, Event::Reachability { .. }]
    ));
}

#[test]
fn a_join_is_answered_after_five_seconds_and_after_six() {
    let (mut cabinet, mut lamp) = cabinet();
    let request = lamp.join_request();
    cabinet.hears(&request);
    let heard = u32::MAX - 500_000;
    let window = |seconds: u32, frequency_hz, data_rate, power_dbm| Window {
        forwarder: FORWARDER,
        at: When::Tmst(heard.wrapping_add(seconds * 1_000_000)),
        frequency_hz,
        data_rate,
        power_dbm,
    };
    let windows = [
        window(5, 868_300_000, DataRate::Dr5, 16),
        window(6, 869_525_000, DataRate::Dr0, 27),
    ];
    assert_eq!(cabinet.transmissions[0].windows, windows);
    assert_eq!(cabinet.transmissions[0].purpose, Purpose::Join);
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let (mut cabinet, mut lamp) = cabinet();
    cabinet.saves = Answers::Never;
    let request = lamp.join_request();
    cabinet.hears(&request);
    assert_eq!(cabinet.transmissions, []);
    cabinet.answer_saves();
    assert_eq!(cabinet.transmissions.len(), 1);
}

#[test]
fn a_save_that_fails_is_tried_again_in_time_for_the_second_window() {
    let (mut cabinet, mut lamp) = cabinet();
    cabinet.saves = Answers::Failed;
    let request = lamp.join_request();
    cabinet.hears(&request);
    cabinet.advance(4_000);
    assert_eq!(cabinet.transmissions, []);
    cabinet.saves = Answers::AtOnce;
    cabinet.advance(1_500);
    assert_eq!(rates(&cabinet.transmissions[0]), [DataRate::Dr0]);
    assert_eq!(cabinet.server.statistics().save_failures, 1);
}

#[test]
fn a_save_that_fails_for_long_costs_the_answer_and_nothing_else() {
    let (mut cabinet, mut lamp) = cabinet();
    cabinet.saves = Answers::Failed;
    let request = lamp.join_request();
    cabinet.hears(&request);
    cabinet.advance(20_000);
    cabinet.saves = Answers::AtOnce;
    cabinet.advance(20_000);
    assert_eq!(cabinet.transmissions, []);
    assert_eq!(cabinet.server.statistics().answers_missed, 1);
    cabinet.join(&mut lamp);
}

#[test]
fn a_dev_nonce_is_taken_once() {
    let (mut cabinet, mut lamp) = cabinet();
    let request = lamp.join_request();
    cabinet.hears(&request);
    cabinet.advance(10_000);
    cabinet.hears(&request);
    assert_eq!(cabinet.transmissions.len(), 1);
    assert_eq!(cabinet.refused(WhyRefused::DevNonceUsed), 1);
}

#[test]
fn a_join_with_another_key_is_refused() {
    let (mut cabinet, lamp) = cabinet();
    let mut forger = Lamp::new(2);
    forger.dev_eui = lamp.dev_eui;
    let request = forger.join_request();
    cabinet.hears(&request);
    assert_eq!(cabinet.transmissions, []);
    assert_eq!(cabinet.refused(WhyRefused::BadMic), 1);
}

#[test]
fn a_device_that_is_not_configured_is_told_of_once_a_minute() {
    let (mut cabinet, _) = cabinet();
    let mut stranger = Lamp::new(9);
    for _ in 0..3 {
        let request = stranger.join_request();
        cabinet.hears(&request);
    }
    let sender = Sender::Joining {
        dev_eui: stranger.dev_eui,
        join_eui: JoinEui([1; 8]),
    };
    assert_eq!(cabinet.events, [Event::Unknown(sender)]);
    assert_eq!(cabinet.server.statistics().unknown, 3);
    cabinet.advance(61_000);
    let request = stranger.join_request();
    cabinet.hears(&request);
    assert_eq!(cabinet.events.len(), 2);
}

#[test]
fn the_old_session_lives_until_the_new_one_is_used() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let mut before = lamp.clone();
    // The device does not hear the answer to its second join.
    let request = lamp.join_request();
    cabinet.hears(&request);
    let accept = cabinet.transmissions.pop().unwrap();
    cabinet.advance(10_000);
    let uplink = before.reports(b"old");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.payloads(), [b"old"]);
    lamp.accept(&accept.phy).unwrap();
    let uplink = lamp.reports(b"new");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.payloads(), [b"old", b"new"]);
    let uplink = before.reports(b"gone");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.payloads().len(), 2);
}

#[test]
fn a_device_with_a_session_from_the_factory_is_heard_and_asked_for_its_second_window() {
    let mut lamp = Lamp::new(1);
    let config = lamp.activate(DeviceClass::C);
    let mut cabinet = Cabinet::new(vec![config]);
    let uplink = lamp.reports(b"hello");
    cabinet.hears(&uplink);
    let asked = cabinet.transmissions.pop().unwrap();
    assert_eq!(rates(&asked), [DataRate::Dr5, DataRate::Dr0]);
    // RXParamSetupReq: DR3, 869.525 MHz in steps of 100 Hz.
    assert_eq!(
        lamp.hears(&asked.phy).unwrap().f_opts,
        [0x05, 0x03, 0xd2, 0xad, 0x84]
    );
    let answer = lamp.says(&Says {
        commands: vec![vec![0x05, 0x07]],
        ..Says::default()
    });
    cabinet.advance(10_000);
    cabinet.forget();
    cabinet.hears(&answer);
    cabinet.advance(10_000);
    cabinet.tells(&lamp, 1, b"on");
    assert_eq!(rates(&cabinet.transmissions[0]), [DataRate::Dr3]);
}

#[test]
fn a_device_with_a_session_from_the_factory_does_not_join() {
    let mut lamp = Lamp::new(1);
    let config = lamp.activate(DeviceClass::A);
    let mut cabinet = Cabinet::new(vec![config]);
    let request = lamp.join_request();
    cabinet.hears(&request);
    assert_eq!(cabinet.refused(WhyRefused::NotJoining), 1);
}

#[test]
fn a_device_is_unreachable_after_three_intervals_of_silence() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.advance(2_680_000);
    assert_eq!(cabinet.events, []);
    cabinet.advance(20_000);
    let unreachable = |event: &Event| {
        matches!(event, Event::Reachability { reachability: Reachability::Unreachable(reason), .. }
            if reason == "no uplink for 2700 s")
    };
    assert!(unreachable(&cabinet.events[0]));
    let uplink = lamp.reports(b"back");
    cabinet.hears(&uplink);
    assert!(matches!(
        &cabinet.events[1],
        Event::Reachability {
            reachability: Reachability::Reachable,
            ..
        }
    ));
}

#[test]
fn dev_nonces_are_remembered_up_to_the_bound() {
    let (mut cabinet, mut lamp) = cabinet();
    let first = lamp.join_request();
    cabinet.hears(&first);
    for _ in 0..super::super::limits::DEV_NONCES {
        let request = lamp.join_request();
        cabinet.hears(&request);
        cabinet.forget();
    }
    assert!(
        cabinet
            .disk
            .values()
            .all(|value| value.len() <= ucifi_core::state::MAX_VALUE_BYTES)
    );
    cabinet.hears(&first);
    assert_eq!(cabinet.transmissions.len(), 1);
}

#[test]
fn a_device_that_does_not_take_its_second_window_is_not_asked_for_ever() {
    let mut lamp = Lamp::new(1);
    let config = lamp.activate(DeviceClass::A);
    let mut cabinet = Cabinet::new(vec![config]);
    for _ in 0..20 {
        let uplink = lamp.reports(b"1");
        cabinet.hears(&uplink);
        cabinet.advance(10_000);
    }
    let asked = usize::from(super::super::limits::RX2_REQUESTS);
    assert_eq!(cabinet.transmissions.len(), asked);
}

#[test]
fn join_nonces_end_where_they_end() {
    let (mut cabinet, mut lamp) = cabinet();
    cabinet.join(&mut lamp);
    let nonces = cabinet.disk.get_mut("lorawan/nonces/70B3D50000000001").unwrap();
    nonces[1..5].copy_from_slice(&super::super::limits::JOIN_NONCES.to_le_bytes());
    cabinet.restart(false);
    cabinet.forget();
    let request = lamp.join_request();
    cabinet.hears(&request);
    assert_eq!(cabinet.transmissions, []);
    assert_eq!(cabinet.refused(WhyRefused::JoinNoncesSpent), 1);
}

#[test]
fn a_save_that_nobody_answers_is_made_again() {
    let (mut cabinet, mut lamp) = cabinet();
    cabinet.saves = Answers::Never;
    let request = lamp.join_request();
    cabinet.hears(&request);
    cabinet.open_saves.clear();
    cabinet.saves = Answers::AtOnce;
    cabinet.advance(70_000);
    cabinet.join(&mut lamp);
}

#[test]
fn downlink_counters_end_where_they_end() {
    let (mut cabinet, mut lamp) = cabinet();
    cabinet.join(&mut lamp);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    cabinet.advance(10_000);
    let session = cabinet.disk.get_mut("lorawan/session/70B3D50000000001").unwrap();
    session[51..55].copy_from_slice(&(u32::MAX - 2).to_le_bytes());
    cabinet.restart(false);
    cabinet.forget();
    for _ in 0..4 {
        let uplink = lamp.reports_confirmed(b"1");
        cabinet.hears(&uplink);
        cabinet.advance(10_000);
    }
    assert_eq!(cabinet.uplinks.len(), 4);
    assert_eq!(cabinet.transmissions.len(), 2);
}

#[test]
fn devices_with_one_address_are_told_apart_by_their_keys() {
    let (mut first, mut second) = (Lamp::new(1), Lamp::new(2));
    let nodes = vec![first.activate_with(7), second.activate_with(8)];
    let mut cabinet = Cabinet::new(nodes);
    let uplink = second.reports(b"2");
    cabinet.hears(&uplink);
    let uplink = first.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.payloads(), [b"2", b"1"]);
    assert_ne!(cabinet.uplinks[0].link, cabinet.uplinks[1].link);
}
