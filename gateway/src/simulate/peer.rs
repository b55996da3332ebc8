//! What stands beside the devices in a cabinet that is only tried: an LwM2M server and an MQTT broker.
//!
//! Both are those of the tests: they know no security, let anybody in, and forget everything when they end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::object::ObjectTable;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::mpsc;
use ucifi_sim::mqtt::{Broker, tcp};
use ucifi_sim::server::io as server_io;
use ucifi_sim::server::{ClientView, Event, LwM2mServer, Origin, ReceivedValue, Transmission};

use super::report::Report;
use crate::cli::{PeerOptions, SimulatedPeer};
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;

/// Values of one message that are shown.
const SHOWN_VALUES: usize = 3;

pub(super) async fn play(peer: &SimulatedPeer, interrupt: &mut Interrupt) -> Result<(), Failure> {
    match peer {
        SimulatedPeer::Server(options) => server(options, interrupt).await,
        SimulatedPeer::Broker(options) => broker(options, interrupt).await,
    }
}

fn address(options: &PeerOptions, usual_port: u16) -> SocketAddr {
    options.listen.unwrap_or((Ipv4Addr::LOCALHOST, usual_port).into())
}

fn busy(address: SocketAddr, error: &std::io::Error) -> Failure {
    let message = format!("cannot listen on {address}: {error}; name another address with --listen");
    Failure::new(ExitStatus::Failed, message)
}

async fn broker(options: &PeerOptions, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let address = address(options, 1883);
    let running = tcp::start(address, Broker::new(Instant::now())).await;
    let running = running.map_err(|error| busy(address, &error))?;
    let uri = format!("mqtt://{}", running.address);
    Report::new(options.json, None).begin_peer(
        &format!("an MQTT broker for trying listens on {uri}; it lets anybody in and keeps nothing"),
        &format!("[[broker]]\nname = \"local\"\nuri = \"{uri}\"\n"),
    )?;
    interrupt.comes().await;
    Ok(())
}

async fn server(options: &PeerOptions, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let address = address(options, 5683);
    let seed = OsRng
        .try_next_u64()
        .map_err(|error| Failure::cannot("get random numbers", &error))?;
    let server = LwM2mServer::new(Arc::new(ObjectTable::builtin()), Transmission::default(), seed);
    let running = server_io::start(address, server).await;
    let running = running.map_err(|error| busy(address, &error))?;
    let uri = format!("coap://{}", running.address);
    let report = Report::new(options.json, None);
    report.begin_peer(
        &format!("an LwM2M server for trying listens on {uri}; it lets anybody in and keeps nothing"),
        &format!("[[server]]\nname = \"server\"\nuri = \"{uri}\"\n"),
    )?;
    follow(running.events, &report, interrupt).await
}

async fn follow(
    mut events: mpsc::Receiver<Event>,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    loop {
        let event = tokio::select! {
            () = interrupt.comes() => return Ok(()),
            event = events.recv() => event,
        };
        let Some(event) = event else {
            return Err(Failure::new(ExitStatus::Failed, "the server has stopped"));
        };
        if let Some((step, text)) = told(&event) {
            report.say(step, &text)?;
        }
    }
}

/// Says in words what happened; none where nobody needs to know.
fn told(event: &Event) -> Option<(&'static str, String)> {
    Some(match event {
        Event::Registered(client) => ("registered", client_text(client)),
        Event::Deregistered { endpoint } => ("left", endpoint.clone()),
        Event::Expired { endpoint } => ("expired", endpoint.clone()),
        Event::Refused {
            endpoint,
            code,
            reason,
        } => {
            let who = endpoint.as_deref().unwrap_or("somebody");
            ("refused", format!("{who}: {code} {reason}"))
        }
        Event::Received {
            endpoint,
            origin,
            values,
            ..
        } => (
            "received",
            format!("{endpoint} {}: {}", way(origin), values_text(values)),
        ),
        Event::Undecodable { endpoint, reason, .. } => ("refused", format!("{endpoint}: {reason}")),
        Event::Malformed { from, reason } => ("refused", format!("{from}: {reason}")),
        Event::Updated(_) | Event::ObservationEnded { .. } | Event::Finished { .. } => return None,
    })
}

fn client_text(client: &ClientView) -> String {
    let instances: Vec<String> = client.instances.iter().map(ToString::to_string).collect();
    format!("{} with {}", client.endpoint, instances.join(" "))
}

const fn way(origin: &Origin) -> &'static str {
    match origin {
        Origin::Send => "by Send",
        Origin::Notification { .. } => "by notification",
        Origin::Read | Origin::Observe { .. } => "when asked",
    }
}

fn values_text(values: &[ReceivedValue]) -> String {
    let shown: Vec<String> = values
        .iter()
        .take(SHOWN_VALUES)
        .map(|received| format!("{} = {}", received.path, received.value))
        .collect();
    match values.len().saturating_sub(SHOWN_VALUES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::{Path, Value};

    use super::*;

    #[test]
    fn of_many_values_the_first_are_shown_and_the_others_counted() {
        let value = |resource| ReceivedValue {
            path: Path::resource(3421, 0, resource),
            value: Value::Integer(7),
            time: None,
        };
        let five: Vec<ReceivedValue> = (1..=5).map(value).collect();
        assert_eq!(values_text(&five[..1]), "/3421/0/1 = 7");
        assert_eq!(
            values_text(&five),
            "/3421/0/1 = 7, /3421/0/2 = 7, /3421/0/3 = 7 and 2 more"
        );
    }
}
