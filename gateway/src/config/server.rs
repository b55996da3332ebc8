//! `[[server]]`: an LwM2M server and how devices appear there.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lwm2m_client::client::EnablerVersion;
use lwm2m_client::object::Model;
use ucifi_profiles::document::Item;

use super::buffer::{self, BufferBound};
use super::section::{Section, name_of};
use super::uri::host_and_port;

/// One LwM2M server.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub uri: ServerUri,
    /// Its number in /1/x/0.
    pub short_server_id: u16,
    /// The generation of object versions that it knows.
    pub model: Model,
    /// The LwM2M version spoken to it.
    pub lwm2m: EnablerVersion,
    /// Seconds that a registration holds without an Update.
    pub lifetime_secs: u32,
    /// Seconds between two notifications at least, unless the server says otherwise.
    pub default_pmin_secs: u32,
    /// Seconds after which an unchanged value is notified, unless the server says otherwise; 0 is never.
    pub default_pmax_secs: u32,
    /// Whether readings are sent without being asked for.
    pub send: bool,
    /// Whether notifications are kept while the server is away (/1/x/6).
    pub notification_storing: bool,
    /// Whether the server has to acknowledge every notification.
    pub confirmable_notifications: bool,
    /// New registrations a second.
    pub registrations_per_sec: u32,
    /// The local UDP ports, one for each endpoint; none lets the system choose.
    pub local_ports: Option<RangeInclusive<u16>>,
    /// How much of the buffer it may have.
    pub buffer: BufferBound,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUri {
    /// As it was written.
    pub text: String,
    /// A name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
}

impl ServerUri {
    /// Reads `coap://host` or `coap://host:port`.
    fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        const HELP: &str = "as in coap://lwm2m.example.org:5683";
        const COAP_PORT: u16 = 5683;
        let Some(rest) = text.strip_prefix("coap://") else {
            let (reason, help) = match text.split_once("://").map(|(scheme, _)| scheme) {
                Some("coaps") => (
                    "DTLS is not in this version",
                    "use coap:// inside a protected network",
                ),
                Some("coap+tcp" | "coaps+tcp") => ("TCP is not in this version", "use coap:// over UDP"),
                Some(_) | None => ("no LwM2M server is reached that way", HELP),
            };
            return Err((format!("uri {text:?}: {reason}"), help));
        };
        let (host, port) =
            host_and_port(rest, COAP_PORT).map_err(|reason| (format!("uri {text:?} {reason}"), HELP))?;
        Ok(Self {
            text: text.to_owned(),
            host,
            port,
        })
    }
}

/// Reads a server; `count` is its place among them, `endpoints` how many register at each.
pub(super) fn read(section: &Section<'_>, count: u16, endpoints: usize) -> Option<Server> {
    let name = section.require("name").and_then(name_of);
    let uri = section.require("uri").and_then(uri_of);
    if let Some(item) = section.get("topology") {
        read_topology(item);
    }
    let server = Server {
        name: name.clone().unwrap_or_default(),
        uri: uri.clone().unwrap_or(ServerUri {
            text: String::new(),
            host: String::new(),
            port: 0,
        }),
        short_server_id: section.integer("short_server_id", 1..=65_534, count),
        model: section.get("model").and_then(model_of).unwrap_or(Model::Y2026),
        lwm2m: section
            .get("lwm2m")
            .and_then(version_of)
            .unwrap_or(EnablerVersion::V1_1),
        lifetime_secs: section.integer("lifetime_secs", 20..=31_536_000, 300),
        default_pmin_secs: section.integer("default_pmin_secs", 0..=86_400, 0),
        default_pmax_secs: section.integer("default_pmax_secs", 0..=31_536_000, 0),
        send: section.boolean("send", true),
        notification_storing: section.boolean("notification_storing", true),
        confirmable_notifications: section.boolean("confirmable_notifications", false),
        registrations_per_sec: section.integer("registrations_per_sec", 1..=1_000, 20),
        local_ports: section
            .get("local_ports")
            .and_then(|item| ports_of(item, endpoints)),
        buffer: buffer::read_bound(section),
    };
    section.finish();
    (name.is_some() && uri.is_some()).then_some(server)
}

fn uri_of(item: Item<'_>) -> Option<ServerUri> {
    match ServerUri::parse(item.string()?) {
        Ok(uri) => Some(uri),
        Err((message, help)) => item.error_with_help(message, help),
    }
}

fn read_topology(item: Item<'_>) {
    const COMING: &str = "only \"endpoint-per-device\" is in this version";
    match item.string() {
        Some("endpoint-per-device") | None => {}
        Some(known @ ("gateway-object" | "single")) => {
            item.error_with_help::<()>(format!("topology {known:?} is not in this version"), COMING);
        }
        Some(_) => {
            item.one_of(&[("endpoint-per-device", ())]);
        }
    }
}

/// A year is written as a text, but people and environment variables write a number.
fn model_of(item: Item<'_>) -> Option<Model> {
    if item.is_integer() {
        let year = item.integer::<i64>(0..=9999)?;
        let known = Model::ALL
            .into_iter()
            .find(|model| model.name() == year.to_string());
        return known.or_else(|| item.error_with_help("no such model", "2020, 2023 or 2026"));
    }
    item.one_of(&Model::ALL.map(|model| (model.name(), model)))
}

fn version_of(item: Item<'_>) -> Option<EnablerVersion> {
    item.one_of(&[("1.0", EnablerVersion::V1_0), ("1.1", EnablerVersion::V1_1)])
}

fn ports_of(item: Item<'_>, endpoints: usize) -> Option<RangeInclusive<u16>> {
    let items = item.items()?;
    let [from, to] = items.as_slice() else {
        return item.error_with_help(
            "local_ports takes two numbers",
            "as in local_ports = [57000, 57999]",
        );
    };
    let (from, to) = (from.integer(1..=65_535)?, to.integer(1..=65_535)?);
    if from > to {
        return item.error("local_ports ends before it begins");
    }
    let ports = usize::from(to - from) + 1;
    if ports < endpoints {
        return item.error_with_help(
            format!(
                "local_ports has {ports} ports for {endpoints} endpoints: the devices and the cabinet itself"
            ),
            format!(
                "as in local_ports = [{from}, {}]",
                usize::from(from) + endpoints - 1
            ),
        );
    }
    Some(from..=to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_split_into_host_and_port() {
        let rows = [
            ("coap://lwm2m.example.org", "lwm2m.example.org", 5683),
            ("coap://10.0.0.1:5783/", "10.0.0.1", 5783),
            ("coap://[::1]:5683", "::1", 5683),
            ("coap://[fd00::1]", "fd00::1", 5683),
        ];
        for (text, host, port) in rows {
            let uri = ServerUri::parse(text).unwrap();
            assert_eq!((uri.host.as_str(), uri.port), (host, port), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_reason() {
        let rows = [
            ("coaps://host", "DTLS"),
            ("coap+tcp://host", "TCP"),
            ("http://host", "no LwM2M server"),
            ("coap://", "no host"),
            ("coap://host:99999", "bad port"),
            ("coap://host:0", "bad port"),
            ("coap://a/b", "no host"),
        ];
        for (text, reason) in rows {
            let (message, _) = ServerUri::parse(text).unwrap_err();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }
}
