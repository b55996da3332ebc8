//! One device at one server: its client, what it is told of, and what it is owed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::client::{Client, Content, RegistrationState, SendOutcome, SendRefused};
use lwm2m_client::format::Entry;
use lwm2m_client::{InstanceId, ObjectId, Path, ResourceInstanceId, Value};

use crate::Now;
use crate::config::AccountConfig;
use crate::device::{Device, News};
use crate::limits;
use crate::model::Shown;
use crate::outbox::{Outbox, Owed, Verdict};
use crate::output::DropReason;
use crate::profile::PointClass;
use crate::reading::Quality;
use crate::status::EndpointState;
use crate::tree::{self, Key};
use crate::view::{Listing, View, measurement_paths, quality_paths};

/// A server.
pub(crate) struct Account {
    /// What the configuration says.
    pub(crate) config: AccountConfig,
    /// The object versions of its model.
    pub(crate) shown: Shown,
    /// The endpoints that have not begun to register, by their place in the gateway.
    pub(crate) waiting: VecDeque<usize>,
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
    /// What the server is owed by Send.
    pub(crate) outbox: Outbox,
    /// The object instances that the server is told of.
    pub(crate) listing: Listing,
    /// Where the server keeps the registration.
    pub(crate) location: Option<String>,
    /// What went wrong last.
    pub(crate) last_error: Option<String>,
    /// Whether the client was told to start.
    pub(crate) is_started: bool,
    /// Whether readings go by Send: the account wants it, and the server can.
    pub(crate) sends: bool,
    /// The generation of the device's tree that `listing` was made from.
    generation: Option<u64>,
    /// When the client is to be told of a new listing.
    listing_due: Option<Instant>,
    /// The quality of each instance that the server was told last, where it was not good.
    told: BTreeMap<(ObjectId, InstanceId), Quality>,
}

impl Endpoint {
    /// Returns an endpoint that waits for its turn.
    pub(crate) fn new(
        (account, device): (usize, usize),
        name: Arc<str>,
        client: Client,
        capacity: usize,
        sends: bool,
    ) -> Self {
        Self {
            account,
            device,
            name,
            client,
            outbox: Outbox::new(capacity),
            listing: Listing::new(),
            location: None,
            last_error: None,
            is_started: false,
            sends,
            generation: None,
            listing_due: None,
            told: BTreeMap::new(),
        }
    }

    /// Brings the listing up to date; what an instance has measured before it was listed is owed from then on.
    pub(crate) fn relist(&mut self, device: &Device, shown: &Shown, now: Now) -> usize {
        if self.knows(device) {
            return 0;
        }
        self.generation = Some(device.tree.generation());
        let listing = View::complete(device, shown, now.wall);
        if listing == self.listing {
            return 0;
        }
        let before = std::mem::replace(&mut self.listing, listing);
        if self.is_started {
            self.listing_due
                .get_or_insert(now.instant + limits::LISTING_SETTLES);
        }
        let is_new = |o: &ObjectId, i: &InstanceId| {
            self.listing.get(o).is_some_and(|l| l.contains(i)) && before.get(o).is_none_or(|l| !l.contains(i))
        };
        let measured: Vec<Owed> = device
            .tree
            .iter()
            .filter(|((o, i, ..), held)| held.received.is_some() && is_new(o, i))
            .filter_map(|(key, held)| {
                let entry = shown_entry(device, shown, key, &held.value)?;
                let (time, received) = (held.time, held.received.unwrap_or(now.instant));
                Some(Owed {
                    entry,
                    time,
                    received,
                    alarm: device.is_alarm(key),
                })
            })
            .collect();
        let new: BTreeSet<_> = measured
            .iter()
            .filter_map(|owed| instance_of(owed.entry.path))
            .collect();
        self.push(measured) + self.owe_quality(new.into_iter(), device, shown, now)
    }

    /// Says whether the listing was made from all that the device has.
    pub(crate) fn knows(&self, device: &Device) -> bool {
        self.generation == Some(device.tree.generation())
    }

    /// Adds news to what is owed; says how many older readings had to go.
    pub(crate) fn owe(&mut self, news: &News, device: &Device, shown: &Shown, now: Now) -> usize {
        let owed: Vec<Owed> = news
            .values
            .iter()
            .filter(|value| self.lists(value.key.0, value.key.1))
            .filter_map(|value| {
                Some(Owed {
                    entry: shown_entry(device, shown, value.key, &value.value)?,
                    time: value.time,
                    received: now.instant,
                    alarm: value.class == PointClass::Alarm,
                })
            })
            .collect();
        let instances: BTreeSet<_> = news
            .values
            .iter()
            .map(|value| (value.key.0, value.key.1))
            .chain(news.requalified.iter().copied())
            .collect();
        self.push(owed) + self.owe_quality(instances.into_iter(), device, shown, now)
    }

    /// Offers the next readings to the client; says how many had to be dropped, and why.
    pub(crate) fn flush(&mut self, now: Instant) -> Option<(usize, DropReason)> {
        if !self.may_send() {
            return None;
        }
        let mut poison = 0;
        while let Some((id, records)) = self.outbox.take(now) {
            match self.client.send(id, records, now) {
                Ok(()) => break,
                Err(SendRefused::NotRegistered | SendRefused::Muted | SendRefused::Busy) => {
                    self.outbox.put_back(id);
                    break;
                }
                Err(SendRefused::NotInVersion) => {
                    self.sends = false;
                    return Some((self.outbox.clear(), DropReason::NoSend));
                }
                // Smaller and smaller until it can be encoded, or one reading alone cannot and is set aside.
                Err(SendRefused::Invalid(_)) => match self.outbox.split(id) {
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
        now: Instant,
    ) -> Option<(usize, DropReason)> {
        match self.outbox.handle_finished(id, outcome, now) {
            Verdict::Paid | Verdict::Again => None,
            Verdict::Poison => Some((1, DropReason::Poison)),
        }
    }

    /// Says once whether the client is to be told of a new listing.
    pub(crate) fn take_listing_due(&mut self, now: Instant) -> bool {
        self.listing_due.take_if(|due| *due <= now).is_some()
    }

    /// Returns when this endpoint has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        // A pause that ends while nothing may be sent is nobody's business: flush would leave it in the past.
        let pause = self.outbox.poll_timeout().filter(|_| self.may_send());
        let times = [self.client.poll_timeout(), pause, self.listing_due];
        times.into_iter().flatten().min()
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

    /// Says whether a Send can go out: a server refuses readings of an instance that it has not been told of, so the
    /// listing goes first.
    fn may_send(&self) -> bool {
        self.sends && self.listing_due.is_none() && self.client.state() == RegistrationState::Registered
    }

    fn lists(&self, object: ObjectId, instance: InstanceId) -> bool {
        self.listing
            .get(&object)
            .is_some_and(|instances| instances.contains(&instance))
    }

    /// Says how good the values of these instances are, where they are or were not good.
    fn owe_quality(
        &mut self,
        instances: impl Iterator<Item = (ObjectId, InstanceId)>,
        device: &Device,
        shown: &Shown,
        now: Now,
    ) -> usize {
        let mut owed = Vec::new();
        for (object, instance) in instances {
            if !self.lists(object, instance) {
                continue;
            }
            let Some(quality) = device.tree.worst(object, instance) else {
                continue;
            };
            let told = match quality {
                Quality::Good => self.told.remove(&(object, instance)),
                Quality::Fault | Quality::Stale | Quality::Derived => {
                    self.told.insert((object, instance), quality);
                    Some(quality)
                }
            };
            if told.is_some() {
                owed.extend(
                    quality_entries(shown, (object, instance), quality).map(|entry| Owed {
                        entry,
                        time: now.wall,
                        received: now.instant,
                        alarm: false,
                    }),
                );
            }
        }
        self.push(owed)
    }

    fn push(&mut self, owed: Vec<Owed>) -> usize {
        if !self.sends {
            return 0;
        }
        owed.into_iter().map(|owed| self.outbox.push(owed)).sum()
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

fn instance_of(path: Path) -> Option<(ObjectId, InstanceId)> {
    Some((path.object_id()?, path.instance_id()?))
}

fn quality_entries(
    shown: &Shown,
    (object, instance): (ObjectId, InstanceId),
    quality: Quality,
) -> impl Iterator<Item = Entry> {
    let values = [
        (tree::QUALITY_INDICATOR, quality.indicator()),
        (tree::QUALITY_LEVEL, quality.level()),
    ];
    values
        .into_iter()
        .filter(move |(resource, _)| shown.resource(object, *resource).is_some())
        .map(move |(resource, value)| Entry {
            path: Path::Resource(object, instance, resource),
            value: Value::Integer(value),
        })
}

/// Returns a value of the tree as an entry of the server's model; none where it has no place there.
fn shown_entry(device: &Device, shown: &Shown, (o, i, r, ri): Key, value: &Value) -> Option<Entry> {
    let definition = shown.resource(o, r)?;
    if let (Some(ri), false) = (ri, definition.multiple) {
        // Where the server's version has room for one value, that is the first.
        let first = match device.tree.content(o, i, r)? {
            Content::Single(_) => None,
            Content::Multiple(values) => values.into_keys().next(),
        };
        first.filter(|first| *first == ri)?;
    }
    let content = match ri {
        None => Content::Single(value.clone()),
        Some(ri) => Content::Multiple(BTreeMap::from([(ri, value.clone())])),
    };
    Some(match shown.show(o, r, content)? {
        Content::Single(value) => Entry {
            path: Path::Resource(o, i, r),
            value,
        },
        Content::Multiple(values) => {
            let (ri, value): (ResourceInstanceId, Value) = values.into_iter().next()?;
            let path = Path::ResourceInstance(o, i, r, ri);
            Entry { path, value }
        }
    })
}
