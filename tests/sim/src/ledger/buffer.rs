//! What the buffer on disk must hold, told by what was asked of it and what it answered.

use std::collections::BTreeMap;

use ucifi_core::buffer::{Commit, Contents, Debt, Gap, Loaded, Moment, Owing, Record};

/// What is owed to whom, by the numbers of the records.
type Owed = BTreeMap<Debt, BTreeMap<u64, Record>>;

/// A buffer as it ought to be.
#[derive(Debug, Default)]
pub(super) struct ExpectedBuffer {
    owed: Owed,
    next_seq: u64,
    boot: u32,
    /// Whether anything was written since the last start.
    has_written: bool,
}

/// What a commit changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) stored: Vec<Record>,
    pub(super) settled: Vec<Record>,
}

/// Commits of which nobody knows whether they are durable.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Those that failed since the last one that did not.
    pub(super) failed: Vec<Commit>,
    /// The one that the store was at work on when the gateway went down.
    pub(super) unanswered: Option<Commit>,
}

impl Doubt {
    /// Returns what may be there, the least first.
    fn possible(&self) -> Vec<Vec<&Commit>> {
        let mut possible: Vec<Vec<&Commit>> = vec![Vec::new()];
        possible.extend(self.failed.iter().map(|commit| vec![commit]));
        let mut with_last = possible.clone();
        for commits in &mut with_last {
            commits.extend(&self.unanswered);
        }
        possible.extend(with_last);
        possible
    }
}

impl ExpectedBuffer {
    /// Takes a commit that is durable.
    pub(super) fn commit(&mut self, commit: &Commit) -> Changed {
        let mut changed = Changed::default();
        for batch in &commit.batches {
            for account in &batch.accounts {
                let debt = Debt {
                    account: account.clone(),
                    stream: batch.stream.clone(),
                };
                let owed = self.owed.entry(debt).or_default();
                owed.extend(batch.records.iter().map(|record| (record.seq, record.clone())));
            }
            changed.stored.extend_from_slice(&batch.records);
        }
        for settled in &commit.settled {
            let owed = self.owed.entry(settled.debt.clone()).or_default();
            for seqs in &settled.seqs {
                let gone: Vec<u64> = owed.range(seqs.clone()).map(|(seq, _)| *seq).collect();
                changed
                    .settled
                    .extend(gone.iter().filter_map(|seq| owed.remove(seq)));
            }
        }
        self.next_seq = self.next_seq.max(commit.next_seq);
        self.has_written |= !changed.stored.is_empty();
        changed
    }

    /// Takes readings that had to go; returns them.
    ///
    /// # Errors
    /// When the gap does not say exactly what was owed.
    pub(super) fn take_gap(&mut self, gap: &Gap) -> Result<Vec<Record>, String> {
        let owed = self.owed.entry(gap.debt.clone()).or_default();
        let seqs: Vec<u64> = owed.range(gap.seqs.clone()).map(|(seq, _)| *seq).collect();
        let ends = (seqs.first(), seqs.last()) == (Some(gap.seqs.start()), Some(gap.seqs.end()));
        if seqs.len() as u64 != gap.count || !ends {
            return Err(format!("{gap:?} where these were owed: {seqs:?}"));
        }
        Ok(seqs.iter().filter_map(|seq| owed.remove(seq)).collect())
    }

    /// Checks readings that the buffer gave, as many as were asked for.
    ///
    /// # Errors
    /// When they are not the first ones that are owed.
    pub(super) fn check_loaded(
        &self,
        debt: &Debt,
        from: u64,
        limit: usize,
        loaded: &[Loaded],
    ) -> Result<(), String> {
        let none = BTreeMap::new();
        let owed = self.owed.get(debt).unwrap_or(&none);
        let expected: Vec<&Record> = owed.range(from..).take(limit).map(|(_, record)| record).collect();
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
    /// failed or were never answered, all or nothing may be there; and if the last one was never answered, the oldest
    /// readings of a debt may have gone for it without a word. Returns the commits that are there, and the readings
    /// that have gone.
    ///
    /// # Errors
    /// When it differs.
    pub(super) fn open(
        &mut self,
        contents: &Contents,
        doubt: &Doubt,
    ) -> Result<(Changed, Vec<Record>), String> {
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
        for commits in doubt.possible() {
            self.owed.clone_from(&before);
            let mut all = Changed::default();
            for changed in commits.iter().map(|commit| self.commit(commit)) {
                all.stored.extend(changed.stored);
                all.settled.extend(changed.settled);
            }
            self.has_written = false;
            if found == self.summary() {
                return Ok((all, Vec::new()));
            }
            let has_last = doubt.unanswered.is_some() && commits.last().copied() == doubt.unanswered.as_ref();
            if has_last && let Some(gone) = self.let_go(&found) {
                return Ok((all, gone));
            }
        }
        self.owed = before;
        let expected = self.summary();
        let differs = |debt: &&&Debt| found.get(**debt) != expected.get(**debt);
        let debts = found.keys().chain(expected.keys()).filter(differs);
        let debts: Vec<String> = debts
            .map(|debt| format!("{debt:?}: {:?} where {:?}", found.get(debt), expected.get(debt)))
            .collect();
        Err(format!("other readings than expected were durable: {debts:?}"))
    }

    /// Lets the oldest readings of debts go where fewer are found; none where that does not make it equal.
    fn let_go(&mut self, found: &BTreeMap<&Debt, (u64, u64)>) -> Option<Vec<Record>> {
        let mut gone = Vec::new();
        for (debt, owed) in &mut self.owed {
            let left = found.get(debt).map_or(0, |(count, _)| *count);
            while owed.len() as u64 > left {
                gone.extend(owed.pop_first().map(|(_, record)| record));
            }
        }
        (*found == self.summary()).then_some(gone)
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

fn found(debts: &[Owing]) -> BTreeMap<&Debt, (u64, u64)> {
    let owing = debts.iter().filter(|owing| owing.count > 0);
    owing
        .map(|owing| (&owing.debt, (owing.count, owing.first)))
        .collect()
}
