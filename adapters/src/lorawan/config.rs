//! What the network server is told at its start.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use ucifi_core::field::{DevEui, LoRaWanTraits};

use super::keys::Key;
use super::limits;
use super::phy_payload::DevAddr;
use super::region::{self, DataRate};

/// What holds for the whole network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Its number among all that give receipts in this process: the upper 16 bits of each receipt, as a broker has one
    /// ([`crate::mqtt::place_of`]).
    pub place: u16,
    /// The NetID, 24 bits; 0 and 1 are for private networks.
    pub net_id: u32,
    /// The highest radiated power (EIRP) that the forwarders can send with, in dBm; the band's limits hold beside it.
    pub max_power_dbm: i8,
    /// Channels that a join adds to the default ones, in Hz; at most five.
    pub channels_hz: Vec<u32>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            // Brokers count from 0.
            place: u16::MAX,
            net_id: 0,
            max_power_dbm: 27,
            channels_hz: region::ADDED_CHANNELS_HZ.to_vec(),
        }
    }
}

/// A device of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Who it is.
    pub dev_eui: DevEui,
    /// How it gets its session.
    pub activation: Activation,
    /// What its kind needs.
    pub traits: LoRaWanTraits,
}

impl NodeConfig {
    /// Returns the data rate that its second receive window should have.
    pub(super) fn rx2_data_rate(&self) -> DataRate {
        self.traits
            .rx2_data_rate
            .and_then(DataRate::from_index)
            .unwrap_or(region::RX2_DATA_RATE)
    }
}

/// How a device gets its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activation {
    /// It joins over the air.
    Otaa {
        /// The key that signs its joins.
        app_key: Key,
    },
    /// It has its session from the factory, for ever.
    Abp {
        /// Its address.
        dev_addr: DevAddr,
        /// The key that signs.
        nwk_s_key: Key,
        /// The key that encrypts.
        app_s_key: Key,
    },
}

/// Why a network cannot be run as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two devices with one DevEUI.
    #[error("DevEUI {0} is given twice, give each device its own")]
    DuplicateDevice(DevEui),
    /// More devices than one address can have.
    #[error("DevAddr {0} is given to more than {max} devices, give them others", max = limits::SESSIONS_PER_ADDRESS)]
    CrowdedAddress(DevAddr),
    /// More channels than a join-accept can name, or one outside the band.
    #[error("these channels cannot be added to EU868: {0:?}, choose at most 5 from 863 to 870 MHz")]
    Channels(Vec<u32>),
    /// A NetID of more than 24 bits.
    #[error("NetID {0:X} has more than 24 bits")]
    NetId(u32),
    /// A data rate that the second receive window cannot have.
    #[error("DevEUI {dev_eui}: DR{data_rate} is no data rate of a second receive window, choose 0 to 6")]
    Rx2DataRate {
        /// The device.
        dev_eui: DevEui,
        /// The data rate.
        data_rate: u8,
    },
}

/// Says whether a network can be run as configured.
pub(super) fn check(config: &NetworkConfig, devices: &[NodeConfig]) -> Result<(), ConfigError> {
    let in_band = |channel: &u32| region::sub_band_of(*channel).is_some();
    if config.channels_hz.len() > region::ADDED_CHANNELS_HZ.len() || !config.channels_hz.iter().all(in_band) {
        return Err(ConfigError::Channels(config.channels_hz.clone()));
    }
    if config.net_id >= 1 << 24 {
        return Err(ConfigError::NetId(config.net_id));
    }
    let mut seen = BTreeSet::new();
    let mut addresses: BTreeMap<DevAddr, usize> = BTreeMap::new();
    for device in devices {
        check_device(device)?;
        if !seen.insert(device.dev_eui) {
            return Err(ConfigError::DuplicateDevice(device.dev_eui));
        }
        if let Activation::Abp { dev_addr, .. } = device.activation {
            *addresses.entry(dev_addr).or_default() += 1;
        }
    }
    match addresses
        .into_iter()
        .find(|(_, count)| *count > limits::SESSIONS_PER_ADDRESS)
    {
        Some((address, _)) => Err(ConfigError::CrowdedAddress(address)),
        None => Ok(()),
    }
}

fn check_device(device: &NodeConfig) -> Result<(), ConfigError> {
    match device.traits.rx2_data_rate {
        Some(data_rate) if DataRate::from_index(data_rate).is_none() => Err(ConfigError::Rx2DataRate {
            dev_eui: device.dev_eui,
            data_rate,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ucifi_core::field::DeviceClass;

    use super::*;

    fn abp(number: u8) -> NodeConfig {
        NodeConfig {
            dev_eui: DevEui([number; 8]),
            activation: Activation::Abp {
                dev_addr: DevAddr(7),
                nwk_s_key: Key::new([1; 16]),
                app_s_key: Key::new([2; 16]),
            },
            traits: LoRaWanTraits {
                class: DeviceClass::A,
                rx2_data_rate: None,
                uplink_every_secs: 900,
            },
        }
    }

    #[test]
    fn an_address_has_no_more_devices_than_the_bound() {
        let mut devices: Vec<NodeConfig> = (0..8).map(abp).collect();
        let config = NetworkConfig::default();
        assert_eq!(check(&config, &devices), Ok(()));
        devices.push(abp(8));
        assert_eq!(
            check(&config, &devices),
            Err(ConfigError::CrowdedAddress(DevAddr(7)))
        );
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let config = NetworkConfig::default();
        assert_eq!(
            check(&config, &[abp(1), abp(1)]),
            Err(ConfigError::DuplicateDevice(DevEui([1; 8])))
        );
        let mut fast = abp(1);
        fast.traits.rx2_data_rate = Some(8);
        assert!(check(&config, &[fast]).is_err());
        let mut elsewhere = config.clone();
        elsewhere.channels_hz = vec![902_300_000];
        assert!(check(&elsewhere, &[]).is_err());
        let mut wide = config;
        wide.net_id = 1 << 24;
        assert!(check(&wide, &[]).is_err());
    }
}
