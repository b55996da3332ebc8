//! Uplinks, acknowledgements, and commands for devices that listen after their uplinks.

use ucifi_core::Quality;
use ucifi_core::field::{Delivery, DeviceClass, DownlinkId};

use super::cabinet::{Answers, Cabinet, rates};
use super::lamp::Says;
use crate::lorawan::{DataRate, Purpose, Sent, TxError, limits};

#[test]
fn an_uplink_says_how_it_came() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports(b"22 degrees");
    cabinet.hears(&uplink);
    let radio = cabinet.uplinks[0].radio.as_ref().unwrap();
    assert_eq!(
        (radio.data_rate, radio.f_cnt_up, radio.frequency_hz),
        (5, 1, 868_300_000)
    );
    assert_eq!(cabinet.uplinks[0].quality, Quality::Good);
    assert_eq!(cabinet.uplinks[0].receipt, None);
    assert_eq!(cabinet.transmissions, []);
}

#[test]
fn a_confirmed_uplink_that_is_settled_at_once_is_acknowledged_in_both_windows() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&uplink);
    let answer = cabinet.transmissions.pop().unwrap();
    assert_eq!(rates(&answer), [DataRate::Dr5, DataRate::Dr3]);
    assert_eq!(answer.purpose, Purpose::Answer);
    let heard = lamp.hears(&answer.phy).unwrap();
    assert!(heard.ack && !heard.confirmed && heard.data.is_none());
}

#[test]
fn a_confirmed_uplink_that_is_settled_late_is_acknowledged_in_the_second_window() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.settles = false;
    let uplink = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&uplink);
    let receipt = cabinet.uplinks[0].receipt.clone().unwrap();
    assert_eq!(
        receipt.settle_by,
        Some(cabinet.now + std::time::Duration::from_millis(900))
    );
    cabinet.advance(950);
    assert_eq!(cabinet.transmissions, []);
    cabinet.server.handle_settled(receipt.id, cabinet.now);
    cabinet.pump();
    assert_eq!(rates(&cabinet.transmissions[0]), [DataRate::Dr3]);
}

#[test]
fn a_confirmed_uplink_that_is_settled_too_late_is_acknowledged_when_it_is_repeated() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.settles = false;
    let uplink = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&uplink);
    let receipt = cabinet.uplinks[0].receipt.clone().unwrap();
    cabinet.advance(4_000);
    cabinet.hears(&uplink);
    cabinet.server.handle_settled(receipt.id, cabinet.now);
    cabinet.pump();
    assert_eq!(cabinet.uplinks.len(), 1, "it is delivered once");
    assert!(lamp.hears(&cabinet.transmissions[0].phy).unwrap().ack);
}

#[test]
fn a_repeated_uplink_is_answered_again_with_another_counter() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.says(&Says {
        confirmed: true,
        commands: vec![vec![0x02]],
        data: Some((10, b"alarm".to_vec())),
        ..Says::default()
    });
    cabinet.hears(&uplink);
    cabinet.advance(4_000);
    cabinet.hears(&uplink);
    assert_eq!(cabinet.uplinks.len(), 1);
    let heard: Vec<_> = cabinet
        .transmissions
        .iter()
        .map(|t| lamp.hears(&t.phy).unwrap())
        .collect();
    assert!(
        heard
            .iter()
            .all(|heard| heard.ack && heard.f_opts == [0x02, 14, 1]),
        "{heard:?}"
    );
    assert!(heard[0].f_cnt < heard[1].f_cnt);
    assert_eq!(cabinet.server.statistics().repeats, 1);
}

#[test]
fn an_echo_of_an_uplink_is_no_repeat() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&uplink);
    cabinet.advance(300);
    cabinet.hears(&uplink);
    assert_eq!(cabinet.transmissions.len(), 1);
}

#[test]
fn a_repeat_is_not_answered_for_ever() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports_confirmed(b"alarm");
    for _ in 0..40 {
        cabinet.hears(&uplink);
        cabinet.advance(5_000);
    }
    assert_eq!(cabinet.transmissions.len(), 1 + usize::from(limits::REPEATS));
}

#[test]
fn questions_of_the_device_are_answered() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.says(&Says {
        commands: vec![vec![0x02], vec![0x0d]],
        ..Says::default()
    });
    let seconds = cabinet.now.duration_since(super::start()).as_secs();
    cabinet.hears(&uplink);
    let f_opts = lamp.hears(&cabinet.transmissions[0].phy).unwrap().f_opts;
    // 7 dB are 14.5 above -7.5 dB. 2026-01-01T00:00:00Z is 1451260818 s of GPS time (18 leap seconds).
    assert_eq!(f_opts[..4], [0x02, 14, 1, 0x0d]);
    let gps_secs = u32::from_le_bytes(f_opts[4..8].try_into().unwrap());
    assert_eq!(u64::from(gps_secs), 1_451_260_818 + seconds);
    assert_eq!(cabinet.uplinks, []);
}

#[test]
fn questions_at_port_0_are_answered_once_however_often_they_come() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.says(&Says {
        commands: [vec![0x02], vec![0x0d]].into_iter().cycle().take(40).collect(),
        data: Some((0, Vec::new())),
        ..Says::default()
    });
    cabinet.hears(&uplink);
    let f_opts = lamp.hears(&cabinet.transmissions[0].phy).unwrap().f_opts;
    assert_eq!((f_opts.len(), f_opts[0], f_opts[3]), (9, 0x02, 0x0d));
    assert_eq!(cabinet.uplinks, []);
}

#[test]
fn a_device_that_wants_to_hear_anything_hears_an_empty_frame() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.says(&Says {
        control: 0x40,
        ..Says::default()
    });
    cabinet.hears(&uplink);
    let heard = lamp.hears(&cabinet.transmissions[0].phy).unwrap();
    assert!(!heard.ack && heard.data.is_none() && heard.f_opts.is_empty());
}

#[test]
fn a_command_waits_durably_for_the_next_uplink() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.saves = Answers::Never;
    let id = cabinet.tells(&lamp, 1, b"open");
    assert_eq!(cabinet.deliveries, []);
    cabinet.answer_saves();
    assert_eq!(cabinet.deliveries, [(id, Delivery::Queued)]);
    cabinet.saves = Answers::AtOnce;
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.deliveries[1..], [(id, Delivery::Sent)]);
    let heard = lamp.hears(&cabinet.transmissions[0].phy).unwrap();
    assert_eq!(heard.data, Some((60, b"open".to_vec())));
    assert!(!cabinet.disk.keys().any(|name| name.starts_with("lorawan/queue")));
}

#[test]
fn a_command_that_comes_while_the_windows_are_near_rides_in_them() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    cabinet.advance(500);
    let id = cabinet.tells(&lamp, 1, b"open");
    assert_eq!(rates(&cabinet.transmissions[0]), [DataRate::Dr5, DataRate::Dr3]);
    assert!(cabinet.deliveries.contains(&(id, Delivery::Sent)));
}

#[test]
fn a_later_command_for_the_same_resource_takes_the_place_of_one_that_waits() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let first = cabinet.tells(&lamp, 1, b"10 percent");
    let other = cabinet.tells(&lamp, 2, b"other");
    let second = cabinet.tells(&lamp, 1, b"20 percent");
    assert!(cabinet.deliveries.contains(&(first, Delivery::Superseded)));
    let mut said = Vec::new();
    for _ in 0..2 {
        cabinet.transmissions.clear();
        let uplink = lamp.reports(b"1");
        cabinet.hears(&uplink);
        let heard = lamp.hears(&cabinet.transmissions[0].phy).unwrap();
        said.push((heard.data.unwrap().1, heard.f_pending));
        cabinet.advance(900_000);
    }
    assert_eq!(said, [(b"other".to_vec(), true), (b"20 percent".to_vec(), false)]);
    assert!(cabinet.deliveries.contains(&(other, Delivery::Sent)));
    assert!(cabinet.deliveries.contains(&(second, Delivery::Sent)));
}

#[test]
fn a_command_outlives_a_restart() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.tells(&lamp, 1, b"open");
    cabinet.restart(false);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert!(lamp.hears(&cabinet.transmissions[0].phy).unwrap().data.is_some());
}

#[test]
fn a_command_that_cannot_be_kept_is_given_back() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.saves = Answers::Failed;
    let id = cabinet.tells(&lamp, 1, b"open");
    let unreachable = Delivery::Unreachable { retry_after_secs: 5 };
    assert_eq!(cabinet.deliveries, [(id, unreachable)]);
}

#[test]
fn a_confirmed_command_is_repeated_until_the_device_acknowledges() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let id = cabinet.tells_with(&lamp, 1, b"open", true);
    for control in [0, 0, 0x20] {
        let uplink = lamp.says(&Says {
            control,
            ..Says::default()
        });
        cabinet.hears(&uplink);
        cabinet.advance(900_000);
    }
    let heard: Vec<_> = cabinet
        .transmissions
        .iter()
        .map(|t| lamp.hears(&t.phy).unwrap())
        .collect();
    assert_eq!(heard.len(), 2);
    assert!(heard.iter().all(|heard| heard.confirmed) && heard[0].f_cnt < heard[1].f_cnt);
    assert_eq!(
        cabinet.deliveries,
        [(id, Delivery::Queued), (id, Delivery::Confirmed(None))]
    );
}

#[test]
fn a_command_that_is_never_acknowledged_ends() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let id = cabinet.tells_with(&lamp, 1, b"open", true);
    for _ in 0..8 {
        let uplink = lamp.reports(b"1");
        cabinet.hears(&uplink);
        cabinet.advance(900_000);
    }
    assert_eq!(cabinet.transmissions.len(), usize::from(limits::COMMAND_ATTEMPTS));
    assert!(matches!(&cabinet.deliveries[1], (of, Delivery::Unconfirmed(_)) if *of == id));
}

#[test]
fn a_command_that_no_window_took_goes_out_after_the_next_uplink() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let id = cabinet.tells(&lamp, 1, b"open");
    cabinet.sent = Some(Sent::Refused(
        TxError::CollisionPacket,
        "COLLISION_PACKET".to_owned(),
    ));
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    cabinet.sent = Some(Sent::OnAir);
    cabinet.advance(900_000);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.deliveries, [(id, Delivery::Queued), (id, Delivery::Sent)]);
}

#[test]
fn a_command_that_is_too_long_for_the_data_rates_is_refused() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let id = cabinet.tells(&lamp, 1, &[0; 200]);
    let uplink = lamp.reports(b"1");
    cabinet.hears_at(&uplink, DataRate::Dr0);
    match &cabinet.deliveries[1] {
        (of, Delivery::Refused(refusal)) if *of == id => assert_eq!(
            refusal.text,
            "200 bytes do not fit SF9BW125, which takes 115: let the device use a faster data rate"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_that_fits_only_one_window_goes_out_in_that_one() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.tells(&lamp, 1, &[0; 200]);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(rates(&cabinet.transmissions[0]), [DataRate::Dr5]);
}

#[test]
fn a_queue_has_a_bound() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::A);
    for resource in 0..=limits::COMMANDS {
        cabinet.tells(&lamp, u16::try_from(resource).unwrap(), &[0; 242]);
    }
    let last = DownlinkId(u64::try_from(limits::COMMANDS).unwrap() + 1);
    let unreachable = Delivery::Unreachable {
        retry_after_secs: 900,
    };
    assert_eq!(cabinet.deliveries.last(), Some(&(last, unreachable)));
    assert!(
        cabinet
            .disk
            .values()
            .all(|value| value.len() <= ucifi_core::state::MAX_VALUE_BYTES)
    );
}

#[test]
fn a_command_does_not_wait_for_ever() {
    let (mut cabinet, lamp) = Cabinet::joined(DeviceClass::A);
    let id = cabinet.tells(&lamp, 1, b"open");
    cabinet.advance(limits::COMMAND_HOURS * 3_600_000);
    assert_eq!(
        cabinet.deliveries,
        [(id, Delivery::Queued), (id, Delivery::Expired)]
    );
}

#[test]
fn unsettled_uplinks_have_a_bound() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.settles = false;
    for _ in 0..100 {
        let uplink = lamp.reports_confirmed(b"alarm");
        cabinet.hears(&uplink);
        cabinet.advance(5_000);
    }
    assert_eq!(cabinet.transmissions, []);
    // The last one is still acknowledged when it is repeated.
    let receipts: Vec<_> = cabinet
        .uplinks
        .iter()
        .map(|uplink| uplink.receipt.as_ref().unwrap().id)
        .collect();
    for receipt in receipts {
        cabinet.server.handle_settled(receipt, cabinet.now);
    }
    cabinet.pump();
    assert_eq!(cabinet.transmissions, []);
}
