//! What became of every reading: given by a device, made durable, arrived at the server, or lost, and why.
//!
//! The ledger is told everything that happens in a simulated cabinet and judges it: [`Ledger::faults`] lists what must
//! not be. It knows a reading by its value, which no other reading has, and follows it to each server.
//!
//! - A reading that was durable arrives, or a gap tells of it.
//! - One that was not may be lost by a power cut, if it was young enough.
//! - One whose sender was told that it was taken is durable, has arrived or is told of by then: no cut loses it. One
//!   that its sender repeats until then arrives.
//! - None arrives that was not given, under another name, or with another time than one at which the gateway heard it.
//! - One arrives again only if the acknowledgement of the server never reached the gateway, or if the gateway went down
//!   before that was durable.

mod buffer;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lwm2m_client::{Path, Timestamp, Value};
use ucifi_core::EndpointId;
use ucifi_core::buffer::{Commit, Contents, Gap, Record, Reply, Request};

use buffer::{Changed, Doubt, ExpectedBuffer, Opened, OwedTo};
use reading::Reading;
pub(crate) use reading::{Given, Source};

use crate::limits;
use crate::server::ReceivedValue;

/// What became of the readings, each counted once for every server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Readings that devices gave while the gateway was on.
    pub given: u64,
    /// Those that arrived.
    pub arrived: u64,
    /// Arrivals after the first one.
    pub repeated: u64,
    /// Those that were only in memory when the gateway went down, and so were lost.
    pub lost: u64,
    /// Those that had to go and were told of.
    pub gone: u64,
    /// Those that were made durable.
    pub stored: u64,
    /// Those that arrived after they had been read from disk by a later start.
    pub arrived_after_restart: u64,
    /// Those whose senders were told that they were taken.
    pub confirmed: u64,
    /// Those that the gateway heard more than once.
    pub heard_again: u64,
    /// Those that arrived under more than one time.
    pub of_two_times: u64,
    /// Those of them that were durable when the gateway heard them again.
    pub of_two_times_though_durable: u64,
}

/// One message of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageName {
    pub(crate) endpoint: EndpointId,
    pub(crate) id: u16,
    /// How often the gateway had been started.
    pub(crate) start: u32,
}

/// A message with values, as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    pub(crate) message: MessageName,
    /// When it was sent first.
    pub(crate) sent: Duration,
}

/// A reading, and the server that it is for.
type Name = (u64, Arc<str>);

/// What is known of all readings.
#[derive(Debug)]
pub struct Ledger {
    /// The names of the servers.
    servers: Vec<Arc<str>>,
    readings: BTreeMap<Name, Reading>,
    /// When the gateway was told that a message had arrived.
    acknowledged: BTreeMap<MessageName, Duration>,
    buffer: ExpectedBuffer,
    doubt: Doubt,
    /// When the gateway went down.
    downs: Vec<Duration>,
    /// From when on the disk was well.
    well_since: Option<Duration>,
    repeated: u64,
    faults: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(servers: Vec<Arc<str>>) -> Self {
        Self {
            servers,
            readings: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            buffer: ExpectedBuffer::default(),
            doubt: Doubt::default(),
            downs: Vec::new(),
            well_since: Some(Duration::ZERO),
            repeated: 0,
            faults: Vec::new(),
        }
    }

    /// Returns what must not have happened and did.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Returns what became of the readings so far.
    pub fn totals(&self) -> Totals {
        let count = |of: &dyn Fn(&Reading) -> bool| self.readings.values().filter(|r| of(r)).count() as u64;
        Totals {
            given: self.readings.len() as u64,
            arrived: count(&Reading::has_arrived),
            repeated: self.repeated,
            lost: count(&|reading| !reading.has_arrived() && reading.lost_at.is_some()),
            gone: count(&|reading| !reading.has_arrived() && reading.is_gone),
            stored: count(&|reading| reading.was_stored),
            arrived_after_restart: count(&Reading::is_late),
            confirmed: count(&|reading| reading.is_confirmed),
            heard_again: count(&|reading| reading.hearings.len() > 1),
            of_two_times: count(&|reading| reading.times().0 > 1),
            of_two_times_though_durable: count(&|reading| reading.times().1 > 0),
        }
    }

    /// Returns what the gateway's clock said when it was given a value first.
    pub fn time_of(&self, value: &Value) -> Option<Timestamp> {
        let first = self.servers.first()?;
        let reading = self.readings.get(&(number(value)?, Arc::clone(first)))?;
        reading.hearings.first()?.given.wall
    }

    /// Checks that everything that was given has arrived, or is known to be lost; says how many are neither.
    pub fn check_all_arrived(&mut self) -> usize {
        let missing: Vec<String> = self
            .readings
            .iter()
            .filter(|(_, reading)| reading.is_open())
            .map(|((number, server), reading)| format!("{number} has not arrived at {server}: {reading:?}"))
            .collect();
        let count = missing.len();
        missing.into_iter().for_each(|fault| self.fault(fault));
        count
    }

    pub(crate) fn fault(&mut self, fault: String) {
        if self.faults.len() < limits::MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Takes a reading that a device gives, whether or not the gateway hears it.
    pub(crate) fn give(&mut self, number: u64, device: &Arc<str>, path: Path, source: Source) {
        for server in &self.servers {
            let name = (number, Arc::clone(server));
            let reading = || Reading::new(Arc::clone(device), path, source);
            self.readings.entry(name).or_insert_with(reading);
        }
    }

    /// Takes that the gateway hears a reading.
    pub(crate) fn hear(&mut self, number: u64, given: Given) {
        self.each_of(number, |reading| reading.hear(given));
    }

    /// Takes that whoever gave a reading was told that it was taken.
    pub(crate) fn confirm(&mut self, number: u64, at: Duration) {
        let mut unsafe_ones = Vec::new();
        self.each_of(number, |reading| {
            reading.is_confirmed = true;
            if !reading.is_safe() {
                unsafe_ones.push(format!(
                    "{number} was acknowledged at {at:?}, neither durable nor delivered: {reading:?}"
                ));
            }
        });
        unsafe_ones.into_iter().for_each(|fault| self.fault(fault));
    }

    fn each_of(&mut self, number: u64, mut change: impl FnMut(&mut Reading)) {
        for server in &self.servers {
            if let Some(reading) = self.readings.get_mut(&(number, Arc::clone(server))) {
                change(reading);
            }
        }
    }

    /// Takes what came of a request to the buffer, before the gateway is told.
    pub(crate) fn answer(&mut self, request: &Request, replies: &[Reply]) {
        for reply in replies {
            match (request, reply) {
                (Request::Commit(commit), Reply::Committed { result: Ok(()), .. }) => {
                    self.doubt.failed.clear();
                    let changed = self.buffer.commit(commit);
                    self.change(&changed);
                }
                (Request::Commit(commit), Reply::Committed { result: Err(_), .. }) => {
                    self.doubt.failed.push(commit.clone());
                }
                (
                    Request::Load { debt, from, limit },
                    Reply::Loaded {
                        result: Ok(loaded), ..
                    },
                ) => {
                    if let Err(fault) = self
                        .buffer
                        .check_loaded(debt, *from, *limit, (loaded, &self.doubt))
                    {
                        self.fault(fault);
                    }
                }
                (Request::Commit(commit), Reply::Gap(gap)) => self.take_gap(gap, Some(commit)),
                (Request::Load { .. } | Request::DropOlder { .. }, Reply::Gap(gap)) => {
                    self.take_gap(gap, None);
                }
                (
                    Request::Commit(_) | Request::Load { .. } | Request::DropOlder { .. },
                    Reply::Committed { .. } | Reply::Loaded { .. } | Reply::Dropped { .. },
                ) => {}
            }
        }
    }

    /// Takes the commit that the store was at work on when the gateway went down.
    pub(crate) fn interrupt(&mut self, commit: &Commit) {
        self.doubt.unanswered = Some(commit.clone());
    }

    /// Says whether the disk does what it should from now on.
    pub(crate) fn disk_is_well(&mut self, is_well: bool, at: Duration) {
        self.well_since = is_well.then_some(at);
    }

    /// Takes that the gateway went down; what was in its memory longer than `young` should have been durable.
    pub(crate) fn go_down(&mut self, at: Duration, young: Duration) {
        let last = self.downs.last().copied();
        self.downs.push(at);
        let doubtful = self.doubt.unanswered.iter().chain(&self.doubt.failed);
        let unanswered: Vec<u64> = doubtful
            .flat_map(|commit| &commit.batches)
            .flat_map(|batch| batch.records.iter().filter_map(number_in))
            .collect();
        let well_since = self.well_since;
        let mut old = Vec::new();
        for ((number, server), reading) in &mut self.readings {
            // What was in no memory cannot be lost from it: a broker has it still.
            let Some(heard) = reading.heard_since(last).filter(|_| !reading.is_safe()) else {
                continue;
            };
            let comes_again = reading.source == Source::Repeats || reading.is_confirmed;
            reading.lost_at = (!comes_again).then_some(at);
            let since = well_since.map(|well| heard.max(well));
            if since.is_some_and(|since| at > since + young) && !unanswered.contains(number) {
                old.push(format!(
                    "{number} for {server} was in memory only when the gateway went down at {at:?}: {reading:?}"
                ));
            }
        }
        old.into_iter().for_each(|fault| self.fault(fault));
    }

    /// Takes what a start has found.
    pub(crate) fn open(&mut self, contents: &Contents) {
        let doubt = std::mem::take(&mut self.doubt);
        match self.buffer.open(contents, &doubt) {
            Ok(Opened { changed, gone, back }) => {
                for name in changed.stored.iter().filter_map(name_of) {
                    if let Some(reading) = self.readings.get_mut(&name) {
                        reading.lost_at = None;
                    }
                }
                self.change(&changed);
                self.let_go(&back, false);
                self.let_go(&gone, true);
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// Takes that the server's acknowledgement of a message reached the gateway.
    pub(crate) fn acknowledge(&mut self, message: MessageName, at: Duration) {
        self.acknowledged.entry(message).or_insert(at);
    }

    /// Takes values that arrived at a server by a Send.
    pub(crate) fn arrive(
        &mut self,
        server: &Arc<str>,
        endpoint: &str,
        values: &[ReceivedValue],
        carrier: Carrier,
    ) {
        for value in values.iter().filter(|value| is_scripted(value.path)) {
            let name = number(&value.value).map(|number| (number, Arc::clone(server)));
            let reading = name.as_ref().and_then(|name| self.readings.get(name));
            let verdict = match reading {
                None => Err("was never given".to_owned()),
                Some(reading) => self.judge(reading, endpoint, value, carrier),
            };
            let place = match verdict {
                Ok(place) => place,
                Err(why) => {
                    self.fault(format!("{endpoint} {value:?} {why}, in {carrier:?}"));
                    0
                }
            };
            if let Some(reading) = name.and_then(|name| self.readings.get_mut(&name)) {
                self.repeated += u64::from(reading.has_arrived());
                if let Some(hearing) = reading.hearings.get_mut(place) {
                    hearing.arrivals.push(carrier);
                }
            }
        }
    }

    /// Returns which of the times that the gateway heard a reading it arrives of.
    fn judge(
        &self,
        reading: &Reading,
        endpoint: &str,
        value: &ReceivedValue,
        carrier: Carrier,
    ) -> Result<usize, String> {
        if !endpoint.ends_with(&*reading.device) || value.path != reading.path {
            return Err(format!("is another's: {reading:?}"));
        }
        let timed = reading.hearings.iter().enumerate();
        let timed = timed.filter(|(_, hearing)| hearing.allows(value.time, carrier));
        let mut timed: Vec<_> = timed.collect();
        // Of several the one whose time is known best: it is the others that allow for much.
        timed.sort_by_key(|(_, hearing)| hearing.doubt(carrier));
        let mut paid = None;
        for (place, hearing) in timed {
            paid = self.paid_before(reading, &hearing.arrivals, carrier);
            if paid.is_none() {
                return Ok(place);
            }
        }
        Err(match paid {
            Some(at) => format!("was acknowledged at {at:?}: {reading:?}"),
            None => format!("has another time: {reading:?}"),
        })
    }

    /// Returns since when the gateway knew that it had arrived, if it has not forgotten that.
    fn paid_before(&self, reading: &Reading, arrivals: &[Carrier], carrier: Carrier) -> Option<Duration> {
        let last = arrivals.last()?;
        let acknowledged = self
            .acknowledged
            .get(&last.message)
            .filter(|at| **at < carrier.sent)?;
        let forgot = reading.was_stored
            && self
                .downs
                .iter()
                .any(|down| (*acknowledged..=carrier.sent).contains(down));
        (!forgot).then_some(*acknowledged)
    }

    fn change(&mut self, changed: &Changed) {
        for name in changed.stored.iter().filter_map(name_of) {
            if let Some(reading) = self.readings.get_mut(&name) {
                reading.was_stored = true;
            }
        }
        for name in changed.settled.iter().filter_map(name_of) {
            let unpaid = self.readings.get(&name).filter(|reading| !reading.has_arrived());
            if let Some(reading) = unpaid {
                self.fault(format!("{name:?} was settled and has not arrived: {reading:?}"));
            }
        }
    }

    fn take_gap(&mut self, gap: &Gap, commit: Option<&Commit>) {
        match self.buffer.take_gap(gap, commit, &self.doubt) {
            Ok(gone) => self.let_go(&gone, true),
            Err(fault) => self.fault(fault),
        }
    }

    fn let_go(&mut self, gone: &[OwedTo], is_gone: bool) {
        for name in gone.iter().filter_map(name_of) {
            if let Some(reading) = self.readings.get_mut(&name) {
                reading.is_gone = is_gone;
            }
        }
    }
}

fn name_of((server, record): &OwedTo) -> Option<Name> {
    Some((number_in(record)?, Arc::clone(server)))
}

fn number_in(record: &Record) -> Option<u64> {
    is_scripted(record.path).then(|| number(&record.value)).flatten()
}

fn number(value: &Value) -> Option<u64> {
    value.as_f64().map(|number| number as u64)
}

/// Says whether it is a resource that scripted devices fill.
fn is_scripted(path: Path) -> bool {
    matches!(path, Path::Resource(object, _, resource) if (object.0, resource.0) == (3300, 5700))
}
