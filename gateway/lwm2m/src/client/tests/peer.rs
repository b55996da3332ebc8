//! The server, played by hand, and the clock.

use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageType, Packet};

use super::device::Device;
use super::start;
use crate::client::{Client, ClientConfig, Event, Operation, OperationId, Response, Saved};
use crate::coap::limits::DATAGRAM_MAX_BYTES;

/// A client, its objects, the time, and what it has sent so far.
pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) device: Device,
    pub(super) now: Instant,
    pub(super) sent: Vec<Packet>,
    pub(super) events: Vec<Event>,
    next_message_id: u16,
}

/// A request of the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    code: &'static str,
    path: String,
    query: Vec<String>,
    accept: Option<u16>,
    content_format: Option<u16>,
    observe: Option<u32>,
    token: Vec<u8>,
    payload: Vec<u8>,
}

impl Ask {
    fn new(code: &'static str, path: &str) -> Self {
        Self {
            code,
            path: path.to_owned(),
            token: vec![7],
            ..Self::default()
        }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new("0.01", path)
    }

    pub(super) fn post(path: &str) -> Self {
        Self::new("0.02", path)
    }

    pub(super) fn put(path: &str) -> Self {
        Self::new("0.03", path)
    }

    pub(super) fn delete(path: &str) -> Self {
        Self::new("0.04", path)
    }

    pub(super) fn method(code: &'static str, path: &str) -> Self {
        Self::new(code, path)
    }

    pub(super) fn query(mut self, query: &str) -> Self {
        self.query = query.split('&').map(str::to_owned).collect();
        self
    }

    pub(super) const fn accept(mut self, format: u16) -> Self {
        self.accept = Some(format);
        self
    }

    pub(super) const fn observe(mut self, observe: u32) -> Self {
        self.observe = Some(observe);
        self
    }

    pub(super) fn token(mut self, token: &[u8]) -> Self {
        self.token = token.to_vec();
        self
    }

    pub(super) fn body(mut self, format: u16, payload: impl AsRef<[u8]>) -> Self {
        self.content_format = Some(format);
        self.payload = payload.as_ref().to_vec();
        self
    }

    /// Sets a payload without a Content-Format.
    pub(super) fn bare_body(mut self, payload: &str) -> Self {
        self.payload = payload.as_bytes().to_vec();
        self
    }

    pub(super) fn to_packet(&self, message_id: u16) -> Packet {
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.message_id = message_id;
        packet.header.set_code(self.code);
        packet.set_token(self.token.clone());
        for segment in self.path.split('/').filter(|s| !s.is_empty()) {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        for parameter in &self.query {
            packet.add_option(CoapOption::UriQuery, parameter.as_bytes().to_vec());
        }
        let numbers = [
            (CoapOption::Accept, self.accept.map(u32::from)),
            (CoapOption::ContentFormat, self.content_format.map(u32::from)),
            (CoapOption::Observe, self.observe),
        ];
        for (option, number) in numbers {
            if let Some(number) = number {
                packet.add_option(option, uint(number));
            }
        }
        packet.payload = self.payload.clone();
        packet
    }
}

/// Writes an option of the kind uint (RFC 7252, section 3.2).
fn uint(number: u32) -> Vec<u8> {
    number.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect()
}

impl Bench {
    /// A client that has not started.
    pub(super) fn idle(config: ClientConfig) -> Self {
        let now = start();
        Self {
            client: Client::new(config, 1, 100, now),
            device: Device::new(),
            now,
            sent: Vec::new(),
            events: Vec::new(),
            next_message_id: 40_000,
        }
    }

    /// A client that has sent its first Register.
    pub(super) fn started(config: ClientConfig) -> Self {
        let mut bench = Self::idle(config);
        bench.client.start(&bench.device, bench.now);
        bench.collect();
        bench
    }

    /// A client whose Register has been answered with location `rd/5a3f`.
    pub(super) fn registered(config: ClientConfig) -> Self {
        let mut bench = Self::started(config);
        let register = bench.take_sent();
        bench.answer(&register, "2.01", &["rd", "5a3f"]);
        bench.events.clear();
        bench
    }

    /// The same after a restart, from the bytes of what was saved; not started.
    pub(super) fn restarted(self, config: ClientConfig, saved: &Saved) -> Self {
        let parts = saved.parts();
        let saved = Saved::from_parts(parts.iter().map(|(_, bytes)| bytes.as_slice())).unwrap();
        Self {
            client: Client::resume(config, &saved, 2, self.now),
            sent: Vec::new(),
            events: Vec::new(),
            ..self
        }
    }

    /// Does what a store does that is done at once.
    pub(super) fn save(&mut self) -> Saved {
        let saved = self.client.save();
        self.client.handle_saved(&saved, self.now);
        self.collect();
        saved
    }

    pub(super) fn config() -> ClientConfig {
        ClientConfig::new("urn:dev:os:1", "coap://127.0.0.1:5683")
    }

    pub(super) fn default() -> Self {
        Self::registered(Self::config())
    }

    /// Takes over what the client has sent and told.
    pub(super) fn collect(&mut self) {
        while let Some(datagram) = self.client.poll_transmit() {
            self.sent.push(Packet::from_bytes(&datagram).unwrap());
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push(event);
        }
    }

    pub(super) fn receive(&mut self, packet: &Packet) {
        self.receive_bytes(&packet.to_bytes_with_limit(DATAGRAM_MAX_BYTES).unwrap());
    }

    pub(super) fn receive_bytes(&mut self, datagram: &[u8]) {
        self.client.handle_datagram(datagram, &self.device, self.now);
        self.collect();
    }

    /// Lets time pass, calling the client whenever it wants to be called.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut calls = 0;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.client.handle_timeout(&self.device, self.now);
            self.collect();
            calls += 1;
            assert!(calls < 100_000, "the client wants to be called again and again");
        }
        self.now = end;
    }

    pub(super) fn pass_secs(&mut self, secs: u64) {
        self.pass(Duration::from_secs(secs));
    }

    /// Lets time pass until the client sends, and says how long that took; at most a week.
    pub(super) fn pass_until_sent(&mut self) -> Duration {
        let begin = self.now;
        while self.sent.is_empty() {
            let at = self
                .client
                .poll_timeout()
                .expect("the client has something to wait for")
                .max(self.now);
            assert!(
                at - begin < Duration::from_secs(7 * 86_400),
                "the client is silent for a week"
            );
            self.pass(at - self.now);
        }
        self.now - begin
    }

    /// Takes the one message that was sent.
    pub(super) fn take_sent(&mut self) -> Packet {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent);
        self.sent.remove(0)
    }

    /// Answers a request of the client in its acknowledgement.
    pub(super) fn answer(&mut self, request: &Packet, code: &str, location: &[&str]) {
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Acknowledgement);
        packet.header.message_id = request.header.message_id;
        packet.header.set_code(code);
        packet.set_token(request.get_token().to_vec());
        for segment in location {
            packet.add_option(CoapOption::LocationPath, segment.as_bytes().to_vec());
        }
        self.receive(&packet);
    }

    /// Acknowledges, or resets, a message of the client.
    pub(super) fn reply_empty(&mut self, message: &Packet, kind: MessageType) {
        let mut packet = Packet::new();
        packet.header.set_type(kind);
        packet.header.message_id = message.header.message_id;
        packet.header.set_code("0.00");
        self.receive(&packet);
    }

    /// Sends a request and returns the answer, which must come at once.
    pub(super) fn ask(&mut self, ask: &Ask) -> Packet {
        self.send(ask);
        if self.sent.is_empty() {
            // Where it has changed something, the answer waits for the disk.
            self.save();
        }
        self.take_sent()
    }

    /// Sends a request.
    pub(super) fn send(&mut self, ask: &Ask) {
        self.next_message_id += 1;
        let packet = ask.to_packet(self.next_message_id);
        self.receive(&packet);
    }

    /// Takes the operation that a request has led to.
    pub(super) fn operation(&mut self) -> (OperationId, Operation) {
        let at = self
            .events
            .iter()
            .position(|e| matches!(e, Event::Operation { .. }));
        match at.map(|at| self.events.remove(at)) {
            Some(Event::Operation { id, operation }) => (id, operation),
            _ => panic!("no operation in {:?}", self.events),
        }
    }

    pub(super) fn respond(&mut self, id: OperationId, response: Response) {
        self.client.respond(id, response, &self.device, self.now);
        self.collect();
    }

    /// Changes a value and tells the client.
    pub(super) fn change(&mut self, path: &str, value: crate::Value) {
        let path = self.device.set(path, value);
        self.client.handle_changed(&[path], &self.device, self.now);
        self.collect();
    }
}

pub(super) fn code(packet: &Packet) -> String {
    packet.header.get_code()
}

pub(super) fn texts(packet: &Packet, option: CoapOption) -> Vec<String> {
    let values = packet.get_option(option).cloned().unwrap_or_default();
    values
        .into_iter()
        .map(|v| String::from_utf8(v).unwrap())
        .collect()
}

pub(super) fn number(packet: &Packet, option: CoapOption) -> Option<u32> {
    let value = packet.get_first_option(option)?;
    Some(value.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
}

pub(super) fn format_of(packet: &Packet) -> Option<u32> {
    number(packet, CoapOption::ContentFormat)
}

pub(super) fn payload(packet: &Packet) -> String {
    String::from_utf8(packet.payload.clone()).unwrap()
}
