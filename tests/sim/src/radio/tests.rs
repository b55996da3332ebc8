//! The devices against the real engines of the gateway, in simulated time.

mod bench;

use std::time::Duration;

use ucifi_core::field::{Delivery, DeviceClass};

use super::*;
use bench::Bench;

const C: DeviceClass = DeviceClass::C;
const A: DeviceClass = DeviceClass::A;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A bench on which all devices have joined.
fn joined(seed: u64, classes: &[DeviceClass], forwarders: u8) -> Bench {
    let mut bench = Bench::new(seed, classes, forwarders);
    for number in (0..).take(classes.len()) {
        bench.join(number);
        bench.pass(secs(8));
        bench.send(number, b"hello", false);
        bench.pass(secs(4));
    }
    let all: Vec<u8> = (0..).take(classes.len()).collect();
    assert_eq!(bench.take_joined(), all);
    assert_eq!(bench.take_heard().len(), classes.len());
    bench.take_outcomes();
    bench
}

/// No forwarder had to refuse anything, and no counter was used twice.
fn assert_in_order(bench: &Bench) {
    for forwarder in 0..bench.field.forwarders() {
        let counters = bench.field.counters(forwarder);
        assert_eq!(
            (
                counters.malformed,
                counters.too_late,
                counters.too_early,
                counters.collisions
            ),
            (0, 0, 0, 0)
        );
        assert!(counters.pushes - counters.push_acks <= 1);
    }
    assert_eq!(bench.field.reused_counters(), 0);
}

#[test]
fn five_devices_join_send_and_are_told_over_a_kill_of_the_gateway() {
    let mut bench = joined(1, &[C; 5], 1);
    for number in 0..5 {
        let id = bench.command(number, b"on", false);
        bench.pass(secs(5));
        assert_eq!(bench.take_told(), [(number, b"on".to_vec())]);
        assert_eq!(bench.take_deliveries(), [(id, Delivery::Sent)]);
    }
    bench.kill();
    bench.pass(secs(20));
    for number in 0..5 {
        bench.send(number, b"after", true);
        bench.pass(secs(4));
        assert_eq!(bench.take_outcomes(), [(number, SendOutcome::Answered)]);
        bench.command(number, b"off", false);
        bench.pass(secs(5));
        assert_eq!(bench.take_told(), [(number, b"off".to_vec())]);
    }
    assert_eq!(bench.take_heard().len(), 5);
    assert!(bench.take_joined().is_empty());
    assert_in_order(&bench);
}

#[test]
fn a_device_that_listens_after_its_uplinks_is_told_after_the_next_one() {
    let mut bench = joined(2, &[A], 1);
    let id = bench.command(0, b"later", true);
    bench.pass(secs(30));
    assert_eq!(bench.take_told(), []);
    assert_eq!(bench.take_deliveries(), [(id, Delivery::Queued)]);
    bench.send(0, b"one", false);
    bench.pass(secs(4));
    assert_eq!(bench.take_told(), [(0, b"later".to_vec())]);
    bench.send(0, b"two", false);
    bench.pass(secs(4));
    assert_eq!(bench.take_deliveries(), [(id, Delivery::Confirmed(None))]);
    assert_in_order(&bench);
}

#[test]
fn an_acknowledgement_that_misses_the_first_window_comes_in_the_second() {
    // Durable after 960 ms: the gateway itself leaves the first window out.
    let mut bench = joined(4, &[A], 1);
    bench.settles_after = Duration::from_millis(960);
    bench.send(0, b"late", true);
    bench.pass(secs(4));
    assert_eq!(bench.take_outcomes(), [(0, SendOutcome::Answered)]);
    assert_eq!(
        (bench.counters(0).refused, bench.field.counters(0).too_late),
        (0, 0)
    );
    // On its way too long: the forwarder refuses the first window, and is told the second one in time.
    let mut bench = joined(5, &[A], 1);
    bench.settles_after = Duration::from_millis(875);
    bench.latency = Duration::from_millis(90);
    bench.send(0, b"late", true);
    bench.pass(secs(4));
    assert_eq!(bench.take_outcomes(), [(0, SendOutcome::Answered)]);
    assert_eq!(
        (bench.counters(0).refused, bench.field.counters(0).too_late),
        (1, 1)
    );
    assert_eq!(bench.field.reused_counters(), 0);
}

#[test]
fn what_two_forwarders_hear_is_heard_once_and_answered_by_the_nearer_one() {
    let mut bench = joined(3, &[A, A, C], 2);
    for round in 0..10_u8 {
        for number in 0..3 {
            bench.send(number, &[round], true);
            bench.pass(secs(4));
            assert_eq!(bench.take_outcomes(), [(number, SendOutcome::Answered)]);
        }
    }
    assert_eq!(bench.take_heard().len(), 30);
    let sent: Vec<_> = (0..2).map(|forwarder| bench.counters(forwarder).sent).collect();
    assert!(sent.iter().all(|sent| *sent > 0), "{sent:?}");
    assert_in_order(&bench);
}

#[test]
fn a_bad_air_costs_frames_and_nothing_else() {
    for seed in 10..16 {
        let mut bench = joined(seed, &[C, A, C], 2);
        bench.field.conditions = Conditions {
            uplink_loss: 0.2,
            downlink_loss: 0.2,
            datagram_loss: 0.05,
        };
        let mut sent = 0;
        for round in 0..40_u8 {
            for number in 0..3 {
                bench.send(number, &[round, number], round % 2 == 0);
                sent += 1;
                bench.pass(secs(1));
            }
            bench.command(0, &[round], round % 3 == 0);
            bench.pass(secs(12));
            if round % 10 == 9 {
                bench.kill();
            }
        }
        let heard = bench.take_heard();
        let mut once = heard.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), heard.len(), "seed {seed}: something was heard twice");
        assert!(
            heard.len() > sent * 3 / 4,
            "seed {seed}: {} of {sent} heard",
            heard.len()
        );
        assert!(bench.take_told().len() > 15);
        assert_eq!(bench.field.reused_counters(), 0, "seed {seed}");
    }
}
