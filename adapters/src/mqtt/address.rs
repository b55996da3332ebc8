//! Where a broker is, as a URI says it.

use std::str::FromStr;

/// A broker's host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, an IPv6 one in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// TLS is asked for.
    #[error(
        "this version speaks no TLS to a broker: use mqtt:// inside the cabinet, or a bridge of mosquitto that does"
    )]
    Tls,
    /// Another scheme.
    #[error("a broker is given as mqtt://host or mqtt://host:port")]
    Scheme,
    /// A user in the URI.
    #[error("user and password do not belong into the uri: give them as username and password_file")]
    User,
    /// No host, or no number as port.
    #[error("{0:?} is no host with a port, as in mqtt://localhost:1883")]
    Host(String),
}

/// The port that is registered for MQTT.
const PORT: u16 = 1883;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(uri: &str) -> Result<Self, AddressError> {
        if uri.starts_with("mqtts://") || uri.starts_with("ssl://") {
            return Err(AddressError::Tls);
        }
        let rest = uri.strip_prefix("mqtt://").ok_or(AddressError::Scheme)?;
        if rest.contains('@') {
            return Err(AddressError::User);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = || AddressError::Host(rest.to_owned());
        // The colons of an IPv6 address stand in brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            Some(_) | None => (rest, PORT),
        };
        let is_ipv6 = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || port == 0 || (!is_ipv6 && host.contains([':', '/', '[', ']', ' '])) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Result<Address, AddressError> {
        Ok(Address {
            host: host.to_owned(),
            port,
        })
    }

    #[test]
    fn a_broker_is_given_by_host_and_port() {
        assert_eq!("mqtt://localhost".parse(), address("localhost", 1883));
        assert_eq!("mqtt://10.0.0.5:1884/".parse(), address("10.0.0.5", 1884));
        assert_eq!("mqtt://[::1]".parse(), address("[::1]", 1883));
        assert_eq!("mqtt://[::1]:2000".parse(), address("[::1]", 2000));
    }

    #[test]
    fn what_is_no_broker_is_said() {
        assert_eq!("mqtts://x".parse::<Address>(), Err(AddressError::Tls));
        assert_eq!("tcp://x".parse::<Address>(), Err(AddressError::Scheme));
        assert_eq!("mqtt://u:p@x".parse::<Address>(), Err(AddressError::User));
        for wrong in ["", ":1883", "x:y", "x:0", "x:70000", "::1", "x/y", "a b"] {
            let parsed = format!("mqtt://{wrong}").parse::<Address>();
            assert_eq!(parsed, Err(AddressError::Host(wrong.to_owned())), "{wrong}");
        }
    }
}
