//! The readings that are in memory: each once, with the servers that have not got it.
//!
//! ```text
//!          push             held long enough         commit                    durable
//!  news ─────────► resting ─────────────────► due ──────────► being stored ─────────────► gone from here
//!                     │                        │ ▲                │
//!                     └──── every server has it: gone             └ not stored: due again
//! ```
//! Where nothing is kept on disk, they rest until they are paid or there is no room for them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::{Path, Value};

use super::reading::Reading;
use super::receipts::{Receipts, Repeat, Turn};
use super::servers::Servers;
use crate::Now;
use crate::buffer::{Moment, Repeatable};
use crate::field::{Link, Receipt, ReceiptId};
use crate::limits;
use crate::profile::PointClass;

/// A reading as it comes from a device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct New {
    /// The place of the device in the gateway.
    pub(crate) device: usize,
    /// How much it matters.
    pub(crate) class: PointClass,
    /// The resource or resource instance.
    pub(crate) path: Path,
    /// Its value, in the newest model.
    pub(crate) value: Value,
    /// When it was measured.
    pub(crate) moment: Moment,
}

/// A reading in memory.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The reading.
    pub(crate) reading: Arc<Reading>,
    /// The place of its device in the gateway.
    pub(crate) device: usize,
    /// How much it matters.
    pub(crate) class: PointClass,
    /// Who has not got it.
    pub(crate) owed: Servers,
    since: Instant,
    in_flight: Servers,
    stage: Stage,
    /// The frames with a receipt that it comes of, or that have said it again.
    turns: Vec<Turn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Resting,
    Due,
    BeingStored,
}

/// All readings in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: BTreeMap<u64, Held>,
    /// The last one of each resource of a device.
    latest: BTreeMap<(usize, Path), u64>,
    /// The number that the next reading gets.
    next_seq: u64,
    bytes: usize,
    /// What can go where there is no room: neither on its way to a server nor to the disk; what matters least first.
    spare: BTreeSet<(Reverse<PointClass>, u64)>,
    resting: BTreeSet<u64>,
    /// What is to be stored, what matters most first.
    due: BTreeSet<(PointClass, u64)>,
    due_bytes: usize,
    /// Since when something is.
    due_since: Option<Instant>,
    receipts: Receipts,
}

impl Memory {
    /// Returns an empty memory whose first reading gets this number, and which knows these frames when they come again.
    pub(crate) fn new(next_seq: u64, frames: Vec<Repeatable>) -> Self {
        let mut receipts = Receipts::default();
        receipts.restore(frames);
        Self {
            next_seq,
            receipts,
            ..Self::default()
        }
    }

    /// Returns the number that the next reading gets.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Returns how many readings there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns a reading.
    pub(crate) fn get(&self, seq: u64) -> Option<&Held> {
        self.held.get(&seq)
    }

    /// Notes that the readings that follow come of a frame, until [`end_frame`](Self::end_frame). Returns what is known
    /// of the frame where it was taken before: then it owes nothing.
    pub(crate) fn begin_frame(&mut self, receipt: Option<Receipt>, link: &Link, now: Now) -> Option<Repeat> {
        self.receipts.begin_frame(receipt, link, now)
    }

    /// Says whether a frame with a receipt is being taken: until it ends, nobody knows all that is to be stored of it.
    pub(crate) const fn is_in_frame(&self) -> bool {
        self.receipts.is_in_frame()
    }

    /// Begins a commit of what was taken to be stored; returns all frames that may come again once it is durable.
    pub(crate) fn begin_commit(&mut self, taken: &[Held]) -> Vec<Repeatable> {
        let turns = taken.iter().flat_map(|held| &held.turns).copied().collect();
        self.receipts.begin_commit(&turns)
    }

    /// Notes what became of a commit, after its readings.
    pub(crate) fn end_commit(&mut self, is_stored: bool) {
        self.receipts.end_commit(is_stored);
    }

    /// Returns since when the disk names frames as such that may come again, and they do not.
    pub(crate) const fn outdated_since(&self) -> Option<Instant> {
        self.receipts.outdated_since()
    }

    /// Notes that no more readings come of the frame.
    pub(crate) fn end_frame(&mut self) {
        self.receipts.end_frame();
    }

    /// Takes the next receipt of a frame of which nothing can be lost any more.
    pub(crate) fn poll_settled(&mut self) -> Option<ReceiptId> {
        self.receipts.poll_settled()
    }

    /// Returns when to begin a commit for the sake of a receipt that is wanted soon.
    pub(crate) fn commit_by(&self) -> Option<Instant> {
        self.receipts.commit_by()
    }

    /// Lets those wait no longer whose receipts are wanted before there can be another commit.
    pub(crate) fn hurry_receipts(&mut self, now: Instant) {
        for seq in self.receipts.pressing(now) {
            self.hurry(seq, now);
        }
    }

    /// Takes a reading; returns its number.
    pub(crate) fn push(&mut self, new: New, owed: Servers, now: Instant) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let reading = Arc::new(Reading {
            seq,
            path: new.path,
            value: new.value,
            moment: new.moment,
            is_estimated: false,
        });
        self.bytes += reading.size();
        self.resting.insert(seq);
        self.spare.insert((Reverse(new.class), seq));
        self.latest.insert((new.device, new.path), seq);
        let held = Held {
            reading,
            device: new.device,
            class: new.class,
            owed,
            since: now,
            in_flight: Servers::default(),
            stage: Stage::Resting,
            turns: self.receipts.push(seq).into_iter().collect(),
        };
        self.held.insert(seq, held);
        seq
    }

    /// Notes that the present frame says of a resource what was worth telling before: as long as that is in memory, the
    /// frame is as little safe as the one that said it first. Says whether it waits for it.
    pub(crate) fn say_again(&mut self, device: usize, path: Path) -> bool {
        let latest = self.latest.get(&(device, path));
        let Some((seq, held)) = latest.and_then(|seq| Some((*seq, self.held.get_mut(seq)?))) else {
            return false;
        };
        let Some(turn) = self.receipts.join(seq, held.stage != Stage::BeingStored) else {
            return false;
        };
        held.turns.push(turn);
        if held.turns.len() > limits::MAX_RECEIPTS_PER_READING {
            self.receipts.forget(held.turns.remove(0));
        }
        true
    }

    /// Takes out one reading for which there is no room: the oldest of those that matter least.
    pub(crate) fn evict(&mut self) -> Option<Held> {
        let fits = self.held.len() <= limits::MAX_QUEUED_READINGS && self.bytes <= limits::MAX_QUEUED_BYTES;
        if fits {
            return None;
        }
        let (_, seq) = self.spare.first().copied()?;
        self.remove(seq)
    }

    /// Notes that a reading is on its way to a server, and returns it.
    pub(crate) fn start(&mut self, seq: u64, account: usize) -> Option<Arc<Reading>> {
        let held = self.held.get_mut(&seq)?;
        held.in_flight.insert(account);
        self.spare.remove(&(Reverse(held.class), seq));
        Some(Arc::clone(&held.reading))
    }

    /// Notes that a reading is not on its way to a server any more.
    pub(crate) fn put_back(&mut self, seq: u64, account: usize) {
        if let Some(held) = self.held.get_mut(&seq) {
            held.in_flight.remove(account);
            if held.in_flight.is_empty() && held.stage != Stage::BeingStored {
                self.spare.insert((Reverse(held.class), seq));
            }
        }
    }

    /// Notes that a server has a reading, or will never get it; says whether the disk is being told the contrary.
    pub(crate) fn settle(&mut self, seq: u64, account: usize) -> bool {
        self.put_back(seq, account);
        let Some(held) = self.held.get_mut(&seq) else {
            return false;
        };
        held.owed.remove(account);
        let is_being_stored = held.stage == Stage::BeingStored;
        if held.owed.is_empty() {
            self.remove(seq);
        }
        is_being_stored
    }

    /// Lets a reading wait no longer before it is stored.
    pub(crate) fn hurry(&mut self, seq: u64, now: Instant) {
        if self.resting.remove(&seq) {
            self.make_due(seq, now);
        }
    }

    /// Lets those wait no longer that no server will take before they are stored: with a commit that is made anyway
    /// they need none of their own.
    pub(crate) fn hurry_hopeless(&mut self, is_hopeless: impl Fn(&Held) -> bool, now: Instant) {
        let resting = self.resting.iter().copied();
        let hopeless = resting.filter(|seq| self.held.get(seq).is_some_and(&is_hopeless));
        for seq in hopeless.collect::<Vec<_>>() {
            self.hurry(seq, now);
        }
    }

    /// Lets those wait no longer that have waited for so long.
    pub(crate) fn ripen(&mut self, hold: Duration, now: Instant) {
        while let Some(seq) = self.resting.first().copied() {
            let since = self.held.get(&seq).map(|held| held.since);
            if since.is_some_and(|since| now.saturating_duration_since(since) < hold) {
                break;
            }
            self.hurry(seq, now);
        }
    }

    /// Returns since when the oldest of those waits that are not due.
    pub(crate) fn resting_since(&self) -> Option<Instant> {
        let first = self.resting.first()?;
        self.held.get(first).map(|held| held.since)
    }

    /// Returns about how many bytes are due.
    pub(crate) const fn due_bytes(&self) -> usize {
        self.due_bytes
    }

    /// Returns since when something is due, none where nothing is.
    pub(crate) const fn due_since(&self) -> Option<Instant> {
        self.due_since
    }

    /// Says whether an alarm is due.
    pub(crate) fn alarm_is_due(&self) -> bool {
        self.due
            .first()
            .is_some_and(|(class, _)| *class == PointClass::Alarm)
    }

    /// Takes what is due until there are so many bytes, as much as goes with one commit; it is being stored from now on.
    pub(crate) fn take_due(&mut self, max_bytes: usize) -> Vec<Held> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < limits::MAX_READINGS_PER_COMMIT && bytes < max_bytes {
            let Some((class, seq)) = self.due.pop_first() else {
                break;
            };
            if let Some(held) = self.held.get_mut(&seq) {
                held.stage = Stage::BeingStored;
                for turn in &held.turns {
                    self.receipts.begin_storing(*turn, seq);
                }
                self.spare.remove(&(Reverse(class), seq));
                self.due_bytes -= held.reading.size();
                bytes += held.reading.size();
                taken.push(held.clone());
            }
        }
        self.due_since.take_if(|_| self.due.is_empty());
        taken
    }

    /// Takes out a reading that is durable; none where every server has got it meanwhile.
    pub(crate) fn stored(&mut self, seq: u64) -> Option<Held> {
        self.remove(seq)
    }

    /// Has a reading stored again that could not be.
    pub(crate) fn not_stored(&mut self, seq: u64, now: Instant) {
        self.make_due(seq, now);
        if let Some(held) = self.held.get(&seq)
            && held.in_flight.is_empty()
        {
            self.spare.insert((Reverse(held.class), seq));
        }
    }

    fn make_due(&mut self, seq: u64, now: Instant) {
        if let Some(held) = self.held.get_mut(&seq) {
            held.stage = Stage::Due;
            for turn in &held.turns {
                self.receipts.rest(*turn, seq);
            }
            self.due.insert((held.class, seq));
            self.due_bytes += held.reading.size();
            self.due_since.get_or_insert(now);
        }
    }

    fn remove(&mut self, seq: u64) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        let size = held.reading.size();
        self.bytes -= size;
        self.resting.remove(&seq);
        self.spare.remove(&(Reverse(held.class), seq));
        if self.due.remove(&(held.class, seq)) {
            self.due_bytes -= size;
            self.due_since.take_if(|_| self.due.is_empty());
        }
        for turn in &held.turns {
            self.receipts.leave(*turn, seq);
        }
        let path = (held.device, held.reading.path);
        if self.latest.get(&path) == Some(&seq) {
            self.latest.remove(&path);
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
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
}
