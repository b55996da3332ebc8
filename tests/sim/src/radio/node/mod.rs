//! A LoRaWAN device: the crate `lorawan-device` on a board made up here.
//!
//! The stack is a future. It is polled by hand whenever its board has something new for it, so that it runs in
//! whatever time it is told.

mod board;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lorawan_device::async_device::{Device, JoinResponse, SendResponse};
use lorawan_device::default_crypto::DefaultFactory;
use lorawan_device::region::{self, DR, Region};
use lorawan_device::{AppEui, AppKey, DevEui, JoinMode, Prng};

use super::airwave::OnAir;
use board::{Board, BoardRadio, BoardTimer, Order, Shared};

/// What a device is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its DevEUI, in the order in which it is printed.
    pub dev_eui: [u8; 8],
    /// Its JoinEUI, likewise.
    pub join_eui: [u8; 8],
    /// Its AppKey.
    pub app_key: [u8; 16],
    /// Whether it always listens once it has joined.
    pub is_class_c: bool,
    /// The data rate that it sends with, DR0 to DR5.
    pub data_rate: u8,
    /// The spreading factor of its second window after a join, where the network sets one: the stack does not read it
    /// from the join-accept, so that the board stands in for it.
    pub rx2_spreading_factor: Option<u32>,
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// It has a session.
    Joined,
    /// Nobody answered its join-request.
    JoinFailed,
    /// It has sent, and its windows are over.
    Sent(SendOutcome),
    /// It was told something.
    Told {
        /// On this port.
        f_port: u8,
        /// This.
        payload: Vec<u8>,
    },
}

/// What came of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// An answer came: if it was asked for, it is an acknowledgement.
    Answered,
    /// No answer was asked for, and none came.
    Quiet,
    /// No acknowledgement came.
    NoAck,
    /// It has no session, or it is used up.
    NoSession,
}

/// A device.
pub(super) struct Node {
    board: Shared,
    stack: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Switches a device on; two runs of it need two seeds, since its DevNonces come from it.
    pub(super) fn new(config: NodeConfig, seed: u64, now: Instant) -> Self {
        let board = Board::shared(now);
        let stack = Box::pin(run(board.clone(), config, seed));
        let mut node = Self { board, stack };
        node.poll();
        node
    }

    pub(super) fn join(&mut self, now: Instant) {
        self.order(Order::Join, now);
    }

    pub(super) fn send(&mut self, f_port: u8, payload: Vec<u8>, is_confirmed: bool, now: Instant) {
        let order = Order::Send {
            f_port,
            payload,
            is_confirmed,
        };
        self.order(order, now);
    }

    /// A frame begins on the air: it is heard if the radio listens there.
    pub(super) fn handle_preamble(&mut self, frame: &OnAir) {
        self.board.lock().hear(frame);
        self.poll();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.board.lock().now = now;
        self.poll();
    }

    pub(super) fn poll_frame(&mut self) -> Option<OnAir> {
        self.board.lock().frames.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<NodeEvent> {
        self.board.lock().events.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.board.lock().due
    }

    fn order(&mut self, order: Order, now: Instant) {
        {
            let mut board = self.board.lock();
            board.now = now;
            board.orders.push_back(order);
        }
        self.poll();
    }

    fn poll(&mut self) {
        self.board.lock().due = None;
        let mut context = Context::from_waker(Waker::noop());
        match self.stack.as_mut().poll(&mut context) {
            Poll::Pending => {}
            Poll::Ready(()) => unreachable!("a device runs for ever"),
        }
    }
}

type Stack = Device<BoardRadio, DefaultFactory, BoardTimer, Prng>;

async fn run(board: Shared, config: NodeConfig, seed: u64) {
    let radio = BoardRadio(board.clone());
    let timer = BoardTimer(board.clone());
    let mut stack = Stack::new_with_seed(region::Configuration::new(Region::EU868), radio, timer, seed);
    stack.set_datarate(data_rate(config.data_rate));
    let mut listens = false;
    loop {
        let order = if listens {
            tokio::select! {
                biased;
                order = board.order() => Some(order),
                // What is heard is taken from the stack below.
                _ = stack.rxc_listen() => None,
            }
        } else {
            Some(board.order().await)
        };
        if let Some(order) = order {
            if matches!(order, Order::Join) {
                board.lock().rx2_spreading_factor = None;
            }
            let event = carry_out(&mut stack, &board, &config, order).await;
            if event == NodeEvent::Joined {
                board.lock().rx2_spreading_factor = config.rx2_spreading_factor;
                if config.is_class_c {
                    stack.enable_class_c();
                    listens = true;
                    board.listen_always();
                }
            }
            board.lock().events.push_back(event);
        }
        while let Some(told) = stack.take_downlink() {
            let event = NodeEvent::Told {
                f_port: told.fport,
                payload: told.data.to_vec(),
            };
            board.lock().events.push_back(event);
        }
    }
}

async fn carry_out(stack: &mut Stack, board: &Shared, config: &NodeConfig, order: Order) -> NodeEvent {
    match order {
        Order::Join => {
            stack.disable_class_c();
            let mode = JoinMode::OTAA {
                deveui: DevEui::from(reversed(config.dev_eui)),
                appeui: AppEui::from(reversed(config.join_eui)),
                appkey: AppKey::from(config.app_key),
            };
            match stack.join(&mode).await {
                Ok(JoinResponse::JoinSuccess) => NodeEvent::Joined,
                Ok(JoinResponse::NoJoinAccept) | Err(_) => NodeEvent::JoinFailed,
            }
        }
        Order::Send {
            f_port,
            payload,
            is_confirmed,
        } => {
            let outcome = match stack.send(&payload, f_port, is_confirmed).await {
                Ok(SendResponse::DownlinkReceived(_)) if is_confirmed && !board.lock().has_ack => {
                    SendOutcome::NoAck
                }
                Ok(SendResponse::DownlinkReceived(_)) => SendOutcome::Answered,
                Ok(SendResponse::RxComplete) => SendOutcome::Quiet,
                Ok(SendResponse::NoAck) => SendOutcome::NoAck,
                Ok(SendResponse::SessionExpired) | Err(_) => SendOutcome::NoSession,
            };
            NodeEvent::Sent(outcome)
        }
    }
}

/// The wire has the last byte first.
fn reversed(mut eui: [u8; 8]) -> [u8; 8] {
    eui.reverse();
    eui
}

fn data_rate(index: u8) -> DR {
    match index {
        0 => DR::_0,
        1 => DR::_1,
        2 => DR::_2,
        3 => DR::_3,
        4 => DR::_4,
        _ => DR::_5,
    }
}
