//! Runs that end without notice: nothing is used twice, and devices go on without a new join.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ucifi_core::Quality;
use ucifi_core::field::{DeviceClass, Frame};

use super::cabinet::{Answers, Cabinet};
use super::lamp::Lamp;
use crate::lorawan::{Event, Purpose, WhyRefused, limits};

#[test]
fn after_a_kill_the_device_goes_on_and_its_frames_are_in_doubt_for_a_while() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.restart(false);
    for _ in 0..limits::F_CNT_UP_WINDOW + 4 {
        let uplink = lamp.reports(b"1");
        cabinet.hears(&uplink);
    }
    let is_stale = |quality: Quality| cabinet.uplinks.iter().filter(|u| u.quality == quality).count();
    assert_eq!(is_stale(Quality::Stale), limits::F_CNT_UP_WINDOW as usize);
    assert_eq!(is_stale(Quality::Good), 4);
    let uncertain = |event: &&Event| matches!(event, Event::Uncertain { .. });
    assert_eq!(
        cabinet.events.iter().filter(uncertain).count(),
        limits::F_CNT_UP_WINDOW as usize
    );
}

#[test]
fn a_frame_recorded_before_a_kill_is_taken_at_most_once_more_and_in_doubt() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.forget();
    let recorded = lamp.reports(b"1");
    cabinet.hears(&recorded);
    cabinet.restart(false);
    cabinet.hears(&recorded);
    cabinet.advance(10_000);
    cabinet.hears(&recorded);
    let qualities: Vec<Quality> = cabinet.uplinks.iter().map(|uplink| uplink.quality).collect();
    assert_eq!(qualities, [Quality::Good, Quality::Stale]);
}

#[test]
fn a_frame_that_was_remembered_before_a_kill_is_refused() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let recorded = lamp.reports(b"1");
    cabinet.hears(&recorded);
    let uplink = lamp.reports(b"2");
    cabinet.hears(&uplink);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.restart(false);
    cabinet.hears(&recorded);
    assert_eq!(cabinet.refused(WhyRefused::Replayed), 1);
}

#[test]
fn a_stop_in_good_order_leaves_no_doubt() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    cabinet.stop();
    assert!(cabinet.server.is_stopped());
    cabinet.restart(false);
    cabinet.hears(&uplink);
    assert_eq!(cabinet.uplinks.len(), 1);
    let uplink = lamp.reports(b"2");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.uplinks[1].quality, Quality::Good);
    assert!(!cabinet.disk.contains_key("lorawan/stopped"));
}

#[test]
fn no_frame_is_taken_while_a_kill_would_look_like_a_stop_in_good_order() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.stop();
    cabinet.saves = Answers::Never;
    cabinet.restart(false);
    let uplink = lamp.reports(b"1");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.refused(WhyRefused::Starting), 1);
    cabinet.answer_saves();
    cabinet.hears(&uplink);
    assert_eq!(cabinet.uplinks.len(), 1);
}

#[test]
fn an_uplink_that_was_not_settled_before_a_kill_is_taken_again() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.settles = false;
    let alarm = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&alarm);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.restart(false);
    cabinet.settles = true;
    cabinet.hears(&alarm);
    assert_eq!(cabinet.payloads(), [b"alarm", b"alarm"]);
    assert!(lamp.hears(&cabinet.transmissions[0].phy).unwrap().ack);
}

#[test]
fn a_confirmed_uplink_is_known_again_after_a_kill_by_its_counter_and_no_other_one_is() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.forget();
    let alarm = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&alarm);
    cabinet.restart(false);
    cabinet.hears(&alarm);
    cabinet.advance(10_000);
    let same = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&same);
    let told = cabinet
        .uplinks
        .iter()
        .filter_map(|uplink| uplink.receipt.as_ref()?.repetition);
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 3);
    assert_eq!(told[0].fingerprint, told[1].fingerprint);
    assert_ne!(told[1].fingerprint, told[2].fingerprint);
    let in_doubt = told.iter().map(|told| told.is_repeat);
    assert_eq!(in_doubt.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn an_uplink_that_was_settled_before_a_kill_is_only_acknowledged_again() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    let alarm = lamp.reports_confirmed(b"alarm");
    cabinet.hears(&alarm);
    cabinet.advance(limits::COMMIT_SECS * 1_000);
    cabinet.forget();
    cabinet.restart(false);
    cabinet.hears(&alarm);
    assert!(cabinet.uplinks.is_empty());
    assert!(lamp.hears(&cabinet.transmissions[0].phy).unwrap().ack);
}

#[test]
fn an_old_copy_goes_on_from_far_ahead() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::C);
    let old = cabinet.disk.clone();
    for _ in 0..500 {
        cabinet.tells(&lamp, 1, b"on");
        cabinet
            .transmissions
            .drain(..)
            .for_each(|t| assert!(lamp.hears(&t.phy).is_some()));
    }
    let before = lamp.session.as_ref().unwrap().f_cnt_down;
    cabinet.disk = old;
    cabinet.restart(true);
    cabinet.tells(&lamp, 1, b"on");
    assert!(lamp.hears(&cabinet.transmissions[0].phy).unwrap().f_cnt >= before);
    assert!(cabinet.join(&mut lamp) > limits::OLD_COPY_JUMP);
}

#[test]
fn an_old_copy_is_current_when_every_counter_is_saved() {
    let lamps: Vec<Lamp> = (1..=100).map(Lamp::new).collect();
    let nodes: Vec<_> = lamps.iter().map(|lamp| lamp.config(DeviceClass::A)).collect();
    let mut cabinet = Cabinet::new(nodes);
    cabinet.saves = Answers::Never;
    cabinet.restart(true);
    let mut is_current = Vec::new();
    while let Some(request) = cabinet.open_saves.pop_front() {
        assert!(request.changes.len() <= limits::CHANGES_PER_SAVE + 1);
        is_current.push(request.is_current);
        cabinet.server.handle_saved(request.id, Ok(()), cabinet.now);
        cabinet.pump();
    }
    assert_eq!(is_current, [false, false, false, true]);
}

#[test]
fn damaged_state_is_told_of_and_the_device_joins_again() {
    let (mut cabinet, mut lamp) = Cabinet::joined(DeviceClass::A);
    for value in cabinet.disk.values_mut() {
        value.truncate(3);
    }
    cabinet.restart(false);
    let damaged = |event: &&Event| matches!(event, Event::Damaged { .. });
    assert_eq!(cabinet.events.iter().filter(damaged).count(), 2);
    let uplink = lamp.reports(b"lost");
    cabinet.hears(&uplink);
    assert!(cabinet.uplinks.is_empty());
    cabinet.join(&mut lamp);
    let uplink = lamp.reports(b"back");
    cabinet.hears(&uplink);
    assert_eq!(cabinet.payloads(), [b"back"]);
}

#[derive(Clone, Debug)]
enum Step {
    Join,
    Report {
        confirmed: bool,
    },
    Tell {
        resource: u16,
    },
    Replay {
        at: prop::sample::Index,
    },
    Wait {
        millis: u64,
    },
    /// The disk answers.
    Saved,
    /// The disk has it, and the process ends before it is told.
    KillAfterWrite,
    Kill,
    StopAndStart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Join),
        6 => any::<bool>().prop_map(|confirmed| Step::Report { confirmed }),
        4 => (0..4_u16).prop_map(|resource| Step::Tell { resource }),
        4 => any::<prop::sample::Index>().prop_map(|at| Step::Replay { at }),
        4 => (1..200_000_u64).prop_map(|millis| Step::Wait { millis }),
        6 => Just(Step::Saved),
        1 => Just(Step::KillAfterWrite),
        1 => Just(Step::Kill),
        1 => Just(Step::StopAndStart),
    ]
}

/// What must not be used twice, as it was seen on the air.
#[derive(Default)]
struct Watch {
    join_nonces: BTreeSet<u32>,
    counters: BTreeSet<([u8; 4], u16)>,
    recorded: Vec<Vec<u8>>,
    joins: usize,
    /// Whether the device still waits for the answer to its last join-request.
    listens: bool,
    reports: u32,
}

impl Watch {
    fn look(&mut self, cabinet: &mut Cabinet, lamp: &mut Lamp) {
        for transmission in cabinet.transmissions.drain(..) {
            let phy = &transmission.phy;
            if transmission.purpose == Purpose::Join {
                let join_nonce = lamp.clone().accept(phy).expect("it is for the device");
                assert!(
                    self.join_nonces.insert(join_nonce),
                    "JoinNonce {join_nonce} twice"
                );
                assert!(self.join_nonces.len() <= self.joins, "a DevNonce was taken twice");
                if self.listens {
                    lamp.accept(phy);
                }
            } else {
                let address = phy[1..5].try_into().unwrap();
                let counter = u16::from_le_bytes([phy[6], phy[7]]);
                assert!(
                    self.counters.insert((address, counter)),
                    "FCntDown {counter} twice"
                );
                lamp.hears(phy);
            }
        }
    }

    fn act(&mut self, step: &Step, cabinet: &mut Cabinet, lamp: &mut Lamp) {
        match step {
            Step::Join => {
                self.joins += 1;
                self.listens = true;
                lamp.session = None;
                let request = lamp.join_request();
                self.recorded.push(request.clone());
                cabinet.hears(&request);
            }
            Step::Report { confirmed } if lamp.session.is_some() => {
                let phy = self.report(*confirmed, lamp);
                cabinet.hears(&phy);
            }
            Step::Report { .. } => {}
            Step::Tell { resource } => drop(cabinet.tells(lamp, *resource, b"on")),
            Step::Replay { at } if !self.recorded.is_empty() => {
                let phy = at.get(&self.recorded).clone();
                self.listens &= phy[0] != 0;
                cabinet.hears(&phy);
            }
            Step::Replay { .. } => {}
            Step::Wait { millis } => cabinet.advance(*millis),
            Step::Saved => cabinet.answer_saves(),
            Step::KillAfterWrite => {
                if let Some(request) = cabinet.open_saves.pop_front() {
                    cabinet.write(&request);
                }
                cabinet.restart(false);
            }
            Step::Kill => cabinet.restart(false),
            Step::StopAndStart => {
                cabinet.stop();
                cabinet.answer_saves();
                cabinet.restart(false);
            }
        }
        // A stop is no better than a kill while the disk does not answer.
        if matches!(step, Step::Kill | Step::KillAfterWrite | Step::StopAndStart) {
            self.recorded.retain(|phy| is_remembered(phy, cabinet));
        }
        self.look(cabinet, lamp);
    }

    fn report(&mut self, confirmed: bool, lamp: &mut Lamp) -> Vec<u8> {
        self.reports += 1;
        let payload = self.reports.to_be_bytes();
        let phy = if confirmed {
            lamp.reports_confirmed(&payload)
        } else {
            lamp.reports(&payload)
        };
        self.recorded.push(phy.clone());
        phy
    }
}

/// Says whether a recorded frame is a data frame, or a join-request of which the disk knows. Another join-request is
/// as new as one that never came through: LoRaWAN 1.0.x cannot tell, and a device that joins just then joins again.
fn is_remembered(phy: &[u8], cabinet: &Cabinet) -> bool {
    let mut nonces = cabinet
        .disk
        .iter()
        .filter(|(name, _)| name.starts_with("lorawan/nonces"));
    phy[0] != 0 || nonces.any(|(_, value)| value[5..].chunks(2).any(|used| *used == phy[17..19]))
}

fn taken(cabinet: &Cabinet) -> BTreeMap<&[u8], Vec<Quality>> {
    let mut taken: BTreeMap<&[u8], Vec<Quality>> = BTreeMap::new();
    for uplink in &cabinet.uplinks {
        if let Frame::LoRaWanData(data) = &uplink.frame {
            taken.entry(&data.payload).or_default().push(uplink.quality);
        }
    }
    taken
}

proptest! {
    #[test]
    fn kills_at_any_moment_repeat_nothing_and_end_no_session(
        class in prop_oneof![Just(DeviceClass::A), Just(DeviceClass::C)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut lamp = Lamp::new(1);
        let mut cabinet = Cabinet::new(vec![lamp.config(class)]);
        cabinet.saves = Answers::Never;
        let mut watch = Watch::default();
        for step in &steps {
            watch.act(step, &mut cabinet, &mut lamp);
        }
        cabinet.restart(false);
        cabinet.saves = Answers::AtOnce;
        cabinet.answer_saves();
        watch.look(&mut cabinet, &mut lamp);
        if lamp.session.is_some() {
            let phy = watch.report(true, &mut lamp);
            cabinet.hears(&phy);
            let last = watch.reports.to_be_bytes();
            prop_assert!(taken(&cabinet).contains_key(&last[..]), "the session is lost");
            let heard = lamp.hears(&cabinet.transmissions.last().expect("an answer").phy);
            prop_assert!(heard.is_some_and(|heard| heard.ack));
        }
        watch.look(&mut cabinet, &mut lamp);
        for (payload, qualities) in taken(&cabinet) {
            let doubtless = qualities.iter().filter(|quality| **quality == Quality::Good).count();
            prop_assert!(doubtless <= 1, "{payload:?} was taken as new {doubtless} times");
        }
    }
}
