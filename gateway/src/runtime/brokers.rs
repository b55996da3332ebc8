//! The running brokers: what they are subscribed to, orders to them, and what is known of their connections.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use ucifi_adapters::mqtt::io::{Credentials, Options, ToBroker, Version, run};
use ucifi_adapters::mqtt::{
    Address, BrokerConfig, Client, ConfigError, DeviceConfig, Statistics, UnknownDevice, Writes, limits,
    place_of,
};
use ucifi_core::field::{Link, ReceiptId, TopicTemplate};
use ucifi_core::{Downlink, Profile};
use ucifi_profiles::Catalogue;

use super::Input;
use super::field::Tasks;
use crate::config::{Broker, Configuration, Device, Loaded, MqttVersion};
use crate::limits::{BROKER_ORDERS, BROKER_WINDOW, BUS_ORDERS};

/// All brokers, in the order of the configuration.
pub(super) struct Brokers {
    brokers: Vec<RunningBroker>,
}

/// One broker.
struct RunningBroker {
    name: Arc<str>,
    uri: String,
    orders: mpsc::Sender<ToBroker>,
    /// Receipts that it could not take yet.
    unsaid: VecDeque<ReceiptId>,
    state: ConnectionState,
}

/// How the connection to a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// Nothing has been heard of it.
    Connecting,
    /// It stands.
    Connected,
    /// It does not, for the reason given.
    Away(String),
}

impl ConnectionState {
    /// Returns the state in words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Connecting => "connecting".to_owned(),
            Self::Connected => "connected".to_owned(),
            Self::Away(reason) => format!("away: {reason}"),
        }
    }
}

/// What `status` shows of a broker, its counters still under way.
pub(super) struct BrokerStatus {
    pub(super) name: Arc<str>,
    pub(super) uri: String,
    pub(super) state: ConnectionState,
    pub(super) statistics: Option<oneshot::Receiver<Statistics>>,
}

impl Brokers {
    /// Starts every broker.
    ///
    /// # Errors
    /// When the devices behind a broker cannot be served as configured.
    pub(super) fn open(
        loaded: &Loaded,
        seed: u64,
        now: Instant,
        tasks: &mut Tasks,
    ) -> Result<Self, ConfigError> {
        let mut brokers = Vec::new();
        for (broker, client) in clients(loaded, seed, now)? {
            let (orders, taken) = mpsc::channel(BROKER_ORDERS);
            let (events, told) = mpsc::channel(BUS_ORDERS);
            let options = options(broker, &loaded.configuration.gateway.name);
            let name = broker.name.clone();
            tasks.run_answered(run(client, options, taken, events), told, move |event| {
                Input::Broker {
                    broker: name.clone(),
                    event,
                }
            });
            brokers.push(RunningBroker {
                name: broker.name.clone(),
                uri: broker.uri.text.clone(),
                orders,
                unsaid: VecDeque::new(),
                state: ConnectionState::Connecting,
            });
        }
        Ok(Self { brokers })
    }

    /// Hands a downlink to its broker; says whether the broker could take it.
    pub(super) fn downlink(&self, downlink: Downlink) -> bool {
        let Link::Mqtt { broker, .. } = &downlink.link else {
            return false;
        };
        let Some(running) = self.brokers.iter().find(|running| running.name == *broker) else {
            return false;
        };
        running.orders.try_send(ToBroker::Downlink(downlink)).is_ok()
    }

    /// Tells the broker that a message came from that nothing of it can be lost any more.
    pub(super) fn settled(&mut self, receipt: ReceiptId) {
        let place = usize::from(place_of(receipt)).checked_sub(FIRST_PLACE);
        if let Some(broker) = place.and_then(|place| self.brokers.get_mut(place)) {
            broker.unsaid.push_back(receipt);
            broker.say_settled();
        }
    }

    /// Tells every broker what it could not take before.
    pub(super) fn say_settled(&mut self) {
        self.brokers.iter_mut().for_each(RunningBroker::say_settled);
    }

    /// Says whether a broker could not take everything yet.
    pub(super) fn has_unsaid(&self) -> bool {
        self.brokers.iter().any(|broker| !broker.unsaid.is_empty())
    }

    /// Takes note of how a connection is, for `status`; the broker's own task has logged it.
    pub(super) fn note(&mut self, name: &Arc<str>, state: ConnectionState) {
        if let Some(broker) = self.brokers.iter_mut().find(|broker| broker.name == *name) {
            broker.state = state;
        }
    }

    /// Asks every broker for its counters.
    pub(super) fn status(&self) -> Vec<BrokerStatus> {
        let one = |broker: &RunningBroker| {
            let (reply, statistics) = oneshot::channel();
            let asked = broker.orders.try_send(ToBroker::Statistics(reply)).is_ok();
            BrokerStatus {
                name: broker.name.clone(),
                uri: broker.uri.clone(),
                state: broker.state.clone(),
                statistics: asked.then_some(statistics),
            }
        };
        self.brokers.iter().map(one).collect()
    }

    /// Asks every broker for the devices that are not configured.
    pub(super) fn unknown(&self) -> Vec<(Arc<str>, oneshot::Receiver<Vec<UnknownDevice>>)> {
        let one = |broker: &RunningBroker| {
            let (reply, unknown) = oneshot::channel();
            broker.orders.try_send(ToBroker::UnknownDevices(reply)).ok()?;
            Some((broker.name.clone(), unknown))
        };
        self.brokers.iter().filter_map(one).collect()
    }
}

impl RunningBroker {
    fn say_settled(&mut self) {
        while let Some(receipt) = self.unsaid.front() {
            if self.orders.try_send(ToBroker::Settled(*receipt)).is_err() {
                return;
            }
            self.unsaid.pop_front();
        }
    }
}

/// The number of the first broker among all that give receipts; those below are for others.
const FIRST_PLACE: usize = 1;

/// Makes the engine of every broker.
///
/// # Errors
/// When the devices behind a broker cannot be served as configured.
pub(super) fn clients(
    loaded: &Loaded,
    seed: u64,
    now: Instant,
) -> Result<Vec<(&Broker, Client)>, ConfigError> {
    let configuration = &loaded.configuration;
    let client = |(broker, place): (_, u16)| {
        let config = engine_config(broker, place, configuration, &loaded.catalogue);
        // Not the random numbers of a bus: they would try again at the same time.
        let seed = seed.wrapping_sub(u64::from(place));
        Ok((broker, Client::new(config, seed, now)?))
    };
    configuration.brokers.iter().zip(1..).map(client).collect()
}

fn engine_config(
    broker: &Broker,
    place: u16,
    configuration: &Configuration,
    catalogue: &Catalogue,
) -> BrokerConfig {
    let devices = configuration.devices.iter();
    BrokerConfig {
        name: broker.name.clone(),
        place,
        receive_window: BROKER_WINDOW,
        writes: if broker.writes {
            Writes::Allow
        } else {
            Writes::Deny
        },
        devices: devices
            .filter_map(|device| device_behind(broker, device))
            .collect(),
        discovery: if broker.discover {
            discovery(catalogue)
        } else {
            Vec::new()
        },
    }
}

fn device_behind(broker: &Broker, device: &Device) -> Option<DeviceConfig> {
    let Link::Mqtt {
        broker: name,
        device: topic,
    } = &device.link
    else {
        return None;
    };
    (*name == broker.name).then(|| DeviceConfig {
        device: topic.clone(),
        topics: device.profile.topics().to_vec(),
    })
}

/// Returns the topics under which devices of all known kinds publish, where a whole level stands for the device: the
/// first one of each kind, then the second ones, as many as there is room for.
fn discovery(catalogue: &Catalogue) -> Vec<TopicTemplate> {
    let profiles: Vec<_> = catalogue.ids().filter_map(|id| catalogue.find(id)).collect();
    let most = profiles
        .iter()
        .map(|profile| profile.topics().len())
        .max()
        .unwrap_or(0);
    let by_rank = (0..most).flat_map(|rank| {
        profiles
            .iter()
            .filter_map(move |profile| profile.topics().get(rank))
    });
    let mut taken = BTreeSet::new();
    by_rank
        .map(|subscription| subscription.topic.clone())
        .filter(|topic| topic.text().split('/').any(|level| level == "{device}"))
        .filter(|topic| taken.insert(topic.clone()))
        .take(limits::DISCOVERIES)
        .collect()
}

fn options(broker: &Broker, gateway: &str) -> Options {
    let uri = &broker.uri;
    let host = if uri.host.contains(':') {
        format!("[{}]", uri.host)
    } else {
        uri.host.clone()
    };
    Options {
        address: Address { host, port: uri.port },
        version: match broker.version {
            MqttVersion::V3_1_1 => Version::V3,
            MqttVersion::V5 => Version::V5,
        },
        client_id: broker.client_id(gateway),
        credentials: broker.login.as_ref().map(|login| Credentials {
            username: login.username.clone(),
            password: login
                .password
                .as_ref()
                .map(|secret| secret.reveal().clone())
                .unwrap_or_default(),
        }),
        keep_alive_secs: broker.keep_alive_secs,
        receive_window: BROKER_WINDOW,
    }
}
