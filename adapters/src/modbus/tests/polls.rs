//! Who is read when, and in how few requests.

use super::*;
use crate::modbus::limits;
use crate::modbus::{ConfigError, bank};

#[test]
fn points_are_read_in_one_request_and_at_their_interval() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    bench.run(secs(20));
    let frames = bench.sent.len();
    assert!((20..=21).contains(&frames), "{frames} requests in 20 s");
    let expected: Vec<u16> = (0..20).map(|n| 1_000 + n).collect();
    for (_, uplink) in uplinks(&bench) {
        assert_eq!(block(uplink).content, BlockContent::Words(expected.clone()));
        assert_eq!((&uplink.link, block(uplink).address), (&link(1), 0));
    }
    let times: Vec<Instant> = uplinks(&bench).map(|(at, _)| at).collect();
    for pair in times[1..].windows(2) {
        let interval = pair[1] - pair[0];
        assert!(interval.abs_diff(secs(1)) < ms(100), "{interval:?}");
    }
}

#[test]
fn units_that_began_together_are_spread() {
    let units: Vec<u8> = (1..=10).collect();
    let banks = units.iter().map(|unit| (*unit, meter_bank(*unit)));
    let mut bench = bench(units.iter().map(|unit| meter(*unit)).collect(), banks);
    bench.run(secs(10));
    let second: Vec<u8> = bench.sent[10..20].iter().map(|(_, frame)| frame[0]).collect();
    assert_ne!(
        second, units,
        "the second round is in another order than the first"
    );
}

#[test]
fn slow_points_ride_along_and_once_points_are_read_once() {
    let mut unit = meter(1);
    unit.points[4].every_ms = 60_000;
    unit.points.push(point(90, Table::HoldingRegisters, 0, 2, 0));
    let mut bank = meter_bank(1);
    bank.words.extend([((3, 0), 7), ((3, 1), 8)]);
    let mut bench = bench(vec![unit], [(1, bank)]);
    bench.run(secs(10));
    let once = uplinks(&bench)
        .filter(|(_, u)| block(u).table == Table::HoldingRegisters)
        .count();
    assert_eq!(once, 1);
    assert!(
        uplinks(&bench)
            .filter(|(_, u)| block(u).content.len() == 20)
            .count()
            >= 9
    );
}

#[test]
fn an_interest_changes_the_interval() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    bench.run(secs(5));
    let before = bench.sent.len();
    let now = bench.now;
    for id in 0..10 {
        bench.client.handle_interest(1, PointId(id), 200, now);
    }
    bench.run(secs(5));
    let fast = bench.sent.len() - before;
    assert!((24..=27).contains(&fast), "{fast} requests in 5 s at 200 ms");
}

#[test]
fn a_unit_with_much_to_read_takes_turns_with_the_others() {
    let mut wide = meter(1);
    wide.points = (0..40)
        .map(|n| point(n, Table::InputRegisters, n * 4, 2, 100))
        .collect();
    wide.limits.max_gap = Some(0);
    let mut quick = meter(2);
    for point in &mut quick.points {
        point.every_ms = 200;
    }
    let mut bench = bench(vec![wide, quick], [(1, meter_bank(1)), (2, meter_bank(2))]);
    bench.run(secs(10));
    let others = uplinks(&bench).filter(|(_, u)| u.link == link(2)).count();
    assert!(
        others >= 40,
        "{others} of 50 polls beside a unit that fills the bus"
    );
}

#[test]
fn a_refused_address_is_found_and_left_alone() {
    let mut unit = meter(1);
    unit.points.push(point(50, Table::InputRegisters, 24, 2, 1_000));
    let mut bank = meter_bank(1);
    bank.words.remove(&(4, 11));
    let mut bench = bench(vec![unit], [(1, bank)]);
    bench.run(secs(20));
    let exceptions = bench.client.statistics(bench.now).units[&1].exceptions;
    assert!((1..=8).contains(&exceptions), "{exceptions} exceptions");
    let late: Vec<_> = uplinks(&bench)
        .filter(|(at, _)| *at > start() + secs(10))
        .collect();
    for id in [0, 4, 6, 9, 12] {
        let address = id * 2;
        let read = |u: &Uplink| {
            let block = block(u);
            (block.address..block.address + block.content.len() as u16).contains(&address)
        };
        assert!(
            late.iter().filter(|(_, u)| read(u)).count() >= 9,
            "address {address} is still read"
        );
    }
    let before = bench.client.statistics(bench.now).units[&1].exceptions;
    bench.run(secs(3_600));
    let after = bench.client.statistics(bench.now).units[&1].exceptions;
    assert!(
        (1..=8).contains(&(after - before)),
        "after an hour it is tried again"
    );
}

#[test]
fn a_unit_that_refuses_more_addresses_than_it_has_is_not_asked_for_ever() {
    let mut unit = meter(1);
    let missing = (0..80).map(|n| point(100 + n, Table::InputRegisters, 300 + n * 2, 2, 1_000));
    unit.points.extend(missing);
    let mut bench = bench(vec![unit], [(1, meter_bank(1))]);
    bench.run(secs(120));
    let learned = bench.client.statistics(bench.now).units[&1].exceptions;
    let before = bench.sent.len();
    bench.run(secs(60));
    let requests = bench.sent.len() - before;
    assert!((58..=62).contains(&requests), "{requests} requests in 60 s");
    let exceptions = bench.client.statistics(bench.now).units[&1].exceptions;
    assert_eq!(exceptions, learned, "what is refused is left alone");
    assert!(learned < 80 * 8, "{learned} exceptions until all were found");
}

#[test]
fn a_refused_point_does_not_take_the_one_inside_it_along() {
    let mut unit = meter(1);
    unit.points = vec![
        point(0, Table::InputRegisters, 195, 10, 1_000),
        point(1, Table::InputRegisters, 197, 2, 1_000),
    ];
    let mut bench = bench(vec![unit], [(1, meter_bank(1))]);
    bench.run(secs(20));
    let exceptions = bench.client.statistics(bench.now).units[&1].exceptions;
    assert!((1..=3).contains(&exceptions), "{exceptions} exceptions");
    let read = uplinks(&bench).filter(|(_, u)| block(u).address == 197).count();
    assert!((18..=21).contains(&read), "{read} reads in 20 s");
}

#[test]
fn a_table_that_is_not_there_is_left_alone() {
    let mut unit = meter(1);
    unit.points.push(point(50, Table::DiscreteInputs, 0, 4, 1_000));
    let mut bench = bench(vec![unit], [(1, meter_bank(1))]);
    bench.run(secs(20));
    assert_eq!(bench.client.statistics(bench.now).units[&1].exceptions, 1);
}

#[test]
fn a_busy_unit_is_given_time() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    bench.run_with(secs(60), |bench, frame| {
        let busy = bank::at(bench.now).instant < start() + secs(30);
        let answer = if busy {
            vec![0x84, 0x06]
        } else {
            bench.banks.get_mut(&1).unwrap().answer(&frame[1..6]).unwrap()
        };
        bench.deliver(ms(20), crate::modbus::rtu::encode(1, &answer));
    });
    let exceptions = bench.client.statistics(bench.now).units[&1].exceptions;
    assert!(
        (5..=8).contains(&exceptions),
        "{exceptions} requests while it was busy for 30 s"
    );
    assert!(uplinks(&bench).count() > 15);
}

#[test]
fn a_reader_who_does_not_fetch_events_stops_the_polls_and_fills_no_memory() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    for id in 0..10 {
        bench.client.handle_interest(1, PointId(id), 50, start());
    }
    let mut client = std::mem::replace(
        &mut bench.client,
        Client::new(bus(RTU, Writes::Deny), vec![], 1, start()).unwrap(),
    );
    let mut now = start();
    let mut bank = meter_bank(1);
    let mut requests = 0;
    for _ in 0..5_000 {
        if let Some(frame) = client.poll_transmit() {
            requests += 1;
            now += ms(30);
            let answer = bank.answer(&frame[1..6]).unwrap();
            client.handle_bytes(&crate::modbus::rtu::encode(1, &answer), bank::at(now));
        } else {
            now = now.max(client.poll_timeout().unwrap());
            client.handle_timeout(now);
        }
    }
    assert!(requests <= limits::EVENTS, "{requests} requests");
    let events = std::iter::from_fn(|| client.poll_event()).count();
    assert_eq!(events, limits::EVENTS);
}

#[test]
fn a_bus_that_cannot_be_polled_is_refused() {
    let new = |units| {
        Client::new(bus(RTU, Writes::Allow), units, 1, start())
            .err()
            .unwrap()
    };
    let name: std::sync::Arc<str> = "rs485-1".into();
    assert_eq!(
        new(vec![meter(0)]),
        ConfigError::ReservedUnit {
            bus: name.clone(),
            unit: 0,
            max: 247
        }
    );
    assert_eq!(
        new(vec![meter(248)]),
        ConfigError::ReservedUnit {
            bus: name.clone(),
            unit: 248,
            max: 247
        }
    );
    assert_eq!(
        new(vec![meter(1), meter(1)]),
        ConfigError::DuplicateUnit {
            bus: name.clone(),
            unit: 1
        }
    );
    let mut unit = meter(1);
    unit.points[3].count = 126;
    assert_eq!(
        new(vec![unit]),
        ConfigError::UnfitPoint {
            bus: name.clone(),
            unit: 1,
            point: PointId(3),
            max: 125
        }
    );
    let mut unit = meter(1);
    unit.points = vec![unit.points[0].clone(); 513];
    assert_eq!(
        new(vec![unit]),
        ConfigError::TooManyPoints {
            bus: name.clone(),
            unit: 1,
            count: 513,
            max: 512
        }
    );
    let config = bus(
        Framing::Rtu {
            baud: 50,
            bits_per_char: 11,
        },
        Writes::Allow,
    );
    let error = Client::new(config, vec![], 1, start()).err().unwrap();
    assert_eq!(
        error,
        ConfigError::NoLine {
            bus: name,
            baud: 50,
            bits_per_char: 11
        }
    );
}

#[test]
fn over_tcp_only_the_answer_with_the_transaction_counts() {
    let client = Client::new(bus(Framing::Tcp, Writes::Allow), vec![meter(1)], 7, start()).unwrap();
    let mut bench = Bench::new(client, [(1, meter_bank(1))].into());
    bench.run_with(secs(5), |bench, frame| {
        let answer = bench.banks.get_mut(&1).unwrap().answer(&frame[7..]).unwrap();
        let old = u16::from_be_bytes([frame[0], frame[1]]).wrapping_sub(1);
        let wrong: Vec<u8> = answer.iter().map(|b| if *b > 0x28 { 0xEE } else { *b }).collect();
        bench.deliver(ms(5), crate::modbus::tcp::encode(old, 1, &wrong));
        bench.deliver(
            ms(10),
            crate::modbus::tcp::encode(old.wrapping_add(1), 1, &answer),
        );
    });
    let expected: Vec<u16> = (0..20).map(|n| 1_000 + n).collect();
    assert!(uplinks(&bench).count() >= 5);
    assert!(uplinks(&bench).all(|(_, u)| block(u).content == BlockContent::Words(expected.clone())));
    assert!(bench.client.statistics(bench.now).units[&1].late_discarded >= 5);
}

#[test]
fn a_tcp_stream_out_of_step_is_opened_again() {
    let client = Client::new(bus(Framing::Tcp, Writes::Allow), vec![meter(1)], 7, start()).unwrap();
    let mut bench = Bench::new(client, BTreeMap::new());
    bench.deliver(ms(1), b"HTTP/1.1 400 Bad Request".to_vec());
    bench.run_with(ms(100), |_, _| {});
    assert!(
        bench
            .events
            .iter()
            .any(|(_, e)| matches!(e, Event::Reconnect { .. }))
    );
}
