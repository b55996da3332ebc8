//! One run through trouble: what happens is drawn from the seed, and what must hold is checked at the end.

mod devices;
mod report;
mod stores;
mod troubles;

use std::ops::Range;
use std::time::Duration;

use lwm2m_client::object::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::{DropReason, EndpointId, Event};
use ucifi_sim::cabinet::{Cabinet, Plan, Reuse, Trace};
use ucifi_sim::network::{Conditions, outages};

use devices::with_devices;
use stores::{small_store, store};
use troubles::{FieldTrouble, Heal, StoreTrouble, Trouble};

const SECOND: Duration = Duration::from_secs(1);

/// How long there is trouble.
const TROUBLE: Duration = Duration::from_secs(480);

/// How long after that everything may take to arrive: pauses after refusals grow to minutes.
const RECOVERY: Duration = Duration::from_secs(4 * 3600);

/// Within this time of the end of all trouble the gateway must have started.
const STARTS: u32 = 3;

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
    /// How many joins were recorded and sent again.
    replayed_joins: usize,
    /// Until when saves failed, and from when on.
    saves_failed: Vec<Range<Duration>>,
    /// Whether the buffer is so small that readings have to go.
    is_small: bool,
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
        let mut plan = with_devices(Plan::new(seed).with_store(store), &mut randomness);
        plan.second_model = randomness.random_bool(0.5).then_some(Model::Y2020);
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
            replayed_joins: 0,
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
        faults.extend(self.faults_of_adapters());
        let (_, reused) = self.cabinet.message_ids();
        let reused = reused.iter().filter(|reuse| !self.may_reuse(reuse));
        faults.extend(reused.map(|reuse| format!("{reuse:?}")));
        for endpoint in self.cabinet.gateway().endpoints() {
            // What a device was told is shown by an instance that is not there any more where the state was lost.
            let dropped = endpoint.dropped.saturating_sub(self.set_aside(endpoint.id));
            if endpoint.queued > 0 || dropped > 0 && !self.may_lose() {
                faults.push(format!("{endpoint:?}"));
            }
        }
        faults
    }

    /// Returns what must not be on the side of the devices.
    fn faults_of_adapters(&self) -> Vec<String> {
        let (broker, field) = (self.cabinet.broker(), self.cabinet.field());
        let nodes = self.cabinet.node_counters().unwrap_or_default();
        let (joins, wanted_joins) = (nodes.joins, nodes.wanted_joins);
        let untold = if self.may_leave_untold() {
            0
        } else {
            self.cabinet.untold_orders() as u64
        };
        let counts = [
            ("devices not told what is durable", untold),
            (
                "acknowledgements out of order",
                broker.map_or(0, |b| b.out_of_order()),
            ),
            (
                "messages never acknowledged",
                self.cabinet.owed_by_broker() as u64,
            ),
            (
                "counters of downlinks used again",
                field.map_or(0, |f| f.reused_counters()),
            ),
            (
                "nonces of joins used again",
                field.map_or(0, |f| f.reused_nonces()),
            ),
            ("joins that nobody needed", joins.saturating_sub(wanted_joins)),
            ("devices outside at the end", wanted_joins.saturating_sub(joins)),
        ];
        let wrong = counts.into_iter().filter(|(_, count)| *count > 0);
        wrong.map(|(what, count)| format!("{count} {what}")).collect()
    }

    /// A command goes out a few times before it is given up, and may be forgotten with the state.
    fn may_leave_untold(&self) -> bool {
        let is_deaf = |(_, trouble): &(Duration, Trouble)| {
            matches!(
                trouble,
                Trouble::Field(FieldTrouble::ForwardersAreAway | FieldTrouble::AirIsBad)
            )
        };
        self.has_lost_state || self.troubles.iter().any(is_deaf)
    }

    /// Counts the readings of an endpoint that its server does not take; the ledger knows of none of them.
    fn set_aside(&self, of: EndpointId) -> u64 {
        let events = self.cabinet.events().iter().map(|(_, event)| event);
        let counts = events.filter_map(|event| {
            if let Event::ReadingsDropped {
                endpoint,
                count,
                reason: DropReason::Poison,
            } = event
            {
                (*endpoint == of).then_some(*count as u64)
            } else {
                None
            }
        });
        counts.sum()
    }

    /// Says whether readings may have had to go: a bound was reached, or the disk was full.
    fn may_lose(&self) -> bool {
        let is_full = |(_, trouble): &(Duration, Trouble)| matches!(trouble, Trouble::Store(store) if *store != StoreTrouble::SavesFail);
        self.is_small || self.troubles.iter().any(is_full)
    }

    /// Where saves fail, the gateway would rather use a message id again after a crash than be silent.
    fn may_reuse(&self, reuse: &Reuse) -> bool {
        let mut failed = self.saves_failed.iter();
        failed.any(|times| times.start <= reuse.again && self.knows_that_saves_work(times) >= reuse.first)
    }

    /// Returns until when saves failed for all that the gateway knew: it tries again after a pause.
    fn knows_that_saves_work(&self, failed: &Range<Duration>) -> Duration {
        let told = |(at, event): &&(Duration, Event)| failed.contains(at) && is_about_saves(event);
        let last = self.cabinet.events().iter().rfind(told);
        if !matches!(last, Some((_, Event::StateFailed { .. }))) {
            return failed.end;
        }
        let works = |(at, event): &&(Duration, Event)| *at >= failed.end && *event == Event::StateWorks;
        let works = self.cabinet.events().iter().filter(works).map(|(at, _)| *at);
        let downs = self.cabinet.downs().iter().map(|(at, _)| *at);
        let ends = works.chain(downs.filter(|at| *at >= failed.end));
        ends.min().unwrap_or(failed.end)
    }

    pub(crate) fn trace(&self) -> Trace {
        *self.cabinet.trace()
    }

    /// Says whether devices of all three protocols are there.
    pub(crate) fn has_all_protocols(&self) -> bool {
        // With a broker and a radio there is a bus as well.
        self.cabinet.broker().is_some() && self.cabinet.field().is_some()
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

    /// Ends all trouble, and gives everything time to arrive.
    fn recover(&mut self) {
        self.let_pass(SECOND * 300);
        *self.cabinet.network_mut().conditions_mut() = Conditions::good();
        self.heal(Heal::Broker);
        self.heal(Heal::Radio);
        for _ in 0..STARTS {
            self.let_pass(SECOND * 60);
        }
        let drained = |cabinet: &Cabinet| {
            cabinet.is_on()
                && cabinet.owed_by_broker() == 0
                && cabinet
                    .gateway()
                    .endpoints()
                    .iter()
                    .all(|endpoint| endpoint.queued == 0)
        };
        self.cabinet.silence_scripted();
        self.cabinet.run_until(RECOVERY, drained);
        // What is under way for the last time, what is told of it, and where that goes.
        self.cabinet.run_for(SECOND * 15);
        self.cabinet.run_until(RECOVERY, drained);
    }
}

/// Draws a number between two, small ones as likely as large ones.
fn log_uniform(randomness: &mut StdRng, low: u64, high: u64) -> u64 {
    let exponent = randomness.random_range((low as f64).ln()..=(high as f64).ln());
    exponent.exp() as u64
}

fn is_about_saves(event: &Event) -> bool {
    *event == Event::StateWorks || matches!(event, Event::StateFailed { .. })
}
