//! Random histories of commits, faults, power cuts and restarts against a model that knows what must be true.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::buffer::GapReason;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Readings of some debts are stored, and some of what is owed is settled.
    Commit {
        stored: Vec<(usize, u64)>,
        paid: Vec<(usize, usize, usize)>,
    },
    /// Readings get their numbers, and stay in memory for now.
    Take(usize, u64),
    /// What is in memory of a debt is stored.
    StoreTaken(usize),
    /// All that is owed of a debt is settled, up to the last number that was given out.
    PayAll(usize),
    /// The oldest readings of a debt are loaded.
    Load { debt: usize, skip: u64, limit: usize },
    /// The next write fails, or the next but one.
    FailWrite(usize),
    /// The next sync fails, or the next but one.
    FailSync(usize),
    /// The disk does nothing after so many changes; then the power is cut.
    LosePower { after: u64, seed: u64 },
    /// The process ends and starts again; the machine does not.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stored = prop::collection::vec((0..6usize, 1..90u64), 0..5);
    let paid = prop::collection::vec((0..6usize, 0..80usize, 0..80usize), 0..4);
    let step = prop_oneof![
        12 => (stored, paid).prop_map(|(stored, paid)| Step::Commit { stored, paid }),
        3 => (0..6usize, 1..40u64).prop_map(|(debt, count)| Step::Take(debt, count)),
        3 => (0..6usize).prop_map(Step::StoreTaken),
        3 => (0..6usize).prop_map(Step::PayAll),
        3 => (0..6usize, 0..300u64, 1..80usize).prop_map(|(debt, skip, limit)| Step::Load { debt, skip, limit }),
        1 => (0..2usize).prop_map(Step::FailWrite),
        1 => (0..2usize).prop_map(Step::FailSync),
        2 => (0..6u64, any::<u64>()).prop_map(|(after, seed)| Step::LosePower { after, seed }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// What must be true of one debt.
#[derive(Clone, Debug, Default)]
struct Owed {
    /// Stored, and told so.
    certain: BTreeSet<u64>,
    /// Given to a commit that failed or was cut off.
    possible: BTreeSet<u64>,
    /// Settled by a commit that failed or was cut off.
    maybe_paid: BTreeSet<u64>,
    /// Settled, and told so.
    paid: BTreeSet<u64>,
}

struct Run {
    bench: Bench,
    debts: Vec<Debt>,
    owed: BTreeMap<Debt, Owed>,
    next_seq: u64,
    /// Numbers that were given out and not stored yet, by debt.
    taken: BTreeMap<usize, Vec<std::ops::Range<u64>>>,
    power: Option<u64>,
    /// Whether the power went in a commit, so that its answer was never heard.
    is_cut_off: bool,
    /// Whether readings have to go.
    is_tight: bool,
}

impl Run {
    fn new(is_tight: bool) -> Self {
        let classes = [PointClass::Alarm, PointClass::Measurement];
        let mut debts = Vec::new();
        for (device, class) in ["meter", "lamp", "pump"]
            .into_iter()
            .flat_map(|device| classes.map(|class| (device, class)))
        {
            debts.push(debt(
                if device == "pump" { "water" } else { "city" },
                device,
                class,
            ));
        }
        let options = Options {
            max_bytes: if is_tight { 2 * 4096 } else { 1 << 20 },
            ..small()
        };
        Self {
            bench: Bench::new(options),
            owed: debts.iter().map(|debt| (debt.clone(), Owed::default())).collect(),
            debts,
            next_seq: 1,
            taken: BTreeMap::new(),
            power: None,
            is_cut_off: false,
            is_tight,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit { stored, paid } => self.commit(&stored, &paid),
            Step::Take(debt, count) => {
                let seqs = self.next_seq..self.next_seq + count;
                self.next_seq += count;
                self.taken.entry(debt).or_default().push(seqs);
            }
            Step::StoreTaken(debt) => {
                let taken = self.taken.remove(&debt).unwrap_or_default();
                let batches = taken.into_iter().map(|seqs| (self.debts[debt].clone(), seqs));
                self.commit_all(Commit::default(), batches.collect(), BTreeMap::new());
            }
            Step::PayAll(debt) => self.commit(&[], &[(debt, 0, usize::MAX)]),
            Step::Load { debt, skip, limit } if !self.is_tight => self.load(debt, skip, limit),
            Step::Load { .. } => {}
            Step::FailWrite(after) => {
                self.bench.disk().failing_writes = [vec![false; after], vec![true]].concat()
            }
            Step::FailSync(after) => {
                self.bench.disk().failing_syncs = [vec![false; after], vec![true]].concat()
            }
            Step::LosePower { after, seed } => {
                self.bench.disk().power_fails_in = Some(after);
                self.power = Some(seed);
                for debt in 0..4 {
                    if self.is_cut_off {
                        break;
                    }
                    self.commit(&[(debt, 30)], &[(debt, 0, 10)]);
                }
                self.restart();
            }
            Step::Restart => self.restart(),
        }
    }

    fn commit(&mut self, stored: &[(usize, u64)], paid: &[(usize, usize, usize)]) {
        let mut commit = Commit::default();
        let mut settlements = BTreeMap::new();
        for (debt, from, count) in paid {
            let debt = self.debts[*debt].clone();
            let chosen: Vec<u64> = self.owed[&debt]
                .certain
                .iter()
                .copied()
                .skip(*from)
                .take(*count)
                .collect();
            if let (Some(first), Some(last)) = (chosen.first(), chosen.last()) {
                commit.settled.push(settled(&debt, [*first..=*last]));
                let range = *first..=*last;
                let possible = self.owed[&debt].possible.range(range).copied();
                let seqs: Vec<u64> = chosen.iter().copied().chain(possible).collect();
                settlements.entry(debt).or_insert_with(BTreeSet::new).extend(seqs);
            }
        }
        let mut added = Vec::new();
        for (debt, count) in stored {
            let seqs = self.next_seq..self.next_seq + count;
            self.next_seq += count;
            added.push((self.debts[*debt].clone(), seqs));
        }
        self.commit_all(commit, added, settlements);
    }

    fn commit_all(
        &mut self,
        mut commit: Commit,
        added: Vec<(Debt, std::ops::Range<u64>)>,
        settlements: BTreeMap<Debt, BTreeSet<u64>>,
    ) {
        for (debt, seqs) in &added {
            commit.batches.push(batch(debt, seqs.clone()));
        }
        commit.next_seq = self.next_seq;
        let heard = self.bench.gaps.len();
        let result = self.bench.commit(commit);
        if self.power.is_some() && result.is_err() {
            self.bench.gaps.truncate(heard);
            self.is_cut_off = true;
        }
        for (debt, seqs) in settlements {
            let owed = self.owed.get_mut(&debt).unwrap();
            for seq in seqs {
                if owed.certain.remove(&seq) || owed.possible.contains(&seq) {
                    let paid = if result.is_ok() {
                        &mut owed.paid
                    } else {
                        &mut owed.maybe_paid
                    };
                    paid.insert(seq);
                }
            }
        }
        for (debt, seqs) in added {
            let owed = self.owed.get_mut(&debt).unwrap();
            let into = if result.is_ok() {
                &mut owed.certain
            } else {
                &mut owed.possible
            };
            into.extend(seqs);
        }
        if result.is_ok() {
            // What earlier commits settled in memory is on disk with this one.
            for owed in self.owed.values_mut() {
                owed.paid.append(&mut owed.maybe_paid);
            }
        }
    }

    fn load(&mut self, debt: usize, skip: u64, limit: usize) {
        let debt = self.debts[debt].clone();
        let first = self.owed[&debt].certain.first().copied().unwrap_or_default();
        let loaded = self
            .bench
            .load(&debt, first + skip, limit)
            .expect("the disk reads");
        let seqs: Vec<u64> = loaded.iter().map(|loaded| loaded.seq).collect();
        let owed = &self.owed[&debt];
        // In memory only what was told to be stored is there, and what another start found.
        let certain: Vec<u64> = owed.certain.range(first + skip..).take(limit).copied().collect();
        let expected: Vec<u64> = seqs
            .iter()
            .filter(|seq| !owed.possible.contains(seq))
            .copied()
            .collect();
        assert!(certain.starts_with(&expected), "{expected:?} of {certain:?}");
        assert!(
            seqs.len() == limit || expected == certain,
            "{seqs:?} of {certain:?}"
        );
    }

    fn restart(&mut self) {
        self.taken.clear();
        self.forget_lost();
        self.is_cut_off = false;
        let power = self.power.take();
        let empty = Bench::new(small());
        let bench = std::mem::replace(&mut self.bench, empty);
        self.bench = bench.reopen_with(|disk| match power {
            Some(seed) => disk.crash(&mut StdRng::seed_from_u64(seed)),
            None => disk.restart(),
        });
        self.check();
    }

    /// What had to go was told, and is not certain any more.
    fn forget_lost(&mut self) {
        assert!(
            self.is_tight || self.bench.gaps.is_empty(),
            "{:?}",
            self.bench.gaps
        );
        for debt in self.debts.clone() {
            let found = BTreeSet::from_iter(self.bench.seqs(&debt));
            let gaps: Vec<_> = self.bench.gaps.iter().filter(|gap| gap.debt == debt).collect();
            let owed = self.owed.get_mut(&debt).unwrap();
            let gone: Vec<u64> = owed.certain.difference(&found).copied().collect();
            for seq in &gone {
                if !gaps.iter().any(|gap| gap.seqs.contains(seq)) {
                    assert!(self.is_cut_off, "{seq} of {debt:?} went untold");
                    continue;
                }
                owed.certain.remove(seq);
                owed.maybe_paid.insert(*seq);
            }
            let told: u64 = gaps.iter().map(|gap| gap.count).sum();
            assert!(gone.len() as u64 <= told || self.is_cut_off, "{debt:?}");
        }
    }

    fn check(&mut self) {
        let gaps = self.bench.contents.gaps.clone();
        assert!(
            gaps.iter()
                .all(|gap| self.is_tight && gap.reason == GapReason::Bound),
            "nothing is damaged: {gaps:?}"
        );
        self.bench.check_counts();
        let listed: BTreeMap<Debt, u64> = self
            .bench
            .contents
            .debts
            .iter()
            .map(|owing| (owing.debt.clone(), owing.count))
            .collect();
        for debt in self.debts.clone() {
            let found = BTreeSet::from_iter(self.bench.seqs(&debt));
            assert_eq!(
                found.len() as u64,
                listed.get(&debt).copied().unwrap_or_default(),
                "{debt:?}"
            );
            let owed = self.owed.get_mut(&debt).unwrap();
            let told = |seq: &u64| {
                let gaps = gaps.iter().filter(|gap| gap.debt == debt);
                gaps.filter(|gap| gap.seqs.contains(seq)).count() > 0
            };
            for seq in &owed.certain {
                assert!(found.contains(seq) || told(seq), "{seq} of {debt:?} is lost");
            }
            owed.certain.retain(|seq| found.contains(seq));
            for seq in &found {
                let known = owed.certain.contains(seq)
                    || owed.possible.contains(seq)
                    || owed.maybe_paid.contains(seq);
                assert!(
                    known,
                    "{seq} of {debt:?} is invented or came back; paid: {}",
                    owed.paid.contains(seq)
                );
            }
            // What came back although it was settled in memory only is owed, like what was not told to be stored.
            let again = BTreeSet::from_iter(found.difference(&owed.certain).copied());
            owed.possible = again;
            owed.maybe_paid.clear();
        }
        let is_torn = self.bench.statistics().set_aside_files > 0;
        assert!(
            self.bench.contents.next_seq <= self.next_seq || is_torn,
            "no number is left out without need"
        );
        self.next_seq = self.next_seq.max(self.bench.contents.next_seq);
        let highest = self
            .owed
            .values()
            .flat_map(|owed| owed.certain.iter().chain(&owed.paid))
            .max();
        assert!(
            highest.is_none_or(|highest| self.bench.contents.next_seq > *highest),
            "no number is given twice"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn no_history_loses_invents_or_repeats_a_durable_reading(steps in steps()) {
        let mut run = Run::new(false);
        for step in steps {
            run.step(step);
        }
        run.restart();
    }

    #[test]
    fn in_a_tight_log_nothing_goes_untold(steps in steps()) {
        let mut run = Run::new(true);
        for step in steps {
            run.step(step);
        }
        run.restart();
    }
}
