//! The LwM2M client towards one server.
//!
//! | file | what it does |
//! |---|---|
//! | `config`, `event`, `objects`, `operation` | what goes in and comes out |
//! | `registration`, `schedule`, `object_list` | Register, Update, De-register |
//! | `serve`, `management`, `read`, `write`, `discover`, `refusal` | requests of the server |
//! | `view`, `server_object` | the objects that the server sees; object 1 is the client's own |
//! | `attributes`, `notification`, `observe` | observations |
//! | `send` | Send |
//! | `saved`, `resume` | what outlives a restart |
//! | `limits` | every bound |
//!
//! There is no bootstrap interface and no queue mode here, and composite operations are refused.

mod attributes;
mod config;
mod discover;
mod event;
pub mod limits;
mod management;
mod notification;
mod object_list;
mod objects;
mod observe;
mod operation;
mod progress;
mod read;
mod refusal;
mod registration;
mod resume;
mod saved;
mod schedule;
mod send;
mod serve;
mod server_object;
#[cfg(test)]
mod tests;
mod view;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

pub use crate::object::EnablerVersion;
pub use config::{ClientConfig, RetryPolicy};
pub use event::{Event, NotifyRefused, Observed, RegistrationState, SendId, SendOutcome, SendRefused};
pub use objects::{Content, Objects};
pub use operation::{Failure, FailureCode, Operation, OperationId, Response, WriteMode};
pub use saved::{Saved, SavedError};

use crate::Path;
use crate::coap::{Endpoint, ReservedIds};
use crate::format::Record;
use attributes::AttributeTable;
use object_list::object_list;
use observe::Observations;
use registration::{AfterDeregister, Registration};
use resume::HeldAnswer;
use send::Sends;
use serve::PendingOperation;
use server_object::ServerObject;
use view::View;

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
    endpoint: Endpoint,
    registration: Registration,
    server: ServerObject,
    attributes: AttributeTable,
    observations: Observations,
    sends: Sends,
    operations: BTreeMap<OperationId, PendingOperation>,
    next_operation: u64,
    events: VecDeque<Event>,
    /// When a rejected Send or notification last made the client ask whether it is still registered.
    doubted_at: Option<Instant>,
    /// Whether notifications that do not arrive are owed, as far as the server wants them.
    owes_notifications: bool,
    /// How many changes there were that must outlive a restart.
    revision: u64,
    /// Answers to requests whose change is not durable yet.
    held: Vec<HeldAnswer>,
    /// Whether it was told that message ids or sequence numbers are to be reserved.
    asked_for_reservation: bool,
    now: Instant,
}

impl Client {
    /// Returns a client that has not started. `first_message_id` must not lie within what was used towards this
    /// server in the last 247 s, also before a restart.
    pub fn new(config: ClientConfig, seed: u64, first_message_id: u16, now: Instant) -> Self {
        let transmission = config.transmission.clone();
        let endpoint = if config.reserves_message_ids {
            Endpoint::resume(
                transmission,
                seed,
                ReservedIds::starting_at(first_message_id),
                now,
            )
        } else {
            Endpoint::new(transmission, seed, first_message_id)
        };
        Self::with_endpoint(config, endpoint, seed, now)
    }

    fn with_endpoint(config: ClientConfig, endpoint: Endpoint, seed: u64, now: Instant) -> Self {
        Self {
            endpoint,
            registration: Registration::new(&config, seed),
            server: ServerObject::new(&config),
            attributes: AttributeTable::default(),
            observations: Observations::counting_from(1, config.reserves_message_ids),
            sends: Sends::default(),
            operations: BTreeMap::new(),
            next_operation: 0,
            events: VecDeque::new(),
            doubted_at: None,
            owes_notifications: false,
            revision: 0,
            held: Vec::new(),
            asked_for_reservation: false,
            now,
            config,
        }
    }

    /// Returns what the client was told once.
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Returns how the client stands with its server.
    pub const fn state(&self) -> RegistrationState {
        self.registration.state()
    }

    /// Says whether a registration from before a restart waits to be found alive.
    pub const fn is_resuming(&self) -> bool {
        self.registration.is_resuming()
    }

    /// Returns the enabler version that is spoken, lower than the one configured after a 4.12.
    pub const fn version(&self) -> EnablerVersion {
        self.registration.version()
    }

    /// Returns the lifetime, which the server can write (/1/0/1).
    pub const fn lifetime_secs(&self) -> u32 {
        self.server.lifetime_secs
    }

    /// Says whether the server has muted Send (/1/0/23).
    pub const fn is_send_muted(&self) -> bool {
        self.server.mute_send
    }

    /// Says whether the server wants notifications kept while it is away (/1/0/6).
    pub const fn stores_notifications(&self) -> bool {
        self.server.notification_storing
    }

    /// Returns what the server observes, by path.
    pub fn observed(&self) -> Vec<Observed> {
        self.observations.observed()
    }

    /// Returns what happened on the datagram flow so far.
    pub const fn counters(&self) -> crate::coap::Counters {
        self.endpoint.counters()
    }

    /// Begins to register, after [`new`](Self::new), after [`deregister`](Self::deregister), or after the client has
    /// given up.
    pub fn start(&mut self, objects: &dyn Objects, now: Instant) {
        if self.registration.start() {
            self.server.set_version(self.registration.version());
            self.registration.set_objects(self.object_list(objects));
        }
        self.progress(objects, now);
    }

    /// Takes a datagram from the server.
    pub fn handle_datagram(&mut self, datagram: &[u8], objects: &dyn Objects, now: Instant) {
        self.endpoint.handle_datagram(datagram, now);
        self.progress(objects, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, objects: &dyn Objects, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.registration.handle_timeout(now);
        self.expire_operations(now);
        self.progress(objects, now);
    }

    /// Tells that values have changed: observations are evaluated.
    pub fn handle_changed(&mut self, paths: &[Path], objects: &dyn Objects, now: Instant) {
        self.observations.handle_changed(paths);
        self.progress(objects, now);
    }

    /// Tells that objects or instances have come or gone: an Update goes out, observations of what is gone end.
    pub fn handle_instances_changed(&mut self, objects: &dyn Objects, now: Instant) {
        let view = View::new(objects, &self.server);
        self.registration
            .set_objects(object_list(view, self.registration.version()));
        self.attributes
            .retain(|path| match (path.object_id(), path.instance_id()) {
                (Some(o), Some(i)) => view.has_instance(o, i),
                (Some(_) | None, None) | (None, Some(_)) => view.exists(path),
            });
        let ended = self.observations.handle_instances_changed(view);
        if !ended.is_empty() {
            self.tell_observations_changed();
        }
        if self.tells_ends() {
            for notification in ended {
                self.endpoint.notify(notification, now);
            }
        }
        self.progress(objects, now);
    }

    /// Answers an operation; an answer that comes too late is dropped.
    pub fn respond(&mut self, id: OperationId, response: Response, objects: &dyn Objects, now: Instant) {
        if let Some(pending) = self.operations.remove(&id) {
            let changes_list = matches!(response, Response::Created(_) | Response::Deleted);
            self.endpoint.respond(pending.key, pending.answer(&response), now);
            if changes_list {
                return self.handle_instances_changed(objects, now);
            }
        }
        self.progress(objects, now);
    }

    /// Sends records to the server (LwM2M 1.1 Send); the outcome is told by [`Event::SendFinished`].
    pub fn send(&mut self, id: SendId, records: Vec<Record>, now: Instant) -> Result<(), SendRefused> {
        if self.state() != RegistrationState::Registered {
            return Err(SendRefused::NotRegistered);
        }
        if self.version() < EnablerVersion::V1_1 {
            return Err(SendRefused::NotInVersion);
        }
        if self.server.mute_send {
            return Err(SendRefused::Muted);
        }
        self.now = now;
        let request = self.sends.request(self.registration.root(), &records)?;
        let request = self.endpoint.request(request, now);
        self.sends.handle_sent(request, id);
        Ok(())
    }

    /// Says whether notifications that do not arrive are owed, as far as the server wants them kept (/1/x/6): then
    /// each is confirmable, and what is not acknowledged comes out as [`Event::NotificationOwed`].
    pub const fn set_owes_notifications(&mut self, owes: bool) {
        self.owes_notifications = owes;
    }

    /// Sends records that were owed as one notification, with their own times, on an observation of all their
    /// paths; the outcome is told by [`Event::SendFinished`]. The newest value is told again after the last of them.
    pub fn notify_late(
        &mut self,
        id: SendId,
        records: Vec<Record>,
        now: Instant,
    ) -> Result<(), NotifyRefused> {
        if self.state() != RegistrationState::Registered {
            return Err(NotifyRefused::NotRegistered);
        }
        self.now = now;
        let block_bytes = self.config.transmission.block_size;
        let outgoing = self.observations.late(id, &records, block_bytes, now)?;
        self.send_notification(outgoing, now);
        Ok(())
    }

    /// Owes every notification that is not acknowledged, for when there is no time to wait for it: before a stop.
    pub fn owe_notifications(&mut self) {
        self.observations.owe_everything();
        self.tell_owed();
    }

    /// Leaves the server.
    pub fn deregister(&mut self, now: Instant) {
        self.leave(AfterDeregister::Stop, now);
    }

    /// Sends an Update soon, whether anything has changed or not; registers soon where that is being waited for.
    pub fn update(&mut self, now: Instant) {
        self.now = now;
        self.registration.want_update(now);
    }

    /// Returns the next datagram for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit()
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.ask_for_reservation();
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due; it may lie in the past.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let observations = self.observations.poll_timeout(self.observes());
        let operations = self.operations.values().map(PendingOperation::expires_at).min();
        let times = [
            // What failed in a call that was not handed the objects.
            self.endpoint.has_events().then_some(self.now),
            self.endpoint.poll_timeout(),
            self.registration.poll_timeout(self.now),
            self.endpoint
                .reservation_settles_at()
                .filter(|_| self.config.reserves_message_ids && !self.asked_for_reservation),
            observations,
            operations,
        ];
        times.into_iter().flatten().min()
    }
}
