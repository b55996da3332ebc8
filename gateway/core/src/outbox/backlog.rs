//! What one endpoint is owed out of the buffer on disk: how much there is, and the oldest of it loaded ahead.
//!
//! ```text
//!  on disk: ●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●●   of one class, oldest first
//!           └ floor       └ loaded  └ next
//!           paid          ahead     to be loaded
//! ```
//! How much there is, is an estimate that the disk corrects: it may have had to let go of something.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::Timestamp;

use super::reading::Reading;
use crate::buffer::{Loaded, Owing};
use crate::limits;
use crate::profile::PointClass;

/// What is owed out of the buffer.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    stocks: BTreeMap<PointClass, Stock>,
    loading: Option<Load>,
    retry_at: Option<Instant>,
}

/// Readings that are wanted from the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Of which class.
    pub(crate) class: PointClass,
    /// From which number on.
    pub(crate) from: u64,
}

/// One class.
#[derive(Debug, Default)]
struct Stock {
    /// How many there are, those included that are loaded or on their way to the server.
    count: u64,
    /// The number from which to load.
    next: u64,
    /// Whether the disk may hold some from there on.
    has_more: bool,
    /// Whether some were stored while a load was under way.
    has_grown: bool,
    loaded: BTreeMap<u64, Arc<Reading>>,
    /// Up to which number nothing is owed any more.
    floor: Option<u64>,
    /// What was loaded and left there, because it cannot be sent for now: the first number, and how many.
    passed: Option<(u64, u64)>,
    oldest: Option<Timestamp>,
}

impl Backlog {
    /// Takes what the buffer holds from earlier runs.
    pub(crate) fn restore(&mut self, owing: &Owing) {
        let stock = self.stocks.entry(owing.debt.stream.class).or_default();
        stock.count += owing.count;
        stock.next = owing.first;
        stock.has_more = owing.count > 0;
        stock.oldest = owing.oldest;
    }

    /// Returns how many readings there are.
    pub(crate) fn count(&self) -> u64 {
        self.stocks.values().map(|stock| stock.count).sum()
    }

    /// Returns how many are loaded.
    pub(crate) fn loaded_len(&self) -> usize {
        self.stocks.values().map(|stock| stock.loaded.len()).sum()
    }

    /// Returns when the oldest of them was measured, where that is known.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let of_stock = |stock: &Stock| {
            let loaded = stock.loaded.values().next().and_then(|reading| reading.wall());
            loaded.or(stock.oldest).filter(|_| stock.count > 0)
        };
        self.stocks.values().filter_map(of_stock).min()
    }

    /// Returns what is loaded, in the order in which it is to be sent.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (PointClass, &Arc<Reading>)> {
        self.stocks
            .iter()
            .flat_map(|(class, stock)| stock.loaded.values().map(|reading| (*class, reading)))
    }

    /// Takes a loaded reading to send it.
    pub(crate) fn take(&mut self, class: PointClass, seq: u64) -> Option<Arc<Reading>> {
        self.stocks.get_mut(&class)?.loaded.remove(&seq)
    }

    /// Puts back what could not be delivered.
    pub(crate) fn put_back(&mut self, class: PointClass, reading: Arc<Reading>) {
        let stock = self.stocks.entry(class).or_default();
        stock.loaded.insert(reading.seq, reading);
    }

    /// Counts a reading that has just become durable. What is on its way to the server is not to be loaded again.
    pub(crate) fn stored(&mut self, class: PointClass, reading: &Reading) {
        let stock = self.stocks.entry(class).or_default();
        if stock.count == 0 {
            stock.oldest = reading.wall();
        }
        stock.count += 1;
        // What is owed to an observer is stored at once, and may be before something older.
        stock.rewind(reading.seq);
        stock.has_more = true;
        stock.has_grown = true;
    }

    /// Notes that readings of a class, rising, are owed no more; returns the ranges to say so with. They also span
    /// what lies between them where nothing there is owed, which `waits` says of the memory and of what is under way.
    /// `counted` of them were thought to be on disk.
    pub(crate) fn settle(
        &mut self,
        class: PointClass,
        (seqs, counted): (&[u64], u64),
        last: Option<Timestamp>,
        waits: impl Fn(Range<u64>) -> bool,
    ) -> Vec<RangeInclusive<u64>> {
        let stock = self.stocks.entry(class).or_default();
        stock.count = stock.count.saturating_sub(counted);
        stock.oldest = last.or(stock.oldest);
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        let mut before = stock.floor;
        for &seq in seqs {
            let is_empty = |before: u64| stock.is_empty_between(before, seq) && !waits(before + 1..seq);
            let joins = before.is_some_and(is_empty);
            let first = match (before, ranges.last()) {
                (Some(_), Some(range)) if joins => *range.start(),
                (Some(before), None) if joins => before + 1,
                (Some(_) | None, Some(_) | None) => seq,
            };
            if joins {
                ranges.pop();
            }
            ranges.push(first..=seq);
            before = Some(seq);
        }
        stock.floor = before;
        ranges
    }

    /// Forgets what is loaded: it is loaded again when it can be sent.
    pub(crate) fn unload(&mut self) {
        for stock in self.stocks.values_mut() {
            stock.unload();
        }
    }

    /// Leaves loaded readings on disk that are not `wanted` for now, so that what lies behind them is loaded; until
    /// [`unload`](Self::unload).
    pub(crate) fn pass_over(&mut self, wanted: impl Fn(&Reading) -> bool) {
        for stock in self.stocks.values_mut() {
            let passed = &mut stock.passed;
            stock.loaded.retain(|seq, reading| {
                let is_wanted = wanted(reading);
                if !is_wanted {
                    let (first, count) = passed.unwrap_or((*seq, 0));
                    *passed = Some((first.min(*seq), count + 1));
                }
                is_wanted
            });
        }
    }

    /// Says whether nothing of a class is on disk that was not loaded once.
    pub(crate) fn is_all_seen(&self, class: PointClass) -> bool {
        self.stocks.get(&class).is_none_or(|stock| !stock.has_more)
    }

    /// Says whether something is to be loaded: what is loaded and may go is worth less than one Send, and there is more.
    pub(crate) fn wants_load(&self, may_go: impl Fn(&Reading) -> bool) -> bool {
        let held = self.loaded_len();
        let free = || self.loaded().filter(|(_, reading)| may_go(reading)).count();
        self.can_load()
            && (held <= limits::READINGS_PER_LOAD
                || held <= limits::MAX_BLOCKED_READINGS && free() <= limits::READINGS_PER_LOAD)
    }

    /// Returns what to load next.
    pub(crate) fn take_load(&mut self) -> Option<Load> {
        if !self.can_load() {
            return None;
        }
        let load = self.next_load()?;
        if let Some(stock) = self.stocks.get_mut(&load.class) {
            stock.has_grown = false;
        }
        self.loading = Some(load);
        Some(load)
    }

    /// Returns when to try again to load.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Forgets when to try again, once that is now.
    pub(crate) fn end_pause(&mut self, now: Instant) {
        self.retry_at.take_if(|at| *at <= now);
    }

    /// Takes what was loaded, without what is `known` to be paid or on its way; `in_flight` says how many of the class
    /// are on their way out of the buffer. Returns by how much there was less than was thought.
    pub(crate) fn handle_loaded(
        &mut self,
        load: Load,
        loaded: Vec<Loaded>,
        known: impl Fn(u64) -> bool,
        in_flight: u64,
    ) -> i64 {
        if self.loading.take_if(|loading| *loading == load).is_none() {
            return 0;
        }
        let stock = self.stocks.entry(load.class).or_default();
        if stock.next != load.from {
            // It was unloaded meanwhile.
            return 0;
        }
        stock.has_more = loaded.len() >= limits::READINGS_PER_LOAD || stock.has_grown;
        for reading in loaded.into_iter().map(Reading::from) {
            stock.next = stock.next.max(reading.seq.saturating_add(1));
            if !known(reading.seq) {
                stock.loaded.insert(reading.seq, Arc::new(reading));
            }
        }
        if stock.has_more {
            return 0;
        }
        let passed = stock.passed.map_or(0, |(_, count)| count);
        let there = stock.loaded.len() as u64 + passed + in_flight;
        let missing = stock.count as i64 - there as i64;
        stock.count = there;
        missing
    }

    /// Notes that a load has failed.
    pub(crate) fn handle_load_failed(&mut self, load: Load, now: Instant) {
        if self.loading.take_if(|loading| *loading == load).is_some() {
            self.retry_at = now.checked_add(limits::LOAD_RETRY);
        }
    }

    /// Notes that the disk had to let go of readings, of which `kept` are on their way to the server and may still
    /// arrive. Others between the first and the last of them may still be there: what is loaded of that is loaded
    /// again. Returns how many are lost.
    pub(crate) fn handle_gap(
        &mut self,
        class: PointClass,
        count: u64,
        seqs: &RangeInclusive<u64>,
        kept: u64,
    ) -> u64 {
        let stock = self.stocks.entry(class).or_default();
        stock.loaded.retain(|seq, _| !seqs.contains(seq));
        stock.rewind(*seqs.start());
        // What is on its way is owed by nobody but the memory.
        stock.count = stock.count.saturating_sub(kept);
        let lost = count.saturating_sub(kept).min(stock.count);
        stock.count -= lost;
        lost
    }

    /// Counts readings again of which it was thought that the disk had let go of them.
    pub(crate) fn found(&mut self, class: PointClass, count: u64) {
        self.stocks.entry(class).or_default().count += count;
    }

    fn can_load(&self) -> bool {
        self.loading.is_none() && self.retry_at.is_none() && self.next_load().is_some()
    }

    fn next_load(&self) -> Option<Load> {
        let (class, stock) = self.stocks.iter().find(|(_, stock)| stock.has_more)?;
        Some(Load {
            class: *class,
            from: stock.next,
        })
    }
}

impl Stock {
    /// Has everything loaded from a number on that is not held, or was passed over.
    fn rewind(&mut self, seq: u64) {
        if seq >= self.next {
            return;
        }
        if self.passed.is_some() {
            // Which of them are still there is not known.
            self.unload();
        }
        self.next = self.next.min(seq);
        self.has_more = true;
    }

    fn unload(&mut self) {
        let loaded = self.loaded.first_key_value().map(|(first, _)| *first);
        let passed = self.passed.take().map(|(first, _)| first);
        if let Some(first) = loaded.into_iter().chain(passed).min() {
            self.next = self.next.min(first);
            self.has_more = true;
            self.loaded.clear();
        }
    }

    /// Says whether nothing is owed between two numbers: everything there was loaded once, and is gone.
    fn is_empty_between(&self, before: u64, after: u64) -> bool {
        let is_seen = after < self.next && self.passed.is_none();
        before < after
            && (before + 1 == after || is_seen && self.loaded.range(before + 1..after).next().is_none())
    }
}
