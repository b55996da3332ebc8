//! The pair of endpoints, the wire between them, and an application behind the second one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::start;
use crate::coap::{
    Code, Endpoint, Event, IncomingRequest, Message, Method, Request, Response, TransmissionParameters,
};

/// How bad the wire is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) loss: f64,
    pub(super) duplication: f64,
    pub(super) delay_ms: u64,
    /// Datagrams take up to this much longer, each on its own: so they overtake each other.
    pub(super) jitter_ms: u64,
}

impl Wire {
    pub(super) const GOOD: Self = Self {
        loss: 0.0,
        duplication: 0.0,
        delay_ms: 10,
        jitter_ms: 0,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Left,
    Right,
}

/// Two endpoints; the application of the right one answers with `answer`, `answer_after` later.
pub(super) struct Pair {
    pub(super) left: Endpoint,
    pub(super) right: Endpoint,
    pub(super) now: Instant,
    pub(super) left_events: Vec<Event>,
    pub(super) right_events: Vec<Event>,
    pub(super) requests: Vec<IncomingRequest>,
    /// What was sent, also what was lost.
    pub(super) sent: Vec<(Side, Message)>,
    pub(super) answer: Box<dyn FnMut(&IncomingRequest) -> Response>,
    pub(super) answer_after: Duration,
    wire: Wire,
    rng: StdRng,
    flying: BTreeMap<(Instant, u64), (Side, Vec<u8>)>,
    answers: BTreeMap<(Instant, u64), (crate::coap::RequestKey, Response)>,
    order: u64,
}

impl Pair {
    pub(super) fn new(wire: Wire, seed: u64) -> Self {
        Self::with(
            TransmissionParameters::default(),
            TransmissionParameters::default(),
            wire,
            seed,
        )
    }

    pub(super) fn with(
        left: TransmissionParameters,
        right: TransmissionParameters,
        wire: Wire,
        seed: u64,
    ) -> Self {
        Self {
            left: Endpoint::new(left, seed, 0x1000),
            right: Endpoint::new(right, seed ^ 0xFFFF, 0xF000),
            now: start(),
            left_events: Vec::new(),
            right_events: Vec::new(),
            requests: Vec::new(),
            sent: Vec::new(),
            answer: Box::new(|_| Response::new(Code::CHANGED)),
            answer_after: Duration::ZERO,
            wire,
            rng: StdRng::seed_from_u64(seed),
            flying: BTreeMap::new(),
            answers: BTreeMap::new(),
            order: 0,
        }
    }

    /// Runs until nothing is awaited any more.
    pub(super) fn run(&mut self) {
        for _ in 0..200_000 {
            self.settle();
            let Some(next) = self.next() else { return };
            self.now = self.now.max(next);
            self.advance();
        }
        panic!("the endpoints never come to rest");
    }

    fn next(&self) -> Option<Instant> {
        let first = |at: Option<&(Instant, u64)>| at.map(|(at, _)| *at);
        let (flying, answers) = (
            first(self.flying.keys().next()),
            first(self.answers.keys().next()),
        );
        [
            self.left.poll_timeout(),
            self.right.poll_timeout(),
            flying,
            answers,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn advance(&mut self) {
        let now = self.now;
        self.left.handle_timeout(now);
        self.right.handle_timeout(now);
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= now) {
            let (key, response) = entry.remove();
            self.right.respond(key, response, now);
        }
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                (Side::Left, datagram) => self.right.handle_datagram(&datagram, now),
                (Side::Right, datagram) => self.left.handle_datagram(&datagram, now),
            }
        }
    }

    fn settle(&mut self) {
        while let Some(event) = self.right.poll_event() {
            if let Event::Request(request) = event {
                let response = (self.answer)(&request);
                self.order += 1;
                self.answers.insert(
                    (self.now + self.answer_after, self.order),
                    (request.key, response),
                );
                self.requests.push(request);
            } else {
                self.right_events.push(event);
            }
        }
        self.left_events
            .extend(std::iter::from_fn(|| self.left.poll_event()));
        for _ in 0..2 {
            while let Some(datagram) = self.left.poll_transmit() {
                self.fly(Side::Left, datagram);
            }
            while let Some(datagram) = self.right.poll_transmit() {
                self.fly(Side::Right, datagram);
            }
        }
    }

    fn fly(&mut self, from: Side, datagram: Vec<u8>) {
        self.sent
            .push((from, Message::parse(&datagram).expect("endpoints send messages")));
        let copies = if self.rng.random_bool(self.wire.duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            if !self.rng.random_bool(self.wire.loss) {
                let delay = self.wire.delay_ms + self.rng.random_range(0..=self.wire.jitter_ms);
                self.order += 1;
                let arrival = self.now + Duration::from_millis(delay);
                self.flying
                    .insert((arrival, self.order), (from, datagram.clone()));
            }
        }
    }
}

/// Returns a request for one path.
pub(super) fn request(method: Method, path: &str, payload: &[u8]) -> Request {
    Request {
        method,
        path: path.split('/').map(str::to_owned).collect(),
        query: Vec::new(),
        accept: None,
        content_format: (!payload.is_empty()).then_some(42),
        payload: payload.to_vec(),
    }
}

/// Returns a 2.05 with a body.
pub(super) fn content(payload: &[u8]) -> Response {
    Response {
        content_format: Some(42),
        payload: payload.to_vec(),
        ..Response::new(Code::CONTENT)
    }
}

/// Returns bytes that tell every place of a body apart.
pub(super) fn body(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index % 251) as u8 ^ (index / 251) as u8)
        .collect()
}
