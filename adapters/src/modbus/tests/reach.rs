//! Units that don't answer, and what they cost the others.

use super::*;
use ucifi_core::field::Reachability;

fn reachability(bench: &Bench, unit: u8) -> Vec<Reachability> {
    let of = |event: &Event| match event {
        Event::Reachability {
            link: of,
            reachability,
        } if *of == link(unit) => Some(reachability.clone()),
        Event::Reachability { .. } | Event::Uplink(_) | Event::Delivery { .. } | Event::Reconnect { .. } => {
            None
        }
    };
    bench.events.iter().filter_map(|(_, event)| of(event)).collect()
}

#[test]
fn a_dead_unit_of_ten_costs_the_others_less_than_two_percent() {
    let units: Vec<u8> = (1..=10).collect();
    let banks = || units.iter().map(|unit| (*unit, meter_bank(*unit)));
    let configs = || {
        let quick = |unit: &u8| {
            let mut config = meter(*unit);
            config.points.iter_mut().for_each(|p| p.every_ms = 100);
            config
        };
        units.iter().map(quick).collect::<Vec<_>>()
    };
    let polls = |dead: Vec<u8>, units| {
        let mut bench = bench(units, banks());
        bench.dead = dead;
        bench.run(secs(600));
        uplinks(&bench).filter(|(_, u)| u.link != link(5)).count()
    };
    let without: Vec<UnitConfig> = configs().into_iter().filter(|u| u.unit != 5).collect();
    let (alone, beside) = (polls(vec![], without), polls(vec![5], configs()));
    assert!(
        beside * 100 > alone * 98,
        "{beside} polls beside a dead unit, {alone} without it"
    );
}

#[test]
fn a_unit_is_unreachable_after_three_failures_and_three_timeouts_and_says_why() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    bench.run(secs(5));
    bench.dead = vec![1];
    bench.run(secs(10));
    let [Reachability::Reachable, Reachability::Unreachable(reason)] = &reachability(&bench, 1)[..] else {
        panic!("{:?}", reachability(&bench, 1))
    };
    assert!(reason.starts_with("no answer to 3 requests in "), "{reason}");
    bench.dead = vec![];
    bench.run(secs(70));
    assert_eq!(reachability(&bench, 1).last(), Some(&Reachability::Reachable));
}

#[test]
fn what_is_read_once_is_read_again_after_an_absence() {
    let mut unit = meter(1);
    unit.points.push(point(90, Table::HoldingRegisters, 0, 2, 0));
    let mut bank = meter_bank(1);
    bank.words.extend([((3, 0), 7), ((3, 1), 8)]);
    let mut bench = bench(vec![unit], [(1, bank)]);
    bench.run(secs(5));
    bench.dead = vec![1];
    bench.run(secs(20));
    bench.dead = vec![];
    bench.run(secs(90));
    let once =
        uplinks(&bench).filter(|(_, u)| block(u).address == 0 && block(u).table == Table::HoldingRegisters);
    assert_eq!(once.count(), 2);
}

#[test]
fn probes_become_rare_and_stay() {
    let mut bench = bench(vec![meter(1)], []);
    bench.run(secs(600));
    let times: Vec<f64> = bench
        .sent
        .iter()
        .map(|(at, _)| (*at - start()).as_secs_f64())
        .collect();
    let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses.last().unwrap() > &60.0 && pauses.last().unwrap() < &67.0,
        "{pauses:?}"
    );
    assert!(
        times.len() <= 17,
        "{} requests to a dead unit in ten minutes",
        times.len()
    );
}

#[test]
fn a_lost_answer_is_made_good_at_once_and_is_no_news() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    bench.run(secs(5));
    bench.dead = vec![1];
    bench.run(ms(1_200));
    bench.dead = vec![];
    bench.run(secs(5));
    assert_eq!(reachability(&bench, 1), [Reachability::Reachable]);
    let longest = uplinks(&bench).map(|(at, _)| at).collect::<Vec<_>>();
    let longest = longest.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < secs(4), "{longest:?} without a value");
}

#[test]
fn a_unit_that_is_always_late_is_told_so() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    bench.turnaround = ms(700);
    bench.run(secs(20));
    assert_eq!(uplinks(&bench).count(), 0);
    let told = reachability(&bench, 1);
    let [Reachability::Unreachable(reason)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(reason, "answers come only after the time-out of 500 ms, raise it");
    assert!(bench.client.statistics(bench.now).units[&1].late_discarded >= 3);
}

#[test]
fn a_line_that_went_away_makes_all_units_unreachable_until_it_is_back() {
    let mut bench = bench(vec![meter(1), meter(2)], [(1, meter_bank(1)), (2, meter_bank(2))]);
    bench.run(secs(3));
    let now = bench.now;
    bench.client.handle_disconnected(now);
    bench.run(secs(3));
    let gone = Reachability::Unreachable("bus rs485-1 is not connected".to_owned());
    assert_eq!(reachability(&bench, 1).last(), Some(&gone));
    let before = bench.sent.len();
    bench.run(secs(3));
    assert_eq!(bench.sent.len(), before, "nothing is sent into a closed port");
    let now = bench.now;
    bench.client.handle_connected(now);
    bench.run(secs(5));
    assert_eq!(reachability(&bench, 2).last(), Some(&Reachability::Reachable));
}

#[test]
fn a_babbling_line_is_found_out() {
    let mut bench = bench(vec![meter(1)], [(1, meter_bank(1))]);
    for n in 0..20_000 {
        bench.deliver(ms(n), vec![0x55]);
    }
    bench.run_with(secs(20), |_, _| {});
    let told = reachability(&bench, 1);
    assert!(
        matches!(&told[..], [Reachability::Unreachable(why)] if why.starts_with("only corrupt answers")),
        "{told:?}"
    );
}
