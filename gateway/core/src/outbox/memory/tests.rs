//! How long a reading is held, and in which order readings go.

use super::*;
use crate::field::{Fingerprint, Repetition};
use crate::testing;

const BOTH: [usize; 2] = [0, 1];

fn new(class: PointClass, value: Value) -> New {
    New {
        device: 1,
        class,
        path: Path::resource(3421, 0, 1),
        value,
        moment: Moment::Wall(lwm2m_client::Timestamp::from_unix_ms(1)),
    }
}

fn push(memory: &mut Memory, class: PointClass) -> u64 {
    let owed = BOTH.into_iter().fold(Servers::default(), |mut servers, account| {
        servers.insert(account);
        servers
    });
    memory.push(new(class, Value::Integer(1)), owed, testing::start().instant)
}

fn at(secs: u64) -> Instant {
    testing::start().instant + Duration::from_secs(secs)
}

fn seqs(held: &[Held]) -> Vec<u64> {
    held.iter().map(|held| held.reading.seq).collect()
}

#[test]
fn a_reading_stays_until_every_server_has_it() {
    let mut memory = Memory::new(7, Vec::new());
    let seq = push(&mut memory, PointClass::Measurement);
    assert_eq!((seq, memory.next_seq()), (7, 8));
    assert!(!memory.settle(seq, 0), "the disk knows nothing of it");
    assert_eq!(memory.len(), 1);
    memory.settle(seq, 1);
    assert_eq!((memory.len(), memory.due_bytes(), memory.bytes), (0, 0, 0));
}

#[test]
fn what_is_held_long_enough_is_due_and_what_matters_most_goes_first() {
    let mut memory = Memory::new(0, Vec::new());
    let hold = Duration::from_secs(5);
    push(&mut memory, PointClass::Measurement);
    push(&mut memory, PointClass::Alarm);
    memory.ripen(hold, at(4));
    assert_eq!(memory.due_since(), None);
    memory.hurry(1, at(4));
    assert!(memory.alarm_is_due());
    memory.ripen(hold, at(5));
    assert_eq!(seqs(&memory.take_due(limits::MAX_COMMIT_BYTES)), [1, 0]);
    assert_eq!(memory.due_since(), None);
    assert!(memory.settle(0, 0), "the disk is told that it is owed");
    assert_eq!(
        memory.stored(0).unwrap().owed.iter().collect::<Vec<_>>(),
        [1],
        "one server has it meanwhile"
    );
    memory.not_stored(1, at(5));
    assert_eq!(seqs(&memory.take_due(limits::MAX_COMMIT_BYTES)), [1]);
}

#[test]
fn without_room_the_oldest_of_what_matters_least_goes() {
    let mut memory = Memory::new(0, Vec::new());
    for _ in 0..limits::MAX_QUEUED_READINGS {
        push(&mut memory, PointClass::Measurement);
    }
    push(&mut memory, PointClass::Alarm);
    memory.start(0, 1);
    assert_eq!(memory.evict().unwrap().reading.seq, 1, "the first is under way");
    assert!(memory.evict().is_none());
    push(&mut memory, PointClass::Diagnostic);
    assert_eq!(memory.evict().unwrap().class, PointClass::Diagnostic);
}

#[test]
fn long_values_have_less_room() {
    let mut memory = Memory::new(0, Vec::new());
    let long = Value::Opaque(vec![0; limits::MAX_QUEUED_BYTES / 4]);
    for _ in 0..4 {
        memory.push(new(PointClass::Measurement, long.clone()), Servers::one(0), at(0));
    }
    assert_eq!(memory.evict().unwrap().reading.seq, 0);
    assert!(memory.evict().is_none());
}

/// Returns a frame that may come again.
fn receipt() -> Option<Receipt> {
    Some(Receipt {
        id: ReceiptId(1),
        settle_by: None,
        repetition: Some(Repetition {
            fingerprint: Fingerprint(1),
            is_unique: true,
            is_repeat: false,
            none_before: None,
        }),
    })
}

#[test]
fn a_frame_is_known_again_with_the_last_of_its_readings_and_not_before() {
    let mut memory = Memory::new(0, Vec::new());
    memory.begin_frame(receipt(), &testing::broker("lamp-1"), testing::start());
    let seqs = [PointClass::Alarm, PointClass::Measurement].map(|class| push(&mut memory, class));
    memory.end_frame();
    for (seq, known) in seqs.into_iter().zip([0, 1]) {
        memory.hurry(seq, at(0));
        let taken = memory.take_due(limits::MAX_COMMIT_BYTES);
        assert_eq!(memory.begin_commit(&taken).len(), known);
        memory.stored(seq);
        memory.end_commit(true);
    }
}

#[test]
fn a_commit_takes_no_more_than_its_bound() {
    let mut memory = Memory::new(0, Vec::new());
    for _ in 0..=limits::MAX_READINGS_PER_COMMIT {
        push(&mut memory, PointClass::Measurement);
    }
    memory.ripen(Duration::ZERO, at(0));
    assert_eq!(
        memory.take_due(limits::MAX_COMMIT_BYTES).len(),
        limits::MAX_READINGS_PER_COMMIT
    );
    assert_eq!(memory.take_due(limits::MAX_COMMIT_BYTES).len(), 1);
    let long = Value::Opaque(vec![0; limits::MAX_COMMIT_BYTES]);
    for _ in 0..2 {
        memory.push(new(PointClass::Measurement, long.clone()), Servers::one(0), at(0));
    }
    memory.ripen(Duration::ZERO, at(0));
    assert_eq!(memory.take_due(limits::MAX_COMMIT_BYTES).len(), 1);
}
