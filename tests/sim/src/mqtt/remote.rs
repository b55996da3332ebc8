//! Runs a [`Gadget`] at a broker that is not ours, over TCP.
//!
//! A connection that is lost is made again, each time with a client of its own: the gadget begins anew, as one that was
//! switched off and on. When it ends it says no goodbye, so that the broker publishes its will.

use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::SubscribeReasonCode;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, SubscribeFilter,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::{Gadget, Publication};
use crate::limits;

/// How long it waits before it tries again.
pub const AGAIN: Duration = Duration::from_secs(2);

/// Where a gadget connects, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The client identifier.
    pub client_id: String,
}

/// Something that happened to a gadget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The broker has accepted it.
    Connected,
    /// The broker is away, for the reason given; it is tried again.
    Away(String),
    /// It has said something.
    Said(Publication),
    /// It was told something.
    Told {
        /// Under this topic.
        topic: String,
        /// This.
        payload: Vec<u8>,
    },
}

/// Runs a gadget until nobody takes its news any more.
pub async fn run(mut gadget: Box<dyn Gadget>, place: Place, news: mpsc::Sender<News>) {
    let began = Instant::now();
    while !news.is_closed() {
        let reason = attend(&mut *gadget, &place, began, &news).await;
        if news.send(News::Away(reason)).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = news.closed() => return,
        }
    }
}

/// Serves one connection; returns why it ended.
async fn attend(gadget: &mut dyn Gadget, place: &Place, began: Instant, news: &mpsc::Sender<News>) -> String {
    let (client, events) = AsyncClient::new(options(gadget, place), limits::MAX_GADGET_MESSAGES);
    let (sender, mut received) = mpsc::channel(limits::MAX_GADGET_MESSAGES);
    // Polled in a task of its own: what rumqttc is about to write is lost when a poll is dropped.
    let mut task = JoinSet::new();
    task.spawn(poll(events, sender));
    let mut is_connected = false;
    loop {
        let due = began + gadget.due();
        let said = tokio::select! {
            event = received.recv() => match event {
                Some(Ok(Packet::ConnAck(_))) if gadget.listens().is_empty() => {
                    is_connected = true;
                    begin(gadget, news).await
                }
                Some(Ok(Packet::ConnAck(_))) => {
                    if let Err(reason) = subscribe(&client, gadget) {
                        return reason;
                    }
                    Vec::new()
                }
                // It listens before it speaks: no answer to what it says passes it by.
                Some(Ok(Packet::SubAck(answer))) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        return "it refuses to be listened to".to_owned();
                    }
                    is_connected = true;
                    begin(gadget, news).await
                }
                Some(Ok(Packet::Publish(publish))) => {
                    let payload = publish.payload.to_vec();
                    let answers = gadget.handle_message(&publish.topic, &payload, began.elapsed());
                    let topic = publish.topic;
                    drop(news.send(News::Told { topic, payload }).await);
                    answers
                }
                Some(Ok(_)) => Vec::new(),
                Some(Err(error)) => return reason_of(&error),
                None => return "the connection ended unexpectedly".to_owned(),
            },
            () = sleep_until(due.into()), if is_connected => gadget.handle_timeout(began.elapsed()),
            () = news.closed() => return String::new(),
        };
        for message in said {
            let written = client.try_publish(
                &message.topic,
                message.qos,
                message.retain,
                message.payload.clone(),
            );
            if let Err(error) = written {
                return error.to_string();
            }
            drop(news.send(News::Said(message)).await);
        }
    }
}

fn options(gadget: &dyn Gadget, place: &Place) -> MqttOptions {
    let Publication {
        topic,
        payload,
        qos,
        retain,
    } = gadget.will();
    let mut options = MqttOptions::new(&place.client_id, &place.host, place.port);
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_max_packet_size(limits::MAX_PACKET, limits::MAX_PACKET);
    if !topic.is_empty() {
        options.set_last_will(LastWill::new(topic, payload, qos, retain));
    }
    options
}

async fn begin(gadget: &mut dyn Gadget, news: &mpsc::Sender<News>) -> Vec<Publication> {
    // Whoever followed it may have gone.
    drop(news.send(News::Connected).await);
    gadget.begin()
}

/// All in one packet, so that there is one answer to wait for.
fn subscribe(client: &AsyncClient, gadget: &dyn Gadget) -> Result<(), String> {
    let filters = gadget.listens().into_iter();
    let filters = filters.map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce));
    client
        .try_subscribe_many(filters)
        .map_err(|error| error.to_string())
}

async fn poll(mut events: EventLoop, sender: mpsc::Sender<Result<Packet, ConnectionError>>) {
    loop {
        let event = match events.poll().await {
            Ok(Event::Incoming(packet)) => Ok(packet),
            Ok(Event::Outgoing(_)) => continue,
            Err(error) => Err(error),
        };
        let is_end = event.is_err();
        if sender.send(event).await.is_err() || is_end {
            return;
        }
    }
}

fn reason_of(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::ConnectionRefused(code) => format!("it refuses the connection: {code:?}"),
        ConnectionError::MqttState(_)
        | ConnectionError::NetworkTimeout
        | ConnectionError::FlushTimeout
        | ConnectionError::NotConnAck(_)
        | ConnectionError::RequestsDone => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gadgets::TasmotaPlug;
    use super::super::{Broker, tcp};
    use super::*;

    async fn next(inbox: &mut mpsc::Receiver<News>) -> News {
        let news = tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await;
        news.expect("something happens").expect("the gadget lives")
    }

    #[tokio::test]
    async fn a_gadget_finds_a_broker_that_comes_late_and_does_what_it_is_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let place = Place {
            host: address.ip().to_string(),
            port: address.port(),
            client_id: "plug".to_owned(),
        };
        let gadget = TasmotaPlug::new("plug", 10.0, Duration::from_secs(3_600));
        let (news, mut inbox) = mpsc::channel(16);
        tokio::spawn(run(Box::new(gadget), place, news));
        assert!(matches!(next(&mut inbox).await, News::Away(_)));
        let broker = tcp::start(address, Broker::new(Instant::now())).await.unwrap();
        while next(&mut inbox).await != News::Connected {}
        let off = Publication::new("cmnd/plug/POWER", "OFF");
        broker.handle.with(|broker| broker.publish(off)).await.unwrap();
        let switched = Publication::new("stat/plug/POWER", "OFF");
        while next(&mut inbox).await != News::Said(switched.clone()) {}
        drop(inbox);
    }
}
