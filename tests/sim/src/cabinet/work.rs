//! The loop: what is due is done, and what the parts want is carried out.

use std::net::SocketAddr;
use std::time::Instant;

use lwm2m_client::Timestamp;
use ucifi_adapters::modbus;
use ucifi_core::field::{Downlink, ReceiptId};
use ucifi_core::state::SaveRequest;
use ucifi_core::{EndpointId, Link, Now, Output, Uplink};

use super::message_ids::Header;
use super::plan::{self, START};
use super::scripted::{self, Way};
use super::store::{Answer, Keeper, Wanted};
use super::{Cabinet, Process, Server, radio};
use crate::ledger::{Carrier, Given, MessageName, Source};
use crate::network::Datagram;
use crate::server::{Event as ServerEvent, Origin};

/// How often the parts may want to be called at one moment before the run is given up as one that stands still.
const MAX_ROUNDS_AT_ONCE: u32 = 10_000;

impl Process {
    fn route(&self, endpoint: EndpointId) -> Option<SocketAddr> {
        self.routes.get(usize::try_from(endpoint.0).ok()?).copied()
    }
}

impl Cabinet {
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due_times().into_iter().filter_map(|(_, due)| due).min()
    }

    /// Returns when each part wants to be called.
    fn due_times(&self) -> [(&'static str, Option<Instant>); 12] {
        let process = self.process.as_ref();
        let now = self.clock.now().instant;
        let client = process.and_then(|process| process.messages.as_ref());
        let network = process.and_then(|process| process.network.as_ref());
        let (messages, radio) = (self.messages.as_ref(), self.radio.as_ref());
        [
            (
                "gateway",
                process.and_then(|process| process.gateway.poll_timeout()),
            ),
            ("bus", process.and_then(|process| process.bus.poll_timeout())),
            ("messages", client.and_then(|client| client.poll_timeout())),
            ("broker", messages.and_then(|m| m.broker.poll_timeout())),
            ("radio", network.and_then(|network| network.poll_timeout(now))),
            ("field", radio.and_then(|radio| radio.field.poll_timeout())),
            ("nodes", radio.and_then(|radio| radio.nodes.poll_timeout())),
            (
                "store",
                self.store.as_ref().and_then(|store| store.poll_timeout()),
            ),
            ("script", self.script.poll_timeout()),
            ("line", self.line.poll_timeout()),
            ("network", self.network.poll_timeout()),
            (
                "server",
                self.servers
                    .iter()
                    .filter_map(|server| server.engine.poll_timeout())
                    .min(),
            ),
        ]
    }

    /// Names the parts that are due.
    fn due_parts(&self) -> Vec<&'static str> {
        let now = self.clock.now().instant;
        let due = self
            .due_times()
            .into_iter()
            .filter(|(_, due)| due.is_some_and(|due| due <= now));
        due.map(|(part, _)| part).collect()
    }

    /// Does everything that is due at the time of the clock.
    pub(super) fn work(&mut self) {
        let now = self.clock.now();
        let mut rounds = 0;
        while self.next_due().is_some_and(|due| due <= now.instant) {
            rounds += 1;
            assert!(
                rounds < MAX_ROUNDS_AT_ONCE,
                "at {:?} these want to be called again and again: {:?}",
                self.clock.elapsed(),
                self.due_parts()
            );
            self.take_datagrams(now);
            self.take_bytes(now);
            self.take_given(now);
            self.take_answers(now);
            self.wake(now);
            self.settle();
        }
    }

    fn take_datagrams(&mut self, now: Now) {
        while let Some(Datagram { from, to, bytes }) = self.network.poll_datagram(now.instant) {
            if let Some(place) = self.servers.iter().position(|server| server.address == to) {
                let (carrier, now) = (self.carrier_of(from, &bytes), self.server_now());
                self.servers[place].carrier = carrier;
                self.servers[place].engine.handle_datagram(from, &bytes, now);
            } else if let Some(endpoint) = plan::endpoint_at(to) {
                self.deliver(endpoint, &bytes, now);
            }
            self.settle();
        }
    }

    fn deliver(&mut self, endpoint: EndpointId, bytes: &[u8], now: Now) {
        let start = self.starts;
        let Some(process) = &mut self.process else { return };
        if let Some(header) = Header::of(bytes).filter(|header| header.is_acknowledgement) {
            let id = header.id;
            self.ledger
                .acknowledge(MessageName { endpoint, id, start }, self.clock.elapsed());
        }
        process.gateway.handle_datagram(endpoint, bytes, now);
    }

    fn carrier_of(&self, from: SocketAddr, bytes: &[u8]) -> Option<Carrier> {
        let Header { id, .. } = Header::of(bytes)?;
        let (sent, start) = self.message_ids.sent_at(from, id)?;
        let endpoint = plan::endpoint_at(from)?;
        Some(Carrier {
            message: MessageName { endpoint, id, start },
            sent,
        })
    }

    fn take_bytes(&mut self, now: Now) {
        self.line.handle_timeout(now.instant);
        let bytes = self.line.poll_bytes(now.instant);
        if let (Some(bytes), Some(process)) = (bytes, &mut self.process) {
            process.bus.handle_bytes(&bytes, now);
        }
    }

    /// Takes what scripted devices give; while the gateway is off, nobody hears it.
    fn take_given(&mut self, now: Now) {
        while let Some(given) = self.script.poll(now.instant) {
            match given.way {
                Way::Bus if !self.is_on() => {}
                Way::Bus => {
                    let link = self.script.device(given.place).link(given.place);
                    let frame = scripted::frame(&given.numbers);
                    self.give(&given);
                    self.hear(&given.numbers, now);
                    let uplink = Uplink::new(link, frame, now);
                    self.process_mut().gateway.handle_uplink(uplink);
                    self.settle();
                }
                Way::Broker => self.publish_given(&given),
                Way::Radio { is_confirmed } => self.send_given(&given, is_confirmed, now),
            }
        }
    }

    /// Takes note of what a device gives.
    pub(super) fn give(&mut self, given: &scripted::Given) {
        let source = match given.way {
            Way::Bus | Way::Radio { is_confirmed: false } => Source::Once,
            Way::Radio { is_confirmed: true } => Source::MayRepeat,
            Way::Broker => Source::Repeats,
        };
        for (point, number) in &given.numbers {
            let path = scripted::path_of(*point);
            self.ledger.give(*number, &given.device, path, source);
        }
    }

    /// Takes note that the gateway hears what was received at a time.
    fn hear(&mut self, numbers: &[(usize, u64)], received: Now) {
        let circumstances = Given {
            at: self.clock.elapsed(),
            wall: received.wall,
            true_wall: self.true_wall_at(received.instant),
            start: self.starts,
        };
        for (_, number) in numbers {
            self.ledger.hear(*number, circumstances);
        }
    }

    /// Hands the core what a broker or the radio brought.
    pub(super) fn take_uplink(&mut self, uplink: Uplink) {
        let numbers = scripted::numbers_in(&uplink.frame).unwrap_or_default();
        if let Some(given) = self.script.given_by(&uplink.link, &numbers) {
            self.give(&given);
        }
        self.hear(&numbers, uplink.received);
        self.process_mut().gateway.handle_uplink(uplink);
    }

    fn take_answers(&mut self, now: Now) {
        let Some(store) = &mut self.store else { return };
        if !store.work(&mut self.ledger, now.instant) {
            return self.power_is_gone();
        }
        while let Some(answer) = self
            .store
            .as_mut()
            .and_then(|store| store.poll_answer(now.instant))
        {
            let Some(process) = &mut self.process else { return };
            match answer {
                Answer::Buffer(reply) => process.gateway.handle_buffer(reply, now),
                Answer::Saved { keeper, id, result } => match (keeper, &mut process.network) {
                    (Keeper::Core, _) => process.gateway.handle_saved(id, result, now),
                    (Keeper::Radio, Some(network)) => network.server.handle_saved(id, result, now.instant),
                    (Keeper::Radio, None) => {}
                },
            }
            self.settle();
        }
    }

    fn wake(&mut self, now: Now) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now.instant);
        if let Some(process) = &mut self.process {
            if is_due(process.bus.poll_timeout()) {
                process.bus.handle_timeout(now.instant);
            }
            if let Some(client) = process.messages.as_mut().filter(|c| is_due(c.poll_timeout())) {
                client.handle_timeout(now.instant);
            }
            let network = process.network.as_mut();
            if let Some(network) = network.filter(|network| is_due(network.poll_timeout(now.instant))) {
                network.handle_timeout(now.instant);
            }
            if is_due(process.gateway.poll_timeout()) {
                process.gateway.handle_timeout(now);
            }
        }
        if let Some(messages) = self.messages.as_mut().filter(|m| is_due(m.broker.poll_timeout())) {
            messages.broker.handle_timeout(now.instant);
        }
        if let Some(radio) = self.radio.as_mut().filter(|r| is_due(r.field.poll_timeout())) {
            radio.field.handle_timeout(now.instant);
        }
        self.wake_nodes(now.instant);
        let server_now = self.server_now();
        for Server { engine, .. } in &mut self.servers {
            if is_due(engine.poll_timeout()) {
                engine.handle_timeout(server_now);
            }
        }
    }

    /// Carries out what the parts want done, until none wants anything more.
    pub(super) fn settle(&mut self) {
        let now = self.clock.now();
        loop {
            let mut busy = false;
            while let Some(output) = self
                .process
                .as_mut()
                .and_then(|process| process.gateway.poll_output())
            {
                busy = true;
                self.carry_out(output, now);
                if self.goes_down_after_output() {
                    break;
                }
            }
            busy |= self.settle_bus(now);
            busy |= self.settle_messages(now);
            busy |= self.settle_radio(now);
            for place in 0..self.servers.len() {
                busy |= self.settle_server(place, now);
            }
            if !busy {
                return;
            }
        }
    }

    fn settle_bus(&mut self, now: Now) -> bool {
        let mut busy = false;
        while let Some(event) = self.process.as_mut().and_then(|process| process.bus.poll_event()) {
            busy = true;
            self.report(event, now);
        }
        while let Some(frame) = self
            .process
            .as_mut()
            .and_then(|process| process.bus.poll_transmit())
        {
            busy = true;
            self.trace.note(self.clock.elapsed(), "bus", &frame);
            self.line.handle_bytes(&frame, now.instant);
        }
        busy
    }

    fn settle_server(&mut self, place: usize, now: Now) -> bool {
        let mut busy = false;
        let from = self.servers[place].address;
        while let Some((to, bytes)) = self.servers[place].engine.poll_transmit() {
            busy = true;
            self.trace.note(self.clock.elapsed(), "server", &bytes);
            self.network
                .handle_datagram(Datagram { from, to, bytes }, now.instant);
        }
        while let Some(event) = self.servers[place].engine.poll_event() {
            busy = true;
            self.note_server_event(place, event);
        }
        busy
    }

    fn note_server_event(&mut self, place: usize, event: ServerEvent) {
        // Only the first server asks anything.
        if let ServerEvent::Finished { id, outcome, .. } = &event {
            self.finished.insert(*id, outcome.clone());
        }
        let server = &mut self.servers[place];
        if let (Some((Origin::Send, values)), Some(endpoint), Some(carrier)) =
            (event.received(), event.endpoint(), server.carrier)
        {
            self.ledger.arrive(&server.name, endpoint, values, carrier);
        }
        server.events.push((self.clock.elapsed(), event));
    }

    fn carry_out(&mut self, output: Output, now: Now) {
        let elapsed = self.clock.elapsed();
        match output {
            Output::Transmit { endpoint, datagram } => {
                self.trace.note(elapsed, "gateway", &datagram);
                let from = plan::address_of(endpoint);
                self.message_ids.note(from, &datagram, self.starts, elapsed);
                let to = self.process.as_ref().and_then(|process| process.route(endpoint));
                if let Some(to) = to {
                    let bytes = datagram;
                    self.network
                        .handle_datagram(Datagram { from, to, bytes }, now.instant);
                }
            }
            Output::Downlink(downlink) => self.send_down(downlink, now),
            Output::Interest {
                link,
                point,
                every_ms,
            } => {
                let Link::Modbus { bus, unit } = link else { return };
                if let Some(process) = self.process.as_mut().filter(|_| *bus == *plan::BUS) {
                    process.bus.handle_interest(unit, point, every_ms, now.instant);
                }
            }
            Output::Settled(receipt) => self.acknowledge(receipt, now),
            Output::Buffer(request) => self.ask_store(Wanted::Buffer(request), now),
            Output::Save(request) => self.ask_store(Wanted::Save(Keeper::Core, request), now),
            Output::Event(event) => {
                self.trace.note(elapsed, "event", format!("{event:?}").as_bytes());
                self.events.push((elapsed, event));
            }
        }
    }

    /// Hands a downlink to whoever reaches its device.
    fn send_down(&mut self, downlink: Downlink, now: Now) {
        self.orders.note(&downlink);
        let Some(process) = &mut self.process else { return };
        match (&downlink.link, &mut process.messages, &mut process.network) {
            (Link::Modbus { .. }, _, _) => process.bus.handle_downlink(downlink, now.instant),
            (Link::Mqtt { .. }, Some(client), _) => client.handle_downlink(downlink, now.instant),
            (Link::LoRaWan { .. }, _, Some(network)) => network.server.handle_downlink(downlink, now.instant),
            (Link::Mqtt { .. }, None, _) | (Link::LoRaWan { .. }, _, None) => {}
        }
    }

    /// Tells whoever brought a frame that nothing of it can be lost any more.
    fn acknowledge(&mut self, receipt: ReceiptId, now: Now) {
        let Some(process) = &mut self.process else { return };
        if let Some(network) = process.network.as_mut().filter(|_| radio::has_given(receipt)) {
            network.server.handle_settled(receipt, now.instant);
        } else if let Some(client) = &mut process.messages {
            client.handle_settled(receipt, now.instant);
        }
    }

    pub(super) fn ask_store(&mut self, wanted: Wanted, now: Now) {
        let wanted = match wanted {
            Wanted::Save(keeper, request) => Wanted::Save(keeper, self.with_all_current(keeper, request)),
            Wanted::Buffer(request) => Wanted::Buffer(request),
        };
        let wish = format!("{wanted:?}");
        self.trace.note(self.clock.elapsed(), "store", wish.as_bytes());
        if let Some(store) = &mut self.store {
            store.ask(wanted, now.instant);
        }
    }

    /// What is kept is not old any more when the core and the radio network, where there is one, have both said so.
    fn with_all_current(&mut self, keeper: Keeper, request: SaveRequest) -> SaveRequest {
        let Some(process) = &mut self.process else {
            return request;
        };
        if request.is_current {
            process.current.insert(keeper);
        }
        let wanted = 1 + usize::from(process.network.is_some());
        SaveRequest {
            is_current: request.is_current && process.current.len() >= wanted,
            ..request
        }
    }

    fn report(&mut self, event: modbus::Event, now: Now) {
        let Some(Process { gateway, bus, .. }) = &mut self.process else {
            return;
        };
        match event {
            modbus::Event::Uplink(uplink) => gateway.handle_uplink(uplink),
            modbus::Event::Delivery { id, delivery } => gateway.handle_delivery(id, delivery, now),
            modbus::Event::Reachability { link, reachability } => {
                gateway.handle_reachability(&link, reachability, now);
            }
            modbus::Event::Reconnect { .. } => {
                bus.handle_disconnected(now.instant);
                bus.handle_connected(now.instant);
            }
        }
    }

    /// What the server's clocks say.
    fn server_now(&self) -> Now {
        Now {
            instant: self.clock.now().instant,
            wall: Some(self.true_wall()),
        }
    }

    /// Returns the true time.
    pub fn true_wall(&self) -> Timestamp {
        self.true_wall_at(self.clock.now().instant)
    }

    fn true_wall_at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant - self.clock.origin();
        let elapsed_ms = i64::try_from(elapsed.as_millis()).expect("no run takes so long");
        Timestamp::from_unix_ms(START.unix_ms() + elapsed_ms)
    }
}
