//! The LwM2M client towards one server.

mod config;
mod event;
mod objects;
mod operation;

use std::collections::VecDeque;
use std::time::Instant;

pub use config::{ClientConfig, EnablerVersion, RetryPolicy};
pub use event::{Event, Observed, RegistrationState, ResponseCode, SendId, SendOutcome, SendRefused};
pub use objects::{Content, Objects};
pub use operation::{Failure, FailureCode, Operation, OperationId, Response, WriteMode};

use crate::Path;
use crate::format::Record;

/// A LwM2M client towards one server, as a state machine.
///
/// Its methods are of four kinds: getters; `handle_*` for what came in (datagrams, time, changed values); orders
/// ([`start`](Self::start), [`respond`](Self::respond), [`send`](Self::send), …); and `poll_*` for what must go out.
/// After any call of the second and third kind, call [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) until they return none, then call [`handle_timeout`](Self::handle_timeout) at
/// the time that [`poll_timeout`](Self::poll_timeout) gives.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: RegistrationState,
    events: VecDeque<Event>,
}

impl Client {
    /// Returns a client that has not started. `first_message_id` must not lie within what was used towards this
    /// server in the last 247 s, also before a restart.
    pub fn new(config: ClientConfig, _seed: u64, _first_message_id: u16, _now: Instant) -> Self {
        Self {
            config,
            state: RegistrationState::Idle,
            events: VecDeque::new(),
        }
    }

    /// Returns what the client was told once.
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Returns how the client stands with its server.
    pub const fn state(&self) -> RegistrationState {
        self.state
    }

    /// Returns what the server observes.
    pub fn observed(&self) -> Vec<Observed> {
        Vec::new()
    }

    /// Begins to register.
    pub fn start(&mut self, _objects: &dyn Objects, _now: Instant) {}

    /// Takes a datagram from the server.
    pub fn handle_datagram(&mut self, _datagram: &[u8], _objects: &dyn Objects, _now: Instant) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _objects: &dyn Objects, _now: Instant) {}

    /// Tells that values have changed: observations are evaluated.
    pub fn handle_changed(&mut self, _paths: &[Path], _objects: &dyn Objects, _now: Instant) {}

    /// Tells that objects or instances have come or gone: an Update goes out.
    pub fn handle_instances_changed(&mut self, _objects: &dyn Objects, _now: Instant) {}

    /// Answers an operation; an answer that comes too late is dropped.
    pub fn respond(&mut self, _id: OperationId, _response: Response, _objects: &dyn Objects, _now: Instant) {}

    /// Sends records to the server (LwM2M 1.1 Send); the outcome is told by [`Event::SendFinished`].
    pub fn send(&mut self, _id: SendId, _records: Vec<Record>, _now: Instant) -> Result<(), SendRefused> {
        Err(SendRefused::NotRegistered)
    }

    /// Leaves the server.
    pub fn deregister(&mut self, _now: Instant) {}

    /// Sends an Update soon, whether anything has changed or not.
    pub fn update(&mut self, _now: Instant) {}

    /// Returns the next datagram for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
