//! The running radio network: orders to it, what is known of its forwarders, and who was heard that nobody configured.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use ucifi_adapters::lorawan::io::{Statistics, ToNetwork, run};
use ucifi_adapters::lorawan::{
    Activation, ConfigError, DevAddr, ForwarderId, Forwarders, Key, NetworkConfig, NetworkServer, NodeConfig,
    Sender, forwarders,
};
use ucifi_core::field::{Link, ReceiptId};
use ucifi_core::state::Saved;
use ucifi_core::{Downlink, Now, Profile};

use super::Input;
use super::field::Tasks;
use crate::config::{self, Configuration, Device, LoRaWan};
use crate::limits::{BUS_ORDERS, RADIO_ORDERS, UNKNOWN_SENDERS};

/// The names of what the network keeps begin with this.
const PREFIX: &str = "lorawan/";

/// Its number among all that give receipts; brokers count from 1.
const PLACE: u16 = u16::MAX;

/// What a network had saved.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkState {
    values: BTreeMap<String, Vec<u8>>,
    may_be_old: bool,
}

impl NetworkState {
    /// Takes what it has saved out of what was saved.
    pub(super) fn take(saved: &mut Saved) -> Self {
        let all = std::mem::take(&mut saved.values);
        let (own, others) = all.into_iter().partition(|(name, _)| name.starts_with(PREFIX));
        saved.values = others;
        Self {
            values: own,
            may_be_old: saved.may_be_old,
        }
    }
}

/// The radio network, where there is one.
pub(super) struct Radio {
    running: Option<Running>,
    writes: bool,
}

struct Running {
    orders: mpsc::Sender<ToNetwork>,
    /// Answers and receipts that it could not take yet.
    unsaid: VecDeque<ToNetwork>,
    state: SocketState,
    unknown: BTreeMap<Sender, Unknown>,
}

/// How the socket for forwarders is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    /// Nothing has been heard of it.
    Opening,
    /// It is open at this address.
    Open(SocketAddr),
    /// It is not, for the reason given.
    Closed(String),
}

/// A sender that nobody configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unknown {
    /// In how many minutes it was heard.
    pub(super) minutes: u64,
    /// When it was told of last.
    pub(super) heard: Now,
}

/// What `status` shows of the network, its counters still under way.
pub(super) struct RadioStatus {
    pub(super) state: SocketState,
    pub(super) statistics: Option<oneshot::Receiver<Statistics>>,
}

impl Radio {
    /// Starts the network.
    ///
    /// # Errors
    /// When its devices cannot be run as configured.
    pub(super) fn open(
        configuration: &Configuration,
        saved: &NetworkState,
        seed: u64,
        now: Instant,
        tasks: &mut Tasks,
    ) -> Result<Self, ConfigError> {
        let Some((lorawan, server)) = network(configuration, saved, seed, now)? else {
            return Ok(Self {
                running: None,
                writes: false,
            });
        };
        let (orders, taken) = mpsc::channel(RADIO_ORDERS);
        let (events, told) = mpsc::channel(BUS_ORDERS);
        let forwarders = Forwarders::new(forwarders_config(lorawan), seed);
        tasks.run(
            run(lorawan.listen, forwarders, server, taken, events),
            told,
            Input::Radio,
        );
        Ok(Self {
            running: Some(Running {
                orders,
                unsaid: VecDeque::new(),
                state: SocketState::Opening,
                unknown: BTreeMap::new(),
            }),
            writes: lorawan.writes,
        })
    }

    /// Says whether there is one.
    pub(super) fn is_configured(&self) -> bool {
        self.running.is_some()
    }

    /// Says whether commands may be sent at all.
    pub(super) const fn takes_writes(&self) -> bool {
        self.writes
    }

    /// Hands a downlink over; says whether the network could take it.
    pub(super) fn downlink(&self, downlink: Downlink) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.orders.try_send(ToNetwork::Downlink(downlink)).is_ok())
    }

    /// Says whether a receipt is one of its.
    pub(super) fn has_given(receipt: ReceiptId) -> bool {
        ucifi_adapters::mqtt::place_of(receipt) == PLACE
    }

    /// Tells it that nothing of an uplink can be lost any more.
    pub(super) fn settled(&mut self, receipt: ReceiptId) {
        self.say(ToNetwork::Settled(receipt));
    }

    /// Tells it what became of something that was to be saved.
    pub(super) fn saved(&mut self, id: u64, result: Result<(), String>) {
        self.say(ToNetwork::Saved { id, result });
    }

    /// Has it take no more frames; the answer comes when everything is saved, and at once where there is none.
    pub(super) fn stop(&mut self) -> oneshot::Receiver<()> {
        let (reply, stopped) = oneshot::channel();
        self.say(ToNetwork::Stop(reply));
        stopped
    }

    fn say(&mut self, order: ToNetwork) {
        if let Some(running) = &mut self.running {
            running.unsaid.push_back(order);
            running.say_again();
        }
    }

    /// Tells it what it could not take before.
    pub(super) fn say_again(&mut self) {
        self.running.iter_mut().for_each(Running::say_again);
    }

    /// Says whether it could not take everything yet.
    pub(super) fn has_unsaid(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| !running.unsaid.is_empty())
    }

    /// Takes note of how the socket is, for `status`; the network's own task has logged it.
    pub(super) fn note(&mut self, state: SocketState) {
        if let Some(running) = &mut self.running {
            running.state = state;
        }
    }

    /// Takes note of a sender that nobody configured; says whether it is a new one.
    pub(super) fn note_unknown(&mut self, sender: Sender, now: Now) -> bool {
        let Some(running) = &mut self.running else {
            return false;
        };
        if let Some(known) = running.unknown.get_mut(&sender) {
            known.minutes += 1;
            known.heard = now;
            return false;
        }
        if running.unknown.len() >= UNKNOWN_SENDERS {
            let oldest = running
                .unknown
                .iter()
                .min_by_key(|(_, unknown)| unknown.heard.instant);
            if let Some(oldest) = oldest.map(|(sender, _)| *sender) {
                running.unknown.remove(&oldest);
            }
        }
        running.unknown.insert(
            sender,
            Unknown {
                minutes: 1,
                heard: now,
            },
        );
        true
    }

    /// Returns the senders that nobody configured.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (&Sender, &Unknown)> {
        self.running.iter().flat_map(|running| &running.unknown)
    }

    /// Asks it for its counters; none where there is no network.
    pub(super) fn status(&self) -> Option<RadioStatus> {
        let running = self.running.as_ref()?;
        let (reply, statistics) = oneshot::channel();
        let asked = running.orders.try_send(ToNetwork::Statistics(reply)).is_ok();
        Some(RadioStatus {
            state: running.state.clone(),
            statistics: asked.then_some(statistics),
        })
    }
}

impl Running {
    fn say_again(&mut self) {
        while let Some(order) = self.unsaid.pop_front() {
            if let Err(error) = self.orders.try_send(order) {
                self.unsaid.push_front(error.into_inner());
                return;
            }
        }
    }
}

/// Makes the engine of the network, if there is one.
///
/// # Errors
/// When its devices cannot be run as configured.
pub(super) fn network<'c>(
    configuration: &'c Configuration,
    saved: &NetworkState,
    seed: u64,
    now: Instant,
) -> Result<Option<(&'c LoRaWan, NetworkServer)>, ConfigError> {
    let Some(lorawan) = &configuration.lorawan else {
        return Ok(None);
    };
    let config = NetworkConfig {
        place: PLACE,
        net_id: lorawan.net_id,
        ..NetworkConfig::default()
    };
    let nodes = configuration.devices.iter().filter_map(node).collect();
    let server = NetworkServer::new(config, nodes, &saved.values, saved.may_be_old, seed, now)?;
    Ok(Some((lorawan, server)))
}

fn node(device: &Device) -> Option<NodeConfig> {
    let Link::LoRaWan { dev_eui } = device.link else {
        return None;
    };
    let key = |key: &config::Key| Key::new(*key.reveal());
    let activation = match device.activation.as_ref()? {
        config::Activation::Otaa { app_key, .. } => Activation::Otaa {
            app_key: key(app_key),
        },
        config::Activation::Abp {
            dev_addr,
            nwk_s_key,
            app_s_key,
        } => Activation::Abp {
            dev_addr: DevAddr(*dev_addr),
            nwk_s_key: key(nwk_s_key),
            app_s_key: key(app_s_key),
        },
    };
    Some(NodeConfig {
        dev_eui,
        activation,
        traits: device.profile.lorawan()?,
    })
}

fn forwarders_config(lorawan: &LoRaWan) -> forwarders::Config {
    forwarders::Config {
        allowed: lorawan.forwarders.iter().map(|eui| ForwarderId(eui.0)).collect(),
        window_ms: lorawan.dedup_ms,
    }
}
