//! The log from outside: requests and replies, on a disk that loses, tears, fills up and fails.

mod bounds;
mod crashes;
mod damage;
mod disk_faults;
mod flow;
mod model;
mod repeatable;
mod times;

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::{Path, Timestamp, Value};

use super::{AccountBound, Log, Options};
use crate::buffer::{
    Batch, Commit, Contents, Debt, DiskError, Gap, Loaded, Moment, PointClass, Record, Reply, Request,
    Settled, Stream,
};
use crate::testing::CrashDisk;

pub(super) const T0: i64 = 1_760_000_000_000;

/// Returns options for small logs: segments of 4 KiB, eight of them.
pub(super) fn small() -> Options {
    Options {
        segment_bytes: 4096,
        max_bytes: 8 * 4096,
        accounts: BTreeMap::new(),
    }
}

pub(super) fn bounded(account: &str, max_bytes: u64, max_age_ms: Option<u64>) -> Options {
    let bound = AccountBound {
        max_bytes,
        max_age_ms,
    };
    Options {
        accounts: BTreeMap::from([(account.into(), bound)]),
        ..small()
    }
}

pub(super) fn at(ms: i64) -> Moment {
    Moment::Wall(Timestamp::from_unix_ms(T0 + ms))
}

pub(super) fn record(seq: u64) -> Record {
    Record {
        seq,
        path: Path::resource(3421, 0, (seq % 7) as u16),
        value: Value::Integer(seq as i64 * 37 % 1001),
        moment: at(seq as i64 * 10),
    }
}

pub(super) fn stream(device: &str, class: PointClass) -> Stream {
    Stream {
        device: device.into(),
        class,
    }
}

pub(super) fn debt(account: &str, device: &str, class: PointClass) -> Debt {
    Debt {
        account: account.into(),
        stream: stream(device, class),
    }
}

/// The readings of the meter at the city.
pub(super) fn meter() -> Debt {
    debt("city", "meter", PointClass::Measurement)
}

pub(super) fn batch(debt: &Debt, seqs: impl IntoIterator<Item = u64>) -> Batch {
    Batch {
        stream: debt.stream.clone(),
        accounts: vec![Arc::clone(&debt.account)],
        records: seqs.into_iter().map(record).collect(),
    }
}

pub(super) fn settled(debt: &Debt, seqs: impl IntoIterator<Item = std::ops::RangeInclusive<u64>>) -> Settled {
    Settled {
        debt: debt.clone(),
        seqs: seqs.into_iter().collect(),
    }
}

/// A log on a disk of its own.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) log: Log<CrashDisk>,
    pub(super) contents: Contents,
    pub(super) gaps: Vec<Gap>,
    pub(super) options: Options,
    next_id: u64,
}

impl Bench {
    pub(super) fn new(options: Options) -> Self {
        Self::on(CrashDisk::default(), options)
    }

    pub(super) fn on(disk: CrashDisk, options: Options) -> Self {
        let (log, contents) = Log::open(disk, options.clone()).expect("a log opens");
        Self {
            log,
            gaps: contents.gaps.clone(),
            contents,
            options,
            next_id: 0,
        }
    }

    /// Ends the process and starts it again.
    pub(super) fn reopen(self) -> Self {
        self.reopen_with(CrashDisk::restart)
    }

    pub(super) fn reopen_with(self, happen: impl FnOnce(&mut CrashDisk)) -> Self {
        let mut disk = self.log.into_disk();
        happen(&mut disk);
        Self::on(disk, self.options)
    }

    pub(super) fn disk(&mut self) -> &mut CrashDisk {
        &mut self.log.disk
    }

    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), DiskError> {
        self.next_id += 1;
        let commit = Commit {
            id: self.next_id,
            ..commit
        };
        let mut results = Vec::new();
        for reply in self.log.handle(Request::Commit(commit)) {
            match reply {
                Reply::Committed { id, result } => {
                    assert_eq!(id, self.next_id);
                    results.push(result);
                }
                Reply::Gap(gap) => self.gaps.push(gap),
                Reply::Loaded { .. } | Reply::Dropped { .. } => panic!("nobody asked for {reply:?}"),
            }
        }
        assert_eq!(results.len(), 1, "one answer");
        results.remove(0)
    }

    pub(super) fn store(
        &mut self,
        debt: &Debt,
        seqs: std::ops::RangeInclusive<u64>,
    ) -> Result<(), DiskError> {
        self.commit(Commit {
            next_seq: seqs.end() + 1,
            wall: Some(Timestamp::from_unix_ms(T0 + *seqs.end() as i64 * 10)),
            batches: vec![batch(debt, seqs)],
            ..Commit::default()
        })
    }

    pub(super) fn settle(
        &mut self,
        debt: &Debt,
        seqs: std::ops::RangeInclusive<u64>,
    ) -> Result<(), DiskError> {
        self.commit(Commit {
            settled: vec![settled(debt, [seqs])],
            ..Commit::default()
        })
    }

    pub(super) fn load(&mut self, debt: &Debt, from: u64, limit: usize) -> Result<Vec<Loaded>, DiskError> {
        let request = Request::Load {
            debt: debt.clone(),
            from,
            limit,
        };
        let mut loaded = None;
        for reply in self.log.handle(request) {
            match reply {
                Reply::Loaded { result, .. } => loaded = Some(result),
                Reply::Gap(gap) => self.gaps.push(gap),
                Reply::Committed { .. } | Reply::Dropped { .. } => panic!("nobody asked for {reply:?}"),
            }
        }
        loaded.expect("one answer")
    }

    pub(super) fn seqs(&mut self, debt: &Debt) -> Vec<u64> {
        let loaded = self.load(debt, 0, usize::MAX).expect("the disk reads");
        for loaded in &loaded {
            let stored = record(loaded.seq);
            assert_eq!((&loaded.path, &loaded.value), (&stored.path, &stored.value));
        }
        loaded.into_iter().map(|loaded| loaded.seq).collect()
    }

    pub(super) fn lost(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.count).sum()
    }

    pub(super) fn statistics(&self) -> super::Statistics {
        self.log.statistics()
    }

    /// Asserts that what is counted is what is there.
    pub(super) fn check_counts(&mut self) {
        let live = self.log.index.live_bytes();
        let by_segment: u64 = self
            .log
            .files
            .segments
            .keys()
            .map(|id| self.log.index.segment(*id).live_bytes)
            .sum();
        assert_eq!(live, by_segment);
        let streams: Vec<_> = self
            .log
            .index
            .streams()
            .map(|(id, stream)| (*id, stream.clone()))
            .collect();
        for (id, stream) in streams {
            for run in &stream.runs {
                for (account, owed) in &run.owed {
                    let seqs = self
                        .log
                        .owed_seqs(id, run.segment, *account, 0, u64::MAX, usize::MAX);
                    let seqs = seqs.expect("the disk reads");
                    assert_eq!(seqs.len(), *owed as usize, "{id:?} {account} in {run:?}");
                }
            }
        }
    }
}
