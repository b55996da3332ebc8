//! One run through trouble: what happens is drawn from the seed, and what must hold is checked at the end.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::buffer::{AccountBound, Options, Statistics};
use ucifi_sim::cabinet::{Cabinet, Down, Moment, Plan, Reuse, StorePlan, Trace};
use ucifi_sim::disk::{Faults, PowerCut};
use ucifi_sim::network::{Conditions, outages};
use ucifi_sim::server::{Code, Event};

const SECOND: Duration = Duration::from_secs(1);

/// How long there is trouble.
const TROUBLE: Duration = Duration::from_secs(480);

/// How long after that everything may take to arrive: pauses after refusals grow to minutes.
const RECOVERY: Duration = Duration::from_secs(4 * 3600);

/// Within this time of the end of all trouble the gateway must have started.
const STARTS: u32 = 3;

/// What is to happen next.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    PowerCut,
    CutBetweenOutputs,
    CutInChange,
    Kill,
    Stop,
    LoseState,
    Store(StoreTrouble),
    Server(ServerTrouble),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum StoreTrouble {
    DiskFails,
    DiskFull,
    SavesFail,
}

#[derive(Clone, Copy, Debug)]
enum ServerTrouble {
    RefusesSends,
    CallsSendBad,
    RefusesRegisters,
    Forgets,
    IsSilent,
}

const TROUBLES: [(Trouble, u32); 14] = [
    (Trouble::PowerCut, 6),
    (Trouble::CutBetweenOutputs, 6),
    (Trouble::CutInChange, 8),
    (Trouble::Kill, 3),
    (Trouble::Stop, 3),
    (Trouble::LoseState, 2),
    (Trouble::Store(StoreTrouble::DiskFails), 3),
    (Trouble::Store(StoreTrouble::DiskFull), 2),
    (Trouble::Store(StoreTrouble::SavesFail), 2),
    (Trouble::Server(ServerTrouble::RefusesSends), 3),
    (Trouble::Server(ServerTrouble::CallsSendBad), 2),
    (Trouble::Server(ServerTrouble::RefusesRegisters), 1),
    (Trouble::Server(ServerTrouble::Forgets), 2),
    (Trouble::Server(ServerTrouble::IsSilent), 2),
];

/// The name of what the buffer counts, and the count.
type Branch = (&'static str, fn(&Statistics) -> u64);

/// What the buffer counts, at work and when it is opened.
const BRANCHES: [Branch; 17] = [
    ("file made", |log| log.created_files),
    ("file recycled", |log| log.recycled_files),
    ("file given back", |log| log.removed_files),
    ("segment read again", |log| log.segment_reads),
    ("segment emptied", |log| log.emptied_segments),
    ("block copied forward", |log| log.copied_blocks),
    ("reading evicted", |log| log.evicted_records),
    ("reading too old", |log| log.aged_records),
    ("no space for a file", |log| log.disk_full),
    ("file not made", |log| log.failed_creates),
    ("write failed", |log| log.failed_writes),
    ("sync failed", |log| log.failed_syncs),
    ("segment abandoned", |log| log.abandoned_segments),
    ("segment recovered", |log| log.recovered_segments),
    ("torn tail", |log| log.torn_tails),
    ("torn beginning", |log| log.torn_beginnings),
    ("stale segment", |log| log.stale_segments),
];

/// A run, and what it went through.
pub(crate) struct Run {
    pub(crate) cabinet: Cabinet,
    capacity: u64,
    randomness: StdRng,
    troubles: Vec<(Duration, Trouble)>,
    /// What is to be over, and when.
    heals: Vec<(Duration, Heal)>,
    failed_starts: Vec<String>,
    has_called_bad: bool,
    has_copy: bool,
    has_lost_state: bool,
    /// Until when saves failed, and from when on.
    saves_failed: Vec<Range<Duration>>,
    /// Whether the buffer is so small that readings have to go.
    is_small: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Heal {
    Power,
    Clock,
    Disk,
    State,
    Sends,
    Registers,
    Silence,
}

impl Run {
    /// Lets everything that the seed has in store happen, and then everything be well again.
    pub(crate) fn of(seed: u64) -> Self {
        let mut run = Self::new(seed);
        while run.cabinet.elapsed() < TROUBLE {
            let pause = run.randomness.random_range(1..60);
            run.let_pass(SECOND * pause);
            run.trouble();
        }
        run.recover();
        run
    }

    fn new(seed: u64) -> Self {
        let mut randomness = StdRng::seed_from_u64(seed);
        let is_small = randomness.random_bool(0.25);
        let store = if is_small {
            small_store(&mut randomness)
        } else {
            store(&mut randomness)
        };
        let capacity = store.capacity;
        let mut plan = Plan::new(seed).with_store(store);
        for id in ["a", "b", "c"].into_iter().take(randomness.random_range(1..=3)) {
            plan = plan.with_scripted(
                id,
                Duration::from_millis(log_uniform(&mut randomness, 400, 20_000)),
            );
        }
        plan.conditions = Conditions {
            loss: [0.0, 0.0, 0.02, 0.2][randomness.random_range(0..4)],
            duplication: 0.02,
            reordering: 0.02,
            partitions: outages(
                seed,
                TROUBLE,
                &(SECOND..=SECOND * 300),
                randomness.random_range(0.1..0.8),
            ),
            ..Conditions::good()
        };
        Self {
            cabinet: plan.build(),
            capacity,
            randomness,
            troubles: Vec::new(),
            heals: Vec::new(),
            failed_starts: Vec::new(),
            has_called_bad: false,
            has_copy: false,
            has_lost_state: false,
            saves_failed: Vec::new(),
            is_small,
        }
    }

    /// Returns what must not be.
    pub(crate) fn verdict(&mut self) -> Vec<String> {
        let mut faults = std::mem::take(&mut self.failed_starts);
        if !self.cabinet.is_on() {
            faults.push("the gateway is off at the end".to_owned());
            return faults;
        }
        let totals = self.cabinet.ledger().totals();
        if totals.gone > 0 && !self.may_lose() {
            faults.push(format!("{} readings had to go", totals.gone));
        }
        self.cabinet.ledger_mut().check_all_arrived();
        faults.extend(self.cabinet.ledger().faults().iter().cloned());
        let (_, reused) = self.cabinet.message_ids();
        let reused = reused.iter().filter(|reuse| !self.may_reuse(reuse));
        faults.extend(reused.map(|reuse| format!("{reuse:?}")));
        for endpoint in self.cabinet.gateway().endpoints() {
            if endpoint.queued > 0 || endpoint.dropped > 0 && !self.may_lose() {
                faults.push(format!("{endpoint:?}"));
            }
        }
        faults
    }

    /// Says whether readings may have had to go: a bound was reached, or the disk was full.
    fn may_lose(&self) -> bool {
        let is_full = |(_, trouble): &(Duration, Trouble)| matches!(trouble, Trouble::Store(store) if *store != StoreTrouble::SavesFail);
        self.is_small || self.troubles.iter().any(is_full)
    }

    /// Where saves fail, the gateway would rather use a message id again after a crash than be silent.
    fn may_reuse(&self, reuse: &Reuse) -> bool {
        let mut failed = self.saves_failed.iter();
        failed.any(|times| times.start <= reuse.again && times.end >= reuse.first)
    }

    pub(crate) fn trace(&self) -> Trace {
        *self.cabinet.trace()
    }

    /// Returns how often the run hit what; a branch that no run hits is not tested.
    pub(crate) fn hits(&self) -> Vec<(&'static str, u64)> {
        let (disk, state) = (self.cabinet.disk(), self.cabinet.state());
        let disk = disk.expect("the plan has a store").counters();
        let state = state.expect("the plan has a store").counters();
        let totals = self.cabinet.ledger().totals();
        let [keep_all, drop_all, subset, prefix] = disk.cuts;
        let mut hits = vec![
            ("cut that keeps all", keep_all),
            ("cut that drops all", drop_all),
            ("cut that keeps some pages", subset),
            ("cut that keeps the first writes", prefix),
            ("cut in a write", disk.cuts_in_write),
            ("cut in a sync", disk.cuts_in_sync),
            ("cut in a creation", disk.cuts_in_create),
            ("torn write", disk.torn_writes),
            ("lost write", disk.lost_writes),
            ("full disk", disk.full),
            ("failed write", disk.failed_writes),
            ("failed sync", disk.failed_syncs),
            ("failed read", disk.failed_reads),
            ("failed creation or removal", disk.failed_names),
            ("failed save", state.failed),
            ("save cut with all changes", state.cut_whole),
            ("save cut with some changes", state.cut_partly),
            ("save cut with no change", state.cut_before),
            ("state rebuilt from a copy", state.rebuilt),
            ("lost datagram", self.cabinet.network().counters().lost),
            ("reading lost from memory", totals.lost),
            ("reading repeated", totals.repeated),
            ("reading that had to go", totals.gone),
            ("reading delivered by a later start", totals.arrived_after_restart),
        ];
        hits.extend(BRANCHES.map(|(name, of)| (name, self.cabinet.buffer_statistics().iter().map(of).sum())));
        hits
    }

    fn let_pass(&mut self, time: Duration) {
        let end = self.cabinet.elapsed() + time;
        while let Some(place) = self.next_heal(end) {
            let (at, heal) = self.heals.remove(place);
            self.cabinet.run_for(at.saturating_sub(self.cabinet.elapsed()));
            self.heal(heal);
        }
        self.cabinet.run_for(end.saturating_sub(self.cabinet.elapsed()));
        self.expect_power();
    }

    /// A gateway that went down by itself comes up again.
    fn expect_power(&mut self) {
        if !self.cabinet.is_on() && !self.heals.iter().any(|(_, heal)| *heal == Heal::Power) {
            self.comes_up();
        }
    }

    fn next_heal(&self, before: Duration) -> Option<usize> {
        let due = self.heals.iter().enumerate().filter(|(_, (at, _))| *at <= before);
        due.min_by_key(|(_, (at, _))| *at).map(|(place, _)| place)
    }

    fn heal_later(&mut self, heal: Heal, secs: Range<u64>) {
        let ms = log_uniform(&mut self.randomness, secs.start * 1000 + 1, secs.end * 1000);
        self.heals
            .push((self.cabinet.elapsed() + Duration::from_millis(ms), heal));
    }

    fn trouble(&mut self) {
        if self.randomness.random_bool(0.3) {
            self.copy_state();
        }
        let total: u32 = TROUBLES.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.randomness.random_range(0..total);
        let chosen = TROUBLES.iter().find(|(_, weight)| {
            let is_chosen = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_chosen
        });
        let (trouble, _) = chosen.expect("the draw is below the total");
        self.troubles.push((self.cabinet.elapsed(), *trouble));
        self.happen(*trouble);
    }

    fn happen(&mut self, trouble: Trouble) {
        let cut = PowerCut::ALL[self.randomness.random_range(0..PowerCut::ALL.len())];
        let cut = Down::PowerCut(cut);
        match trouble {
            Trouble::PowerCut => self.goes_down(cut),
            Trouble::Kill => self.goes_down(Down::Kill),
            Trouble::CutBetweenOutputs => {
                let outputs = self.randomness.random_range(0..40);
                self.cabinet.plan_down(Moment::AfterOutputs(outputs), cut);
            }
            Trouble::CutInChange => {
                let changes = self.randomness.random_range(0..8);
                self.cabinet.plan_down(Moment::AfterChanges(changes), cut);
            }
            Trouble::Stop => {
                if self.cabinet.is_on() {
                    self.cabinet.stop(SECOND * 30);
                    self.comes_up();
                }
            }
            Trouble::LoseState => self.loses_state(cut),
            Trouble::Store(trouble) => self.stores_badly(trouble),
            Trouble::Server(trouble) => self.is_served_badly(trouble),
        }
    }

    /// The store of the state cannot be opened again; its copy is some time old.
    fn loses_state(&mut self, down: Down) {
        // Message ids jump half their circle ahead: a second loss within minutes would bring them back.
        if self.has_copy && !std::mem::replace(&mut self.has_lost_state, true) {
            self.goes_down(down);
            if let Some(state) = self.cabinet.state_mut() {
                state.rebuild_from_copy();
            }
        }
    }

    /// A copy is made now and then, of a store that works.
    fn copy_state(&mut self) {
        let is_well = self.cabinet.is_on() && self.heals.iter().all(|(_, heal)| *heal != Heal::State);
        if let Some(state) = self.cabinet.state_mut().filter(|_| is_well) {
            state.take_copy();
            self.has_copy = true;
        }
    }

    fn stores_badly(&mut self, trouble: StoreTrouble) {
        match trouble {
            StoreTrouble::DiskFull => {
                let used = self.cabinet.disk().map_or(0, |disk| disk.used());
                self.cabinet.set_disk(Faults::default(), used);
                self.heal_later(Heal::Disk, 10..200);
            }
            StoreTrouble::SavesFail => {
                if let Some(state) = self.cabinet.state_mut() {
                    state.set_failing(0.9);
                }
                self.saves_failed.push(self.cabinet.elapsed()..Duration::MAX);
                self.heal_later(Heal::State, 1..100);
            }
            StoreTrouble::DiskFails => {
                let mut share = || [0.0, 0.0, 0.3, 1.0][self.randomness.random_range(0..4)];
                let faults = Faults {
                    writes: share(),
                    syncs: share(),
                    reads: share(),
                    names: share(),
                };
                self.cabinet.set_disk(faults, self.capacity);
                self.heal_later(Heal::Disk, 1..60);
            }
        }
    }

    fn is_served_badly(&mut self, trouble: ServerTrouble) {
        let server = self.cabinet.server_mut();
        match trouble {
            ServerTrouble::RefusesSends => {
                server.manners_mut().refuse_send = Some(Code::SERVICE_UNAVAILABLE);
                self.heal_later(Heal::Sends, 1..60);
            }
            ServerTrouble::CallsSendBad => {
                // Called bad twice in a row it would be bad: once a run is once in a row.
                if !std::mem::replace(&mut self.has_called_bad, true) {
                    let next = &mut server.manners_mut().refuse_next_sends;
                    next.push_back(Code::BAD_REQUEST);
                }
            }
            ServerTrouble::RefusesRegisters => {
                server.manners_mut().refuse_register = Some(Code::FORBIDDEN);
                self.heal_later(Heal::Registers, 10..100);
            }
            ServerTrouble::Forgets => {
                let clients = server.clients();
                if let Some(client) = clients.get(self.randomness.random_range(0..=clients.len())) {
                    server.forget(&client.endpoint);
                }
            }
            ServerTrouble::IsSilent => {
                server.manners_mut().silent = true;
                self.heal_later(Heal::Silence, 1..100);
            }
        }
    }

    fn goes_down(&mut self, down: Down) {
        self.cabinet.go_down(down);
        self.heal_later(Heal::Power, 0..60);
    }

    /// Starts the gateway; its clock may have to be set again.
    fn comes_up(&mut self) {
        if self.cabinet.is_on() {
            return;
        }
        if self.randomness.random_bool(0.3) {
            self.cabinet.clock_mut().unset_wall();
            self.heal_later(Heal::Clock, 1..120);
        }
        // What a disk that cannot be read holds is known at the start after the next.
        let faults = self.cabinet.disk().map(|disk| disk.faults()).unwrap_or_default();
        if faults.reads > 0.0 {
            let faults = Faults { reads: 0.0, ..faults };
            self.cabinet.set_disk(faults, self.capacity);
        }
        if let Err(reason) = self.cabinet.power_on() {
            let faults = self.cabinet.disk().map(|disk| disk.faults());
            if faults == Some(Faults::default()) {
                let at = self.cabinet.elapsed();
                self.failed_starts
                    .push(format!("at {at:?} the gateway did not start: {reason}"));
            }
            self.heal_later(Heal::Power, 1..5);
        }
    }

    fn heal(&mut self, heal: Heal) {
        let manners = self.cabinet.server_mut().manners_mut();
        match heal {
            Heal::Power => self.comes_up(),
            Heal::Clock => {
                let wall = self.cabinet.true_wall();
                self.cabinet.clock_mut().set_wall(wall);
            }
            Heal::Disk => self.cabinet.set_disk(Faults::default(), self.capacity),
            Heal::State => {
                let now = self.cabinet.elapsed();
                if let Some(times) = self.saves_failed.last_mut() {
                    times.end = now;
                }
                if let Some(state) = self.cabinet.state_mut() {
                    state.set_failing(0.0);
                }
            }
            Heal::Sends => manners.refuse_send = None,
            Heal::Registers => manners.refuse_register = None,
            Heal::Silence => manners.silent = false,
        }
    }

    /// Ends all trouble, and gives everything time to arrive.
    fn recover(&mut self) {
        self.let_pass(SECOND * 300);
        *self.cabinet.network_mut().conditions_mut() = Conditions::good();
        for _ in 0..STARTS {
            self.let_pass(SECOND * 60);
        }
        let drained = |cabinet: &Cabinet| {
            cabinet.is_on()
                && cabinet
                    .gateway()
                    .endpoints()
                    .iter()
                    .all(|endpoint| endpoint.queued == 0)
        };
        self.cabinet.silence_scripted();
        self.cabinet.run_until(RECOVERY, drained);
        // What is under way for the last time, and what is told of it.
        self.cabinet.run_for(SECOND * 10);
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(Duration, String)> = Vec::new();
        lines.extend(
            self.troubles
                .iter()
                .map(|(at, trouble)| (*at, format!("TROUBLE {trouble:?}"))),
        );
        lines.extend(
            self.cabinet
                .events()
                .iter()
                .map(|(at, event)| (*at, format!("{event:?}"))),
        );
        lines.extend(
            self.cabinet
                .downs()
                .iter()
                .map(|(at, down)| (*at, format!("DOWN {down:?}"))),
        );
        let refused = self.cabinet.server_events().iter();
        let refused = refused.filter(|(_, event)| matches!(event, Event::Refused { .. }));
        lines.extend(refused.map(|(at, event)| (*at, format!("{event:?}"))));
        lines.sort();
        for (at, line) in lines {
            writeln!(f, "{at:?} {line}")?;
        }
        writeln!(f, "{:?} {:?}", self.cabinet.ledger().totals(), self.trace())
    }
}

fn store(randomness: &mut StdRng) -> StorePlan {
    let segment_bytes = [4 << 10, 16 << 10][randomness.random_range(0..2)];
    StorePlan {
        capacity: 1 << 20,
        options: Options {
            segment_bytes,
            max_bytes: 512 << 10,
            ..Options::default()
        },
        latency: Duration::from_millis([0, 20, 100][randomness.random_range(0..3)]),
    }
}

/// A buffer that readings outgrow: by bytes in all, by bytes of the server, or by age.
fn small_store(randomness: &mut StdRng) -> StorePlan {
    let bound = [(2 << 10, None), (48 << 20, Some(60_000)), (48 << 20, None)];
    let (max_bytes, max_age_ms) = bound[randomness.random_range(0..bound.len())];
    let bound = AccountBound {
        max_bytes,
        max_age_ms,
    };
    StorePlan {
        capacity: 1 << 20,
        options: Options {
            segment_bytes: 4 << 10,
            max_bytes: 8 << 10,
            accounts: [("city".into(), bound)].into(),
        },
        ..StorePlan::default()
    }
}

/// Draws a number between two, small ones as likely as large ones.
fn log_uniform(randomness: &mut StdRng, low: u64, high: u64) -> u64 {
    let exponent = randomness.random_range((low as f64).ln()..=(high as f64).ln());
    exponent.exp() as u64
}
