//! What the devices of a simulated radio do by themselves: they join, say what the script gives them, and some say again
//! what nobody acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::Now;
use ucifi_core::field::DevEui;

use super::Cabinet;
use super::radio::PREFIX;
use super::scripted::{Given, Numbers, Way, dev_eui, payload, place_of};
use crate::radio::{NodeEvent, SendOutcome};

/// The port of their application.
const F_PORT: u8 = 1;

/// From the begin of one join to that of the next, in milliseconds; the first ones and those that were not answered.
const JOIN_STEP_MS: u64 = 400;
const JOIN_PAUSE_MS: std::ops::Range<u64> = 2_000..12_000;

/// How likely a device is to say again what nobody acknowledged.
const REPEATS: f64 = 0.7;

/// What devices have done, all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounters {
    /// Joins that were answered.
    pub joins: u64,
    /// Joins that are needed: one of each device, and one more of each whose session was forgotten.
    pub wanted_joins: u64,
    /// Joins that were not.
    pub failed_joins: u64,
    /// Frames with numbers.
    pub sent: u64,
    /// Those of them with numbers that an earlier frame had.
    pub sent_again: u64,
    /// Frames that were acknowledged.
    pub acknowledged: u64,
    /// Frames that were to be and were not.
    pub unacknowledged: u64,
}

/// The devices of a radio.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: BTreeMap<usize, Node>,
    /// Who is to join, and when.
    joins: BTreeSet<(Instant, usize)>,
    counters: NodeCounters,
    randomness: StdRng,
}

#[derive(Debug, Default)]
struct Node {
    state: State,
    /// What is on its way, or was and nobody acknowledged.
    numbers: Numbers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It has no session.
    #[default]
    Outside,
    /// It has nothing to do.
    Idle,
    /// It sends, or its windows are open.
    Sending,
    /// It is to send again what it has sent.
    Unheard,
}

impl Nodes {
    pub(super) fn new(places: &[usize], seed: u64, start: Instant) -> Self {
        let joins = places.iter().zip(1..).map(|(place, turn)| {
            let at = start + Duration::from_millis(JOIN_STEP_MS * turn);
            (at, *place)
        });
        Self {
            joins: joins.collect(),
            nodes: places.iter().map(|place| (*place, Node::default())).collect(),
            counters: NodeCounters {
                wanted_joins: places.len() as u64,
                ..NodeCounters::default()
            },
            randomness: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.joins.first().map(|(at, _)| *at)
    }

    fn poll_join(&mut self, now: Instant) -> Option<usize> {
        self.joins.first().filter(|(at, _)| *at <= now)?;
        self.joins.pop_first().map(|(_, place)| place)
    }

    fn join_later(&mut self, place: usize, now: Instant) {
        let pause = Duration::from_millis(self.randomness.random_range(JOIN_PAUSE_MS));
        self.joins.insert((now + pause, place));
        if let Some(node) = self.nodes.get_mut(&place) {
            *node = Node::default();
        }
    }

    /// Returns what the device says now: what it is given, or again what nobody acknowledged.
    fn say(&mut self, given: &Given) -> Option<Numbers> {
        let node = self.nodes.get_mut(&given.place)?;
        match node.state {
            State::Outside | State::Sending => return None,
            State::Idle => node.numbers.clone_from(&given.numbers),
            State::Unheard => self.counters.sent_again += 1,
        }
        node.state = State::Sending;
        self.counters.sent += 1;
        Some(node.numbers.clone())
    }

    /// Takes what came of sending; returns what was acknowledged.
    fn take_outcome(&mut self, place: usize, outcome: SendOutcome, is_confirmed: bool) -> Numbers {
        let Some(node) = self.nodes.get_mut(&place) else {
            return Numbers::new();
        };
        node.state = State::Idle;
        if !is_confirmed {
            return Numbers::new();
        }
        if outcome == SendOutcome::Answered {
            self.counters.acknowledged += 1;
            return std::mem::take(&mut node.numbers);
        }
        self.counters.unacknowledged += 1;
        if self.randomness.random_bool(REPEATS) {
            node.state = State::Unheard;
        }
        Numbers::new()
    }
}

impl Cabinet {
    /// Returns what the devices of the radio have done; none where there is none.
    pub fn node_counters(&self) -> Option<NodeCounters> {
        self.radio.as_ref().map(|radio| radio.nodes.counters)
    }

    /// Lets join again whose session is not kept any more, as people do who stand beside a device; says how many.
    pub fn rejoin_forgotten(&mut self) -> usize {
        let now = self.clock.now().instant;
        let (Some(radio), Some(store)) = (&mut self.radio, &self.store) else {
            return 0;
        };
        let kept = store.state.load().values;
        let is_forgotten = |place: &usize| {
            let dev_eui = DevEui(dev_eui(*place));
            !kept.contains_key(&format!("{PREFIX}session/{dev_eui}"))
        };
        let nodes = &mut radio.nodes;
        let inside = nodes
            .nodes
            .iter()
            .filter(|(_, node)| node.state != State::Outside);
        let forgotten = inside.map(|(place, _)| *place).filter(is_forgotten);
        let forgotten: Vec<usize> = forgotten.collect();
        for place in &forgotten {
            nodes.join_later(*place, now);
        }
        nodes.counters.wanted_joins += forgotten.len() as u64;
        forgotten.len()
    }

    /// Lets a device send what it is given, if it can send at all.
    pub(super) fn send_given(&mut self, given: &Given, is_confirmed: bool, now: Now) {
        let Some(radio) = &mut self.radio else { return };
        let Some(numbers) = radio.nodes.say(given) else {
            return;
        };
        let payload = payload(&numbers);
        self.trace.note(self.clock.elapsed(), "node", &payload);
        let dev_eui = dev_eui(given.place);
        radio
            .field
            .send(dev_eui, F_PORT, payload, is_confirmed, now.instant);
        self.settle();
    }

    /// Lets join who is to.
    pub(super) fn wake_nodes(&mut self, now: Instant) {
        let Some(radio) = &mut self.radio else { return };
        while let Some(place) = radio.nodes.poll_join(now) {
            radio.field.join(dev_eui(place), now);
        }
    }

    /// Takes what happened to devices; says whether anything did.
    pub(super) fn settle_nodes(&mut self, now: Now) -> bool {
        let mut busy = false;
        while let Some(event) = self.radio.as_mut().and_then(|radio| radio.field.poll_event()) {
            busy = true;
            let said = format!("{event:?}");
            self.trace.note(self.clock.elapsed(), "node", said.as_bytes());
            self.take_node_event(place_of(event.dev_eui), event.event, now.instant);
        }
        busy
    }

    fn take_node_event(&mut self, place: usize, event: NodeEvent, now: Instant) {
        let is_confirmed = self.script.device(place).way == (Way::Radio { is_confirmed: true });
        let Some(radio) = &mut self.radio else { return };
        let nodes = &mut radio.nodes;
        match event {
            NodeEvent::Joined => {
                nodes.counters.joins += 1;
                if let Some(node) = nodes.nodes.get_mut(&place) {
                    node.state = State::Idle;
                }
            }
            NodeEvent::JoinFailed => {
                nodes.counters.failed_joins += 1;
                nodes.join_later(place, now);
            }
            NodeEvent::Sent(SendOutcome::NoSession) => nodes.join_later(place, now),
            NodeEvent::Sent(outcome) => {
                let at = self.clock.elapsed();
                for (_, number) in nodes.take_outcome(place, outcome, is_confirmed) {
                    self.ledger.confirm(number, at);
                }
            }
            NodeEvent::Told { payload, .. } => {
                self.orders.handle_told(place, &payload, self.starts);
            }
        }
    }
}
