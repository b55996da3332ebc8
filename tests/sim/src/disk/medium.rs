//! What a simulated disk holds, and what it does when asked or when the power goes.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::buffer::DiskError;

use super::file::{AfterFailedSync, Fate, File};
use super::{Counters, Faults, PAGE_BYTES, PowerCut, SECTOR_BYTES};

/// The disk behind its handles.
#[derive(Debug)]
pub(super) struct Medium {
    pub(super) capacity: u64,
    pub(super) faults: Faults,
    pub(super) has_power: bool,
    /// How many changes are still carried out before the power goes in the middle of one.
    pub(super) power_fails_in: Option<u64>,
    pub(super) counters: Counters,
    files: BTreeMap<String, File>,
    /// The number of the last write.
    order: u64,
    randomness: StdRng,
}

impl Medium {
    pub(super) fn new(capacity: u64, seed: u64) -> Self {
        Self {
            capacity,
            faults: Faults::default(),
            has_power: true,
            power_fails_in: None,
            counters: Counters::default(),
            files: BTreeMap::new(),
            order: 0,
            randomness: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.files.values().map(|file| file.len() as u64).sum()
    }

    pub(super) fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        self.powered()?;
        let files = self.files.iter();
        Ok(files
            .map(|(name, file)| (name.clone(), file.len() as u64))
            .collect())
    }

    pub(super) fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        if self.power_goes()? {
            self.counters.cuts_in_create += 1;
            return self.create_partly(name, len);
        }
        if self.fails(self.faults.names) {
            self.counters.failed_names += 1;
            return Err(failed("cannot create", name));
        }
        if self.files.contains_key(name) {
            return Err(failed("there already is", name));
        }
        if self.used().saturating_add(len) > self.capacity {
            self.counters.full += 1;
            return Err(DiskError::Full);
        }
        self.files.insert(name.to_owned(), File::zeros(index(len)));
        self.counters.creates += 1;
        Ok(())
    }

    pub(super) fn read(&mut self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.powered()?;
        if self.fails(self.faults.reads) {
            self.counters.failed_reads += 1;
            return Err(failed("cannot read", name));
        }
        let file = self.files.get(name).ok_or_else(|| missing(name))?;
        self.counters.reads += 1;
        Ok(file.read(index(offset), len).to_vec())
    }

    pub(super) fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let power_goes = self.power_goes()?;
        let offset = index(offset);
        let file = self.files.get_mut(name).ok_or_else(|| missing(name))?;
        if offset.saturating_add(bytes.len()) > file.len() {
            return Err(failed("the bytes reach beyond the end of", name));
        }
        self.order += 1;
        if power_goes {
            self.counters.cuts_in_write += 1;
            file.write(self.order, offset, bytes);
            return Err(no_power());
        }
        if self.faults.writes > 0.0 && self.randomness.random_bool(self.faults.writes) {
            self.counters.failed_writes += 1;
            let written = self.randomness.random_range(0..=bytes.len()) & !(index(SECTOR_BYTES) - 1);
            file.write(self.order, offset, &bytes[..written]);
            return Err(failed("cannot write", name));
        }
        file.write(self.order, offset, bytes);
        self.counters.writes += 1;
        self.counters.bytes_written += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        if self.power_goes()? {
            // Whatever was on its way stays pending: the cut decides.
            self.counters.cuts_in_sync += 1;
            return Err(no_power());
        }
        let fails = self.fails(self.faults.syncs);
        let file = self.files.get_mut(name).ok_or_else(|| missing(name))?;
        if fails {
            self.counters.failed_syncs += 1;
            let randomness = &mut self.randomness;
            file.fail_sync(index(PAGE_BYTES), || match randomness.random_range(0..3) {
                0 => AfterFailedSync::Durable,
                1 => AfterFailedSync::Cached,
                _ => AfterFailedSync::Gone,
            });
            return Err(failed("cannot sync", name));
        }
        file.sync();
        self.counters.syncs += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        if self.power_goes()? {
            self.counters.cuts_in_remove += 1;
            if self.randomness.random_bool(0.5) {
                self.files.remove(name);
            }
            return Err(no_power());
        }
        if self.fails(self.faults.names) {
            self.counters.failed_names += 1;
            return Err(failed("cannot remove", name));
        }
        self.files.remove(name).ok_or_else(|| missing(name))?;
        self.counters.removes += 1;
        Ok(())
    }

    pub(super) fn cut_power(&mut self, cut: PowerCut) {
        self.has_power = false;
        self.power_fails_in = None;
        let kind = PowerCut::ALL.iter().position(|kind| *kind == cut);
        self.counters.cuts[kind.expect("all kinds are there")] += 1;
        let mut pending: Vec<u64> = self.files.values().flat_map(File::pending).collect();
        pending.sort_unstable();
        let Self {
            files,
            randomness,
            counters,
            ..
        } = self;
        let (sector, page) = (index(SECTOR_BYTES), index(PAGE_BYTES));
        let unit = match cut {
            PowerCut::Subset if randomness.random_bool(0.5) => page,
            PowerCut::KeepAll | PowerCut::DropAll | PowerCut::Subset | PowerCut::Prefix => sector,
        };
        let whole = randomness.random_range(0..=pending.len());
        let last = pending.get(whole).copied();
        let torn_after = randomness.random_range(0..=8);
        for file in files.values_mut() {
            let mut sectors_of_last = 0;
            let fates = file.cut(unit, |orders, _| match cut {
                PowerCut::KeepAll => orders.len(),
                PowerCut::DropAll => 0,
                PowerCut::Subset if randomness.random_bool(0.5) => 0,
                PowerCut::Subset => randomness.random_range(1..=orders.len()),
                PowerCut::Prefix => {
                    let before = orders
                        .iter()
                        .filter(|order| last.is_none_or(|last| **order < last));
                    let before = before.count();
                    if orders.get(before).copied() != last || last.is_none() {
                        return before;
                    }
                    sectors_of_last += 1;
                    before + usize::from(sectors_of_last <= torn_after)
                }
            });
            counters.torn_writes += count(&fates, Fate::Torn);
            counters.lost_writes += count(&fates, Fate::Lost);
        }
    }

    pub(super) fn flip_bit(&mut self, name: &str, at: u64, bit: u8) -> bool {
        let file = self.files.get_mut(name);
        let flipped = file.is_some_and(|file| file.flip(index(at), bit));
        self.counters.rotten_bits += u64::from(flipped);
        flipped
    }

    /// The name and the length of a file become durable one after the other.
    fn create_partly(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        let pages = len / PAGE_BYTES;
        let made = match self.randomness.random_range(0..4) {
            0 => None,
            1 => Some(0),
            2 => Some(self.randomness.random_range(0..=pages) * PAGE_BYTES),
            _ => Some(len),
        };
        let made = made.filter(|made| self.used().saturating_add(*made) <= self.capacity);
        if let Some(made) = made.filter(|_| !self.files.contains_key(name)) {
            self.files.insert(name.to_owned(), File::zeros(index(made)));
        }
        Err(no_power())
    }

    fn powered(&self) -> Result<(), DiskError> {
        if self.has_power { Ok(()) } else { Err(no_power()) }
    }

    /// Says whether the power goes in the middle of this change.
    fn power_goes(&mut self) -> Result<bool, DiskError> {
        self.powered()?;
        let Some(left) = &mut self.power_fails_in else {
            return Ok(false);
        };
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return Ok(false);
        }
        self.has_power = false;
        Ok(true)
    }

    fn fails(&mut self, share: f64) -> bool {
        share > 0.0 && self.randomness.random_bool(share)
    }
}

fn count(fates: &[Fate], wanted: Fate) -> u64 {
    fates.iter().filter(|fate| **fate == wanted).count() as u64
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a simulated disk fits the memory")
}

fn missing(name: &str) -> DiskError {
    DiskError::Missing(name.to_owned())
}

fn failed(what: &str, name: &str) -> DiskError {
    DiskError::Failed(format!("{what} {name}"))
}

fn no_power() -> DiskError {
    DiskError::Failed("the power is gone".to_owned())
}
