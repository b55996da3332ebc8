//! An MQTT broker: whether it takes the gateway's name and password.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::{Finding, dial};
use crate::config::{Broker, MqttVersion};

/// How long the broker may take to be reached, and then to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a broker does not serve the gateway.
#[derive(Debug)]
enum Problem {
    Io(io::Error),
    /// The reason code of its CONNACK.
    Refused(u8),
    /// It answers, but not as a broker does.
    Foreign,
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) fn examine(broker: &Broker, gateway: &str) -> Finding {
    let what = format!("broker {}", broker.name);
    let uri = &broker.uri.text;
    match log_in(broker, gateway) {
        Ok(()) => Finding::ok(
            what,
            format!("{uri} takes the gateway by MQTT {}", broker.version.name()),
        ),
        Err(Problem::Io(error)) => Finding::fail(
            what,
            format!("{uri}: {error}"),
            "see whether the broker runs and listens on that port (ss -ltn), also for other machines",
        ),
        Err(Problem::Refused(code)) => {
            let (reason, next) = refusal(broker.version, code);
            Finding::fail(what, format!("{uri} refuses: {reason}"), next)
        }
        Err(Problem::Foreign) => Finding::fail(
            what,
            format!("what answers at {uri} is no MQTT broker"),
            "see whether the port is that of MQTT without TLS or WebSockets",
        ),
    }
}

/// Logs in under a name beside the gateway's, which goes on undisturbed, and leaves again.
fn log_in(broker: &Broker, gateway: &str) -> Result<(), Problem> {
    let mut stream = dial((broker.uri.host.as_str(), broker.uri.port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&connect_packet(broker, gateway))?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    // MQTT 3.1.1 and 5, section 3.2: type 2, remaining length, flags, the code.
    let [kind, _length, flags, code] = head;
    if kind != 0x20 || flags > 1 {
        return Err(Problem::Foreign);
    }
    if code != 0 {
        return Err(Problem::Refused(code));
    }
    // DISCONNECT; a broker that has gone meanwhile has answered all the same.
    stream.write_all(&[0xe0, 0x00]).ok();
    Ok(())
}

/// CONNECT (MQTT 3.1.1 and 5, section 3.1), with a session that ends with the connection.
fn connect_packet(broker: &Broker, gateway: &str) -> Vec<u8> {
    const CLEAN: u8 = 0x02;
    let (level, properties): (u8, &[u8]) = match broker.version {
        MqttVersion::V3_1_1 => (4, &[]),
        MqttVersion::V5 => (5, &[0]),
    };
    let username = broker.login.as_ref().map(|login| login.username.as_str());
    let password = broker.login.as_ref().and_then(|login| login.password.as_ref());
    let flags = CLEAN | u8::from(username.is_some()) << 7 | u8::from(password.is_some()) << 6;
    let mut body = field("MQTT");
    body.extend([level, flags, 0, 30]);
    body.extend(properties);
    body.extend(field(&format!("{}-doctor", broker.client_id(gateway))));
    body.extend(username.map(field).unwrap_or_default());
    body.extend(password.map(|secret| field(secret.reveal())).unwrap_or_default());
    let mut packet = vec![0x10];
    packet.extend(remaining_length(body.len()));
    packet.extend(body);
    packet
}

/// A text with its length before it; texts of the configuration are far shorter than the 65,535 bytes that fit.
fn field(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut field = length.to_be_bytes().to_vec();
    field.extend(text.bytes().take(usize::from(length)));
    field
}

/// Seven bits a byte, the lowest first (section 2.2.3).
fn remaining_length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(length % 128).unwrap_or_default();
        length /= 128;
        if length == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// What a refusal means, and what to do about it: 3.1.1 has codes of its own (section 3.2.2.3), MQTT 5 those above 128.
fn refusal(version: MqttVersion, code: u8) -> (&'static str, String) {
    let other = match version {
        MqttVersion::V3_1_1 => MqttVersion::V5,
        MqttVersion::V5 => MqttVersion::V3_1_1,
    };
    match code {
        1 | 132 => (
            "it does not speak this version",
            format!("set version = {:?}", other.name()),
        ),
        2 | 133 => (
            "it does not take the client identifier",
            "set client_id to one that it lets in".to_owned(),
        ),
        4 | 134 => (
            "user name or password is wrong",
            "see username and the file of password_file: one line, nothing else in it".to_owned(),
        ),
        5 | 135 => (
            "the gateway may not connect",
            "set username and password_file to a user of the broker, or let it in there".to_owned(),
        ),
        _ => ("it cannot serve just now", "see the log of the broker".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Verdict;
    use super::*;
    use crate::config::{BrokerUri, Login, Secret};

    fn broker(port: u16, version: MqttVersion) -> Broker {
        Broker {
            name: "b".into(),
            uri: BrokerUri {
                text: format!("mqtt://127.0.0.1:{port}"),
                host: "127.0.0.1".to_owned(),
                port,
            },
            version,
            login: Some(Login {
                username: "me".to_owned(),
                password: Some(Secret::new("pw".to_owned())),
            }),
            client_id: None,
            keep_alive_secs: 30,
            writes: false,
            discover: false,
        }
    }

    /// The packet as MQTT 3.1.1, section 3.1 lays it out, byte by byte.
    #[test]
    fn a_connect_has_name_user_and_password() {
        let packet = connect_packet(&broker(1883, MqttVersion::V3_1_1), "c");
        let expected = b"\x10\x1e\0\x04MQTT\x04\xc2\0\x1e\0\x0ac-b-doctor\0\x02me\0\x02pw";
        assert_eq!(packet, expected);
        let packet = connect_packet(&broker(1883, MqttVersion::V5), "c");
        assert_eq!((packet[1], packet[8], packet[12]), (0x1f, 5, 0));
        assert_eq!(remaining_length(321), [0xc1, 0x02]);
    }

    /// Answers one client with these bytes.
    fn answering(bytes: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 32]).unwrap();
            stream.write_all(bytes).unwrap();
            // Until the client has gone.
            io::copy(&mut stream, &mut io::sink()).ok();
        });
        port
    }

    #[test]
    fn what_a_broker_answers_is_told_with_what_to_do() {
        let rows: [(&[u8], Verdict, &str); 4] = [
            (&[0x20, 2, 0, 0], Verdict::Ok, "takes the gateway"),
            (&[0x20, 2, 0, 4], Verdict::Fail, "password is wrong"),
            (&[0x20, 2, 0, 1], Verdict::Fail, "version"),
            (b"HTTP/1.1 400", Verdict::Fail, "no MQTT broker"),
        ];
        for (bytes, verdict, how) in rows {
            let finding = examine(&broker(answering(bytes), MqttVersion::V3_1_1), "c");
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.how.contains(how), "{finding:?}");
        }
    }
}
