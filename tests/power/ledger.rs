//! What must be there after a power cut, what may be, and whether it is so.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use ucifi_core::buffer::Loaded;

use crate::load::{debts, names, record, value};
use crate::said::Said;

/// Whether a reading must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// It was promised.
    Surely,
    /// It was asked for, or asked away, and nobody said what became of that.
    Perhaps,
}

/// A commit that was asked for.
#[derive(Clone, Debug)]
struct Asked {
    next_seq: u64,
    stores: Vec<(usize, Vec<u64>)>,
    settles: Vec<(usize, Vec<(u64, u64)>)>,
}

/// A value that was saved: in which life, in which save; none before the first.
type Saved = Option<(u32, u64)>;

/// What all lives were promised.
#[derive(Debug)]
pub(crate) struct Ledger {
    life: u32,
    /// Which life took a reading.
    taken: BTreeMap<u64, u32>,
    /// What is owed, by debts.
    owed: Vec<BTreeMap<u64, Owed>>,
    /// The life that spoke last.
    spoke: u32,
    /// Commits without an answer, by life and id.
    open: BTreeMap<(u32, u64), Asked>,
    next_seq: u64,
    /// The number of the last start that was promised anything, and of the one that is at work.
    boot: u32,
    this_boot: u32,
    /// By names, what may be there: what was promised last, and what was asked for since.
    saved: BTreeMap<String, Vec<Saved>>,
    /// Saves without an answer, by life and id.
    saving: BTreeMap<(u32, u64), Vec<String>>,
    pub(crate) totals: Totals,
}

/// What happened over all lives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) commits: u64,
    pub(crate) readings: u64,
    pub(crate) settled: u64,
    pub(crate) saves: u64,
    pub(crate) refused: u64,
    pub(crate) gaps: u64,
    /// Commits without an answer that were found after a cut, and those that were not.
    pub(crate) found: u64,
    pub(crate) absent: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            life: 0,
            taken: BTreeMap::new(),
            owed: vec![BTreeMap::new(); debts().len()],
            spoke: 0,
            open: BTreeMap::new(),
            next_seq: 0,
            boot: 0,
            this_boot: 0,
            saved: names().into_iter().map(|name| (name, vec![None])).collect(),
            saving: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    /// Begins the next life and returns its number.
    pub(crate) fn next_life(&mut self) -> u32 {
        self.life += 1;
        self.life
    }

    /// Takes a line; one that was said when the power was gone promises nothing.
    pub(crate) fn take(&mut self, said: Said, had_power: bool) -> anyhow::Result<()> {
        self.spoke = self.life;
        match said {
            Said::Opened { boot, next_seq } => self.open(boot, next_seq)?,
            Said::Asks {
                id,
                next_seq,
                stores,
                settles,
            } => {
                let asked = Asked {
                    next_seq,
                    stores,
                    settles,
                };
                self.ask(&asked)?;
                self.open.insert((self.life, id), asked);
            }
            Said::Saves { id, names } => {
                for name in &names {
                    let saved = self.saved.get_mut(name).context("a value of no name")?;
                    saved.push(Some((self.life, id)));
                }
                self.saving.insert((self.life, id), names);
            }
            Said::Has { id } if had_power => {
                let asked = self
                    .open
                    .remove(&(self.life, id))
                    .context("a commit that was not asked for")?;
                self.promise(&asked);
            }
            Said::Saved { id } if had_power => {
                let names = self
                    .saving
                    .remove(&(self.life, id))
                    .context("a save that was not asked for")?;
                self.promise_values(id, &names)?;
            }
            Said::Has { .. } | Said::Saved { .. } => {}
            Said::HasNot { id, .. } => {
                self.totals.refused += u64::from(self.open.remove(&(self.life, id)).is_some())
            }
            Said::SavedNot { id, .. } => {
                self.totals.refused += u64::from(self.saving.remove(&(self.life, id)).is_some())
            }
            Said::Gap {
                debt, first, last, ..
            } => {
                self.totals.gaps += 1;
                self.doubt(debt, first, last);
            }
        }
        Ok(())
    }

    fn open(&mut self, boot: u32, next_seq: u64) -> anyhow::Result<()> {
        ensure!(
            next_seq >= self.next_seq,
            "numbers begin at {next_seq}, {} was promised",
            self.next_seq
        );
        ensure!(boot > self.boot, "start {boot} comes after start {}", self.boot);
        self.this_boot = boot;
        Ok(())
    }

    fn ask(&mut self, asked: &Asked) -> anyhow::Result<()> {
        for (stream, seqs) in &asked.stores {
            for seq in seqs {
                self.taken.insert(*seq, self.life);
                for debt in debts_of(*stream) {
                    let before = self.owed[debt].insert(*seq, Owed::Perhaps);
                    ensure!(before != Some(Owed::Surely), "number {seq} is given twice");
                }
            }
        }
        for (debt, ranges) in &asked.settles {
            ranges
                .iter()
                .for_each(|(first, last)| self.doubt(*debt, *first, *last));
        }
        Ok(())
    }

    fn promise(&mut self, asked: &Asked) {
        for (stream, seqs) in &asked.stores {
            self.totals.readings += seqs.len() as u64;
            for debt in debts_of(*stream) {
                self.owed[debt].extend(seqs.iter().map(|seq| (*seq, Owed::Surely)));
            }
        }
        for (debt, ranges) in &asked.settles {
            let before = self.owed[*debt].len();
            let is_settled = |seq: &u64| ranges.iter().any(|(first, last)| (first..=last).contains(&seq));
            self.owed[*debt].retain(|seq, _| !is_settled(seq));
            self.totals.settled += (before - self.owed[*debt].len()) as u64;
        }
        self.totals.commits += 1;
        self.next_seq = asked.next_seq;
        self.boot = self.this_boot;
    }

    fn promise_values(&mut self, id: u64, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            let saved = self.saved.get_mut(name).context("a value of no name")?;
            let place = saved.iter().position(|saved| *saved == Some((self.life, id)));
            saved.drain(..place.context("a value that was not asked for")?);
        }
        self.totals.saves += 1;
        Ok(())
    }

    fn doubt(&mut self, debt: usize, first: u64, last: u64) {
        for (_, owed) in self.owed[debt].range_mut(first..=last) {
            *owed = Owed::Perhaps;
        }
    }

    /// Takes what a start was told to be gone.
    pub(crate) fn take_gap(&mut self, gap: &Said) {
        if let Said::Gap {
            debt, first, last, ..
        } = gap
        {
            self.doubt(*debt, *first, *last);
        }
    }

    /// Compares what is there with what must be; from here on what was found is promised. Where there is little room,
    /// a commit that was under way may be there without its oldest readings.
    pub(crate) fn compare(
        &mut self,
        has_little_room: bool,
        found: &[Vec<Loaded>],
        values: &BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<()> {
        for (place, (_, debt)) in debts().iter().enumerate() {
            let lost = self
                .compare_readings(place, &found[place])
                .with_context(|| format!("{debt:?}"))?;
            ensure!(lost.is_empty(), "{debt:?}: lost {lost:?}");
        }
        if has_little_room {
            self.open.clear();
        }
        self.compare_unanswered(found)?;
        for (name, saved) in &mut self.saved {
            let found = values.get(name);
            let written = |saved: &Saved| saved.and_then(|(life, save)| value(name, life, save));
            let place = saved.iter().rposition(|saved| written(saved).as_ref() == found);
            let Some(place) = place else {
                bail!("{name} is {:?}, not of {saved:?}", found.map(Vec::len));
            };
            *saved = vec![saved[place]];
        }
        ensure!(
            values.keys().all(|name| self.saved.contains_key(name)),
            "a value of no name"
        );
        Ok(())
    }

    fn compare_readings(&mut self, debt: usize, found: &[Loaded]) -> anyhow::Result<Vec<u64>> {
        let rising = found.windows(2).all(|pair| pair[0].seq < pair[1].seq);
        ensure!(rising, "the numbers do not rise");
        for loaded in found {
            ensure!(
                self.owed[debt].contains_key(&loaded.seq),
                "{} is not owed",
                loaded.seq
            );
            let taken = record(loaded.seq, self.taken[&loaded.seq]);
            let same =
                (loaded.path, &loaded.value, loaded.moment) == (taken.path, &taken.value, taken.moment);
            ensure!(same && !loaded.is_estimated, "{loaded:?} was {taken:?}");
        }
        let found = found.iter().map(|loaded| (loaded.seq, Owed::Surely)).collect();
        let before = std::mem::replace(&mut self.owed[debt], found);
        let surely = before.iter().filter(|(_, owed)| **owed == Owed::Surely);
        let lost: Vec<u64> = surely
            .map(|(seq, _)| *seq)
            .filter(|seq| !self.owed[debt].contains_key(seq))
            .collect();
        Ok(lost)
    }

    /// A commit without an answer is there wholly or not at all, but for what a later one without an answer settled.
    fn compare_unanswered(&mut self, found: &[Vec<Loaded>]) -> anyhow::Result<()> {
        // What a life before the last one asked for may have been settled in part since.
        let open = std::mem::take(&mut self.open).into_iter();
        let open: Vec<Asked> = open
            .filter(|((life, _), _)| *life == self.spoke)
            .map(|(_, asked)| asked)
            .collect();
        for asked in &open {
            let mut readings = asked.readings();
            readings.retain(|(debt, seq)| !open.iter().any(|open| open.settles(*debt, *seq)));
            let is_there = |(debt, seq): &&(usize, u64)| {
                let seqs = &found[*debt];
                seqs.binary_search_by_key(seq, |loaded| loaded.seq).is_ok()
            };
            let count = readings.iter().filter(is_there).count();
            ensure!(
                count == 0 || count == readings.len(),
                "{count} of {} readings of one commit",
                readings.len()
            );
            self.totals.found += u64::from(count > 0);
            self.totals.absent += u64::from(count == 0);
        }
        Ok(())
    }
}

impl Asked {
    /// Returns what it stores, with each debt.
    fn readings(&self) -> Vec<(usize, u64)> {
        let stores = self.stores.iter();
        let of_each = stores.flat_map(|(stream, seqs)| {
            let debts = debts_of(*stream).into_iter();
            debts.flat_map(move |debt| seqs.iter().map(move |seq| (debt, *seq)))
        });
        of_each.collect()
    }

    fn settles(&self, debt: usize, seq: u64) -> bool {
        let mut settles = self.settles.iter().filter(|(own, _)| *own == debt);
        settles.any(|(_, ranges)| ranges.iter().any(|(first, last)| (*first..=*last).contains(&seq)))
    }
}

fn debts_of(stream: usize) -> Vec<usize> {
    let debts = debts();
    let of_stream = debts.iter().enumerate().filter(|(_, (own, _))| *own == stream);
    of_stream.map(|(place, _)| place).collect()
}
