//! The real buffer and the real state in a folder: what a writer does with it, and what is found in it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use ucifi_core::buffer::log::{Options, visit};
use ucifi_core::buffer::{Batch, Commit, Debt, Gap, GapReason, Loaded, Owing, Reply, Request, Settled};
use ucifi_core::state::{Change, SaveRequest};
use ucifi_gateway::store::{FileDisk, buffer_folder};

use crate::keeper::Keeper;
use crate::load::{debts, names, record, streams, value};
use crate::said::Said;

/// Small, so that segments fill up, are freed and are used again within a life.
const SEGMENT_BYTES: u64 = 64 * 1024;
const MAX_BYTES: u64 = 8 << 20;
const LOAD: usize = 200;

pub(crate) struct Kept<'s> {
    keeper: Keeper,
    /// What the state held when it was opened.
    pub(crate) values: BTreeMap<String, Vec<u8>>,
    /// Whether they came from a copy of the state.
    pub(crate) may_be_old: bool,
    /// What the buffer said of its content when it was opened.
    owing: Vec<Owing>,
    /// What had to go for the last commits of the life before.
    pub(crate) gaps: Vec<Said>,
    life: u32,
    next_seq: u64,
    next_id: u64,
    rng: StdRng,
    /// How often in ten rounds servers are there to take what is owed.
    taking: u32,
    say: &'s mut dyn FnMut(Said),
}

impl<'s> Kept<'s> {
    /// Opens what is kept in a folder.
    pub(crate) fn open(folder: &Path, life: u32, say: &'s mut dyn FnMut(Said)) -> anyhow::Result<Self> {
        let options = Options {
            segment_bytes: SEGMENT_BYTES,
            max_bytes: MAX_BYTES,
            ..Options::default()
        };
        let (keeper, kept) = Keeper::open(folder, options, life.is_multiple_of(2))?;
        let (saved, contents) = (kept.saved, kept.contents);
        let is_damaged = contents.gaps.iter().any(|gap| gap.reason == GapReason::Corrupt);
        ensure!(!is_damaged, "the buffer is damaged: {:?}", contents.gaps);
        say(Said::Opened {
            boot: contents.boot,
            next_seq: contents.next_seq,
        });
        let mut rng = StdRng::seed_from_u64(u64::from(life));
        Ok(Self {
            keeper,
            may_be_old: saved.may_be_old,
            values: saved.values,
            owing: contents.debts,
            gaps: contents.gaps.iter().map(said_of).collect(),
            life,
            next_seq: contents.next_seq,
            next_id: 1,
            taking: *[0, 3, 8].iter().choose(&mut rng).expect("three of them"),
            rng,
            say,
        })
    }

    /// Commits or saves something.
    pub(crate) fn round(&mut self) -> anyhow::Result<()> {
        self.gaps.drain(..).for_each(|gap| (self.say)(gap));
        self.next_id += 1;
        if self.rng.random_range(0..4) == 0 {
            self.save();
            return Ok(());
        }
        self.commit()
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        let commit = Commit {
            id: self.next_id,
            batches: self.take(),
            settled: self.settle()?,
            next_seq: self.next_seq,
            ..Commit::default()
        };
        (self.say)(asks(&commit));
        for reply in self.keeper.request(Request::Commit(commit))? {
            self.hear(reply);
        }
        Ok(())
    }

    fn save(&mut self) {
        let id = self.next_id;
        let mut names = names();
        names.retain(|_| self.rng.random_range(0..10) == 0);
        let change = |name: &String| Change {
            name: name.clone(),
            value: value(name, self.life, id),
        };
        let changes = names.iter().map(change).collect();
        (self.say)(Said::Saves { id, names });
        (self.say)(
            match self.keeper.save(SaveRequest {
                id,
                changes,
                is_current: false,
            }) {
                Ok(()) => Said::Saved { id },
                Err(error) => Said::SavedNot {
                    id,
                    reason: error.to_string(),
                },
            },
        );
    }

    /// Closes in order.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        self.keeper.close()
    }

    /// Returns all that is owed, by debts, before anything is written.
    pub(crate) fn find(&mut self) -> anyhow::Result<Vec<Vec<Loaded>>> {
        let found = self.load_all()?;
        for ((_, debt), found) in debts().into_iter().zip(&found) {
            let owing = self.owing.iter().find(|owing| owing.debt == debt);
            let told = owing.map_or((0, None), |owing| (owing.count, Some(owing.first)));
            let is = (found.len() as u64, found.first().map(|loaded| loaded.seq));
            ensure!(told == is, "{debt:?}: told {told:?} and found {is:?}");
        }
        Ok(found)
    }

    fn load_all(&mut self) -> anyhow::Result<Vec<Vec<Loaded>>> {
        let each = debts().into_iter().map(|(_, debt)| {
            let mut found: Vec<Loaded> = Vec::new();
            loop {
                let from = found.last().map_or(0, |loaded| loaded.seq + 1);
                let mut next = self.load(&debt, from)?;
                if next.is_empty() {
                    return Ok(found);
                }
                found.append(&mut next);
            }
        });
        each.collect()
    }

    /// Takes new readings of some streams.
    fn take(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for (stream, accounts) in streams() {
            let count = if self.rng.random() {
                self.rng.random_range(1..30)
            } else {
                0
            };
            let mut seqs = Vec::new();
            for _ in 0..count {
                // Numbers between belong to readings that were paid before they had to be stored.
                self.next_seq += if self.rng.random_range(0..5) == 0 { 3 } else { 1 };
                seqs.push(self.next_seq - 1);
            }
            if !seqs.is_empty() {
                batches.push(Batch {
                    stream,
                    accounts,
                    records: seqs.into_iter().map(|seq| record(seq, self.life)).collect(),
                });
            }
        }
        batches
    }

    /// Takes what some servers have got, from the oldest on and sometimes with holes.
    fn settle(&mut self) -> anyhow::Result<Vec<Settled>> {
        let mut settled = Vec::new();
        for (_, debt) in debts() {
            // One server never takes anything of one stream: what it is owed keeps its place on the disk.
            let is_stuck = &*debt.account == "utility" && &*debt.stream.device == "meter-2";
            if is_stuck || self.rng.random_range(0..10) >= self.taking {
                continue;
            }
            let mut seqs: Vec<u64> = self.load(&debt, 0)?.iter().map(|loaded| loaded.seq).collect();
            if self.rng.random_range(0..4) == 0 {
                self.leave_holes(&mut seqs);
            }
            if !seqs.is_empty() {
                settled.push(Settled {
                    debt,
                    seqs: ranges(&seqs),
                });
            }
        }
        Ok(settled)
    }

    /// Leaves some numbers out: fewer holes than the buffer remembers the readings between.
    fn leave_holes(&mut self, seqs: &mut Vec<u64>) {
        for _ in 0..3 {
            let from = self.rng.random_range(0..=seqs.len());
            let to = (from + self.rng.random_range(1..10)).min(seqs.len());
            seqs.drain(from..to);
        }
    }

    fn load(&mut self, debt: &Debt, from: u64) -> anyhow::Result<Vec<Loaded>> {
        let load = Request::Load {
            debt: debt.clone(),
            from,
            limit: LOAD,
        };
        let mut loaded = None;
        for reply in self.keeper.request(load)? {
            if let Reply::Loaded { result, .. } = reply {
                loaded = Some(result?);
            } else {
                self.hear(reply);
            }
        }
        loaded.context("a load is answered")
    }

    fn hear(&mut self, reply: Reply) {
        match reply {
            Reply::Committed { id, result: Ok(()) } => (self.say)(Said::Has { id }),
            Reply::Committed {
                id,
                result: Err(error),
            } => (self.say)(Said::HasNot {
                id,
                reason: error.to_string(),
            }),
            Reply::Gap(gap) => (self.say)(said_of(&gap)),
            Reply::Loaded { .. } | Reply::Dropped { .. } => {}
        }
    }
}

/// Returns what is owed, by debts, as whoever looks at a folder from outside sees it: nothing is changed.
pub(crate) fn look_at(folder: &Path) -> anyhow::Result<Vec<Vec<Loaded>>> {
    let debts = debts();
    let mut seen = vec![Vec::new(); debts.len()];
    let folder = buffer_folder(folder);
    if folder.exists() {
        visit(&FileDisk::open_read_only(&folder)?, &mut |debt, loaded| {
            let place = debts.iter().position(|(_, own)| own == debt);
            seen[place.expect("a known debt")].push(loaded.clone());
            ControlFlow::Continue(())
        })?;
    }
    Ok(seen)
}

/// Says what had to go.
fn said_of(gap: &Gap) -> Said {
    let debt = debts().iter().position(|(_, debt)| *debt == gap.debt);
    Said::Gap {
        debt: debt.expect("a known debt"),
        first: *gap.seqs.start(),
        last: *gap.seqs.end(),
        reason: format!("{:?}", gap.reason),
    }
}

/// Says what a commit asks for.
fn asks(commit: &Commit) -> Said {
    let (streams, debts) = (streams(), debts());
    let stores = commit.batches.iter().map(|batch| {
        let stream = streams.iter().position(|(stream, _)| *stream == batch.stream);
        let seqs = batch.records.iter().map(|record| record.seq).collect();
        (stream.expect("a known stream"), seqs)
    });
    let settles = commit.settled.iter().map(|settled| {
        let debt = debts.iter().position(|(_, debt)| *debt == settled.debt);
        let ranges = settled
            .seqs
            .iter()
            .map(|range| (*range.start(), *range.end()))
            .collect();
        (debt.expect("a known debt"), ranges)
    });
    Said::Asks {
        id: commit.id,
        next_seq: commit.next_seq,
        stores: stores.collect(),
        settles: settles.collect(),
    }
}

/// Puts rising numbers together where they follow each other.
fn ranges(seqs: &[u64]) -> Vec<std::ops::RangeInclusive<u64>> {
    let runs = seqs.chunk_by(|one, next| one + 1 == *next);
    runs.map(|run| run[0]..=run[run.len() - 1]).collect()
}
