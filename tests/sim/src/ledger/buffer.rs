//! What the buffer on disk must hold, told by what was asked of it and what it answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ucifi_core::buffer::{Commit, Contents, Debt, Gap, GapReason, Loaded, Moment, Owing, Record, Settled};

/// What is owed to whom, by the numbers of the records.
type Owed = BTreeMap<Debt, BTreeMap<u64, Record>>;

/// A reading, and the server that it is owed to.
pub(super) type OwedTo = (Arc<str>, Record);

/// A buffer as it ought to be.
#[derive(Debug, Default)]
pub(super) struct ExpectedBuffer {
    owed: Owed,
    /// What was stored while the clock was not set: it does not age.
    ageless: BTreeSet<u64>,
    /// In which commit what was stored: what waits for an acknowledgement is stored later than what came after it.
    stored_in: BTreeMap<u64, u64>,
    commits: u64,
    next_seq: u64,
    boot: u32,
    /// Whether anything was written since the last start.
    has_written: bool,
    /// What was told since the last commit that succeeded: that it is gone may not be durable.
    told: Vec<Told>,
    /// What the last start was told. It is told again by the next one if no more than one commit comes between.
    told_at_start: Vec<Gap>,
    /// What may be told again.
    known: Vec<Gap>,
}

/// Readings that had to go.
#[derive(Clone, Debug)]
struct Told {
    gap: Gap,
    gone: Vec<Record>,
    /// How many commits had failed by then: it is durable with the next one.
    failed: usize,
}

/// What a commit changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) stored: Vec<OwedTo>,
    pub(super) settled: Vec<OwedTo>,
}

/// What a start found to have changed.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// What the commits in doubt did that are durable.
    pub(super) changed: Changed,
    /// What had to go, as the start was told.
    pub(super) gone: Vec<OwedTo>,
    /// What had to go as was told before, and is there after all.
    pub(super) back: Vec<OwedTo>,
}

/// Commits of which nobody knows whether they are durable.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Those that failed since the last one that did not.
    pub(super) failed: Vec<Commit>,
    /// The one that the store was at work on when the gateway went down.
    pub(super) unanswered: Option<Commit>,
}

/// Which of the commits in doubt are durable.
#[derive(Clone, Copy, Debug)]
struct Case<'c> {
    /// One of those that failed: the buffer closes what it wrote before it writes the next.
    failed: Option<(usize, &'c Commit)>,
    unanswered: Option<&'c Commit>,
}

impl<'c> Case<'c> {
    fn commits(self) -> impl Iterator<Item = &'c Commit> {
        let failed = self.failed.map(|(_, commit)| commit);
        failed.into_iter().chain(self.unanswered)
    }

    /// Says whether it is durable that something is gone that was told after so many failures.
    fn has(self, failures: usize) -> bool {
        self.unanswered.is_some() || self.failed.is_some_and(|(place, _)| failures <= place)
    }
}

impl Doubt {
    /// Returns what may be there, the least first.
    fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        let lasts = std::iter::once(None).chain(self.unanswered.as_ref().map(Some));
        lasts.flat_map(|unanswered| {
            let failed = std::iter::once(None).chain(self.failed.iter().enumerate().map(Some));
            failed.map(move |failed| Case { failed, unanswered })
        })
    }
}

impl ExpectedBuffer {
    /// Takes a commit that is durable.
    pub(super) fn commit(&mut self, commit: &Commit) -> Changed {
        let mut changed = Changed::default();
        self.store(commit, &mut changed);
        self.settle(commit, &mut changed);
        self.known = std::mem::take(&mut self.told_at_start);
        self.known.extend(self.told.drain(..).map(|told| told.gap));
        self.has_written |= !changed.stored.is_empty();
        changed
    }

    fn store(&mut self, commit: &Commit, changed: &mut Changed) {
        self.commits += 1;
        for batch in &commit.batches {
            let seqs = batch.records.iter().map(|record| (record.seq, self.commits));
            self.stored_in.extend(seqs);
            for account in &batch.accounts {
                let debt = Debt {
                    account: account.clone(),
                    stream: batch.stream.clone(),
                };
                let owed = self.owed.entry(debt).or_default();
                owed.extend(batch.records.iter().map(|record| (record.seq, record.clone())));
                changed.stored.extend(owed_to(account, &batch.records));
            }
            if commit.wall.is_none() {
                self.ageless.extend(batch.records.iter().map(|record| record.seq));
            }
        }
        self.next_seq = self.next_seq.max(commit.next_seq);
    }

    fn settle(&mut self, commit: &Commit, changed: &mut Changed) {
        for settled in &commit.settled {
            let owed = self.owed.entry(settled.debt.clone()).or_default();
            for seqs in &settled.seqs {
                let gone: Vec<u64> = owed.range(seqs.clone()).map(|(seq, _)| *seq).collect();
                let gone: Vec<Record> = gone.iter().filter_map(|seq| owed.remove(seq)).collect();
                changed.settled.extend(owed_to(&settled.debt.account, &gone));
            }
        }
    }

    /// Takes readings that had to go while the gateway was on; returns them. The buffer has taken note by then of what
    /// a commit settles that is carried out, and those before that failed.
    ///
    /// # Errors
    /// When the gap does not say exactly what was owed.
    pub(super) fn take_gap(
        &mut self,
        gap: &Gap,
        commit: Option<&Commit>,
        doubt: &Doubt,
    ) -> Result<Vec<OwedTo>, String> {
        let gone = self.remove(gap, settled_in(doubt.failed.iter().chain(commit), &gap.debt))?;
        self.told.push(Told {
            gap: gap.clone(),
            gone: gone.clone(),
            failed: doubt.failed.len(),
        });
        Ok(owed_to(&gap.debt.account, &gone).collect())
    }

    fn remove(&mut self, gap: &Gap, is_settled: impl Fn(u64) -> bool) -> Result<Vec<Record>, String> {
        let owed = self.owed.entry(gap.debt.clone()).or_default();
        let is_kept = |seq: &u64| gap.reason == GapReason::Age && self.ageless.contains(seq);
        let seqs = owed.range(gap.seqs.clone()).map(|(seq, _)| *seq);
        let mut seqs: Vec<u64> = seqs.filter(|seq| !is_settled(*seq) && !is_kept(seq)).collect();
        // What was stored last goes last.
        seqs.sort_by_key(|seq| (self.stored_in.get(seq), *seq));
        seqs.truncate(usize::try_from(gap.count).unwrap_or(usize::MAX));
        seqs.sort_unstable();
        let ends = (seqs.first(), seqs.last()) == (Some(gap.seqs.start()), Some(gap.seqs.end()));
        if seqs.len() as u64 != gap.count || !ends {
            return Err(format!("{gap:?} where these were owed: {seqs:?}"));
        }
        Ok(seqs.iter().filter_map(|seq| owed.remove(seq)).collect())
    }

    /// Checks readings that the buffer gave, as many as were asked for. What commits settle that failed is settled as
    /// long as the gateway is on.
    ///
    /// # Errors
    /// When they are not the first ones that are owed.
    pub(super) fn check_loaded(
        &self,
        debt: &Debt,
        from: u64,
        limit: usize,
        (loaded, doubt): (&[Loaded], &Doubt),
    ) -> Result<(), String> {
        let none = BTreeMap::new();
        let owed = self.owed.get(debt).unwrap_or(&none);
        let is_settled = settled_in(doubt.failed.iter(), debt);
        let open = owed.range(from..).filter(|(seq, _)| !is_settled(**seq));
        let expected: Vec<&Record> = open.take(limit).map(|(_, record)| record).collect();
        let is_same = |(loaded, record): (&Loaded, &&Record)| {
            let is_timed = match record.moment {
                Moment::Wall(_) => loaded.moment == record.moment && !loaded.is_estimated,
                Moment::Boot { .. } => true,
            };
            loaded.seq == record.seq && loaded.path == record.path && loaded.value == record.value && is_timed
        };
        if loaded.len() == expected.len() && loaded.iter().zip(&expected).all(is_same) {
            return Ok(());
        }
        Err(format!(
            "{debt:?} from {from}: {loaded:?} were loaded where {expected:?} are owed"
        ))
    }

    /// Takes what a start has found, and compares it with what must be there. Of each of the commits in `doubt`, which
    /// failed or were never answered, all or nothing may be there. What went for one that is there is told; what was
    /// told to go for one that is not is there.
    ///
    /// # Errors
    /// When it differs.
    pub(super) fn open(&mut self, contents: &Contents, doubt: &Doubt) -> Result<Opened, String> {
        // The number of a start that wrote nothing may be given again: nothing refers to it.
        if contents.next_seq < self.next_seq || contents.boot < self.boot + u32::from(self.has_written) {
            return Err(format!(
                "start {} goes on with number {} after start {} with number {}",
                contents.boot, contents.next_seq, self.boot, self.next_seq
            ));
        }
        (self.boot, self.has_written) = (contents.boot, false);
        let found = found(&contents.debts);
        let before = self.owed.clone();
        let told = std::mem::take(&mut self.told);
        let known = std::mem::take(&mut self.known);
        (self.told_at_start, self.known) = (contents.gaps.clone(), contents.gaps.clone());
        let mut reasons = Vec::new();
        for case in doubt.cases() {
            self.owed.clone_from(&before);
            match self.take_case(case, &told, &known, &contents.gaps) {
                Ok(opened) if found == self.summary() => return Ok(opened),
                Ok(_) => reasons.push(self.differences(&found)),
                Err(reason) => reasons.push(reason),
            }
        }
        self.owed = before;
        Err(format!("other readings than expected were durable: {reasons:?}"))
    }

    fn take_case(
        &mut self,
        case: Case<'_>,
        told: &[Told],
        known: &[Gap],
        gaps: &[Gap],
    ) -> Result<Opened, String> {
        let mut opened = Opened::default();
        let mut known: Vec<&Gap> = known.iter().collect();
        for told in told {
            if case.has(told.failed) {
                known.push(&told.gap);
                continue;
            }
            let owed = self.owed.entry(told.gap.debt.clone()).or_default();
            owed.extend(told.gone.iter().map(|record| (record.seq, record.clone())));
            opened.back.extend(owed_to(&told.gap.debt.account, &told.gone));
        }
        for commit in case.commits() {
            self.settle(commit, &mut opened.changed);
        }
        for gap in gaps.iter().filter(|gap| !known.contains(gap)) {
            let gone = self.remove(gap, |_| false)?;
            opened.gone.extend(owed_to(&gap.debt.account, &gone));
        }
        for commit in case.commits() {
            self.store(commit, &mut opened.changed);
            self.settle(commit, &mut opened.changed);
        }
        Ok(opened)
    }

    fn differences(&self, found: &BTreeMap<&Debt, (u64, u64)>) -> String {
        let expected = self.summary();
        let differs = |debt: &&&Debt| found.get(**debt) != expected.get(**debt);
        let debts = found.keys().chain(expected.keys()).filter(differs);
        let debts: Vec<String> = debts
            .map(|debt| format!("{debt:?}: {:?} where {:?}", found.get(debt), expected.get(debt)))
            .collect();
        format!("{debts:?}")
    }

    /// How many, and the first number, of each debt.
    fn summary(&self) -> BTreeMap<&Debt, (u64, u64)> {
        let owing = self.owed.iter().filter_map(|(debt, owed)| {
            let (first, _) = owed.first_key_value()?;
            Some((debt, (owed.len() as u64, *first)))
        });
        owing.collect()
    }
}

/// Says of a number whether one of these commits settles it.
fn settled_in<'c, C>(commits: C, debt: &Debt) -> impl Fn(u64) -> bool + use<'c, C>
where
    C: Iterator<Item = &'c Commit>,
{
    let settled: Vec<&Settled> = commits
        .flat_map(|commit| &commit.settled)
        .filter(|settled| settled.debt == *debt)
        .collect();
    move |seq| {
        let mut seqs = settled.iter().flat_map(|settled| &settled.seqs);
        seqs.any(|seqs| seqs.contains(&seq))
    }
}

fn owed_to<'r>(account: &'r Arc<str>, records: &'r [Record]) -> impl Iterator<Item = OwedTo> + 'r {
    records.iter().map(|record| (Arc::clone(account), record.clone()))
}

fn found(debts: &[Owing]) -> BTreeMap<&Debt, (u64, u64)> {
    let owing = debts.iter().filter(|owing| owing.count > 0);
    owing
        .map(|owing| (&owing.debt, (owing.count, owing.first)))
        .collect()
}
