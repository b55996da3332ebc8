//! `[[broker]]`: an MQTT broker that devices publish to.

use std::sync::Arc;

use ucifi_profiles::document::Item;

use super::secret::{Secret, Secrets};
use super::section::{Section, name_of};
use super::uri::host_and_port;

/// One MQTT broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub uri: BrokerUri,
    /// The version of MQTT spoken to it.
    pub version: MqttVersion,
    /// As whom the gateway logs in; none where anybody may.
    pub login: Option<Login>,
    /// What it calls itself there; none makes a name of the gateway's.
    pub client_id: Option<String>,
    /// Seconds without traffic after which it shows that it is there.
    pub keep_alive_secs: u16,
    /// Whether anything may be published for its devices.
    pub writes: bool,
    /// Whether it looks for devices that are not configured.
    pub discover: bool,
}

impl Broker {
    /// Returns the client identifier that is used.
    pub fn client_id(&self, gateway: &str) -> String {
        self.client_id
            .clone()
            .unwrap_or_else(|| format!("{gateway}-{}", self.name))
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUri {
    /// As it was written.
    pub text: String,
    /// A name or an address, an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The versions of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1
    V3_1_1,
    /// 5.0
    V5,
}

impl MqttVersion {
    /// Returns the name used in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// How the gateway logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its user name.
    pub username: String,
    /// Its password.
    pub password: Option<Secret<String>>,
}

pub(super) fn read(section: &Section<'_>, secrets: &Secrets) -> Option<Broker> {
    let name = section.require("name").and_then(name_of);
    let uri = section.require("uri").and_then(uri_of);
    let version = section.get("version").and_then(version_of);
    let login = login_of(section, secrets);
    let client_id = section.get("client_id").and_then(client_id_of);
    let keep_alive_secs = section.integer("keep_alive_secs", 5..=3_600, 30);
    let writes = section.writes();
    let discover = section.boolean("discover", true);
    section.finish();
    Some(Broker {
        name: name?,
        uri: uri?,
        version: version.unwrap_or(MqttVersion::V3_1_1),
        login,
        client_id,
        keep_alive_secs,
        writes,
        discover,
    })
}

fn uri_of(item: Item<'_>) -> Option<BrokerUri> {
    let text = item.string()?;
    match BrokerUri::parse(text) {
        Ok(uri) => Some(uri),
        Err((reason, help)) => item.error_with_help(format!("uri {reason}"), help),
    }
}

impl BrokerUri {
    /// Reads a URI.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on after "uri", and what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        const MQTT_PORT: u16 = 1883;
        const HELP: &str = "as in mqtt://127.0.0.1:1883";
        let Some(rest) = text.strip_prefix("mqtt://") else {
            let (reason, help) = match text.split_once("://").map(|(scheme, _)| scheme) {
                Some("mqtts" | "ssl" | "tls") => (
                    "TLS is not in this version",
                    "use mqtt:// inside a protected network",
                ),
                Some("ws" | "wss") => ("WebSockets are not in this version", HELP),
                Some("tcp") => ("the scheme of MQTT is mqtt://", HELP),
                Some(_) | None => ("no broker is reached that way", HELP),
            };
            return Err((format!("{text:?}: {reason}"), help));
        };
        if rest.contains('@') {
            let reason = "has a user name in it, where logs would show its password";
            return Err((reason.to_owned(), "use username and password_file"));
        }
        let (host, port) =
            host_and_port(rest, MQTT_PORT).map_err(|reason| (format!("{text:?} {reason}"), HELP))?;
        Ok(Self {
            text: text.to_owned(),
            host,
            port,
        })
    }
}

/// A number is what people write where a text is meant.
fn version_of(item: Item<'_>) -> Option<MqttVersion> {
    if item.is_integer() {
        item.integer(5..=5)?;
        return Some(MqttVersion::V5);
    }
    item.one_of(&[
        (MqttVersion::V3_1_1.name(), MqttVersion::V3_1_1),
        (MqttVersion::V5.name(), MqttVersion::V5),
    ])
}

fn login_of(section: &Section<'_>, secrets: &Secrets) -> Option<Login> {
    let username = section.get("username");
    let password_file = section.get("password_file");
    if let (None, Some(password)) = (username, password_file) {
        return password.error_with_help(
            "password_file without username",
            "MQTT has no password without a user name",
        );
    }
    Some(Login {
        username: username?.string()?.to_owned(),
        password: password_file.and_then(|file| secrets.read(file)),
    })
}

/// MQTT 3.1.1, section 3.1.3.1: every broker takes 1 to 23 letters and digits, and most take more.
fn client_id_of(item: Item<'_>) -> Option<String> {
    let text = item.string()?;
    if text.is_empty() || text.len() > 256 || text.contains(char::is_control) {
        return item.error_with_help(
            "client_id has 1 to 256 printable characters",
            "as in client_id = \"cab-17\"",
        );
    }
    Some(text.to_owned())
}
