//! Every decoder of foreign bytes, each as one function over bytes, with inputs to start from.

mod buffer;
mod client;
mod formats;
mod forwarders;
mod log;
mod lorawan;
mod modbus;
mod mqtt;
mod payloads;
mod texts;

use std::sync::OnceLock;

use lwm2m_client::object::ObjectTable;

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "coap-message",
        decode: client::message,
        seeds: client::messages,
    },
    Target {
        name: "client",
        decode: client::datagram,
        seeds: client::messages,
    },
    Target {
        name: "tlv",
        decode: formats::tlv,
        seeds: formats::tlv_seeds,
    },
    Target {
        name: "senml-json",
        decode: formats::senml_json,
        seeds: formats::senml_json_seeds,
    },
    Target {
        name: "senml-cbor",
        decode: formats::senml_cbor,
        seeds: formats::senml_cbor_seeds,
    },
    Target {
        name: "text",
        decode: formats::text,
        seeds: formats::text_seeds,
    },
    Target {
        name: "opaque",
        decode: formats::opaque,
        seeds: formats::text_seeds,
    },
    Target {
        name: "link",
        decode: formats::link,
        seeds: formats::link_seeds,
    },
    Target {
        name: "modbus-rtu",
        decode: modbus::rtu,
        seeds: modbus::rtu_seeds,
    },
    Target {
        name: "modbus-tcp",
        decode: modbus::tcp,
        seeds: modbus::tcp_seeds,
    },
    Target {
        name: "forwarders",
        decode: forwarders::site,
        seeds: forwarders::site_seeds,
    },
    Target {
        name: "lorawan-frame",
        decode: lorawan::frame,
        seeds: lorawan::frame_seeds,
    },
    Target {
        name: "lorawan-mac-commands",
        decode: lorawan::mac_commands,
        seeds: lorawan::mac_command_seeds,
    },
    Target {
        name: "lorawan-saved",
        decode: lorawan::saved,
        seeds: lorawan::saved_seeds,
    },
    Target {
        name: "mqtt-message",
        decode: mqtt::messages,
        seeds: mqtt::message_seeds,
    },
    Target {
        name: "mqtt-3-packet",
        decode: mqtt::packets_3,
        seeds: mqtt::packet_3_seeds,
    },
    Target {
        name: "mqtt-5-packet",
        decode: mqtt::packets_5,
        seeds: mqtt::packet_5_seeds,
    },
    Target {
        name: "payload",
        decode: payloads::sent,
        seeds: payloads::sent_seeds,
    },
    Target {
        name: "profile",
        decode: texts::profile,
        seeds: texts::profile_seeds,
    },
    Target {
        name: "object-xml",
        decode: texts::object_xml,
        seeds: texts::object_xml_seeds,
    },
    Target {
        name: "buffer-records",
        decode: buffer::records,
        seeds: buffer::records_seeds,
    },
    Target {
        name: "buffer-log",
        decode: log::segment,
        seeds: log::segment_seeds,
    },
];

/// Returns the object table, built once.
pub(crate) fn table() -> &'static ObjectTable {
    static TABLE: OnceLock<ObjectTable> = OnceLock::new();
    TABLE.get_or_init(ObjectTable::builtin)
}
