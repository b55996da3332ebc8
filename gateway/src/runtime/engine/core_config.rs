//! The configuration as the core has it.

use std::sync::Arc;

use ucifi_core::{AccountConfig, BufferConfig, CabinetConfig, Config, DeviceConfig, Profile, Topology};

use crate::config::{Configuration, Device, Server};

/// Returns what the core is made of.
pub(super) fn core_config(configuration: &Configuration) -> Config {
    Config {
        name: configuration.gateway.name.clone(),
        cabinet: CabinetConfig {
            manufacturer: "ucifi-gateway".into(),
            model_number: "ucifi-gateway".into(),
            serial: "".into(),
            firmware_version: env!("CARGO_PKG_VERSION").into(),
            endpoint: configuration.gateway.endpoint.clone(),
        },
        accounts: configuration.servers.iter().map(account).collect(),
        devices: configuration.devices.iter().map(device).collect(),
        answer_within_ms: configuration.gateway.answer_within_ms,
        buffer: BufferConfig {
            hold_ms: configuration.buffer.hold_ms,
            commit_ms: configuration.buffer.commit_ms,
            ..BufferConfig::default()
        },
    }
}

fn account(server: &Server) -> AccountConfig {
    AccountConfig {
        name: server.name.clone(),
        server_uri: server.uri.text.as_str().into(),
        short_server_id: server.short_server_id,
        model: server.model,
        topology: Topology::EndpointPerDevice,
        lifetime_secs: server.lifetime_secs,
        version: server.lwm2m,
        default_pmin_secs: Some(server.default_pmin_secs).filter(|secs| *secs != 0),
        default_pmax_secs: Some(server.default_pmax_secs).filter(|secs| *secs != 0),
        notification_storing: server.notification_storing,
        confirmable_notifications: server.confirmable_notifications,
        registrations_per_sec: server.registrations_per_sec,
        send: server.send,
    }
}

fn device(device: &Device) -> DeviceConfig {
    DeviceConfig {
        id: device.id.clone(),
        label: device.label.as_deref().unwrap_or_default().into(),
        serial: device.serial.as_deref().unwrap_or_default().into(),
        profile: device.profile.clone() as Arc<dyn Profile>,
        link: device.link.clone(),
        endpoint: device.endpoint.as_deref().map(Into::into),
        intervals: device.intervals_ms.clone(),
    }
}
