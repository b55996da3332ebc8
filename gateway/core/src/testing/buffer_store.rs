//! A buffer in memory that keeps every promise, or none: what a gateway owes across restarts in tests.

use std::collections::BTreeMap;

use crate::buffer::{Commit, Contents, Debt, DiskError, Loaded, Owing, Record, Reply, Request};

/// What is durable.
#[derive(Debug, Default)]
pub(crate) struct BufferStore {
    /// Whether commits fail.
    pub(crate) fails: bool,
    next_seq: u64,
    owed: BTreeMap<Debt, BTreeMap<u64, Record>>,
}

impl BufferStore {
    /// Carries out a request.
    pub(crate) fn handle(&mut self, request: Request) -> Vec<Reply> {
        match request {
            Request::Commit(commit) => {
                let id = commit.id;
                let result = if self.fails { Err(DiskError::Full) } else { Ok(()) };
                if result.is_ok() {
                    self.commit(commit);
                }
                vec![Reply::Committed { id, result }]
            }
            Request::Load { debt, from, limit } => {
                let records = self.owed.get(&debt).into_iter().flatten();
                let loaded = records
                    .filter(|(seq, _)| **seq >= from)
                    .map(|(_, record)| Loaded {
                        seq: record.seq,
                        path: record.path,
                        value: record.value.clone(),
                        moment: record.moment,
                        is_estimated: false,
                    });
                let result = Ok(loaded.take(limit).collect());
                vec![Reply::Loaded { debt, from, result }]
            }
            Request::DropOlder { .. } => vec![Reply::Dropped { count: 0 }],
        }
    }

    /// Returns what it holds at the start with this number.
    pub(crate) fn contents(&self, boot: u32) -> Contents {
        let owing = self.owed.iter().filter_map(|(debt, records)| {
            Some(Owing {
                debt: debt.clone(),
                count: records.len() as u64,
                first: *records.first_key_value()?.0,
                oldest: None,
            })
        });
        Contents {
            boot,
            next_seq: self.next_seq.max(1),
            debts: owing.collect(),
            gaps: Vec::new(),
        }
    }

    fn commit(&mut self, commit: Commit) {
        self.next_seq = commit.next_seq;
        for batch in commit.batches {
            for account in batch.accounts {
                let stream = batch.stream.clone();
                let owed = self.owed.entry(Debt { account, stream }).or_default();
                owed.extend(batch.records.iter().map(|record| (record.seq, record.clone())));
            }
        }
        for settled in commit.settled {
            let owed = self.owed.entry(settled.debt).or_default();
            owed.retain(|seq, _| !settled.seqs.iter().any(|seqs| seqs.contains(seq)));
        }
    }
}
