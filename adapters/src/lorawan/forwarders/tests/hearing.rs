//! What is heard, from whom, and once.

use super::*;

fn heard(events: Vec<Event>) -> Vec<AirFrame> {
    let frame = |event| match event {
        Event::Heard(frame) => Some(frame),
        Event::Sent(..) | Event::Connected(_) | Event::Lost(_) => None,
    };
    events.into_iter().filter_map(frame).collect()
}

#[test]
fn a_frame_at_the_only_forwarder_is_delivered_at_once() {
    let mut site = Site::with(&[A]);
    let frames = heard(site.push(A, rxpk(b"frame", 1_000, 5.5)));
    let [frame] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    let expected = Heard {
        forwarder: id(A),
        tmst: 1_000,
        frequency_hz: 868_100_000,
        data_rate: DataRate::Dr5,
        rssi_dbm: -60.0,
        snr_db: 5.5,
    };
    assert_eq!(
        (frame.phy.as_slice(), frame.copies.as_slice()),
        (b"frame".as_slice(), &[expected][..])
    );
    assert_eq!(frame.received.instant, site.now);
}

#[test]
fn a_ghost_on_a_neighboring_channel_is_no_second_frame() {
    let mut site = Site::with(&[A]);
    let mut ghost = rxpk(b"frame", 1_001, -12.0);
    ghost["freq"] = json!(868.3);
    let body = json!({ "rxpk": [ghost, rxpk(b"frame", 1_000, 9.0)] }).to_string();
    site.say(host(A), 0, A, &body);
    let frames = heard(site.events());
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (frames[0].copies.len(), frames[0].copies[0].frequency_hz),
        (1, 868_100_000)
    );
    // One in a datagram of its own.
    assert_eq!(heard(site.push(A, rxpk(b"frame", 1_002, -11.0))), []);
    let counters = site.counters(A);
    assert_eq!((counters.frames, counters.duplicates), (1, 2));
}

#[test]
fn copies_of_several_forwarders_are_one_frame_with_the_best_first() {
    let mut site = Site::with(&[A, B]);
    assert_eq!(heard(site.push(A, rxpk(b"frame", 1_000, -3.0))), []);
    site.pass(ms(60));
    assert_eq!(heard(site.push(B, rxpk(b"frame", 77_000, 8.0))), []);
    site.pass(ms(39));
    assert_eq!(heard(site.events()), []);
    site.pass(ms(1));
    let frames = heard(site.events());
    let order: Vec<_> = frames[0].copies.iter().map(|copy| copy.forwarder).collect();
    assert_eq!((frames.len(), order), (1, vec![id(B), id(A)]));
    assert_eq!(frames[0].received.instant, start());
    // One that comes still later is counted only.
    site.pass(ms(1_000));
    assert_eq!(heard(site.push(B, rxpk(b"frame", 77_000, 8.0))), []);
    site.pass(ms(400));
    assert_eq!(heard(site.events()), []);
    assert_eq!((site.counters(B).frames, site.counters(B).duplicates), (0, 2));
}

#[test]
fn of_copies_with_the_same_ratio_the_stronger_is_the_better() {
    let mut site = Site::with(&[A, B]);
    site.push(A, rxpk(b"frame", 1_000, 8.0));
    let mut stronger = rxpk(b"frame", 77_000, 8.0);
    stronger["rssi"] = json!(-20);
    site.push(B, stronger);
    site.pass(ms(100));
    assert_eq!(heard(site.events())[0].copies[0].forwarder, id(B));
}

#[test]
fn a_forwarder_that_cannot_be_reached_comes_last() {
    let mut site = Site::with(&[B]);
    site.push(A, rxpk(b"frame", 1_000, 9.0));
    site.push(A, rxpk(b"other", 1_000, 9.0));
    site.push(B, rxpk(b"other", 77_000, -9.0));
    site.pass(ms(100));
    let frames = heard(site.events());
    let order: Vec<_> = frames[1].copies.iter().map(|copy| copy.forwarder).collect();
    assert_eq!(order, [id(B), id(A)]);
}

#[test]
fn a_frame_that_the_device_repeats_is_delivered_again() {
    for connected in [&[A][..], &[A, B]] {
        let mut site = Site::with(connected);
        site.push(A, rxpk(b"frame", 1_000, 8.0));
        site.pass(ms(2_000));
        site.events();
        site.push(A, rxpk(b"frame", 2_001_000, 8.0));
        site.pass(ms(100));
        assert_eq!(site.counters(A).frames, 2);
    }
}

#[test]
fn the_wait_for_copies_is_the_configured_one_and_bounded() {
    for (window_ms, waits) in [(250, 250), (10_000, limits::MAX_WINDOW_MS), (0, 0)] {
        let config = Config {
            window_ms,
            ..Config::default()
        };
        let mut site = Site::configured(config, &[A, B]);
        site.push(A, rxpk(b"frame", 1_000, 8.0));
        site.pass(ms(600));
        let waited = site.forwarders.copies.next_due();
        assert_eq!(waited, None);
        site.push(A, rxpk(b"other", 1_000, 8.0));
        let due = site.forwarders.copies.next_due().unwrap_or(site.now);
        assert_eq!(due - site.now, ms(waits));
    }
}

#[test]
fn a_forwarder_that_is_silent_is_not_waited_for() {
    let mut site = Site::with(&[A, B]);
    site.pass(ms(80_000));
    site.pull(A);
    site.pass(ms(10_000));
    assert_eq!(site.events(), [Event::Lost(id(B))]);
    assert_eq!(heard(site.push(A, rxpk(b"frame", 1_000, 8.0))).len(), 1);
    site.pull(B);
    assert_eq!(site.events(), [Event::Connected(id(B))]);
}

#[test]
fn only_listed_forwarders_are_heard() {
    let config = Config {
        allowed: [id(A)].into(),
        ..Config::default()
    };
    let mut site = Site::configured(config, &[A]);
    let body = json!({ "rxpk": [rxpk(b"frame", 1, 1.0)] }).to_string();
    assert_eq!(site.say(host(B), 0, B, &body), None);
    assert_eq!(site.say(host(B), 2, B, ""), None);
    assert_eq!(site.events(), []);
    assert_eq!(site.forwarders.statistics(site.now).unwelcome, 2);
}

#[test]
fn another_host_takes_the_place_of_a_forwarder_only_when_it_is_silent() {
    let mut site = Site::with(&[A]);
    let other = SocketAddr::from(([10, 9, 9, 9], 1_234));
    site.pass(ms(29_999));
    assert_eq!(site.say(other, 2, A, ""), None);
    let body = json!({ "rxpk": [rxpk(b"frame", 1, 1.0)] }).to_string();
    assert_eq!(site.say(other, 0, A, &body), None);
    assert_eq!((site.counters(A).contested, site.events()), (2, vec![]));
    // The same host may come from another port: the forwarder was started again.
    let port = SocketAddr::from(([10, 0, 0, A], 9_999));
    assert!(site.say(port, 2, A, "").is_some());
    assert_eq!(
        site.forwarders.statistics(site.now).forwarders[&id(A)].address,
        Some(port)
    );
    site.pass(ms(30_000));
    assert!(site.say(other, 2, A, "").is_some());
    assert_eq!(
        site.forwarders.statistics(site.now).forwarders[&id(A)].address,
        Some(other)
    );
}

#[test]
fn forwarders_are_bounded_and_silent_ones_make_room() {
    let mut site = Site::with(&[]);
    for forwarder in 0..limits::FORWARDERS {
        site.pull(u8::try_from(forwarder).unwrap());
    }
    assert_eq!(site.say(host(200), 2, 200, ""), None);
    site.pass(ms(60_000));
    site.pull(0);
    site.pass(ms(30_000));
    site.pull(200);
    assert_eq!(site.forwarders.statistics(site.now).forwarders.len(), 2);
}

#[test]
fn a_forwarder_that_nobody_knows_acknowledges_nothing() {
    let mut site = Site::with(&[]);
    assert_eq!(site.say(host(A), 5, A, ""), None);
    assert_eq!(site.forwarders.statistics(site.now).forwarders.len(), 0);
}

#[test]
fn what_a_forwarder_counts_is_added_up() {
    let mut site = Site::with(&[A]);
    for _ in 0..2 {
        let body = r#"{"stat":{"rxnb":10,"rxok":7},"rxpk":[{"stat":-1},{}]}"#;
        site.say(host(A), 0, A, body);
    }
    let counters = site.counters(A);
    assert_eq!((counters.crc_errors, counters.unusable), (6, 4));
    site.forwarders.handle_datagram(
        host(A),
        b"garbage",
        Now {
            instant: site.now,
            wall: None,
        },
    );
    let statistics = site.forwarders.statistics(site.now + ms(5));
    assert_eq!(statistics.undecodable, 1);
    assert_eq!(statistics.forwarders[&id(A)].heard_ago, ms(5));
}

#[test]
fn frames_that_nobody_takes_are_dropped_and_counted() {
    let mut site = Site::with(&[A]);
    for frame in 0..limits::EVENTS + 10 {
        let body = json!({ "rxpk": [rxpk(&frame.to_be_bytes(), 1, 1.0)] }).to_string();
        site.say(host(A), 0, A, &body);
    }
    assert_eq!(site.forwarders.statistics(site.now).dropped, 10);
    assert_eq!(site.events().len(), limits::EVENTS);
}

#[test]
fn a_flood_of_frames_is_not_kept() {
    let mut site = Site::with(&[A, B]);
    let mut delivered = 0;
    for frame in 0..4 * limits::FRAMES {
        delivered += site.push(A, rxpk(&frame.to_be_bytes(), 1, 1.0)).len();
        assert!(site.forwarders.copies.len() <= limits::FRAMES + 1);
    }
    site.pass(ms(100));
    delivered += site.events().len();
    // Nothing is lost by it but the wait for copies; the reader was fast enough for all but the last.
    assert_eq!(
        delivered + usize::try_from(site.forwarders.dropped).unwrap(),
        4 * limits::FRAMES
    );
}
