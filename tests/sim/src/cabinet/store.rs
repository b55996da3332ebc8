//! The store of a simulated gateway: its buffer and its state, served by one worker strictly in order.
//!
//! A request is carried out some time after it was made, and answered some time after that; when the gateway goes down
//! in between, it is durable and nobody was told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::buffer::{Contents, Log, Options, Reply, Request, Statistics};
use ucifi_core::state::{SaveRequest, Saved};

use crate::disk::{PowerCut, SimulatedDisk};
use crate::ledger::Ledger;
use crate::state::SimulatedState;

/// More changes than one commit makes on a disk: a number up to this hits any of them.
const CHANGES_OF_A_COMMIT: u64 = 6;

/// How a gateway keeps what outlives a restart.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// How many bytes of files the disk has space for.
    pub capacity: u64,
    /// How the buffer is kept on it.
    pub options: Options,
    /// The longest time until a request is carried out, and the longest until it is answered after that.
    pub latency: Duration,
}

impl Default for StorePlan {
    /// Returns a disk of a megabyte with segments of 16 KiB, which takes up to 200 ms.
    fn default() -> Self {
        Self {
            capacity: 1 << 20,
            options: Options {
                segment_bytes: 16 << 10,
                max_bytes: 512 << 10,
                ..Options::default()
            },
            latency: Duration::from_millis(100),
        }
    }
}

/// What is asked of the store.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Buffer(Request),
    Save(Keeper, SaveRequest),
}

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeper {
    Core,
    Radio,
}

/// What the store answers.
#[derive(Debug)]
pub(super) enum Answer {
    Buffer(Reply),
    Saved {
        keeper: Keeper,
        id: u64,
        result: Result<(), String>,
    },
}

#[derive(Debug)]
struct Job {
    begins: Instant,
    ends: Instant,
    wanted: Wanted,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) disk: SimulatedDisk,
    pub(super) state: SimulatedState,
    plan: StorePlan,
    log: Option<Log<SimulatedDisk>>,
    /// What the buffer did in the earlier starts.
    past: Vec<Statistics>,
    jobs: VecDeque<Job>,
    answers: VecDeque<(Instant, Answer)>,
    free_at: Option<Instant>,
    randomness: StdRng,
}

impl Store {
    pub(super) fn new(plan: StorePlan, seed: u64) -> Self {
        Self {
            disk: SimulatedDisk::new(plan.capacity, seed.wrapping_add(1)),
            state: SimulatedState::new(seed.wrapping_add(2)),
            plan,
            log: None,
            past: Vec::new(),
            jobs: VecDeque::new(),
            answers: VecDeque::new(),
            free_at: None,
            randomness: StdRng::seed_from_u64(seed),
        }
    }

    /// Gives what a start of the gateway goes on with.
    pub(super) fn open(&mut self) -> Result<(Saved, Contents), String> {
        self.disk.power_on();
        let (log, contents) =
            Log::open(self.disk.clone(), self.plan.options.clone()).map_err(|error| error.to_string())?;
        self.log = Some(log);
        Ok((self.state.load(), contents))
    }

    /// Returns what the buffer did in each start of the gateway.
    pub(super) fn statistics(&self) -> Vec<Statistics> {
        let present = self.log.as_ref().map(Log::statistics);
        self.past.iter().copied().chain(present).collect()
    }

    /// Returns how much space the disk was planned with.
    pub(super) const fn capacity(&self) -> u64 {
        self.plan.capacity
    }

    /// Says for how long at most a request can be neither durable nor answered.
    pub(super) const fn latency(&self) -> Duration {
        self.plan.latency
    }

    pub(super) fn ask(&mut self, wanted: Wanted, now: Instant) {
        let from = self.free_at.map_or(now, |free| free.max(now));
        let begins = from + self.pause();
        let ends = begins + self.pause();
        self.free_at = Some(ends);
        self.jobs.push_back(Job { begins, ends, wanted });
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let begins = self.jobs.front().map(|job| job.begins);
        let ends = self.answers.front().map(|(ends, _)| *ends);
        [begins, ends].into_iter().flatten().min()
    }

    /// Returns the next answer that is ready.
    pub(super) fn poll_answer(&mut self, now: Instant) -> Option<Answer> {
        let (ends, _) = self.answers.front()?;
        (*ends <= now)
            .then(|| self.answers.pop_front())?
            .map(|(_, answer)| answer)
    }

    /// Carries out what is due; says whether the power is still there.
    pub(super) fn work(&mut self, ledger: &mut Ledger, now: Instant) -> bool {
        while self.jobs.front().is_some_and(|job| job.begins <= now) {
            let Some(job) = self.jobs.pop_front() else { break };
            match job.wanted {
                Wanted::Buffer(request) => {
                    let replies = self.carry_out(&request, ledger);
                    let answers = replies.into_iter().map(|reply| (job.ends, Answer::Buffer(reply)));
                    self.answers.extend(answers);
                }
                Wanted::Save(keeper, request) => {
                    let (id, result) = (request.id, self.state.save(&request));
                    let answer = Answer::Saved { keeper, id, result };
                    self.answers.push_back((job.ends, answer));
                }
            }
            if !self.disk.has_power() {
                return false;
            }
        }
        true
    }

    /// Lets the gateway go down in whatever the store is at: by a power cut, or by the end of the process alone.
    pub(super) fn go_down(&mut self, cut: Option<PowerCut>, ledger: &mut Ledger) {
        if self.disk.has_power() && self.randomness.random_bool(0.5) {
            self.interrupt(ledger);
        }
        self.jobs.clear();
        self.answers.clear();
        self.free_at = None;
        self.past.extend(self.log.take().map(|log| log.statistics()));
        match cut {
            Some(cut) => self.disk.cut_power(cut),
            None => self.disk.power_on(),
        }
    }

    /// Begins the next request and does not end it.
    fn interrupt(&mut self, ledger: &mut Ledger) {
        match self.jobs.pop_front().map(|job| job.wanted) {
            Some(Wanted::Buffer(request)) => {
                let changes = self.randomness.random_range(0..CHANGES_OF_A_COMMIT);
                self.disk.fail_power_in(changes);
                self.carry_out(&request, ledger);
            }
            Some(Wanted::Save(_, request)) => self.state.interrupt(&request),
            None => {}
        }
    }

    fn carry_out(&mut self, request: &Request, ledger: &mut Ledger) -> Vec<Reply> {
        let log = self
            .log
            .as_mut()
            .expect("requests are carried out while the gateway is on");
        let replies = log.handle(request.clone());
        match request {
            Request::Commit(commit) if !self.disk.has_power() => ledger.interrupt(commit),
            Request::Commit(_) | Request::Load { .. } | Request::DropOlder { .. } => {
                ledger.answer(request, &replies);
            }
        }
        replies
    }

    fn pause(&mut self) -> Duration {
        self.plan.latency.mul_f64(self.randomness.random_range(0.0..=1.0))
    }
}
