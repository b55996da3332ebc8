//! Commands: before polls, read back, and answered honestly.

use super::*;
use crate::modbus::limits;
use ucifi_core::field::Refusal;

fn write_bench() -> Bench {
    bench(
        vec![relays(3), meter(1)],
        [(3, relays_bank()), (1, meter_bank(1))],
    )
}

fn command(bench: &mut Bench, downlink: Downlink) {
    let now = bench.now;
    bench.client.handle_downlink(downlink, now);
}

#[test]
fn a_switched_relay_is_confirmed_by_what_was_read_back() {
    let mut bench = write_bench();
    bench.run(secs(2));
    command(&mut bench, switch(1, 3, 2, true));
    bench.run(secs(1));
    let Some(Delivery::Confirmed(Some(Frame::ModbusBlock(block)))) = deliveries(&bench).remove(&1) else {
        panic!("{:?}", deliveries(&bench))
    };
    let bits = [false, false, true, false, false, false, false, false];
    assert_eq!(block.content, BlockContent::Bits(bits.to_vec()));
}

#[test]
fn a_command_waits_for_no_more_than_the_request_on_the_line() {
    let mut units = vec![relays(3)];
    let mut banks = vec![(3, relays_bank())];
    for unit in 10..30 {
        let mut config = meter(unit);
        config.points.iter_mut().for_each(|p| p.every_ms = 10);
        units.push(config);
        banks.push((unit, meter_bank(unit)));
    }
    let mut bench = bench(units, banks);
    bench.run(secs(10));
    let asked = bench.now;
    command(&mut bench, switch(1, 3, 0, true));
    bench.run(secs(2));
    let (at, _) = bench.sent.iter().find(|(_, frame)| frame[..2] == [3, 5]).unwrap();
    assert!(
        *at - asked < ms(120),
        "{:?} until the write was on the line",
        *at - asked
    );
    let (done, _) = bench
        .events
        .iter()
        .find(|(_, e)| matches!(e, Event::Delivery { .. }))
        .unwrap();
    assert!(
        *done - asked < ms(400),
        "{:?} until it was confirmed",
        *done - asked
    );
}

#[test]
fn an_exception_is_a_refusal_with_its_code_and_words() {
    let mut bench = write_bench();
    let mut downlink = switch(1, 3, 2, true);
    if let Frame::ModbusWrite(write) = &mut downlink.frame {
        write.address = 99;
    }
    command(&mut bench, downlink);
    bench.run(secs(2));
    let refusal = Refusal {
        code: 2,
        text: "illegal data address".to_owned(),
    };
    assert_eq!(deliveries(&bench)[&1], Delivery::Refused(refusal));
}

// Section 7, code 05: the write was accepted, and takes longer than the answer may.
#[test]
fn a_write_that_the_unit_is_working_on_is_not_refused() {
    let mut bench = write_bench();
    bench.run(secs(2));
    let mut downlink = switch(1, 3, 2, true);
    if let Frame::ModbusWrite(write) = &mut downlink.frame {
        write.read_back = None;
    }
    command(&mut bench, downlink);
    bench.run_with(secs(2), |bench, frame| {
        if frame[1] == 5 {
            bench.deliver(ms(20), crate::modbus::rtu::encode(3, &[0x85, 5]));
        }
    });
    assert_eq!(
        deliveries(&bench)[&1],
        Delivery::Unconfirmed("the unit is still working on it".to_owned())
    );
    assert_eq!(bench.sent.iter().filter(|(_, f)| f[..2] == [3, 5]).count(), 1);
}

#[test]
fn a_relay_that_does_not_move_is_unconfirmed_with_what_was_read() {
    let mut bench = write_bench();
    let mut downlink = switch(1, 3, 2, true);
    if let Frame::ModbusWrite(write) = &mut downlink.frame {
        write.read_back.as_mut().unwrap().at = 3;
    }
    command(&mut bench, downlink);
    bench.run(secs(3));
    assert_eq!(
        deliveries(&bench)[&1],
        Delivery::Unconfirmed("read back off, expected on".to_owned())
    );
    let looks = bench.sent.iter().filter(|(_, f)| f[..2] == [3, 1]).count();
    assert!(looks >= 5, "it looks again until the time is over");
}

#[test]
fn a_write_without_a_read_back_is_sent_once_and_never_repeated() {
    for (dead, expected) in [
        (vec![], Delivery::Sent),
        (
            vec![3],
            Delivery::Unconfirmed("no answer to the write".to_owned()),
        ),
    ] {
        let mut bench = write_bench();
        bench.run(secs(2));
        bench.dead = dead;
        let mut downlink = switch(1, 3, 2, true);
        if let Frame::ModbusWrite(write) = &mut downlink.frame {
            write.read_back = None;
        }
        command(&mut bench, downlink);
        bench.run(secs(3));
        assert_eq!(deliveries(&bench)[&1], expected);
        assert_eq!(bench.sent.iter().filter(|(_, f)| f[..2] == [3, 5]).count(), 1);
    }
}

#[test]
fn a_lost_echo_is_made_good_by_the_read_back_and_a_lost_write_by_a_second() {
    for done in [true, false] {
        let mut bench = write_bench();
        bench.run(secs(2));
        command(&mut bench, switch(1, 3, 2, true));
        let mut lost = false;
        bench.run_with(secs(4), |bench, frame| {
            let answer = |bench: &mut Bench| {
                bench
                    .banks
                    .get_mut(&frame[0])
                    .unwrap()
                    .answer(&frame[1..frame.len() - 2])
            };
            if frame[..2] == [3, 5] && !lost {
                lost = true;
                if done {
                    answer(bench);
                }
                return;
            }
            let answer = answer(bench).unwrap();
            bench.deliver(ms(30), crate::modbus::rtu::encode(frame[0], &answer));
        });
        assert!(
            matches!(deliveries(&bench)[&1], Delivery::Confirmed(_)),
            "{:?}",
            deliveries(&bench)
        );
        let writes = bench.sent.iter().filter(|(_, f)| f[..2] == [3, 5]).count();
        assert_eq!(writes, if done { 1 } else { 2 });
    }
}

#[test]
fn an_unreachable_unit_says_when_it_is_tried_again() {
    let mut bench = write_bench();
    bench.dead = vec![3];
    bench.run(secs(4));
    command(&mut bench, switch(1, 3, 2, true));
    bench.run(ms(1));
    let Delivery::Unreachable { retry_after_secs } = deliveries(&bench)[&1] else {
        panic!("{:?}", deliveries(&bench))
    };
    assert!((1..=6).contains(&retry_after_secs));
    assert!(bench.sent.iter().all(|(_, f)| f[..2] != [3, 5]));
}

#[test]
fn a_command_for_a_unit_that_goes_silent_is_unreachable_or_unconfirmed() {
    let mut bench = write_bench();
    bench.run(secs(2));
    bench.dead = vec![3];
    bench.run(ms(1_600));
    command(&mut bench, switch(1, 3, 2, true));
    bench.run(secs(12));
    assert!(
        matches!(
            deliveries(&bench)[&1],
            Delivery::Unreachable { .. } | Delivery::Unconfirmed(_)
        ),
        "{:?}",
        deliveries(&bench)
    );
}

#[test]
fn what_cannot_be_sent_is_said_at_once() {
    let denied = Client::new(bus(RTU, Writes::Deny), vec![relays(3)], 7, start()).unwrap();
    let mut bench = Bench::new(denied, [(3, relays_bank())].into());
    command(&mut bench, switch(1, 3, 2, true));
    command(&mut bench, switch(2, 0, 2, true));
    command(&mut bench, switch(3, 9, 2, true));
    bench.run(secs(1));
    let ends = deliveries(&bench);
    assert_eq!(ends[&1], Delivery::Denied);
    for (id, text) in [
        (2, "unit 0 is broadcast"),
        (3, "unit 9 is not configured on bus rs485-1"),
    ] {
        assert!(
            matches!(&ends[&id], Delivery::Refused(r) if r.text.starts_with(text)),
            "{:?}",
            ends[&id]
        );
    }
    assert!(bench.sent.iter().all(|(_, f)| f[1] != 5));
    let now = bench.now;
    let mut closed = Client::new(bus(RTU, Writes::Allow), vec![relays(3)], 7, now).unwrap();
    closed.handle_downlink(switch(1, 3, 2, true), now);
    let end = Event::Delivery {
        id: DownlinkId(1),
        delivery: Delivery::Unreachable { retry_after_secs: 5 },
    };
    assert_eq!(closed.poll_event(), Some(end));
}

#[test]
fn a_later_write_to_the_same_coil_replaces_a_waiting_one() {
    let mut bench = write_bench();
    bench.run(ms(1));
    for (id, coil, on) in [(1, 2, true), (2, 4, true), (3, 2, false)] {
        command(&mut bench, switch(id, 3, coil, on));
    }
    bench.run(secs(3));
    let ends = deliveries(&bench);
    assert_eq!(ends[&1], Delivery::Superseded);
    assert!(
        matches!(
            (&ends[&2], &ends[&3]),
            (Delivery::Confirmed(_), Delivery::Confirmed(_))
        ),
        "{ends:?}"
    );
    assert_eq!(bench.banks[&3].words[&(1, 2)], 0);
}

#[test]
fn more_commands_than_the_queue_holds_end_at_once() {
    let points = vec![point(0, Table::HoldingRegisters, 0, 8, 1_000)];
    let unit = UnitConfig {
        unit: 3,
        points,
        limits: ReadLimits::default(),
    };
    let mut bench = bench(vec![unit], []);
    for n in 0..limits::COMMANDS as u64 + 5 {
        let mut downlink = switch(n, 3, 0, true);
        if let Frame::ModbusWrite(write) = &mut downlink.frame {
            write.address = n as u16;
        }
        command(&mut bench, downlink);
    }
    bench.run(ms(1));
    let expired = deliveries(&bench)
        .values()
        .filter(|d| **d == Delivery::Expired)
        .count();
    assert_eq!(expired, 5);
    assert_eq!(bench.client.statistics(bench.now).bus.commands_dropped, 5);
    bench.run(secs(30));
    assert_eq!(deliveries(&bench).len(), limits::COMMANDS + 5, "each has its end");
}

#[test]
fn a_command_that_waits_too_long_expires() {
    // A unit that needs a minute of silence between requests.
    let mut unit = relays(3);
    unit.limits.min_gap_ms = 60_000;
    let mut bench = bench(vec![unit], [(3, relays_bank())]);
    bench.run(secs(2));
    command(&mut bench, switch(1, 3, 2, true));
    bench.run(ms(limits::COMMAND_WAIT_MS + 10));
    assert_eq!(deliveries(&bench)[&1], Delivery::Expired);
}
