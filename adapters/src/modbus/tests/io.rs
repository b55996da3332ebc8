//! The client on a real socket and on a pseudo-terminal.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_serial::{SerialPort, SerialStream};

use super::*;
use crate::modbus::io::{FromBus, Parity, Port, ToBus, run};
use crate::modbus::{rtu, tcp};

struct Running {
    to: mpsc::Sender<ToBus>,
    from: mpsc::Receiver<FromBus>,
}

impl Running {
    fn start(framing: Framing, port: Port) -> Self {
        let client = Client::new(bus(framing, Writes::Allow), vec![meter(1), relays(3)], 7, start()).unwrap();
        let (to, commands) = mpsc::channel(4);
        let (events, from) = mpsc::channel(4);
        tokio::spawn(run(client, port, commands, events));
        Self { to, from }
    }

    async fn until(&mut self, wanted: impl Fn(&FromBus) -> bool) -> FromBus {
        loop {
            let event = self.from.recv().await.expect("the bus runs");
            if wanted(&event) {
                return event;
            }
        }
    }
}

fn banks() -> BTreeMap<u8, Bank> {
    BTreeMap::from([(1, meter_bank(1)), (3, relays_bank())])
}

/// Answers one request over TCP.
async fn serve_tcp(stream: &mut TcpStream, banks: &mut BTreeMap<u8, Bank>) {
    let mut request = [0; 260];
    let count = stream.read(&mut request).await.unwrap();
    if let Some(answer) = banks
        .get_mut(&request[6])
        .and_then(|bank| bank.answer(&request[7..count]))
    {
        let transaction = u16::from_be_bytes([request[0], request[1]]);
        stream
            .write_all(&tcp::encode(transaction, request[6], &answer))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_tcp_unit_is_read_and_the_connection_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut running = Running::start(Framing::Tcp, Port::Tcp { address });
    let mut banks = banks();
    let (mut first, _) = listener.accept().await.unwrap();
    serve_tcp(&mut first, &mut banks).await;
    let FromBus::Event(Event::Uplink(uplink)) = running
        .until(|e| matches!(e, FromBus::Event(Event::Uplink(_))))
        .await
    else {
        unreachable!()
    };
    assert_eq!(block(&uplink).content.len(), 20);
    assert!(uplink.received.wall.is_some());
    drop(first);
    running.until(|e| matches!(e, FromBus::Disconnected(_))).await;
    let (mut second, _) = listener.accept().await.unwrap();
    serve_tcp(&mut second, &mut banks).await;
    running
        .until(|e| matches!(e, FromBus::Event(Event::Uplink(_))))
        .await;
    let (ask, answer) = oneshot::channel();
    running.to.send(ToBus::Statistics(ask)).await.unwrap();
    assert_eq!(answer.await.unwrap().bus.connections, 2);
}

#[tokio::test]
async fn a_port_that_is_not_there_is_named() {
    let path = "/dev/serial/by-id/none".to_owned();
    let port = Port::Serial {
        path,
        baud: 9_600,
        parity: Parity::None,
        stop_bits: 1,
        data_bits: 8,
    };
    let mut running = Running::start(RTU, port);
    let FromBus::Disconnected(reason) = running.until(|e| matches!(e, FromBus::Disconnected(_))).await else {
        unreachable!()
    };
    assert!(
        reason.starts_with("cannot open serial port /dev/serial/by-id/none: "),
        "{reason}"
    );
}

#[tokio::test]
async fn a_relay_on_a_pseudo_terminal_is_switched_and_the_unplugged_port_is_noticed() {
    let (mut units, other) = SerialStream::pair().unwrap();
    let path = other.name().unwrap();
    drop(other);
    let port = Port::Serial {
        path,
        baud: 9_600,
        parity: Parity::None,
        stop_bits: 1,
        data_bits: 8,
    };
    let mut running = Running::start(RTU, port);
    running
        .to
        .send(ToBus::Interest {
            unit: 1,
            point: PointId(0),
            every_ms: 500,
        })
        .await
        .unwrap();
    running.until(|e| matches!(e, FromBus::Connected)).await;
    let (unplug, mut unplugged) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut banks, mut request) = (banks(), Vec::new());
        loop {
            let mut piece = [0; 64];
            let count = tokio::select! {
                count = units.read(&mut piece) => count.unwrap_or(0),
                _ = &mut unplugged => return,
            };
            request.extend_from_slice(&piece[..count]);
            if let Some((unit, pdu)) = rtu::decode(&request) {
                let answer = banks.get_mut(&unit).and_then(|bank| bank.answer(pdu)).unwrap();
                units.write_all(&rtu::encode(unit, &answer)).await.unwrap();
                request.clear();
            }
        }
    });
    running
        .to
        .send(ToBus::Downlink(switch(1, 3, 2, true)))
        .await
        .unwrap();
    let end = running
        .until(|e| matches!(e, FromBus::Event(Event::Delivery { .. })))
        .await;
    let FromBus::Event(Event::Delivery {
        delivery: Delivery::Confirmed(_),
        ..
    }) = end
    else {
        panic!("{end:?}")
    };
    drop(unplug);
    running.until(|e| matches!(e, FromBus::Disconnected(_))).await;
}
