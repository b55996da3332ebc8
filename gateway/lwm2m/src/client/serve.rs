//! Requests of the server: what is decided in `management` is done, or handed out to be done.

use std::time::Instant;

use super::attributes::AttributesRefused;
use super::event::{Event, RegistrationState};
use super::management::{self, Action};
use super::notification::Rule;
use super::objects::Objects;
use super::observe::NewObservation;
use super::operation::{Operation, OperationId, Response, WriteMode};
use super::read::Reading;
use super::refusal::{Refusal, failure_response};
use super::registration::AfterDeregister;
use super::view::View;
use super::{Client, limits, server_object};
use crate::coap::{self, Code, IncomingRequest, RequestKey};
use crate::format::ContentFormat;
use crate::{ObjectId, Path};

/// Observe option of a request: begin, and end (RFC 7641, section 2).
const BEGIN: u32 = 0;
const END: u32 = 1;

/// Seconds after which a server may ask again that came at a bad moment.
const RETRY_AFTER_SECS: u32 = 5;

/// An operation that waits for its answer.
#[derive(Debug)]
pub(super) struct PendingOperation {
    pub(super) key: RequestKey,
    since: Instant,
    /// The object, for the location of an instance that is created.
    object: Option<ObjectId>,
}

impl PendingOperation {
    pub(super) fn expires_at(&self) -> Instant {
        self.since + limits::OPERATION_LIFETIME
    }

    /// Returns what the server gets.
    pub(super) fn answer(&self, response: &Response) -> coap::Response {
        match response {
            Response::Changed => coap::Response::new(Code::CHANGED),
            Response::Deleted => coap::Response::new(Code::DELETED),
            Response::Created(instance) => coap::Response {
                location: self
                    .object
                    .iter()
                    .map(ToString::to_string)
                    .chain([instance.to_string()])
                    .collect(),
                ..coap::Response::new(Code::CREATED)
            },
            Response::Failed(failure) => failure_response(failure),
        }
    }
}

impl Client {
    pub(super) fn handle_request(&mut self, request: &IncomingRequest, objects: &dyn Objects, now: Instant) {
        if let Err(refusal) = self.serve(request, objects, now) {
            let mut response = refusal.to_response();
            if refusal.code == Code::SERVICE_UNAVAILABLE {
                response.max_age_secs = Some(RETRY_AFTER_SECS);
            }
            self.endpoint.respond(request.key, response, now);
            self.complain(Event::Refused {
                method: format!("{:?}", request.method).to_uppercase(),
                path: format!("/{}", request.path.join("/")),
                code: refusal.code,
                reason: refusal.reason,
            });
        }
    }

    fn serve(
        &mut self,
        request: &IncomingRequest,
        objects: &dyn Objects,
        now: Instant,
    ) -> Result<(), Refusal> {
        let resumes = self.state() == RegistrationState::Idle && self.registration.is_resuming();
        let gone = !resumes
            && matches!(
                self.state(),
                RegistrationState::Idle
                    | RegistrationState::Deregistering
                    | RegistrationState::Disabled
                    | RegistrationState::Stopped
            );
        if gone {
            return Err(Refusal::new(
                Code::SERVICE_UNAVAILABLE,
                "the client is not registered",
            ));
        }
        let view = View::new(objects, &self.server);
        match management::decide(view, &self.attributes, self.registration.version(), request)? {
            Action::Read { path, reading } => self.answer_read(request, path, reading, now),
            Action::Discover { links } => {
                let response = content(ContentFormat::Link, links.into_bytes());
                self.endpoint.respond(request.key, response, now);
            }
            Action::Attach { path, change } => {
                self.attributes.apply(path, &change).map_err(of_attributes)?;
                self.renew_rules();
                self.answer_once_saved(request.key, coap::Response::new(Code::CHANGED), None, now);
            }
            Action::Operate(operation) if management::is_about(&operation, server_object::ID) => {
                self.operate_server_object(request, &operation, now)?;
            }
            Action::Operate(operation) => self.hand_out(request, operation, now)?,
        }
        Ok(())
    }

    fn answer_read(&mut self, request: &IncomingRequest, path: Path, reading: Reading, now: Instant) {
        let mut response = content(reading.format, reading.payload);
        match request.observe {
            Some(BEGIN) => {
                let new = NewObservation {
                    token: request.token.clone(),
                    path,
                    format: reading.format,
                    rule: self.rule(path),
                    entries: reading.entries,
                };
                self.endpoint.cancel_notifications(&request.token);
                // Without room it stays a plain Read, which tells the server that it does not observe.
                response.observe = self.observations.insert(new, now);
                self.tell_observations_changed();
                let begun = response.observe.is_some().then(|| request.token.clone());
                return self.answer_once_saved(request.key, response, begun, now);
            }
            Some(END) => {
                for token in self.observations.cancel(&request.token, path) {
                    self.endpoint.cancel_notifications(&token);
                    self.tell_observations_changed();
                }
            }
            Some(_) | None => {}
        }
        self.endpoint.respond(request.key, response, now);
    }

    fn rule(&self, path: Path) -> Rule {
        let attributes = self.attributes.effective(path);
        Rule::new(
            &attributes,
            self.server.default_pmin_secs,
            self.server.default_pmax_secs,
        )
    }

    pub(super) fn renew_rules(&mut self) {
        let (attributes, server) = (&self.attributes, &self.server);
        let rule = |path| {
            Rule::new(
                &attributes.effective(path),
                server.default_pmin_secs,
                server.default_pmax_secs,
            )
        };
        if self.observations.set_rules(rule) {
            self.tell_observations_changed();
        }
    }

    fn hand_out(
        &mut self,
        request: &IncomingRequest,
        operation: Operation,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.operations.len() >= limits::OPERATIONS {
            return Err(Refusal::new(
                Code::SERVICE_UNAVAILABLE,
                "too many operations wait for their answer",
            ));
        }
        let object = match &operation {
            Operation::Create { object, .. } => Some(*object),
            Operation::Write { .. } | Operation::Execute { .. } | Operation::Delete { .. } => None,
        };
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        let pending = PendingOperation {
            key: request.key,
            since: now,
            object,
        };
        self.operations.insert(id, pending);
        self.events.push_back(Event::Operation { id, operation });
        Ok(())
    }

    /// Does an operation on object 1, which needs nobody else.
    fn operate_server_object(
        &mut self,
        request: &IncomingRequest,
        operation: &Operation,
        now: Instant,
    ) -> Result<(), Refusal> {
        let done = coap::Response::new(Code::CHANGED);
        match operation {
            Operation::Write {
                mode,
                target,
                entries,
            } => {
                let written = self.server.written(*mode, *target, entries);
                let before = std::mem::replace(&mut self.server, written.map_err(Refusal::bad_request)?);
                if self.server == before {
                    self.endpoint.respond(request.key, done, now);
                } else {
                    self.answer_once_saved(request.key, done, None, now);
                }
                if self.server.mute_send != before.mute_send {
                    self.events.push_back(Event::SendMuted(self.server.mute_send));
                }
                let mut changed: Vec<Path> = entries.iter().map(|e| e.path).collect();
                if *mode == WriteMode::Replace {
                    // What it does not name is reset.
                    changed.push(*target);
                }
                self.observations.handle_changed(&changed);
                self.renew_rules();
            }
            Operation::Execute { path, .. } => {
                self.endpoint.respond(request.key, done, now);
                if path.resource_id() == Some(server_object::DISABLE) {
                    self.leave(AfterDeregister::Pause(self.server.disable_timeout_secs), now);
                } else {
                    self.registration.want_update(now);
                }
            }
            Operation::Create { .. } | Operation::Delete { .. } => {
                return Err(Refusal::not_allowed("object 1 has one instance, which stays"));
            }
        }
        Ok(())
    }

    /// Answers what was not answered in time.
    pub(super) fn expire_operations(&mut self, now: Instant) {
        let expired = |p: &PendingOperation| p.expires_at() <= now;
        let late: Vec<_> = self
            .operations
            .iter()
            .filter(|(_, p)| expired(p))
            .map(|(id, _)| *id)
            .collect();
        for pending in late.iter().filter_map(|id| self.operations.remove(id)) {
            let refusal = Refusal::new(Code::GATEWAY_TIMEOUT, "the operation was not finished in time");
            self.endpoint.respond(pending.key, refusal.to_response(), now);
        }
    }
}

fn content(format: ContentFormat, payload: Vec<u8>) -> coap::Response {
    coap::Response {
        content_format: Some(format.code()),
        payload,
        ..coap::Response::new(Code::CONTENT)
    }
}

fn of_attributes(refused: AttributesRefused) -> Refusal {
    match refused {
        AttributesRefused::Inconsistent => Refusal::bad_request("the attributes contradict each other"),
        AttributesRefused::Full => {
            let reason = format!(
                "attributes are attached to {} nodes already",
                limits::ATTRIBUTED_PATHS
            );
            Refusal::new(Code::INTERNAL_SERVER_ERROR, reason)
        }
    }
}
