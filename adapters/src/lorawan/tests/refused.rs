//! Frames that are refused, and floods of them.

use proptest::prelude::*;
use ucifi_core::field::DeviceClass;

use super::cabinet::Cabinet;
use super::lamp::{Lamp, Says};
use crate::lorawan::{DevAddr, Event, Sender, WhyRefused, limits};

#[test]
fn a_replayed_frame_is_refused_and_told_of() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let recorded = lamp.reports(b"1");
    cabinet.hears(&recorded);
    let uplink = lamp.reports(b"2");
    cabinet.hears(&uplink);
    cabinet.hears(&recorded);
    assert_eq!(cabinet.uplinks.len(), 2);
    assert_eq!(cabinet.refused(WhyRefused::Replayed), 1);
    let refused = Event::Refused {
        sender: Sender::Device(lamp.dev_eui),
        why: WhyRefused::Replayed,
    };
    assert_eq!(cabinet.events, [refused]);
}

#[test]
fn a_forged_frame_changes_nothing() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let mut forged = lamp.clone().reports(b"1");
    let at = forged.len() - 6;
    forged[at] ^= 1;
    cabinet.hears(&forged);
    assert_eq!(cabinet.refused(WhyRefused::BadMic), 1);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.uplinks.len(), 1);
}

#[test]
fn a_truncated_frame_is_refused() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports(b"12345");
    for length in 0..uplink.len() {
        cabinet.hears(&uplink[..length]);
    }
    assert_eq!(cabinet.uplinks, []);
    assert_eq!(cabinet.refused(WhyRefused::Malformed), 12);
    assert_eq!(cabinet.refused(WhyRefused::BadMic), uplink.len() as u64 - 12);
}

#[test]
fn a_counter_that_jumps_too_far_is_refused() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::A);
    let session = lamp.session.as_ref().unwrap();
    let says = Says {
        data: Some((10, b"1".to_vec())),
        ..Says::default()
    };
    cabinet.hears(&session.frame(1 + limits::F_CNT_GAP, &says));
    assert_eq!(cabinet.refused(WhyRefused::Gap), 1);
    cabinet.hears(&session.frame(limits::F_CNT_GAP, &says));
    assert_eq!(cabinet.uplinks.len(), 1);
}

#[test]
fn a_counter_goes_on_beyond_16_bits() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    for _ in 0..6 {
        lamp.session.as_mut().unwrap().f_cnt_up += 16_000;
        let uplink = lamp.reports(b"1");
        cabinet.hears(&uplink);
    }
    let counters: Vec<u32> = cabinet
        .uplinks
        .iter()
        .map(|u| u.radio.as_ref().unwrap().f_cnt_up)
        .collect();
    assert_eq!(counters.last(), Some(&96_006));
}

#[test]
fn an_unknown_address_is_told_of_once() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::A);
    let mut stranger = lamp.session.clone().unwrap();
    stranger.dev_addr = [9, 9, 9, 9];
    for f_cnt in 0..3 {
        cabinet.hears(&stranger.frame(f_cnt, &Says::default()));
    }
    let unknown = Event::Unknown(Sender::Address(DevAddr(0x0909_0909)));
    assert_eq!(cabinet.events, [unknown]);
}

#[test]
fn frames_of_other_servers_are_counted_and_no_more() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::C);
    cabinet.tells(&lamp, 1, b"on");
    let own = cabinet.transmissions[0].phy.clone();
    cabinet.hears(&own);
    cabinet.hears(&[0xe0; 20]);
    assert_eq!(cabinet.server.statistics().foreign, 2);
    assert_eq!(cabinet.events, []);
}

#[test]
fn a_flood_of_strangers_leaves_room_for_a_device() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    for number in 0..2_000_u32 {
        let mut stranger = lamp.session.clone().unwrap();
        stranger.dev_addr = (0x5000_0000 + number).to_le_bytes();
        cabinet.hears(&stranger.frame(number, &Says::default()));
    }
    assert_eq!(cabinet.events.len(), limits::NOTICES);
    let dropped = cabinet.server.statistics().notices_dropped;
    assert_eq!(dropped, 2_000 - limits::NOTICES as u64);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.uplinks.len(), 1);
    cabinet.advance(61_000);
    let mut stranger = Lamp::new(77);
    let request = stranger.join_request();
    cabinet.hears(&request);
    assert_eq!(cabinet.events.len(), limits::NOTICES + 1);
}

#[test]
fn nothing_is_taken_while_nobody_fetches_the_events() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let frames: Vec<Vec<u8>> = (0..2 * limits::EVENTS).map(|_| lamp.reports(b"1")).collect();
    for phy in &frames {
        cabinet.hears_unfetched(phy);
    }
    cabinet.pump();
    assert!(cabinet.uplinks.len() <= limits::EVENTS);
    assert!(cabinet.refused(WhyRefused::Busy) >= limits::EVENTS as u64);
    let uplink = lamp.reports(b"2");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.payloads().last(), Some(&&b"2"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_leave_the_device_as_it_was(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
        flips in prop::collection::vec((0..18_usize, 1..=255_u8), 1..20),
    ) {
        let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
        for frame in &frames {
            cabinet.hears(frame);
        }
        let sound = lamp.clone().reports(b"12345");
        for (at, bits) in flips {
            let mut frame = sound.clone();
            frame[at] ^= bits;
            cabinet.hears(&frame);
        }
        prop_assert!(cabinet.uplinks.is_empty());
        prop_assert!(cabinet.transmissions.is_empty());
        let uplink = lamp.reports(b"12345");
        cabinet.hears(&uplink);
        prop_assert_eq!(cabinet.uplinks.len(), 1);
    }
}
