//! One device at one server: its client, what it is told of, and what it is owed.

mod entries;
mod notifications;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::client::{Client, RegistrationState, SendOutcome, SendRefused};
use lwm2m_client::{InstanceId, ObjectId, Path};

use crate::Now;
use crate::buffer::Moment;
use crate::config::AccountConfig;
use crate::device::{Device, NewValue, News};
use crate::limits;
use crate::model::Shown;
use crate::outbox::{Clock, Ledger, New, Outbox, Reading, Verdict, covers};
use crate::output::DropReason;
use crate::profile::PointClass;
use crate::reading::Quality;
use crate::status::EndpointState;
use crate::tree;
use crate::view::{Listing, View, measurement_paths, quality_paths};
use entries::{instance_of, quality_entries, records, shown_entry};
use notifications::OwedLately;

/// How readings go to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By Send.
    Send,
    /// By late notifications of these paths.
    Notification(Vec<Path>),
}

/// A server.
pub(crate) struct Account {
    /// What the configuration says.
    pub(crate) config: AccountConfig,
    /// The object versions of its model.
    pub(crate) shown: Shown,
    /// The endpoints that have not begun to register, by their place in the gateway.
    pub(crate) waiting: VecDeque<usize>,
    /// When one of its endpoints last reached it after it had been away.
    pub(crate) back_at: Option<Instant>,
    /// When it last answered one of its endpoints.
    pub(crate) reached_at: Option<Instant>,
    /// Behind which endpoint, by its place in the gateway, the next one tries while none is answered.
    pub(crate) probed: usize,
}

/// How long stored readings wait for their object instance to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// As long as there was no registration in this run.
    Always,
    /// Until then.
    Until(Instant),
    /// No longer: the server decides whether it takes them.
    NoLonger,
}

/// A device at a server.
pub(crate) struct Endpoint {
    /// The place of the server in the gateway.
    pub(crate) account: usize,
    /// The place of the device in the gateway.
    pub(crate) device: usize,
    /// The endpoint name.
    pub(crate) name: Arc<str>,
    /// The LwM2M client.
    pub(crate) client: Client,
    /// What the server has not got.
    pub(crate) outbox: Outbox,
    /// The object instances that the server is told of.
    pub(crate) listing: Listing,
    /// Where the server keeps the registration.
    pub(crate) location: Option<String>,
    /// What went wrong last.
    pub(crate) last_error: Option<String>,
    /// Whether the client was told to start.
    pub(crate) is_started: bool,
    /// For which return of the server it has tried again.
    pub(crate) tried_for: Option<Instant>,
    /// Whether readings go by Send: the account wants it, and the server can. Otherwise what is observed is owed.
    sends: bool,
    /// What was owed lately of what is observed.
    owed_lately: OwedLately,
    /// What is observed in a way that takes nothing late, as far as is known.
    untimely: BTreeSet<Path>,
    instances: Awaited,
    was_away: bool,
    /// Since when nothing can be delivered, or last could not be; none at the start.
    away_since: Option<Instant>,
    /// The generation of the device's tree that `listing` was made from.
    generation: Option<u64>,
    /// When the client is to be told of a new listing.
    listing_due: Option<Instant>,
    /// The quality of each instance that the server was told last, where it was not good, and for when; none for a time
    /// before this run.
    told: BTreeMap<(ObjectId, InstanceId), (Quality, Option<Moment>)>,
}

impl Endpoint {
    /// Returns an endpoint that waits for its turn.
    pub(crate) fn new(
        (account, device): (usize, usize),
        name: Arc<str>,
        client: Client,
        sends: bool,
    ) -> Self {
        let mut endpoint = Self {
            account,
            device,
            name,
            client,
            outbox: Outbox::default(),
            listing: Listing::new(),
            location: None,
            last_error: None,
            is_started: false,
            tried_for: None,
            sends,
            owed_lately: OwedLately::default(),
            untimely: BTreeSet::new(),
            instances: Awaited::Always,
            was_away: true,
            away_since: None,
            generation: None,
            listing_due: None,
            told: BTreeMap::new(),
        };
        endpoint.set_sends(sends);
        endpoint
    }

    /// Sets whether readings go by Send; where they do not, notifications that do not arrive are owed instead.
    pub(crate) fn set_sends(&mut self, sends: bool) {
        self.sends = sends;
        self.client.set_owes_notifications(!sends);
    }

    /// Says whether a notification that does not arrive is owed to nobody.
    pub(crate) const fn owes_no_notifications(&self) -> bool {
        self.sends
    }

    /// Brings the listing up to date; returns what an instance has measured before it was listed, which is owed now.
    pub(crate) fn relist(&mut self, device: &Device, shown: &Shown, clock: &Clock, now: Now) -> Vec<New> {
        if self.knows(device) {
            return Vec::new();
        }
        self.generation = Some(device.tree.generation());
        let listing = View::complete(device, shown, now.wall);
        if listing == self.listing {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.listing, listing);
        if self.is_started {
            self.listing_due
                .get_or_insert(now.instant + limits::LISTING_SETTLES);
        }
        let is_new = |o: &ObjectId, i: &InstanceId| {
            self.listing.get(o).is_some_and(|l| l.contains(i)) && before.get(o).is_none_or(|l| !l.contains(i))
        };
        // What servers were told of the quality before a restart is not known: good is news for them.
        let kept = device
            .tree
            .iter()
            .filter(|((o, i, ..), held)| held.is_kept && is_new(o, i));
        for (key @ (o, i, ..), held) in kept {
            self.told.insert((o, i), (Quality::Stale, None));
            self.owed_lately.handle_kept(key, held);
        }
        let mut measured = self.measured(device, shown, clock, is_new);
        let new: BTreeSet<_> = measured.iter().filter_map(|new| instance_of(new.path)).collect();
        let quality = self.owe_quality(new.into_iter(), device, shown, clock, now);
        measured.extend(quality);
        self.if_sent(measured)
    }

    /// Returns what was measured in some instances in this run, as it is owed.
    fn measured(
        &self,
        device: &Device,
        shown: &Shown,
        clock: &Clock,
        is_chosen: impl Fn(&ObjectId, &InstanceId) -> bool,
    ) -> Vec<New> {
        let chosen = device.tree.iter().filter(|((o, i, ..), _)| is_chosen(o, i));
        let has_place = chosen.filter(|(key, held)| shown_entry(device, shown, *key, &held.value).is_some());
        has_place
            .filter_map(|(key, held)| {
                Some(New {
                    device: self.device,
                    class: device.class(key),
                    path: tree::path(key),
                    value: held.value.clone(),
                    moment: clock.moment(held.time, held.received?),
                })
            })
            .collect()
    }

    /// Says whether the listing was made from all that the device has.
    pub(crate) fn knows(&self, device: &Device) -> bool {
        self.generation == Some(device.tree.generation())
    }

    /// Returns what the server is owed of news.
    pub(crate) fn owe(
        &mut self,
        news: &News,
        device: &Device,
        shown: &Shown,
        clock: &Clock,
        now: Now,
    ) -> Vec<New> {
        let is_owed = |value: &&NewValue| {
            self.lists(value.key.0, value.key.1)
                && shown_entry(device, shown, value.key, &value.value).is_some()
        };
        let new = |value: &NewValue| New {
            device: self.device,
            class: value.class,
            path: tree::path(value.key),
            value: value.value.clone(),
            moment: clock.moment(value.time, now.instant),
        };
        let mut owed: Vec<New> = news.values.iter().filter(is_owed).map(new).collect();
        let instances: BTreeSet<_> = news
            .values
            .iter()
            .map(|value| (value.key.0, value.key.1))
            .chain(news.requalified.iter().copied())
            .collect();
        let quality = self.owe_quality(instances.into_iter(), device, shown, clock, now);
        owed.extend(quality);
        self.if_sent(owed)
    }

    /// Offers the next readings to the client; says how many had to be dropped, and why.
    pub(crate) fn flush(
        &mut self,
        device: &Device,
        shown: &Shown,
        clock: &Clock,
        ledger: &mut Ledger<'_>,
        now: Instant,
    ) -> Option<(usize, DropReason)> {
        match self.way()? {
            Way::Send => {}
            Way::Notification(_) => return self.flush_late(device, shown, clock, ledger, now),
        }
        let mut poison = 0;
        while let Some((id, items)) = self
            .outbox
            .take(ledger, may_go(self.instances, &self.listing), now)
        {
            let records = records(items, device, shown, clock, now);
            match self.client.send(id, records, now) {
                Ok(()) => break,
                Err(SendRefused::NotRegistered | SendRefused::Muted | SendRefused::Busy) => {
                    self.outbox.return_flight(id, ledger);
                    break;
                }
                Err(SendRefused::NotInVersion) => {
                    self.outbox.return_flight(id, ledger);
                    self.set_sends(false);
                    break;
                }
                // Smaller and smaller until it can be encoded, or one reading alone cannot and is set aside.
                Err(SendRefused::Invalid(_)) => match self.outbox.split(ledger, now) {
                    Verdict::Poison => poison += 1,
                    Verdict::Paid | Verdict::Again => {}
                },
            }
        }
        Some((poison, DropReason::Poison))
    }

    /// Takes what became of a Send; says how many readings had to be dropped, and why.
    pub(crate) fn handle_send_finished(
        &mut self,
        id: lwm2m_client::client::SendId,
        outcome: SendOutcome,
        ledger: &mut Ledger<'_>,
        now: Instant,
    ) -> Option<(usize, DropReason)> {
        match self.outbox.handle_finished(id, outcome, ledger, now) {
            Verdict::Paid | Verdict::Again => None,
            Verdict::Poison => Some((1, DropReason::Poison)),
        }
    }

    /// Notes that there is a registration; the first one of a run counts.
    pub(crate) fn handle_registered(&mut self, now: Instant) {
        if self.instances == Awaited::Always {
            self.instances = Awaited::Until(now + limits::INSTANCE_RETURNS);
        }
    }

    /// Does what is due by the time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.outbox.handle_timeout(now);
        if matches!(self.instances, Awaited::Until(at) if at <= now) {
            self.instances = Awaited::NoLonger;
        }
    }

    /// Says once whether the client is to be told of a new listing.
    pub(crate) fn take_listing_due(&mut self, now: Instant) -> bool {
        self.listing_due.take_if(|due| *due <= now).is_some()
    }

    /// Returns when this endpoint has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        // A pause that ends while nothing may be sent is nobody's business: flush would leave it in the past.
        let pause = self.outbox.poll_timeout().filter(|_| self.way().is_some());
        let awaited = match self.instances {
            Awaited::Until(at) => Some(at).filter(|_| self.outbox.backlog.count() > 0),
            Awaited::Always | Awaited::NoLonger => None,
        };
        let times = [self.client.poll_timeout(), pause, awaited, self.listing_due];
        times.into_iter().flatten().min()
    }

    /// Says whether nothing can be delivered for now.
    pub(crate) fn is_away(&self) -> bool {
        !self.is_open() || self.outbox.is_failing()
    }

    /// Says once that nothing can be delivered any more.
    pub(crate) fn has_gone_away(&mut self, now: Instant) -> bool {
        let is_away = self.is_away();
        let was_away = std::mem::replace(&mut self.was_away, is_away);
        let has_gone = is_away && !was_away;
        if has_gone {
            self.away_since = Some(now);
        }
        has_gone
    }

    /// Says whether it lets time go by before it tries again.
    pub(crate) fn waits_to_try(&self, now: Instant) -> bool {
        match self.client.state() {
            RegistrationState::Waiting => true,
            RegistrationState::Registered => self.outbox.is_paused(now),
            RegistrationState::Idle
            | RegistrationState::Registering
            | RegistrationState::Deregistering
            | RegistrationState::Disabled
            | RegistrationState::Stopped => false,
        }
    }

    /// Says whether nothing could be delivered at that time and from then on.
    pub(crate) fn is_away_since_before(&self, at: Option<Instant>) -> bool {
        let since = self.away_since;
        self.was_away && at.is_some_and(|at| since.is_none_or(|since| since <= at))
    }

    /// Says whether readings are to be loaded for the next Sends.
    pub(crate) fn wants_load(&self, now: Instant) -> bool {
        if self.outbox.is_paused(now) {
            return false;
        }
        let backlog = &self.outbox.backlog;
        match self.way() {
            None => false,
            Some(Way::Send) => backlog.wants_load(may_go(self.instances, &self.listing)),
            Some(Way::Notification(observed)) => {
                backlog.wants_load(|reading| covers(&observed, reading.path))
            }
        }
    }

    /// Returns what says whether the server's model has a place for a reading.
    pub(crate) fn fits<'a>(
        &self,
        device: &'a Device,
        shown: &'a Shown,
    ) -> impl Fn(&Reading) -> bool + use<'a> {
        move |reading| {
            tree::key(reading.path)
                .is_some_and(|key| shown_entry(device, shown, key, &reading.value).is_some())
        }
    }

    /// Returns how far the registration is.
    pub(crate) fn state(&self) -> EndpointState {
        match self.client.state() {
            RegistrationState::Idle => EndpointState::Waiting,
            RegistrationState::Registering => EndpointState::Registering,
            RegistrationState::Waiting => EndpointState::Failed,
            RegistrationState::Registered => EndpointState::Registered,
            RegistrationState::Disabled => EndpointState::Disabled,
            RegistrationState::Deregistering | RegistrationState::Stopped => EndpointState::Deregistered,
        }
    }

    /// Returns how readings can go out now. A server refuses readings of an instance that it has not been told of, so
    /// the listing goes first.
    pub(crate) fn way(&self) -> Option<Way> {
        if self.listing_due.is_some() || self.client.state() != RegistrationState::Registered {
            return None;
        }
        if self.sends && !self.client.is_send_muted() {
            return Some(Way::Send);
        }
        let observed = self.client.observed().into_iter().map(|observed| observed.path);
        let observed: Vec<Path> = observed.filter(|path| !self.untimely.contains(path)).collect();
        (!observed.is_empty()).then_some(Way::Notification(observed))
    }

    /// Says whether the server takes readings, as far as is known.
    fn is_open(&self) -> bool {
        self.client.state() == RegistrationState::Registered && !self.client.is_send_muted()
    }

    fn lists(&self, object: ObjectId, instance: InstanceId) -> bool {
        lists(&self.listing, Path::Instance(object, instance))
    }

    /// Says how good the values of these instances are, where they are or were not good.
    fn owe_quality(
        &mut self,
        instances: impl Iterator<Item = (ObjectId, InstanceId)>,
        device: &Device,
        shown: &Shown,
        clock: &Clock,
        now: Now,
    ) -> Vec<New> {
        let mut owed = Vec::new();
        for (object, instance) in instances {
            if !self.lists(object, instance) {
                continue;
            }
            let Some(quality) = device.tree.worst(object, instance) else {
                continue;
            };
            let moment = clock.moment(now.wall, now.instant);
            let is_news = match quality {
                Quality::Good => self.told.remove(&(object, instance)).is_some(),
                // Two things may happen at one moment: what both make of it is said once.
                Quality::Fault | Quality::Stale | Quality::Derived => {
                    let told = (quality, Some(moment));
                    self.told.insert((object, instance), told) != Some(told)
                }
            };
            if is_news {
                owed.extend(
                    quality_entries(shown, (object, instance), quality).map(|entry| New {
                        device: self.device,
                        class: PointClass::Measurement,
                        path: entry.path,
                        value: entry.value,
                        moment,
                    }),
                );
            }
        }
        owed
    }

    fn if_sent(&self, owed: Vec<New>) -> Vec<New> {
        if self.sends { owed } else { Vec::new() }
    }
}

/// Returns the paths that news change, for whoever observes them.
pub(crate) fn changed_paths(news: &News) -> Vec<Path> {
    let mut paths: Vec<Path> = news.values.iter().map(|value| tree::path(value.key)).collect();
    let mut instances: Vec<_> = news
        .values
        .iter()
        .map(|value| (value.key.0, value.key.1))
        .collect();
    instances.dedup();
    paths.extend(instances.into_iter().flat_map(|(o, i)| measurement_paths(o, i)));
    paths.extend(news.requalified.iter().flat_map(|(o, i)| quality_paths(*o, *i)));
    paths
}

/// Returns what says whether a stored reading can go to a server that was told of these instances.
fn may_go(instances: Awaited, listing: &Listing) -> impl Fn(&Reading) -> bool {
    move |reading| instances == Awaited::NoLonger || lists(listing, reading.path)
}

fn lists(listing: &Listing, path: Path) -> bool {
    instance_of(path).is_some_and(|(object, instance)| {
        listing
            .get(&object)
            .is_some_and(|instances| instances.contains(&instance))
    })
}
