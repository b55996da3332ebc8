use lwm2m_client::Path;
use ucifi_core::buffer::{Batch, Debt, GapReason, Loaded, Moment, Owing, PointClass, Settled, Stream};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const PATH: Path = Path::resource(3300, 2, 5700);

/// Books in which device `a` gave the numbers 1, 2 and 3, one a second.
fn books() -> Ledger {
    let mut ledger = Ledger::new(vec!["city".into()]);
    for number in 1..=3 {
        ledger.give(number.into(), &"a".into(), PATH, Source::Once);
        ledger.hear(number.into(), given(number));
    }
    ledger
}

fn given(second: u32) -> Given {
    Given {
        at: SECOND * second,
        wall: Some(wall(second)),
        true_wall: wall(second),
        start: 1,
    }
}

/// Books in which device `a` gives the number 4 in the fourth second, and again if it must.
fn repeated(source: Source) -> Ledger {
    let mut ledger = books();
    ledger.give(4, &"a".into(), PATH, source);
    ledger.hear(4, given(4));
    ledger
}

/// Lets the number 4 arrive as one that was given in another second.
fn arrive_of(ledger: &mut Ledger, second: u32, message: u16, sent: u64) {
    let value = ReceivedValue {
        path: PATH,
        value: Value::Float(4.0),
        time: Some(wall(second)),
    };
    ledger.arrive(&"city".into(), "cab-17-a", &[value], carrier(message, sent));
}

fn wall(number: u32) -> Timestamp {
    Timestamp::from_unix_ms(1_000_000 + 1_000 * i64::from(number))
}

fn arrive(ledger: &mut Ledger, number: u32, message: u16, sent: u64) {
    let value = ReceivedValue {
        path: PATH,
        value: Value::Float(number.into()),
        time: Some(wall(number)),
    };
    ledger.arrive(&"city".into(), "cab-17-a", &[value], carrier(message, sent));
}

fn carrier(message: u16, sent: u64) -> Carrier {
    Carrier {
        message: name(message),
        sent: SECOND * u32::try_from(sent).unwrap(),
    }
}

fn name(id: u16) -> MessageName {
    MessageName {
        endpoint: EndpointId(1),
        id,
        start: 1,
    }
}

fn debt() -> Debt {
    Debt {
        account: "city".into(),
        stream: Stream {
            device: "a".into(),
            class: PointClass::Measurement,
        },
    }
}

fn record(number: u32) -> Record {
    Record {
        seq: number.into(),
        path: PATH,
        value: Value::Float(number.into()),
        moment: Moment::Wall(wall(number)),
    }
}

fn commit(numbers: &[u32], settled: &[u32]) -> Request {
    let batch = Batch {
        stream: debt().stream,
        accounts: vec!["city".into()],
        records: numbers.iter().copied().map(record).collect(),
    };
    let settled = Settled {
        debt: debt(),
        seqs: settled
            .iter()
            .map(|number| u64::from(*number)..=u64::from(*number))
            .collect(),
    };
    Request::Commit(Commit {
        id: 1,
        next_seq: 4,
        batches: vec![batch],
        settled: vec![settled],
        ..Commit::default()
    })
}

fn durable(ledger: &mut Ledger, numbers: &[u32], settled: &[u32]) {
    let reply = Reply::Committed {
        id: 1,
        result: Ok(()),
    };
    ledger.answer(&commit(numbers, settled), &[reply]);
}

fn contents(count: u64, first: u64) -> Contents {
    let owing = Owing {
        debt: debt(),
        count,
        first,
        oldest: None,
    };
    Contents {
        boot: 1,
        next_seq: 4,
        debts: vec![owing],
        ..Contents::default()
    }
}

fn gap(count: u64, seqs: std::ops::RangeInclusive<u64>) -> Gap {
    Gap {
        debt: debt(),
        count,
        seqs,
        times: None,
        reason: GapReason::Bound,
    }
}

#[track_caller]
fn has_fault(ledger: &Ledger, word: &str) {
    let faults = ledger.faults();
    assert!(
        faults.len() == 1 && faults[0].contains(word),
        "{word:?} in {faults:?}"
    );
}

#[test]
fn what_arrives_as_it_was_given_is_right() {
    let mut ledger = books();
    (1..=3).for_each(|number| arrive(&mut ledger, number, number as u16, 10));
    assert_eq!(ledger.check_all_arrived(), 0);
    assert_eq!((ledger.faults(), ledger.totals().arrived), (&[] as &[String], 3));
}

#[test]
fn what_is_invented_another_s_or_of_another_time_is_not() {
    let cases: [(&str, f64, Path, i64, &str); 4] = [
        ("cab-17-a", 9.0, PATH, 0, "never given"),
        ("cab-17-b", 1.0, PATH, 0, "another's"),
        ("cab-17-a", 1.0, Path::resource(3300, 0, 5700), 0, "another's"),
        ("cab-17-a", 1.0, PATH, 2, "another time"),
    ];
    for (endpoint, number, path, late_ms, word) in cases {
        let mut ledger = books();
        let value = ReceivedValue {
            path,
            value: Value::Float(number),
            time: Some(Timestamp::from_unix_ms(wall(1).unix_ms() + late_ms)),
        };
        ledger.arrive(&"city".into(), endpoint, &[value], carrier(1, 2));
        has_fault(&ledger, word);
    }
}

#[test]
fn what_was_acknowledged_is_not_to_come_again() {
    let mut ledger = books();
    arrive(&mut ledger, 1, 1, 10);
    arrive(&mut ledger, 1, 2, 20);
    assert_eq!(
        (ledger.faults().len(), ledger.totals().repeated),
        (0, 1),
        "the first was not"
    );
    ledger.acknowledge(name(2), SECOND * 21);
    arrive(&mut ledger, 1, 3, 30);
    has_fault(&ledger, "was acknowledged");
}

#[test]
fn after_a_restart_what_was_stored_may_come_again_and_nothing_else() {
    for (stored, faults) in [(vec![1], 0), (vec![2], 1)] {
        let mut ledger = books();
        durable(&mut ledger, &stored, &[]);
        arrive(&mut ledger, 1, 1, 10);
        ledger.acknowledge(name(1), SECOND * 10);
        ledger.go_down(SECOND * 15, SECOND * 60);
        arrive(&mut ledger, 1, 2, 20);
        assert_eq!(ledger.faults().len(), faults, "{stored:?}");
    }
}

#[test]
fn what_was_in_memory_only_may_be_lost_while_it_is_young() {
    let mut ledger = books();
    ledger.go_down(SECOND * 6, SECOND * 5);
    assert_eq!(
        (
            ledger.faults().len(),
            ledger.check_all_arrived(),
            ledger.totals().lost
        ),
        (0, 0, 3)
    );
    let mut ledger = books();
    ledger.go_down(SECOND * 7, SECOND * 5);
    has_fault(&ledger, "in memory only");
    let mut ledger = books();
    ledger.disk_is_well(false, SECOND);
    ledger.go_down(SECOND * 60, SECOND * 5);
    assert_eq!(ledger.faults().len(), 0, "a disk that fails excuses it");
}

#[test]
fn what_its_sender_knows_to_be_taken_is_durable_or_delivered_by_then() {
    let mut ledger = repeated(Source::Repeats);
    ledger.confirm(4, SECOND * 5);
    has_fault(&ledger, "neither durable nor delivered");
    let mut ledger = repeated(Source::Repeats);
    durable(&mut ledger, &[4], &[]);
    ledger.confirm(4, SECOND * 5);
    let mut delivered = repeated(Source::Repeats);
    arrive_of(&mut delivered, 4, 1, 4);
    delivered.confirm(4, SECOND * 5);
    for ledger in [ledger, delivered] {
        assert_eq!(
            (ledger.faults(), ledger.totals().confirmed),
            (&[] as &[String], 1)
        );
    }
}

#[test]
fn what_its_sender_repeats_is_not_lost_and_what_it_may_repeat_can_be() {
    for (source, missing) in [(Source::Repeats, 1), (Source::MayRepeat, 0), (Source::Once, 0)] {
        let mut ledger = repeated(source);
        ledger.go_down(SECOND * 6, SECOND * 5);
        assert_eq!(ledger.check_all_arrived(), missing, "{source:?}");
    }
    let mut ledger = repeated(Source::MayRepeat);
    ledger.go_down(SECOND * 6, SECOND * 5);
    ledger.hear(4, given(7));
    assert_eq!(ledger.check_all_arrived(), 1, "it came again");
}

#[test]
fn what_was_heard_twice_may_arrive_once_under_each_time_and_under_no_other() {
    let mut ledger = repeated(Source::Repeats);
    durable(&mut ledger, &[4], &[]);
    ledger.hear(4, given(7));
    arrive_of(&mut ledger, 4, 1, 8);
    ledger.acknowledge(name(1), SECOND * 8);
    arrive_of(&mut ledger, 7, 2, 9);
    ledger.acknowledge(name(2), SECOND * 9);
    let totals = ledger.totals();
    assert_eq!(ledger.faults(), &[] as &[String]);
    assert_eq!(
        (
            totals.heard_again,
            totals.of_two_times,
            totals.of_two_times_though_durable
        ),
        (1, 1, 1)
    );
    arrive_of(&mut ledger, 6, 3, 10);
    has_fault(&ledger, "another time");
    arrive_of(&mut ledger, 7, 4, 10);
    assert!(ledger.faults()[1].contains("was acknowledged"));
}

#[test]
fn what_arrives_of_two_times_without_a_clock_is_that_which_the_present_start_knows() {
    let of_start = |second, start| Given {
        wall: None,
        start,
        ..given(second)
    };
    let mut ledger = books();
    ledger.give(4, &"a".into(), PATH, Source::Repeats);
    ledger.hear(4, of_start(4, 0));
    ledger.hear(4, of_start(7, 1));
    arrive_of(&mut ledger, 7, 1, 8);
    ledger.acknowledge(name(1), SECOND * 8);
    arrive_of(&mut ledger, 4, 2, 9);
    assert_eq!(ledger.faults(), &[] as &[String]);
    assert_eq!(ledger.totals().of_two_times, 1);
}

#[test]
fn what_was_durable_must_be_there_after_a_restart_and_arrive() {
    let mut ledger = books();
    durable(&mut ledger, &[1, 2, 3], &[]);
    ledger.go_down(SECOND * 60, SECOND * 5);
    ledger.open(&contents(3, 1));
    assert_eq!(ledger.faults().len(), 0);
    assert_eq!(ledger.check_all_arrived(), 3);
    let mut ledger = books();
    durable(&mut ledger, &[1, 2, 3], &[]);
    ledger.open(&contents(2, 2));
    has_fault(&ledger, "durable");
}

#[test]
fn of_a_commit_that_was_never_answered_all_or_nothing_is_there() {
    for (found, faults) in [((1, 1), 0), ((3, 1), 0), ((2, 1), 1)] {
        let mut ledger = books();
        durable(&mut ledger, &[1], &[]);
        let Request::Commit(interrupted) = commit(&[2, 3], &[]) else {
            unreachable!("it is a commit");
        };
        ledger.interrupt(&interrupted);
        ledger.go_down(SECOND * 6, SECOND * 5);
        ledger.open(&contents(found.0, found.1));
        assert_eq!(ledger.faults().len(), faults, "{found:?}");
        let missing = ledger.check_all_arrived();
        assert_eq!(
            missing,
            if found.0 == 3 { 3 } else { 1 },
            "the others were in memory only"
        );
    }
}

#[test]
fn what_is_settled_must_have_arrived() {
    let mut ledger = books();
    durable(&mut ledger, &[1, 2], &[]);
    arrive(&mut ledger, 1, 1, 10);
    durable(&mut ledger, &[], &[1]);
    assert_eq!(ledger.faults().len(), 0);
    durable(&mut ledger, &[], &[2]);
    has_fault(&ledger, "was settled");
}

#[test]
fn a_gap_says_exactly_what_is_gone() {
    let mut ledger = books();
    durable(&mut ledger, &[1, 2, 3], &[]);
    ledger.answer(&commit(&[], &[]), &[Reply::Gap(gap(2, 1..=2))]);
    assert_eq!((ledger.faults().len(), ledger.totals().gone), (0, 2));
    assert_eq!(ledger.check_all_arrived(), 1, "the third is still owed");
    for wrong in [gap(1, 1..=2), gap(2, 1..=3), gap(4, 1..=4), gap(1, 7..=7)] {
        let mut ledger = books();
        durable(&mut ledger, &[1, 2, 3], &[]);
        ledger.answer(&commit(&[], &[]), &[Reply::Gap(wrong)]);
        has_fault(&ledger, "were owed");
    }
}

#[test]
fn a_gap_leaves_out_what_lies_in_it_and_was_stored_later() {
    let mut ledger = books();
    durable(&mut ledger, &[1, 3], &[]);
    durable(&mut ledger, &[2], &[]);
    ledger.answer(&commit(&[], &[]), &[Reply::Gap(gap(2, 1..=3))]);
    durable(&mut ledger, &[], &[]);
    ledger.go_down(SECOND * 6, SECOND * 5);
    ledger.open(&contents(1, 2));
    assert_eq!((ledger.faults(), ledger.totals().gone), (&[] as &[String], 2));
}

#[test]
fn what_went_in_a_commit_that_was_never_answered_is_told_at_the_start() {
    for (gaps, faults) in [(vec![gap(1, 1..=1)], 0), (vec![], 1), (vec![gap(2, 1..=2)], 1)] {
        let mut ledger = books();
        durable(&mut ledger, &[1, 2], &[]);
        let Request::Commit(interrupted) = commit(&[3], &[]) else {
            unreachable!("it is a commit");
        };
        ledger.interrupt(&interrupted);
        ledger.go_down(SECOND * 6, SECOND * 5);
        let found = Contents {
            gaps: gaps.clone(),
            ..contents(2, 2)
        };
        ledger.open(&found);
        assert_eq!(ledger.faults().len(), faults, "{gaps:?}");
        ledger.open(&Contents { boot: 1, ..found });
        assert_eq!(ledger.faults().len(), 2 * faults, "it may be told again");
    }
}

#[test]
fn what_went_for_a_commit_that_failed_may_be_there_after_all() {
    for (found, faults) in [((2, 1), 0), ((2, 2), 0), ((1, 2), 1)] {
        let mut ledger = books();
        durable(&mut ledger, &[1, 2], &[]);
        let failed = Reply::Committed {
            id: 1,
            result: Err(ucifi_core::buffer::DiskError::Full),
        };
        ledger.answer(&commit(&[3], &[]), &[Reply::Gap(gap(1, 1..=1)), failed]);
        assert_eq!(ledger.totals().gone, 1);
        ledger.go_down(SECOND * 6, SECOND * 5);
        ledger.open(&contents(found.0, found.1));
        assert_eq!(ledger.faults().len(), faults, "{found:?}");
    }
}

#[test]
fn the_buffer_gives_the_first_readings_that_are_owed() {
    let loaded = |number: u32| Loaded {
        seq: number.into(),
        path: PATH,
        value: Value::Float(number.into()),
        moment: Moment::Wall(wall(number)),
        is_estimated: false,
    };
    for (given, faults) in [(vec![1, 2], 0), (vec![1], 1), (vec![1, 3], 1), (vec![1, 2, 3], 1)] {
        let mut ledger = books();
        durable(&mut ledger, &[1, 2, 3], &[]);
        let request = Request::Load {
            debt: debt(),
            from: 0,
            limit: 2,
        };
        let reply = Reply::Loaded {
            debt: debt(),
            from: 0,
            result: Ok(given.iter().copied().map(loaded).collect()),
        };
        ledger.answer(&request, &[reply]);
        assert_eq!(ledger.faults().len(), faults, "{given:?}");
    }
}

#[test]
fn no_more_faults_are_told_than_the_bound_allows() {
    let mut ledger = Ledger::new(vec!["city".into()]);
    (0..100).for_each(|number| arrive(&mut ledger, number, 1, 1));
    assert_eq!(ledger.faults().len(), limits::MAX_FAULTS);
}
