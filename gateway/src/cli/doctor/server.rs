//! An LwM2M server: whether its name is known, whether it answers, whether the devices are registered there.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use lwm2m_client::coap::{Code, Kind, Message};
use serde_json::Value as Json;

use super::Finding;
use crate::config::Server;

/// How long one ping waits, and how often it is repeated.
const PING_PATIENCE: Duration = Duration::from_secs(2);
const PINGS: u16 = 3;

pub(super) fn examine(server: &Server, status: Option<&Json>) -> Vec<Finding> {
    let what = format!("server {}", server.name);
    let (host, port) = (server.uri.host.as_str(), server.uri.port);
    let address = match (host, port).to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return vec![unknown(&what, host, "it has no address")],
        Err(error) => return vec![unknown(&what, host, &error.to_string())],
    };
    let mut findings = Vec::new();
    if host.parse::<std::net::IpAddr>().is_err() {
        findings.push(Finding::ok(&what, format!("{host} is {}", address.ip())));
    }
    findings.push(registration(&what, server, status).unwrap_or_else(|| answers(&what, address)));
    findings
}

fn unknown(what: &str, host: &str, reason: &str) -> Finding {
    let next = format!("see whether the name is right, and DNS: getent hosts {host}");
    Finding::fail(what, format!("{host}: {reason}"), next)
}

/// What a running gateway knows is more than a ping can tell.
fn registration(what: &str, server: &Server, status: Option<&Json>) -> Option<Finding> {
    let all = status?["endpoints"].as_array()?;
    let own: Vec<&Json> = all
        .iter()
        .filter(|endpoint| endpoint["server"] == *server.name)
        .collect();
    let is_registered = |endpoint: &&&Json| endpoint["state"] == "registered";
    let registered = own.iter().filter(is_registered).count();
    let how = format!("{registered} of {} endpoints registered", own.len());
    if own.is_empty() {
        return None;
    }
    if registered == own.len() {
        return Some(Finding::ok(what, how));
    }
    let left = own.iter().find(|endpoint| !is_registered(endpoint));
    let error = left
        .and_then(|endpoint| endpoint["last_error"].as_str())
        .unwrap_or("under way");
    let next = "see last error of `ucifi-gateway status`: the server may not know an endpoint name, or want security";
    let told = format!("{how}; {error}");
    Some(if registered == 0 {
        Finding::fail(what, told, next)
    } else {
        Finding::warn(what, told, next)
    })
}

/// RFC 7252, section 4.3: an empty confirmable message is answered by a Reset.
fn answers(what: &str, address: SocketAddr) -> Finding {
    match ping(address, PING_PATIENCE) {
        Ok(()) => Finding::ok(what, format!("{address} answers a CoAP ping")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Finding::fail(
            what,
            format!("{address}: nothing listens on that port"),
            "see whether the server runs, and whether the port of uri is that of LwM2M without DTLS",
        ),
        Err(error) => Finding::fail(
            what,
            format!("{address} does not answer a CoAP ping: {error}"),
            "see whether a firewall lets UDP through to that port, and answers back",
        ),
    }
}

fn ping(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(patience))?;
    let mut last = io::Error::from(ErrorKind::TimedOut);
    for id in 0..PINGS {
        let [high, low] = id.to_be_bytes();
        // Version 1, confirmable, no token; code 0.00; the message id.
        socket.send(&[0x40, 0x00, high, low])?;
        let mut buffer = [0; 1500];
        match socket.recv(&mut buffer) {
            Ok(length) if is_reset(buffer.get(..length).unwrap_or_default()) => return Ok(()),
            Ok(_) => last = io::Error::other("what came is no CoAP Reset"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_reset(datagram: &[u8]) -> bool {
    Message::parse(datagram).is_ok_and(|message| message.kind == Kind::Reset && message.code == Code::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_resets_an_empty_message_is_there() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(length, 4);
            server.send_to(&[0x70, 0x00, buffer[2], buffer[3]], from).unwrap();
        });
        ping(address, Duration::from_secs(30)).unwrap();
        answering.join().unwrap();
    }

    #[test]
    fn where_nothing_listens_that_is_told() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ping(gone, Duration::from_secs(30)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
