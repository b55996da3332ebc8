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
}

/// What a commit changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) stored: Vec<Record>,
    pub(super) settled: Vec<Record>,
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

    /// Takes what a start has found, and compares it with what must be there: of a commit that was never answered all
    /// or nothing. Says whether that one is there.
    ///
    /// # Errors
    /// When it differs.
    pub(super) fn open(
        &mut self,
        contents: &Contents,
        unanswered: Option<&Commit>,
    ) -> Result<Option<Changed>, String> {
        let found = found(&contents.debts);
        if contents.next_seq < self.next_seq || contents.boot <= self.boot {
            return Err(format!(
                "start {} goes on with number {} after start {} with number {}",
                contents.boot, contents.next_seq, self.boot, self.next_seq
            ));
        }
        self.boot = contents.boot;
        if found == self.summary() {
            return Ok(None);
        }
        let without = format!("{:?}", self.summary());
        let changed = unanswered.map(|commit| self.commit(commit));
        if found == self.summary() {
            return Ok(changed);
        }
        Err(format!(
            "the buffer holds {found:?} where {without} was durable, and {:?} with the last commit",
            self.summary()
        ))
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
