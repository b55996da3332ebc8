//! The registration: Register, Update, De-register, and when to try again.
//!
//! ```text
//!  Idle ──start──► Registering ──2.01──► Registered ──De-register──► Deregistering ──► Stopped | Disabled
//!                   ▲   │ ▲ 4.12: lower      │ any failure of an Update                          │
//!        back-off   │   │ └────────version    ▼                                                  │
//!        is over    │   └─other failure─► Waiting | Stopped          after /1/0/5 seconds ◄──────┘
//!                   └────────────────────────┴──────────────────────────────┘
//! ```
//!
//! After a restart `start` leads to Registered, where an Update finds out whether that still holds.
//!
//! It makes requests and takes answers; sending them is the caller's.

mod request;
mod resume;

use std::time::{Duration, Instant};

use request::root_of;

use crate::client::config::ClientConfig;
use crate::client::event::{Event, RegistrationState};
use crate::client::schedule::Schedule;
use crate::coap::{Code, Request, RequestId, Response};
use crate::object::EnablerVersion;

#[derive(Debug)]
enum State {
    Idle,
    /// To be sent while there is no request.
    Registering(Option<(RequestId, Told)>),
    Waiting {
        until: Instant,
    },
    Registered(Registered),
    Deregistering {
        request: RequestId,
        then: AfterDeregister,
    },
    Disabled {
        until: Instant,
    },
    Stopped,
}

impl State {
    /// Returns what a De-register leads to once it is over.
    fn left(then: AfterDeregister, now: Instant) -> Self {
        match then {
            AfterDeregister::Stop => Self::Stopped,
            AfterDeregister::Pause(secs) => Self::Disabled {
                until: now + Duration::from_secs(secs.into()),
            },
        }
    }
}

#[derive(Debug)]
struct Registered {
    location: Vec<String>,
    told: Told,
    /// None for an infinite lifetime.
    update_at: Option<Instant>,
    update: Option<(RequestId, Told)>,
    /// The registration is from before a restart, and no Update has found it alive yet.
    resuming: bool,
}

/// What the server knows, or is being told.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    lifetime_secs: u32,
    /// A fingerprint of the object list.
    objects: u64,
}

/// Where a De-register leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum AfterDeregister {
    Stop,
    /// Register again after this many seconds.
    Pause(u32),
}

/// What a finished request means for the rest of the client.
#[derive(Debug, PartialEq)]
pub(in crate::client) enum Outcome {
    /// A new registration: the server knows no observation.
    Registered,
    /// The server knows the client and its state.
    Updated,
    /// The same, and the server was told something new.
    UpdatedAnew,
    /// The version was lowered: the object list is to be made anew.
    SteppedDown,
    /// There is no registration any more.
    Gone,
}

/// The registration of one client.
#[derive(Debug)]
pub(in crate::client) struct Registration {
    state: State,
    endpoint: String,
    root: Vec<String>,
    query: Vec<(String, String)>,
    configured: EnablerVersion,
    version: EnablerVersion,
    schedule: Schedule,
    lifetime_secs: u32,
    objects: String,
    update_wanted: bool,
    /// From before a restart; taken up by the first start.
    saved: Option<Registered>,
}

impl Registration {
    pub(in crate::client) fn new(config: &ClientConfig, seed: u64) -> Self {
        Self {
            state: State::Idle,
            endpoint: config.endpoint.clone(),
            root: root_of(&config.server_uri),
            query: config.register_query.clone(),
            configured: config.version,
            version: config.version,
            schedule: Schedule::new(config.retry, seed),
            lifetime_secs: config.lifetime_secs,
            objects: String::new(),
            update_wanted: false,
            saved: None,
        }
    }

    pub(in crate::client) const fn state(&self) -> RegistrationState {
        match self.state {
            State::Idle => RegistrationState::Idle,
            State::Registering(_) => RegistrationState::Registering,
            State::Waiting { .. } => RegistrationState::Waiting,
            State::Registered(Registered { resuming: true, .. }) => RegistrationState::Registering,
            State::Registered(_) => RegistrationState::Registered,
            State::Deregistering { .. } => RegistrationState::Deregistering,
            State::Disabled { .. } => RegistrationState::Disabled,
            State::Stopped => RegistrationState::Stopped,
        }
    }

    pub(in crate::client) const fn version(&self) -> EnablerVersion {
        self.version
    }

    /// Returns the path that goes before `rd` and `dp`.
    pub(in crate::client) fn root(&self) -> &[String] {
        &self.root
    }

    /// Begins to register with the highest version configured, or to update what a restart interrupted. Says whether there was something to begin.
    pub(in crate::client) fn start(&mut self) -> bool {
        if !matches!(self.state, State::Idle | State::Stopped) {
            return false;
        }
        self.schedule.reset();
        if let Some(saved) = self.saved.take() {
            self.state = State::Registered(saved);
            self.update_wanted = true;
            return true;
        }
        self.version = self.configured;
        self.state = State::Registering(None);
        true
    }

    /// Sets what the server is to know.
    pub(in crate::client) fn set_objects(&mut self, objects: String) {
        self.objects = objects;
    }

    /// Sets what the server is to know.
    pub(in crate::client) const fn set_lifetime(&mut self, lifetime_secs: u32) {
        self.lifetime_secs = lifetime_secs;
    }

    /// Wants an Update, whether anything has changed or not; while waiting, ends the wait.
    pub(in crate::client) fn want_update(&mut self, now: Instant) {
        if let State::Registered(_) = self.state {
            self.update_wanted = true;
        }
        if let State::Waiting { until } = &mut self.state {
            *until = now;
        }
    }

    /// Ends a wait that is over.
    pub(in crate::client) fn handle_timeout(&mut self, now: Instant) {
        if let State::Waiting { until } | State::Disabled { until } = self.state
            && until <= now
        {
            self.state = State::Registering(None);
        }
    }

    /// Returns the Register that waits for its answer.
    pub(in crate::client) fn register_under_way(&self) -> Option<RequestId> {
        let State::Registering(Some((request, _))) = &self.state else {
            return None;
        };
        Some(*request)
    }

    /// Says whether a Register is to be sent, for which the object list must be made.
    pub(in crate::client) const fn is_register_due(&self) -> bool {
        matches!(self.state, State::Registering(None))
    }

    /// Returns the request to send, to be followed by [`handle_sent`](Self::handle_sent).
    pub(in crate::client) fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if self.is_register_due() {
            return Some(self.register());
        }
        let registered = self.idle_registration()?;
        let due = registered.update_at.is_some_and(|at| at <= now);
        (due || self.is_update_wanted(registered)).then(|| self.update(registered))
    }

    /// Notes under which number a request of [`poll_request`](Self::poll_request) went out.
    pub(in crate::client) fn handle_sent(&mut self, id: RequestId) {
        let told = self.wanted();
        if let State::Registering(request) = &mut self.state {
            *request = Some((id, told));
        } else if let State::Registered(registered) = &mut self.state {
            registered.update = Some((id, told));
            self.update_wanted = false;
        }
    }

    /// Returns the registration, unless an Update is under way.
    fn idle_registration(&self) -> Option<&Registered> {
        let State::Registered(registered) = &self.state else {
            return None;
        };
        registered.update.is_none().then_some(registered)
    }

    fn is_update_wanted(&self, registered: &Registered) -> bool {
        self.update_wanted || registered.told != self.wanted()
    }

    /// Notes that the De-register went out, or that there was nothing to send one for; says whether that was all.
    pub(in crate::client) fn handle_deregister(
        &mut self,
        request: Option<RequestId>,
        then: AfterDeregister,
        now: Instant,
    ) -> bool {
        if let State::Deregistering { then: decided, .. } = &mut self.state {
            // To stop is stronger than to pause.
            *decided = if then == AfterDeregister::Stop {
                then
            } else {
                *decided
            };
            return false;
        }
        if matches!(self.state, State::Stopped | State::Idle) {
            return false;
        }
        self.state = match request {
            Some(request) => State::Deregistering { request, then },
            None => State::left(then, now),
        };
        request.is_none()
    }

    /// Takes what became of a request; none where it is none of this part.
    pub(in crate::client) fn handle_finished(
        &mut self,
        id: RequestId,
        result: Result<&Response, String>,
        now: Instant,
    ) -> Option<(Outcome, Event)> {
        match &mut self.state {
            State::Registering(Some((request, told))) if *request == id => {
                let told = *told;
                Some(self.registered(result, told, now))
            }
            State::Registered(registered) if registered.update.as_ref().is_some_and(|(u, _)| *u == id) => {
                Some(self.updated(result, now))
            }
            State::Deregistering { request, then } if *request == id => {
                self.state = State::left(*then, now);
                Some((Outcome::Gone, Event::Deregistered))
            }
            State::Registering(_)
            | State::Registered(_)
            | State::Deregistering { .. }
            | State::Idle
            | State::Waiting { .. }
            | State::Disabled { .. }
            | State::Stopped => None,
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) or [`poll_request`](Self::poll_request) has something
    /// to do.
    pub(in crate::client) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.is_register_due() {
            return Some(now);
        }
        if let State::Waiting { until } | State::Disabled { until } = self.state {
            return Some(until);
        }
        let registered = self.idle_registration()?;
        if self.is_update_wanted(registered) {
            Some(now)
        } else {
            registered.update_at
        }
    }

    fn registered(
        &mut self,
        result: Result<&Response, String>,
        told: Told,
        now: Instant,
    ) -> (Outcome, Event) {
        match result {
            Ok(response) if response.code == Code::CREATED && !response.location.is_empty() => {
                self.schedule.reset();
                self.update_wanted = false;
                let update_at = self
                    .schedule
                    .update_after(told.lifetime_secs)
                    .map(|wait| now + wait);
                self.state = State::Registered(Registered {
                    location: response.location.clone(),
                    told,
                    update_at,
                    update: None,
                    resuming: false,
                });
                let location = response.location.join("/");
                (Outcome::Registered, Event::Registered { location })
            }
            Ok(response) if response.code == Code::PRECONDITION_FAILED => self.step_down(response, now),
            Ok(response) => {
                let reason = if response.code == Code::CREATED {
                    "the server named no location".to_owned()
                } else {
                    refused("Register", response)
                };
                let at_least = response
                    .max_age_secs
                    .filter(|_| response.code == Code::SERVICE_UNAVAILABLE);
                self.back_off(reason, at_least, now)
            }
            Err(reason) => self.back_off(format!("Register: {reason}"), None, now),
        }
    }

    /// A server that does not speak our version answers 4.12; the next lower one is tried at once.
    fn step_down(&mut self, response: &Response, now: Instant) -> (Outcome, Event) {
        let refused_version = self.version;
        let Some(lower) = lower(self.version) else {
            // Perhaps the server is updated in the meantime.
            self.version = self.configured;
            return self.back_off(refused("Register", response), None, now);
        };
        self.version = lower;
        self.state = State::Registering(None);
        let reason = format!("the server does not speak LwM2M {refused_version}, trying {lower}");
        let event = Event::RegistrationFailed {
            reason,
            retry_after_secs: Some(0),
        };
        (Outcome::SteppedDown, event)
    }

    fn updated(&mut self, result: Result<&Response, String>, now: Instant) -> (Outcome, Event) {
        let reason = match result {
            Ok(response) if response.code == Code::CHANGED => {
                return self.note_update(now);
            }
            Ok(response) => refused("Update", response),
            Err(reason) => format!("Update: {reason}"),
        };
        self.state = State::Registering(None);
        (Outcome::Gone, Event::Lost { reason })
    }

    fn note_update(&mut self, now: Instant) -> (Outcome, Event) {
        let mut result = (Outcome::Updated, Event::Updated);
        if let State::Registered(registered) = &mut self.state
            && let Some((_, told)) = registered.update.take()
        {
            if registered.told != told {
                result.0 = Outcome::UpdatedAnew;
            }
            if std::mem::take(&mut registered.resuming) {
                result.1 = Event::Resumed {
                    location: registered.location.join("/"),
                };
            }
            let wait = self.schedule.update_after(told.lifetime_secs);
            registered.update_at = wait.map(|wait| now + wait);
            registered.told = told;
        }
        result
    }

    fn back_off(&mut self, reason: String, at_least_secs: Option<u32>, now: Instant) -> (Outcome, Event) {
        let wait = self.schedule.back_off(at_least_secs);
        self.state = wait.map_or(State::Stopped, |wait| State::Waiting { until: now + wait });
        let retry_after_secs = wait.map(|wait| wait.as_secs());
        (
            Outcome::Gone,
            Event::RegistrationFailed {
                reason,
                retry_after_secs,
            },
        )
    }
}

const fn lower(version: EnablerVersion) -> Option<EnablerVersion> {
    match version {
        EnablerVersion::V1_0 => None,
        EnablerVersion::V1_1 => Some(EnablerVersion::V1_0),
    }
}

fn refused(what: &str, response: &Response) -> String {
    let diagnostic = String::from_utf8_lossy(&response.payload);
    let diagnostic: String = diagnostic.chars().filter(|c| !c.is_control()).take(200).collect();
    let colon = if diagnostic.is_empty() { "" } else { ": " };
    format!(
        "the server answered a {what} with {}{colon}{diagnostic}",
        response.code
    )
}
