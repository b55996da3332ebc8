//! The buffer's side of the gateway: readings are taken, made durable, loaded again, and some have to go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::Timestamp;

use crate::Now;
use crate::buffer::{
    self, Batch, Commit, Contents, Debt, DiskError, Gap, Loaded, Moment, Owing, Record, Reply, Request,
    Settled, Stream,
};
use crate::config::BufferConfig;
use crate::gateway::{Gateway, endpoints};
use crate::limits;
use crate::outbox::{Clock, Commits, Held, Ledger, Load, Loads, Memory, New, Servers, Settlements, UnderWay};
use crate::output::{DropReason, EndpointId, Event, Output};
use crate::profile::PointClass;
use crate::timer::Timer;

/// What all endpoints share of what is owed.
pub(super) struct Debts {
    /// Whether there is a buffer on disk.
    pub(super) is_kept: bool,
    /// What times of this run are counted from.
    pub(super) clock: Clock,
    /// The readings in memory.
    pub(super) memory: Memory,
    settlements: Settlements,
    commits: Commits,
    loads: Loads,
    /// What the buffer holds for devices and servers that are not configured.
    unclaimed: Vec<Owing>,
    /// The endpoints by the names of server and device.
    places: BTreeMap<(Arc<str>, Arc<str>), usize>,
}

impl Debts {
    /// Returns what is owed at the start of a gateway that keeps nothing.
    pub(super) fn new(config: BufferConfig, start: Instant) -> Self {
        Self {
            is_kept: false,
            clock: Clock { boot: 0, start },
            memory: Memory::default(),
            settlements: Settlements::default(),
            commits: Commits::new(config),
            loads: Loads::default(),
            unclaimed: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Returns the part that one endpoint needs.
    pub(super) const fn ledger(&mut self, endpoint: usize, account: usize) -> Ledger<'_> {
        Ledger {
            memory: &mut self.memory,
            settlements: &mut self.settlements,
            account,
            endpoint,
        }
    }
}

impl Gateway {
    /// Takes what became of a request to the buffer; in the order of the requests.
    pub fn handle_buffer(&mut self, reply: Reply, now: Now) {
        match reply {
            Reply::Committed { id, result } => self.handle_committed(id, result, now),
            Reply::Loaded { debt, from, result } => self.handle_loaded(debt, from, result, now),
            Reply::Gap(gap) => self.handle_gap(gap, now),
            // The gaps have told it already.
            Reply::Dropped { .. } => {}
        }
        self.see_to_buffer(now);
        if self.is_stopping() {
            self.save_next(now);
        }
    }

    /// Drops what was measured before a time and is still owed, to one server by its name or to all: in memory at
    /// once, on disk as soon as the buffer has done so.
    pub fn drop_older(&mut self, than: Timestamp, account: Option<&str>, now: Now) {
        for index in 0..self.endpoints.len() {
            let place = self.endpoints[index].account;
            let name = &self.accounts[place].config.name;
            if account.is_some_and(|account| account != &**name) {
                continue;
            }
            let ledger = &mut self.debts.ledger(index, place);
            let dropped = self.endpoints[index].outbox.drop_older(than, ledger, now.instant);
            self.tell_dropped(index, Some((dropped, DropReason::Command)), now);
        }
        if self.debts.is_kept {
            let account = account.map(Arc::from);
            self.outputs
                .push_back(Output::Buffer(Request::DropOlder { than, account }));
        }
    }

    /// Returns what the buffer holds for devices and servers that the configuration does not have.
    pub fn unclaimed(&self) -> &[Owing] {
        &self.debts.unclaimed
    }

    /// Goes on with what the buffer holds; before anything else happens.
    pub(super) fn restore_buffer(&mut self, contents: Contents, now: Now) {
        self.debts.is_kept = true;
        self.debts.clock.boot = contents.boot;
        self.debts.memory = Memory::new(contents.next_seq, contents.repeatable);
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let account = Arc::clone(&self.accounts[endpoint.account].config.name);
            let device = self.devices[endpoint.device].owner.stream();
            self.debts.places.insert((account, device), index);
        }
        for owing in contents.debts {
            match self.place(&owing.debt) {
                Some(index) => self.endpoints[index].outbox.backlog.restore(&owing),
                None => self.debts.unclaimed.push(owing),
            }
        }
        for gap in contents.gaps {
            self.note_gap(&gap, now);
            let endpoint = self.place(&gap.debt).map(endpoints::id);
            self.tell_gap(endpoint, gap);
        }
    }

    /// Takes new readings of a device with the servers that are owed them: each once, though several servers are.
    pub(super) fn take_readings(&mut self, device: usize, owed: Vec<(usize, Vec<New>)>, now: Now) {
        for (new, servers) in merge(owed) {
            let class = new.class;
            let seq = self.debts.memory.push(new, servers, now.instant);
            for account in servers.iter() {
                let Some(index) = self.endpoint_at(account, device) else {
                    continue;
                };
                let endpoint = &mut self.endpoints[index];
                endpoint.outbox.push(seq, class);
                if endpoint.is_away() && is_urgent(class) {
                    self.debts.memory.hurry(seq, now.instant);
                }
            }
        }
        self.evict(now);
    }

    /// Sees to what an endpoint wants of the buffer after something has happened to it.
    pub(super) fn see_to_endpoint(&mut self, index: usize, now: Now) {
        let endpoint = &mut self.endpoints[index];
        endpoint.outbox.end_pauses(now.instant);
        let has_gone = endpoint.has_gone_away(now.instant);
        if has_gone {
            for seq in endpoint.outbox.in_memory() {
                let class = self.debts.memory.get(seq).map(|held| held.class);
                if class.is_some_and(is_urgent) {
                    self.debts.memory.hurry(seq, now.instant);
                }
            }
        }
        self.debts.loads.note(index, endpoint.outbox.backlog.loaded_len());
        if endpoint.wants_load(now.instant) {
            self.debts.loads.want(index);
        }
        if has_gone {
            let account = endpoint.account;
            self.probe_later(account, now);
        }
        self.see_to_buffer(now);
    }

    /// Asks of the buffer what is due, and says when there will be more.
    pub(super) fn see_to_buffer(&mut self, now: Now) {
        if !self.debts.is_kept || self.debts.memory.is_in_frame() {
            return;
        }
        while let Some(index) = self.debts.loads.next() {
            self.load(index, now);
        }
        let debts = &mut self.debts;
        let due = debts
            .commits
            .due(&mut debts.memory, &debts.settlements, &debts.clock, now);
        let later = due.filter(|due| *due > now.instant);
        if due.is_some() && later.is_none() {
            self.commit(now);
        }
        self.timers.set(Timer::Commit, later);
    }

    /// Has everything stored that servers have not got, as soon as it can be.
    pub(super) fn begin_storing_all(&mut self, now: Now) {
        self.debts.commits.begin_stop();
        self.see_to_buffer(now);
    }

    /// Says whether everything is stored that can be.
    pub(super) fn has_stored_all(&self) -> bool {
        let debts = &self.debts;
        !debts.is_kept || debts.commits.is_done(&debts.memory, &debts.settlements)
    }

    fn load(&mut self, index: usize, now: Now) {
        let endpoint = &mut self.endpoints[index];
        if !endpoint.wants_load(now.instant) {
            return;
        }
        if let Some(Load { class, from }) = endpoint.outbox.backlog.take_load() {
            self.debts.loads.begin(index);
            let (debt, limit) = (self.debt(index, class), limits::READINGS_PER_LOAD);
            self.outputs
                .push_back(Output::Buffer(Request::Load { debt, from, limit }));
        }
    }

    fn commit(&mut self, now: Now) {
        self.hurry_hopeless(now);
        self.debts.memory.hurry_receipts(now.instant);
        let max_bytes = self.debts.commits.max_bytes();
        let held = self.debts.memory.take_due(max_bytes);
        let stored = held.iter().map(|held| (held.reading.seq, held.owed)).collect();
        let is_timeless = held
            .iter()
            .any(|held| matches!(held.reading.moment, Moment::Boot { .. }));
        let repeatable = Some(self.debts.memory.begin_commit(&held));
        let batches = self.batches(&held);
        let told: Vec<_> = self.debts.settlements.tell().collect();
        let settled = told.into_iter().map(|(index, class, seqs)| Settled {
            debt: self.debt(index, class),
            seqs,
        });
        let settled = settled.collect();
        let clock = self.debts.clock;
        let &UnderWay { id, anchor, .. } = self.debts.commits.begin(stored, is_timeless, &clock, now);
        self.outputs.push_back(Output::Buffer(Request::Commit(Commit {
            id,
            next_seq: self.debts.memory.next_seq(),
            wall: now.wall,
            anchor,
            batches,
            settled,
            repeatable,
        })));
    }

    /// Has stored with this commit what would need the next one.
    fn hurry_hopeless(&mut self, now: Now) {
        let (devices, endpoints) = (&self.devices, &self.endpoints);
        let is_hopeless = |held: &Held| {
            let mut of_device = devices[held.device]
                .endpoints
                .iter()
                .map(|index| &endpoints[*index]);
            of_device.all(|endpoint| endpoint.is_away() || !held.owed.contains(endpoint.account))
        };
        self.debts.memory.hurry_hopeless(is_hopeless, now.instant);
    }

    fn batches(&self, held: &[Held]) -> Vec<Batch> {
        let mut batches: BTreeMap<(usize, PointClass, Servers), Vec<Record>> = BTreeMap::new();
        for held in held {
            let batch = batches.entry((held.device, held.class, held.owed)).or_default();
            batch.push(held.reading.record());
        }
        let batch = |((device, class, servers), records): ((usize, PointClass, Servers), Vec<Record>)| {
            let name = |account: usize| Arc::clone(&self.accounts[account].config.name);
            let mut accounts: Vec<_> = servers.iter().map(name).collect();
            accounts.sort();
            let device = self.devices[device].owner.stream();
            Batch {
                stream: Stream { device, class },
                accounts,
                records,
            }
        };
        batches.into_iter().map(batch).collect()
    }

    fn handle_committed(&mut self, id: u64, result: Result<(), DiskError>, now: Now) {
        let Some(done) = self.debts.commits.finish(id) else {
            return;
        };
        let is_stored = result.is_ok();
        match result {
            Ok(()) => self.handle_stored(&done),
            Err(error) => {
                for (seq, _) in done.stored {
                    self.debts.memory.not_stored(seq, now.instant);
                }
                self.debts.settlements.not_told(now.instant);
                if self.debts.commits.handle_failed(now.instant) {
                    let reason = error.to_string();
                    self.event(Event::BufferFailed { reason });
                }
                self.evict(now);
            }
        }
        self.debts.memory.end_commit(is_stored);
    }

    fn handle_stored(&mut self, done: &UnderWay) {
        self.debts.settlements.told();
        for (seq, _) in &done.stored {
            let Some(held) = self.debts.memory.stored(*seq) else {
                continue;
            };
            for account in held.owed.iter() {
                if let Some(index) = self.endpoint_at(account, held.device) {
                    self.endpoints[index].outbox.stored(held.class, &held.reading);
                }
            }
        }
        if self.debts.commits.handle_done(done) {
            self.event(Event::BufferWorks);
        }
    }

    fn handle_loaded(&mut self, debt: Debt, from: u64, result: Result<Vec<Loaded>, DiskError>, now: Now) {
        let Some(index) = self.place(&debt) else { return };
        let class = debt.stream.class;
        let load = Load { class, from };
        self.debts.loads.finish(index);
        let outbox = &mut self.endpoints[index].outbox;
        match result {
            Ok(loaded) => {
                let settlements = &self.debts.settlements;
                outbox.handle_loaded(load, loaded, |seq| settlements.contains(index, class, seq));
                self.set_unfit_aside(index, now);
            }
            Err(_) => outbox.backlog.handle_load_failed(load, now.instant),
        }
        self.pump(index, now);
    }

    /// Sets aside what the server's model has no place for; it may have had when it was stored.
    fn set_unfit_aside(&mut self, index: usize, now: Now) {
        let endpoint = &mut self.endpoints[index];
        let shown = &self.accounts[endpoint.account].shown;
        let ledger = &mut self.debts.ledger(index, endpoint.account);
        let fits = endpoint.fits(&self.devices[endpoint.device], shown);
        let unfit = endpoint.outbox.set_aside(fits, ledger, now.instant);
        self.tell_dropped(index, Some((unfit, DropReason::NotInModel)), now);
    }

    fn handle_gap(&mut self, gap: Gap, now: Now) {
        let place = self.place(&gap.debt);
        if let Some(index) = place {
            self.endpoints[index].outbox.handle_gap(&gap);
        }
        for owing in self
            .debts
            .unclaimed
            .iter_mut()
            .filter(|owing| owing.debt == gap.debt)
        {
            owing.count = owing.count.saturating_sub(gap.count);
        }
        self.debts.unclaimed.retain(|owing| owing.count > 0);
        self.note_gap(&gap, now);
        let endpoint = place.map(endpoints::id);
        self.tell_gap(endpoint, gap);
        // A removed device whose last readings are gone has nothing to stay for.
        if let Some(index) = place {
            self.pump(index, now);
        }
    }

    /// Tells of a gap, with the names that people know.
    fn tell_gap(&mut self, endpoint: Option<EndpointId>, mut gap: Gap) {
        if &*gap.debt.stream.device == buffer::CABINET {
            gap.debt.stream.device = Arc::clone(&self.name);
        }
        self.event(Event::Gap { endpoint, gap });
    }

    /// Lets go of what the memory has no room for.
    fn evict(&mut self, now: Now) {
        let mut dropped: BTreeMap<usize, usize> = BTreeMap::new();
        while let Some(held) = self.debts.memory.evict() {
            for account in held.owed.iter() {
                if let Some(index) = self.endpoint_at(account, held.device) {
                    self.endpoints[index].outbox.forget(held.reading.seq);
                    *dropped.entry(index).or_default() += 1;
                }
            }
        }
        for (index, count) in dropped {
            self.tell_dropped(index, Some((count, DropReason::QueueFull)), now);
        }
    }

    fn endpoint_at(&self, account: usize, device: usize) -> Option<usize> {
        let mut of_device = self.devices[device].endpoints.iter().copied();
        of_device.find(|index| self.endpoints[*index].account == account)
    }

    fn debt(&self, index: usize, class: PointClass) -> Debt {
        let endpoint = &self.endpoints[index];
        Debt {
            account: Arc::clone(&self.accounts[endpoint.account].config.name),
            stream: Stream {
                device: self.devices[endpoint.device].owner.stream(),
                class,
            },
        }
    }

    fn place(&self, debt: &Debt) -> Option<usize> {
        let names = (Arc::clone(&debt.account), Arc::clone(&debt.stream.device));
        self.debts.places.get(&names).copied()
    }
}

/// Alarms and what is billed do not wait in memory while their server is away.
const fn is_urgent(class: PointClass) -> bool {
    match class {
        PointClass::Alarm | PointClass::Billing => true,
        PointClass::Measurement | PointClass::Diagnostic => false,
    }
}

/// Finds the readings that several servers are owed.
fn merge(owed: Vec<(usize, Vec<New>)>) -> Vec<(New, Servers)> {
    let mut merged: Vec<(New, Servers)> = Vec::new();
    let mut known = BTreeMap::new();
    for (account, readings) in owed {
        for new in readings {
            let key = (new.path, new.moment);
            let same = known.get(&key).and_then(|place: &usize| merged.get_mut(*place));
            match same.filter(|(known, _)| *known == new) {
                Some((_, servers)) => servers.insert(account),
                None => {
                    known.insert(key, merged.len());
                    merged.push((new, Servers::one(account)));
                }
            }
        }
    }
    merged
}
