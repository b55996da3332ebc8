//! What clients ask of the server: Register, Update, De-register, Send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::object::{EnablerVersion, ObjectDefinition, Version};
use lwm2m_client::{ObjectId, Path};
use ucifi_core::Now;

use super::coap::{Assembled, Block, Kind, Message, option};
use super::event::{ClientView, Event, Origin};
use super::registration::{ObjectList, Parameters, Registration};
use super::request::{Code, ServerRequest};
use super::{Later, LwM2mServer, receive};
use crate::limits;

const POST: u8 = 2;
const DELETE: u8 = 4;

/// A code and, beside it, the location of what was made or the reason of a refusal.
type Outcome = Result<(Code, Vec<String>), (Code, String)>;

impl LwM2mServer {
    pub(super) fn handle_request(&mut self, from: SocketAddr, message: &Message, now: Now) {
        let outcome = match self.assemblies.add(from, message, now.instant) {
            Assembled::Whole(body) => self.serve(from, message, &body, now),
            Assembled::More => Ok((Code::CONTINUE, Vec::new())),
            Assembled::OutOfOrder => Err((Code::REQUEST_ENTITY_INCOMPLETE, "a block is missing".to_owned())),
            Assembled::TooLarge => Err((Code::REQUEST_ENTITY_TOO_LARGE, "the body is too large".to_owned())),
        };
        if let Err((code, reason)) = &outcome {
            let endpoint = self
                .registrations
                .at_address(from)
                .map(|r| r.view.endpoint.clone());
            let (code, reason) = (*code, reason.clone());
            self.events.push_back(Event::Refused {
                endpoint,
                code,
                reason,
            });
        }
        self.reply(from, message, outcome, now.instant);
        if message
            .texts(option::URI_PATH)
            .first()
            .is_some_and(|first| first == "rd")
        {
            self.observe_as_usual(from, now.instant);
        }
    }

    fn serve(&mut self, from: SocketAddr, message: &Message, body: &[u8], now: Now) -> Outcome {
        let path = message.texts(option::URI_PATH);
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        match (message.code, segments.as_slice()) {
            (POST, ["rd"]) => self.register(from, message, body, now.instant),
            (POST, ["rd", location]) => self.update(from, location, message, body, now.instant),
            (DELETE, ["rd", location]) => self.deregister(location),
            (POST, ["dp"]) => self.receive_send(from, message, body, now),
            (_, ["rd" | "dp", ..]) => Err((Code::METHOD_NOT_ALLOWED, "no such operation".to_owned())),
            _ => Err((Code::NOT_FOUND, format!("no resource {path:?}"))),
        }
    }

    fn register(&mut self, from: SocketAddr, message: &Message, body: &[u8], now: Instant) -> Outcome {
        if let Some(code) = self.manners.refuse_register {
            return Err((code, "registrations are refused".to_owned()));
        }
        let parameters = Parameters::parse(&message.texts(option::URI_QUERY))?;
        let endpoint = parameters.endpoint.as_deref().unwrap_or_default();
        if let Some(code) = self.manners.refuse_register_of.get(endpoint) {
            return Err((*code, format!("registrations of {endpoint} are refused")));
        }
        let list = ObjectList::parse(body)?;
        let mut registration = self.registration(from, parameters, &list)?;
        registration.renew(now);
        let view = registration.view.clone();
        self.forget(&view.endpoint);
        self.registrations.insert(registration);
        self.events.push_back(Event::Registered(view.clone()));
        Ok((Code::CREATED, vec!["rd".to_owned(), view.location]))
    }

    fn registration(
        &mut self,
        address: SocketAddr,
        parameters: Parameters,
        list: &ObjectList,
    ) -> Result<Registration, (Code, String)> {
        let refuse = |why: &str| (Code::BAD_REQUEST, why.to_owned());
        let endpoint = parameters.endpoint.ok_or_else(|| refuse("ep is missing"))?;
        let version = parameters.version.ok_or_else(|| refuse("lwm2m is missing"))?;
        if !["1.0", "1.1"].contains(&version.as_str()) || version > self.manners.newest_version {
            return Err((
                Code::PRECONDITION_FAILED,
                format!("LwM2M {version} is not known here"),
            ));
        }
        if list.instances.is_empty() {
            return Err(refuse("the object list is empty"));
        }
        if self.registrations.len() >= limits::MAX_CLIENTS {
            return Err((Code::FORBIDDEN, "too many clients are registered".to_owned()));
        }
        let definitions = self.definitions(list, enabler(&version));
        let view = ClientView {
            endpoint,
            location: self.registrations.new_location(),
            address,
            lifetime_secs: parameters.lifetime_secs.unwrap_or(86_400),
            version,
            binding: parameters.binding.unwrap_or_else(|| "U".to_owned()),
            additional: parameters.additional,
            objects: versions(list, &definitions),
            instances: list.instances.iter().copied().collect(),
            observed: Vec::new(),
        };
        Ok(Registration {
            view,
            definitions,
            expires: None,
        })
    }

    fn update(
        &mut self,
        from: SocketAddr,
        location: &str,
        message: &Message,
        body: &[u8],
        now: Instant,
    ) -> Outcome {
        let parameters = Parameters::parse(&message.texts(option::URI_QUERY))?;
        let unknown = || (Code::NOT_FOUND, format!("no registration {location}"));
        let version = self
            .registrations
            .at_location(location)
            .ok_or_else(unknown)?
            .view
            .version
            .clone();
        let list = if body.is_empty() {
            None
        } else {
            Some(ObjectList::parse(body)?)
        };
        let definitions = list
            .as_ref()
            .map(|list| self.definitions(list, enabler(&version)));
        let registration = self.registrations.at_location(location).ok_or_else(unknown)?;
        let view = &mut registration.view;
        view.address = from;
        view.lifetime_secs = parameters.lifetime_secs.unwrap_or(view.lifetime_secs);
        if let Some(binding) = parameters.binding {
            view.binding = binding;
        }
        if let (Some(list), Some(definitions)) = (list, definitions) {
            view.objects = versions(&list, &definitions);
            view.instances = list.instances.iter().copied().collect();
            registration.definitions = definitions;
        }
        registration.renew(now);
        let view = registration.view.clone();
        self.observations.moved(&view.endpoint, from);
        self.events.push_back(Event::Updated(self.view_of(&view)));
        Ok((Code::CHANGED, Vec::new()))
    }

    fn deregister(&mut self, location: &str) -> Outcome {
        let registration = self.registrations.at_location(location);
        let endpoint = registration.map(|registration| registration.view.endpoint.clone());
        let endpoint = endpoint.ok_or_else(|| (Code::NOT_FOUND, format!("no registration {location}")))?;
        self.forget(&endpoint);
        self.events.push_back(Event::Deregistered { endpoint });
        Ok((Code::DELETED, Vec::new()))
    }

    fn receive_send(&mut self, from: SocketAddr, message: &Message, body: &[u8], now: Now) -> Outcome {
        let next = self.manners.refuse_next_sends.pop_front();
        if let Some(code) = next.or(self.manners.refuse_send) {
            return Err((code, "Send is refused".to_owned()));
        }
        let unknown = || (Code::NOT_FOUND, format!("nobody is registered at {from}"));
        let registration = self.registrations.at_address(from).ok_or_else(unknown)?;
        let format = message.content_format();
        let values = receive::timed_values(format, body, &registration.definitions, now)
            .map_err(|reason| (Code::BAD_REQUEST, reason))?;
        let endpoint = registration.view.endpoint.clone();
        self.events.push_back(Event::Received {
            endpoint,
            origin: Origin::Send,
            values,
            at: now,
        });
        Ok((Code::CHANGED, Vec::new()))
    }

    /// Asks for the observations that every client gets, where it offers what is to be observed.
    fn observe_as_usual(&mut self, from: SocketAddr, now: Instant) {
        if self.manners.observe.is_empty() {
            return;
        }
        let Some(view) = self
            .registrations
            .at_address(from)
            .map(|registration| registration.view.clone())
        else {
            return;
        };
        let observed = self.observations.paths_of(&view.endpoint);
        let missing = |path: &Path| offers(&view, *path) && !observed.contains(path);
        let paths: Vec<Path> = self.manners.observe.iter().copied().filter(missing).collect();
        for path in paths {
            if !self.transactions.observes(&view.endpoint, path) {
                let accept = self.manners.observe_format;
                self.request(&view.endpoint, ServerRequest::Observe { path, accept }, now);
            }
        }
    }

    fn definitions(
        &self,
        list: &ObjectList,
        enabler: EnablerVersion,
    ) -> BTreeMap<ObjectId, Arc<ObjectDefinition>> {
        let find = |object: ObjectId, version: Option<Version>| {
            let announced = version.and_then(|version| self.table.definition(object, version));
            let silent = || self.table.in_enabler(object, enabler);
            let first = || self.table.definition(object, Version::V1_0);
            announced
                .or_else(silent)
                .or_else(first)
                .or_else(|| self.table.latest(object))
                .cloned()
        };
        let pairs = list.objects.iter();
        pairs
            .filter_map(|(object, version)| Some((*object, find(*object, *version)?)))
            .collect()
    }

    fn reply(&mut self, peer: SocketAddr, message: &Message, outcome: Outcome, now: Instant) {
        let reply = self.reply_message(message, outcome);
        if self.manners.separate && message.kind == Kind::Confirmable {
            self.transmit_reply(
                peer,
                message.id,
                &Message::new(Kind::Acknowledgement, 0, message.id),
            );
        }
        if self.manners.separate || !self.manners.answer_after.is_zero() {
            self.order += 1;
            let due = now + self.manners.answer_after;
            self.later.insert((due, self.order), Later { peer, reply });
        } else {
            self.transmit_reply(peer, message.id, &reply);
        }
    }

    fn reply_message(&mut self, request: &Message, outcome: Outcome) -> Message {
        let (kind, id) = if request.kind == Kind::NonConfirmable {
            (Kind::NonConfirmable, self.sending.next_id())
        } else if self.manners.separate {
            (Kind::Confirmable, self.sending.next_id())
        } else {
            (Kind::Acknowledgement, request.id)
        };
        let (code, location, diagnostic) = match outcome {
            Ok((code, location)) => (code, location, String::new()),
            Err((code, reason)) => (code, Vec::new(), reason),
        };
        let mut reply = Message::new(kind, code.byte(), id);
        reply.token.clone_from(&request.token);
        reply.push_texts(option::LOCATION_PATH, &location);
        if let Some(block) = request.block(option::BLOCK1) {
            let size = block.size.min(self.transmission.block_size);
            reply.push_block(option::BLOCK1, Block { size, ..block });
        }
        reply.payload = diagnostic.into_bytes();
        reply
    }

    /// Sends the replies whose time has come.
    pub(super) fn send_held_back(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let Later { peer, reply } = entry.remove();
            if reply.kind == Kind::Confirmable {
                self.transmit_confirmable(peer, &reply, now);
            } else {
                self.transmit_reply(peer, reply.id, &reply);
            }
        }
    }
}

fn enabler(version: &str) -> EnablerVersion {
    if version == "1.0" {
        EnablerVersion::V1_0
    } else {
        EnablerVersion::V1_1
    }
}

fn versions(
    list: &ObjectList,
    definitions: &BTreeMap<ObjectId, Arc<ObjectDefinition>>,
) -> BTreeMap<ObjectId, Version> {
    let of = |object: &ObjectId, announced: &Option<Version>| {
        announced
            .or_else(|| definitions.get(object).map(|d| d.version))
            .unwrap_or(Version::V1_0)
    };
    list.objects
        .iter()
        .map(|(object, announced)| (*object, of(object, announced)))
        .collect()
}

fn offers(view: &ClientView, path: Path) -> bool {
    let object = path.object_id();
    match path.instance_id() {
        Some(_) => view.instances.iter().any(|instance| instance.contains(&path)),
        None => object.is_some_and(|object| view.objects.contains_key(&object)),
    }
}
