//! What is sent, by whom, when, and what is told of it.

use super::*;

const RX1: u32 = 868_100_000;
const RX2: u32 = 869_525_000;

fn window(forwarder: u8, at: When, frequency_hz: u32) -> Window {
    Window {
        forwarder: id(forwarder),
        at,
        frequency_hz,
        data_rate: DataRate::Dr3,
        power_dbm: 14,
    }
}

fn transmission(number: u64, purpose: Purpose, windows: Vec<Window>) -> Transmission {
    Transmission {
        id: TransmissionId(number),
        phy: vec![0x60; 17],
        windows,
        purpose,
    }
}

fn answer(number: u64, tmst: u32) -> Transmission {
    let rx1 = window(A, When::Tmst(tmst), RX1);
    let rx2 = window(A, When::Tmst(tmst.wrapping_add(1_000_000)), RX2);
    transmission(number, Purpose::Answer, vec![rx1, rx2])
}

fn command(number: u64, forwarder: u8) -> Transmission {
    transmission(
        number,
        Purpose::Command,
        vec![window(forwarder, When::Soonest, RX2)],
    )
}

impl Site {
    fn transmit(&mut self, transmission: Transmission) {
        self.forwarders.handle_transmission(transmission, self.now);
    }

    /// Returns what goes out: the forwarder, the token, the frame.
    fn out(&mut self) -> Vec<(u8, [u8; 2], Value)> {
        std::iter::from_fn(|| self.forwarders.poll_transmit())
            .map(|(to, bytes)| {
                assert_eq!((bytes[0], bytes[3]), (2, 3));
                let forwarder = [A, B].into_iter().find(|f| host(*f) == to).expect("a known host");
                let body: Value = serde_json::from_slice(&bytes[4..]).expect("it is JSON");
                (forwarder, [bytes[1], bytes[2]], body["txpk"].clone())
            })
            .collect()
    }

    fn acknowledge(&mut self, forwarder: u8, token: [u8; 2], error: &str) {
        let body = json!({ "txpk_ack": { "error": error } }).to_string();
        assert_eq!(self.say_token(token, host(forwarder), 5, forwarder, &body), None);
    }

    /// A site whose forwarder's counter stands at one second, to the microsecond.
    fn in_step() -> Self {
        let mut site = Self::with(&[A]);
        site.push(A, rxpk(b"frame", 1_000_000, 8.0));
        site
    }
}

#[test]
fn an_answer_goes_into_the_first_window() {
    let mut site = Site::in_step();
    site.transmit(answer(1, 2_000_000));
    let out = site.out();
    let [(A, token, txpk)] = out.as_slice() else {
        panic!("{out:?}");
    };
    assert_eq!((&txpk["tmst"], &txpk["freq"]), (&json!(2_000_000), &json!(868.1)));
    assert_eq!(site.sent(), []);
    site.acknowledge(A, *token, "NONE");
    assert_eq!(site.sent(), [(1, Sent::OnAir)]);
    // It is told once.
    site.acknowledge(A, *token, "NONE");
    site.pass(ms(1_000));
    assert_eq!((site.sent(), site.out().len()), (vec![], 0));
    assert_eq!((site.counters(A).told, site.counters(A).sent), (1, 1));
}

#[test]
fn an_answer_that_the_forwarder_refuses_goes_into_the_second_window_with_the_same_bytes() {
    let mut site = Site::in_step();
    site.transmit(answer(1, 2_000_000));
    let first = site.out().remove(0);
    site.acknowledge(A, first.1, "COLLISION_PACKET");
    let second = site.out().remove(0);
    assert_eq!(
        (&second.2["tmst"], &second.2["freq"]),
        (&json!(3_000_000), &json!(869.525))
    );
    assert_eq!(first.2["data"], second.2["data"]);
    assert_ne!(first.1, second.1);
    site.acknowledge(A, second.1, "TOO_LATE");
    let refused = Sent::Refused(TxError::TooLate, "TOO_LATE".to_owned());
    assert_eq!(site.sent(), [(1, refused)]);
    assert_eq!(site.counters(A).refused, 2);
    // What was not sent took no airtime.
    let statistics = site.forwarders.statistics(site.now);
    let used: Duration = statistics.forwarders[&id(A)]
        .airtime
        .iter()
        .map(|band| band.used)
        .sum();
    assert_eq!(used, Duration::ZERO);
}

#[test]
fn a_window_that_is_too_near_is_left_out() {
    let mut site = Site::in_step();
    site.pass(ms(950));
    site.transmit(answer(1, 2_000_000));
    assert_eq!(site.out()[0].2["tmst"], json!(2_000_000));
    let mut site = Site::in_step();
    site.pass(ms(951));
    site.transmit(answer(1, 2_000_000));
    assert_eq!(site.out()[0].2["tmst"], json!(3_000_000));
    let mut site = Site::in_step();
    site.pass(ms(2_100));
    site.transmit(answer(1, 2_000_000));
    assert!(matches!(
        site.sent()[..],
        [(1, Sent::Refused(TxError::TooLate, _))]
    ));
    assert_eq!(site.out().len(), 0);
    let mut site = Site::in_step();
    site.transmit(transmission(
        1,
        Purpose::Answer,
        vec![window(A, When::Tmst(600_000_000), RX1)],
    ));
    assert!(matches!(
        site.sent()[..],
        [(1, Sent::Refused(TxError::TooEarly, _))]
    ));
}

#[test]
fn windows_are_kept_over_the_wrap_of_the_counter() {
    let mut site = Site::with(&[A]);
    let end = u32::MAX - 200_000;
    site.push(A, rxpk(b"frame", end, 8.0));
    site.transmit(answer(1, end.wrapping_add(1_000_000)));
    assert_eq!(site.out()[0].2["tmst"], json!(799_999));
}

#[test]
fn of_a_forwarder_that_says_nothing_the_outcome_is_unknown() {
    let mut site = Site::in_step();
    site.transmit(answer(1, 2_000_000));
    let out = site.out();
    site.pass(ms(299));
    assert_eq!(site.sent(), []);
    site.pass(ms(1));
    assert_eq!((site.sent(), site.out().len()), (vec![(1, Sent::NoAnswer)], 0));
    // What it says later changes nothing.
    site.acknowledge(A, out[0].1, "TOO_LATE");
    assert_eq!((site.sent(), site.out().len()), (vec![], 0));
    assert_eq!(site.counters(A).unanswered, 1);
}

#[test]
fn without_a_forwarder_nothing_is_sent() {
    let mut site = Site::with(&[]);
    site.transmit(command(1, A));
    assert_eq!(site.sent(), [(1, Sent::NoForwarder)]);
    // One that only pushes cannot be reached, and one that has been silent cannot either.
    site.push(A, rxpk(b"frame", 1, 1.0));
    site.transmit(command(2, A));
    assert_eq!(site.sent(), [(2, Sent::NoForwarder)]);
    site.pull(A);
    site.pass(ms(90_000));
    site.events();
    site.transmit(command(3, A));
    assert_eq!(site.sent(), [(3, Sent::NoForwarder)]);
    site.transmit(transmission(4, Purpose::Command, vec![]));
    assert_eq!(site.sent(), [(4, Sent::NoForwarder)]);
}

#[test]
fn a_window_of_another_forwarder_is_tried_where_the_first_is_gone() {
    let mut site = Site::with(&[B]);
    let windows = vec![window(A, When::Soonest, RX2), window(B, When::Soonest, RX2)];
    site.transmit(transmission(1, Purpose::Command, windows));
    assert_eq!(site.out()[0].0, B);
}

#[test]
fn commands_go_out_one_after_the_other() {
    let mut site = Site::with(&[A]);
    let airtime = DataRate::Dr3.time_on_air(17, false);
    let mut times = Vec::new();
    for number in 0..4 {
        site.transmit(command(number, A));
    }
    for _ in 0..4_000 {
        for (_, token, txpk) in site.out() {
            assert_eq!(txpk["imme"], json!(true));
            times.push(site.now - start());
            site.acknowledge(A, token, "");
        }
        site.pass(ms(1));
    }
    let order: Vec<_> = site.sent().into_iter().map(|(number, _)| number).collect();
    assert_eq!(order, [0, 1, 2, 3]);
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.iter()
            .all(|gap| *gap >= airtime && *gap <= airtime + ms(130)),
        "{gaps:?}"
    );
}

#[test]
fn forwarders_do_not_disturb_each_other_on_one_frequency() {
    let mut site = Site::with(&[A, B]);
    site.transmit(command(1, A));
    site.transmit(command(2, B));
    assert_eq!(site.out().len(), 1);
    site.pass(ms(400));
    assert_eq!(site.out().len(), 1);
}

#[test]
fn an_answer_is_not_sent_over_another() {
    let mut site = Site::in_step();
    site.transmit(answer(1, 2_000_000));
    site.transmit(answer(2, 2_100_000));
    let out = site.out();
    let times: Vec<_> = out.iter().map(|(_, _, txpk)| txpk["tmst"].clone()).collect();
    assert_eq!(times, [json!(2_000_000), json!(3_100_000)]);
    // A command that would last into the window waits until it is over.
    site.pass(ms(800));
    site.transmit(command(3, A));
    assert_eq!(site.out().len(), 0);
    site.pass(ms(200) + DataRate::Dr3.time_on_air(17, false));
    assert_eq!(site.out().len(), 1);
}

#[test]
fn the_duty_cycle_is_kept_and_leaves_something_for_answers() {
    let mut site = Site::with(&[A]);
    let airtime = DataRate::Dr3.time_on_air(17, false);
    let mut on_air = Duration::ZERO;
    let mut outcomes = Vec::new();
    for number in 0..3_000 {
        site.transmit(command(number, A));
        for (_, token, _) in site.out() {
            on_air += airtime;
            site.acknowledge(A, token, "NONE");
        }
        site.pass(ms(400));
        site.pull(A);
        outcomes.extend(site.sent());
    }
    // Four fifths of a tenth of an hour.
    assert!(on_air <= Duration::from_secs(288) && on_air + airtime > Duration::from_secs(288));
    let refused = outcomes.iter().find_map(|(_, sent)| match sent {
        Sent::NoAirtime { retry_after } => Some(*retry_after),
        Sent::OnAir | Sent::Refused(..) | Sent::NoAnswer | Sent::NoForwarder => None,
    });
    assert!(
        refused
            .is_some_and(|after| after <= Duration::from_secs(3_660) && after > Duration::from_secs(2_000))
    );
    let rx2 = window(A, When::Soonest, RX2);
    site.transmit(transmission(9_999, Purpose::Answer, vec![rx2]));
    assert_eq!(site.out().len(), 1);
    let band = site.forwarders.statistics(site.now).forwarders[&id(A)].airtime[4];
    assert_eq!(
        (band.used, band.allowed),
        (on_air + airtime, Duration::from_secs(360))
    );
}

#[test]
fn an_answer_goes_into_the_second_window_where_the_first_has_no_airtime() {
    let mut site = Site::in_step();
    let long = |number| {
        let mut rx1 = window(A, When::Tmst(0), RX1);
        rx1.data_rate = DataRate::Dr0;
        rx1.at = When::Soonest;
        let mut filler = transmission(number, Purpose::Join, vec![rx1]);
        filler.phy = vec![0; 255];
        filler
    };
    let mut number = 0;
    loop {
        site.transmit(long(number));
        let out = site.out();
        if out.is_empty() {
            break;
        }
        site.acknowledge(A, out[0].1, "");
        site.pass(ms(10_000));
        site.pull(A);
        number += 1;
    }
    assert!((3..5).contains(&number));
    site.events();
    let now = 1_000_000 + u32::try_from((site.now - start()).as_micros()).unwrap();
    let mut joins = answer(1_000, now + 5_000_000);
    joins.phy = vec![0; 255];
    joins.windows[0].data_rate = DataRate::Dr0;
    site.transmit(joins);
    assert_eq!(site.out()[0].2["freq"], json!(869.525));
}

#[test]
fn power_and_frequency_are_what_the_sub_band_allows() {
    let mut site = Site::with(&[A]);
    let mut loud = command(1, A);
    loud.windows[0].power_dbm = 40;
    site.transmit(loud);
    assert_eq!(site.out()[0].2["powe"], json!(29));
    let outside = window(A, When::Soonest, 868_650_000);
    site.pass(ms(1_000));
    site.transmit(transmission(2, Purpose::Command, vec![outside]));
    site.pass(ms(1_000));
    assert!(matches!(
        site.sent()[..],
        [_, (2, Sent::Refused(TxError::TxFreq, _))]
    ));
}

#[test]
fn a_forwarder_of_the_first_version_need_not_repeat_the_token() {
    let mut site = Site::with(&[A]);
    let now = Now {
        instant: site.now,
        wall: None,
    };
    let mut pull = vec![1, 0, 0, 2];
    pull.extend([A; 8]);
    assert_eq!(
        site.forwarders.handle_datagram(host(A), &pull, now),
        Some([1, 0, 0, 4])
    );
    site.transmit(command(1, A));
    let (_, bytes) = site.forwarders.poll_transmit().unwrap();
    assert_eq!((bytes[0], bytes[3]), (1, 3));
    let mut ack = vec![1, 0, 0, 5];
    ack.extend([A; 8]);
    site.forwarders.handle_datagram(host(A), &ack, now);
    assert_eq!(site.sent(), [(1, Sent::OnAir)]);
}

#[test]
fn what_is_planned_and_what_waits_is_bounded() {
    let mut site = Site::in_step();
    for number in 0..100 {
        let at = When::Tmst(10_000_000 + 1_000_000 * u32::try_from(number).unwrap());
        site.transmit(transmission(number, Purpose::Join, vec![window(A, at, RX2)]));
    }
    assert_eq!(site.out().len(), limits::PLANNED);
    let refused = site.sent();
    assert_eq!(refused.len(), 100 - limits::PLANNED);
    assert!(matches!(refused[0].1, Sent::Refused(TxError::CollisionPacket, _)));
    let mut site = Site::with(&[A]);
    let all = u64::try_from(limits::WAITING).unwrap() + 20;
    for number in 0..all {
        site.transmit(command(number, A));
    }
    // One is on its way, the others wait, and the last ones do not.
    assert_eq!((site.out().len(), site.sent().len()), (1, 19));
    // Nobody waits for ever, and each is told of once.
    site.pass(ms(60_000));
    assert_eq!(site.sent().len(), limits::WAITING + 1);
    assert_eq!(
        (
            site.forwarders.schedule.waiting.len(),
            site.forwarders.schedule.slots.len()
        ),
        (0, 0)
    );
}

#[test]
fn every_transmission_is_told_of_once_whatever_the_forwarders_do() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut site = Site::with(&[A, B]);
        let mut told = vec![0; 300];
        for number in 0..300 {
            let forwarder = if random.random() { A } else { B };
            if random.random_bool(0.3) {
                let tmst = u32::try_from((site.now - start()).as_micros()).unwrap();
                site.push(forwarder, rxpk(&u64::to_be_bytes(number), tmst, 1.0));
                site.transmit(answer(
                    number,
                    tmst.wrapping_add(random.random_range(0..3_000_000)),
                ));
            } else {
                site.transmit(command(number, forwarder));
            }
            for (forwarder, token, _) in site.out() {
                match random.random_range(0..4) {
                    0 => {}
                    1 => site.acknowledge(forwarder, token, "COLLISION_PACKET"),
                    _ => site.acknowledge(forwarder, token, "NONE"),
                }
            }
            site.pass(ms(random.random_range(0..400)));
            if random.random_bool(0.5) {
                site.pull(A);
                site.pull(B);
            }
            for (number, _) in site.sent() {
                told[usize::try_from(number).unwrap()] += 1;
            }
        }
        site.pass(ms(100_000));
        for (number, _) in site.sent() {
            told[usize::try_from(number).unwrap()] += 1;
        }
        assert_eq!(told, vec![1; 300], "seed {seed}");
    }
}
