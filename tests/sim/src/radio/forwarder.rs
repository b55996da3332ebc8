//! A packet forwarder with its concentrator.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::airwave::OnAir;
use super::gwmp::{self, FromServer, Order, Report, Stat};
use super::jit::Queue;

/// How often a forwarder looks for frames in its concentrator.
const FETCH: Duration = Duration::from_millis(10);
/// How often it says where it is (`keepalive_interval`).
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often it says how it is (`stat_interval`).
const STAT: Duration = Duration::from_secs(30);

/// A forwarder speaks from two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Socket {
    /// From one it reports what it hears.
    Up,
    /// To the other it is told what to send.
    Down,
}

/// A packet forwarder.
#[derive(Debug)]
pub struct Forwarder {
    id: [u8; 8],
    epoch: Instant,
    counter: Counter,
    reports: Vec<Report>,
    planned: Queue<Order>,
    /// What it answers in place of sending.
    refusal: Option<&'static str>,
    sending_until: Option<Instant>,
    fetch_at: Option<Instant>,
    pull_at: Instant,
    stat_at: Instant,
    stat: Stat,
    token: u16,
    datagrams: VecDeque<(Socket, Vec<u8>)>,
    counters: ForwarderCounters,
}

/// What a forwarder has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwarderCounters {
    /// Frames heard.
    pub heard: u64,
    /// Datagrams of reports sent.
    pub pushes: u64,
    /// Datagrams of reports acknowledged.
    pub push_acks: u64,
    /// Keep-alives acknowledged.
    pub pull_acks: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames refused because they came too late.
    pub too_late: u64,
    /// Frames refused because they came too early.
    pub too_early: u64,
    /// Frames refused because of others, or because it was told to.
    pub collisions: u64,
    /// Datagrams that the reference implementation would not understand.
    pub malformed: u64,
}

/// A counter of microseconds that starts anywhere, wraps, and is not quite right.
#[derive(Clone, Copy, Debug)]
struct Counter {
    start: u32,
    drift_ppm: i64,
}

impl Counter {
    fn at(self, elapsed: Duration) -> u32 {
        let micros = i64::try_from(elapsed.as_micros()).expect("no run takes so long");
        let drifted = micros + micros * self.drift_ppm / 1_000_000;
        // It wraps.
        self.start.wrapping_add(drifted as u32)
    }

    fn duration(self, micros: u32) -> Duration {
        let micros = i64::from(micros);
        let real = micros - micros * self.drift_ppm / 1_000_000;
        // Rounded up: what is waited for has come then.
        Duration::from_micros(real.unsigned_abs() + 1)
    }
}

impl Forwarder {
    /// Makes a forwarder whose counter is at `count` now and runs faster than the others by so many millionths.
    pub fn new(id: [u8; 8], count: u32, drift_ppm: i32, now: Instant) -> Self {
        Self {
            id,
            epoch: now,
            counter: Counter {
                start: count,
                drift_ppm: i64::from(drift_ppm),
            },
            reports: Vec::new(),
            planned: Queue::new(),
            refusal: None,
            sending_until: None,
            fetch_at: None,
            pull_at: now,
            stat_at: now + STAT,
            stat: Stat::default(),
            token: 0,
            datagrams: VecDeque::new(),
            counters: ForwarderCounters::default(),
        }
    }

    /// Returns what it has counted.
    pub const fn counters(&self) -> ForwarderCounters {
        self.counters
    }

    /// From now on it refuses whatever it is told to send, with this error, or does so no more.
    pub(super) const fn refuse(&mut self, error: Option<&'static str>) {
        self.refusal = error;
    }

    /// Hears a frame that has just ended, unless it has sent itself meanwhile.
    pub(super) fn handle_frame(&mut self, frame: &OnAir, rssi_dbm: i32, snr_db: f64) {
        if self.sending_until.is_some_and(|until| until > frame.from) {
            return;
        }
        self.counters.heard += 1;
        self.stat.heard += 1;
        self.stat.crc_ok += 1;
        self.reports.push(Report {
            phy: frame.phy.clone(),
            tmst: self.count(frame.until),
            channel: frame.channel,
            rssi_dbm,
            snr_db,
        });
        self.fetch_at.get_or_insert(frame.until + FETCH);
    }

    pub(super) fn handle_datagram(&mut self, socket: Socket, bytes: &[u8], now: Instant) {
        match (socket, gwmp::decode(bytes)) {
            (Socket::Up, Some(FromServer::PushAck(_))) => self.counters.push_acks += 1,
            (Socket::Down, Some(FromServer::PullAck(_))) => self.counters.pull_acks += 1,
            (Socket::Down, Some(FromServer::PullResp(token, Ok(order)))) => self.plan(token, order, now),
            _ => self.counters.malformed += 1,
        }
    }

    fn plan(&mut self, token: [u8; 2], order: Order, now: Instant) {
        self.stat.told_to_send += 1;
        let airtime = order.channel.time_on_air(order.phy.len(), false);
        let outcome = match self.refusal {
            Some(error) => Err(error),
            None => self.planned.enqueue(self.count(now), order.tmst, airtime, order),
        };
        match outcome {
            Ok(()) => {}
            Err("TOO_LATE") => self.counters.too_late += 1,
            Err("TOO_EARLY") => self.counters.too_early += 1,
            Err(_) => self.counters.collisions += 1,
        }
        let ack = gwmp::tx_ack(token, self.id, outcome.err());
        self.datagrams.push_back((Socket::Down, ack));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.pull_at <= now {
            self.pull_at += KEEP_ALIVE;
            let token = self.next_token();
            let datagram = gwmp::pull_data(token, self.id);
            self.datagrams.push_back((Socket::Down, datagram));
        }
        let stat = (self.stat_at <= now).then(|| {
            self.stat_at += STAT;
            std::mem::take(&mut self.stat)
        });
        let fetches = self.fetch_at.take_if(|at| *at <= now).is_some();
        if fetches || stat.is_some() {
            let reports = std::mem::take(&mut self.reports);
            self.fetch_at = None;
            self.counters.pushes += 1;
            let token = self.next_token();
            let datagram = gwmp::push_data(token, self.id, &reports, stat);
            self.datagrams.push_back((Socket::Up, datagram));
        }
    }

    /// Returns the frame that begins now.
    pub(super) fn poll_frame(&mut self, now: Instant) -> Option<OnAir> {
        let order = self.planned.take(self.count(now))?;
        let until = now + order.channel.time_on_air(order.phy.len(), false);
        self.sending_until = Some(until);
        self.counters.sent += 1;
        self.stat.sent += 1;
        Some(OnAir {
            phy: order.phy,
            channel: order.channel,
            from: now,
            until,
        })
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(Socket, Vec<u8>)> {
        self.datagrams.pop_front()
    }

    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        let frame = self.planned.next().map(|count| {
            let ahead = count.wrapping_sub(self.count(now));
            // One that should have begun begins now.
            if ahead.cast_signed() <= 0 {
                now
            } else {
                now + self.counter.duration(ahead)
            }
        });
        let others = [self.fetch_at, frame].into_iter().flatten();
        others.fold(self.pull_at.min(self.stat_at), Instant::min)
    }

    fn count(&self, at: Instant) -> u32 {
        self.counter.at(at.saturating_duration_since(self.epoch))
    }

    fn next_token(&mut self) -> u16 {
        self.token = self.token.wrapping_add(0x3f1d);
        self.token
    }
}
