//! From a client to what is saved, and back.

use std::time::Instant;

use super::Client;
use super::attributes::AttributeTable;
use super::config::ClientConfig;
use super::event::Event;
use super::limits;
use super::observe::Observations;
use super::saved::{Content, Counters, Saved, SavedServer};
use super::send::Sends;
use super::server_object::ServerObject;
use crate::coap::{Endpoint, RequestKey, Response, fingerprint};
use crate::format::ContentFormat;

impl Client {
    /// Returns a client that goes on where one was saved: [`start`](Self::start) sends an Update where there was a
    /// registration, and the observations live on. Where the server or the endpoint name is another one, only what
    /// must not be used twice is taken over.
    pub fn resume(config: ClientConfig, saved: &Saved, seed: u64, now: Instant) -> Self {
        let content = &saved.content;
        let counters = content.counters.unwrap_or_default();
        let mut endpoint = Endpoint::resume(config.transmission.clone(), seed, counters.ids(), now);
        if !config.reserves_message_ids {
            // Nobody keeps what is reserved; the ids go on as those of a new client do.
            endpoint.stop_reserving();
        }
        let mut client = Self::with_endpoint(config, endpoint, seed, now);
        let reserves = client.config.reserves_message_ids;
        client.observations = Observations::counting_from(counters.sequence_end, reserves);
        if content.account == Some(account(&client.config)) {
            client.take_over(content, now);
        }
        client
    }

    /// Returns what must outlive a restart. Once that is durable, [`handle_saved`](Self::handle_saved) is to be told.
    pub fn save(&self) -> Saved {
        let counters = Counters::new(
            self.endpoint.reserved_ids(self.now),
            self.observations.reserved_sequence(),
        );
        let content = Content {
            version: None,
            counters: Some(counters),
            account: Some(account(&self.config)),
            registration: self.registration.save(),
            server: Some(SavedServer {
                present: self.server.save(),
                configured: ServerObject::new(&self.config).save(),
                sends_json: self.sends.format() == ContentFormat::SenmlJson,
            }),
            observations: Some(self.observations.save()),
            attributes: Some(self.attributes.save()),
        };
        let revision = self.revision;
        Saved { content, revision }
    }

    /// Takes that what [`save`](Self::save) gave is durable: the numbers that it reserves may be used.
    pub fn handle_saved(&mut self, saved: &Saved, now: Instant) {
        self.now = self.now.max(now);
        if let Some(counters) = saved.content.counters {
            self.observations.handle_reserved(counters.sequence_end);
            self.endpoint.handle_reserved(&counters.ids(), now);
        }
        for answer in self
            .held
            .extract_if(.., |answer| answer.revision <= saved.revision)
        {
            self.endpoint.respond(answer.key, answer.response, now);
            if let Some(token) = answer.observation {
                self.observations.release(&token);
            }
        }
        // Asked again where this was too little.
        self.asked_for_reservation = false;
    }

    fn take_over(&mut self, content: &Content, now: Instant) {
        if let Some(server) = &content.server {
            self.server.resume(server);
            self.sends = Sends::resume(server.sends_json);
        }
        self.attributes = AttributeTable::resume(content.attributes.as_deref().unwrap_or_default());
        let Some(registration) = &content.registration else {
            return;
        };
        if self.registration.resume(registration) {
            self.server.set_version(self.registration.version());
            for saved in content.observations.iter().flatten() {
                self.observations.restore(saved, now);
            }
            self.renew_rules();
        }
    }

    fn is_reservation_due(&self) -> bool {
        self.endpoint.is_reservation_due(self.now) || self.observations.is_reservation_due()
    }

    /// Asks for more numbers in time, once for each block.
    pub(super) fn ask_for_reservation(&mut self) {
        if self.is_reservation_due() && !self.asked_for_reservation {
            self.asked_for_reservation = true;
            self.save_soon();
        }
    }

    /// Tells that something has changed that must outlive a restart, once until that is polled.
    pub(super) fn save_soon(&mut self) {
        self.revision += 1;
        if self.config.reserves_message_ids && !self.events.contains(&Event::SaveDue) {
            self.events.push_back(Event::SaveDue);
        }
    }
}

/// An answer that waits until what it promises is durable.
#[derive(Debug)]
pub(super) struct HeldAnswer {
    revision: u64,
    key: RequestKey,
    response: Response,
    /// The token of the observation that it begins.
    observation: Option<Vec<u8>>,
}

impl Client {
    /// Answers a request once what it has changed is durable: the server relies on it from then on.
    pub(super) fn answer_once_saved(
        &mut self,
        key: RequestKey,
        response: Response,
        observation: Option<Vec<u8>>,
        now: Instant,
    ) {
        self.save_soon();
        if !self.config.reserves_message_ids {
            self.endpoint.respond(key, response, now);
            return;
        }
        if let Some(token) = &observation {
            self.observations.hold(token);
        }
        if self.held.len() >= limits::HELD_ANSWERS {
            // Its request is the one that waits longest; the server asks again.
            self.held.remove(0);
        }
        self.held.push(HeldAnswer {
            revision: self.revision,
            key,
            response,
            observation,
        });
    }
}

/// Returns what tells accounts apart: another one knows nothing of the registration.
fn account(config: &ClientConfig) -> u64 {
    fingerprint(format!("{}\0{}", config.endpoint, config.server_uri).as_bytes())
}
