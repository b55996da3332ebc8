//! A disk that keeps what it is given in plain lists: what a test compares the gateway's wishes with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lwm2m_client::Timestamp;

use crate::buffer::{
    Anchor, Commit, Contents, Debt, DiskError, Gap, GapReason, Loaded, Moment, Owing, Record, Repeatable,
    Reply, Request, Stream,
};
use crate::limits;

/// The buffer, as durable as the test's memory.
#[derive(Debug, Default)]
pub(crate) struct TestBuffer {
    /// The readings that are owed to somebody.
    pub(crate) stored: BTreeMap<u64, Stored>,
    /// What was made durable, in order.
    pub(crate) commits: Vec<Commit>,
    /// The most loads that waited at one time.
    pub(crate) most_loads: usize,
    /// What every commit and every load comes to, where that is not well.
    pub(crate) failure: Option<DiskError>,
    /// Whether it takes its time: what is asked waits until [`catch_up`](Self::catch_up).
    pub(crate) is_slow: bool,
    waiting: VecDeque<Request>,
    boot: u32,
    next_seq: u64,
    anchors: BTreeMap<u32, Anchor>,
    /// The frames that may come again.
    pub(crate) repeatable: Vec<Repeatable>,
}

/// A reading on disk.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Of which stream.
    pub(crate) stream: Stream,
    /// The reading.
    pub(crate) record: Record,
    /// Who has not got it.
    pub(crate) owed: BTreeSet<Arc<str>>,
}

impl TestBuffer {
    /// Returns what a gateway finds that starts now; what was asked and not yet done is lost.
    pub(crate) fn contents(&mut self, boot: u32) -> Contents {
        self.boot = boot;
        self.waiting.clear();
        let mut debts: BTreeMap<Debt, Owing> = BTreeMap::new();
        for (seq, stored) in &self.stored {
            for account in &stored.owed {
                let debt = Debt {
                    account: Arc::clone(account),
                    stream: stored.stream.clone(),
                };
                let owing = debts.entry(debt.clone()).or_insert_with(|| Owing {
                    debt,
                    count: 0,
                    first: *seq,
                    oldest: wall(stored.record.moment),
                });
                owing.count += 1;
            }
        }
        Contents {
            boot,
            next_seq: self.next_seq,
            debts: debts.into_values().collect(),
            gaps: Vec::new(),
            repeatable: self.repeatable.clone(),
        }
    }

    /// Takes a request; returns what it comes to.
    pub(crate) fn handle(&mut self, request: Request) -> Vec<Reply> {
        if self.is_slow {
            self.waiting.push_back(request);
            let is_load = |request: &&Request| matches!(request, Request::Load { .. });
            self.most_loads = self.most_loads.max(self.waiting.iter().filter(is_load).count());
            return Vec::new();
        }
        match request {
            Request::Commit(commit) => vec![self.commit(commit)],
            Request::Load { debt, from, limit } => vec![self.load(debt, from, limit)],
            Request::DropOlder { than, account } => self.drop_older(than, account.as_ref()),
        }
    }

    /// Does what has waited.
    pub(crate) fn catch_up(&mut self) -> Vec<Reply> {
        self.is_slow = false;
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .flat_map(|request| self.handle(request))
            .collect()
    }

    /// Returns how many readings were written, over all commits.
    pub(crate) fn written(&self) -> usize {
        let batches = self.commits.iter().flat_map(|commit| &commit.batches);
        batches.map(|batch| batch.records.len()).sum()
    }

    fn commit(&mut self, commit: Commit) -> Reply {
        let id = commit.id;
        if let Some(failure) = self.failure.clone() {
            let result = Err(failure);
            return Reply::Committed { id, result };
        }
        assert!(commit.next_seq >= self.next_seq, "numbers only grow");
        self.next_seq = commit.next_seq;
        self.anchors
            .extend(commit.anchor.map(|anchor| (self.boot, anchor)));
        for settled in &commit.settled {
            assert!(!settled.seqs.is_empty());
            for (seq, stored) in &mut self.stored {
                if stored.stream == settled.debt.stream
                    && settled.seqs.iter().any(|range| range.contains(seq))
                {
                    stored.owed.remove(&settled.debt.account);
                }
            }
        }
        self.stored.retain(|_, stored| !stored.owed.is_empty());
        for batch in &commit.batches {
            assert!(!batch.accounts.is_empty() && batch.accounts.is_sorted());
            assert!(batch.records.is_sorted_by_key(|record| record.seq) && !batch.records.is_empty());
            for record in &batch.records {
                assert!(record.seq < self.next_seq);
                let stored = Stored {
                    stream: batch.stream.clone(),
                    record: record.clone(),
                    owed: batch.accounts.iter().cloned().collect(),
                };
                assert!(self.stored.insert(record.seq, stored).is_none(), "stored twice");
            }
        }
        self.repeatable
            .clone_from(commit.repeatable.as_ref().unwrap_or(&self.repeatable.clone()));
        if let Some(repeatable) = &commit.repeatable {
            assert!(repeatable.len() <= limits::MAX_REPEATABLE);
            self.repeatable.clone_from(repeatable);
        }
        self.commits.push(commit);
        Reply::Committed { id, result: Ok(()) }
    }

    fn load(&self, debt: Debt, from: u64, limit: usize) -> Reply {
        let owed = self
            .stored
            .range(from..)
            .filter(|(_, stored)| stored.stream == debt.stream && stored.owed.contains(&debt.account))
            .map(|(_, stored)| self.loaded(&stored.record));
        let loaded = owed.take(limit).collect();
        let result = self.failure.clone().map_or(Ok(loaded), Err);
        Reply::Loaded { debt, from, result }
    }

    fn loaded(&self, record: &Record) -> Loaded {
        let (moment, is_estimated) = match record.moment {
            Moment::Boot { boot, ms } if boot != self.boot => match self.anchors.get(&boot) {
                Some(anchor) => {
                    let ms = anchor.wall.unix_ms() - anchor.ms as i64 + ms as i64;
                    (Moment::Wall(Timestamp::from_unix_ms(ms)), false)
                }
                None => (Moment::Wall(self.placed(record.seq)), true),
            },
            moment @ (Moment::Boot { .. } | Moment::Wall(_)) => (moment, false),
        };
        Loaded {
            seq: record.seq,
            path: record.path,
            value: record.value.clone(),
            moment,
            is_estimated,
        }
    }

    /// Places a reading a number of milliseconds after 2020 that is its own.
    fn placed(&self, seq: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_577_836_800_000 + i64::try_from(seq).unwrap())
    }

    fn drop_older(&mut self, than: Timestamp, account: Option<&Arc<str>>) -> Vec<Reply> {
        let mut gaps: BTreeMap<Debt, Gap> = BTreeMap::new();
        let mut count = 0;
        for (seq, stored) in &mut self.stored {
            if wall(stored.record.moment).is_none_or(|wall| wall >= than) {
                continue;
            }
            let of: Vec<_> = stored
                .owed
                .iter()
                .filter(|owed| account.is_none_or(|a| a == *owed))
                .cloned()
                .collect();
            for account in of {
                stored.owed.remove(&account);
                count += 1;
                let debt = Debt {
                    account,
                    stream: stored.stream.clone(),
                };
                let gap = gaps.entry(debt.clone()).or_insert_with(|| Gap {
                    debt,
                    count: 0,
                    seqs: *seq..=*seq,
                    times: None,
                    reason: GapReason::Dropped,
                });
                gap.count += 1;
                gap.seqs = *gap.seqs.start()..=*seq;
            }
        }
        self.stored.retain(|_, stored| !stored.owed.is_empty());
        let gaps = gaps.into_values().map(Reply::Gap);
        gaps.chain([Reply::Dropped { count }]).collect()
    }
}

fn wall(moment: Moment) -> Option<Timestamp> {
    match moment {
        Moment::Wall(time) => Some(time),
        Moment::Boot { .. } => None,
    }
}
