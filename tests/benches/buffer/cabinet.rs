//! Many meters, the real core, the real log on any disk and a server behind a network, in simulated time.
//!
//! Unlike the simulated cabinet of the tests it has no serial line: registers become frames at once, so that a
//! thousand polls take no longer than the core needs for them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::Timestamp;
use lwm2m_client::object::ObjectTable;
use ucifi_core::buffer::log::{Log, Options};
use ucifi_core::buffer::{Disk, Request};
use ucifi_core::config::{AccountConfig, CabinetConfig, Config, DeviceConfig};
use ucifi_core::state::{Change, Kept, SaveRequest, Saved};
use ucifi_core::{BufferConfig, EndpointId, Gateway, Now, Output, Profile};
use ucifi_profiles::Catalogue;
use ucifi_sim::network::{Conditions, Datagram, Network};
use ucifi_sim::server::{LwM2mServer, Transmission};

use crate::meters::Meters;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 5683);
const FIRST_PORT: u16 = 20_000;
const START: Timestamp = Timestamp::from_unix_ms(1_782_864_000_000);

pub(crate) struct Cabinet<D: Disk> {
    pub(crate) gateway: Gateway,
    pub(crate) log: Log<D>,
    pub(crate) tally: Tally,
    server: LwM2mServer,
    network: Network,
    meters: Meters,
    config: Config,
    table: Arc<ObjectTable>,
    saved: Saved,
    options: Options,
    start: Instant,
    now: Instant,
}

/// What went by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Readings that the server got.
    pub(crate) received: u64,
    /// Datagrams from the gateway.
    pub(crate) datagrams: u64,
    /// Commits that stored readings, and how many readings.
    pub(crate) storing: u64,
    pub(crate) stored: u64,
    /// Commits that only settled.
    pub(crate) settling: u64,
    /// Saves of state and the bytes of their values.
    pub(crate) saves: u64,
    pub(crate) saved_bytes: u64,
}

impl Tally {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received - earlier.received,
            datagrams: self.datagrams - earlier.datagrams,
            storing: self.storing - earlier.storing,
            stored: self.stored - earlier.stored,
            settling: self.settling - earlier.settling,
            saves: self.saves - earlier.saves,
            saved_bytes: self.saved_bytes - earlier.saved_bytes,
        }
    }
}

impl<D: Disk> Cabinet<D> {
    /// Starts a cabinet of so many meters on an empty disk.
    pub(crate) fn new(meters: usize, rtt: Duration, disk: D, options: Options) -> Self {
        let table = Arc::new(ObjectTable::builtin());
        let profile = Catalogue::stock(&table)
            .find("eastron.sdm630")
            .expect("a stock profile")
            .clone();
        let meters = Meters::new(meters, &profile);
        let (log, contents) = Log::open(disk, options.clone()).expect("a disk");
        let now = Instant::now();
        let config = config(&meters, profile);
        let saved = Saved::default();
        let kept = Kept {
            saved: saved.clone(),
            contents,
        };
        let gateway = Gateway::restore(config.clone(), table.clone(), kept, 1, at(now, now));
        let conditions = Conditions {
            delay: rtt / 2,
            ..Conditions::good()
        };
        Self {
            gateway: gateway.expect("a gateway"),
            log,
            tally: Tally::default(),
            server: LwM2mServer::new(table.clone(), Transmission::default(), 2),
            network: Network::new(conditions, 3, now),
            meters,
            config,
            table,
            saved,
            options,
            start: now,
            now,
        }
    }

    /// Lets nothing through between two times from the start.
    pub(crate) fn part(&mut self, from: Duration, to: Duration) {
        self.network.conditions_mut().partitions.push(from..to);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Ends the gateway at once and starts another with what was kept: all its endpoints have the same patience then.
    pub(crate) fn restart(self) -> Self {
        let (log, contents) = Log::open(self.log.into_disk(), self.options.clone()).expect("a disk");
        let kept = Kept {
            saved: self.saved.clone(),
            contents,
        };
        let now = at(self.start, self.now);
        let gateway = Gateway::restore(self.config.clone(), self.table.clone(), kept, 2, now);
        Self {
            gateway: gateway.expect("a gateway"),
            log,
            ..self
        }
    }

    /// Polls every meter once.
    pub(crate) fn poll_meters(&mut self) {
        let elapsed = self.elapsed();
        let now = at(self.start, self.now);
        for uplink in self.meters.poll(elapsed, now) {
            self.gateway.handle_uplink(uplink);
            self.carry_out();
        }
    }

    /// Returns how many readings were measured in the life of this gateway.
    pub(crate) fn produced(&self) -> u64 {
        let endpoints = self.gateway.endpoints();
        endpoints.iter().map(|endpoint| endpoint.totals.produced).sum()
    }

    /// Returns how many readings wait for the server, in memory and in the buffer.
    pub(crate) fn owed(&self) -> u64 {
        let endpoints = self.gateway.endpoints();
        endpoints.iter().map(|endpoint| endpoint.queued as u64).sum()
    }

    /// Lets so much time go by.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = [
                self.gateway.poll_timeout(),
                self.server.poll_timeout(),
                self.network.poll_timeout(),
            ];
            match due.into_iter().flatten().min().filter(|due| *due <= end) {
                Some(due) => self.now = self.now.max(due),
                None => break,
            }
            self.work();
        }
        self.now = end;
    }

    fn work(&mut self) {
        let now = at(self.start, self.now);
        while let Some(Datagram { from, to, bytes }) = self.network.poll_datagram(self.now) {
            if to == SERVER {
                self.server.handle_datagram(from, &bytes, now);
            } else {
                let endpoint = EndpointId(u32::from(to.port() - FIRST_PORT));
                self.gateway.handle_datagram(endpoint, &bytes, now);
            }
            self.carry_out();
        }
        if self.gateway.poll_timeout().is_some_and(|due| due <= self.now) {
            self.gateway.handle_timeout(now);
        }
        if self.server.poll_timeout().is_some_and(|due| due <= self.now) {
            self.server.handle_timeout(now);
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let now = at(self.start, self.now);
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Transmit { endpoint, datagram } => self.transmit(endpoint, datagram),
                Output::Buffer(request) => self.buffer(request, now),
                Output::Save(request) => self.save(request, now),
                Output::Downlink(_) | Output::Interest { .. } | Output::Settled(_) | Output::Event(_) => {}
            }
        }
        while let Some((to, bytes)) = self.server.poll_transmit() {
            self.network.handle_datagram(
                Datagram {
                    from: SERVER,
                    to,
                    bytes,
                },
                self.now,
            );
        }
        while let Some(event) = self.server.poll_event() {
            self.tally.received += event.received().map_or(0, |(_, values)| values.len() as u64);
        }
    }

    fn transmit(&mut self, endpoint: EndpointId, bytes: Vec<u8>) {
        self.tally.datagrams += 1;
        let port = FIRST_PORT + u16::try_from(endpoint.0).expect("fewer endpoints than ports");
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17)), port);
        self.network.handle_datagram(
            Datagram {
                from,
                to: SERVER,
                bytes,
            },
            self.now,
        );
    }

    fn save(&mut self, request: SaveRequest, now: Now) {
        self.tally.saves += 1;
        for Change { name, value } in request.changes {
            match value {
                Some(value) => {
                    self.tally.saved_bytes += value.len() as u64;
                    self.saved.values.insert(name, value);
                }
                None => drop(self.saved.values.remove(&name)),
            }
        }
        self.gateway.handle_saved(request.id, Ok(()), now);
    }

    fn buffer(&mut self, request: Request, now: Now) {
        if let Request::Commit(commit) = &request {
            let stored: usize = commit.batches.iter().map(|batch| batch.records.len()).sum();
            self.tally.stored += stored as u64;
            self.tally.storing += u64::from(stored > 0);
            self.tally.settling += u64::from(stored == 0);
        }
        for reply in self.log.handle(request) {
            self.gateway.handle_buffer(reply, now);
        }
    }
}

fn at(start: Instant, now: Instant) -> Now {
    let elapsed_ms = i64::try_from((now - start).as_millis()).expect("no run takes so long");
    Now {
        instant: now,
        wall: Some(Timestamp::from_unix_ms(START.unix_ms() + elapsed_ms)),
    }
}

fn config(meters: &Meters, profile: Arc<dyn Profile>) -> Config {
    let device = |(number, link)| DeviceConfig {
        id: format!("meter-{number}").into(),
        label: "".into(),
        serial: "".into(),
        profile: Arc::clone(&profile),
        link,
        endpoint: None,
        intervals: Default::default(),
    };
    let mut account = AccountConfig::new("city", "coap://192.0.2.9");
    account.registrations_per_sec = 1_000;
    account.lifetime_secs = 86_400;
    Config {
        name: "cab".into(),
        cabinet: CabinetConfig::default(),
        accounts: vec![account],
        devices: meters.links().enumerate().map(device).collect(),
        answer_within_ms: 4_000,
        buffer: BufferConfig::default(),
    }
}
