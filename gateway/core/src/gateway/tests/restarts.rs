//! What goes on after a restart.

mod stops;

use std::collections::BTreeSet;

use lwm2m_client::Path;
use lwm2m_client::object::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{METER, meter_and_relay};
use crate::testing::{Got, Saves, StateStore, TestCabinet, words};
use crate::{Config, EndpointState, Event, Quality, StateEvent};

pub(super) const MODEL: Model = Model::Y2026;

pub(super) fn config() -> Config {
    meter_and_relay(MODEL)
}

/// Returns a cabinet whose endpoints are registered and whose meter has been read.
pub(super) fn running() -> TestCabinet {
    let mut cabinet = TestCabinet::kept(config(), StateStore::default());
    cabinet.run_ms(1_000);
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(5_000);
    cabinet.server.got.clear();
    cabinet.events.clear();
    cabinet
}

pub(super) fn registrations(cabinet: &TestCabinet) -> (usize, usize) {
    let count = |what: fn(&Got) -> bool| cabinet.server.got.iter().filter(|(_, got)| what(got)).count();
    (
        count(|got| matches!(got, Got::Register { .. })),
        count(|got| matches!(got, Got::Update { .. })),
    )
}

pub(super) fn names(cabinet: &TestCabinet) -> Vec<String> {
    let endpoints = cabinet.gateway.endpoints();
    endpoints
        .iter()
        .map(|endpoint| endpoint.name.to_string())
        .collect()
}

pub(super) fn state_events(cabinet: &TestCabinet) -> Vec<StateEvent> {
    let events = cabinet.events.iter().filter_map(|event| match event {
        Event::State(event) => Some(event.clone()),
        Event::Registered { .. }
        | Event::RegistrationFailed { .. }
        | Event::RegistrationLost { .. }
        | Event::Deregistered { .. }
        | Event::ServerMessageRefused { .. }
        | Event::DeviceReachable { .. }
        | Event::DeviceUnreachable { .. }
        | Event::FrameOfStranger { .. }
        | Event::FrameRefused { .. }
        | Event::PointFault { .. }
        | Event::CommandFinished(_)
        | Event::ReadingsDropped { .. }
        | Event::Gap { .. }
        | Event::BufferFailed { .. }
        | Event::BufferWorks
        | Event::StateFailed { .. }
        | Event::StateWorks => None,
    });
    events.collect()
}

#[test]
fn after_a_stop_and_after_a_kill_every_endpoint_updates_and_none_registers() {
    for is_stopped in [true, false] {
        let mut cabinet = running();
        if is_stopped {
            cabinet.stop();
            assert!(cabinet.gateway.is_stopped());
        }
        cabinet.restart(config());
        cabinet.run_ms(2_000);
        assert_eq!(registrations(&cabinet), (0, 3));
        let states: Vec<_> = cabinet.gateway.endpoints().iter().map(|e| e.state).collect();
        assert_eq!(states, [EndpointState::Registered; 3]);
    }
}

#[test]
fn an_observation_goes_on_with_its_token_and_a_later_number() {
    let mut cabinet = running();
    let observe = cabinet.server.observe("/3421/0/6");
    cabinet.datagram(METER, &observe);
    cabinet.uplink(1, words(1, &[16]));
    cabinet.run_ms(1_000);
    let before = cabinet.answer();
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    cabinet.server.got.clear();
    cabinet.uplink(1, words(1, &[17]));
    cabinet.run_ms(1_000);
    let after = cabinet.answer();
    assert_eq!((&*after.text, after.token), ("1.7", before.token));
    assert!(after.observe > before.observe && before.observe.is_some());
}

#[test]
fn values_are_there_at_once_as_stale_ones_and_nobody_is_owed_them() {
    let mut cabinet = running();
    let before = cabinet.now.wall.unwrap().unix_secs();
    cabinet.run_ms(60_000);
    cabinet.server.got.clear();
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.sent(), Vec::<Vec<String>>::new());
    let updates = cabinet.object_lists(METER);
    assert_eq!(updates, [""], "the list of objects is the same");
    assert_eq!(cabinet.read(METER, "/3421/0/1").1, "230.1");
    assert_eq!(cabinet.read(METER, "/3421/0/6042").1, "2");
    assert_eq!(cabinet.read(METER, "/3421/0/6049").1, "30");
    let measured: i64 = cabinet.read(METER, "/3421/0/5518").1.parse().unwrap();
    assert!((before - 6..=before).contains(&measured));
    let values = cabinet.gateway.values("meter-1", cabinet.now).unwrap();
    let kept = values.iter().find(|value| &*value.name == "voltage").unwrap();
    assert_eq!((kept.age_ms, kept.quality), (None, Some(Quality::Stale)));

    cabinet.uplink(1, words(0, &[2305, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(1_000);
    assert_eq!(cabinet.read(METER, "/3421/0/6042").1, "4");
    assert_eq!(cabinet.read(METER, "/3418/0/6042").1, "3", "derived, as before");
}

#[test]
fn a_server_that_was_told_of_bad_values_is_told_when_they_are_good_after_a_restart() {
    let mut cabinet = running();
    let silent = crate::field::Reachability::Unreachable("no answer".to_owned());
    cabinet.reachability(1, silent);
    cabinet.run_ms(2_000);
    assert!(cabinet.sent().concat().contains(&"/3421/0/6042 2".to_owned()));
    cabinet.stop();
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.sent().concat(), Vec::<String>::new());
    cabinet.uplink(1, words(0, &[2301, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(2_000);
    assert!(cabinet.sent().concat().contains(&"/3421/0/6042 4".to_owned()));
}

#[test]
fn after_a_stop_only_news_are_news_and_after_a_kill_everything_is() {
    for (is_stopped, count) in [(true, 0), (false, 1)] {
        let mut cabinet = running();
        if is_stopped {
            cabinet.stop();
        }
        cabinet.run_ms(1_000);
        cabinet.restart(config());
        cabinet.run_ms(2_000);
        cabinet.uplink(1, words(0, &[2304]));
        cabinet.run_ms(2_000);
        let sent = cabinet.sent().concat();
        let voltages = sent
            .iter()
            .filter(|record| record.starts_with("/3421/0/1 "))
            .count();
        assert_eq!(voltages, count, "{sent:?}");
    }
}

#[test]
fn a_heartbeat_goes_on_across_a_stop() {
    let mut cabinet = running();
    cabinet.run_ms(30_000);
    cabinet.stop();
    cabinet.run_ms(20_000);
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    cabinet.server.got.clear();
    let mut sent_after = |ms| {
        cabinet.run_ms(ms);
        cabinet.uplink(1, words(0, &[2301]));
        cabinet.run_ms(1_000);
        let sent = cabinet.sent().concat();
        sent.iter().any(|record| record.starts_with("/3421/0/1 "))
    };
    assert!(!sent_after(0), "58 s after it was told");
    assert!(sent_after(3_000), "62 s after it was told");
}

#[test]
fn what_a_stop_wrote_down_as_told_counts_for_the_next_start_only() {
    let mut cabinet = running();
    cabinet.stop();
    cabinet.restart(config());
    cabinet.run_ms(1_000);
    cabinet.uplink(1, words(0, &[2500]));
    cabinet.run_ms(1_000);
    cabinet.restart(config());
    cabinet.run_ms(1_000);
    cabinet.server.got.clear();
    cabinet.uplink(1, words(0, &[2301]));
    cabinet.run_ms(1_000);
    assert!(cabinet.sent().concat().contains(&"/3421/0/1 230.1".to_owned()));
}

/// Returns a cabinet that has been stopped in order, started again, and has told another voltage since.
fn told_since_a_stop() -> TestCabinet {
    let mut cabinet = running();
    cabinet.stop();
    cabinet.restart(config());
    cabinet.run_ms(1_000);
    cabinet.uplink(1, words(0, &[2500]));
    cabinet.run_ms(1_000);
    assert!(cabinet.sent().concat().contains(&"/3421/0/1 250".to_owned()));
    cabinet
}

fn is_news_after_a_restart(cabinet: &mut TestCabinet) -> bool {
    cabinet.run_ms(1_000);
    cabinet.server.got.clear();
    cabinet.uplink(1, words(0, &[2301]));
    cabinet.run_ms(1_000);
    cabinet.sent().concat().contains(&"/3421/0/1 230.1".to_owned())
}

#[test]
fn what_a_stop_wrote_down_as_told_is_believed_once_though_the_disk_does_not_count_the_starts() {
    let mut cabinet = told_since_a_stop();
    cabinet.restart_uncounted(config());
    assert!(is_news_after_a_restart(&mut cabinet));
}

#[test]
fn what_an_old_copy_says_was_told_is_not_believed() {
    let mut stopped = running();
    stopped.stop();
    let mut cabinet = told_since_a_stop();
    cabinet.store.saved = crate::state::Saved {
        may_be_old: true,
        ..stopped.store.saved
    };
    cabinet.restart_uncounted(config());
    assert!(is_news_after_a_restart(&mut cabinet));
}

#[test]
fn nothing_is_said_to_a_server_before_the_last_word_of_the_last_run_is_taken_back() {
    let mut cabinet = running();
    cabinet.stop();
    cabinet.store.saves = Saves::Wait;
    cabinet.datagrams.clear();
    cabinet.restart(config());
    cabinet.uplink(1, words(0, &[2500, 15, 340, 9, 123, 12_345]));
    cabinet.run_ms(3_000);
    assert!(cabinet.store.names().contains(&"core/stopped"));
    assert_eq!(message_ids(&cabinet.datagrams), BTreeSet::new());
    cabinet.finish_save();
    assert!(!cabinet.store.names().contains(&"core/stopped"));
    cabinet.run_ms(3_000);
    assert_ne!(message_ids(&cabinet.datagrams), BTreeSet::new());
}

#[test]
fn a_renamed_gateway_keeps_the_names_of_its_devices_and_says_so() {
    let mut cabinet = running();
    let renamed = Config {
        name: "cab-99".into(),
        ..config()
    };
    cabinet.restart(renamed.clone());
    cabinet.run_ms(2_000);
    assert_eq!(names(&cabinet), ["cab-17", "cab-17-meter-1", "cab-17-relay-1"]);
    assert_eq!(registrations(&cabinet), (0, 3));
    let kept = state_events(&cabinet);
    assert_eq!(kept.len(), 3);
    assert!(kept.contains(&StateEvent::NameKept {
        device: "meter-1".into(),
        name: "cab-17-meter-1".into(),
        derived: "cab-99-meter-1".into(),
    }));

    let mut changed = renamed.clone();
    changed.devices[0].endpoint = Some("feeder-a".into());
    cabinet.restart(changed);
    cabinet.run_ms(2_000);
    cabinet.restart(renamed);
    assert_eq!(names(&cabinet)[1], "feeder-a", "what was configured once is kept");
}

#[test]
fn whatever_is_damaged_the_gateway_starts_and_goes_on() {
    let good = running();
    for name in good.store.names() {
        let mut cabinet = TestCabinet::kept(config(), StateStore::default());
        cabinet.store.saved = good.store.saved.clone();
        cabinet
            .store
            .saved
            .values
            .insert(name.to_owned(), vec![0xFF, 0x00, 0x13]);
        cabinet.events.clear();
        cabinet.restart(config());
        cabinet.run_ms(2_000);
        let damaged = state_events(&cabinet);
        assert!(
            matches!(&damaged[..], [StateEvent::Damaged { .. }]),
            "{name}: {damaged:?}"
        );
        let states: Vec<_> = cabinet.gateway.endpoints().iter().map(|e| e.state).collect();
        assert_eq!(states, [EndpointState::Registered; 3], "{name}");
        cabinet.restart(config());
        assert_eq!(state_events(&cabinet).len(), 1, "{name}: told once, and repaired");
    }
}

#[test]
fn the_numbers_of_commands_are_not_used_again() {
    let mut cabinet = running();
    let mut last = 0;
    for _ in 0..4 {
        for _ in 0..700 {
            let write = cabinet.gateway.command(
                "meter-1",
                Path::resource(3421, 0, 6),
                lwm2m_client::Value::Float(1.0),
                cabinet.now,
            );
            assert!(write.is_err());
        }
        cabinet.run_ms(1);
        let ids: Vec<u64> = cabinet.outcomes().iter().map(|record| record.id.0).collect();
        assert_eq!(ids.len(), 700);
        assert!(ids[0] > last && ids.is_sorted());
        last = ids[699];
        cabinet.restart(config());
    }
    assert!(last < 10_000, "the numbers stay readable");
}

#[test]
fn after_a_kill_no_message_id_is_used_again() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut cabinet = TestCabinet::kept(config(), StateStore::default());
        cabinet.run_ms(2_000);
        let mut before = BTreeSet::new();
        for _ in 0..4 {
            for round in 0..random.random_range(20..200) {
                cabinet.store.saves =
                    [Saves::Work, Saves::Wait, Saves::Fail][random.random_range(0..2)].clone();
                cabinet.uplink(1, words(0, &[2000 + round * 20 % 500, round, 340, 9, 123, round]));
                cabinet.run_ms(random.random_range(1..1_500));
                if random.random_bool(0.7) {
                    cabinet.finish_save();
                }
            }
            let used = message_ids(&std::mem::take(&mut cabinet.datagrams));
            assert_eq!(used.intersection(&before).next(), None, "seed {seed}");
            assert!(used.len() > 3);
            before = used;
            cabinet.store.saves = Saves::Work;
            cabinet.restart(config());
        }
    }
}

#[test]
fn state_from_an_old_copy_jumps_far_ahead_and_only_once() {
    let mut cabinet = running();
    let old = cabinet.store.saved.clone();
    for round in 0..500 {
        cabinet.uplink(1, words(0, &[2000 + round % 2 * 100]));
        cabinet.run_ms(100);
    }
    let before = message_ids(&std::mem::take(&mut cabinet.datagrams));
    cabinet.store.saved = old;
    cabinet.store.saved.may_be_old = true;
    assert!(before.len() > 100);
    // Twice half of all ids would be where it began.
    for start in 1..=3 {
        cabinet.restart(config());
        for round in 0..500 {
            cabinet.uplink(1, words(0, &[2000 + round % 2 * 100]));
            cabinet.run_ms(100);
        }
        let after = message_ids(&std::mem::take(&mut cabinet.datagrams));
        assert!(after.len() > 100);
        assert_eq!(before.intersection(&after).next(), None, "start {start}");
    }
}

/// Returns the message ids of what the gateway began itself between two places, with the endpoints.
fn message_ids(datagrams: &[(std::time::Instant, crate::EndpointId, Vec<u8>)]) -> BTreeSet<(u32, u16)> {
    let is_own = |datagram: &[u8]| (datagram[0] >> 4) & 3 < 2;
    let own = datagrams.iter().filter(|(_, _, datagram)| is_own(datagram));
    own.map(|(_, endpoint, d)| (endpoint.0, u16::from_be_bytes([d[2], d[3]])))
        .collect()
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn whatever_stands_under_the_names_the_gateway_starts_and_registers(
        noise in proptest::collection::vec(
            (proptest::prelude::any::<proptest::sample::Index>(), proptest::collection::vec(0..=255_u8, 0..48), 0..4_u8),
            1..12,
        ),
        may_be_old: bool,
    ) {
        static SAVED: std::sync::LazyLock<crate::state::Saved> = std::sync::LazyLock::new(|| {
            let mut cabinet = running();
            let observe = cabinet.server.observe("/3421/0/6");
            cabinet.datagram(METER, &observe);
            cabinet.stop();
            cabinet.store.saved
        });
        let mut cabinet = TestCabinet::kept(config(), StateStore::default());
        cabinet.store.saved = SAVED.clone();
        cabinet.store.saved.may_be_old = may_be_old;
        let names: Vec<String> = SAVED.values.keys().cloned().collect();
        for (place, bytes, kind) in noise {
            let value = cabinet.store.saved.values.get_mut(place.get(&names)).unwrap();
            match kind {
                0 => *value = bytes,
                1 => value.extend(bytes),
                2 => value.truncate(bytes.len()),
                _ => value.iter_mut().zip(bytes).for_each(|(old, new)| *old ^= new & 0x11),
            }
        }
        cabinet.restart(config());
        cabinet.run_ms(5_000);
        cabinet.uplink(1, words(0, &[2400, 25, 350, 8, 124, 12_346]));
        cabinet.run_ms(5_000);
        let states: Vec<_> = cabinet.gateway.endpoints().iter().map(|e| e.state).collect();
        proptest::prop_assert!(states.iter().all(|state| *state == EndpointState::Registered), "{:?}", states);
        cabinet.stop();
        proptest::prop_assert!(cabinet.gateway.is_stopped());
    }
}
