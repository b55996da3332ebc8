//! The board of a device: a radio and a timer that follow simulated time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, Instant};

use lorawan_device::async_device::Timings;
use lorawan_device::async_device::radio::{
    PhyRxTx, RfConfig, RxConfig, RxMode, RxQuality, RxStatus, Timer, TxConfig,
};

use super::NodeEvent;
use crate::radio::airwave::{Channel, OnAir};

/// How long before a window the radio is switched on.
const LEAD_MS: u32 = 20;
/// Symbols in which a receiver finds a preamble, or gives up.
const PREAMBLE_SYMBOLS: u32 = 8;
/// The frequency of the second window.
const RX2_FREQUENCY_HZ: u32 = 869_525_000;

/// What a device is told to do.
#[derive(Debug)]
pub(super) enum Order {
    Join,
    Send {
        f_port: u8,
        payload: Vec<u8>,
        is_confirmed: bool,
    },
}

/// The state of a board.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) now: Instant,
    /// When the stack is to be polled again.
    pub(super) due: Option<Instant>,
    pub(super) orders: VecDeque<Order>,
    pub(super) frames: VecDeque<OnAir>,
    pub(super) events: VecDeque<NodeEvent>,
    pub(super) rx2_spreading_factor: Option<u32>,
    /// Whether the frame that was received last acknowledges something.
    pub(super) has_ack: bool,
    timer: Instant,
    listening: Option<Listening>,
    /// The frame that is being received.
    receiving: Option<OnAir>,
}

#[derive(Clone, Copy, Debug)]
struct Listening {
    channel: Channel,
    /// When the receiver gives up; none in continuous mode.
    until: Option<Instant>,
}

impl Board {
    pub(super) fn shared(now: Instant) -> Shared {
        Shared(Arc::new(Mutex::new(Self {
            now,
            due: None,
            orders: VecDeque::new(),
            frames: VecDeque::new(),
            events: VecDeque::new(),
            rx2_spreading_factor: None,
            has_ack: false,
            timer: now,
            listening: None,
            receiving: None,
        })))
    }

    /// A frame begins: the receiver stays with it if it is the first that it hears.
    pub(super) fn hear(&mut self, frame: &OnAir) {
        self.now = frame.from;
        let listens = self.listening.is_some_and(|listening| {
            listening.channel == frame.channel && listening.until.is_none_or(|until| frame.from <= until)
        });
        if listens && self.receiving.is_none() {
            self.receiving = Some(frame.clone());
        }
    }

    fn wake_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn listen(&mut self, channel: Channel, until: Option<Instant>) {
        self.receiving = None;
        self.listening = Some(Listening { channel, until });
    }

    /// Says what the receiver has: a frame, nothing and nothing to come, or nothing yet.
    fn receive(&mut self) -> Poll<Option<Vec<u8>>> {
        if let Some(frame) = self.receiving.take_if(|frame| frame.until <= self.now) {
            // FCtrl stands after MHDR and DevAddr (LoRaWAN 1.0.3, 4.3.1).
            self.has_ack = frame.phy.get(5).is_some_and(|f_ctrl| f_ctrl & 0x20 != 0);
            return Poll::Ready(Some(frame.phy));
        }
        if let Some(until) = self.receiving.as_ref().map(|frame| frame.until) {
            self.wake_at(until);
            return Poll::Pending;
        }
        match self.listening.and_then(|listening| listening.until) {
            Some(until) if until <= self.now => Poll::Ready(None),
            Some(until) => {
                self.wake_at(until);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }

    fn channel(&self, rf: &RfConfig) -> Channel {
        let own = self
            .rx2_spreading_factor
            .filter(|_| rf.frequency == RX2_FREQUENCY_HZ);
        Channel {
            frequency_hz: rf.frequency,
            spreading_factor: own.unwrap_or_else(|| rf.bb.sf.factor()),
            bandwidth_hz: rf.bb.bw.hz(),
        }
    }
}

/// A board as the stack and the air share it.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Board>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().expect("nobody panics while holding it")
    }

    /// Waits for an order.
    pub(super) async fn order(&self) -> Order {
        poll_fn(|_| self.lock().orders.pop_front().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Listens where a device of class C does: the stack does so by itself only after its first uplink.
    pub(super) fn listen_always(&self) {
        let mut board = self.lock();
        let channel = Channel {
            frequency_hz: RX2_FREQUENCY_HZ,
            spreading_factor: board.rx2_spreading_factor.unwrap_or(12),
            bandwidth_hz: 125_000,
        };
        board.listen(channel, None);
    }

    async fn sleep_until(&self, at: Instant) {
        poll_fn(|_| {
            let mut board = self.lock();
            if at <= board.now {
                return Poll::Ready(());
            }
            board.wake_at(at);
            Poll::Pending
        })
        .await;
    }

    async fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        let phy = poll_fn(|_| self.lock().receive()).await?;
        let buffer = buffer.get_mut(..phy.len())?;
        buffer.copy_from_slice(&phy);
        Some(phy.len())
    }
}

/// The radio.
pub(super) struct BoardRadio(pub(super) Shared);

impl PhyRxTx for BoardRadio {
    type PhyError = Infallible;

    const MAX_RADIO_POWER: u8 = 14;

    async fn tx(&mut self, config: TxConfig, phy: &[u8]) -> Result<u32, Infallible> {
        let until = {
            let mut board = self.0.lock();
            board.listening = None;
            board.receiving = None;
            let rf = config.rf;
            let channel = Channel {
                frequency_hz: rf.frequency,
                spreading_factor: rf.bb.sf.factor(),
                bandwidth_hz: rf.bb.bw.hz(),
            };
            let from = board.now;
            let until = from + channel.time_on_air(phy.len(), true);
            let phy = phy.to_vec();
            board.frames.push_back(OnAir {
                phy,
                channel,
                from,
                until,
            });
            until
        };
        self.0.sleep_until(until).await;
        Ok(0)
    }

    async fn setup_rx(&mut self, config: RxConfig) -> Result<(), Infallible> {
        let mut board = self.0.lock();
        let channel = board.channel(&config.rf);
        let until = match config.mode {
            RxMode::Continuous => None,
            RxMode::Single { ms } => {
                let both_sides = Duration::from_millis(u64::from(2 * ms));
                Some(board.now + both_sides + channel.symbol() * PREAMBLE_SYMBOLS)
            }
        };
        board.listen(channel, until);
        Ok(())
    }

    async fn rx_continuous(&mut self, buffer: &mut [u8]) -> Result<(usize, RxQuality), Infallible> {
        loop {
            if let Some(length) = self.0.receive(buffer).await {
                return Ok((length, RxQuality::new(-60, 7)));
            }
        }
    }

    async fn rx_single(&mut self, buffer: &mut [u8]) -> Result<RxStatus, Infallible> {
        Ok(match self.0.receive(buffer).await {
            Some(length) => RxStatus::Rx(length, RxQuality::new(-60, 7)),
            None => RxStatus::RxTimeout,
        })
    }

    async fn low_power(&mut self) -> Result<(), Infallible> {
        let mut board = self.0.lock();
        board.listening = None;
        board.receiving = None;
        Ok(())
    }
}

impl Timings for BoardRadio {
    fn get_rx_window_lead_time_ms(&self) -> u32 {
        LEAD_MS
    }
}

/// The timer.
pub(super) struct BoardTimer(pub(super) Shared);

impl Timer for BoardTimer {
    fn reset(&mut self) {
        let mut board = self.0.lock();
        board.timer = board.now;
    }

    async fn at(&mut self, millis: u64) {
        let at = self.0.lock().timer + Duration::from_millis(millis);
        self.0.sleep_until(at).await;
    }

    async fn delay_ms(&mut self, millis: u64) {
        let at = self.0.lock().now + Duration::from_millis(millis);
        self.0.sleep_until(at).await;
    }
}
