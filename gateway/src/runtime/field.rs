//! The field side at work: the tasks of buses, brokers and the radio network, and who among them a thing is for.

use std::future::{Future, pending};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use ucifi_core::Downlink;
use ucifi_core::field::{Link, PointId, ReceiptId};

use super::Input;
use super::brokers::{BrokerStatus, Brokers};
use super::buses::{BusStatus, Buses};
use super::engine::StartError;
use super::radio::{NetworkState, Radio, RadioStatus};
use crate::config::Loaded;

/// Everything that has to do with devices.
pub(super) struct Field {
    pub(super) buses: Buses,
    pub(super) brokers: Brokers,
    pub(super) radio: Radio,
    pub(super) tasks: Tasks,
}

/// How the field side is, its counters still under way.
pub(super) struct FieldStatus {
    pub(super) buses: Vec<BusStatus>,
    pub(super) brokers: Vec<BrokerStatus>,
    pub(super) radio: Option<RadioStatus>,
}

impl Field {
    /// Starts everything.
    ///
    /// # Errors
    /// When something cannot be run as configured.
    pub(super) fn open(
        loaded: &Loaded,
        network: &NetworkState,
        seed: u64,
        now: Instant,
        inputs: &mpsc::Sender<Input>,
    ) -> Result<Self, StartError> {
        let mut tasks = Tasks::new(inputs.clone());
        Ok(Self {
            buses: Buses::open(&loaded.configuration, seed, now, &mut tasks)?,
            brokers: Brokers::open(loaded, seed, now, &mut tasks)?,
            radio: Radio::open(&loaded.configuration, network, seed, now, &mut tasks)?,
            tasks,
        })
    }

    /// Hands a downlink to whoever reaches its device; says whether that could take it.
    pub(super) fn downlink(&self, downlink: Downlink) -> bool {
        match &downlink.link {
            Link::Modbus { .. } => self.buses.downlink(downlink),
            Link::Mqtt { .. } => self.brokers.downlink(downlink),
            Link::LoRaWan { .. } => self.radio.downlink(downlink),
        }
    }

    /// Tells whoever polls a device how often a point is wanted; other devices send as they please.
    pub(super) fn interest(&mut self, link: &Link, point: PointId, every_ms: u64) {
        self.buses.interest(link, point, every_ms);
    }

    /// Tells whoever received a frame that it may be acknowledged.
    pub(super) fn settled(&mut self, receipt: ReceiptId) {
        if Radio::has_given(receipt) {
            self.radio.settled(receipt);
        } else {
            self.brokers.settled(receipt);
        }
    }

    /// Says again what could not be taken before.
    pub(super) fn say_again(&mut self) {
        self.buses.say_interests();
        self.brokers.say_settled();
        self.radio.say_again();
    }

    /// Says whether something waits to be said again, which nobody tells the time of.
    pub(super) fn has_unsaid(&self) -> bool {
        self.brokers.has_unsaid() || self.radio.has_unsaid()
    }

    /// Asks everything for its counters.
    pub(super) fn status(&self) -> FieldStatus {
        FieldStatus {
            buses: self.buses.status(),
            brokers: self.brokers.status(),
            radio: self.radio.status(),
        }
    }

    /// Waits until everything that repeats what is not acknowledged has been told what is, then ends it all.
    pub(super) async fn close(mut self) {
        self.say_again();
        for broker in self.brokers.status() {
            if let Some(statistics) = broker.statistics {
                // It answers after all that it was told before; one that is gone acknowledges nothing.
                statistics.await.ok();
            }
        }
        self.tasks.set.shutdown().await;
    }
}

impl FieldStatus {
    /// Waits until every task has answered; none where one could not be asked or has ended.
    pub(super) async fn answered(self) -> Option<()> {
        for bus in self.buses {
            bus.statistics?.await.ok()?;
        }
        for broker in self.brokers {
            broker.statistics?.await.ok()?;
        }
        if let Some(radio) = self.radio {
            radio.statistics?.await.ok()?;
        }
        Some(())
    }
}

/// The tasks of the field side, of which none ends by itself.
pub(super) struct Tasks {
    pub(super) set: JoinSet<()>,
    /// Those that measure, and end when nothing more is to be measured; what they have told still comes.
    measuring: Vec<Measuring>,
    is_closed: watch::Sender<bool>,
    inputs: mpsc::Sender<Input>,
}

/// A task that measures, and the one that hands on what it tells.
struct Measuring {
    task: AbortHandle,
    handing_on: AbortHandle,
}

impl Tasks {
    pub(super) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self {
            set: JoinSet::new(),
            measuring: Vec::new(),
            is_closed: watch::Sender::new(false),
            inputs,
        }
    }

    /// Runs something that measures, and hands on what it tells until it has ended.
    pub(super) fn run_measuring<T: Send + 'static>(
        &mut self,
        measures: impl Future<Output = ()> + Send + 'static,
        told: mpsc::Receiver<T>,
        input: impl Fn(T) -> Input + Send + 'static,
    ) {
        let task = self.set.spawn(measures);
        let handing_on = self.set.spawn(hand_on(told, self.inputs.clone(), input));
        self.measuring.push(Measuring { task, handing_on });
    }

    /// Runs something, and hands on what it tells until the end.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        runs: impl Future<Output = ()> + Send + 'static,
        told: mpsc::Receiver<T>,
        input: impl Fn(T) -> Input + Send + 'static,
    ) {
        self.set.spawn(runs);
        self.set.spawn(hand_on(told, self.inputs.clone(), input));
    }

    /// Runs something that is told what becomes of what it told, and hands that on until nothing more is wanted.
    pub(super) fn run_answered<T: Send + 'static>(
        &mut self,
        listens: impl Future<Output = ()> + Send + 'static,
        mut told: mpsc::Receiver<T>,
        input: impl Fn(T) -> Input + Send + 'static,
    ) {
        self.set.spawn(listens);
        let (inputs, mut is_closed) = (self.inputs.clone(), self.is_closed.subscribe());
        self.set.spawn(async move {
            tokio::select! {
                biased;
                _ = is_closed.wait_for(|is_closed| *is_closed) => {}
                () = hand_on_from(&mut told, inputs, input) => return,
            }
            // Whoever tells goes on, and waits with what it has: it is not acknowledged, and comes again.
            pending::<()>().await;
            drop(told);
        });
    }

    /// Says whether all those have ended that measure, and all that they told was handed on.
    pub(super) fn have_measured(&self) -> bool {
        self.measuring
            .iter()
            .all(|measuring| measuring.task.is_finished() && measuring.handing_on.is_finished())
    }

    /// Lets nothing more come in from the field: who measures ends, who is answered waits.
    pub(super) fn close(&self) {
        self.measuring.iter().for_each(|measuring| measuring.task.abort());
        self.is_closed.send_replace(true);
    }
}

async fn hand_on<T>(mut told: mpsc::Receiver<T>, inputs: mpsc::Sender<Input>, input: impl Fn(T) -> Input) {
    hand_on_from(&mut told, inputs, input).await;
}

async fn hand_on_from<T>(
    told: &mut mpsc::Receiver<T>,
    inputs: mpsc::Sender<Input>,
    input: impl Fn(T) -> Input,
) {
    while let Some(event) = told.recv().await {
        if inputs.send(input(event)).await.is_err() {
            return;
        }
    }
}
